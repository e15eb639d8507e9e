//! Windows layers: what is unpacked of them, and what a step's layer says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use orlop_fixtures::windows_layer::{self, Place};

use super::{Check, Subject};
use crate::digest::Digest;
use crate::layer::tar::{Entry, Kind, Reader, Time, Writer};
use crate::layer::windows::{
    self, Attributes, Metadata, Read, ReadKind, SecurityDescriptor, Top, security::Sid,
};
use crate::layer::{DiffError, LayerError, UnpackError};
use crate::snapshot::{Committed, LayerOs, SnapshotError};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("windows_files_are_the_tree", files_are_the_tree),
    ("windows_layers_are_written_as_hosts_read_them", written),
    ("windows_metadata_of_the_base_stays", metadata_stays),
    ("windows_names_are_one_whatever_their_case", one_name),
    ("windows_deletions_are_said_name_by_name", deletions),
    ("windows_streams_follow_their_file", streams),
    ("windows_cannot_have_everything", refused),
    ("windows_layers_are_no_linux_layers", apart),
    ("windows_entries_that_lead_elsewhere", hostile),
];

const MTIME: Time = Time { seconds: 1_500_000_000, nanoseconds: 100 };

fn of_user() -> Metadata {
    Metadata {
        attributes: Some(Attributes(0x12)),
        security: Some(SecurityDescriptor::directory_of(&Sid::container_user())),
        created: Some(Time { seconds: 1_400_000_000, nanoseconds: 0 }),
        ..Metadata::default()
    }
}

fn dir(path: &str, metadata: &Metadata) -> (Entry, &'static [u8]) {
    (windows::write(Top::Files, path.as_bytes(), Kind::Directory, MTIME, metadata), b"")
}

fn file(path: &str, content: &'static [u8]) -> (Entry, &'static [u8]) {
    let plain = Metadata::default().for_file();
    let entry = windows::write(Top::Files, path.as_bytes(), Kind::File, MTIME, &plain);
    (Entry { size: content.len() as u64, ..entry }, content)
}

fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (entry, content) in entries {
        tar.append(entry, *content).unwrap();
    }
    tar.finish().unwrap()
}

fn import(subject: &Subject, parent: &Committed, tar: &[u8]) -> Result<Committed, LayerError> {
    let diff_id = Digest::of(tar);
    subject.layers.for_os(LayerOs::Windows).import(parent.layers(), &diff_id, tar)?;
    Ok(parent.with(diff_id))
}

fn base(subject: &Subject) -> Committed {
    let hives = windows::write(Top::Hives, b"", Kind::Directory, MTIME, &Metadata::default());
    let delta = windows::write(Top::Hives, b"System_Delta", Kind::File, MTIME, &Metadata::default());
    let all = tar(&[
        dir("", &of_user()),
        dir("App", &of_user()),
        file("App/Read.Me", b"read"),
        (windows::stream(Top::Files, b"App/Read.Me", b"zone", 1, MTIME), b"z"),
        (windows::link(Top::Files, b"App/second", b"App/Read.Me", MTIME), b""),
        dir("Windows", &Metadata::default()),
        file("Windows/gone.dll", b"dll"),
        file("Windows/stays.dll", b"dll"),
        (
            Entry {
                link: br"C:\App".to_vec(),
                ..windows::write(
                    Top::Files,
                    b"Junction",
                    Kind::Symlink,
                    MTIME,
                    &Metadata { mount_point: true, ..Metadata::default() }.for_link(true),
                )
            },
            b"",
        ),
        (hives, b""),
        (Entry { size: 4, ..delta }, b"regf"),
    ]);
    import(subject, &Committed::scratch_of(LayerOs::Windows), &all).unwrap()
}

