//! What must happen before any thread is started, and what it found this process to be.

use orlop_store::layer::{Ownership, XattrForm};

pub(crate) use crate::system::startup::enter;

/// What this process is on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Whether the user is root, and not only root of a namespace of ours; on Windows an administrator whose
    /// rights are switched on.
    pub(crate) root: bool,
    /// How opaque directories are marked.
    pub(crate) xattrs: XattrForm,
    /// What becomes of owners.
    pub(crate) ownership: Ownership,
    /// Something to tell the user once.
    pub(crate) note: Option<String>,
}
