//! Trees that are handed on, and when they are not believed.

use super::*;

fn trees(layers: &Layers) -> usize {
    layers.list().unwrap().iter().filter(|layer| layer.forms.contains(&Form::Tree)).count()
}

#[test]
fn a_stage_pays_once() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let (mut at, _) = step(&driver, &scratch(), |root| fs::write(root.join("base"), "x").unwrap());
    let id = |root: &Path| Dir::open(root).unwrap().stat("base".as_ref()).unwrap().unwrap().id;
    let mut first = None;
    for i in 0..3 {
        (at, _) = step(&driver, &at, |root| {
            assert_eq!(*first.get_or_insert(id(root)), id(root), "the very same file");
            fs::write(root.join(format!("{i}")), "y").unwrap();
        });
        assert_eq!(trees(&layers), 1);
    }
    // A step that does nothing gives it back.
    let (same, diff) = step(&driver, &at, |_| {});
    assert!(diff.is_empty());
    assert_eq!((same, trees(&layers)), (at.clone(), 1));
    // Somebody looks at it: whoever is next gets a tree of his own.
    let view = driver.view(&at).unwrap();
    let active = driver.prepare(&at).unwrap();
    assert_ne!(id(active.path()), id(view.path()));
    fs::write(active.path().join("base"), "changed").unwrap();
    assert_eq!(fs::read(view.path().join("base")).unwrap(), b"x");
}

#[test]
fn a_tree_of_another_process_has_to_prove_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (_, one) = driver(dir.path());
    let (at, _) = step(&one, &scratch(), |root| fs::write(root.join("f"), "good").unwrap());
    let view = one.view(&at).unwrap();
    // Content that is not in the layer, with all the times that can be set as before.
    let root = Dir::open(view.path()).unwrap();
    let before = root.stat("f".as_ref()).unwrap().unwrap();
    let mut file = root.file_to_write("f".as_ref(), crate::nt::Share::All).unwrap();
    io::Write::write_all(&mut file, b"evil").unwrap();
    drop(file);
    root.set_basic("f".as_ref(), before.times, before.attributes).unwrap();
    drop((root, view));
    let (_, other) = driver(dir.path());
    let view = other.view(&at).unwrap();
    assert_eq!(fs::read(view.path().join("f")).unwrap(), b"good");
    drop(view);
    let active = other.prepare(&at).unwrap();
    assert_eq!(fs::read(active.path().join("f")).unwrap(), b"good");
}

#[test]
fn a_damaged_table_makes_the_tree_worthless_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, one) = driver(dir.path());
    let (at, _) = step(&one, &scratch(), |root| fs::write(root.join("f"), "x").unwrap());
    for text in ["", "orlop-table 2\n", "orlop-table 1\n{", "\u{0}\u{0}"] {
        let path = layers.form_path(&[], &at.layers()[0], Form::Tree).unwrap();
        fs::write(path.join(tree::TABLE), text).unwrap();
        let view = one.view(&at).unwrap();
        assert_eq!(fs::read(view.path().join("f")).unwrap(), b"x");
    }
}

#[test]
fn what_lies_about_its_times_is_found_by_verify() {
    let dir = tempfile::tempdir().unwrap();
    let (_, driver) = driver(dir.path());
    let (at, _) = step(&driver, &scratch(), |root| fs::write(root.join("f"), "good").unwrap());
    let mut active = driver.prepare(&at).unwrap();
    fs::write(active.path().join("f"), "evil").unwrap();
    let stat = Dir::open(active.path()).unwrap().stat("f".as_ref()).unwrap().unwrap();
    // As if the step had set back every time that a listing tells.
    let row = active.before.rows.get_mut("f").unwrap();
    *row = table::Row::new(&stat, row.security, row.note.clone());
    assert!(driver.find(&active, false).unwrap().is_empty(), "nothing is read whose listing says the same");
    assert!(!driver.find(&active, true).unwrap().is_empty());
    // It does not pass as a step that did nothing.
    assert!(!driver.diff(&active).unwrap().is_empty());
    // Beside another change it passes, and only `verify` finds it.
    fs::write(active.path().join("other"), "").unwrap();
    let (believing, verifying) =
        (driver.diff(&active).unwrap(), driver.with_verify(true).diff(&active).unwrap());
    assert_eq!(verifying.entries, believing.entries + 1);
}

#[test]
fn what_is_still_open_after_a_step_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, driver) = driver(dir.path());
    let active = driver.prepare(&scratch()).unwrap();
    let open = fs::File::create(active.path().join("log")).unwrap();
    let error = driver.diff(&active).unwrap_err();
    assert!(matches!(&error, SnapshotError::Survived { path, .. } if path == "log"), "{error:?}");
    assert!(error.to_string().contains("something survived the step"));
    assert!(error.hint().is_some());
    drop(open);
    driver.diff(&active).unwrap();
}

#[test]
fn streams_are_changes_and_part_of_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let (_, one) = driver(dir.path());
    let (at, _) = step(&one, &scratch(), |root| fs::write(root.join("f"), "x").unwrap());
    let stream = |root: &Path, text: &str| {
        let root = Dir::open(root).unwrap();
        let mut file = root.make_stream("f".as_ref(), "zone".as_ref()).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let active = one.prepare(&at).unwrap();
    stream(active.path(), "z");
    let changes = one.find(&active, true).unwrap();
    assert!(!changes.is_empty());
    drop(active);
    let (next, _) = step(&one, &at, |root| {
        stream(root, "z");
        fs::write(root.join("f"), "new").unwrap();
    });
    // Made of the layers' tars.
    let (_, other) = driver(dir.path());
    other.layers.remove(&LayerKey::Chain(next.chain_id())).unwrap();
    let view = other.view(&next).unwrap();
    let streams = Dir::open(view.path()).unwrap().streams("f".as_ref()).unwrap();
    assert_eq!((streams.len(), streams[0].size), (1, 1));
    drop(view);
    let (same, _) = step(&other, &next, |_| {});
    assert_eq!(same, next);
}
