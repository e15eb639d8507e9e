//! Snapshots on Windows.

use super::{Active, Committed, Diff, SnapshotDriver, SnapshotError, View};
use crate::layer::Layers;

/// What a tree was like when it was committed.
#[derive(Debug, Default)]
pub(crate) struct Table {}

/// What a step changed.
#[derive(Debug)]
pub(crate) struct Changes {}

/// Snapshots by cloning blocks where the volume can, else by copying.
#[derive(Clone, Debug)]
pub struct CloneDriver {
    layers: Layers,
    why_no_clones: Option<String>,
}

impl CloneDriver {
    /// Snapshots of the layers `layers`; with `clone` by cloning blocks where the volume can.
    ///
    /// # Errors
    /// When the volume does not say what it can.
    pub fn new(layers: &Layers, _clone: bool) -> Result<Self, SnapshotError> {
        Ok(Self { layers: layers.clone(), why_no_clones: None })
    }

    /// Why blocks are not cloned, for people.
    pub fn why_no_clones(&self) -> Option<&str> {
        self.why_no_clones.as_deref()
    }
}

impl SnapshotDriver for CloneDriver {
    fn name(&self) -> &'static str {
        "clone"
    }

    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError> {
        let mut missing = Vec::new();
        for (i, diff_id) in snapshot.layers().iter().enumerate() {
            if !self.layers.contains(&snapshot.layers()[..i], diff_id) {
                missing.push(i);
            }
        }
        Ok(missing)
    }

    fn prepare(&self, _parent: &Committed) -> Result<Active, SnapshotError> {
        Err(SnapshotError::Foreign { what: "any layer".to_owned() })
    }

    fn view(&self, _snapshot: &Committed) -> Result<View, SnapshotError> {
        Err(SnapshotError::Foreign { what: "any layer".to_owned() })
    }

    fn diff(&self, _active: &Active) -> Result<Diff, SnapshotError> {
        Err(SnapshotError::Foreign { what: "any layer".to_owned() })
    }

    fn commit(&self, _active: Active, _diff: &Diff) -> Result<Committed, SnapshotError> {
        Err(SnapshotError::Foreign { what: "any layer".to_owned() })
    }
}
