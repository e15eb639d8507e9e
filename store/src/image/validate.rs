//! Checks that an image is consistent in itself and with the content that it names.

use std::io::{self, Read};

use super::Image;
use crate::blob::BlobSource;
use crate::descriptor::media_type;
use crate::digest::{Digest, Digester};
use crate::error::{Error, Result};
use crate::layer::compress::decompress;

/// Checks config against layers, history and manifest. Everything found wrong is listed, not the first alone.
///
/// # Errors
/// [`Error::Invalid`] with all that is wrong.
pub fn image(image: &Image) -> Result<()> {
    let mut wrong = Vec::new();
    let config = image.config();
    if config.diff_ids() != image.diff_ids() {
        wrong.push("its diff IDs are not those of its layers".to_owned());
    }
    let platform = image.platform();
    if platform.os.is_empty() || platform.architecture.is_empty() {
        wrong.push("it does not say what system and processor it is for".to_owned());
    }
    let full = config.history().iter().filter(|h| !h.empty_layer).count();
    if !config.history().is_empty() && full != image.layers().len() {
        wrong.push(format!("its history speaks of {full} layers, and it has {}", image.layers().len()));
    }
    if let Some(manifest) = image.manifest() {
        if manifest.config.digest != image.id() {
            wrong.push(format!("its manifest names config {}", manifest.config.digest));
        }
        if manifest.config.size != image.config_bytes().len() as u64 {
            wrong.push(format!("its manifest says that the config has {} bytes", manifest.config.size));
        }
        let docker = manifest.media_type == media_type::DOCKER_MANIFEST;
        let types = manifest.layers.iter().map(|l| &l.media_type).chain([&manifest.config.media_type]);
        for media_type in types {
            if media_type.starts_with("application/vnd.docker.") != docker {
                wrong
                    .push(format!("its manifest is `{}`, and has `{media_type}` in it", manifest.media_type));
            }
        }
        if manifest.layers.len() != image.layers().len() {
            wrong.push("its manifest has another number of layers".to_owned());
        }
    }
    report(image, wrong)
}

/// Checks all of [`image()`], and that every layer's blob is in `blobs`, whole, of the size that the manifest
/// says, and unpacks to its diff ID.
///
/// # Errors
/// [`Error::Invalid`] with all that is wrong.
pub fn content(value: &Image, blobs: &dyn BlobSource) -> Result<()> {
    image(value)?;
    let mut wrong = Vec::new();
    for (index, layer) in value.layers().iter().enumerate() {
        let Some(blob) = &layer.blob else {
            wrong.push(format!("layer {index} has no blob"));
            continue;
        };
        match blobs.open_blob(blob).and_then(diff_id) {
            Ok(found) if found == layer.diff_id => {}
            Ok(found) => wrong.push(format!("layer {index} unpacks to {found}, not to {}", layer.diff_id)),
            Err(e) => wrong.push(format!("layer {index}: {e}")),
        }
    }
    report(value, wrong)
}

fn diff_id(reader: Box<dyn Read + Send>) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut tar = decompress(reader)?;
    io::copy(&mut tar, &mut digester)?;
    Ok(digester.finish())
}

fn report(image: &Image, wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("image {}", image.id().short()), wrong.join("; ")))
}
