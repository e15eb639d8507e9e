//! Where in the image things go: directories that are made, links that are followed or replaced.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use orlop_runner::Account;

use super::error::CopyErrorKind;
use crate::context::{Dir, Meta, Time};
use crate::dialect::{Dialect, windows};

/// The file system that is written to.
#[derive(Debug)]
pub(super) struct Destination {
    /// The time of directories that are made on the way; now where there is none.
    pub(super) time: Option<Time>,
    pub(super) root: Dir,
    /// `--chown`.
    pub(super) owner: Option<(u32, u32)>,
    /// Whose new directories are in a Windows image.
    pub(super) account: Option<Account>,
    /// `--link`: as in a layer of its own that is laid over what is there. No link is followed, what is
    /// in the way goes, and directories on the way get the mode and owner of new ones, which is what
    /// BuildKit's merge does (the reference warns of it under `--link`).
    pub(super) link: bool,
    /// The system of the image.
    pub(super) dialect: Dialect,
    /// What could not be given to [`account`](Self::account).
    pub(super) lost: Cell<u64>,
}

/// The names of a directory that is written to, as far as a name may mean one that is written otherwise.
#[derive(Debug)]
pub(super) struct Names(Option<HashMap<String, OsString>>);

impl Names {
    /// Those of `dir`, which is listed unless it is new.
    pub(super) fn of(dir: &Dir, dialect: Dialect, new: bool) -> io::Result<Self> {
        if !dialect.is_windows() {
            return Ok(Self(None));
        }
        let list = if new { Vec::new() } else { dir.list()? };
        Ok(Self(Some(list.into_iter().map(|name| (windows::upper(&name.to_string_lossy()), name)).collect())))
    }

    /// The name by which an entry is there, or will be.
    fn spell(&mut self, name: &OsStr) -> OsString {
        match &mut self.0 {
            None => name.to_owned(),
            Some(known) => known
                .entry(windows::upper(&name.to_string_lossy()))
                .or_insert_with(|| name.to_owned())
                .clone(),
        }
    }
}

/// The mode of directories that are made on the way.
pub(super) const NEW_DIRECTORY: u32 = 0o755;

impl Destination {
    /// A path in the image as messages show it.
    pub(super) fn shown(&self, path: &Path) -> String {
        self.dialect.show_below_root(path)
    }

