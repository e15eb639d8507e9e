//! The directory of things in the making.
//!
//! ```text
//! work/<kind>-<random>.lock   locked by its owner for as long as it lives
//! work/<kind>-<random>/       what the owner makes
//! ```
//! A directory is made after its lock and removed before it, so whatever has a lock file that nobody holds
//! has no living owner, however that died.

use std::path::{Path, PathBuf};

/// The directory of things in the making.
#[derive(Clone, Debug)]
pub struct Work {}

/// A directory of its owner's, removed when dropped.
#[derive(Debug)]
pub struct WorkDir {}

/// A lock by name, held until dropped.
#[derive(Debug)]
pub struct WorkLock {}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Directories that had no living owner and are gone.
    pub removed: u64,
    /// Directories that have no living owner and could not be removed, and why.
    pub stuck: Vec<(PathBuf, std::io::Error)>,
}

/// Why work could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct WorkError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl Work {
    /// Opens (and makes, where missing) the directory.
    pub fn open(_dir: &Path) -> Result<Self, WorkError> {
        unimplemented!()
    }
    /// A new directory, locked.
    pub fn create(&self, _kind: &str) -> Result<WorkDir, WorkError> {
        unimplemented!()
    }
    /// Waits for the lock `name` among all processes of this store.
    pub fn lock(&self, _name: &str) -> Result<WorkLock, WorkError> {
        unimplemented!()
    }
    /// Removes everything that has no living owner.
    pub fn sweep(&self) -> Result<Swept, WorkError> {
        unimplemented!()
    }
}

impl WorkDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
}
