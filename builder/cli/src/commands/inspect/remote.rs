//! `orlop inspect` of what is not in the store: at a registry, in a layout, in an archive.

use std::io::{Read, Write};

use orlop_builder::place::{self, Document, Picked, Place, Source};
use orlop_store::image::MAX_CONFIG;
use orlop_store::{Descriptor, Image, Index, Manifest, Platform};
use serde_json::{Value, json};

use super::InspectArgs;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::Mode;
use crate::remote::{self, Remote};
use crate::table;

/// Runs the command for places.
pub(super) fn run(global: &Global, args: &InspectArgs) -> Result<(), Failure> {
    if args.raw || args.config {
        let [text] = args.images.as_slice() else {
            return Err(Failure::usage("`--raw` and `--config` show one document as it is: name one image"));
        };
        let remote = Remote::new(global, Mode::Quiet)?;
        let place = remote::place(text).map_err(Failure::usage)?;
        let bytes = remote.work(|_| raw(&remote, &place, args))?;
        let mut out = std::io::stdout().lock();
        return out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| Failure::stdout(&error));
    }
    let remote = Remote::new(global, Mode::Quiet)?;
    let mut found = Vec::new();
    let mut failed: Option<Failure> = None;
    for text in &args.images {
        let place = remote::place(text).map_err(Failure::usage)?;
        match remote.work(|_| document(&remote, &place, args.platform.as_ref())) {
            Ok(value) => found.push(value),
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    table::lines([format!("{:#}", Value::Array(found))])?;
    failed.map_or(Ok(()), Err)
}

/// The bytes of a manifest or index, or of a config, as they are.
fn raw(remote: &Remote, place: &Place, args: &InspectArgs) -> Result<Vec<u8>, Failure> {
    let source = Source::open(&remote.client, place, false)?.to_look_at();
    let root = source.root()?;
    let host = Platform::host();
    let platform = args.platform.as_ref();
    if !args.config {
        return Ok(match platform {
            Some(platform) => place::pick_asked(&source, root, platform)?.manifest.bytes.to_vec(),
            None => root.bytes.to_vec(),
        });
    }
    let picked = match platform {
        Some(platform) => place::pick_asked(&source, root, platform)?,
        None => place::pick(&source, root, &host)?,
    };
    config(&source, place, &picked)
}

/// The config's bytes.
fn config(source: &Source<'_>, place: &Place, picked: &Picked) -> Result<Vec<u8>, Failure> {
    let Descriptor { digest, size, .. } = picked.config;
    if size > MAX_CONFIG {
        return Err(Failure::user(format!(
            "the config {digest} of `{place}` has {size} bytes, more than {MAX_CONFIG}"
        )));
    }
    let mut bytes = Vec::new();
    let read = source.open_blob(&picked.config).and_then(|mut reader| reader.read_to_end(&mut bytes));
    read.map_err(|error| {
        let failure = Failure::user(format!("the config {digest} of `{place}` cannot be read"));
        match error.downcast::<orlop_registry_client::Error>() {
            Ok(error) => failure.because_of(&error).with_hint(error.hint()),
            Err(error) => failure.because_of(&error),
        }
    })?;
    Ok(bytes)
}

/// The document in the manner of `orlop inspect` of an image in the store; of what is no image its manifest.
fn document(remote: &Remote, place: &Place, platform: Option<&Platform>) -> Result<Value, Failure> {
    let malformed = |error: orlop_store::Error| {
        Failure::user(format!("cannot read the image `{place}`")).because_of(&error).with_hint(error.hint())
    };
    let source = Source::open(&remote.client, place, false)?.to_look_at();
    let root = source.root()?;
    let host = Platform::host();
    let picked = match root.is_index() || root.is_image() {
        true => Some(pick_or_first(&source, &root, platform, &host)?),
        false => None,
    };
    let image = match &picked {
        Some(picked) if picked.manifest.is_image() => {
            let media_type = &picked.manifest.descriptor.media_type;
            let manifest = Manifest::parse(&picked.manifest.bytes, media_type).map_err(malformed)?;
            Some(Image::from_parts(&config(&source, place, picked)?, Some(manifest)).map_err(malformed)?)
        }
        _ => None,
    };
    let own = picked.as_ref().map_or(&root, |picked| &picked.manifest);
    let mut value = match &image {
        Some(image) => shown(image, own),
        None => json!({
            "Digest": own.descriptor.digest,
            "MediaType": own.descriptor.media_type,
            "Manifest": serde_json::from_slice::<Value>(&own.bytes).unwrap_or(Value::Null),
        }),
    };
    value["Name"] = json!(place.to_string());
    if let Place::Registry(name) = place {
        value["RepoDigests"] = json!([format!("{}@{}", name.repository(), root.descriptor.digest)]);
    }
    if root.is_index() {
        let index = Index::parse(&root.bytes, &root.descriptor.media_type).map_err(malformed)?;
        value["Index"] = json!(root.descriptor.digest);
        value["Platforms"] = index
            .manifests
            .iter()
            .map(|entry| {
                json!({
                    "Platform": entry.platform.as_ref().map(Platform::with_version),
                    "Digest": entry.digest,
                    "MediaType": entry.media_type,
                    "Size": entry.size,
                })
            })
            .collect();
    }
    Ok(value)
}

/// The image of an index: the one asked for, else this machine's, else the first.
fn pick_or_first(
    source: &Source<'_>,
    root: &Document,
    platform: Option<&Platform>,
    host: &Platform,
) -> Result<Picked, Failure> {
    let Some(platform) = platform else {
        return match place::pick(source, root.clone(), host) {
            Ok(picked) => Ok(picked),
            Err(error) => {
                let index = Index::parse(&root.bytes, &root.descriptor.media_type)?;
                let first = index.manifests.iter().find(|entry| !entry.is_attestation());
                match first.and_then(|entry| entry.platform.clone()) {
                    Some(first) => Ok(place::pick(source, root.clone(), &first)?),
                    None => Err(error.into()),
                }
            }
        };
    };
    Ok(place::pick_asked(source, root.clone(), platform)?)
}

fn shown(image: &Image, manifest: &Document) -> Value {
    let blobs = image.layers().iter().filter_map(|layer| layer.blob.as_ref());
    let size = blobs.fold(0u64, |sum, blob| sum.saturating_add(blob.size));
    let begin = json!({
        "Id": image.id(),
        "Digest": manifest.descriptor.digest,
        "MediaType": manifest.descriptor.media_type,
    });
    let mut out = super::described(begin, image, |_| ());
    out["CompressedSize"] = json!(size);
    out
}
