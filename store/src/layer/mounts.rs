//! Layers at rest that are looked at where they are: the index of each mounted over its tar, once for as long as
//! the store is open. A mount is attached nowhere and reached through its handle, so that it is in no mount
//! namespace, and gone with the last process that has it.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Form, LayerError, index};
use crate::error::chain;
use crate::snapshot::overlay;
use crate::work::Work;

/// A mounted layer.
#[derive(Debug)]
pub(crate) struct Mounted(OwnedFd);

impl Mounted {
    /// Its root directory, as this process can reach it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string())
    }
}

/// All mounted layers of a store.
#[derive(Debug)]
pub(crate) struct Mounts {
    work: Work,
    /// Why layers can not be mounted here; none where they can.
    refusal: OnceLock<Option<String>>,
    mounted: Mutex<HashMap<PathBuf, Arc<Mounted>>>,
}

impl Mounts {
    pub(crate) fn new(work: &Work) -> Self {
        Self { work: work.clone(), refusal: OnceLock::new(), mounted: Mutex::default() }
    }

    /// Why layers can not be mounted here; none where they can. Tried out once.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let tried = || {
            let over =
                |root| overlay::probe_over(&self.work, &Mounted(root).path()).map_err(|e| described(&e));
            index::probe(&self.work).map_err(|e| described(&e)).and_then(over).err()
        };
        self.refusal.get_or_init(tried).as_deref()
    }

    /// The layer in the directory `layer`, which must be held.
    pub(crate) fn mount(&self, layer: &Path) -> Result<Arc<Mounted>, LayerError> {
        // Others wait: a layer is mounted once.
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = mounted.get(layer) {
            return Ok(Arc::clone(there));
        }
        let (index, tar) = (layer.join(Form::Index.name()), layer.join(Form::Tar.name()));
        let new = Arc::new(Mounted(index::mount(&index, &tar)?));
        mounted.insert(layer.to_owned(), Arc::clone(&new));
        Ok(new)
    }
}

/// An error in one line, with its causes.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