/// A step, and what its layer says: twice the same, and as it was promised.
fn step(
    subject: &Subject,
    parent: &Committed,
    work: impl FnOnce(&Path),
) -> (Committed, Vec<(Read, Vec<u8>)>) {
    let active = subject.driver.prepare(parent).unwrap();
    work(active.path());
    let diff = subject.driver.diff(&active).unwrap();
    let committed = subject.driver.commit(active, &diff).unwrap();
    let mut bytes = Vec::new();
    if committed != *parent {
        let layers = subject.layers.for_os(LayerOs::Windows);
        layers.tar(parent.layers(), &diff.diff_id).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), diff.diff_id);
    }
    if !bytes.is_empty() {
        // And as hosts read it.
        let place = if parent.layers().is_empty() { Place::Base } else { Place::Upper };
        windows_layer::check(&windows_layer::read(&bytes), place);
    }
    let mut reader = Reader::new(&bytes[..]);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert_eq!((entry.uid, entry.gid, entry.xattrs.len()), (0, 0, 0), "nothing of this machine");
        assert!(!entry.path.ends_with(b"/"));
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        out.push((windows::read(&entry).unwrap().unwrap(), content));
    }
    (committed, out)
}

fn path(read: &Read) -> String {
    let names: Vec<_> = read.path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    format!("{}/{}", read.top.name(), names.join("/"))
}

fn paths(entries: &[(Read, Vec<u8>)]) -> Vec<String> {
    entries.iter().map(|(read, _)| path(read)).collect()
}

fn by_path(entries: Vec<(Read, Vec<u8>)>) -> BTreeMap<String, Read> {
    entries.into_iter().map(|(read, _)| (path(&read), read)).collect()
}

fn files_are_the_tree(subject: &Subject) {
    let base = base(subject);
    let view = subject.driver.view(&base).unwrap();
    let root = view.path();
    let mut names: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["App", "Junction", "Windows"]);
    assert_eq!(fs::read(root.join("App/second")).unwrap(), b"read");
    assert_eq!(fs::read_link(root.join("Junction")).unwrap(), Path::new("/App"));
}

fn written(subject: &Subject) {
    let (committed, entries) = step(subject, &Committed::scratch_of(LayerOs::Windows), |root| {
        fs::create_dir_all(root.join("app/bin")).unwrap();
        fs::write(root.join("app/bin/ü.exe"), "MZ").unwrap();
        fs::hard_link(root.join("app/bin/ü.exe"), root.join("app/z.exe")).unwrap();
        symlink("../app/bin", root.join("app/link")).unwrap();
        symlink("/app/bin/ü.exe", root.join("app/to-file")).unwrap();
    });
    assert_eq!(committed.os(), LayerOs::Windows);
    assert_eq!(
        paths(&entries),
        [
            "Files/",
            "Hives/",
            "Files/app",
            "Files/app/bin",
            "Files/app/bin/ü.exe",
            "Files/app/link",
            "Files/app/to-file",
            "Files/app/z.exe"
        ]
    );
    let all = by_path(entries);
    let dir = &all["Files/app"].metadata;
    assert_eq!(dir.attributes, Some(Attributes::DIRECTORY));
    assert_eq!(dir.security, Some(SecurityDescriptor::directory()));
    let exe = &all["Files/app/bin/ü.exe"];
    assert_eq!(exe.metadata.attributes, Some(Attributes::ARCHIVE));
    assert_eq!(exe.metadata.security, Some(SecurityDescriptor::file()));
    assert_eq!(exe.metadata.created, Some(exe.mtime));
    let ReadKind::HardLink { target } = &all["Files/app/z.exe"].kind else { panic!("{all:?}") };
    assert_eq!(target.join(&b'/'), "app/bin/ü.exe".as_bytes());
    assert_eq!(all["Files/app/link"].kind, ReadKind::Link { target: br"..\app\bin".to_vec() });
    let attributes = |path: &str| all[path].metadata.attributes.unwrap();
    assert_eq!(attributes("Files/app/to-file"), Attributes::REPARSE_POINT);
    assert_eq!(all["Files/app/to-file"].kind, ReadKind::Link { target: r"C:\app\bin\ü.exe".into() });
}

