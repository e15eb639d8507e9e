//! A store: one directory with everything in it, shared by any number of processes.
//!
//! ```text
//! format          version and features; written first, an unknown one is refused
//! blobs/sha256/   content in the form that registries have it
//! layers/         layers in the forms that file systems are made of
//! caches/         directories that steps keep between builds (`RUN --mount=type=cache`)
//! work/           half-made things, each locked by its owner
//! facts.sqlite    names, step records, which blob is which layer, digests of context files
//! gc.lock         held for moments, by collectors alone and by everybody else together
//! reserve         room for opening the store on a full disk
//! ```
//! FORMAT.md beside the sources is the whole of it.

mod ahead;
mod export;
mod format;
mod import;
mod packing;
mod peek;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as driver;
#[cfg(windows)]
use windows as driver;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use export::{Export, ExportOptions};
pub use peek::{note_sources, peek, peek_sources};

use crate::blob::Blobs;
use crate::caches::Caches;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::facts::Facts;
use crate::files::Files;
use crate::images::Images;
use crate::layer::{Durability, LayerFacts, Layers, Ownership, XattrForm};
use crate::session::Session;
use crate::snapshot::{LayerOs, SnapshotDriver};
use crate::steps::Steps;
use crate::trace::Trace;
use crate::work::{Work, make_private};

/// The file that names the version of a store.
pub const FORMAT: &str = "format";
/// The directory of blobs.
pub const BLOBS: &str = "blobs/sha256";
/// The directory of layers.
pub const LAYERS: &str = "layers";
/// The directory of cache mounts.
pub const CACHES: &str = "caches";
/// The directory of half-made things.
pub const WORK: &str = "work";
/// The database of facts.
pub const FACTS: &str = "facts.sqlite";
/// The collectors' lock.
pub const GC_LOCK: &str = "gc.lock";

/// Room that is kept for opening a store on a full disk, and its size in bytes.
pub const RESERVE: (&str, usize) = ("reserve", 256 << 10);

/// Which snapshot driver is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Driver {
    /// Overlays where they work, else copies; on Windows clones of blocks where the volume can, else copies.
    #[default]
    Auto,
    /// Overlays, or an error.
    Overlay,
    /// Copies.
    Copy,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Which snapshot driver is used.
    pub driver: Driver,
    /// How opaque directories are marked: by `trusted` attributes as root, by `user` ones in a user namespace.
    pub xattrs: XattrForm,
    /// What becomes of owners.
    pub ownership: Ownership,
    /// What finished content survives.
    pub durability: Durability,
}

impl Default for StoreOptions {
    /// As root of the machine.
    fn default() -> Self {
        Self {
            driver: Driver::Auto,
            xattrs: XattrForm::Trusted,
            ownership: Ownership::Keep,
            durability: Durability::Power,
        }
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    work: Work,
    session: Arc<Session>,
    blobs: Blobs,
    layers: Layers,
    facts: Facts,
    notes: Vec<String>,
    driver: Driver,
    snapshots: OnceLock<Snapshots>,
    packing: packing::Packing,
}

#[derive(Debug)]
struct Snapshots {
    driver: Arc<dyn SnapshotDriver>,
    /// Why it is not the better one.
    fallback: Option<String>,
}

impl Store {
    /// Opens the store at `root`, made where there is none, and clears away what dead processes left half-made.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for a store of another version, [`Error::Invalid`] for a directory that holds
    /// something else, and whatever the file system says.
    pub fn open(root: &Path, options: &StoreOptions) -> Result<Self> {
        Self::open_traced(root, options, Trace::none())
    }

