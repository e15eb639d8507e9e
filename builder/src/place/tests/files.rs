//! To and from layouts and archives.

use orlop_store::layout::LayoutReader;
use orlop_store::{Digest, media_type};
use serde_json::json;

use super::world::{World, digest, image};

fn names(world: &World, layout: &str) -> Vec<(Digest, Option<String>)> {
    let reader = LayoutReader::open(&world.path(layout), world.dir.path()).unwrap();
    let name =
        |d: orlop_store::Descriptor| (d.digest, d.annotations.get(orlop_store::layout::REF_NAME).cloned());
    reader.entries().unwrap().into_iter().map(name).collect()
}

#[test]
fn a_layout_keeps_its_other_images_and_what_it_has_is_not_fetched() {
    let world = World::new();
    let one = image(&world.from, "a", Some("1"), &[b"one", b"shared"]);
    let two = image(&world.from, "a", Some("2"), &[b"two", b"shared"]);
    world.copy("FROM/a:1", "oci:DIR/x:1").unwrap();
    let second = world.copy("FROM/a:2", "oci:DIR/x:2").unwrap();
    assert_eq!((second.sent.0, second.there), (2, 1));
    assert_eq!(names(&world, "x"), [(digest(&one), Some("1".into())), (digest(&two), Some("2".into()))]);
    // The name moves; a copy that fails leaves it.
    world.copy("FROM/a:2", "oci:DIR/x:1").unwrap();
    world.copy("FROM/a:none", "oci:DIR/x:1").unwrap_err();
    assert_eq!(names(&world, "x"), [(digest(&two), Some("2".into())), (digest(&two), Some("1".into()))]);
    // A layout or an archive that names several is asked for one.
    let error = world.copy("oci:DIR/x", "TO/b:1").unwrap_err();
    assert!(error.contains("name one: `2`, `1`"), "{error}");
    let error = world.copy("oci:DIR/x:3", "TO/b:1").unwrap_err();
    assert!(error.contains("there is no image `3`"), "{error}");
    // By digest also what has lost its name.
    let copied = world.copy(&format!("oci:DIR/x@{}", digest(&one)), "TO/b:1").unwrap();
    assert_eq!(copied.digest, digest(&one));
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_lives_is_not() {
    let world = World::new();
    image(&world.from, "a", Some("1"), &[b"one"]);
    world.copy("FROM/a:1", "oci:DIR/x:1").unwrap();
    let left = world.path("x/blobs/sha256/.orlop-copy-dead");
    std::fs::write(&left, "half").unwrap();
    let living = std::fs::File::create(world.path("x/blobs/sha256/.orlop-copy-living")).unwrap();
    living.lock().unwrap();
    world.copy("FROM/a:1", "oci:DIR/x:2").unwrap();
    assert!(!left.exists());
    assert!(world.path("x/blobs/sha256/.orlop-copy-living").exists(), "somebody is at work");
    drop(living);
    world.copy("FROM/a:1", "oci:DIR/x:3").unwrap();
    assert!(!world.path("x/blobs/sha256/.orlop-copy-living").exists());
    assert_eq!(names(&world, "x").len(), 3);
}

#[test]
fn many_at_once_into_one_layout_lose_nothing() {
    let world = World::new();
    for n in 0..8 {
        image(&world.from, "a", Some(&n.to_string()), &[&[n], b"shared"]);
    }
    std::thread::scope(|scope| {
        for n in 0..8 {
            let world = &world;
            scope.spawn(move || world.copy(&format!("FROM/a:{n}"), &format!("oci:DIR/x:{n}")).unwrap());
        }
    });
    let mut tags: Vec<String> = names(&world, "x").into_iter().filter_map(|(_, tag)| tag).collect();
    tags.sort();
    assert_eq!(tags, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn an_archive_is_replaced_whole_or_not_at_all() {
    let world = World::new();
    image(&world.from, "a", Some("1"), &[b"one"]);
    world.copy("FROM/a:1", "oci-archive:DIR/x.tar:1").unwrap();
    let before = std::fs::read(world.path("x.tar")).unwrap();
    world.copy("FROM/a:1", "oci-archive:DIR/y.tar:1").unwrap();
    assert_eq!(before, std::fs::read(world.path("y.tar")).unwrap(), "the same bytes each time");
    image(&world.from, "a", Some("2"), &[b"two"]);
    let broken = orlop_registry_client::fake::Fault::Status(404, "BLOB_UNKNOWN", Vec::new());
    world.from.fault("GET", &Digest::of(b"two").to_string(), 0, 1, broken);
    world.copy("FROM/a:2", "oci-archive:DIR/x.tar:2").unwrap_err();
    assert_eq!(before, std::fs::read(world.path("x.tar")).unwrap());
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 2, "nothing is left beside it");
    world.copy("FROM/a:2", "oci-archive:DIR/x.tar:2").unwrap();
    assert_ne!(before, std::fs::read(world.path("x.tar")).unwrap());
    // Onto itself: Windows replaces no file that is being read.
    let onto_itself = world.copy("oci-archive:DIR/x.tar:2", "oci-archive:DIR/x.tar:3");
    if cfg!(windows) {
        return assert!(onto_itself.unwrap_err().contains("cannot write"));
    }
    onto_itself.unwrap();
    world.copy("oci-archive:DIR/x.tar:3", "TO/b:1").unwrap();
}

#[test]
fn an_archive_for_docker_load_and_back() {
    let world = World::new();
    let layer = b"a tar, as far as an archive is concerned".repeat(100);
    let packed = zstd(&layer);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer), Digest::of(b"plain")]},
    });
    let put = |kind: &str, bytes: &[u8]| super::world::blob(&world.from, "a", kind, bytes);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": put(media_type::OCI_CONFIG, config.to_string().as_bytes()),
        "layers": [put(media_type::OCI_LAYER_ZSTD, &packed), put(media_type::OCI_LAYER, b"plain")],
    });
    super::world::put(&world.from, "a", Some("1"), &manifest);
    world.copy("FROM/a:1", "docker-archive:DIR/x.tar:example.org/app:1").unwrap();
    // Its layers are tars now, and their digests those of the config.
    let copied = world.copy("docker-archive:DIR/x.tar:example.org/app:1", "TO/b:1").unwrap();
    assert_eq!(copied.media_type, media_type::DOCKER_MANIFEST);
    let bytes = world.to.manifest("b", copied.digest).unwrap().1;
    let found: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(found["config"]["digest"], manifest["config"]["digest"]);
    assert_eq!(world.to.blob("b", Digest::of(&layer)), Some(layer.clone()));
    let copied = world.copy("docker-archive:DIR/x.tar", "oci:DIR/layout:1").unwrap();
    assert_eq!(copied.media_type, media_type::OCI_MANIFEST);
    let error = world.copy("docker-archive:DIR/x.tar:other", "TO/b:2").unwrap_err();
    assert!(error.contains("there is no image `other:latest` in it, only: `example.org/app:1`"), "{error}");
    // One whose config lies.
    let mut lie = manifest.clone();
    lie["layers"][1] = put(media_type::OCI_LAYER, b"other");
    super::world::put(&world.from, "a", Some("2"), &lie);
    let error = world.copy("FROM/a:2", "docker-archive:DIR/x.tar:1").unwrap_err();
    assert!(error.contains("the image's config says"), "{error}");
    let error = world.copy_with("FROM/a:1", "docker-archive:DIR/x.tar:1", None, true).unwrap_err();
    assert!(error.contains("cannot hold what refers"), "{error}");
}

