//! Files that only their owner reads: here what a user's own directories give to what is made in them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes a directory, and those that it is in.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Opens a file for writing; `new` where there must be none yet.
pub(crate) fn open(path: &Path, new: bool) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).create_new(new).open(path)
}

/// The owner is who makes it.
pub(crate) fn keep_owner(_file: &File, _old: &Path) {}

/// Puts a file in the place of another one. The system refuses that while somebody reads the other one: those who do
/// it for a moment are waited for.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..50 {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            other => return other,
        }
    }
    std::fs::rename(from, to)
}
