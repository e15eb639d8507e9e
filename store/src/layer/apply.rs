//! Unpacking a layer's tar into a directory in overlay form.
//!
//! The tar is hostile. Every path is walked name by name along handles, symbolic links are resolved by us and
//! end inside the root, `..` above the root is refused. What a tar says of one path several times is what it
//! says last. Whiteouts hide lower layers only, wherever in the tar they stand (OCI image specification,
//! "Image Layer Filesystem Changeset", "Whiteouts").

mod place;
mod windows;
mod write;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode};

use super::failure::UnpackError;
use super::node::{self, Meta, Xattrs};
use super::stack::Stack;
use super::tar::{Entry, Kind, Reader, Time, shown};
use super::{Ownership, XattrForm};
use crate::snapshot::LayerOs;
use place::Place;

/// As many links as the kernel follows to find the directory of an entry, and through how many names: a link has
/// thousands of them.
pub(super) const LINKS: usize = 40;
pub(super) const MOST_WALKED: usize = 5000;

/// So many directories a layer may leave out, and one more for each of its entries: one entry can stand for
/// thousands.
pub(super) const MOST_IMPLIED: u64 = 1_000_000;
pub(super) const TOO_MANY_IMPLIED: &str = "the layer leaves out more than a million parent directories";

/// What was unpacked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Entries of the tar.
    pub(super) entries: u64,
    /// The tar has an entry for the root directory.
    pub(super) root_entry: bool,
    /// The result holds something of the layers below.
    pub(super) needs_below: bool,
    /// Device nodes that the system refused.
    pub(super) missing_devices: u64,
    /// Extended attributes that the system or the file system refused.
    pub(super) missing_xattrs: u64,
}

/// How to unpack.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) form: XattrForm,
    pub(super) ownership: Ownership,
    pub(super) os: LayerOs,
}

/// The layers below: opened when something is asked of them, which most layers never do.
pub(super) struct Below<'a> {
    open: &'a dyn Fn() -> Option<Stack>,
    opened: std::cell::OnceCell<Option<Stack>>,
}

impl<'a> Below<'a> {
    /// What `open` gives: none where the layers below are not there.
    pub(super) fn new(open: &'a dyn Fn() -> Option<Stack>) -> Self {
        Self { open, opened: std::cell::OnceCell::new() }
    }

    fn stack(&self) -> Option<&Stack> {
        self.opened.get_or_init(self.open).as_ref()
    }

    fn is_missing(&self) -> bool {
        matches!(self.opened.get(), Some(None))
    }
}

/// Unpacks all entries of `reader` into the empty directory `root`, for use over `below`.
pub(super) fn apply<R: Read>(
    reader: &mut Reader<R>,
    root: OwnedFd,
    below: &Below<'_>,
    how: How,
) -> Result<Applied, UnpackError> {
    let mut unpack = Unpack {
        root,
        below,
        how,
        applied: Applied::default(),
        dirs: BTreeMap::new(),
        parent: None,
        implied: 0,
    };
    let mut windows = (how.os == LayerOs::Windows).then(windows::Spelling::default);
    while let Some(entry) = reader.next_entry()? {
        unpack.applied.entries += 1;
        let done = match &mut windows {
            Some(spelling) => match spelling.translate(&entry, below)? {
                Some(entry) => unpack.entry(&entry, reader),
                None => Ok(()),
            },
            None => unpack.entry(&entry, reader),
        };
        if below.is_missing() {
            return Err(UnpackError::NeedsBelow);
        }
        done?;
    }
    unpack.finish()?;
    Ok(unpack.applied)
}

/// What becomes of a directory once everything is in it.
#[derive(Debug)]
struct Dir {
    mode: u32,
    mtime: Time,
    xattrs: Xattrs,
    /// No entry has named it.
    implied: bool,
}

struct Unpack<'a> {
    root: OwnedFd,
    below: &'a Below<'a>,
    how: How,
    applied: Applied,
    /// All directories by their paths. Modes, times and attributes are set at the end: a mode may lock us
    /// out, a default ACL would be inherited, and every file changes the time.
    dirs: BTreeMap<Vec<u8>, Dir>,
    /// The last parent directory by its path in the archive: entries come directory by directory.
    parent: Option<(Vec<u8>, Place)>,
    /// Directories that were made before an entry named them, if one did.
    implied: u64,
}