fn metadata_stays(subject: &Subject) {
    let base = base(subject);
    let (_, entries) = step(subject, &base, |root| fs::write(root.join("App/new"), "n").unwrap());
    assert_eq!(paths(&entries), ["Files/", "Hives/", "Files/App", "Files/App/new"]);
    let all = by_path(entries);
    assert_eq!(all["Files/App"].metadata, of_user());
    assert_eq!(all["Files/"].metadata, of_user());
    assert_eq!(all["Files/App/new"].metadata.security, Some(SecurityDescriptor::file()));
}

fn one_name(subject: &Subject) {
    let base = base(subject);
    let next = tar(&[dir("APP", &Metadata::default()), file("app/READ.ME", b"new"), file("App/Ä", b"1")]);
    let next = import(subject, &base, &next).unwrap();
    let more = import(subject, &next, &tar(&[file("app/ä", b"2")])).unwrap();
    let view = subject.driver.view(&more).unwrap();
    assert_eq!(fs::read(view.path().join("App/Read.Me")).unwrap(), b"new");
    assert_eq!(fs::read(view.path().join("App/Ä")).unwrap(), b"2");
    assert!(!view.path().join("APP").exists() && !view.path().join("app").exists());
    drop(view);
    let clash = |work: fn(&Path)| {
        let active = subject.driver.prepare(&more).unwrap();
        work(active.path());
        match subject.driver.diff(&active) {
            Err(SnapshotError::Diff(DiffError::NotForWindows { path, .. })) => path,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(clash(|root| fs::create_dir(root.join("app")).unwrap()), "app");
    let two = |root: &Path| {
        fs::write(root.join("Windows/x"), "").unwrap();
        fs::write(root.join("Windows/X"), "").unwrap();
    };
    assert_eq!(clash(two), "Windows/x");
}

fn deletions(subject: &Subject) {
    let base = base(subject);
    let (committed, entries) = step(subject, &base, |root| {
        fs::remove_dir_all(root.join("Windows")).unwrap();
        fs::create_dir(root.join("Windows")).unwrap();
        fs::write(root.join("Windows/stays.dll"), "other").unwrap();
        fs::remove_file(root.join("Junction")).unwrap();
    });
    let whiteouts: Vec<_> = entries
        .iter()
        .filter(|(read, _)| read.kind == ReadKind::Whiteout)
        .map(|(read, _)| path(read))
        .collect();
    assert_eq!(whiteouts, ["Files/Junction", "Files/Windows/gone.dll"]);
    assert!(entries.iter().all(|(read, _)| read.kind != ReadKind::Opaque));
    let view = subject.driver.view(&committed).unwrap();
    assert!(!view.path().join("Windows/gone.dll").exists() && !view.path().join("Junction").exists());
    assert_eq!(fs::read(view.path().join("Windows/stays.dll")).unwrap(), b"other");
    // What other builders write is understood all the same.
    let opaque = windows::write(Top::Files, b"App/.wh..wh..opq", Kind::File, MTIME, &Metadata::default());
    let hidden = import(subject, &base, &tar(&[dir("app", &Metadata::default()), (opaque, b"")])).unwrap();
    assert_eq!(fs::read_dir(subject.driver.view(&hidden).unwrap().path().join("App")).unwrap().count(), 0);
}

fn streams(subject: &Subject) {
    let base = base(subject);
    let (_, entries) = step(subject, &base, |root| {
        fs::create_dir(root.join("App/new")).unwrap();
        for name in ["a", "a.bak", "a:one", "a:two"] {
            fs::write(root.join("App/new").join(name), name).unwrap();
        }
        fs::write(root.join("App/new:of-a-directory"), "d").unwrap();
        fs::write(root.join("App/Read.Me"), "changed").unwrap();
    });
    let kinds: Vec<_> = entries.iter().map(|(read, _)| (path(read), &read.kind)).skip(3).collect();
    let stream = |name: &str, size| ReadKind::Stream { name: name.into(), size };
    let expected = [
        ("Files/App/Read.Me", ReadKind::File { size: 7 }),
        ("Files/App/new", ReadKind::Directory),
        ("Files/App/new", stream("of-a-directory", 1)),
        ("Files/App/new/a", ReadKind::File { size: 1 }),
        ("Files/App/new/a", stream("one", 5)),
        ("Files/App/new/a", stream("two", 5)),
        ("Files/App/new/a.bak", ReadKind::File { size: 5 }),
    ];
    let found: Vec<_> = kinds.iter().filter(|(path, _)| path != "Files/App/second").collect();
    let found: Vec<_> = found.iter().map(|(path, kind)| (path.as_str(), (*kind).clone())).collect();
    assert_eq!(found, expected);
    let active = subject.driver.prepare(&base).unwrap();
    fs::write(active.path().join("App/Read.Me:late"), "x").unwrap();
    let error = subject.driver.diff(&active).unwrap_err();
    assert!(matches!(error, SnapshotError::Diff(DiffError::NotForWindows { .. })), "{error:?}");
}

fn refused(subject: &Subject) {
    let base = base(subject);
    for name in ["a?b", "tab\tbed", "back\\slash", "three:times:over", "\u{1}"] {
        let active = subject.driver.prepare(&base).unwrap();
        fs::write(active.path().join(name), "x").unwrap();
        let error = subject.driver.diff(&active).unwrap_err();
        assert!(matches!(error, SnapshotError::Diff(DiffError::NotForWindows { .. })), "{name}: {error:?}");
        assert!(error.hint().is_some());
    }
}

/// The same bytes, read as a Linux layer, are another tree.
fn apart(subject: &Subject) {
    let bytes = tar(&[dir("", &of_user()), file("x", b"1")]);
    let windows = import(subject, &Committed::scratch_of(LayerOs::Windows), &bytes).unwrap();
    let linux = Committed::new(windows.layers());
    assert_eq!(subject.driver.missing(&linux).unwrap(), [0]);
    subject.layers.import(&[], &Digest::of(&bytes), &bytes[..]).unwrap();
    assert!(subject.driver.view(&linux).unwrap().path().join("Files/x").exists());
    assert!(subject.driver.view(&windows).unwrap().path().join("x").exists());
}

fn hostile(subject: &Subject) {
    let scratch = Committed::scratch_of(LayerOs::Windows);
    let raw = |path: &str, kind: Kind, link: &str| Entry {
        path: path.into(),
        link: link.into(),
        ..windows::write(Top::Files, b"x", kind, MTIME, &Metadata::default())
    };
    for entry in [
        raw("Files/../../x", Kind::File, ""),
        raw(r"Files/..\..\x", Kind::File, ""),
        raw("Files/C:/x", Kind::File, ""),
        raw("Files/x", Kind::HardLink, "Files/../../etc/passwd"),
        raw("Files/x", Kind::HardLink, "Hives/x"),
        raw("Files/x", Kind::CharDevice, ""),
        raw("Files", Kind::Symlink, "/"),
    ] {
        let error = import(subject, &scratch, &tar(&[(entry.clone(), b"")])).unwrap_err();
        let refused = matches!(&error, LayerError::Unpack { source: UnpackError::Impossible { .. }, .. });
        assert!(refused, "{entry:?}: {error:?}");
    }
    // A link out of the root is followed inside it.
    let out = tar(&[(raw("Files/up", Kind::Symlink, r"..\..\..\etc"), b""), file("up/here", b"1")]);
    let committed = import(subject, &scratch, &out).unwrap();
    assert!(subject.driver.view(&committed).unwrap().path().join("etc/here").exists());
    // Our own note of such things is nothing that a Linux layer could bring.
    let mut forged = raw("f", Kind::File, "");
    forged.xattrs.insert(windows::CARRIER.into(), of_user().to_carrier());
    let bytes = tar(&[(forged, b"")]);
    subject.layers.import(&[], &Digest::of(&bytes), &bytes[..]).unwrap();
    let linux = Committed::new([Digest::of(&bytes)]).for_os(LayerOs::Linux);
    let view = subject.driver.view(&linux).unwrap();
    let root = crate::layer::node::open_root(view.path()).unwrap();
    let found = crate::layer::node::xattr(std::os::fd::AsFd::as_fd(&root), b"f", windows::CARRIER).unwrap();
    assert_eq!(found, None);
}
