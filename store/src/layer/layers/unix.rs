//! A layer's lock, which is in its directory.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens the lock; none where there is no such layer.
pub(super) fn open_lock(_dir: &Path, path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether what was locked is still the lock of the layer.
pub(super) fn is_in_place(lock: &File, _dir: &Path, path: &Path) -> io::Result<bool> {
    let held = lock.metadata()?;
    Ok(path.metadata().is_ok_and(|now| now.ino() == held.ino() && now.dev() == held.dev()))
}

/// Lets go of the lock of a layer that is gone.
pub(super) fn let_go(lock: File, _path: &Path) {
    drop(lock);
}

/// Moves a layer away.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}
