//! Snapshots: file systems that are stacked from layers, and the one step that may write to a new one.
//!
//! # Words
//! - [`Committed`]: immutable, named by the diff IDs of its layers, bottom first. `scratch` has none.
//! - [`Active`]: a writable file system over a committed one, owned by one step. It can never be a parent.
//! - [`View`]: a read-only look at a committed one.
//!
//! # Lifecycle
//! ```text
//! prepare(parent) -> Active -> (a job writes to path()) -> diff(&active) -> Diff
//!     -> commit(active, &diff) -> Committed        the changes are the newest layer
//!     -> drop(active)                              discarded: the step failed, or diff.content_id is that
//!                                                  of an earlier result, which is taken instead
//! ```
//! A layer that comes from elsewhere goes into the store by [`Layers::import`](crate::layer::Layers::import);
//! [`SnapshotDriver::missing`] says which of an image's layers have to. An active snapshot and a view keep
//! their layers from being removed. Killed at any moment, a process leaves only things in `work/`, mounts
//! included, that [`Work::sweep`](crate::work::Work::sweep) takes away.

#[cfg(test)]
mod conformance;
#[cfg(unix)]
pub mod copy;
#[cfg(unix)]
pub mod overlay;
#[cfg(windows)]
pub mod windows;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::Digest;
#[cfg(unix)]
use crate::layer::compose::Composer;
#[cfg(unix)]
use crate::layer::diff::{Changes, Root, Written};
use crate::layer::{DiffError, Hold, LayerError, chain_id, chain_over};
use crate::work::{WorkDir, WorkError, hint_of};
#[cfg(windows)]
use windows::Changes;

/// Which system's layers a file system is made of: how they stand in a tar, and which rules names follow. It
/// is the image's, not the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerOs {
    /// Linux, and every system whose layers are plain trees.
    #[default]
    Linux,
    /// Windows. A snapshot's tree is the content of `Files/`; [`windows`](crate::layer::windows) has the rest.
    Windows,
}

impl LayerOs {
    /// That of an image whose config has this `os`.
    pub fn of(os: &str) -> Self {
        match os {
            "windows" => Self::Windows,
            _ => Self::Linux,
        }
    }
}

/// An immutable file system: the layers that it is stacked from. A value; that the layers are stored is
/// another question ([`SnapshotDriver::missing`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    layers: Arc<[Digest]>,
    chain: Digest,
    os: LayerOs,
}

impl Committed {
    /// The empty file system of a Linux image.
    pub fn scratch() -> Self {
        Self::scratch_of(LayerOs::Linux)
    }

    /// The empty file system of an image for `os`.
    pub fn scratch_of(os: LayerOs) -> Self {
        Self { os, ..Self::new([]) }
    }

    /// The file system of `layers`: diff IDs, bottom first, of a Linux image.
    pub fn new(layers: impl Into<Arc<[Digest]>>) -> Self {
        let layers = layers.into();
        Self { chain: chain_id(&layers), layers, os: LayerOs::Linux }
    }

    /// The same layers, read as those of an image for `os`.
    #[must_use]
    pub fn for_os(self, os: LayerOs) -> Self {
        Self { os, ..self }
    }

    /// Which system's layers these are.
    pub fn os(&self) -> LayerOs {
        self.os
    }

    /// Diff IDs, bottom first.
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }

    /// The chain ID of all layers; that of `scratch` is the digest of nothing.
    pub fn chain_id(&self) -> Digest {
        self.chain
    }

    /// This file system with one layer more on top.
    #[must_use]
    pub fn with(&self, diff_id: Digest) -> Self {
        // A step's is asked for again and again: not to be made from the bottom each time.
        let chain = if self.layers.is_empty() { diff_id } else { chain_over(&self.chain, &diff_id) };
        Self { layers: self.layers.iter().copied().chain([diff_id]).collect(), chain, os: self.os }
    }
}

/// What a step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Digest of the changes as a layer's tar.
    pub diff_id: Digest,
    /// Bytes of that tar.
    pub size: u64,
    /// Digest of the same with all times left out: equal where two runs of a step did the same.
    pub content_id: Digest,
    /// Entries of the tar; 0 where nothing changed.
    pub entries: u64,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

#[cfg(unix)]
impl From<Written> for Diff {
    fn from(written: Written) -> Self {
        let Written { diff_id, size, content_id, entries } = written;
        Self { diff_id, size, content_id, entries }
    }
}

/// A writable file system over a committed one. Dropped, its changes are discarded.
pub struct Active {
    parent: Committed,
    path: PathBuf,
    #[cfg(unix)]
    before: Root,
    /// What was there before the step.
    #[cfg(windows)]
    before: windows::Table,
    /// What [`SnapshotDriver::diff`] found, for the commit.
    found: Mutex<Option<Box<(Diff, Changes)>>>,
    // Dropped in this order: unmounted, removed, let go.
    #[cfg(unix)]
    mount: Option<overlay::Mount>,
    work: WorkDir,
    #[cfg(unix)]
    holds: Vec<Arc<Hold>>,
    /// What an overlay is stacked from.
    #[cfg(unix)]
    lower: Option<overlay::Lower>,
}

impl Active {
    /// What it stands on.
    pub fn parent(&self) -> &Committed {
        &self.parent
    }

