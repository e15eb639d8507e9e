//! Which image of an index is meant.

use std::io::Read;

use orlop_registry_client::select_platform;
use orlop_store::image::MAX_CONFIG;
use orlop_store::{Descriptor, Image, Platform};

use super::document::Document;
use super::source::Source;
use crate::error::BuildError;
use crate::transfer::{MAX_DEPTH, suits};

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
                return Err(BuildError::user(source.cannot())
                    .because(format!("manifest {digest} names no config: it is no image")));
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

/// The same for a platform that the user asks for: an image that is no index's is not taken for another one.
///
/// # Errors
/// As [`pick`]; or when the image says that it is for another platform.
pub fn pick_asked(
    source: &Source<'_>,
    document: Document,
    platform: &Platform,
) -> Result<Picked, BuildError> {
    let alone = !document.is_index();
    let picked = pick(source, document, platform)?;
    if alone && picked.manifest.is_image() && picked.config.size <= MAX_CONFIG {
        let mut bytes = Vec::new();
        let read = source.open_blob(&picked.config).and_then(|mut reader| reader.read_to_end(&mut bytes));
        read.map_err(|error| crate::transfer::stream_error(source.cannot(), error))?;
        let image = Image::from_parts(&bytes, None)
            .map_err(|error| BuildError::user(source.cannot()).because(error))?;
        if !suits(&image, platform) {
            let own = image.platform().with_version();
            return Err(BuildError::user(source.cannot())
                .because(format!("it is for platform {own} alone, not for {}", platform.with_version()))
                .with_hint("leave out `--platform`".to_owned()));
        }
    }
    Ok(picked)
}
