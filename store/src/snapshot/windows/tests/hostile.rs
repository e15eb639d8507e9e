//! Layers that mean harm.

use super::*;
use crate::digest::Digest;
use crate::layer::tar::{Entry, Kind, Reader, Time, Writer};
use crate::layer::windows::{self, Attributes, Metadata, Top};
use crate::layer::{LayerError, UnpackError};

fn entry(path: &str, kind: Kind) -> Entry {
    let plain = windows::write(Top::Files, b"x", kind, Time::default(), &Metadata::default());
    Entry { path: path.into(), ..plain }
}

fn file(path: &str, content: &'static str) -> (Entry, &'static str) {
    (Entry { size: content.len() as u64, ..entry(path, Kind::File) }, content)
}

fn tar(entries: &[(Entry, &str)]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (entry, content) in entries {
        tar.append(entry, content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

/// The layer over `below`.
fn layer(layers: &Layers, below: &Committed, entries: &[(Entry, &str)]) -> Committed {
    let bytes = tar(entries);
    let diff_id = Digest::of(&bytes);
    layers.for_os(LayerOs::Windows).import(below.layers(), &diff_id, &bytes[..]).unwrap();
    below.with(diff_id)
}

/// The entries of the newest layer.
fn entries(layers: &Layers, snapshot: &Committed) -> Vec<Entry> {
    let (top, below) = snapshot.layers().split_last().unwrap();
    let mut bytes = Vec::new();
    let mut tar = layers.for_os(LayerOs::Windows).tar(below, top).unwrap();
    io::Read::read_to_end(&mut tar, &mut bytes).unwrap();
    let mut reader = Reader::new(&bytes[..]);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        out.push(entry);
    }
    out
}

fn refused(driver: &CloneDriver, snapshot: &Committed) -> String {
    match driver.prepare(snapshot).unwrap_err() {
        SnapshotError::Layer(LayerError::Unpack { source: UnpackError::Impossible { why, .. }, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_that_lead_elsewhere_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(&dir.path().join("store"));
    let absolute = dir.path().join("out").to_str().unwrap().to_owned();
    for path in [
        "Files/../out",
        "Files/../../out",
        r"Files\..\..\out",
        "Files/a/../../../out",
        "Files/C:/out",
        r"Files/C:\out",
        &format!("Files/{absolute}"),
        "Files/a:b:c",
        "Files/:stream",
        "Files/a:b/c",
        "Files/a\u{1}b",
        "Files/a*b",
        &format!("Files/{}", "n".repeat(256)),
    ] {
        let snapshot = layer(&layers, &scratch(), &[file(path, "x")]);
        assert!(!refused(&driver, &snapshot).is_empty(), "{path}");
        assert!(!dir.path().join("out").exists(), "{path}");
    }
    let link = |target: &str| Entry { link: target.into(), ..entry("Files/link", Kind::HardLink) };
    for target in ["Files/../../out", "Hives/x", "Files/none", "Files", r"C:\windows\win.ini"] {
        let snapshot = layer(&layers, &scratch(), &[(link(target), "")]);
        assert!(!refused(&driver, &snapshot).is_empty(), "{target}");
    }
    assert_eq!(fs::read_dir(dir.path().join("store/work")).unwrap().count(), 0);
}

#[test]
fn names_that_mean_something_to_programs_are_files() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let names = ["con", "NUL", "aux.txt", "COM1", "dot.", "space ", "dots..."];
    let hostile: Vec<_> = names.iter().map(|name| file(&format!("Files/d./{name}"), "x")).collect();
    let snapshot = layer(&layers, &scratch(), &hostile);
    let active = driver.prepare(&snapshot).unwrap();
    let inner = Dir::open(active.path()).unwrap().dir("d.".as_ref()).unwrap();
    let mut found: Vec<_> = inner.list().unwrap().into_iter().map(|e| e.name).collect();
    let mut expected: Vec<std::ffi::OsString> = names.iter().map(Into::into).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    // They go into a step's layer as they are, and away with it.
    inner.make_file("lpt1".as_ref()).unwrap();
    inner.remove("con".as_ref()).unwrap();
    drop(inner);
    let diff = driver.diff(&active).unwrap();
    let committed = driver.commit(active, &diff).unwrap();
    let paths: Vec<_> =
        entries(&layers, &committed).into_iter().map(|e| String::from_utf8(e.path).unwrap()).collect();
    assert_eq!(paths, ["Files", "Hives", "Files/d.", "Files/d./.wh.con", "Files/d./lpt1"]);
}

#[test]
fn very_long_paths() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    // Beyond 260 characters; Wine ends at the 4,096 of the system below it.
    let path = format!("Files/{}file", format!("{}/", "d".repeat(100)).repeat(20));
    let snapshot = layer(&layers, &scratch(), &[file(&path, "x")]);
    let active = driver.prepare(&snapshot).unwrap();
    assert_eq!(walk::walk(&Dir::open(active.path()).unwrap()).unwrap().len(), 22);
}

#[test]
fn two_files_that_windows_cannot_tell_apart_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let snapshot = layer(&layers, &scratch(), &[file("Files/d/Name", "1"), file("Files/D/name", "2")]);
    assert!(refused(&driver, &snapshot).contains("`d/Name`"));
    // In two layers the upper one is the file.
    let lower = layer(&layers, &scratch(), &[file("Files/d/Name", "1")]);
    let upper = layer(&layers, &lower, &[file("Files/D/name", "2")]);
    let view = driver.view(&upper).unwrap();
    assert_eq!(fs::read_dir(view.path().join("d")).unwrap().count(), 1);
    assert_eq!(fs::read(view.path().join("d/NAME")).unwrap(), b"2");
}

#[test]
fn whiteouts_take_lower_layers_only_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let lower = [
        file("Files/d/a", "old"),
        file("Files/d/b", "old"),
        file("Files/d/sub/c", "old"),
        file("Files/e", ""),
    ];
    let lower = layer(&layers, &scratch(), &lower);
    let (new, all, e) = (file("Files/d/a", "new"), file("Files/.wh.d", ""), file("Files/.wh.E", ""));
    let (opaque, none) = (file("Files/d/.wh..wh..opq", ""), file("Files/.wh.none", ""));
    for order in [
        vec![new.clone(), all.clone(), e.clone()],
        vec![all, e.clone(), new.clone()],
        vec![opaque, new, e, none],
    ] {
        let view = driver.view(&layer(&layers, &lower, &order)).unwrap();
        let names =
            |path: &Path| fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(view.path()), ["d"]);
        assert_eq!(names(&view.path().join("d")), ["a"]);
        assert_eq!(fs::read(view.path().join("d/a")).unwrap(), b"new");
    }
}

