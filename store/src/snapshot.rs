//! Snapshots: file systems that are stacked from layers, and the one step that may write to a new one.
//!
//! # Words
//! - `Committed`: immutable, named by the diff IDs of its layers, bottom first. `scratch` has none.
//! - `Active`: a writable file system over a committed one, owned by one step. It can never be a parent.
//! - `View`: a read-only look at a committed one.
//!
//! # Lifecycle
//! ```text
//! prepare(parent) -> Active -> (a job writes to path()) -> diff(&active) -> Diff
//!     -> commit(active, &diff) -> Committed        the writes are the newest layer
//!     -> drop(active)                              discarded: the step failed, or diff.content_id is that
//!                                                  of an earlier result, which is taken instead
//! ```
//! `diff` may be called in any thread once nothing writes any more; it can not be undone that something
//! wrote between `diff` and `commit`, so nothing may.

use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::layer::chain_id;

/// An immutable file system: the layers that it is stacked from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    layers: Arc<[Digest]>,
}

impl Committed {
    /// The empty file system.
    pub fn scratch() -> Self {
        Self { layers: Arc::new([]) }
    }
    /// The file system of `layers`, diff IDs, bottom first.
    pub fn new(layers: impl Into<Arc<[Digest]>>) -> Self {
        Self { layers: layers.into() }
    }
    /// Diff IDs, bottom first.
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }
    /// The chain ID of all layers; that of `scratch` is the digest of nothing.
    pub fn chain_id(&self) -> Digest {
        chain_id(&self.layers)
    }
    /// This file system with one layer more.
    pub fn with(&self, diff_id: Digest) -> Self {
        Self { layers: self.layers.iter().copied().chain([diff_id]).collect() }
    }
}

/// What a step changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Digest of the changes as a layer's tar.
    pub diff_id: Digest,
    /// Bytes of that tar.
    pub size: u64,
    /// Digest of the same listing without times: equal where two runs of a step did the same.
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

/// A writable file system over a committed one. Dropped, its changes are discarded.
#[derive(Debug)]
pub struct Active {
    parent: Committed,
    path: std::path::PathBuf,
}

impl Active {
    /// What it stands on.
    pub fn parent(&self) -> &Committed {
        &self.parent
    }
    /// The root directory to work in.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A read-only look at a committed file system, gone when dropped.
#[derive(Debug)]
pub struct View {
    path: std::path::PathBuf,
}

impl View {
    /// The root directory to read.
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
    Layer(#[from] crate::layer::LayerError),
    /// The system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl SnapshotError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

/// A way to stack layers into a file system and to find out what a step changed in it.
pub trait SnapshotDriver: Send + Sync + std::fmt::Debug {
    /// `overlay` or `copy`.
    fn name(&self) -> &'static str;
    /// Which layers of `snapshot` (indices, bottom first) must be imported before it can be used.
    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError>;
    /// A writable file system over `parent`.
    fn prepare(&self, parent: &Committed) -> Result<Active, SnapshotError>;
    /// A read-only look at `snapshot`.
    fn view(&self, snapshot: &Committed) -> Result<View, SnapshotError>;
    /// What was changed in `active`. Nothing may write to it any more.
    fn diff(&self, active: &Active) -> Result<Diff, SnapshotError>;
    /// Keeps what was changed as the newest layer. Nothing changed: the parent itself.
    fn commit(&self, active: Active, diff: &Diff) -> Result<Committed, SnapshotError>;
}
