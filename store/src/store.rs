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
//! ```
//! FORMAT.md beside the sources is the whole of it.

mod export;
mod format;
mod import;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use export::ExportOptions;

use crate::blob::Blobs;
use crate::caches::Caches;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::files::Files;
use crate::images::Images;
use crate::layer::{Durability, Layers, Ownership, XattrForm};
use crate::session::Session;
use crate::snapshot::SnapshotDriver;
use crate::snapshot::copy::CopyDriver;
use crate::snapshot::overlay::{OverlayDriver, probe};
use crate::steps::Steps;
use crate::work::Work;

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

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How opaque directories are marked: by `trusted` attributes as root, by `user` ones in a user namespace.
    pub xattrs: XattrForm,
    /// What becomes of owners.
    pub ownership: Ownership,
    /// What finished content survives.
    pub durability: Durability,
    /// How snapshots are made.
    pub driver: Driver,
}

/// How snapshots are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// By overlayfs where it works here, else by copies; the store's notes say why.
    #[default]
    Auto,
    /// By overlayfs, or not at all.
    Overlay,
    /// By copies.
    Copy,
}

impl Default for StoreOptions {
    /// As root of the machine.
    fn default() -> Self {
        Self { xattrs: XattrForm::Trusted, ownership: Ownership::Keep, durability: Durability::Power, driver: Driver::Auto }
    }
}

/// The driver that was asked for; a word about it in `notes` where it is not the best.
fn choose_driver(
    options: &StoreOptions,
    layers: &Layers,
    work: &Work,
    notes: &mut Vec<String>,
) -> Result<Box<dyn SnapshotDriver>> {
    let overlay = match options.driver {
        Driver::Copy => return Ok(Box::new(CopyDriver::new(layers))),
        Driver::Auto | Driver::Overlay => probe(work, options.xattrs),
    };
    match overlay {
        Ok(()) => Ok(Box::new(OverlayDriver::new(layers))),
        Err(error) if options.driver == Driver::Overlay => Err(error.into()),
        Err(error) => {
            let why = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
            notes.push(format!("snapshots are copies, because overlayfs does not work here ({error}{why})"));
            Ok(Box::new(CopyDriver::new(layers)))
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
    layers: Arc<Layers>,
    facts: Facts,
    snapshots: Box<dyn SnapshotDriver>,
    notes: Vec<String>,
}

impl Store {
    /// Opens the store at `root`, made where there is none, and clears away what dead processes left half-made.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for a store of another version, [`Error::Invalid`] for a directory that holds
    /// something else, and whatever the file system says.
    pub fn open(root: &Path, options: &StoreOptions) -> Result<Self> {
        make_private(root)?;
        let root = std::fs::canonicalize(root).map_err(Error::io("open", root))?;
        format::claim(&root)?;
        let mut notes = Vec::new();
        let work = Work::open(&root.join(WORK))?;
        for (path, error) in work.sweep()?.stuck {
            notes.push(format!("cannot remove `{}`, which a dead process left: {error}", path.display()));
        }
        let session = Arc::new(Session::new(work.clone(), root.join(GC_LOCK)));
        session.begin()?;
        let blobs = Blobs::open(&root.join(BLOBS), Arc::clone(&session), options.durability)?;
        let layers = Layers::open(&root.join(LAYERS), &work, options.xattrs)?
            .with_ownership(options.ownership)
            .with_durability(options.durability);
        let facts = Facts::open(&root.join(FACTS))?;
        if let Some(aside) = facts.set_aside() {
            notes.push(format!(
                "the store's database was damaged and is now `{}`; steps run again, images may have to be pulled",
                aside.display()
            ));
        }
        let snapshots = choose_driver(options, &layers, &work, &mut notes)?;
        Ok(Self { root, work, session, blobs, layers: Arc::new(layers), facts, snapshots, notes })
    }

    /// File systems made of layers.
    pub fn snapshots(&self) -> &dyn SnapshotDriver {
        self.snapshots.as_ref()
    }

    /// Where it is, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the user should know of how it was opened.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
    pub fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Images and their names.
    pub fn images(&self) -> Images<'_> {
        Images { facts: &self.facts, blobs: &self.blobs }
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

/// Makes a directory that others cannot look into: layers hold programs that run with their owner's rights, old
/// ones with known faults among them.
fn make_private(root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if let Some(parent) = root.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(root) {
        // Another process was faster; or it is a file, which the next step finds.
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io("make", root)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
