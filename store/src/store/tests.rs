use std::io::Write;

use super::*;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::image::{History, Image, ImageLayer, Manifest, ManifestKind};
use crate::layer::compress::Compression;
use crate::platform::Platform;
use crate::snapshot::LayerOs;

/// A store on its own, for tests of what lies above it.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

pub(crate) fn open(dir: &Path) -> Store {
    let options = StoreOptions { durability: Durability::Process, ..StoreOptions::default() };
    Store::open(&dir.join("store"), &options).unwrap()
}

/// A layer's tar with one file of `content` in it.
pub(crate) fn layer_tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// An image of gzip layers, one file each, as if pulled, with its blobs.
pub(crate) fn pulled(contents: &[&str]) -> (Image, Vec<Vec<u8>>) {
    let mut image = Image::scratch(&platform());
    let mut blobs = Vec::new();
    let mut descriptors = Vec::new();
    for content in contents {
        let tar = layer_tar("file", content.as_bytes());
        let blob = gzip(&tar);
        image = image.append_layer(ImageLayer::new(Digest::of(&tar), None), History::default());
        descriptors.push(Descriptor::of(media_type::OCI_LAYER_GZIP, &blob));
        blobs.push(blob);
    }
    let manifest = image.make_manifest(ManifestKind::Oci, &descriptors).unwrap();
    (Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap(), blobs)
}

/// Brings an image into the store as a pull does.
pub(crate) fn import(store: &Store, image: &Image, blobs: &[Vec<u8>]) {
    let diff_ids = image.diff_ids();
    for (index, (layer, blob)) in image.layers().iter().zip(blobs).enumerate() {
        let descriptor = layer.blob.as_ref().unwrap();
        store
            .import_layer(LayerOs::Linux, descriptor, &layer.diff_id, &diff_ids[..index], blob.as_slice())
            .unwrap();
    }
    store.images().put(image).unwrap();
}

/// What lies half-made in `work/`.
pub(crate) fn half_made(store: &Store) -> Vec<String> {
    let mut out = Vec::new();
    let mut stack = vec![store.root().join(WORK)];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                stack.push(entry.path());
            } else if name != "uses" && !name.ends_with(".lock") {
                out.push(name);
            }
        }
    }
    out
}

#[test]
fn a_layer_is_taken_in_one_pass_in_both_forms() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    let layer = &image.layers()[0];
    let descriptor = layer.blob.clone().unwrap();
    let done =
        store.import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], blobs[0].as_slice()).unwrap();
    assert_eq!(done.blob, Some(descriptor.clone()));
    assert!(store.blobs().contains(&descriptor.digest));
    assert!(store.layers().contains(&[], &layer.diff_id));
    assert_eq!(store.diff_id_of(&descriptor.digest).unwrap(), Some(layer.diff_id));
    assert!(half_made(&store).is_empty());
    // The second time, nothing is read.
    store.import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], std::io::empty()).unwrap();
}

#[test]
fn a_layer_that_is_not_what_it_should_be_leaves_nothing() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    let layer = &image.layers()[0];
    let descriptor = layer.blob.clone().unwrap();
    let whole = &blobs[0];
    let truncated = &whole[..whole.len() - 9];
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    let longer = [whole.as_slice(), b"x"].concat();
    let other = gzip(&layer_tar("file", b"other"));
    for bytes in [truncated, &flipped, &longer, &other, b"", b"not found"] {
        let error = store.import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], bytes).unwrap_err();
        assert!(!store.blobs().contains(&descriptor.digest), "{error}");
        assert!(half_made(&store).is_empty(), "{:?}", half_made(&store));
    }
    // The right blob for another diff ID.
    let wrong = Digest::of(b"wrong");
    let error = store.import_layer(LayerOs::Linux, &descriptor, &wrong, &[], whole.as_slice()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content, "{error}");
    assert!(!store.layers().contains(&[], &wrong));
    assert!(!store.blobs().contains(&descriptor.digest));
    // And the store is as good as before.
    store.import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], whole.as_slice()).unwrap();
}

#[test]
fn the_cause_of_a_bad_stream_is_told() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    let layer = &image.layers()[0];
    let descriptor = layer.blob.clone().unwrap();
    let error = store
        .import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], &blobs[0][..blobs[0].len() - 9])
        .unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("ended after"), "{error}: {source}");
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by the registry"))
        }
    }
    let error = store.import_layer(LayerOs::Linux, &descriptor, &layer.diff_id, &[], Broken).unwrap_err();
    assert!(matches!(error, Error::Stream { .. }), "{error:?}");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "reset by the registry");
}

