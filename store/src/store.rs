//! A store: one directory with everything in it, shared by any number of processes.
//!
//! ```text
//! format          version and features; written first, an unknown one is refused
//! blobs/sha256/   content in the form that registries have it
//! layers/         layers in the forms that file systems are made of
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
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::files::Files;
use crate::images::Images;
use crate::layer::{Durability, Layers, Ownership, XattrForm};
use crate::session::Session;
use crate::steps::Steps;
use crate::work::Work;

/// The file that names the version of a store.
pub const FORMAT: &str = "format";
/// The directory of blobs.
pub const BLOBS: &str = "blobs/sha256";
/// The directory of layers.
pub const LAYERS: &str = "layers";
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
}

impl Default for StoreOptions {
    /// As root of the machine.
    fn default() -> Self {
        Self { xattrs: XattrForm::Trusted, ownership: Ownership::Keep, durability: Durability::Power }
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
        Ok(Self { root, work, session, blobs, layers: Arc::new(layers), facts, notes })
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
