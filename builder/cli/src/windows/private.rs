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
    OpenOptions::new().write(true).create(true).create_new(new).open(path)
}

/// The owner is who makes it.
pub(crate) fn keep_owner(_file: &File, _old: &Path) {}
