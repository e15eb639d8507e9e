use super::*;

#[test]
fn a_layout_is_a_path_with_perhaps_a_tag_or_a_digest() {
    let digest = format!("sha256:{}", "a".repeat(64));
    assert_eq!(split_layout("/a/b"), ("/a/b", None));
    assert_eq!(split_layout("dir:tag"), ("dir", Some("tag")));
    assert_eq!(split_layout("/a:b/c"), ("/a:b/c", None));
    assert_eq!(split_layout(r"C:\images"), (r"C:\images", None));
    assert_eq!(split_layout(r"C:\images:1"), (r"C:\images", Some("1")));
    assert_eq!(split_layout(&format!(r"C:\images@{digest}")), (r"C:\images", Some(digest.as_str())));
    assert_eq!(split_layout(&format!("/a@{digest}")), ("/a", Some(digest.as_str())));
    assert_eq!(split_layout(&format!("/a:t@{digest}")), ("/a", Some(digest.as_str())));
}

#[test]
fn items_are_done_once_each_and_none_after_a_failure() {
    let items: Vec<usize> = (0..100).collect();
    let done = Mutex::new(Vec::new());
    side_by_side(&items, |item| {
        done.lock().unwrap().push(*item);
        true
    });
    let mut all = done.into_inner().unwrap();
    all.sort_unstable();
    assert_eq!(all, items);
    let count = AtomicUsize::new(0);
    side_by_side(&items, |_| {
        count.fetch_add(1, Ordering::Relaxed);
        false
    });
    assert!(count.into_inner() <= SIDE_BY_SIDE);
}

/// A store of its own, and everything else that a transfer works with.
struct World {
    store: orlop_store::Store,
    client: orlop_registry_client::Client,
    cancel: orlop_runner::CancelToken,
    _dir: tempfile::TempDir,
}

struct Silent;

impl crate::event::Observer for Silent {
    fn event(&self, _event: crate::event::Event) {}
}

struct NoRunner;

impl orlop_runner::Runner for NoRunner {
    fn probe(&self) -> orlop_runner::HostReport {
        orlop_runner::HostReport::default()
    }

    fn run(
        &self,
        _spec: &orlop_runner::RunSpec,
        _output: &mut dyn orlop_runner::OutputSink,
        _cancel: &orlop_runner::CancelToken,
    ) -> Result<orlop_runner::RunReport, orlop_runner::RunError> {
        Err(orlop_runner::RunError::Cancelled)
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = orlop_store::StoreOptions {
            xattrs: orlop_store::layer::XattrForm::User,
            ownership: orlop_store::layer::Ownership::Ignore,
            driver: orlop_store::Driver::Copy,
            ..Default::default()
        };
        Self {
            store: orlop_store::Store::open(&dir.path().join("store"), &options).unwrap(),
            client: orlop_registry_client::Client::new(Default::default()),
            cancel: orlop_runner::CancelToken::new(),
            _dir: dir,
        }
    }

    fn engine(&self) -> Engine<'_> {
        Engine {
            store: &self.store,
            registry: &self.client,
            runner: &NoRunner,
            observer: &Silent,
            cancel: &self.cancel,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&Engine<'_>, &Task<'_>) -> T) -> T {
        let progress = crate::event::Progress::new(&Silent);
        let task = progress.start("test");
        act(&self.engine(), &task)
    }
}

fn layer(name: &str) -> Vec<u8> {
    use orlop_store::layer::tar::{Entry, Kind, Time, Writer};
    let mut tar = Writer::new(Vec::new());
    let entry = Entry {
        path: name.as_bytes().to_vec(),
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        link: Vec::new(),
        size: name.len() as u64,
        device: (0, 0),
        xattrs: Default::default(),
        windows: Default::default(),
    };
    tar.append(&entry, name.as_bytes()).unwrap();
    tar.finish().unwrap()
}