/// A zstd frame of one raw block.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    out.extend(size.to_le_bytes());
    out.extend(&((size << 3) | 1).to_le_bytes()[..3]);
    out.extend(bytes);
    out
}

#[test]
fn files_that_are_something_else() {
    let world = World::new();
    image(&world.from, "a", Some("1"), &[b"one"]);
    std::fs::write(world.path("note.txt"), "hello").unwrap();
    std::fs::create_dir(world.path("full")).unwrap();
    std::fs::write(world.path("full/file"), "x").unwrap();
    for (from, to, why) in [
        ("FROM/a:1", "oci:DIR/full:1", "neither an OCI layout nor empty"),
        ("FROM/a:1", "oci:DIR/note.txt:1", "cannot make"),
        ("FROM/a:1", "oci-archive:DIR/full:1", "it is a directory"),
        ("FROM/a:1", "oci-archive:DIR/none/x.tar:1", "cannot write"),
        ("oci:DIR/full", "TO/b:1", "neither"),
        ("oci-archive:DIR/note.txt", "TO/b:1", "note.txt"),
        ("oci-archive:DIR/none.tar", "TO/b:1", "cannot open"),
    ] {
        let error = world.copy(from, to).unwrap_err();
        assert!(error.contains(why), "{from} {to}: expected `{why}`: {error}");
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    let error = world.copy("FROM/a:1", &format!("oci:DIR/x@{digest}")).unwrap_err();
    assert!(error.contains("named by tags"), "{error}");
    assert!(!world.path("x").exists());
}
