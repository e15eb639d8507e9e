//! Where in the image things go: directories that are made, links that are followed or replaced.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::CopyErrorKind;
use crate::context::{Dir, Meta};

/// The file system that is written to.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) root: Dir,
    /// `--chown`.
    pub(super) owner: Option<(u32, u32)>,
    /// `--link`: as in a layer of its own that is laid over what is there. No link is followed, what is
    /// in the way goes, and directories on the way get the mode and owner of new ones, which is what
    /// BuildKit's merge does (the reference warns of it under `--link`).
    pub(super) link: bool,
}

/// The mode of directories that are made on the way.
const NEW_DIRECTORY: u32 = 0o755;

pub(super) fn shown(path: &Path) -> String {
    Path::new("/").join(path).display().to_string()
}

pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyErrorKind {
    CopyErrorKind::io(action, Path::new("/").join(path))
}

impl Destination {
    /// Where a path of the image leads. The last component is followed too, as far as it is a link.
    pub(super) fn find(&self, path: &Path) -> Result<(PathBuf, Option<Meta>), CopyErrorKind> {
        if self.link {
            // In a layer of its own nothing is there yet.
            return Ok((path.to_owned(), None));
        }
        let found = self.root.resolve(path, true, &mut |_, _| true).map_err(|e| not_a_directory(path, e))?;
        Ok((found.path, found.meta))
    }

    /// The directory at a path, made with all above it where it does not exist.
    pub(super) fn make_dirs(&self, path: &Path) -> Result<(PathBuf, Dir), CopyErrorKind> {
        if self.link {
            return self.lay_dirs(path);
        }
        let found = self.root.resolve(path, true, &mut |_, _| true).map_err(|e| not_a_directory(path, e))?;
        match found.meta {
            Some(meta) if meta.is_dir() => return Ok((found.path, found.dir)),
            Some(_) => return Err(CopyErrorKind::NotADirectory { path: shown(path) }),
            None => {}
        }
        let mut dir = found.dir;
        for name in &found.rest {
            self.make_dir(&dir, name, path)?;
            dir = dir.dir(name).map_err(io("open", path))?;
        }
        Ok((found.path, dir))
    }

    fn make_dir(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), CopyErrorKind> {
        dir.make_dir(name).map_err(io("create the directory", path))?;
        // A set-group-ID directory hands down its group and that bit.
        let inherited = dir.stat(name).map_err(io("look at", path))?.mode & 0o2000;
        if let Some((uid, gid)) = self.owner {
            dir.set_owner(name, uid, gid).map_err(io("set the owner of", path))?;
        }
        dir.set_mode(name, NEW_DIRECTORY | inherited).map_err(io("set the mode of", path))
    }

    fn lay_dirs(&self, path: &Path) -> Result<(PathBuf, Dir), CopyErrorKind> {
        let mut dir = self.root.clone();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let found = dir.find(name).map_err(io("look at", path))?;
            if found.is_some_and(|meta| !meta.is_dir()) {
                dir.remove(name).map_err(io("replace", path))?;
            }
            if !found.is_some_and(|meta| meta.is_dir()) {
                dir.make_dir(name).map_err(io("create the directory", path))?;
            }
            let (uid, gid) = self.owner.unwrap_or((0, 0));
            dir.set_owner(name, uid, gid).map_err(io("set the owner of", path))?;
            dir.set_mode(name, NEW_DIRECTORY).map_err(io("set the mode of", path))?;
            dir = dir.dir(name).map_err(io("open", path))?;
        }
        Ok((path.to_owned(), dir))
    }

    /// Makes way for something that is no directory.
    pub(super) fn clear(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), CopyErrorKind> {
        match dir.find(name).map_err(io("look at", path))? {
            Some(meta) if meta.is_dir() && !self.link => {
                Err(CopyErrorKind::IsADirectory { path: shown(path) })
            }
            Some(_) => dir.remove(name).map_err(io("replace", path)),
            None => Ok(()),
        }
    }

    /// A directory in a directory, as part of a tree that is copied; and whether it is new.
    pub(super) fn enter(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(Dir, bool), CopyErrorKind> {
        let created = match dir.find(name).map_err(io("look at", path))? {
            Some(meta) if meta.is_dir() => false,
            Some(_) if !self.link => return Err(CopyErrorKind::NotADirectory { path: shown(path) }),
            Some(_) => {
                dir.remove(name).map_err(io("replace", path))?;
                true
            }
            None => true,
        };
        if created {
            dir.make_dir(name).map_err(io("create the directory", path))?;
        }
        Ok((dir.dir(name).map_err(io("open", path))?, created))
    }
}

/// A file where a directory should be on the way is the user's mistake, all else is the system's.
fn not_a_directory(path: &Path, error: io::Error) -> CopyErrorKind {
    match error.kind() {
        io::ErrorKind::NotADirectory => CopyErrorKind::NotADirectory { path: shown(path) },
        _ => io("look at", path)(error),
    }
}
