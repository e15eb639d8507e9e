//! Snapshots by copying: works on any file system and without any privilege.
//!
//! ```text
//! work/step-…/tree                       the snapshot: a copy of all that it stands on
//! layers/<diff ID>/tar                   what the step changed, once it is committed
//! layers/chain-<chain ID>/tree           the whole file system, kept for the next step
//! ```
//! Files are cloned (`FICLONE`) where the file system can, else copied inside the kernel, else read and
//! written. What changed is found by comparing the tree with what it was copied from.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use super::overlay::{directory, first_missing, look};
use super::{Active, Committed, Diff, SnapshotDriver, SnapshotError, View, io_error};
use crate::layer::diff::{self, Against, Root, Upper};
use crate::layer::{Form, Hold, LayerFacts, Layers, Ownership, copy, node};
use crate::work::WorkDir;

/// Snapshots by copying.
#[derive(Clone, Debug)]
pub struct CopyDriver {
    layers: Layers,
}

impl CopyDriver {
    /// Snapshots of the layers `layers`.
    pub fn new(layers: &Layers) -> Self {
        Self { layers: layers.clone() }
    }

    fn of(&self, snapshot: &Committed) -> Layers {
        self.layers.for_os(snapshot.os())
    }

    fn holds(&self, snapshot: &Committed) -> Result<Vec<Arc<Hold>>, SnapshotError> {
        let holds = self.of(snapshot).holds(snapshot.layers(), true)?;
        Ok(holds.map_err(|missing| first_missing(snapshot, &missing))?)
    }

    /// A copy of `snapshot` in `work/…/tree`.
    fn active(&self, snapshot: &Committed) -> Result<Active, SnapshotError> {
        let (holds, layers) = (self.holds(snapshot)?, self.of(snapshot));
        let stack = self.layers.stack(&holds)?;
        let before = layers.root(&holds)?;
        let work = self.layers.work().create("step")?;
        let path = directory(&work, "tree", &Root::scratch(), Ownership::Ignore)?;
        let root = node::open_root(&path).map_err(io_error("open", &path))?;
        copy::stack(&stack, &root, self.layers.ownership, None)
            .map_err(|(at, e)| io_error("copy", &path.join(at))(e))?;
        // Last: what is made in it would take over its default ACL.
        before.put(root.as_fd(), self.layers.ownership).map_err(io_error("set up", &path))?;
        let before = look(&path, snapshot.os())?;
        Ok(Active {
            parent: snapshot.clone(),
            path,
            before,
            found: Mutex::default(),
            mount: None,
            work,
            holds,
            lower: None,
        })
    }

    /// Keeps `work/…/tree` as the file system of `snapshot`.
    fn keep(&self, work: &WorkDir, snapshot: &Committed, facts: &LayerFacts) -> Result<(), SnapshotError> {
        let making = making(work)?;
        let path = work.path().join("tree");
        std::fs::rename(&path, making.join("tree")).map_err(io_error("move", &path))?;
        let (top, below) = snapshot.layers().split_last().ok_or_else(|| first_missing(snapshot, &[]))?;
        let key = self.of(snapshot).key(below, top, true);
        Ok(self.layers.publish(&key, work, facts)?)
    }
}

impl SnapshotDriver for CopyDriver {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError> {
        Ok(self.of(snapshot).holds(snapshot.layers(), true)?.err().unwrap_or_default())
    }

    fn prepare(&self, parent: &Committed) -> Result<Active, SnapshotError> {
        self.active(parent)
    }

    fn view(&self, snapshot: &Committed) -> Result<View, SnapshotError> {
        let Some((top, below)) = snapshot.layers().split_last() else {
            let active = self.active(snapshot)?;
            return Ok(View {
                path: active.path,
                _mount: None,
                _work: Some(active.work),
                _holds: active.holds,
                _lower: None,
            });
        };
        loop {
            if let Some(hold) = self.of(snapshot).hold(below, top, Form::Tree)? {
                return Ok(View {
                    path: hold.used(),
                    _mount: None,
                    _work: None,
                    _holds: vec![Arc::new(hold)],
                    _lower: None,
                });
            }
            let active = self.active(snapshot)?;
            let facts = self.of(snapshot).facts(below, top)?;
            let facts = facts.ok_or_else(|| first_missing(snapshot, &[below.len()]))?;
            self.keep(&active.work, snapshot, &LayerFacts { made_here: false, ..facts })?;
        }
    }

    fn diff(&self, active: &Active) -> Result<Diff, SnapshotError> {
        let root = node::open_root(&active.path).map_err(io_error("open", &active.path))?;
        let stack = self.layers.stack(&active.holds)?;
        let against = Against::Stack(&stack, &active.before);
        let changes = diff::find(root.as_fd(), Upper::Tree, against, active.parent.os())?;
        let _span = self.layers.work().trace().span("hash", &[]);
        let path = active.work.path().join("tar");
        let tar = File::create(&path).map_err(io_error("make", &path))?;
        let diff = Diff::from(changes.write(root.as_fd(), io::BufWriter::with_capacity(1 << 18, tar))?);
        active.remember(diff, changes);
        Ok(diff)
    }

    fn commit(&self, active: Active, diff: &Diff) -> Result<Committed, SnapshotError> {
        let parent = active.parent.clone();
        if diff.is_empty() {
            return Ok(parent);
        }
        let changes = match active.recall(diff) {
            Some(changes) => changes,
            None => {
                if self.diff(&active)? != *diff {
                    return Err(SnapshotError::Changed { path: active.path });
                }
                active.recall(diff).ok_or_else(|| SnapshotError::Changed { path: active.path.clone() })?
            }
        };
        let facts = LayerFacts {
            diff_id: diff.diff_id,
            size: diff.size,
            entries: diff.entries,
            made_here: false,
            root_entry: changes.root_entry(),
            missing_devices: 0,
            missing_xattrs: 0,
        };
        let making = making(&active.work)?;
        let tar = active.work.path().join("tar");
        std::fs::rename(&tar, making.join("tar")).map_err(io_error("move", &tar))?;
        self.layers.publish(
            &self.of(&parent).key(parent.layers(), &diff.diff_id, false),
            &active.work,
            &facts,
        )?;
        let committed = parent.with(diff.diff_id);
        self.keep(&active.work, &committed, &facts)?;
        Ok(committed)
    }
}

/// The directory whose forms are published next.
fn making(work: &WorkDir) -> Result<std::path::PathBuf, SnapshotError> {
    let path = work.path().join("layer");
    // What an earlier publication did not need, because somebody had been faster.
    node::open_root(work.path())
        .and_then(|dir| node::remove(&dir, b"layer"))
        .map_err(io_error("remove", &path))?;
    std::fs::create_dir(&path).map_err(io_error("make", &path))?;
    Ok(path)
}
