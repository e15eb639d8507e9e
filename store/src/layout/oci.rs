//! OCI image layouts (OCI image specification, "Image Layout").

use std::collections::BTreeMap;

use serde_json::Value;

use super::sink::Sink;
use super::source::Source;
use super::{Content, IMAGE_NAME, LoadOptions, Loaded, NamedImage, REF_NAME, SaveOptions, oci_manifest};
use crate::blob::read_limited;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::{Digest, VerifiedReader};
use crate::error::{Error, Result};
use crate::image::{Image, Index, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::Store;

/// The most that is read of `oci-layout`, in bytes.
pub(super) const MAX_LAYOUT: u64 = 1 << 16;

/// The file that lists the images.
pub(super) const INDEX: &str = "index.json";
/// The file that says what the directory is.
pub(super) const LAYOUT: &str = "oci-layout";
/// All of that file.
pub(super) const LAYOUT_JSON: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// How deep indexes may stand in indexes.
const MAX_DEPTH: usize = 4;

/// The name of a blob's file.
pub(super) fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What was written of images.
pub(super) struct Saved {
    /// Their manifests and indexes.
    pub(super) written: Vec<Descriptor>,
    /// What the layout's index is to name.
    pub(super) entries: Vec<Descriptor>,
}

/// Writes the content of `images`.
pub(super) fn write(
    store: &Store,
    sink: &mut dyn Sink,
    images: &[NamedImage],
    options: &SaveOptions,
) -> Result<Saved> {
    let mut entries = Vec::new();
    let mut written = Vec::new();
    for NamedImage { content, names } in images {
        let (descriptor, plain) = match content {
            Content::Image(image) => {
                let manifest = put_image(store, sink, image, options)?;
                let plain = manifest.descriptor();
                (Descriptor { platform: Some(image.platform()), ..plain.clone() }, plain)
            }
            Content::Index(index, members) => {
                for image in members {
                    let manifest = put_image(store, sink, image, options)?;
                    if !index.manifests.iter().any(|entry| entry.digest == manifest.digest()) {
                        let why = format!("it does not name the manifest of image {}", image.id().short());
                        return Err(Error::invalid(format!("index {}", index.descriptor().digest), why));
                    }
                }
                let plain = index.descriptor();
                let name = path(&plain.digest);
                if !sink.has(&name) {
                    sink.put_bytes(&name, index.bytes())?;
                }
                (plain.clone(), plain)
            }
        };
        if names.is_empty() {
            entries.push(descriptor.clone());
        }
        for name in names {
            let tag = name.tag().unwrap_or("latest").to_owned();
            let annotations =
                BTreeMap::from([(REF_NAME.to_owned(), tag), (IMAGE_NAME.to_owned(), name.to_string())]);
            entries.push(Descriptor { annotations, ..descriptor.clone() });
        }
        written.push(plain);
    }
    Ok(Saved { written, entries })
}

/// Ends a layout of which only what is new is in it. Last: what it names is there.
pub(super) fn end(sink: &mut dyn Sink, entries: Vec<Descriptor>) -> Result<()> {
    sink.put_bytes(LAYOUT, LAYOUT_JSON.as_bytes())?;
    sink.put_bytes(INDEX, Index::make(entries).bytes())
}

/// The `old` entries of an index as far as none of `new` has their name, and the new ones.
pub(super) fn merged(old: &[Descriptor], new: Vec<Descriptor>) -> Vec<Descriptor> {
    let same =
        |a: &Descriptor, b: &Descriptor| match (a.annotations.get(IMAGE_NAME), b.annotations.get(IMAGE_NAME))
        {
            (Some(a), Some(b)) => a == b,
            _ if a.annotations.is_empty() && b.annotations.is_empty() => a.digest == b.digest,
            _ => {
                a.annotations.contains_key(REF_NAME)
                    && a.annotations.get(REF_NAME) == b.annotations.get(REF_NAME)
            }
        };
    let mut all: Vec<Descriptor> = old.iter().filter(|o| !new.iter().any(|e| same(o, e))).cloned().collect();
    all.extend(new);
    all
}

/// Writes everything of an image.
fn put_image(store: &Store, sink: &mut dyn Sink, image: &Image, options: &SaveOptions) -> Result<Manifest> {
    let manifest = oci_manifest(store, image, options)?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        put_blob(store, sink, blob)?;
    }
    put_blob(store, sink, &manifest.descriptor())?;
    Ok(manifest)
}

fn put_blob(store: &Store, sink: &mut dyn Sink, blob: &Descriptor) -> Result<()> {
    let name = path(&blob.digest);
    if sink.has(&name) {
        return Ok(());
    }
    let file = store.blobs().file(&blob.digest)?;
    sink.put(&name, blob.size, &mut VerifiedReader::new(file, blob.digest, blob.size))
}

/// Reads the index.
pub(super) fn read_index(source: &dyn Source) -> Result<Index> {
    check_layout(&source.name(), &source.read_small(LAYOUT, MAX_LAYOUT)?)?;
    read_names(source)
}

