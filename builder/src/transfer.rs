//! Images on their way between registries, layouts and the store.
//!
//! A pull is two things: [`resolve`] finds out what a name means (manifest and config, a few
//! kilobytes), [`fetch_layers`] brings the files once something needs them.

mod pull;

pub use pull::{fetch_layers, resolve};

use orlop_registry_client::Repository;
use orlop_store::Reference;

use crate::error::BuildError;

/// The repository that a name is in.
pub(crate) fn repository(reference: &Reference) -> Result<Repository, BuildError> {
    Ok(Repository::new(reference.domain(), reference.path())?)
}