#[test]
fn bytes_after_the_archive_belong_to_the_blob() {
    let (_dir, store) = store();
    let tar = layer_tar("f", b"x");
    // Two gzip members, and a tar that is padded beyond its end.
    let padded = [tar.as_slice(), &[0; 20480]].concat();
    let blob = [gzip(&tar), gzip(&[0; 20480])].concat();
    let descriptor = Descriptor::of(media_type::OCI_LAYER_GZIP, &blob);
    store.import_layer(LayerOs::Linux, &descriptor, &Digest::of(&padded), &[], blob.as_slice()).unwrap();
    assert_eq!(store.blobs().size(&descriptor.digest).unwrap(), Some(blob.len() as u64));
}

#[test]
fn zstd_and_plain_layers() {
    let (_dir, store) = store();
    let tar = layer_tar("f", b"zstd");
    let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
    let descriptor = Descriptor::of(media_type::OCI_LAYER_ZSTD, &zstd);
    store.import_layer(LayerOs::Linux, &descriptor, &Digest::of(&tar), &[], zstd.as_slice()).unwrap();
    let tar = layer_tar("f", b"plain");
    let descriptor = Descriptor::of(media_type::OCI_LAYER, &tar);
    store.import_layer(LayerOs::Linux, &descriptor, &Digest::of(&tar), &[], tar.as_slice()).unwrap();
    assert_eq!(descriptor.digest, Digest::of(&tar), "a plain blob is its own diff ID");
}

#[test]
fn a_layer_is_made_again_from_its_blob() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    assert!(!store.ensure_layer(&image, 0).unwrap(), "it has to be fetched");
    import(&store, &image, &blobs);
    store.layers().remove(&crate::layer::LayerKey::Diff(image.layers()[0].diff_id)).unwrap();
    assert!(store.ensure_layer(&image, 0).unwrap());
    assert!(store.layers().contains(&[], &image.layers()[0].diff_id));
    assert!(store.ensure_layer(&image, 1).is_err(), "there is no such layer");
}

#[test]
fn a_pulled_image_is_exported_as_it_came() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one", "two"]);
    import(&store, &image, &blobs);
    let manifest = store.export(&image, &ExportOptions::default()).unwrap();
    assert_eq!(manifest.bytes(), image.manifest().unwrap().bytes());
    // Without its blobs, only where the registry has them.
    let (absent, _) = pulled(&["three"]);
    assert_eq!(store.export(&absent, &ExportOptions::default()).unwrap_err().kind(), ErrorKind::NotFound);
    let lazily = ExportOptions { absent: true, ..ExportOptions::default() };
    assert_eq!(store.export(&absent, &lazily).unwrap(), absent.manifest().unwrap().clone());
}

#[test]
fn another_kind_or_compression_makes_another_manifest_of_the_same_image() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    import(&store, &image, &blobs);
    let docker = ExportOptions { kind: Some(ManifestKind::Docker), ..ExportOptions::default() };
    let manifest = store.export(&image, &docker).unwrap();
    assert_eq!(manifest.kind(), ManifestKind::Docker);
    assert_eq!(manifest.layers[0].digest, image.layers()[0].blob.as_ref().unwrap().digest, "the blob stays");
    assert_eq!(manifest.config.digest, image.id());
    let zstd = ExportOptions { compression: Compression::Zstd(3), force: true, ..ExportOptions::default() };
    let manifest = store.export(&image, &zstd).unwrap();
    assert_eq!(manifest.layers[0].media_type, media_type::OCI_LAYER_ZSTD);
    let again = store.export(&image, &zstd).unwrap();
    assert_eq!(manifest, again);
    let exported = Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap();
    crate::image::validate::content(&exported, store.blobs()).unwrap();
    let not_forced = ExportOptions { force: false, ..zstd };
    assert_eq!(&store.export(&image, &not_forced).unwrap(), image.manifest().unwrap());
}

