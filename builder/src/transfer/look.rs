//! A look at an image that changes nothing here.

use std::io::Read;

use orlop_registry_client::{Client, Error, TagOrDigest, select_platform};
use orlop_store::image::MAX_CONFIG;
use orlop_store::{Image, Manifest, Platform, Reference, layout, media_type};

use super::{MAX_DEPTH, repository, split_layout};

/// The config of `reference` for `platform`, from its registry into memory. None where there is none that can be had:
/// this is for who can do without it.
///
/// # Errors
/// When the registry gives no answer. There is no use in asking it for another image.
pub fn look(registry: &Client, reference: &Reference, platform: &Platform) -> Result<Option<Image>, Error> {
    let found = match registry.short_name(reference) {
        Ok(Some(meant)) if meant.ambiguous => return Ok(None),
        Ok(Some(meant)) => first(registry, &meant.names, platform),
        Ok(None) => config(registry, reference, platform),
        Err(error) => Err(error),
    };
    match found {
        Err(error) if error.transport_kind().is_none() => Ok(None),
        answer => answer,
    }
}

/// The first of several that may be meant.
fn first(registry: &Client, names: &[Reference], platform: &Platform) -> Result<Option<Image>, Error> {
    let mut last = Ok(None);
    for name in names {
        last = config(registry, name, platform);
        if matches!(last, Ok(Some(_))) {
            break;
        }
    }
    last
}

fn config(registry: &Client, reference: &Reference, platform: &Platform) -> Result<Option<Image>, Error> {
    let Ok(repository) = repository(reference) else { return Ok(None) };
    let mut answer = registry.manifest(&repository, &TagOrDigest::of(reference))?;
    for _ in 0..MAX_DEPTH {
        if !media_type::is_index(&answer.media_type) {
            break;
        }
        let chosen = select_platform(&answer.bytes, platform)?;
        answer = registry.manifest(&repository, &TagOrDigest::Digest(chosen.digest))?;
    }
    let Ok(manifest) = Manifest::parse(&answer.bytes, &answer.media_type) else { return Ok(None) };
    if manifest.config.size > MAX_CONFIG {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    if let Err(error) = registry.blob(&repository, &manifest.config)?.take(MAX_CONFIG).read_to_end(&mut bytes)
    {
        return match error.into_inner().and_then(|error| error.downcast::<Error>().ok()) {
            Some(error) => Err(*error),
            None => Ok(None),
        };
    }
    // A config that is not what the manifest names is refused here.
    Ok(Image::from_parts(&bytes, Some(manifest)).ok())
}

/// The config of the image that FROM means by `oci-layout://` and `layout`, which is not brought into the store. None
/// where it cannot be had: a build tells why.
pub fn look_into_layout(layout: &str, platform: &Platform) -> Option<Image> {
    let (path, name) = split_layout(layout);
    layout::peek(std::path::Path::new(path), name, platform)
}
