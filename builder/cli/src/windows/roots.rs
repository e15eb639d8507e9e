//! Roots for the self-test that are read as a build reads them: snapshots of a store of their own.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use orlop_runner::windows::selftest::{Root, Roots};
use orlop_store::layer::tar::Reader;
use orlop_store::{Active, Committed, LayerOs, Store, StoreOptions};

/// Such a store, in a directory that goes with the self-test.
#[derive(Debug)]
pub(crate) struct StoreRoots(Arc<Store>);

impl StoreRoots {
    /// Makes it in an empty directory.
    pub(crate) fn new(directory: &Path, options: &StoreOptions) -> orlop_store::Result<Self> {
        Ok(Self(Arc::new(Store::open(directory, options)?)))
    }
}

impl Roots for StoreRoots {
    fn prepare(&self) -> Result<Box<dyn Root>, String> {
        let snapshots = self.0.snapshots().map_err(|error| told(&error))?;
        let active = snapshots.prepare(&empty()).map_err(|error| told(&error))?;
        Ok(Box::new(StoreRoot { store: Arc::clone(&self.0), active }))
    }
}

struct StoreRoot {
    store: Arc<Store>,
    active: Active,
}

impl Root for StoreRoot {
    fn path(&self) -> &Path {
        self.active.path()
    }

    fn read(self: Box<Self>) -> Result<Vec<String>, String> {
        let Self { store, active } = *self;
        let snapshots = store.snapshots().map_err(|error| told(&error))?;
        let diff = snapshots.diff(&active).map_err(|error| told(&error))?;
        snapshots.commit(active, &diff).map_err(|error| told(&error))?;
        let layers = store.layers().for_os(LayerOs::Windows);
        let tar = layers.tar(empty().layers(), &diff.diff_id).map_err(|error| told(&error))?;
        let mut reader = Reader::new(tar);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().map_err(|error| told(&error))? {
            names.push(String::from_utf8_lossy(&entry.path).into_owned());
        }
        Ok(names)
    }
}

fn empty() -> Committed {
    Committed::scratch_of(LayerOs::Windows)
}

/// An error with all its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
