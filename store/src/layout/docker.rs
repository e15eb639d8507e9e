//! The archives of `docker save` and `docker load`.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;
use serde_json::json;

use super::reader::{SavedImage, hash, start_of};
use super::sink::Sink;
use super::source::Source;
use super::{Content, LoadOptions, Loaded, NamedImage};
use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Image, MAX_CONFIG, MAX_MANIFEST};
use crate::reference::Reference;
use crate::store::Store;

/// The file that lists the images.
pub(super) const MANIFEST: &str = "manifest.json";
/// The older list of names, for older readers.
const REPOSITORIES: &str = "repositories";

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Writes `images`, their layers not compressed.
pub(super) fn write(store: &Store, sink: &mut dyn Sink, images: &[NamedImage]) -> Result<Vec<Descriptor>> {
    let mut items = Vec::new();
    let mut written = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for NamedImage { content, names } in images {
        let Content::Image(image) = content else {
            return Err(Error::Unsupported {
                what: "an archive for Docker with images of several platforms".to_owned(),
                why: "its format holds one platform under a name; write an OCI archive, or one platform"
                    .to_owned(),
            });
        };
        let diff_ids = image.diff_ids();
        let mut layers = Vec::new();
        for (index, diff_id) in diff_ids.iter().enumerate() {
            let name = layer_entry(diff_id);
            if !sink.has(&name) {
                let below = diff_ids.get(..index).unwrap_or_default();
                let size = tar_size(store, below, diff_id)?;
                sink.put(&name, size, &mut store.layer_tar(below, diff_id)?)?;
            }
            layers.push(name);
        }
        let config = image.config_bytes();
        let name = format!("{}.json", image.id().hex());
        sink.put_bytes(&name, &config)?;
        let tags: Vec<String> = names.iter().map(|n| n.without_digest().familiar()).collect();
        for reference in names.iter().map(Reference::without_digest) {
            if let (Some(tag), Some(top)) = (reference.tag(), diff_ids.last()) {
                let familiar = reference.familiar();
                let repository = familiar.strip_suffix(&format!(":{tag}")).unwrap_or(&familiar);
                repositories.entry(repository.to_owned()).or_default().insert(tag.to_owned(), top.hex());
            }
        }
        items.push(json!({
            "Config": name,
            "RepoTags": if tags.is_empty() { None } else { Some(tags) },
            "Layers": layers,
        }));
        written.push(Descriptor::of(media_type::DOCKER_CONFIG, &config));
    }
    if !repositories.is_empty() {
        sink.put_bytes(REPOSITORIES, json!(repositories).to_string().as_bytes())?;
    }
    sink.put_bytes(MANIFEST, json!(items).to_string().as_bytes())?;
    Ok(written)
}

/// The name of a layer's tar.
pub(super) fn layer_entry(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

/// Bytes of a layer's tar. A tar's entry begins with its size, so one that is not known has to be counted first.
fn tar_size(store: &Store, below: &[Digest], diff_id: &Digest) -> Result<u64> {
    if let Some(facts) = store.layer_facts(below, diff_id)? {
        return Ok(facts.size);
    }
    let mut tar = store.layer_tar(below, diff_id)?;
    io::copy(&mut tar, &mut io::sink()).map_err(Error::stream(format!("layer {diff_id}")))
}

/// Reads the images that `options` choose.
pub(super) fn read(store: &Store, source: &dyn Source, options: &LoadOptions) -> Result<Vec<Loaded>> {
    let bytes = source.read_small(MANIFEST, MAX_MANIFEST)?;
    let items: Vec<Item> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(source.name(), format!("in `{MANIFEST}`, {e}")))?;
    let mut loaded = Vec::new();
    for item in &items {
        let tags = item.repo_tags.as_deref().unwrap_or_default();
        if let Some(wanted) = &options.name
            && !tags.iter().any(|tag| is_named(tag, wanted))
        {
            continue;
        }
        loaded.push(read_item(store, source, item, options)?);
    }
    if loaded.is_empty() {
        let why = match &options.name {
            Some(name) => {
                let tags: Vec<&str> =
                    items.iter().flat_map(|i| i.repo_tags.iter().flatten()).map(String::as_str).collect();
                format!("there is no image `{name}` in it, only: `{:.500}`", tags.join("`, `"))
            }
            None => "there is no image in it".to_owned(),
        };
        return Err(Error::invalid(source.name(), why));
    }
    Ok(loaded)
}