/// Whether `oci-layout` of the layout `name` says that it is of a version that is understood.
pub(super) fn check_layout(name: &str, content: &[u8]) -> Result<()> {
    let layout: Value =
        serde_json::from_slice(content).map_err(|e| Error::invalid(name, format!("in `{LAYOUT}`, {e}")))?;
    match layout.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => Ok(()),
        other => {
            let why = format!("its layout has version {:.40}, not 1.0.0", other.unwrap_or("(none)"));
            Err(Error::invalid(name, why))
        }
    }
}

/// The index alone, where it is known what the files are.
pub(super) fn read_names(source: &dyn Source) -> Result<Index> {
    let bytes = source.read_small(INDEX, MAX_MANIFEST)?;
    Index::parse(&bytes, media_type::OCI_INDEX)
}

/// A blob of the layout, verified as it is read.
fn open(source: &dyn Source, blob: &Descriptor) -> Result<VerifiedReader<Box<dyn std::io::Read + Send>>> {
    let (reader, _) = source.need(&path(&blob.digest))?;
    Ok(VerifiedReader::new(reader, blob.digest, blob.size))
}

/// All of a small blob.
pub(super) fn read_blob(source: &dyn Source, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let what = format!("blob {} in {}", blob.digest, source.name());
    if blob.size > limit {
        return Err(Error::TooLarge { what, size: blob.size, limit });
    }
    read_limited(open(source, blob)?, &what, limit)
}

/// An image of a layout.
struct Found {
    manifest: Descriptor,
    /// The entry of the layout's index that leads to it.
    top: Descriptor,
    names: Vec<Reference>,
}

/// Finds the images that `options` choose.
fn find(source: &dyn Source, options: &LoadOptions) -> Result<Vec<Found>> {
    let index = read_index(source)?;
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let entries: Vec<&Descriptor> = match &options.name {
        None => index.manifests.iter().collect(),
        Some(name) => vec![choose(source, &index, name)?],
    };
    if entries.is_empty() {
        return Err(Error::invalid(source.name(), "there is no image in it"));
    }
    // Several entries for several platforms under one name are a choice, not several images.
    let group =
        |d: &Descriptor| (d.annotations.get(IMAGE_NAME).cloned(), d.annotations.get(REF_NAME).cloned());
    let mut found: Vec<Found> = Vec::new();
    let mut groups = Vec::new();
    for entry in &entries {
        if groups.contains(&group(entry)) {
            continue;
        }
        groups.push(group(entry));
        let members: Vec<Descriptor> =
            entries.iter().filter(|e| group(e) == group(entry)).map(|e| (*e).clone()).collect();
        let unnamed = group(entry) == (None, None);
        let choices = if unnamed && options.platform.is_none() && !several_platforms(&members) {
            members
        } else {
            vec![pick(source, &members, &platform)?]
        };
        for member in choices {
            let (manifest, top) =
                (descend(source, &member, &platform, options.platform.is_none(), 0)?, member);
            let names: Vec<Reference> = names_of(&top).into_iter().collect();
            match found.iter_mut().find(|f| f.manifest.digest == manifest.digest) {
                Some(same) => same.names.extend(names),
                None => found.push(Found { manifest, top, names }),
            }
        }
    }
    Ok(found)
}

/// What the images that `options` choose say of themselves; nothing else of them is read.
pub(super) fn configs(source: &dyn Source, options: &LoadOptions) -> Result<Vec<Image>> {
    find(source, options)?.into_iter().map(|found| config(source, &found.manifest, options)).collect()
}

/// Reads the images that `options` choose.
pub(super) fn read(store: &Store, source: &dyn Source, options: &LoadOptions) -> Result<Vec<Loaded>> {
    find(source, options)?
        .into_iter()
        .map(|Found { manifest, top, mut names }| {
            names.sort();
            names.dedup();
            let image = import(store, source, &manifest, options)?;
            if !options.layers_only && media_type::is_index(&top.media_type) {
                let bytes = read_blob(source, &top, MAX_MANIFEST)?;
                let index = Index::parse(&bytes, &top.media_type)?;
                store.images().put_index(&index)?;
                if options.platform.is_none() {
                    import_others(store, source, &index, &manifest, options)?;
                }
            }
            Ok(Loaded { names, image, descriptor: Some(top) })
        })
        .collect()
}

fn several_platforms(members: &[Descriptor]) -> bool {
    let mut platforms: Vec<_> = members.iter().map(|m| m.platform.as_ref()).collect();
    platforms.sort();
    platforms.dedup();
    platforms.len() > 1 && members.iter().all(|m| m.platform.is_some())
}