impl Unpack<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), UnpackError> {
        let mut names = clean(&entry.path)?;
        if names.iter().any(|name| name.starts_with(b".wh..wh.") && *name != b".wh..wh..opq") {
            // aufs's own files; they mean nothing to anybody else.
            return Ok(());
        }
        let Some(name) = names.pop() else {
            return self.root_entry(entry);
        };
        let fail = |action| io_error(action, &entry.path);
        let place = self.parent_of(&names, entry)?;
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            if name == b".wh..wh..opq" {
                return node::make_opaque(place.dir.as_fd(), self.how.form)
                    .map_err(fail("hide what is below"));
            }
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(impossible(entry, "a whiteout must name what it hides"));
            }
            return self.whiteout(&place, hidden, entry);
        }
        let path = place.join(name);
        let there = Meta::at(place.dir.as_fd(), name).map_err(fail("look at"))?;
        if entry.kind == Kind::HardLink {
            return self.hard_link(entry, &place, name, there.as_ref());
        }
        let mut over_whiteout = false;
        if let Some(there) = there {
            over_whiteout =
                node::is_whiteout(place.dir.as_fd(), name, &there, self.how.form).map_err(fail("look at"))?;
            if !(there.is_dir() && entry.kind == Kind::Directory) {
                self.clear(&place, name, &there).map_err(fail("replace"))?;
            }
        }
        match entry.kind {
            Kind::Directory => {
                self.directory(entry, &place, name, path)?;
                if over_whiteout {
                    node::open_dir(place.dir.as_fd(), name)
                        .and_then(|dir| node::make_opaque(dir.as_fd(), self.how.form))
                        .map_err(fail("hide what is below"))?;
                }
                Ok(())
            }
            Kind::File => self.file(entry, &place, name, reader),
            _ => self.special(entry, &place, name),
        }
    }

    /// The root directory itself.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Directory {
            return Err(impossible(entry, "the root can only be a directory"));
        }
        self.applied.root_entry = true;
        self.own(self.root.as_fd(), b".", entry)?;
        self.dirs.insert(Vec::new(), Dir::named(entry));
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        place: &Place,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<(), UnpackError> {
        match rustix::fs::mkdirat(&place.dir, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(io_error("make", &entry.path)(e.into())),
        }
        self.own(place.dir.as_fd(), name, entry)?;
        self.dirs.insert(path, Dir::named(entry));
        Ok(())
    }

    fn whiteout(&mut self, place: &Place, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        let fail = |action| io_error(action, &entry.path);
        match Meta::at(place.dir.as_fd(), name).map_err(fail("look at"))? {
            None => node::make_whiteout(place.dir.as_fd(), name, self.how.form)
                .and_then(|()| node::mark_whiteouts(place.dir.as_fd(), self.how.form))
                .map_err(fail("make whiteout")),
            // Made by this layer, so it stays; only what is below goes.
            Some(there) if there.is_dir() => node::open_dir(place.dir.as_fd(), name)
                .and_then(|dir| node::make_opaque(dir.as_fd(), self.how.form))
                .map_err(fail("hide what is below")),
            Some(_) => Ok(()),
        }
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        place: &Place,
        name: &[u8],
        there: Option<&Meta>,
    ) -> Result<(), UnpackError> {
        let fail = |action| io_error(action, &entry.path);
        let mut target = clean(&entry.link)?;
        let Some(target_name) = target.pop() else {
            return Err(impossible(entry, "it is a hard link to the root"));
        };
        let missing = || impossible(entry, format!("its target `{}` is not there", shown(&entry.link)));
        let (from, meta) = self.link_target(&target, target_name, entry)?.ok_or_else(missing)?;
        if meta.is_dir() {
            return Err(impossible(entry, "it is a hard link to a directory"));
        }
        if let Some(there) = there {
            if there.id == meta.id {
                return Ok(());
            }
            self.clear(place, name, there).map_err(fail("replace"))?;
        }
        rustix::fs::linkat(&from, target_name, &place.dir, name, AtFlags::empty())
            .map_err(|e| fail("link")(e.into()))
    }

    /// Removes what is in an entry's way.
    fn clear(&mut self, place: &Place, name: &[u8], there: &Meta) -> io::Result<()> {
        if !there.is_dir() {
            if there.kind == FileType::Symlink {
                self.parent = None;
            }
            return Ok(rustix::fs::unlinkat(&place.dir, name, AtFlags::empty())?);
        }
        self.parent = None;
        let path = place.join(name);
        // All that begins with the path and a slash; `0` comes after the slash.
        let (from, to) = ([&path[..], b"/"].concat(), [&path[..], b"0"].concat());
        let gone: Vec<_> = self.dirs.range(from..to).map(|(dir, _)| dir.clone()).collect();
        for dir in gone.iter().chain([&path]) {
            self.dirs.remove(dir);
        }
        node::remove(&place.dir, name)
    }

    /// Gives all directories what belongs to them, those inside first.
    fn finish(&mut self) -> Result<(), UnpackError> {
        let dirs = std::mem::take(&mut self.dirs);
        for (path, dir) in dirs.iter().rev() {
            self.applied.needs_below |= dir.implied;
            let fail = |e: io::Error| io_error("finish directory", path)(e);
            let handle = node::open_dir(self.root.as_fd(), path).map_err(fail)?;
            self.set_xattrs(handle.as_fd(), b".", &dir.xattrs, path)?;
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(dir.mode)).map_err(|e| fail(e.into()))?;
            rustix::fs::futimens(&handle, &node::timestamps(dir.mtime)).map_err(|e| fail(e.into()))?;
        }
        Ok(())
    }
}

impl Dir {
    fn named(entry: &Entry) -> Self {
        Self { mode: entry.mode, mtime: entry.mtime, xattrs: entry.xattrs.clone(), implied: false }
    }
}

/// The names of a path: no empty ones, no `.`, and `..` taken back as path.Clean of Go does, which is how
/// Docker reads such paths.
pub(super) fn clean(path: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let mut out = Vec::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                if out.pop().is_none() {
                    return Err(UnpackError::Climbs { entry: shown(path) });
                }
            }
            name => out.push(name),
        }
    }
    Ok(out)
}

pub(super) fn impossible(entry: &Entry, why: impl Into<String>) -> UnpackError {
    UnpackError::Impossible { entry: shown(&entry.path), why: why.into() }
}

pub(super) fn io_error(action: &'static str, entry: &[u8]) -> impl Fn(io::Error) -> UnpackError + use<> {
    let entry = shown(entry);
    move |source| UnpackError::Io { action, entry: entry.clone(), source }
}