/// Puts an image of two layers into the repository `x`, under an index. Gives its manifest.
fn serve(registry: &orlop_registry_client::fake::FakeRegistry) -> Digest {
    let layers = [layer("one"), layer("two")];
    let diff_ids: Vec<Digest> = layers.iter().map(|bytes| Digest::of(bytes)).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "unknown": [1],
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    registry.put_blob("x", config.as_bytes());
    let described: Vec<Descriptor> = layers
        .iter()
        .map(|bytes| {
            registry.put_blob("x", bytes);
            Descriptor::of(media_type::OCI_LAYER, bytes)
        })
        .collect();
    // Spaces that only these bytes have: they must survive.
    let manifest = format!(
        r#"{{ "schemaVersion":2, "mediaType":"{}", "config":{}, "layers":{} }}"#,
        media_type::OCI_MANIFEST,
        serde_json::to_string(&Descriptor::of(media_type::OCI_CONFIG, config.as_bytes())).unwrap(),
        serde_json::to_string(&described).unwrap()
    );
    let digest = registry.put_manifest("x", None, media_type::OCI_MANIFEST, manifest.as_bytes());
    let one = |digest: Digest, size: usize, architecture: &str| {
        serde_json::json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
        "manifests": [one(Digest::of(b"other"), 5, "arm64"), one(digest, manifest.len(), "amd64")],
    });
    registry.put_manifest("x", Some("1"), media_type::OCI_INDEX, index.to_string().as_bytes());
    digest
}

