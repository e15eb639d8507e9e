//! What stands under a cache's name: a cache of ours or of BuildKit's, an image that may carry one, or something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_store::image::MAX_CONFIG;
use orlop_store::{Descriptor, media_type};

use super::document::{CONFIG, Document};
use super::json;
use super::place::Place;
use crate::error::BuildError;
use crate::request::Engine;

/// The largest cache config that is read, in bytes.
const LARGEST_CONFIG: u64 = 4 << 20;
/// Most images of an index that are asked for an inline cache.
const MOST_IMAGES: usize = 16;

/// What was found.
#[derive(Debug)]
pub(super) enum Existing {
    /// Nothing.
    Nothing,
    /// A cache, and its manifest as it came.
    Cache(Document, Vec<u8>),
    /// A cache that is damaged, why, and its manifest.
    Damaged(BuildError, Vec<u8>),
    /// Images, and the caches that they carry.
    Images(Vec<Document>),
}

/// Reads what is at `place`.
///
/// # Errors
/// When it cannot be had, or is none of this.
pub(super) fn read(engine: &Engine<'_>, place: &Place) -> Result<Existing, BuildError> {
    let Some(found) = place.find(engine)? else { return Ok(Existing::Nothing) };
    let manifest = parse(&found.bytes)?;
    let is_index = media_type::is_index(&found.media_type) || media_type::is_index(&manifest.media_type);
    let config = match is_index {
        true => manifest.manifests.iter().flatten().find(|member| member.media_type == CONFIG),
        false => manifest.config.as_ref().filter(|config| config.media_type == CONFIG),
    };
    if let Some(config) = config {
        let layers = if is_index { &manifest.manifests } else { &manifest.layers };
        let layers = layers.as_deref().unwrap_or_default();
        let read = place.small(engine, config, LARGEST_CONFIG);
        return match read.and_then(|bytes| Document::parse(&bytes, layers).map_err(unreadable)) {
            Ok(document) => Ok(Existing::Cache(document, found.bytes)),
            // What may pass is no damage: the cache is whole the next time.
            Err(error) if place.may_pass(&error) => Err(error),
            Err(error) => Ok(Existing::Damaged(error, found.bytes)),
        };
    }
    if !is_index {
        return Ok(Existing::Images(carried(engine, place, &manifest)?.into_iter().collect()));
    }
    let mut out = Vec::new();
    let images = manifest.manifests.iter().flatten().filter(|member| is_image(member));
    for member in images.take(MOST_IMAGES) {
        let manifest = parse(&place.member(engine, member)?)?;
        out.extend(carried(engine, place, &manifest)?);
    }
    Ok(Existing::Images(out))
}

fn is_image(member: &Descriptor) -> bool {
    let kinds = [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST];
    kinds.contains(&member.media_type.as_str()) && !member.is_attestation()
}

fn parse(bytes: &[u8]) -> Result<json::Manifest, BuildError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))
}

fn unreadable(why: String) -> BuildError {
    BuildError::user("what is there is neither a cache nor an image that orlop reads").because(why)
}

/// The cache that an image carries in its config; none where it carries none.
fn carried(
    engine: &Engine<'_>,
    place: &Place,
    manifest: &json::Manifest,
) -> Result<Option<Document>, BuildError> {
    let Some(config) = &manifest.config else { return Ok(None) };
    if !matches!(config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        return Ok(None);
    }
    let bytes = place.small(engine, config, MAX_CONFIG)?;
    let config: json::ImageConfig =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let Some(cache) = config.cache else { return Ok(None) };
    let records = STANDARD.decode(cache).map_err(|error| unreadable(error.to_string()))?;
    Document::inline(&records, &config.rootfs.diff_ids, manifest.layers.as_deref().unwrap_or_default())
        .map(Some)
        .map_err(unreadable)
}
