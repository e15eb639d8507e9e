//! What overlays, permissions and small file systems show.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use super::*;

#[test]
fn others_cannot_look_in() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, store) = store();
    assert_eq!(std::fs::metadata(store.root()).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Run as a child of the test below, with a tiny file system to itself.
#[cfg(target_os = "linux")]
#[test]
fn child_on_a_full_disk() {
    let Some(dir) = std::env::var_os("ORLOP_STORE_FULL") else { return };
    let dir = Path::new(&dir);
    let store = open(dir);
    let (small, blobs) = pulled(&["small"]);
    import(&store, &small, &blobs);
    let mut noise = vec![0u8; 12 << 20];
    let mut state = 1u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    let tar = layer_tar("noise", &noise);
    let blob = gzip(&tar);
    let descriptor = Descriptor::of(media_type::OCI_LAYER_GZIP, &blob);
    let error =
        store.import_layer(LayerOs::Linux, &descriptor, &Digest::of(&tar), &[], blob.as_slice()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}: {:?}", std::error::Error::source(&error));
    assert!(error.hint().unwrap().contains("orlop store gc"));
    let error = store.blobs().put_bytes("x", &noise).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(half_made(&store).is_empty());
    // What was there is there, and there is room for more.
    let loaded = store.images().get(&small.id().to_string()).unwrap();
    crate::image::validate::content(&loaded, store.blobs()).unwrap();
    let (other, blobs) = pulled(&["other"]);
    import(&store, &other, &blobs);
    // Filled to the last byte, it can still be looked at and cleared.
    drop(store);
    let filler = dir.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let store = open(dir);
    assert_eq!(store.images().list().unwrap().len(), 2);
    let policy = crate::GcPolicy { keep_for: None, keep_bytes: None, all: true };
    let report = store.gc(&policy).unwrap();
    assert!(report.blobs > 0, "{report:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_the_store_stays_usable() {
    let dir = tempfile::tempdir().unwrap();
    let own = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$ORLOP_STORE_FULL" &&
        exec "$0" --exact store::tests::unix::child_on_a_full_disk --nocapture"#;
    let output = std::process::Command::new("unshare")
        .args([own, "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("ORLOP_STORE_FULL", dir.path())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A layer that hard-links to a file of the layer below, as other builders make them.
fn linking_layer() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    header.set_mode(0o644);
    builder.append_link(&mut header, "link", "file").unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn layers_may_come_in_any_order() {
    let (_dir, store) = store();
    let tars = [layer_tar("file", b"below"), linking_layer()];
    let blobs: Vec<_> = tars.iter().map(|t| gzip(t)).collect();
    let mut image = Image::scratch(&platform());
    for tar in &tars {
        image = image.append_layer(ImageLayer::new(Digest::of(tar), None), History::default());
    }
    let descriptors: Vec<_> = blobs.iter().map(|b| Descriptor::of(media_type::OCI_LAYER_GZIP, b)).collect();
    let manifest = image.make_manifest(ManifestKind::Oci, &descriptors).unwrap();
    let image = Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap();
    let ids = image.diff_ids();
    // The upper one first: it is kept as a blob until the one below is here.
    store.import_layer(LayerOs::Linux, &descriptors[1], &ids[1], &ids[..1], blobs[1].as_slice()).unwrap();
    assert!(store.blobs().contains(&descriptors[1].digest));
    assert!(!store.has_layer(LayerOs::Linux, &ids[..1], &ids[1]).unwrap());
    assert!(!store.ensure_layer(&image, 1).unwrap(), "the one below has to be fetched");
    store.import_layer(LayerOs::Linux, &descriptors[0], &ids[0], &[], blobs[0].as_slice()).unwrap();
    assert!(store.ensure_layer(&image, 1).unwrap());
    let fs = store.layers().fs(&ids[..1], &ids[1]).unwrap();
    assert_eq!(std::fs::read(fs.join("link")).unwrap(), b"below");
    // All gone but the blobs: the one on top brings the one below with it.
    for layer in store.layers().list().unwrap() {
        store.layers().remove(&layer.key).unwrap();
    }
    assert!(store.ensure_layer(&image, 1).unwrap());
    crate::image::validate::content(&image, store.blobs()).unwrap();
}

#[test]
fn a_driver_is_chosen_by_trying() {
    let dir = tempfile::tempdir().unwrap();
    let open = |driver| {
        Store::open(&dir.path().join("store"), &StoreOptions { driver, ..StoreOptions::default() }).unwrap()
    };
    let copy = open(Driver::Copy);
    assert_eq!(copy.snapshots().unwrap().name(), "copy");
    assert_eq!(copy.driver_note(), None, "it was asked for");
    let auto = open(Driver::Auto);
    match auto.snapshots().unwrap().name() {
        "overlay" => {
            assert_eq!(auto.driver_note(), None);
            assert_eq!(open(Driver::Overlay).snapshots().unwrap().name(), "overlay");
        }
        _ => {
            assert!(auto.driver_note().unwrap().contains("steps run in copies"));
            let error = open(Driver::Overlay).snapshots().unwrap_err();
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn an_image_of_too_many_layers_is_refused_before_any_is_fetched() {
    let (dir, _) = store();
    let options = StoreOptions { driver: Driver::Overlay, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("store"), &options).unwrap();
    let chain = |count: u32| {
        let layers: Vec<Digest> = (0..count).map(|n| Digest::of(&n.to_le_bytes())).collect();
        store.snapshots().unwrap().missing(&crate::snapshot::Committed::new(layers))
    };
    assert_eq!(chain(500).unwrap().len(), 500);
    let error = chain(501).unwrap_err();
    assert!(matches!(error, crate::snapshot::SnapshotError::TooManyLayers { layers: 501, .. }), "{error}");
}
