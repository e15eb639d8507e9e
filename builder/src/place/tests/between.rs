//! Between registries.

use orlop_registry_client::fake::{FakeConfig, Fault};
use orlop_store::media_type;
use serde_json::json;

use super::world::{World, artifact, blob, digest, image, index, on, put};

/// Whether the destination has the manifest with the same bytes.
fn same(world: &World, from: &str, to: &str, document: &serde_json::Value) -> bool {
    let digest = digest(document);
    let found = world.to.manifest(to, digest);
    found.is_some() && found == world.from.manifest(from, digest)
}

#[test]
fn an_index_goes_with_everything_in_it_and_its_name_last() {
    let world = World::new();
    let amd = on(image(&world.from, "a", None, &[b"one", b"shared"]), "linux/amd64");
    let arm = on(image(&world.from, "a", None, &[b"two", b"shared"]), "linux/arm64");
    let inner = index(&world.from, "a", None, &[amd.clone(), arm.clone()]);
    let mut attestation =
        on(artifact(&world.from, "a", None, "application/vnd.in-toto+json", None), "unknown/unknown");
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let root = index(&world.from, "a", Some("1"), &[inner.clone(), arm.clone(), attestation.clone()]);
    let copied = world.copy("FROM/a:1", "TO/b/c:2").unwrap();
    assert_eq!(copied.digest, digest(&root));
    assert_eq!((copied.manifests, copied.there), (5, 0));
    for document in [&amd, &arm, &inner, &attestation, &root] {
        assert!(same(&world, "a", "b/c", document), "{document}");
    }
    assert_eq!(world.to.tag("b/c", "2"), Some(digest(&root)));
    let writes = world.to.log().into_iter().filter(|l| l.method == "PUT").map(|l| l.target);
    let writes: Vec<String> = writes.collect();
    assert!(writes.last().unwrap().ends_with("/manifests/2"), "{writes:?}");
    let place = |digest| writes.iter().position(|w| w.ends_with(&format!("/manifests/{digest}"))).unwrap();
    assert!(place(digest(&inner)) > place(digest(&arm)), "what an index names comes before it: {writes:?}");
    assert_eq!(writes.iter().filter(|w| w.contains("/blobs/")).count(), 7, "each blob once: {writes:?}");
    let heads = world.to.logged("HEAD", "/blobs/");
    assert_eq!(heads.len(), 7, "one question a blob");
    assert_eq!(world.from.logged("GET", "/blobs/").len(), 7);
}

#[test]
fn nothing_is_sent_that_is_there() {
    let world = World::new();
    image(&world.from, "a", Some("1"), &[b"one", b"two"]);
    world.copy("FROM/a:1", "TO/b:1").unwrap();
    world.to.clear_log();
    world.from.clear_log();
    let again = world.copy("FROM/a:1", "TO/b:1").unwrap();
    assert_eq!((again.manifests, again.sent), (0, (0, 0)));
    assert_eq!(world.to.logged("", "").len(), 0);
    let asked: Vec<String> =
        world.to.log().into_iter().map(|l| format!("{} {}", l.method, l.target)).collect();
    assert_eq!(
        asked.iter().filter(|a| !a.ends_with(" /v2/")).collect::<Vec<_>>(),
        ["HEAD /v2/b/manifests/1"]
    );
    assert_eq!(world.from.logged("GET", "/blobs/").len(), 0);
    // Another tag of what is there is one PUT.
    let renamed = world.copy("FROM/a:1", "TO/b:2").unwrap();
    assert_eq!((renamed.manifests, renamed.sent, renamed.there), (1, (0, 0), 0));
    assert_eq!(world.to.logged("HEAD", "/blobs/").len(), 0);
    // One more layer is one more upload.
    image(&world.from, "a", Some("2"), &[b"one", b"two", b"three"]);
    let more = world.copy("FROM/a:2", "TO/b:3").unwrap();
    assert_eq!((more.sent.0, more.there), (2, 2), "the layer and the config");
}

#[test]
fn a_registry_takes_from_itself_what_it_has_elsewhere() {
    let mut world = World::new();
    image(&world.from, "a", Some("1"), &[b"one", b"two"]);
    let copied = world.copy("FROM/a:1", "FROM/other/b:1").unwrap();
    assert_eq!((copied.sent, copied.there), ((0, 0), 3));
    assert_eq!(world.from.logged("GET", "/blobs/").len(), 0);
    assert_eq!(world.from.logged("POST", "from=a").len(), 3);
    // What the store remembers of the destination's other repositories serves as well.
    world.to.put_blob("base", b"one");
    let known = format!("{}/base", world.to.host());
    world.known.insert(orlop_store::Digest::of(b"one"), vec!["elsewhere.example/x".to_owned(), known]);
    let copied = world.copy("FROM/a:1", "TO/b:1").unwrap();
    assert_eq!((copied.sent.0, copied.there), (2, 1));
    assert_eq!(world.to.logged("POST", "mount=").len(), 1);
}

