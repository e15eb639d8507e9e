//! The directory by a handle, and names in it.

pub(super) mod remove;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

/// An open directory.
#[derive(Debug)]
pub(super) struct Place(OwnedFd);

/// Makes `dir` and its parents where they are missing. Not for other users of the machine: images have programs
/// that are setuid root.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

impl Place {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    pub(super) fn make_dir(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?)
    }

    /// A new file to lock; `AlreadyExists` where the name is taken.
    pub(super) fn new_lock(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// A file to lock, made where it is missing; none where it is being removed just now.
    pub(super) fn lock_file(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Some(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into()))
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes `name` with everything in it.
    pub(super) fn remove(&self, name: &str) -> Result<(), (PathBuf, io::Error)> {
        remove::tree(self.0.as_fd(), name.as_bytes())
    }
}

/// Whether a file still has a name.
pub(super) fn is_linked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

#[cfg(test)]
mod tests;
