//! Sources that are not what they say.

use orlop_registry_client::fake::{FakeConfig, Fault};
use orlop_store::{Digest, media_type};
use serde_json::json;

use super::world::{World, describe, digest, image, index, put};

/// Nothing has come to have a name.
#[track_caller]
fn nothing_named(world: &World) {
    assert_eq!(world.to.tag("b", "1"), None);
    assert!(!world.path("layout/index.json").exists());
    assert!(!world.path("x.tar").exists());
    let left: Vec<_> = std::fs::read_dir(world.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".orlop")), "{left:?}");
}

/// Copies to a registry, a layout and an archive, each of which must fail for the same reason.
#[track_caller]
fn refused(world: &World, why: &str) {
    for to in ["TO/b:1", "oci:DIR/layout:1", "oci-archive:DIR/x.tar:1", "docker-archive:DIR/x.tar"] {
        let error = world.copy("FROM/a:1", to).unwrap_err();
        assert!(error.contains(why), "{to}: expected `{why}`: {error}");
    }
    nothing_named(world);
}

#[test]
fn a_blob_with_another_byte() {
    let world = World::new();
    image(&world.from, "a", Some("1"), &[&[1; 500_000]]);
    world.from.fault("GET", &Digest::of(&[1; 500_000]).to_string(), 0, u32::MAX, Fault::Flip(499_999));
    refused(&world, "expected sha256:");
    assert_eq!(world.to.blob("b", Digest::of(&[1; 500_000])), None);
}

#[test]
fn a_blob_that_is_longer_or_shorter_or_has_no_end() {
    let layer = [2; 100_000];
    for fault in [Fault::Endless, Fault::Shorten(50_000)] {
        // Where the rest can be asked for, a short answer is made good.
        let world = World::over(FakeConfig { ranges: false, ..FakeConfig::default() }, FakeConfig::default());
        image(&world.from, "a", Some("1"), &[&layer]);
        world.from.fault("GET", &Digest::of(&layer).to_string(), 0, u32::MAX, fault.clone());
        let error = world.copy("FROM/a:1", "TO/b:1").unwrap_err();
        assert!(error.contains("100000"), "{fault:?}: {error}");
        nothing_named(&world);
    }
    // By the manifest's word.
    let world = World::new();
    let mut descriptor = describe(media_type::OCI_LAYER, &layer);
    world.from.put_blob("a", &layer);
    for size in [99_999, 100_001] {
        descriptor["size"] = json!(size);
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "layers": [descriptor]});
        put(&world.from, "a", Some("1"), &manifest);
        let error = world.copy("FROM/a:1", "TO/b:1").unwrap_err();
        assert!(error.contains("100000"), "{error}");
        world.copy("FROM/a:1", "oci:DIR/layout:1").unwrap_err();
        world.copy("FROM/a:1", "oci-archive:DIR/x.tar").unwrap_err();
        nothing_named(&world);
    }
}

#[test]
fn a_manifest_with_another_byte_or_of_another_size() {
    let world = World::new();
    let mut inner = image(&world.from, "a", None, &[b"x"]);
    index(&world.from, "a", Some("1"), &[inner.clone()]);
    world.from.fault("GET", &format!("/manifests/{}", digest(&inner)), 0, 8, Fault::Flip(30));
    for to in ["TO/b:1", "oci:DIR/layout:1", "oci-archive:DIR/x.tar:1"] {
        let error = world.copy("FROM/a:1", to).unwrap_err();
        assert!(error.contains("expected sha256:"), "{error}");
    }
    nothing_named(&world);
    let world = World::new();
    image(&world.from, "a", None, &[b"x"]);
    inner["size"] = json!(7);
    index(&world.from, "a", Some("1"), &[inner.clone()]);
    for to in ["TO/b:1", "oci:DIR/layout:1", "oci-archive:DIR/x.tar:1"] {
        assert!(world.copy("FROM/a:1", to).unwrap_err().contains("what names it says 7"));
    }
    inner["size"] = json!(5 << 20);
    index(&world.from, "a", Some("1"), &[inner]);
    assert!(world.copy("FROM/a:1", "TO/b:1").unwrap_err().contains("more than the 4194304 allowed"));
    nothing_named(&world);
}