#[test]
fn artifacts_of_every_kind_are_passed_on() {
    let world = World::new();
    let from = &world.from;
    let subject = image(from, "a", None, &[b"x"]);
    let layer = |kind: &str| blob(from, "a", kind, kind.as_bytes());
    let with_config = |config: &str, layers: &[serde_json::Value]| json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": layer(config), "layers": layers});
    let mut foreign = super::world::describe(media_type::DOCKER_FOREIGN_LAYER_GZIP, b"nobody has this");
    foreign["urls"] = json!(["https://mcr.example/layer"]);
    let mut docker = with_config(media_type::DOCKER_CONFIG, &[layer(media_type::DOCKER_LAYER_GZIP), foreign]);
    docker["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    let list = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_LIST,
        "manifests": [put(from, "a", None, &docker)]});
    let cache = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
        "manifests": [layer(media_type::OCI_LAYER_ZSTD), layer("application/vnd.buildkit.cacheconfig.v0")]});
    let old = json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": "x/y",
        "blobs": [layer("text/plain")], "subject": subject});
    let no_type = json!({"schemaVersion": 2, "config": layer(media_type::OCI_CONFIG), "layers": null});
    let documents = [
        with_config(
            "application/vnd.cncf.helm.config.v1+json",
            &[layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
        ),
        with_config(media_type::OCI_CONFIG, &[layer("application/vnd.dev.cosign.simplesigning.v1+json")]),
        with_config(
            media_type::OCI_CONFIG,
            &[
                layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
                layer(media_type::OCI_LAYER_ZSTD),
            ],
        ),
        docker,
        list,
        cache,
        old,
        no_type,
    ];
    for (at, document) in documents.iter().enumerate() {
        let text = serde_json::to_string_pretty(document).unwrap() + "\n";
        let kind = document["mediaType"].as_str().unwrap_or(media_type::OCI_MANIFEST);
        let own = from.put_manifest("a", Some(&format!("{at}")), kind, text.as_bytes());
        // Through a layout and an archive, and back to a registry.
        world.copy(&format!("FROM/a:{at}"), &format!("oci:DIR/layout:{at}")).unwrap();
        world.copy(&format!("oci:DIR/layout:{at}"), &format!("oci-archive:DIR/{at}.tar:x")).unwrap();
        world.copy(&format!("oci-archive:DIR/{at}.tar"), &format!("TO/b:{at}")).unwrap();
        assert_eq!(world.to.manifest("b", own), Some((kind.to_owned(), text.into_bytes())), "{document}");
        assert_eq!(world.to.tag("b", &at.to_string()), Some(own));
    }
    artifact(from, "a", Some("z"), "application/vnd.example", Some(&subject));
    let copied = world.copy("FROM/a:z", "TO/b:z").unwrap();
    assert!(world.to.manifest("b", copied.digest).is_some());
}

#[test]
fn what_refers_to_an_image_goes_along_when_asked_for() {
    for api in [true, false] {
        let config = FakeConfig { referrers: api, ..FakeConfig::default() };
        let world = World::over(FakeConfig::default(), config);
        let from = &world.from;
        let amd = image(from, "a", None, &[b"x"]);
        let root = index(from, "a", Some("1"), &[on(amd.clone(), "linux/amd64")]);
        let sbom = artifact(from, "a", None, "application/spdx+json", Some(&amd));
        let signature = artifact(from, "a", None, "application/vnd.cncf.notary.signature", Some(&sbom));
        let tag = format!("sha256-{}.sig", digest(&root).hex());
        let cosign = image(from, "a", Some(&tag), &[b"cosign"]);
        let without = world.copy("FROM/a:1", "TO/plain:1").unwrap();
        assert_eq!(without.manifests, 2);
        let copied = world.copy_with("FROM/a:1", "TO/b:1", None, true).unwrap();
        assert_eq!(copied.manifests, 5, "{api}");
        for document in [&sbom, &signature, &cosign] {
            assert!(same(&world, "a", "b", document), "{api}: {document}");
        }
        assert_eq!(world.to.tag("b", &tag), Some(digest(&cosign)));
        let to = orlop_registry_client::Repository::new(world.to.host(), "b").unwrap();
        for (subject, expected) in [(&amd, &sbom), (&sbom, &signature)] {
            let listed = world.client.referrers(&to, digest(subject), None).unwrap();
            assert_eq!(listed.iter().map(|d| d.digest).collect::<Vec<_>>(), [digest(expected)], "{api}");
            assert!(listed[0].artifact_type.is_some(), "{api}");
            // The list that orlop keeps itself says it as the specification wants.
            assert!(api || listed[0].annotations.contains_key("a"), "{listed:?}");
        }
        let last = world.to.log().into_iter().rfind(|l| l.method == "PUT").unwrap();
        assert!(last.target.ends_with("/manifests/1"), "the name is last: {}", last.target);
        // Again: nothing is doubled.
        world.copy_with("FROM/a:1", "TO/b:1", None, true).unwrap();
        assert_eq!(world.client.referrers(&to, digest(&amd), None).unwrap().len(), 1, "{api}");
        // Through a layout.
        world.copy_with("FROM/a:1", "oci:DIR/x:1", None, true).unwrap();
        let copied = world.copy_with("oci:DIR/x:1", "TO/c:1", None, true).unwrap();
        assert_eq!(copied.manifests, 5, "{api}");
        assert_eq!(world.to.tag("c", &tag), Some(digest(&cosign)));
    }
}

