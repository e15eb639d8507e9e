//! The directory of layers: who comes first, who holds what, and what can be had back.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn chain_ids_are_those_of_the_specification() {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    assert_eq!(chain_id(&[a]), a);
    assert_eq!(chain_id(&[a, b]), Digest::of(format!("{a} {b}").as_bytes()));
    assert_eq!(chain_id(&[a, b, a]), Digest::of(format!("{} {a}", chain_id(&[a, b])).as_bytes()));
}

#[test]
fn privileged_many_import_one_layer_and_one_does_it() {
    let store = Fixture::new();
    let tar = archive(&[dir("d/"), file("d/f", &"x".repeat(100_000))]);
    let read = AtomicU32::new(0);
    struct Counted<'a>(&'a [u8], &'a AtomicU32, bool);
    impl Read for Counted<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if !std::mem::replace(&mut self.2, true) {
                self.1.fetch_add(1, Ordering::SeqCst);
            }
            self.0.read(buf)
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store.layers.import(&[], &Digest::of(&tar), Counted(&tar, &read, false)).unwrap());
        }
    });
    assert_eq!(read.load(Ordering::SeqCst), 1);
    assert_eq!(store.layers.list().unwrap().len(), 1);
}

#[test]
fn privileged_a_layer_that_is_held_is_not_removed() {
    let mut store = Fixture::new();
    store.push(&[dir("d/"), file("d/f", "x")]);
    let key = store.layers.list().unwrap()[0].key;
    let hold = store.layers.hold(&[], &store.chain[0], Form::Fs).unwrap().unwrap();
    assert!(matches!(store.layers.remove(&key), Err(LayerError::InUse { .. })));
    drop(hold);
    store.layers.remove(&key).unwrap();
    store.layers.remove(&key).unwrap();
    assert!(!store.layers.contains(&[], &store.chain[0]));
    assert!(store.layers.hold(&[], &store.chain[0], Form::Fs).unwrap().is_none());
    assert_eq!(std::fs::read_dir(store.dir.path().join("work")).unwrap().count(), 0);
}

#[test]
fn privileged_the_bytes_of_an_adopted_layer_are_kept() {
    let store = Fixture::new();
    let tar = archive(&[file("f", "x"), file("a", "not in order")]);
    let facts = store.layers.adopt(&[], &tar[..]).unwrap();
    assert_eq!(facts.diff_id, Digest::of(&tar));
    assert_eq!(read_all(store.layers.tar(&[], &facts.diff_id).unwrap()).unwrap(), tar);
    assert_eq!(text(&store.layers.fs(&[], &facts.diff_id).unwrap().join("a")), "not in order");
}

#[test]
fn privileged_a_foreign_layer_has_no_tar() {
    let mut store = Fixture::new();
    store.push(&[file("f", "x")]);
    let error = store.layers.tar(&[], &store.chain[0]).err().unwrap();
    assert!(matches!(error, LayerError::NotReproducible { .. }), "{error}");
    let error = store.layers.tar(&[], &Digest::of(b"nobody")).err().unwrap();
    assert!(matches!(error, LayerError::Missing { .. }), "{error}");
}

#[test]
fn privileged_a_layer_that_was_tampered_with_gives_an_error_and_no_other_bytes() {
    use crate::snapshot::{Committed, SnapshotDriver, overlay::OverlayDriver};
    let store = Fixture::new();
    let driver = OverlayDriver::new(&store.layers);
    let active = driver.prepare(&Committed::scratch()).unwrap();
    std::fs::write(active.path().join("f"), "x").unwrap();
    let diff = driver.diff(&active).unwrap();
    driver.commit(active, &diff).unwrap();
    assert_eq!(read_all(store.layers.tar(&[], &diff.diff_id).unwrap()).unwrap().len() as u64, diff.size);
    let fs = store.layers.fs(&[], &diff.diff_id).unwrap();
    std::fs::write(fs.join("f"), "y").unwrap();
    assert!(read_all(store.layers.tar(&[], &diff.diff_id).unwrap()).is_err());
    std::fs::remove_file(fs.join("f")).unwrap();
    assert!(read_all(store.layers.tar(&[], &diff.diff_id).unwrap()).is_err());
}