#[test]
fn documents_that_are_refused() {
    for (document, why) in [
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
        (r#"{"schemaVersion":2,"layers":[{"mediaType":"x","digest":"sha256:../../../../etc/passwd","size":1}]}"#.into(), "is not a digest"),
        (r#"{"schemaVersion":2,"layers":[{"mediaType":"x","digest":"../../x","size":1}]}"#.into(), "is not a digest"),
        (r#"{"schemaVersion":2,"layers":[{"mediaType":"x","digest":"sha256:"}]}"#.into(), "is not a digest"),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.into(), "in one document"),
        (format!(r#"{{"schemaVersion":2,"layers":[],"x":"{}"}}"#, "x".repeat(5 << 20)), "longer than 4194304 bytes"),
        ("<html>".into(), "no JSON"),
    ] {
        let world = World::new();
        world.from.put_manifest("a", Some("1"), media_type::OCI_MANIFEST, document.as_bytes());
        for to in ["TO/b:1", "oci:DIR/layout:1", "oci-archive:DIR/x.tar:1"] {
            let error = world.copy("FROM/a:1", to).unwrap_err();
            assert!(error.contains(why), "expected `{why}`: {error}");
        }
        nothing_named(&world);
        assert!(!world.path("layout").exists(), "not even the directory");
    }
}

#[test]
fn indexes_that_go_on_and_on() {
    let world = World::new();
    let mut top = image(&world.from, "a", None, &[b"x"]);
    for depth in 0..12 {
        top = index(&world.from, "a", Some("1"), &[top]);
        let copied = world.copy("FROM/a:1", "oci:DIR/deep:1");
        assert_eq!(copied.is_ok(), depth < 8, "{depth}: {copied:?}");
    }
    assert!(world.copy("FROM/a:1", "TO/b:1").unwrap_err().contains("too deep"));
    // One that names a stranger by its own digest cannot be made: the stranger is another document.
    let bytes = b"{\"schemaVersion\":2,\"manifests\":[]}";
    let own = Digest::of(bytes);
    let entry = json!({"mediaType": media_type::OCI_INDEX, "digest": own, "size": bytes.len()});
    let looped = index(&world.from, "a", Some("1"), &[entry.clone(), entry]);
    let bytes = world.from.manifest("a", digest(&looped)).unwrap().1;
    world.from.fault(
        "GET",
        &own.to_string(),
        0,
        u32::MAX,
        Fault::Redirect(302, format!("/v2/a/manifests/{}", digest(&looped))),
    );
    assert!(!bytes.is_empty());
    assert!(world.copy("FROM/a:1", "TO/b:1").unwrap_err().contains("expected sha256:"));
    nothing_named(&world);
}

#[test]
fn more_manifests_than_anybody_has() {
    let world = World::new();
    let entry = |n: usize| json!({"mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(&n.to_le_bytes()), "size": 10});
    let many: Vec<_> = (0..10_001).map(entry).collect();
    index(&world.from, "a", Some("1"), &many);
    assert!(world.copy("FROM/a:1", "TO/b:1").unwrap_err().contains("more than the 10000 manifests"));
    let large: Vec<_> = (0..100)
        .map(|n| {
            let mut entry = entry(n);
            entry["size"] = json!(4 << 20);
            entry
        })
        .collect();
    index(&world.from, "a", Some("1"), &large);
    assert!(world.copy("FROM/a:1", "TO/b:1").unwrap_err().contains("bytes allowed"));
    assert_eq!(world.from.logged("GET", "sha256:").len(), 0, "nothing of it was fetched");
    nothing_named(&world);
}

#[test]
fn ten_thousand_layers_of_which_most_are_the_same() {
    let world = World::new();
    let layers: Vec<_> = (0..10_000)
        .map(|n: usize| {
            let bytes = (n % 50).to_le_bytes();
            world.from.put_blob("a", &bytes);
            describe(media_type::OCI_LAYER, &bytes)
        })
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "layers": layers});
    put(&world.from, "a", Some("1"), &manifest);
    let copied = world.copy("FROM/a:1", "TO/b:1").unwrap();
    assert_eq!(copied.sent.0, 50);
}

#[test]
fn a_source_that_fails_for_good_ends_the_others() {
    let world = World::new();
    let layers: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 200_000]).collect();
    let slices: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    image(&world.from, "a", Some("1"), &slices);
    world.from.fault(
        "GET",
        &Digest::of(&layers[3]).to_string(),
        0,
        u32::MAX,
        Fault::Status(404, "BLOB_UNKNOWN", Vec::new()),
    );
    let error = world.copy("FROM/a:1", "TO/b:1").unwrap_err();
    assert!(error.contains("cannot copy from") && error.contains("BLOB_UNKNOWN"), "{error}");
    nothing_named(&world);
}
