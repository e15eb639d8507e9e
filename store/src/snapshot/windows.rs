//! Snapshots on Windows: directories, with blocks shared where the volume can (ReFS, Dev Drive), else copied.
//!
//! ```text
//! work/step-…/tree/root          the snapshot: all that it stands on, and what the step does to it
//! work/step-…/tree/table         its file table
//! layers/<diff ID>/tar           what the step changed, once it is committed
//! layers/chain-<chain ID>/tree/  the same directory, handed on
//! ```
//! # Paid once a stage
//! After a commit the step's own directory becomes the tree of the new chain, by a rename. Who prepares a snapshot
//! of that chain next takes it away again, by another rename, if nobody else uses it. So a stage pays for its files
//! once. A new tree is made where two children share a parent, after a step that failed, and where a stage goes on
//! from a cached step: from the nearest tree below, and the layers' tars above that. On a volume that shares blocks
//! a tree that was unpacked stays where it is, and everybody gets a clone.
//!
//! # What is believed
//! A step has its directory to itself and may forge every time in it. A tree that it leaves is believed by the
//! process that ran the step, for the rest of the build that the step belongs to. To all others a tree is a cache
//! that has to prove itself: its bytes are compared with the digests in its table, or it is made anew from the
//! layers. A step that changed nothing has to prove that in the same way, since its directory would become its
//! parent's.
//!
//! What a step plants (junctions, symbolic links, names of devices, streams) is recorded and never followed. A file
//! that is still open when the changes are read says that something survived the step.

mod apply;
mod changes;
mod copy;
mod emit;
mod extents;
mod link;
mod security;
mod table;
mod tree;
pub(in crate::snapshot) mod walk;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Active, Committed, Diff, LayerOs, SnapshotDriver, SnapshotError, View, io_error};
use crate::layer::{DiffError, Durability, Form, LayerFacts, LayerKey, Layers};
use crate::nt::Dir;

pub(crate) use changes::Changes;
use extents::{Cloner, System};
pub(crate) use table::Table;

/// An error at a path in a snapshot, of which one that says that somebody holds a file is told apart.
fn fail(action: &'static str, path: &str) -> impl Fn(io::Error) -> SnapshotError + use<> {
    let path = if path.is_empty() { "/" } else { path }.to_owned();
    move |source| match crate::nt::is_held(&source) {
        true => SnapshotError::Survived { path: path.clone(), source },
        false => SnapshotError::Diff(DiffError::Io { action, path: path.clone(), source }),
    }
}

/// Something that no layer can have.
fn unfit(path: &str, why: &str) -> SnapshotError {
    SnapshotError::Diff(DiffError::NotForWindows { path: path.to_owned(), why: why.to_owned() })
}

/// Snapshots by cloning blocks where the volume can, else by copying.
#[derive(Clone, Debug)]
pub struct CloneDriver {
    layers: Layers,
    cloner: Arc<Cloner>,
    why_no_clones: Option<String>,
    /// Which process this is.
    session: String,
    verify: bool,
}

impl CloneDriver {
    /// Snapshots of the layers `layers`; with `clone` by cloning blocks where the volume can.
    ///
    /// # Errors
    /// When the volume does not say what it can.
    pub fn new(layers: &Layers, clone: bool) -> Result<Self, SnapshotError> {
        let path = layers.work().path();
        let volume = canonical(path)
            .and_then(|path| Dir::open(&path)?.volume())
            .map_err(io_error("ask what the volume can of", path))?;
        let can = volume.can_clone();
        let why_no_clones = (clone && !can).then(|| {
            format!(
                "files are copied for each stage, which is slow: a volume with {} cannot share blocks; a store on ReFS or a Dev Drive (`--root`) can",
                volume.name.display()
            )
        });
        let cloner = Arc::new(Cloner::new(Box::new(System), volume.cluster, clone && can));
        let session = new_session();
        Ok(Self { layers: layers.clone(), cloner, why_no_clones, session, verify: false })
    }

    /// Why blocks are not cloned, for people.
    pub fn why_no_clones(&self) -> Option<&str> {
        self.why_no_clones.as_deref()
    }

    /// Makes [`SnapshotDriver::diff`] believe nothing: every file is read.
    #[must_use]
    pub fn with_verify(self, verify: bool) -> Self {
        Self { verify, ..self }
    }

    fn layers(&self, snapshot: &Committed) -> Result<Layers, SnapshotError> {
        match snapshot.os() {
            LayerOs::Windows => Ok(self.layers.for_os(LayerOs::Windows)),
            LayerOs::Linux => Err(SnapshotError::Foreign { what: "an image for Linux".to_owned() }),
        }
    }

    fn find(&self, active: &Active, verify: bool) -> Result<Changes, SnapshotError> {
        let (above, name) = crate::nt::split(&active.path).map_err(io_error("open", &active.path))?;
        if let Some(stream) = above.streams(&name).map_err(fail("read the streams of", ""))?.first() {
            // It would go from step to step unseen.
            let why = format!("the root directory has the stream `{}`", stream.name.display());
            return Err(unfit("/", &why));
        }
        let root = above.dir(&name).map_err(io_error("open", &active.path))?;
        changes::find(&root, &active.before, &self.session, verify)
    }
}

