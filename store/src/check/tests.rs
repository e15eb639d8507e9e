use crate::images::Named;
use crate::store::tests::{import, layer_tar, pulled, store};

#[test]
fn a_sound_store_is_told_so() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one", "two"]);
    import(&store, &image, &blobs);
    store.layers().adopt(&[], layer_tar("f", b"made here").as_slice()).unwrap();
    let report = store.check().unwrap();
    assert!(report.is_sound() && report.incomplete.is_empty(), "{report:?}");
    assert_eq!((report.blobs, report.layers + report.unpacked), (4, 3));
}

#[test]
fn a_damaged_blob_is_put_aside_and_can_be_had_again() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    import(&store, &image, &blobs);
    let target = Named { id: image.id(), manifest: image.manifest().map(|m| m.digest()), index: None };
    store.images().tag(&"app".parse().unwrap(), &target).unwrap();
    let layer = image.layers()[0].blob.clone().unwrap();
    store.note_source(&layer.digest, "r.io/app").unwrap();
    let path = store.blobs().path(&layer.digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let report = store.check().unwrap();
    assert!(!report.is_sound());
    let [damage] = report.damaged.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (damage.what, damage.digest, damage.sources.as_slice()),
        ("blob", layer.digest, &["r.io/app".to_owned()][..])
    );
    assert!(damage.why.contains("has digest"), "{}", damage.why);
    assert_eq!(std::fs::read(damage.moved_to.as_ref().unwrap()).unwrap(), bytes);
    assert!(!store.blobs().contains(&layer.digest));
    assert!(store.check().unwrap().is_sound());
    store
        .import_layer(
            crate::snapshot::LayerOs::Linux,
            &layer,
            &image.layers()[0].diff_id,
            &[],
            blobs[0].as_slice(),
        )
        .unwrap();
    assert!(store.blobs().contains(&layer.digest));
}

#[test]
fn an_image_whose_config_is_damaged_is_incomplete() {
    let (_dir, store) = store();
    let (image, blobs) = pulled(&["one"]);
    import(&store, &image, &blobs);
    std::fs::write(store.blobs().path(&image.id()), b"{}").unwrap();
    let report = store.check().unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.incomplete.len(), 1);
    assert!(store.images().get(&image.id().to_string()).is_err());
}

#[test]
fn layers_that_are_elsewhere_are_no_fault_and_lost_ones_are() {
    let (_dir, store) = store();
    let (image, _) = pulled(&["one", "two"]);
    let name = "r.io/team/app:1".parse().unwrap();
    store.images().put_named(&image, &name, None).unwrap();
    let blobs: Vec<_> = image.layers().iter().map(|layer| layer.blob.clone().unwrap().digest).collect();
    store.note_source(&blobs[0], "r.io/cache").unwrap();
    let report = store.check().unwrap();
    assert!(report.is_sound() && report.incomplete.is_empty(), "{report:?}");
    let sources: Vec<_> = report.elsewhere.iter().map(|it| it.sources.join(" ")).collect();
    // The second is known by the name alone, which came from there.
    assert_eq!(sources, ["r.io/cache", "r.io/team/app"]);
    // A name that was only given here says nothing.
    store.images().tag(&name, &Named { id: image.id(), manifest: None, index: None }).unwrap();
    let report = store.check().unwrap();
    assert_eq!((report.elsewhere.len(), report.incomplete.len()), (1, 1));
    assert!(!report.is_sound() && !report.is_damaged());
}