#[test]
fn a_layer_that_nobody_pushed_is_compressed_when_somebody_asks() {
    let (_dir, store) = store();
    let tar = layer_tar("f", b"made here");
    let facts = store.layers().adopt(&[], tar.as_slice()).unwrap();
    assert!(store.layer_blobs(&facts.diff_id).unwrap().is_empty());
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let blob = store.layer_blob(&[], &facts.diff_id, compression).unwrap();
        assert_eq!(store.layer_blob(&[], &facts.diff_id, compression).unwrap(), blob);
        assert_eq!(store.diff_id_of(&blob.digest).unwrap(), Some(facts.diff_id));
    }
    assert_eq!(store.layer_blobs(&facts.diff_id).unwrap().len(), 3);
    assert_eq!(
        store.layer_blob(&[], &Digest::of(b"no"), Compression::None).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn where_blobs_were_is_remembered() {
    let (_dir, store) = store();
    let blob = Digest::of(b"b");
    store.note_source(&blob, "r.io/a").unwrap();
    store.note_source(&blob, "r.io/a").unwrap();
    store.note_source(&blob, "r.io/b").unwrap();
    assert_eq!(store.sources(&blob).unwrap().len(), 2);
}

#[test]
fn stores_of_other_versions_and_foreign_directories_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let root = dir.path().join("store");
    let file = root.join(FORMAT);
    let good = std::fs::read_to_string(&file).unwrap();
    let options = StoreOptions::default();
    for (text, found) in [
        ("orlop-store 2\n", "version 2"),
        ("orlop-store 1\nincompatible: shiny\n", "uses `shiny`"),
        ("orlop-store 1\nread-only-compatible: slow\n", "uses `slow`"),
        ("", "nothing that an orlop wrote"),
        ("hello\n", "nothing that an orlop wrote"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Store::open(&root, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.to_string().contains(found), "{error}");
        assert!(error.hint().is_some());
    }
    std::fs::write(&file, format!("{good}compatible: whatever\nsomething: new\n")).unwrap();
    Store::open(&root, &options).unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("letter.txt"), "x").unwrap();
    let error = Store::open(&home, &options).unwrap_err();
    assert!(error.to_string().contains("not empty (`letter.txt`)"), "{error}");
    let error = Store::open(&home.join("letter.txt"), &options).unwrap_err();
    assert!(error.to_string().contains("letter.txt"), "{error}");
}

#[test]
fn many_open_one_store_at_once_and_take_the_same_layer() {
    let dir = tempfile::tempdir().unwrap();
    let (image, blobs) = pulled(&["one", "two"]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let store = open(dir.path());
                import(&store, &image, &blobs);
            });
        }
    });
    let store = open(dir.path());
    assert_eq!(store.images().list().unwrap().len(), 1);
    assert_eq!(store.blobs().list().unwrap().len(), 4, "two layers, a config, a manifest");
    assert!(half_made(&store).is_empty());
    let loaded = store.images().get(&image.id().to_string()).unwrap();
    crate::image::validate::content(&loaded, store.blobs()).unwrap();
}

#[test]
fn a_manifest_may_not_name_another_config() {
    let (image, _) = pulled(&["one"]);
    let other = Image::scratch(&platform());
    let manifest: Manifest = image.manifest().unwrap().clone();
    assert!(Image::from_parts(&other.config_bytes(), Some(manifest)).is_err());
}

#[test]
fn a_blob_that_claims_to_be_a_layer_that_is_here_is_still_looked_at() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    import(&store, &image, &blobs);
    let diff_id = image.diff_ids()[0];
    let other = gzip(&layer_tar("file", b"evil"));
    let descriptor = Descriptor::of(media_type::OCI_LAYER_GZIP, &other);
    let error = store.import_layer(LayerOs::Linux, &descriptor, &diff_id, &[], other.as_slice()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content, "{error}");
    assert_eq!(store.diff_id_of(&descriptor.digest).unwrap(), None);
}

#[test]
fn a_step_that_was_copied_is_in_the_store_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { driver: Driver::Copy, durability: Durability::Process, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("store"), &options).unwrap();
    let snapshots = store.snapshots().unwrap();
    let platform: Platform = if cfg!(windows) { "windows/amd64" } else { "linux/amd64" }.parse().unwrap();
    let os = LayerOs::of(&platform.os);
    let active = snapshots.prepare(&crate::snapshot::Committed::scratch_of(os)).unwrap();
    std::fs::write(active.path().join("file"), "x").unwrap();
    let diff = snapshots.diff(&active).unwrap();
    let committed = snapshots.commit(active, &diff).unwrap();
    assert!(store.has_layer(os, &[], &diff.diff_id).unwrap());
    let image = Image::scratch(&platform)
        .append_layer(ImageLayer::new(diff.diff_id, Some(diff.size)), History::default());
    assert!(store.ensure_layer(&image, 0).unwrap());
    assert!(snapshots.missing(&committed).unwrap().is_empty());
    let manifest = store.export(&image, &ExportOptions::default()).unwrap();
    let exported = Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap();
    crate::image::validate::content(&exported, store.blobs()).unwrap();
}

#[cfg(unix)]
mod unix;