/// A name for this process, and no other before or after it.
fn new_session() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(std::process::id()), random.hash_one("session"))
}

/// The path as programs like it: without `\\?\`, where it is short enough to be used so.
fn plain(path: &Path) -> PathBuf {
    // 260 less the longest name that is made of three parts, as directories are limited.
    const SHORT: usize = 247;
    let text = path.to_str().and_then(|text| text.strip_prefix(r"\\?\"));
    match text {
        Some(text) if text.encode_utf16().count() <= SHORT && text.as_bytes().get(1) == Some(&b':') => {
            text.into()
        }
        _ => path.to_owned(),
    }
}

fn canonical(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

impl SnapshotDriver for CloneDriver {
    fn name(&self) -> &'static str {
        "clone"
    }

    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError> {
        let (layers, all) = (self.layers(snapshot)?, snapshot.layers());
        let here = |i: &usize| layers.contains(&all[..*i], &all[*i]);
        Ok((0..all.len()).filter(|i| !here(i)).collect())
    }

    fn prepare(&self, parent: &Committed) -> Result<Active, SnapshotError> {
        let layers = self.layers(parent)?;
        let made = self.tree(&layers, parent, true)?;
        let path = plain(&tree::root(made.work.path()));
        Ok(Active {
            parent: parent.clone(),
            path,
            before: made.table,
            found: Mutex::default(),
            work: made.work,
        })
    }

    fn view(&self, snapshot: &Committed) -> Result<View, SnapshotError> {
        let layers = self.layers(snapshot)?;
        if let Some((hold, _)) = self.sound(&layers, snapshot.layers())? {
            return Ok(View {
                path: plain(&hold.used().join(tree::ROOT)),
                _work: None,
                _holds: vec![Arc::new(hold)],
            });
        }
        let made = self.tree(&layers, snapshot, false)?;
        if snapshot.layers().is_empty() {
            let path = plain(&tree::root(made.work.path()));
            return Ok(View { path, _work: Some(made.work), _holds: Vec::new() });
        }
        self.keep(&layers, made.work, made.table, snapshot)?;
        if let Some((hold, _)) = self.sound(&layers, snapshot.layers())? {
            return Ok(View {
                path: plain(&hold.used().join(tree::ROOT)),
                _work: None,
                _holds: vec![Arc::new(hold)],
            });
        }
        // What stands there instead cannot be believed, and somebody still looks at it; or it was taken meanwhile.
        let made = self.tree(&layers, snapshot, false)?;
        let path = plain(&tree::root(made.work.path()));
        Ok(View { path, _work: Some(made.work), _holds: Vec::new() })
    }

    fn diff(&self, active: &Active) -> Result<Diff, SnapshotError> {
        let mut changes = self.find(active, self.verify)?;
        // Then the directory becomes the parent's again, and everybody's who builds on that.
        if changes.is_empty() && !self.verify {
            changes = self.find(active, true)?;
        }
        let root = Dir::open(&active.path).map_err(io_error("open", &active.path))?;
        let _span = self.layers.work().trace().span("hash", &[]);
        let path = active.work.path().join("tar");
        let tar = File::create(&path).map_err(io_error("make", &path))?;
        let diff = changes.write(&root, io::BufWriter::with_capacity(1 << 18, tar))?;
        active.remember(diff, changes);
        Ok(diff)
    }

    fn commit(&self, active: Active, diff: &Diff) -> Result<Committed, SnapshotError> {
        let changes = match active.recall(diff) {
            Some(changes) => changes,
            None => {
                if self.diff(&active)? != *diff {
                    return Err(SnapshotError::Changed { path: active.path });
                }
                active.recall(diff).ok_or_else(|| SnapshotError::Changed { path: active.path.clone() })?
            }
        };
        let Active { parent, work, .. } = active;
        let layers = self.layers(&parent)?;
        if diff.is_empty() {
            if !parent.layers().is_empty() {
                self.keep(&layers, work, changes.table, &parent)?;
            }
            return Ok(parent);
        }
        let facts = LayerFacts {
            diff_id: diff.diff_id,
            size: diff.size,
            entries: diff.entries,
            made_here: false,
            root_entry: false,
            missing_devices: 0,
            missing_xattrs: 0,
        };
        let making = work.path().join("layer");
        std::fs::create_dir(&making).map_err(io_error("make", &making))?;
        let tar = work.path().join("tar");
        std::fs::rename(&tar, making.join("tar")).map_err(io_error("move", &tar))?;
        let key = layers.key(parent.layers(), &diff.diff_id, false);
        layers.publish(&key, &work, &facts)?;
        let committed = parent.with(diff.diff_id);
        self.keep(&layers, work, changes.table, &committed)?;
        Ok(committed)
    }
}

#[cfg(test)]
mod tests;