/// The image `name`, its layers as the blobs that they are in the archive: tars, which their diff IDs name, or what a
/// newer Docker compressed, which is hashed to know it.
pub(super) fn saved_image(source: &dyn Source, name: Option<&str>) -> Result<SavedImage> {
    let bytes = source.read_small(MANIFEST, MAX_MANIFEST)?;
    let items: Vec<Item> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(source.name(), format!("in `{MANIFEST}`, {e}")))?;
    let tags = |item: &Item| item.repo_tags.clone().unwrap_or_default();
    let wanted = |item: &&Item| name.is_none_or(|name| tags(item).iter().any(|tag| is_named(tag, name)));
    let found: Vec<&Item> = items.iter().filter(wanted).collect();
    let [item] = found.as_slice() else {
        let all = items.iter().flat_map(tags).collect::<Vec<_>>().join("`, `");
        let why = match name {
            Some(name) if found.is_empty() => format!("there is no image `{name}` in it, only: `{all:.500}`"),
            _ if items.is_empty() => "there is no image in it".to_owned(),
            _ => format!("several images are in it, name one: `{all:.500}`"),
        };
        return Err(Error::invalid(source.name(), why));
    };
    let config = source.read_small(&item.config, MAX_CONFIG)?;
    let diff_ids = Image::from_parts(&config, None)?.diff_ids();
    let layers = item.layers.as_deref().unwrap_or_default();
    if layers.len() != diff_ids.len() {
        let why = format!("it has {} layers for an image of {}", layers.len(), diff_ids.len());
        return Err(Error::invalid(source.name(), why));
    }
    let layers = layers.iter().zip(&diff_ids).map(|(entry, diff_id)| {
        let (reader, size) = source.need(entry)?;
        let blob = match start_of(source, entry)?.as_slice() {
            [0x1f, 0x8b, ..] => {
                let (digest, size) = hash(reader, &format!("`{entry:.200}` in {}", source.name()))?;
                Descriptor::new(media_type::DOCKER_LAYER_GZIP, digest, size)
            }
            _ => Descriptor::new(media_type::DOCKER_LAYER, *diff_id, size),
        };
        Ok((blob, entry.clone()))
    });
    Ok(SavedImage { layers: layers.collect::<Result<_>>()?, config })
}

fn is_named(tag: &str, wanted: &str) -> bool {
    tag == wanted
        || matches!((tag.parse::<Reference>(), wanted.parse::<Reference>()), (Ok(a), Ok(b)) if a == b)
}

fn read_item(store: &Store, source: &dyn Source, item: &Item, options: &LoadOptions) -> Result<Loaded> {
    let config = source.read_small(&item.config, MAX_CONFIG)?;
    let mut image = Image::from_parts(&config, None)?;
    // The config's name is its digest: `<hex>.json`, or `blobs/sha256/<hex>` in newer archives.
    let stem = item.config.rsplit('/').next().unwrap_or_default();
    if let Ok(said) = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem))
        && said != image.id()
    {
        let why = format!("its config `{:.100}` has digest {}", item.config, image.id());
        return Err(Error::invalid(source.name(), why));
    }
    if let Some(platform) = &options.platform
        && !platform.same_machine(&image.platform())
    {
        let why = format!("its image is for {}, not for {platform}", image.platform());
        return Err(Error::invalid(source.name(), why));
    }
    let diff_ids = image.diff_ids();
    let layers = item.layers.as_deref().unwrap_or_default();
    if layers.len() != diff_ids.len() {
        let why = format!("it has {} layers for an image of {}", layers.len(), diff_ids.len());
        return Err(Error::invalid(source.name(), why));
    }
    for (index, (name, diff_id)) in layers.iter().zip(&diff_ids).enumerate() {
        let below = diff_ids.get(..index).unwrap_or_default();
        let (reader, _): (Box<dyn Read + Send>, u64) = source.need(name)?;
        let layer = store.import_unnamed_layer(image.layer_os(), diff_id, below, reader)?;
        if let Some(blob) = layer.blob {
            image = image.with_blob(index, blob);
        }
    }
    store.images().put(&image)?;
    let names = item.repo_tags.iter().flatten().map(|tag| tag.parse());
    Ok(Loaded { names: names.collect::<Result<_, _>>()?, image, descriptor: None })
}