    pub(super) fn io(
        &self,
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> CopyErrorKind + use<> {
        CopyErrorKind::io(action, self.shown(path))
    }

    /// A file where a directory should be on the way is the user's mistake, all else is the system's.
    fn not_a_directory(&self, path: &Path, error: io::Error) -> CopyErrorKind {
        match error.kind() {
            io::ErrorKind::NotADirectory => CopyErrorKind::NotADirectory { path: self.shown(path) },
            _ => self.io("look at", path)(error),
        }
    }

    pub(super) fn names(&self, dir: &Dir, new: bool, path: &Path) -> Result<Names, CopyErrorKind> {
        Names::of(dir, self.dialect, new).map_err(self.io("list", path))
    }

    /// Where a path of the image leads. The last component is followed too, as far as it is a link.
    pub(super) fn find(&self, path: &Path) -> Result<(PathBuf, Option<Meta>), CopyErrorKind> {
        if self.link {
            // In a layer of its own nothing is there yet.
            return Ok((path.to_owned(), None));
        }
        let found = self
            .root
            .resolve(path, true, self.dialect, &mut |_, _| true)
            .map_err(|e| self.not_a_directory(path, e))?;
        Ok((found.path, found.meta))
    }

    /// The directory at a path, made with all above it where it does not exist.
    pub(super) fn make_dirs(&self, path: &Path) -> Result<(PathBuf, Dir), CopyErrorKind> {
        if self.link {
            return self.lay_dirs(path);
        }
        let found = self
            .root
            .resolve(path, true, self.dialect, &mut |_, _| true)
            .map_err(|e| self.not_a_directory(path, e))?;
        match found.meta {
            Some(meta) if meta.is_dir() => return Ok((found.path, found.dir)),
            Some(_) => return Err(CopyErrorKind::NotADirectory { path: self.shown(path) }),
            None => {}
        }
        let mut dir = found.dir;
        let mut made = Vec::new();
        for name in &found.rest {
            self.make_dir(&dir, name, path)?;
            let inner = dir.dir(name).map_err(self.io("open", path))?;
            made.push((std::mem::replace(&mut dir, inner), name));
        }
        if let Some(time) = self.time {
            // What is made in a directory is a change of it: the innermost first.
            for (parent, name) in made.iter().rev() {
                parent.set_mtime(name, time).map_err(self.io("set the time of", path))?;
            }
        }
        Ok((found.path, dir))
    }

    fn make_dir(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), CopyErrorKind> {
        dir.make_dir(name).map_err(self.io("create the directory", path))?;
        // A set-group-ID directory hands down its group and that bit.
        let inherited = dir.stat(name).map_err(self.io("look at", path))?.mode & 0o2000;
        if let Some((uid, gid)) = self.owner {
            dir.set_owner(name, uid, gid).map_err(self.io("set the owner of", path))?;
        }
        dir.set_mode(name, NEW_DIRECTORY | inherited).map_err(self.io("set the mode of", path))?;
        self.give(dir, name);
        Ok(())
    }

    /// Makes a new directory the account's. One that the system does not give away stays the administrators'.
    fn give(&self, dir: &Dir, name: &OsStr) {
        let Some(account) = self.account else { return };
        let mut said = Vec::new();
        super::windows::give(&mut said, account, true);
        let lost = said.iter().filter(|(key, value)| dir.set_xattr(name, key, value).is_err()).count();
        self.lost.set(self.lost.get() + lost as u64);
    }

    fn lay_dirs(&self, path: &Path) -> Result<(PathBuf, Dir), CopyErrorKind> {
        let mut dir = self.root.clone();
        let mut real = PathBuf::new();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let found = dir.spelled(name, self.dialect).map_err(self.io("look at", path))?;
            let (name, meta) = match found {
                Some((name, meta)) => (name, Some(meta)),
                None => (name.to_owned(), None),
            };
            if meta.is_some_and(|meta| !meta.is_dir()) {
                dir.remove(&name).map_err(self.io("replace", path))?;
            }
            if !meta.is_some_and(|meta| meta.is_dir()) {
                dir.make_dir(&name).map_err(self.io("create the directory", path))?;
            }
            let (uid, gid) = self.owner.unwrap_or((0, 0));
            dir.set_owner(&name, uid, gid).map_err(self.io("set the owner of", path))?;
            dir.set_mode(&name, NEW_DIRECTORY).map_err(self.io("set the mode of", path))?;
            self.give(&dir, &name);
            dir = dir.dir(&name).map_err(self.io("open", path))?;
            real.push(name);
        }
        Ok((real, dir))
    }

    /// Makes way for something that is no directory; the name that it gets: that of what is in its way, where
    /// the system takes both for the same.
    pub(super) fn clear(
        &self,
        dir: &Dir,
        names: &mut Names,
        name: &OsStr,
        path: &Path,
    ) -> Result<OsString, CopyErrorKind> {
        let name = names.spell(name);
        match dir.find(&name).map_err(self.io("look at", path))? {
            Some(meta) if meta.is_dir() && !self.link => {
                return Err(CopyErrorKind::IsADirectory { path: self.shown(path) });
            }
            Some(_) => dir.remove(&name).map_err(self.io("replace", path))?,
            None => {}
        }
        Ok(name)
    }

    /// A directory in a directory, as part of a tree that is copied; its name, and whether it is new.
    pub(super) fn enter(
        &self,
        dir: &Dir,
        names: &mut Names,
        name: &OsStr,
        path: &Path,
    ) -> Result<(Dir, OsString, bool), CopyErrorKind> {
        let name = names.spell(name);
        let created = match dir.find(&name).map_err(self.io("look at", path))? {
            Some(meta) if meta.is_dir() => false,
            Some(_) if !self.link => return Err(CopyErrorKind::NotADirectory { path: self.shown(path) }),
            Some(_) => {
                dir.remove(&name).map_err(self.io("replace", path))?;
                true
            }
            None => true,
        };
        if created {
            dir.make_dir(&name).map_err(self.io("create the directory", path))?;
        }
        let entered = dir.dir(&name).map_err(self.io("open", path))?;
        Ok((entered, name, created))
    }
}