#[test]
fn streams_belong_to_a_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let snapshot = layer(&layers, &scratch(), &[file("Files/f", "main"), file("Files/f:s", "side")]);
    let view = driver.view(&snapshot).unwrap();
    let root = Dir::open(view.path()).unwrap();
    assert_eq!(root.streams("f".as_ref()).unwrap()[0].size, 4);
    let alone = layer(&layers, &scratch(), &[file("Files/none:s", "side")]);
    assert!(refused(&driver, &alone).contains("no file"));
}

/// Wine has no links, so that a layer with one is refused as soon as it is to be made; on Windows it is made as
/// itself, and what comes after it is refused. What is never done is to write through it.
#[test]
fn a_planted_link_is_never_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(&dir.path().join("store"));
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let junction = Metadata { mount_point: true, ..Metadata::default() };
    let planted = Entry {
        path: b"Files/planted".to_vec(),
        link: out.to_str().unwrap().into(),
        ..windows::write(Top::Files, b"x", Kind::Symlink, Time::default(), &junction)
    };
    let to_directory = Metadata { attributes: Some(Attributes(0x410)), ..Metadata::default() };
    let symlink = Entry { windows: to_directory.records(), ..planted.clone() };
    for planted in [planted, symlink] {
        let after = [(planted.clone(), ""), file("Files/planted/through", "x")];
        assert!(driver.prepare(&layer(&layers, &scratch(), &after)).is_err());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
}

#[test]
fn attributes_and_times_come_and_go_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let metadata = Metadata { attributes: Some(Attributes(0x27)), ..Metadata::default() }.for_file();
    let mtime = Time { seconds: 1_234_567_890, nanoseconds: 123_456_700 };
    let hidden = Entry { size: 1, ..windows::write(Top::Files, b"h", Kind::File, mtime, &metadata) };
    let snapshot = layer(&layers, &scratch(), &[(hidden, "x")]);
    let active = driver.prepare(&snapshot).unwrap();
    let root = Dir::open(active.path()).unwrap();
    let stat = root.stat("h".as_ref()).unwrap().unwrap();
    assert_eq!(stat.attributes & 0x27, 0x27);
    assert_eq!(stat.times.written.unix(), (mtime.seconds, mtime.nanoseconds));
    assert!(driver.diff(&active).unwrap().is_empty());
    // Another attribute is a change, and what the base says of security goes with the file.
    root.set_basic("h".as_ref(), crate::nt::Times::default(), 0x22).unwrap();
    drop(root);
    let diff = driver.diff(&active).unwrap();
    assert!(!diff.is_empty());
    let committed = driver.commit(active, &diff).unwrap();
    let found = windows::read(entries(&layers, &committed).last().unwrap()).unwrap().unwrap();
    assert_eq!(found.metadata.attributes, Some(Attributes(0x22)));
    assert_eq!(found.metadata.security, metadata.security);
    assert_eq!(found.mtime, mtime);
}
