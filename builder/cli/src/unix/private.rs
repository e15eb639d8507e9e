//! Files that only their owner reads.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory, and those that it is in.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for writing; `new` where there must be none yet.
pub(crate) fn open(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).create_new(new).mode(0o600);
    options.open(path)
}

/// Gives a new file to the owner of the one whose place it takes, as far as one may: root changes a user's file too.
pub(crate) fn keep_owner(file: &File, old: &Path) {
    let Ok(old) = std::fs::metadata(old) else { return };
    let same = file.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (old.uid(), old.gid()));
    if !same {
        // Who may not do this has a file of their own, which is right as well.
        let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
    }
}

/// Puts a file in the place of another one.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}
