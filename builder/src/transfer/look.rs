//! A look at an image that changes nothing here.

use std::io::Read;

use orlop_registry_client::{Client, TagOrDigest, select_platform};
use orlop_store::image::MAX_CONFIG;
use orlop_store::{Image, Manifest, Platform, Reference, media_type};

use super::{MAX_DEPTH, repository};

/// The config of `reference` for `platform`, from its registry into memory. None where it cannot be had, for whatever
/// reason: this is for who can do without it.
pub fn look(registry: &Client, reference: &Reference, platform: &Platform) -> Option<Image> {
    match registry.short_name(reference).ok()? {
        Some(meant) => meant.names.iter().find_map(|name| look_at(registry, name, platform)),
        None => look_at(registry, reference, platform),
    }
}

fn look_at(registry: &Client, reference: &Reference, platform: &Platform) -> Option<Image> {
    let repository = repository(reference).ok()?;
    let which = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => TagOrDigest::Digest(*digest),
        (None, tag) => TagOrDigest::Tag(tag.unwrap_or("latest").to_owned()),
    };
    let mut answer = registry.manifest(&repository, &which).ok()?;
    for _ in 0..MAX_DEPTH {
        if !media_type::is_index(&answer.media_type) {
            break;
        }
        let chosen = select_platform(&answer.bytes, platform).ok()?;
        answer = registry.manifest(&repository, &TagOrDigest::Digest(chosen.digest)).ok()?;
    }
    let manifest = Manifest::parse(&answer.bytes, &answer.media_type).ok()?;
    if manifest.config.size > MAX_CONFIG {
        return None;
    }
    let mut bytes = Vec::new();
    registry.blob(&repository, &manifest.config).ok()?.take(MAX_CONFIG).read_to_end(&mut bytes).ok()?;
    // A config that is not what the manifest names is refused here.
    Image::from_parts(&bytes, Some(manifest)).ok()
}
