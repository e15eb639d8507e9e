use std::collections::BTreeMap;

use super::*;
use crate::descriptor::media_type;
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::image::{Config, Index, validate};
use crate::store::tests::{gzip, half_made, import, layer_tar, pulled, store};

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn named(image: &Image, names: &[&str]) -> Vec<NamedImage> {
    vec![NamedImage { content: image.clone().into(), names: names.iter().map(|n| name(n)).collect() }]
}

/// A store with a pulled image of two layers.
fn filled() -> (tempfile::TempDir, Store, Image) {
    let (dir, store) = store();
    let (image, blobs) = pulled(&["one", "two"]);
    import(&store, &image, &blobs);
    (dir, store, image)
}

fn saved(store: &Store, format: ArchiveFormat, images: &[NamedImage]) -> Vec<u8> {
    let mut out = Vec::new();
    store.save_to(&mut out, format, images, &SaveOptions::default()).unwrap();
    out
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn files_of(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            out.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
        }
    }
    out
}

fn repacked(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    tar_of(&files.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect::<Vec<_>>())
}

#[test]
fn both_archives_go_out_and_come_back() {
    let (_a, from, image) = filled();
    for format in [ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let archive = saved(&from, format, &named(&image, &["app:1", "r.io/x/y:2"]));
        assert_eq!(archive, saved(&from, format, &named(&image, &["app:1", "r.io/x/y:2"])), "the same bytes");
        for archive in [archive.clone(), gzip(&archive)] {
            let (_b, to) = store();
            let loaded = to.load_from(archive.as_slice(), &LoadOptions::default()).unwrap();
            assert_eq!(loaded.len(), 1);
            assert_eq!(loaded[0].image.id(), image.id());
            assert_eq!(loaded[0].names, [name("app:1"), name("r.io/x/y:2")]);
            assert_eq!(loaded[0].image.manifest().is_some(), format == ArchiveFormat::Oci);
            let stored = to.images().get(&image.id().to_string()).unwrap();
            validate::content(&stored, to.blobs()).unwrap();
            assert!(half_made(&to).is_empty());
        }
    }
}

#[test]
fn an_oci_archive_keeps_the_manifest() {
    let (_a, from, image) = filled();
    let archive = saved(&from, ArchiveFormat::Oci, &named(&image, &["app"]));
    let (_b, to) = store();
    let loaded = to.load_from(archive.as_slice(), &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].image.manifest(), image.manifest());
    let index = Index::parse(&files_of(&archive)["index.json"], "").unwrap();
    let entry = &index.manifests[0];
    assert_eq!(entry.annotations[REF_NAME], "latest");
    assert_eq!(entry.annotations[IMAGE_NAME], "docker.io/library/app:latest");
    assert_eq!(entry.platform.as_ref().unwrap().to_string(), "linux/amd64");
}

