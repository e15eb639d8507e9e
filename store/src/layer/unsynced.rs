//! Layers that are in the store and perhaps not on the disk yet. Each carries a mark that names the run of the system
//! in which it was put there; all are synced together and lose their marks before anything points to them for good.
//! After a loss of power a mark of an earlier run says that the layer may be incomplete, and it counts as absent.
//!
//! The mark is made before the layer gets its name, and file systems keep that order (ext4, XFS and btrfs by their
//! journals).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::layers::io_error;
use super::{LayerError, node};

/// The name of the mark in a layer's directory.
const MARK: &str = "unsynced";

/// Which run of the system this is; none where it does not say.
static BOOT: LazyLock<Option<Vec<u8>>> =
    LazyLock::new(|| std::fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty()));

/// The layers that this process put there, or used, before they were synced.
#[derive(Debug)]
pub(crate) struct Unsynced {
    dir: PathBuf,
    layers: Mutex<Vec<PathBuf>>,
}

/// What the mark of a layer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// There is none: it is on the disk.
    None,
    /// It is whole as long as the system runs.
    Whole,
    /// The system was started anew since.
    Doubtful,
}

/// Marks what is in the directory `layer`. False where that would say nothing: then it has to be synced.
pub(crate) fn mark(layer: &Path) -> Result<bool, LayerError> {
    let Some(boot) = &*BOOT else { return Ok(false) };
    let path = layer.join(MARK);
    std::fs::write(&path, boot).map_err(io_error("write", &path))?;
    Ok(true)
}

/// Looks at the mark of a layer.
pub(crate) fn look(layer: &Path) -> Mark {
    match std::fs::read(layer.join(MARK)) {
        Ok(said) if Some(&said) == BOOT.as_ref() => Mark::Whole,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Mark::None,
        _ => Mark::Doubtful,
    }
}

impl Unsynced {
    /// Those of the layers in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), layers: Mutex::default() }
    }

    /// Notes a layer that is to be synced.
    pub(crate) fn add(&self, layer: &Path) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if !layers.iter().any(|other| other == layer) {
            layers.push(layer.to_owned());
        }
    }

    /// Whether there is nothing to sync.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Syncs them all, with one call, and takes their marks away.
    ///
    /// # Errors
    /// When the system can not write. They keep their marks then.
    pub(crate) fn settle(&self) -> Result<(), LayerError> {
        let layers = std::mem::take(&mut *self.layers.lock().unwrap_or_else(PoisonError::into_inner));
        if layers.is_empty() {
            return Ok(());
        }
        let synced = node::open_root(&self.dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
        if let Err(error) = synced {
            layers.iter().for_each(|layer| self.add(layer));
            return Err(io_error("sync", &self.dir)(error));
        }
        for layer in layers {
            // One that is gone needs none; one whose mark stays is built anew once.
            let _ = std::fs::remove_file(layer.join(MARK));
        }
        Ok(())
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        // What came of it nobody waits for: they keep their marks.
        let _ = self.settle();
    }
}

#[cfg(test)]
pub(crate) fn doubt(layer: &Path) {
    std::fs::write(layer.join(MARK), "another run\n").unwrap();
}
