use super::*;
use crate::image::{History, Image, ImageLayer};
use crate::images::Named;
use crate::layer::compress::Compression;
use crate::steps::{KeyPart, StepKey, StepRecord};
use crate::store::tests::{import, layer_tar, open, platform, pulled, store};

const ALL: GcPolicy = GcPolicy { keep_for: None, keep_bytes: None, all: true };

fn tag(store: &Store, name: &str, image: &Image) {
    let target = Named { id: image.id(), manifest: image.manifest().map(|m| m.digest()), index: None };
    store.images().tag(&name.parse().unwrap(), &target).unwrap();
}

/// A store with a named image, one without a name, and the layer of a step; opened anew, so that nobody uses
/// anything.
fn filled() -> (tempfile::TempDir, Store, Image, Image, StepRecord) {
    let (dir, first) = store();
    let (named, blobs) = pulled(&["one", "two"]);
    import(&first, &named, &blobs);
    tag(&first, "app", &named);
    let (unnamed, blobs) = pulled(&["one", "three"]);
    import(&first, &unnamed, &blobs);
    let facts = first.layers().adopt(&[], layer_tar("f", b"step").as_slice()).unwrap();
    let parts = [KeyPart::new("instruction", "", "RUN x")];
    let step = StepRecord {
        key: StepKey::of(&parts),
        parts: parts.to_vec(),
        scope: "s".into(),
        description: "RUN x".into(),
        parent: named.diff_ids()[0],
        layer: Some(facts.diff_id),
        created: 1,
        duration: 1,
    };
    first.steps().put(&step).unwrap();
    drop(first);
    let store = open(dir.path());
    (dir, store, named, unnamed, step)
}