#[test]
fn files_and_directories() {
    let (dir, from, image) = filled();
    let archive = dir.path().join("a.tar");
    from.save(&archive, ArchiveFormat::Docker, &named(&image, &["app"]), &SaveOptions::default()).unwrap();
    let layout = dir.path().join("layout");
    from.save_layout(&layout, &named(&image, &["app"]), &SaveOptions::default()).unwrap();
    for path in [&archive, &layout] {
        let (_b, to) = store();
        let loaded = to.load(path, &LoadOptions::default()).unwrap();
        assert_eq!(loaded[0].image.id(), image.id());
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary files: {left:?}");
    let nowhere = dir.path().join("no/such/dir.tar");
    let error =
        from.save(&nowhere, ArchiveFormat::Oci, &named(&image, &[]), &SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("dir.tar"), "{error}");
    let full = std::path::Path::new("/dev/full");
    if full.exists() {
        let mut file = std::fs::File::options().write(true).open(full).unwrap();
        let error = from
            .save_to(&mut file, ArchiveFormat::Oci, &named(&image, &[]), &SaveOptions::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }
}

#[test]
fn a_layout_keeps_images_of_other_names() {
    let (dir, from, image) = filled();
    let layout = dir.path().join("layout");
    let save = |image: &Image, n: &str| {
        from.save_layout(&layout, &named(image, &[n]), &SaveOptions::default()).unwrap();
    };
    let other = image.with_config(|c| c.set_user(Some("u")));
    save(&image, "app:1");
    save(&image, "app:2");
    save(&other, "app:1");
    let (_b, to) = store();
    let get = |n: &str| {
        to.load(&layout, &LoadOptions { name: Some(n.into()), ..LoadOptions::default() }).unwrap()[0]
            .image
            .id()
    };
    assert_eq!((get("app:1"), get("2")), (other.id(), image.id()));
    assert_eq!(get("docker.io/library/app:2"), image.id());
    assert_eq!(get(&image.manifest().unwrap().digest().to_string()), image.id());
    assert_eq!(to.load(&layout, &LoadOptions::default()).unwrap().len(), 2);
    let error =
        to.load(&layout, &LoadOptions { name: Some("3".into()), ..LoadOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("no image `3` in it, only: `2`, `1`"), "{error}");
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("x"), "").unwrap();
    assert!(from.save_layout(&foreign, &named(&image, &[]), &SaveOptions::default()).is_err());
}

#[test]
fn entries_in_any_order_and_linked_layers() {
    let (_a, from, image) = filled();
    let files = files_of(&saved(&from, ArchiveFormat::Docker, &named(&image, &["app"])));
    let reversed: Vec<(&str, &[u8])> = files.iter().rev().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
    let (_b, to) = store();
    let loaded = to.load_from(tar_of(&reversed).as_slice(), &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].image.id(), image.id());

    // As old versions of `docker save` wrote a layer that two images share.
    let layer = format!("{}.tar", image.diff_ids()[0].hex());
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in &files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        if *path == layer {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, path, "dir/../elsewhere/layer.tar").unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, "elsewhere/layer.tar", content.as_slice()).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, format!("./{path}"), content.as_slice()).unwrap();
        }
    }
    let (_c, to) = store();
    let archive = builder.into_inner().unwrap();
    let loaded = to.load_from(archive.as_slice(), &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].image.id(), image.id());
}

