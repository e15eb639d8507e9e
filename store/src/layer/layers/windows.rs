//! A layer's lock, which is beside its directory, and the layer's tar.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use super::{Layers, io_error};
use crate::digest::Digest;
use crate::layer::{LayerError, LayerKey};
use crate::work::WorkDir;

/// Opens the lock, made where it is missing; none where there is no such layer, or it is being removed.
pub(super) fn open_lock(dir: &Path, path: &Path) -> io::Result<Option<File>> {
    if dir.symlink_metadata().is_err() {
        return Ok(None);
    }
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
        Ok(file) => Ok(Some(file)),
        // Removed, and still open: before POSIX removal the name stays taken until then.
        Err(e) if crate::nt::is_going(path, &e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether what was locked is still the lock of the layer, and the layer there.
pub(super) fn is_in_place(lock: &File, dir: &Path, _path: &Path) -> io::Result<bool> {
    Ok(crate::nt::is_linked(lock)? && dir.symlink_metadata().is_ok())
}

/// Removes the lock of a layer that is gone, while it is held: whoever waits for it sees that.
pub(super) fn let_go(lock: File, path: &Path) {
    // One that stays is an unlocked lock, which does no harm.
    let _ = std::fs::remove_file(path);
    drop(lock);
}

/// Moves a layer, or a part of one, to where nothing is.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match crate::nt::rename_new(from, to)? {
        true => Ok(()),
        false => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

impl Layers {
    /// Layers are never left in a directory of their own here.
    pub(super) fn remade_tar(
        &self,
        _below: &[Digest],
        diff_id: &Digest,
    ) -> Result<Box<dyn io::Read + Send>, LayerError> {
        Err(LayerError::Missing { diff_id: *diff_id })
    }

    /// Moves a layer, which must not have a tar of its own, as `taken` into a work directory, if nobody uses it; says
    /// whether it did.
    pub(crate) fn take(&self, key: &LayerKey, work: &WorkDir) -> Result<bool, LayerError> {
        let (dir, path) = (self.path(key), self.lock_path(key));
        let Some(lock) = open_lock(&dir, &path).map_err(io_error("open", &path))? else {
            return Ok(false);
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path)(e)),
        }
        if !is_in_place(&lock, &dir, &path).map_err(io_error("look at", &path))? {
            return Ok(false);
        }
        rename(&dir, &work.path().join("taken")).map_err(io_error("take", &dir))?;
        let_go(lock, &path);
        Ok(true)
    }
}
