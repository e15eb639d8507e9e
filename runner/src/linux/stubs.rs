//! Paths inside a root to mount on: found without ever leaving the root, made where they are missing, and removed
//! again without a trace.
//!
//! A mount needs something to cover, and the root is a snapshot that becomes a layer: what was made only to be
//! covered must not be found in it, nor a changed time of the directory that held it. So each thing made is written
//! down with an open handle of its parent (the job may rename the parent meanwhile), and the parent's times are put
//! back at once: whatever they are when the job has ended is what the job left.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

/// What a mount covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A place to mount on.
#[derive(Debug)]
pub(super) struct Place {
    /// Its path inside the root, absolute and free of symlinks and dots.
    pub(super) path: PathBuf,
    /// Device and inode of what is there.
    pub(super) id: (u64, u64),
}

/// Something that was made to be mounted over.
#[derive(Debug)]
struct Made {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
    kind: Kind,
    before: Stat,
}

/// All that was made in one root.
#[derive(Debug)]
pub(super) struct Stubs {
    root: OwnedFd,
    made: Vec<Made>,
    /// Places that will be covered, and by what: a later target below one of them is inside what covers it.
    covered: Vec<(Place, Option<OwnedFd>)>,
}

/// Symlinks followed for one path, as many as the kernel follows.
const LINKS: usize = 40;

impl Stubs {
    /// Starts on `root`, an open directory.
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, made: Vec::new(), covered: Vec::new() }
    }

    /// Finds `target`, making what is missing of it.
    ///
    /// # Errors
    /// ELOOP for too many symlinks, ENOTDIR where a file is in the way, EROFS and the like where nothing can be
    /// made, EXDEV inside something whose content is not known yet.
    pub(super) fn place(&mut self, target: &Path, kind: Kind) -> Result<Place, Errno> {
        self.walk(target, kind, true)
    }

    /// Finds `target` as [`place`](Self::place) does, but refuses symlinks: for `/proc` and its like, which an
    /// image must not send elsewhere.
    pub(super) fn plain_place(&mut self, target: &Path, kind: Kind) -> Result<Place, Errno> {
        self.walk(target, kind, false)
    }

    /// Notes that `place` is covered by the tree at `by`, or by something that only the job can see.
    pub(super) fn cover(&mut self, place: Place, by: Option<OwnedFd>) {
        self.covered.push((place, by));
    }

    fn walk(&mut self, target: &Path, kind: Kind, follow: bool) -> Result<Place, Errno> {
        let mut rest: Vec<OsString> = components(target).rev().collect();
        let mut dirs: Vec<(OwnedFd, PathBuf)> = vec![(self.enter(self.root.as_fd())?, PathBuf::from("/"))];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let Some((dir, path)) = dirs.last() else { return Err(Errno::NOENT) };
            if name == ".." {
                if dirs.len() > 1 {
                    dirs.pop();
                }
                continue;
            }
            let wanted = if rest.is_empty() { kind } else { Kind::Directory };
            let path = path.join(&name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match rustix::fs::openat(dir, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let made = self.make(dir.as_fd(), &name, &path, wanted)?;
                    dirs.push((self.enter(made.as_fd())?, path));
                    continue;
                }
                other => other?,
            };
            match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if !follow || links > LINKS {
                        return Err(Errno::LOOP);
                    }
                    let link = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    let link = Path::new(OsStr::from_bytes(link.to_bytes()));
                    rest.extend(components(link).rev());
                    if link.is_absolute() {
                        dirs.truncate(1);
                    }
                }
                FileType::Directory if wanted == Kind::Directory => {
                    dirs.push((self.enter(found.as_fd())?, path));
                }
                FileType::Directory => return Err(Errno::ISDIR),
                _ if wanted == Kind::File && rest.is_empty() => dirs.push((found, path)),
                _ => return Err(Errno::NOTDIR),
            }
        }
        let Some((found, path)) = dirs.pop() else { return Err(Errno::NOENT) };
        let stat = rustix::fs::fstat(&found)?;
        if kind == Kind::File && FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        Ok(Place { path, id: (stat.st_dev, stat.st_ino) })
    }

    /// The directory itself, or the root of what will cover it; covers lie on top of each other in their order.
    fn enter(&self, dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let mut top = dir;
        for (place, tree) in &self.covered {
            let stat = rustix::fs::fstat(top)?;
            if place.id == (stat.st_dev, stat.st_ino) {
                top = tree.as_ref().ok_or(Errno::XDEV)?.as_fd();
            }
        }
        top.try_clone_to_owned().map_err(|_| Errno::MFILE)
    }

    fn make(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
        let times = rustix::fs::fstat(&parent)?;
        let made = match kind {
            Kind::Directory => {
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                // Whatever the umask was.
                let made = rustix::fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                made
            }
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?
            }
        };
        let before = rustix::fs::fstat(&made)?;
        let restored = rustix::fs::futimens(&parent, &times_of(&times));
        self.made.push(Made { parent, name: name.to_owned(), path: path.to_owned(), kind, before });
        restored?;
        Ok(made)
    }

    /// Removes what was made, the last first. What the job has put something into, or changed, has become its own
    /// and stays.
    ///
    /// # Errors
    /// The path that could not be removed; the others are removed all the same.
    pub(super) fn remove(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let mut result = Ok(());
        while let Some(made) = self.made.pop() {
            if let Err(errno) = made.remove()
                && result.is_ok()
            {
                result = Err((made.path, errno.into()));
            }
        }
        self.covered.clear();
        result
    }
}

impl Drop for Stubs {
    /// For the paths that lead out early; a job's normal end calls [`Stubs::remove`] and hears of errors.
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

impl Made {
    fn remove(&self) -> Result<(), Errno> {
        let now = match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let same = |value: fn(&Stat) -> u64| value(&now) == value(&self.before);
        let untouched = same(|stat| stat.st_ino)
            && same(|stat| stat.st_mode.into())
            && same(|stat| stat.st_uid.into())
            && same(|stat| stat.st_gid.into())
            && (self.kind == Kind::Directory || now.st_size == 0);
        if !untouched {
            return Ok(());
        }
        let times = rustix::fs::fstat(&self.parent)?;
        let flags = if self.kind == Kind::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match rustix::fs::unlinkat(&self.parent, &self.name, flags) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
            other => other?,
        }
        rustix::fs::futimens(&self.parent, &times_of(&times))
    }
}

fn times_of(stat: &Stat) -> Timestamps {
    // The field types differ between architectures and C libraries.
    #[expect(clippy::useless_conversion, reason = "not useless everywhere")]
    let time = |seconds, nanoseconds| Timespec { tv_sec: i64::from(seconds), tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests;