#[test]
fn compressed_layers_in_a_docker_archive() {
    let tar = layer_tar("f", b"x");
    let image = Image::scratch(&"linux/amd64".parse().unwrap()).append_layer(
        crate::image::ImageLayer::new(Digest::of(&tar), None),
        crate::image::History::default(),
    );
    let blob = gzip(&tar);
    let archive = tar_of(&[
        ("l/layer.tar", &blob),
        ("c.json", &image.config_bytes()),
        ("manifest.json", br#"[{"Config":"c.json","RepoTags":null,"Layers":["l/layer.tar"]}]"#),
    ]);
    let (_b, to) = store();
    let loaded = to.load_from(archive.as_slice(), &LoadOptions::default()).unwrap();
    assert!(loaded[0].names.is_empty());
    let layer = loaded[0].image.layers()[0].blob.clone().unwrap();
    assert_eq!((layer.digest, layer.media_type.as_str()), (Digest::of(&blob), media_type::OCI_LAYER_GZIP));
    let out = saved(&to, ArchiveFormat::Docker, &named(&loaded[0].image, &[]));
    assert_eq!(files_of(&out)[&format!("{}.tar", Digest::of(&tar).hex())], tar);
}

#[test]
fn an_index_of_platforms_gives_the_one_asked_for() {
    let (dir, from, image) = filled();
    let arm = image.with_config(|c: &mut Config| c.set_platform(&"linux/arm64".parse().unwrap()));
    let archive = saved(&from, ArchiveFormat::Oci, &[named(&image, &[]), named(&arm, &[])].concat());
    let mut files = files_of(&archive);
    let inner = Index::parse(&files["index.json"], "").unwrap();
    let descriptor = inner.descriptor();
    files.insert(format!("blobs/sha256/{}", descriptor.digest.hex()), inner.bytes().to_vec());
    let mut entry = descriptor.clone();
    entry.annotations.insert(REF_NAME.into(), "multi".into());
    files.insert("index.json".into(), Index::make(vec![entry]).bytes().to_vec());
    let path = dir.path().join("multi.tar");
    std::fs::write(&path, repacked(&files)).unwrap();
    let (_b, to) = store();
    for (platform, id) in [("linux/arm64", arm.id()), ("linux/amd64", image.id())] {
        let options = LoadOptions {
            name: Some("multi".into()),
            platform: Some(platform.parse().unwrap()),
            ..LoadOptions::default()
        };
        let loaded = to.load(&path, &options).unwrap();
        assert_eq!(loaded[0].image.id(), id);
        assert_eq!(to.images().index(&descriptor.digest).unwrap(), inner);
    }
    let options = LoadOptions { platform: Some("linux/s390x".parse().unwrap()), ..LoadOptions::default() };
    let error = to.load(&path, &options).unwrap_err();
    assert!(error.to_string().contains("no image for linux/s390x in it, only for: linux/amd64"), "{error}");
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let (dir, from, image) = filled();
    let oci = files_of(&saved(&from, ArchiveFormat::Oci, &named(&image, &["app"])));
    let docker = files_of(&saved(&from, ArchiveFormat::Docker, &named(&image, &["app"])));
    let layer = format!("blobs/sha256/{}", image.layers()[1].blob.as_ref().unwrap().digest.hex());
    let change = |files: &BTreeMap<String, Vec<u8>>, name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut files = files.clone();
        edit(files.get_mut(name).unwrap());
        repacked(&files)
    };
    let without = |files: &BTreeMap<String, Vec<u8>>, name: &str| {
        let mut files = files.clone();
        files.remove(name).unwrap();
        repacked(&files)
    };
    let config = format!("{}.json", image.id().hex());
    let tar = format!("{}.tar", image.diff_ids()[1].hex());
    let manifest = String::from_utf8(docker["manifest.json"].clone()).unwrap();
    let mut truncated = repacked(&oci);
    truncated.truncate(truncated.len() / 2);
    let mut eight_eib = tar_of(&[("a", b"")]);
    // Size field of the header: base 256, 2^63 - 1.
    eight_eib[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let raw_name = |name: &str| {
        let mut archive = tar_of(&[("aaaaaaaaaaaaaaaa", b"x")]);
        archive[..16].fill(0);
        archive[..name.len()].copy_from_slice(name.as_bytes());
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&archive[..512]);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        archive
    };
    let mut link_loop = tar::Builder::new(Vec::new());
    for (from, to) in [("manifest.json", "b"), ("b", "manifest.json")] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        link_loop.append_link(&mut header, from, to).unwrap();
    }
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (change(&oci, &layer, &|l| l[9] ^= 0xff), "is not what was asked for"),
        (change(&oci, &layer, &|l| l.truncate(20)), "is not what was asked for"),
        (change(&oci, "oci-layout", &|l| *l = b"{}".to_vec()), "has version (none), not 1.0.0"),
        (change(&oci, "index.json", &|l| *l = vec![b' '; 5 << 20]), "more than the 4194304 allowed"),
        (
            change(&oci, "index.json", &|l| *l = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec()),
            "no image in it",
        ),
        (without(&oci, &layer), "is missing"),
        (without(&oci, "index.json"), "has neither `index.json` nor `manifest.json`"),
        (change(&docker, &config, &|c| c.push(b' ')), "has digest"),
        (change(&docker, &tar, &|c| c[512] ^= 1), "unpacks to a tar with digest"),
        (
            change(&docker, "manifest.json", &|m| *m = manifest.replace(&tar, "../../../etc/passwd").into()),
            "is missing",
        ),
        (
            change(&docker, "manifest.json", &|m| *m = manifest.replace(&format!(",\"{tar}\""), "").into()),
            "1 layers for an image of 2",
        ),
        (change(&docker, "manifest.json", &|m| *m = b"[]".to_vec()), "there is no image in it"),
        (change(&docker, "manifest.json", &|m| *m = b"[{}]".to_vec()), "missing field `Config`"),
        (without(&docker, &tar), "is missing"),
        (truncated, "not a tar, or damaged"),
        (eight_eib, "not a tar, or damaged"),
        (raw_name("../x"), "leads out of it"),
        (raw_name("a/../../x"), "leads out of it"),
        (link_loop.into_inner().unwrap(), "round in circles"),
        (tar_of(&[("repositories", b"{}")]), "Docker before 1.10"),
        (b"not a tar at all".to_vec(), ""),
        (Vec::new(), "there is nothing in it"),
        (gzip(b"not a tar at all"), ""),
        (gzip(&repacked(&oci))[..200].to_vec(), "cannot read"),
    ];
    for (index, (archive, reason)) in cases.into_iter().enumerate() {
        let (_b, to) = store();
        let path = dir.path().join("hostile.tar");
        std::fs::write(&path, &archive).unwrap();
        for error in [
            to.load_from(archive.as_slice(), &LoadOptions::default()).unwrap_err(),
            to.load(&path, &LoadOptions::default()).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(reason), "case {index}: {text} should say {reason}");
        }
        assert!(to.images().list().unwrap().is_empty());
        assert!(half_made(&to).is_empty());
    }
}

#[cfg(unix)]
mod unix;