fn start() -> (orlop_registry_client::fake::FakeRegistry, Digest, Reference) {
    let registry = orlop_registry_client::fake::FakeRegistry::start(Default::default()).unwrap();
    let manifest = serve(&registry);
    let name = format!("{}/x:1", registry.host()).parse().unwrap();
    (registry, manifest, name)
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

#[test]
fn a_name_is_resolved_without_its_layers_and_pushed_on_without_them() {
    let (registry, manifest, name) = start();
    let world = World::new();
    let resolve = || world.with(|engine, task| resolve(engine, &name, &amd64(), PullPolicy::Missing, task));
    let Resolved { image, arrival, .. } = resolve().unwrap();
    assert_eq!(image.manifest().map(Manifest::digest), Some(manifest));
    assert_eq!(registry.logged("GET", "/blobs/").len(), 1, "the config alone");
    assert!(world.store.images().list().unwrap().is_empty(), "nobody has said yet that it does without");
    world.with(|engine, _| arrival.unwrap().settle_as_known(engine)).unwrap();
    registry.clear_log();
    assert!(resolve().unwrap().arrival.is_none());
    assert!(registry.log().is_empty(), "it is in the store");

    let target: Reference = format!("{}/y/z:2", registry.host()).parse().unwrap();
    let packing = crate::output::Packing::default().export(true);
    let pushed = world.with(|engine, task| push(engine, &image, &target, &packing, task)).unwrap();
    assert_eq!(pushed.manifest, manifest, "it goes as it came");
    assert_eq!(registry.tag("y/z", "2"), Some(manifest));
    assert!(registry.logged("GET", "/x/blobs/").is_empty(), "layers are mounted, not fetched");
    for blob in image.layers().iter().filter_map(|layer| layer.blob.as_ref()) {
        assert!(registry.blob("y/z", blob.digest).is_some());
    }
}

#[test]
fn a_registry_that_mounts_nothing_gets_layers_that_are_fetched_first() {
    let config = orlop_registry_client::fake::FakeConfig { mount: 202, ..Default::default() };
    let registry = orlop_registry_client::fake::FakeRegistry::start(config).unwrap();
    let manifest = serve(&registry);
    let name: Reference = format!("{}/x:1", registry.host()).parse().unwrap();
    let target: Reference = format!("{}/y:1", registry.host()).parse().unwrap();
    let world = World::new();
    let image =
        world.with(|engine, task| resolve(engine, &name, &amd64(), PullPolicy::Missing, task)).unwrap().image;
    let packing = crate::output::Packing::default().export(true);
    let pushed = world.with(|engine, task| push(engine, &image, &target, &packing, task)).unwrap();
    assert_eq!((pushed.manifest, registry.tag("y", "1")), (manifest, Some(manifest)));
    assert!(pushed.sent > 0);
    let again = world.with(|engine, task| push(engine, &image, &target, &packing, task)).unwrap();
    assert_eq!(again.sent, 0, "everything is there");
}

#[test]
fn a_pull_brings_every_layer_once() {
    let (registry, _, name) = start();
    let world = World::new();
    let image = world.with(|engine, task| pull(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap();
    assert_eq!(registry.logged("GET", "/blobs/").len(), 3);
    for index in 0..image.layers().len() {
        assert!(world.store.ensure_layer(&image, index).unwrap());
    }
    world.with(|engine, task| pull(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap();
    assert_eq!(registry.logged("GET", "/blobs/").len(), 3, "nothing is fetched twice");
}

#[test]
fn what_cannot_be_had_is_said() {
    let (_registry, _, name) = start();
    let world = World::new();
    let error = |name: &Reference, platform: &str, policy| {
        let platform = platform.parse().unwrap();
        world.with(|engine, task| pull(engine, name, &platform, policy, task)).unwrap_err()
    };
    let never = error(&name, "linux/amd64", PullPolicy::Never);
    assert!(never.message.contains("not in the store") && never.hint.is_some(), "{never:?}");
    let platform = error(&name, "linux/s390x", PullPolicy::Missing);
    let cause = std::error::Error::source(&platform).unwrap().to_string();
    assert!(cause.contains("linux/s390x") && cause.contains("linux/arm64"), "{cause}");
    let missing = error(&name.with_tag("2").unwrap(), "linux/amd64", PullPolicy::Missing);
    assert!(missing.message.contains("cannot pull"), "{missing:?}");
    world.cancel.cancel();
    let stopped = error(&name, "linux/amd64", PullPolicy::Always);
    assert_eq!(stopped.kind, Fault::Interrupted);
}

/// Pushes the image of [`serve`] anew compressed, which all its layers are to be made for.
fn push_made(
    world: &World,
    image: &Image,
    target: &Reference,
    compression: crate::output::Compression,
) -> Result<Pushed, BuildError> {
    let packing =
        crate::output::Packing { compression: Some(compression), force: true, ..Default::default() };
    world.with(|engine, task| push(engine, image, target, &packing.export(true), task))
}

#[test]
fn layers_without_a_blob_are_made_on_their_way_and_only_once() {
    use crate::output::Compression::{Gzip, Zstd};
    let (registry, _, name) = start();
    let world = World::new();
    let image = world.with(|engine, task| pull(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap();
    for (compression, media_type) in
        [(Zstd(None), media_type::OCI_LAYER_ZSTD), (Gzip(Some(1)), media_type::OCI_LAYER_GZIP)]
    {
        registry.clear_log();
        let target: Reference = format!("{}/y:1", registry.host()).parse().unwrap();
        let pushed = push_made(&world, &image, &target, compression).unwrap();
        let (_, bytes) = registry.manifest("y", pushed.manifest).unwrap();
        let manifest = Manifest::parse(&bytes, media_type::OCI_MANIFEST).unwrap();
        assert_eq!(registry.logged("PATCH", "").len(), 2, "in one stream each");
        for (layer, diff_id) in manifest.layers.iter().zip(image.diff_ids()) {
            assert_eq!(layer.media_type, media_type);
            assert_eq!(world.store.diff_id_of(&layer.digest).unwrap(), Some(diff_id));
            assert_eq!(registry.blob("y", layer.digest).unwrap().len() as u64, layer.size);
            assert!(world.store.blobs().contains(&layer.digest));
        }
        // What is gone here and known to be there is not made again, whatever repository it is in.
        for layer in &manifest.layers {
            std::fs::remove_file(world.store.blobs().path(&layer.digest)).unwrap();
        }
        registry.clear_log();
        for repository in ["y", "z"] {
            let target: Reference = format!("{}/{repository}:2", registry.host()).parse().unwrap();
            let again = push_made(&world, &image, &target, compression).unwrap();
            assert_eq!(again.manifest, pushed.manifest);
        }
        assert!(registry.logged("PATCH", "").is_empty());
        assert!(manifest.layers.iter().all(|layer| !world.store.blobs().contains(&layer.digest)));
    }
}

#[test]
fn a_layer_that_cannot_be_made_or_sent_is_one_clear_error_and_leaves_nothing() {
    use orlop_registry_client::fake::Fault;
    let (registry, _, name) = start();
    let world = World::new();
    let image = world.with(|engine, task| pull(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap();
    let target: Reference = format!("{}/y:1", registry.host()).parse().unwrap();
    let zstd = crate::output::Compression::Zstd(None);
    registry.fault("POST", "/y/blobs/", 0, 1000, Fault::Status(403, "DENIED", vec![]));
    let denied = push_made(&world, &image, &target, zstd).unwrap_err();
    assert!(denied.message.contains("cannot push to"), "{denied:?}");
    assert_eq!(registry.tag("y", "1"), None);
    let world = World::new();
    let image =
        world.with(|engine, task| resolve(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap().image;
    let elsewhere: Reference = format!("{}/z:1", registry.host()).parse().unwrap();
    push_made(&world, &image, &elsewhere, zstd).unwrap();
    assert!(registry.tag("z", "1").is_some(), "layers that are not here are fetched to be compressed");
    // Neither here nor, as it turns out, there.
    let world = World::new();
    let image =
        world.with(|engine, task| resolve(engine, &name, &amd64(), PullPolicy::Always, task)).unwrap().image;
    registry.fault("GET", "/x/blobs/", 0, 1000, Fault::Status(404, "BLOB_UNKNOWN", vec![]));
    let missing = push_made(&world, &image, &target, zstd).unwrap_err();
    assert_eq!(missing.kind, super::Fault::User, "{missing:?}");
}

/// Layers come from where they are known to be. Of a name that is all that is known, that is said.
#[test]
fn a_registry_is_asked_for_what_it_is_known_to_have() {
    let (registry, _, name) = start();
    let world = World::new();
    let Resolved { image, .. } =
        world.with(|engine, task| resolve(engine, &name, &amd64(), PullPolicy::Missing, task)).unwrap();
    // Its name here is another one, which never left.
    let given: Reference = format!("{}/given:1", registry.host()).parse().unwrap();
    registry.clear_log();
    world.with(|engine, task| fetch_layers(engine, &image, Some(&given), task)).unwrap();
    assert!(registry.logged("GET", "/given/").is_empty() && registry.logged("GET", "/x/blobs/").len() == 2);

    let (elsewhere, _, other) = start();
    let world = World::new();
    for blob in image.layers().iter().filter_map(|layer| layer.blob.as_ref()) {
        world.store.note_source(&blob.digest, "127.0.0.1:1/cache/max").unwrap();
    }
    let gone = world.with(|engine, task| fetch_layers(engine, &image, Some(&other), task)).unwrap_err();
    assert!(gone.message.contains("from `127.0.0.1:1/cache/max`"), "{gone:?}");
    assert!(elsewhere.logged("GET", "").is_empty());

    let world = World::new();
    let guessed = world.with(|engine, task| fetch_layers(engine, &image, Some(&given), task)).unwrap_err();
    let text = guessed.in_one_line();
    assert!(
        text.contains("no registry is known to have it") && text.contains("/given` was asked only"),
        "{text}"
    );
    assert!(text.contains("404"), "{text}");
}