/// The entry that goes by `name`: its full name, its ref name, its digest, or the tag of its full name.
pub(super) fn choose<'a>(source: &dyn Source, index: &'a Index, name: &str) -> Result<&'a Descriptor> {
    let wanted: Option<Reference> = name.parse().ok();
    let digest: Option<Digest> = name.trim_start_matches('@').parse().ok();
    let is = |d: &&Descriptor| {
        digest.is_some_and(|digest| d.digest == digest)
            || d.annotations.get(REF_NAME).is_some_and(|n| n == name)
            || d.annotations.get(IMAGE_NAME).is_some_and(|n| n == name)
            || (wanted.is_some() && names_of(d) == wanted)
    };
    index.manifests.iter().find(is).ok_or_else(|| {
        let names: Vec<&str> = index
            .manifests
            .iter()
            .filter_map(|d| d.annotations.get(REF_NAME).or(d.annotations.get(IMAGE_NAME)))
            .map(String::as_str)
            .collect();
        let have = if names.is_empty() { "its images have no names".to_owned() } else { names.join("`, `") };
        Error::invalid(source.name(), format!("there is no image `{name}` in it, only: `{have:.500}`"))
    })
}

/// The name of an entry, where it is one of an image and not a bare tag.
fn names_of(entry: &Descriptor) -> Option<Reference> {
    let annotation = |name: &str| entry.annotations.get(name);
    if let Some(name) = annotation(IMAGE_NAME).and_then(|n| n.parse().ok()) {
        return Some(name);
    }
    // A bare tag would parse as a repository.
    annotation(REF_NAME).filter(|n| n.contains(['/', ':'])).and_then(|n| n.parse().ok())
}

/// The one of several entries that is for `platform`.
fn pick(source: &dyn Source, members: &[Descriptor], platform: &Platform) -> Result<Descriptor> {
    match members {
        [one] => Ok(one.clone()),
        several => {
            let index = Index::make(several.to_vec());
            index.select(platform).cloned().ok_or_else(|| missing(source, &index, platform))
        }
    }
}

fn missing(source: &dyn Source, index: &Index, platform: &Platform) -> Error {
    let have: Vec<String> = index.platforms().iter().map(Platform::to_string).collect();
    Error::invalid(
        source.name(),
        format!("there is no image for {platform} in it, only for: {:.300}", have.join(", ")),
    )
}

/// The images of an index besides `chosen`, as far as the file has them.
fn import_others(
    store: &Store,
    source: &dyn Source,
    index: &Index,
    chosen: &Descriptor,
    options: &LoadOptions,
) -> Result<()> {
    for other in index.manifests.iter().filter(|entry| is_image(entry) && entry.digest != chosen.digest) {
        if source.has(&path(&other.digest))? {
            import(store, source, other, options)?;
        }
    }
    Ok(())
}

/// Whether an entry of an index is an image for some platform, and no index and no attestation of one.
fn is_image(entry: &Descriptor) -> bool {
    !media_type::is_index(&entry.media_type) && entry.platform.is_some() && !entry.is_attestation()
}

/// The manifest for `platform` below an entry that may be an index; the first of it where there is none and `any`
/// will do.
fn descend(
    source: &dyn Source,
    entry: &Descriptor,
    platform: &Platform,
    any: bool,
    depth: usize,
) -> Result<Descriptor> {
    if !media_type::is_index(&entry.media_type) {
        return Ok(entry.clone());
    }
    if depth >= MAX_DEPTH {
        return Err(Error::invalid(source.name(), "its indexes stand too deep in each other"));
    }
    let index = Index::parse(&read_blob(source, entry, MAX_MANIFEST)?, &entry.media_type)?;
    let first = || index.manifests.iter().find(|entry| any && is_image(entry));
    let chosen = index.select(platform).or_else(first).ok_or_else(|| missing(source, &index, platform))?;
    descend(source, chosen, platform, any, depth + 1)
}

/// Manifest and config of an image, which has to be for the platform that is asked for.
fn config(source: &dyn Source, descriptor: &Descriptor, options: &LoadOptions) -> Result<Image> {
    let manifest = Manifest::parse(&read_blob(source, descriptor, MAX_MANIFEST)?, &descriptor.media_type)?;
    let config = read_blob(source, &manifest.config, MAX_CONFIG)?;
    let image = Image::from_parts(&config, Some(manifest))?;
    if let Some(platform) = &options.platform
        && !image.platform().os.is_empty()
        && !platform.same_machine(&image.platform())
    {
        let why = format!("its image is for {}, not for {platform}", image.platform());
        return Err(Error::invalid(source.name(), why));
    }
    Ok(image)
}

fn import(
    store: &Store,
    source: &dyn Source,
    descriptor: &Descriptor,
    options: &LoadOptions,
) -> Result<Image> {
    let image = config(source, descriptor, options)?;
    let (diff_ids, layers) = (image.diff_ids(), image.manifest().map(|manifest| &manifest.layers));
    for (index, blob) in layers.into_iter().flatten().enumerate() {
        let (Some(diff_id), Some(below)) = (diff_ids.get(index), diff_ids.get(..index)) else { continue };
        let (reader, _) = source.need(&path(&blob.digest))?;
        store.import_layer(image.layer_os(), blob, diff_id, below, reader)?;
    }
    if !options.layers_only {
        store.images().put(&image)?;
    }
    Ok(image)
}