    /// The root directory to work in, absolute. With the overlay driver that is a mount, in the mount namespace
    /// of the thread that prepared it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remember(&self, diff: Diff, changes: Changes) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new((diff, changes)));
    }

    fn recall(&self, diff: &Diff) -> Option<Changes> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.filter(|found| found.0 == *diff).map(|found| found.1)
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parent, path, .. } = self;
        f.debug_struct("Active").field("parent", parent).field("path", path).finish_non_exhaustive()
    }
}

/// A read-only look at a committed file system, gone when dropped.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    // Dropped in this order.
    #[cfg(unix)]
    _mount: Option<overlay::Mount>,
    _work: Option<WorkDir>,
    _holds: Vec<Arc<Hold>>,
    #[cfg(unix)]
    _lower: Option<overlay::Lower>,
}

impl View {
    /// The root directory to read, absolute. The copy driver does not enforce that it is only read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a snapshot could not be made, compared or committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A layer is not there or not right.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Something in `work/` went wrong.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The changes can not be found.
    #[error("cannot make a layer of what the step changed")]
    Diff(#[from] DiffError),
    /// The changes are not those that the commit was asked for.
    #[error("the snapshot `{path}` changed after its layer was made")]
    Changed {
        /// Its root directory.
        path: PathBuf,
    },
    /// Something of the step still has files of the snapshot open.
    #[error("`{path}` of the snapshot is still open: something survived the step")]
    Survived {
        /// Path in the snapshot.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The snapshot's layers are for another system.
    #[error("a snapshot of {what} cannot be made on this system")]
    Foreign {
        /// What it is of.
        what: String,
    },
    /// overlayfs stacks no more.
    #[error("an overlay of {layers} layers cannot be mounted, at most {most}")]
    TooManyLayers {
        /// Layers of the snapshot.
        layers: usize,
        /// How many can be stacked.
        most: usize,
    },
    /// The overlay can not be mounted.
    #[error("cannot mount an overlay at `{path}`{}", said(.log))]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the kernel says about it, or nothing.
        log: String,
        /// Why.
        source: io::Error,
    },
    /// The system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the kernel said, for a message.
pub(crate) fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" ({log})") }
}

impl SnapshotError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(e) => e.hint(),
            Self::Work(e) => e.hint(),
            Self::Diff(e) => e.hint(),
            Self::Changed { .. } => Some("nothing may write to a snapshot after its step".to_owned()),
            Self::Survived { .. } => {
                Some("end the program that has it open; a step's processes must all be gone before its changes are read".to_owned())
            }
            Self::Foreign { .. } => Some(
                "layers of other systems can be pulled, pushed, saved and copied here; build them where they belong"
                    .to_owned(),
            ),
            Self::TooManyLayers { .. } => Some("merge steps, or use the copy driver".to_owned()),
            Self::Mount { .. } => Some(
                "overlayfs needs root or a user namespace (Linux 5.11), and a store on a file system that it accepts, such as ext4, xfs, btrfs or tmpfs; the copy driver works anywhere"
                    .to_owned(),
            ),
            Self::Io { source, path, .. } => hint_of(source, path),
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> SnapshotError + use<> {
    let path = path.to_owned();
    move |source| SnapshotError::Io { action, path: path.clone(), source }
}

/// A way to stack layers into a file system and to find out what a step changed in it. The module's page tells
/// the lifecycle; every driver passes the same conformance suite.
pub trait SnapshotDriver: Send + Sync + fmt::Debug {
    /// `overlay` or `copy`, on Windows `clone`.
    fn name(&self) -> &'static str;

    /// Which layers of `snapshot` (indices, bottom first) must be imported before it can be used. A layer whose
    /// tar is in the store is unpacked from that by this call, and not missing.
    ///
    /// # Errors
    /// When the store can not be read.
    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError>;

    /// A writable file system over `parent`. Costs one mount (overlay), or a copy of every file (copy; by
    /// reflink where the file system can).
    ///
    /// # Errors
    /// When a layer is missing, or the system refuses.
    fn prepare(&self, parent: &Committed) -> Result<Active, SnapshotError>;

    /// A layer over `parent` that is written as its tar, where this driver has a use for that. What the parent has can
    /// be looked up in a [`view`](SnapshotDriver::view).
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(unix)]
    fn compose(&self, _parent: &Committed) -> Result<Option<Composer>, SnapshotError> {
        Ok(None)
    }

    /// A read-only look at `snapshot`.
    ///
    /// # Errors
    /// When a layer is missing, or the system refuses.
    fn view(&self, snapshot: &Committed) -> Result<View, SnapshotError>;

    /// What was changed in `active`, in one pass over the changed files. Nothing may write to it any more.
    ///
    /// # Errors
    /// When something can not be read, or changes meanwhile.
    fn diff(&self, active: &Active) -> Result<Diff, SnapshotError>;

    /// Keeps what was changed as the newest layer. `diff` is what [`SnapshotDriver::diff`] said of this
    /// snapshot. Where nothing changed the result is the parent itself.
    ///
    /// # Errors
    /// When the layer can not be stored; nothing of it is visible then.
    fn commit(&self, active: Active, diff: &Diff) -> Result<Committed, SnapshotError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_id_grows_with_the_layers() {
        let mut snapshot = Committed::scratch_of(LayerOs::Windows);
        assert_eq!(snapshot.chain_id(), chain_id(&[]));
        for n in 0..5u8 {
            snapshot = snapshot.with(Digest::of(&[n]));
            assert_eq!(snapshot.chain_id(), chain_id(snapshot.layers()));
            assert_eq!(snapshot, Committed::new(snapshot.layers().to_vec()).for_os(LayerOs::Windows));
        }
    }
}