#[test]
fn named_images_stay_whole_and_the_rest_goes() {
    let (_dir, store, named, unnamed, step) = filled();
    let before = store.usage().unwrap();
    assert_eq!((before.images, before.blobs, before.layers, before.steps), (2, 7, 4, 1));
    assert!(before.reclaimable > 0 && before.reclaimable < before.blob_bytes + before.layer_bytes);
    let report = store.gc(&ALL).unwrap();
    assert_eq!((report.blobs, report.layers, report.images, report.steps), (3, 2, 1, 1));
    assert_eq!((report.bytes, report.in_use), (before.reclaimable, 0));
    let image = store.images().get("app").unwrap();
    crate::image::validate::content(&image, store.blobs()).unwrap();
    assert_eq!(image.id(), named.id());
    assert!(store.images().get(&unnamed.id().to_string()).is_err());
    assert_eq!(store.steps().lookup(&step.key).unwrap(), None);
    let parts: i64 = store
        .facts()
        .read("count", |c| c.query_row("SELECT count(*) FROM parts", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(parts, 0);
    assert_eq!(store.usage().unwrap().reclaimable, 0);
    assert_eq!(store.gc(&ALL).unwrap(), GcReport::default());
}

#[test]
fn age_and_size_decide() {
    let (_dir, store, ..) = filled();
    let day = GcPolicy { keep_for: Some(Duration::from_secs(86400)), ..GcPolicy::default() };
    assert_eq!(store.gc(&day).unwrap(), GcReport::default(), "everything is young");
    let usage = store.usage().unwrap();
    let roomy = GcPolicy { keep_for: None, keep_bytes: Some(usage.reclaimable), all: false };
    assert_eq!(store.gc(&roomy).unwrap(), GcReport::default());
    let tight = GcPolicy { keep_for: None, keep_bytes: Some(usage.reclaimable - 1), all: false };
    let report = store.gc(&tight).unwrap();
    assert!(report.bytes > 0 && report.bytes < usage.reclaimable, "{report:?}");
    assert!(store.usage().unwrap().reclaimable < usage.reclaimable);
    std::thread::sleep(Duration::from_millis(20));
    let nothing = GcPolicy { keep_for: Some(Duration::from_millis(1)), keep_bytes: None, all: false };
    store.gc(&nothing).unwrap();
    assert_eq!(store.usage().unwrap().reclaimable, 0);
    store.images().get("app").unwrap();
}

#[test]
fn what_a_living_process_works_with_stays() {
    let (dir, store, _named, unnamed, step) = filled();
    let builder = open(dir.path());
    // A hit in the step cache, an image that was read, and a layer that was only just made.
    builder.steps().lookup(&step.key).unwrap().unwrap();
    builder.images().get(&unnamed.id().to_string()).unwrap();
    let new = builder.layers().adopt(&[], layer_tar("f", b"new").as_slice()).unwrap();
    let blob = builder.blobs().put_bytes("x", b"new").unwrap();
    let report = store.gc(&ALL).unwrap();
    assert!(report.in_use > 0, "{report:?}");
    for layer in unnamed.diff_ids().into_iter().chain([step.layer.unwrap(), new.diff_id]) {
        assert!(builder.layers().contains(&[], &layer));
    }
    assert!(builder.blobs().contains(&blob.digest) && builder.blobs().contains(&unnamed.id()));
    drop(builder);
    store.gc(&ALL).unwrap();
    assert!(!store.layers().contains(&[], &step.layer.unwrap()));
    assert!(!store.layers().contains(&[], &new.diff_id));
}

#[test]
fn the_only_copy_of_a_foreign_layers_bytes_stays_with_its_image() {
    let (dir, first) = store();
    let tar = layer_tar("f", b"x");
    let diff_id = crate::digest::Digest::of(&tar);
    let layer =
        first.import_unnamed_layer(crate::snapshot::LayerOs::Linux, &diff_id, &[], tar.as_slice()).unwrap();
    let blob = layer.blob.unwrap();
    // The image does not say which blob it came as.
    let image = Image::scratch(&platform()).append_layer(ImageLayer::new(diff_id, None), History::default());
    first.images().put(&image).unwrap();
    tag(&first, "app", &image);
    let gzip = first.layer_blob(&[], &diff_id, Compression::Gzip(6)).unwrap();
    drop(first);
    let store = open(dir.path());
    store.gc(&ALL).unwrap();
    assert!(store.blobs().contains(&blob.digest));
    assert!(!store.blobs().contains(&gzip.digest), "this one can be made again");
    assert_eq!(store.layer_blob(&[], &diff_id, Compression::Gzip(6)).unwrap(), gzip);
}

#[test]
fn collectors_and_builders_at_the_same_time() {
    let (dir, _store, ..) = filled();
    let done = std::sync::atomic::AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        let path = dir.path();
        let builders: Vec<_> = (0..3)
            .map(|builder| {
                scope.spawn(move || {
                    for round in 0..6 {
                        let store = open(path);
                        let (image, blobs) = pulled(&["shared", &format!("{builder} {round}")]);
                        import(&store, &image, &blobs);
                        let loaded = store.images().get(&image.id().to_string()).unwrap();
                        crate::image::validate::content(&loaded, store.blobs()).unwrap();
                        assert!(
                            store.ensure_layer(&loaded, 0).unwrap()
                                && store.ensure_layer(&loaded, 1).unwrap()
                        );
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            let store = open(path);
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                store.gc(&ALL).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let results: Vec<_> = builders.into_iter().map(|b| b.join()).collect();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        for result in results {
            result.unwrap();
        }
    });
    open(dir.path()).images().get("app").unwrap();
}

#[test]
fn all_images_of_an_index_are_kept_by_its_name() {
    let (dir, first) = store();
    let (one, blobs) = pulled(&["one", "two"]);
    import(&first, &one, &blobs);
    let (other, blobs) = pulled(&["one", "three"]);
    import(&first, &other, &blobs);
    let (amd64, arm64) = ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
    let draft = first.images().put_draft([(&amd64, &one), (&arm64, &other)]).unwrap();
    let target = Named { id: one.id(), manifest: None, index: Some(draft) };
    first.images().tag(&"app".parse().unwrap(), &target).unwrap();
    drop(first);
    let store = open(dir.path());
    assert_eq!(store.gc(&ALL).unwrap().layers, 0);
    assert_eq!(store.images().choose(&target, &arm64).unwrap().unwrap().id, other.id());
    for diff_id in other.diff_ids() {
        assert!(store.layer_tar(&[], &diff_id).is_ok());
    }
}

/// As somebody leaves them who is killed before he can say what they are.
fn left(store: &Store, image: &Image) -> [crate::digest::Digest; 2] {
    let manifest = image.manifest().unwrap();
    let config = store.blobs().put_bytes("", &image.config_bytes()).unwrap();
    [config.digest, store.blobs().put_bytes(&manifest.media_type, manifest.bytes()).unwrap().digest]
}

#[test]
fn what_nothing_is_known_of_goes_at_once_and_a_cache_by_its_age() {
    let (dir, first) = store();
    let (named, blobs) = pulled(&["one"]);
    import(&first, &named, &blobs);
    tag(&first, "app", &named);
    let (unfinished, blobs) = pulled(&["one", "two"]);
    let mut strays = left(&first, &unfinished).to_vec();
    // A blob that waits for the layers below it, and an index of images that are not here.
    strays.push(first.blobs().put_bytes("", &blobs[1]).unwrap().digest);
    let index = crate::image::Index::make(vec![unfinished.manifest().unwrap().descriptor()]);
    strays.push(first.images().put_index(&index).unwrap());
    // Of an image that is here: another manifest for the way out, and an index that is asked for by its digest.
    let other =
        named.make_manifest(crate::image::ManifestKind::Docker, &[named.layers()[0].blob.clone().unwrap()]);
    let other = other.unwrap();
    let out = first.blobs().put_bytes(&other.media_type, other.bytes()).unwrap().digest;
    let whole = crate::image::Index::make(vec![named.manifest().unwrap().descriptor()]);
    let whole = first.images().put_index(&whole).unwrap();
    let young = GcPolicy::default();
    assert_eq!(open(dir.path()).gc(&young).unwrap().blobs, 0, "somebody is at work");
    drop(first);
    let store = open(dir.path());
    let report = store.gc(&young).unwrap();
    assert_eq!((report.blobs, report.layers, report.images), (4, 0, 0));
    assert!(strays.iter().all(|digest| !store.blobs().contains(digest)));
    assert!(store.blobs().contains(&out) && store.blobs().contains(&whole));
    crate::image::validate::content(&store.images().get("app").unwrap(), store.blobs()).unwrap();
    assert_eq!(store.gc(&young).unwrap(), GcReport::default());
}

#[test]
fn what_a_name_stands_for_stays_where_nothing_else_is_known_of_it() {
    let (dir, first) = store();
    let (named, blobs) = pulled(&["one", "two"]);
    import(&first, &named, &blobs);
    tag(&first, "app", &named);
    // As after a damaged database, of which the names could be read.
    first
        .facts()
        .write("forget", |tx| tx.execute_batch("DELETE FROM images; DELETE FROM layer_blobs"))
        .unwrap();
    drop(first);
    let store = open(dir.path());
    store.gc(&ALL).unwrap();
    crate::image::validate::content(&store.images().get("app").unwrap(), store.blobs()).unwrap();
}

#[test]
fn where_layers_are_is_known_for_as_long_as_an_image_needs_them() {
    let (dir, first) = store();
    // Nothing of its layers is here.
    let (image, _) = pulled(&["one"]);
    first.images().put_named(&image, &"app".parse().unwrap(), None).unwrap();
    let needed = image.layers()[0].blob.clone().unwrap().digest;
    let stale = crate::digest::Digest::of(b"stale");
    for blob in [needed, stale] {
        first.note_source(&blob, "r.io/cache").unwrap();
    }
    first.facts().write("age", |tx| tx.execute("UPDATE sources SET seen = 1", []).map(drop)).unwrap();
    drop(first);
    let store = open(dir.path());
    store.gc(&GcPolicy::default()).unwrap();
    assert_eq!(store.sources(&needed).unwrap(), ["r.io/cache"]);
    assert!(store.sources(&stale).unwrap().is_empty());
}
