//! What a step changed, before it is kept.

use orlop_store::snapshot::{Active, Committed, Diff, SnapshotError};
use orlop_store::{Result, Store};

#[cfg(unix)]
use orlop_store::layer::compose::Composed;

/// What a step changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is in a snapshot.
    Snapshot(Active, Diff),
    /// It is a layer's tar already.
    #[cfg(unix)]
    Layer(Composed),
}

impl Change {
    /// What it is.
    pub(crate) fn diff(&self) -> Diff {
        match self {
            Self::Snapshot(_, diff) => *diff,
            #[cfg(unix)]
            Self::Layer(composed) => *composed.diff(),
        }
    }

    /// Keeps it as the newest layer.
    pub(crate) fn commit(self, store: &Store) -> Result<Committed> {
        let committed: std::result::Result<_, SnapshotError> = match self {
            Self::Snapshot(active, diff) => store.snapshots()?.commit(active, &diff),
            #[cfg(unix)]
            Self::Layer(composed) => composed.commit(),
        };
        Ok(committed?)
    }
}