#[test]
fn privileged_a_full_disk_is_said_and_survived() {
    let at = tempfile::tempdir_in("/var/tmp").unwrap();
    rustix::mount::mount("none", at.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=1m"))
        .unwrap();
    let work = Work::open(&at.path().join("work")).unwrap();
    let layers = Layers::open(&at.path().join("layers"), &work, XattrForm::Trusted).unwrap();
    let large = archive(&[file("large", &"x".repeat(3 << 20))]);
    let error = layers.import(&[], &Digest::of(&large), &large[..]).unwrap_err();
    assert!(chain(&error).contains("`large`: No space left"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("orlop store gc"));
    let small = archive(&[file("small", "x")]);
    layers.import(&[], &Digest::of(&small), &small[..]).unwrap();
    assert_eq!(layers.list().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(at.path().join("work")).unwrap().count(), 0);
    rustix::mount::unmount(at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn privileged_layers_are_synced_together_and_then_lose_their_marks() {
    use crate::layer::unsynced::{Mark, look};
    let mut store = Fixture::new();
    store.layers = store.layers.with_durability(Durability::Power);
    store.push(&[dir("d/"), file("d/f", "x")]);
    store.push(&[dir("d/"), file("d/g", "y")]);
    let paths: Vec<_> =
        store.layers.list().unwrap().iter().map(|layer| store.layers.path(&layer.key)).collect();
    assert!(paths.iter().all(|path| look(path) == Mark::Whole));
    // Another process that uses such a layer answers for it as well.
    let other =
        Layers::open(&store.dir.path().join("layers"), &store.layers.work, XattrForm::Trusted).unwrap();
    drop(other.hold(&[], &store.chain[0], Form::Fs).unwrap().unwrap());
    other.settle().unwrap();
    assert_eq!(paths.iter().filter(|path| look(path) == Mark::None).count(), 1);
    store.layers.settle().unwrap();
    assert!(paths.iter().all(|path| look(path) == Mark::None));
}

#[test]
fn privileged_a_layer_that_may_not_have_reached_the_disk_is_none() {
    let mut store = Fixture::new();
    let tar = archive(&[dir("d/"), file("d/f", "x")]);
    store.push(&[dir("d/"), file("d/f", "x")]);
    let diff_id = store.chain[0];
    let path = store.layers.path(&store.layers.list().unwrap()[0].key);
    crate::layer::unsynced::doubt(&path);
    std::fs::write(path.join("fs/d/f"), "").unwrap();
    assert!(!store.layers.contains(&[], &diff_id));
    assert!(store.layers.facts(&[], &diff_id).unwrap().is_none());
    assert!(store.layers.hold(&[], &diff_id, Form::Fs).unwrap().is_none());
    assert_eq!(store.layers.holds(&[diff_id], false).unwrap().unwrap_err(), [0]);
    store.layers.import(&[], &diff_id, &tar[..]).unwrap();
    assert_eq!(text(&path.join("fs/d/f")), "x");
    assert!(store.layers.contains(&[], &diff_id));
}

#[test]
fn privileged_an_index_that_is_made_again_is_synced_with_its_layer() {
    use crate::layer::unsynced::{Mark, look};
    let mut store = Fixture::new();
    store.layers = store.layers.with_durability(Durability::Power).with_mounts();
    let tar = archive(&[dir("d/"), file("d/f", "x")]);
    let diff_id = store.layers.import(&[], &Digest::of(&tar), &tar[..]).unwrap().diff_id;
    let path = store.layers.path(&LayerKey::Diff(diff_id));
    store.layers.settle().unwrap();
    assert_eq!(look(&path), Mark::None);
    std::fs::remove_file(path.join("index")).unwrap();
    drop(store.layers.holds(&[diff_id], false).unwrap().unwrap());
    assert!(path.join("index").exists() && !path.join("fs").exists());
    assert_eq!(look(&path), Mark::Whole, "what was added may not be on the disk");
    // One that says nothing is as good as none: the tar is unpacked.
    let other = Layers::open(&store.dir.path().join("layers"), &store.layers.work, XattrForm::Trusted);
    let other = other.unwrap().with_mounts();
    std::fs::write(path.join("index"), "damaged").unwrap();
    drop(other.holds(&[diff_id], false).unwrap().unwrap());
    assert_eq!(text(&path.join("fs/d/f")), "x");
}

/// A layer of more entries than an index is made of in memory: in the order in which most tools write them, in another,
/// and with something that has no place in an index of the first kind.
#[test]
fn privileged_a_layer_of_very_many_entries() {
    use crate::snapshot::overlay::OverlayDriver;
    use crate::snapshot::{Committed, SnapshotDriver};
    let directory = |number: usize| {
        let path = format!("d{number:03}");
        let mut entries = vec![dir(&format!("{path}/"))];
        entries.extend(
            (0..1000).map(|i| file(&format!("{path}/f{i:03}"), if i % 500 == 0 { &path } else { "" })),
        );
        entries.push(hard_link(&format!("{path}/link"), &format!("{path}/f000")));
        entries
    };
    let root = with(dir("./"), |e| (e.mode, e.uid) = (0o711, 5));
    let in_order: Vec<Made> = [root].into_iter().chain((0..11).flat_map(directory)).collect();
    let backwards: Vec<Made> = (0..11).rev().flat_map(directory).collect();
    let hiding: Vec<Made> = in_order.iter().cloned().chain([file(".wh.gone", "")]).collect();
    for (what, entries) in [("in order", in_order), ("backwards", backwards), ("hiding", hiding)] {
        let mut store = Fixture::new();
        store.layers = store.layers.with_mounts();
        let tar = archive(&entries);
        let facts = store.import(&tar).unwrap();
        assert_eq!((facts.entries, facts.root_entry), (entries.len() as u64, what != "backwards"), "{what}");
        assert!(store.layers.form_path(&[], &facts.diff_id, Form::Index).is_some(), "{what}");
        let snapshot = Committed::new([facts.diff_id]);
        let check = |store: &Fixture| {
            let view = OverlayDriver::new(&store.layers).view(&snapshot).unwrap();
            let root = view.path().metadata().unwrap();
            let expected = if facts.root_entry { (0o711, 5) } else { (0o755, 0) };
            assert_eq!((root.mode() & 0o7777, root.uid()), expected, "{what}");
            assert_eq!(std::fs::read_dir(view.path()).unwrap().count(), 11, "{what}");
            for number in [0, 7, 10] {
                let path = view.path().join(format!("d{number:03}"));
                assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1001, "{what}");
                assert_eq!(text(&path.join("link")), format!("d{number:03}"), "{what}");
                assert_eq!(path.join("f000").metadata().unwrap().nlink(), 2, "{what}");
                assert_eq!(text(&path.join("f500")), format!("d{number:03}"), "{what}");
                assert_eq!(text(&path.join("f999")), "", "{what}");
            }
        };
        check(&store);
        // Made again from the tar, it shows the same.
        let index = store.layers.form_path(&[], &facts.diff_id, Form::Index).unwrap();
        std::fs::remove_file(&index).unwrap();
        store.layers.let_go();
        let work = Work::open(&store.dir.path().join("work")).unwrap();
        let layers = Layers::open(&store.dir.path().join("layers"), &work, XattrForm::Trusted).unwrap();
        store.layers = layers.with_durability(Durability::Process).with_mounts();
        check(&store);
        assert!(index.exists(), "{what}");
    }
}

/// What is behind the first of very many entries is as little trusted as what is before.
#[test]
fn privileged_very_many_entries_may_be_hostile_as_well() {
    let mut store = Fixture::new();
    store.layers = store.layers.with_mounts();
    let many: Vec<Made> = (0..1001).map(|i| file(&format!("f{i:06}"), "")).collect();
    for (last, expected) in [
        (file("../escape", "x"), "`../escape`"),
        (file("f000000/below", "x"), "`f000000/below`"),
        (hard_link("z", "../../etc/passwd"), "`../../etc/passwd`"),
        (hard_link("z", "nowhere"), "`nowhere`"),
    ] {
        let entries: Vec<Made> = many.iter().cloned().chain([last]).collect();
        let refused = store.refused(&entries);
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(store.layers.list().unwrap().is_empty());
}
