//! Which image of an index is meant.

use orlop_registry_client::select_platform;
use orlop_store::{Descriptor, Platform};

use super::document::Document;
use super::source::Source;
use crate::error::BuildError;
use crate::transfer::MAX_DEPTH;

/// The one image of what was asked for.
#[derive(Clone, Debug)]
pub struct Picked {
    /// Its manifest.
    pub manifest: Document,
    /// Its config.
    pub config: Descriptor,
}

/// The image for `platform` below `document`, which may be that image itself.
///
/// # Errors
/// When there is none, or what there is is no image.
pub fn pick(source: &Source<'_>, document: Document, platform: &Platform) -> Result<Picked, BuildError> {
    let mut manifest = document;
    for _ in 0..=MAX_DEPTH {
        if !manifest.is_index() {
            let Some(config) = manifest.config.clone() else {
                let digest = manifest.descriptor.digest;
                return Err(BuildError::user(format!("manifest {digest} names no config: it is no image")));
            };
            return Ok(Picked { manifest, config });
        }
        let chosen = select_platform(&manifest.bytes, platform).map_err(|error| {
            let hint = error.hint();
            BuildError::user(source.cannot()).because(error).with_hint(hint)
        })?;
        manifest = source.document(&chosen)?;
    }
    Err(BuildError::user(source.cannot()).because("its indexes stand too deep in each other"))
}