#[test]
fn an_index_that_refers_to_the_image_and_names_it_goes_after_it() {
    let world = World::new();
    let root = image(&world.from, "a", Some("1"), &[b"x"]);
    let about = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [root.clone()], "subject": root.clone(),
    });
    let about = put(&world.from, "a", None, &about);
    for target in ["TO/b:1", "TO/b:2", "oci:DIR/x:1"] {
        world.copy_with("FROM/a:1", target, None, true).unwrap();
    }
    assert!(same(&world, "a", "b", &about) && same(&world, "a", "b", &root));
}

#[test]
fn one_platform_of_an_index() {
    let world = World::new();
    let amd = image(&world.from, "a", None, &[b"amd"]);
    let arm = image(&world.from, "a", None, &[b"arm"]);
    index(&world.from, "a", Some("1"), &[on(amd, "linux/amd64"), on(arm.clone(), "linux/arm64")]);
    let copied = world.copy_with("FROM/a:1", "TO/b:1", Some("linux/arm64"), false).unwrap();
    assert_eq!(copied.digest, digest(&arm));
    let error = world.copy_with("FROM/a:1", "TO/b:2", Some("linux/s390x"), false).unwrap_err();
    assert!(error.contains("linux/amd64, linux/arm64"), "{error}");
    // Nor is an image that stands alone taken for another one.
    let alone = image(&world.from, "a", Some("2"), &[b"alone"]);
    let copied = world.copy_with("FROM/a:2", "TO/b:3", Some("linux/amd64"), false).unwrap();
    assert_eq!(copied.digest, digest(&alone));
    let error = world.copy_with("FROM/a:2", "TO/b:4", Some("linux/arm64"), false).unwrap_err();
    assert!(error.contains("for platform linux/amd64 alone") && world.to.tag("b", "4").is_none(), "{error}");
}

#[test]
fn a_digest_at_the_destination_must_be_the_image_s() {
    let world = World::new();
    let one = image(&world.from, "a", Some("1"), &[b"one"]);
    let other = image(&world.from, "a", Some("2"), &[b"two"]);
    world.copy("FROM/a:1", &format!("TO/b@{}", digest(&one))).unwrap();
    assert!(same(&world, "a", "b", &one));
    let error = world.copy("FROM/a:1", &format!("TO/b@{}", digest(&other))).unwrap_err();
    assert!(error.contains("the name asks for"), "{error}");
}

#[test]
fn broken_connections_on_either_side_are_got_over() {
    let world = World::new();
    let large = vec![7; 3 << 20];
    let root = image(&world.from, "a", Some("1"), &[&large, b"small"]);
    world.from.fault("GET", "/blobs/", 0, 2, Fault::Cut(1 << 20));
    world.from.fault("GET", "/manifests/", 0, 1, Fault::Close);
    world.to.fault("PUT", "/blobs/", 0, 1, Fault::CutUpload(1 << 20, true));
    world.to.fault("PUT", "/manifests/", 0, 1, Fault::Status(503, "UNAVAILABLE", Vec::new()));
    world.to.fault("POST", "/blobs/", 0, 1, Fault::Status(429, "TOOMANYREQUESTS", Vec::new()));
    world.copy("FROM/a:1", "TO/b:1").unwrap();
    assert!(same(&world, "a", "b", &root));
    assert_eq!(world.to.blob("b", orlop_store::Digest::of(&large)), Some(large));
}