    /// The same; `trace` is told what the store spends its time with.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_traced(root: &Path, options: &StoreOptions, trace: Trace) -> Result<Self> {
        let span = trace.clone();
        let _span = span.span("open", &[]);
        if root.exists() && !root.is_dir() {
            return Err(Error::io("open", root)(std::io::ErrorKind::NotADirectory.into()));
        }
        make_private(root).map_err(Error::io("make", root))?;
        let root = std::fs::canonicalize(root).map_err(Error::io("open", root))?;
        format::claim(&root)?;
        let mut notes = Vec::new();
        let work = Work::open_traced(&root.join(WORK), trace)?;
        for (path, error) in work.sweep()?.stuck {
            notes.push(format!("cannot remove `{}`, which a dead process left: {error}", path.display()));
        }
        let session = Arc::new(Session::new(work.clone(), root.join(GC_LOCK)));
        session.begin()?;
        let blobs = Blobs::open(&root.join(BLOBS), Arc::clone(&session), options.durability)?;
        let layers = Layers::open(&root.join(LAYERS), &work, options.xattrs)?
            .with_ownership(options.ownership)
            .with_durability(options.durability);
        let layers = driver::mounted(layers, options);
        let facts = open_facts(&root)?;
        if let Some(aside) = facts.set_aside() {
            notes.push(format!(
                "the store's database was damaged and is now `{}`; steps run again, images may have to be pulled",
                aside.display()
            ));
        }
        let (driver, snapshots) = (options.driver, OnceLock::new());
        let packing = packing::Packing::default();
        Ok(Self { root, work, session, blobs, layers, facts, notes, driver, snapshots, packing })
    }

    /// Where it is, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the user should know of how it was opened.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Who is told of what takes time.
    pub fn trace(&self) -> &Trace {
        self.work.trace()
    }

    /// Half-made things.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Directories that steps keep between builds.
    pub fn caches(&self) -> Caches {
        Caches::open(&self.root.join(CACHES))
    }

    /// Content in registry form.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Layers.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The snapshot driver. The first call finds out which one works here.
    ///
    /// # Errors
    /// When [`Driver::Overlay`] was asked for and overlays cannot be mounted.
    pub fn snapshots(&self) -> Result<&Arc<dyn SnapshotDriver>> {
        if let Some(snapshots) = self.snapshots.get() {
            return Ok(&snapshots.driver);
        }
        let (driver, fallback) = driver::choose(self.driver, &self.work, &self.layers)?;
        Ok(&self.snapshots.get_or_init(|| Snapshots { driver, fallback }).driver)
    }

    /// Why [`Store::snapshots`] is not what works best, for people; none before it was called.
    pub fn driver_note(&self) -> Option<&str> {
        self.snapshots.get()?.fallback.as_deref()
    }

    /// Whether the layer `diff_id` of an image for `os`, over the chain `below`, is here in a form that snapshots can be made of. A step
    /// whose layer is not here has to run again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_layer(&self, os: LayerOs, below: &[Digest], diff_id: &Digest) -> Result<bool> {
        Ok(self.layers.for_os(os).facts(below, diff_id)?.is_some())
    }

    /// What is known of the layer `diff_id` over the chain `below`, of whichever system's images; none where it is
    /// not here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn layer_facts(&self, below: &[Digest], diff_id: &Digest) -> Result<Option<LayerFacts>> {
        for os in [LayerOs::Linux, LayerOs::Windows] {
            if let Some(facts) = self.layers.for_os(os).facts(below, diff_id)? {
                return Ok(Some(facts));
            }
        }
        Ok(None)
    }

    /// Images and their names.
    pub fn images(&self) -> Images<'_> {
        Images { facts: &self.facts, blobs: &self.blobs, layers: &self.layers }
    }

    /// The step cache.
    pub fn steps(&self) -> Steps<'_> {
        Steps { facts: &self.facts, session: &self.session }
    }

    /// Digests of files in contexts.
    pub fn files(&self) -> Files<'_> {
        Files { facts: &self.facts }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn gc_lock(&self) -> PathBuf {
        self.root.join(GC_LOCK)
    }
}

/// Opens the facts. On a disk that is full to the last byte SQLite finds no room for the index of its log: then the
/// reserve is given up, so that what fills the disk can be collected.
fn open_facts(root: &Path) -> Result<Facts> {
    let reserve = root.join(RESERVE.0);
    let path = root.join(FACTS);
    match Facts::open(&path) {
        Err(e) if e.kind() == ErrorKind::StorageFull && std::fs::remove_file(&reserve).is_ok() => {
            Facts::open(&path)
        }
        Ok(facts) => {
            if !reserve.exists() && std::fs::write(&reserve, vec![b'r'; RESERVE.1]).is_err() {
                // Half a reserve is none; the next to open the store tries again.
                let _ = std::fs::remove_file(&reserve);
            }
            Ok(facts)
        }
        other => other,
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod tests;
