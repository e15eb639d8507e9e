//! Windows layers against golden ones, which were written by hand: `fixtures/golden/README.md`.

use std::io::Read as _;

use orlop_fixtures::golden;
use orlop_store::layer::tar::{Entry, Kind, Reader, Time, Writer};
use orlop_store::layer::windows::security::Sid;
use orlop_store::layer::windows::{
    self, Attributes, Metadata, ROOTS, Read, ReadKind, SecurityDescriptor, Top,
};

const T: Time = Time { seconds: 1_600_000_000, nanoseconds: 0 };
const CREATED: Time = Time { seconds: 1_500_000_000, nanoseconds: 123_456_700 };

/// One entry as the tests say it.
struct Said {
    entry: Entry,
    content: &'static str,
}

fn parts() -> Vec<Said> {
    let part = |top| {
        let metadata = Metadata::default().for_directory();
        Said { entry: windows::write(top, b"", Kind::Directory, Time::default(), &metadata), content: "" }
    };
    ROOTS.into_iter().map(part).collect()
}

fn entry(top: Top, path: &str, kind: Kind, metadata: &Metadata, content: &'static str) -> Said {
    let entry = windows::write(top, path.as_bytes(), kind, T, metadata);
    Said { entry: Entry { size: content.len() as u64, ..entry }, content }
}

fn file(path: &str, content: &'static str) -> Said {
    entry(Top::Files, path, Kind::File, &Metadata::default().for_file(), content)
}

fn written(all: Vec<Said>) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for Said { entry, content } in parts().into_iter().chain(all) {
        tar.append(&entry, content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

/// Compares block by block, so that a failure says where.
fn assert_same(written: &[u8], golden: &[u8]) {
    for (i, (ours, theirs)) in written.chunks(512).zip(golden.chunks(512)).enumerate() {
        let shown = |block: &[u8]| block.escape_ascii().to_string().replace("\\x00", "");
        assert!(ours == theirs, "block {i}\nwritten: {}\ngolden:  {}", shown(ours), shown(theirs));
    }
    assert_eq!(written.len(), golden.len());
}

fn read(bytes: &[u8]) -> Vec<(Read, String)> {
    let mut reader = Reader::new(bytes);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        out.push((windows::read(&entry).unwrap().unwrap(), content));
    }
    // Every golden layer begins with its parts.
    for (top, (read, _)) in ROOTS.into_iter().zip(out.drain(..2)) {
        assert_eq!((read.top, read.path, read.kind), (top, Vec::new(), ReadKind::Directory));
        assert_eq!(read.metadata, Metadata::default().for_directory());
    }
    out
}

fn path(read: &Read) -> String {
    String::from_utf8(read.path.join(&b'/')).unwrap()
}

#[test]
fn files() {
    let golden = golden::bytes("windows/files.golden");
    let of_user = Metadata {
        attributes: Some(Attributes::HIDDEN),
        security: Some(SecurityDescriptor::directory_of(&Sid::container_user())),
        created: Some(CREATED),
        ..Metadata::default()
    };
    let of_file = Metadata {
        attributes: Some(Attributes::READ_ONLY.with(Attributes::ARCHIVE)),
        created: Some(CREATED),
        extended: [(b"NOTE".to_vec(), vec![0, 1, 2, 255])].into(),
        ..Metadata::default()
    };
    let zone = "[ZoneTransfer]\nZoneId=3";
    let said = |entry, content| Said { entry, content };
    let all = vec![
        entry(Top::Files, "app", Kind::Directory, &of_user.clone().for_directory(), ""),
        entry(Top::Files, "app/a.txt", Kind::File, &of_file.clone().for_file(), "hello"),
        said(windows::stream(Top::Files, b"app/a.txt", b"Zone.Identifier", zone.len() as u64, T), zone),
        said(windows::link(Top::Files, b"app/b.txt", b"app/a.txt", T), ""),
        said(windows::whiteout(Top::Files, b"app/old.txt"), ""),
        said(windows::whiteout(Top::Files, b"temp"), ""),
    ];
    assert_same(&written(all), &golden);

    let all = read(&golden);
    let found: Vec<_> = all.iter().map(|(read, _)| (path(read), read.kind.clone())).collect();
    let target = vec![b"app".to_vec(), b"a.txt".to_vec()];
    let stream = ReadKind::Stream { name: b"Zone.Identifier".to_vec(), size: 23 };
    let expected = [
        ("app", ReadKind::Directory),
        ("app/a.txt", ReadKind::File { size: 5 }),
        ("app/a.txt", stream),
        ("app/b.txt", ReadKind::HardLink { target }),
        ("app/old.txt", ReadKind::Whiteout),
        ("temp", ReadKind::Whiteout),
    ];
    assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    assert_eq!(all[0].0.metadata, of_user.for_directory());
    assert_eq!(all[0].0.metadata.security.as_ref().unwrap().owner(), Some(Sid::container_user()));
    assert_eq!(all[1].0.metadata, of_file.for_file());
    assert_eq!((all[1].0.mtime, all[1].1.as_str(), all[2].1.as_str()), (T, "hello", zone));
}

#[test]
fn links() {
    let golden = golden::bytes("windows/links.golden");
    let made = Metadata { created: Some(T), ..Metadata::default() };
    let link = |path: &str, target: &str, metadata: Metadata| {
        let Said { entry, content } = entry(Top::Files, path, Kind::Symlink, &metadata, "");
        Said { entry: Entry { link: target.into(), ..entry }, content }
    };
    let junction = Metadata { mount_point: true, ..made.clone() };
    let all = vec![
        link("to-file", r"app\a.txt", made.clone().for_link(false)),
        link("to-dir", r"..\app", made.for_link(true)),
        link("junction", r"C:\app", junction.for_link(true)),
    ];
    assert_same(&written(all), &golden);

    let all = read(&golden);
    let target = |text: &str| ReadKind::Link { target: text.into() };
    let bits = |i: usize| all[i].0.metadata.attributes.unwrap().0;
    assert_eq!((&all[0].0.kind, bits(0)), (&target(r"app\a.txt"), 0x400));
    assert_eq!((&all[1].0.kind, bits(1)), (&target(r"..\app"), 0x410));
    assert_eq!((&all[2].0.kind, bits(2)), (&target(r"C:\app"), 0x410));
    let mount_points: Vec<_> = all.iter().map(|(read, _)| read.metadata.mount_point).collect();
    assert_eq!(mount_points, [false, false, true]);
}

#[test]
fn hives() {
    let golden = golden::bytes("windows/hives.golden");
    let plain = Metadata { attributes: Some(Attributes::DIRECTORY), ..Metadata::default() };
    let all = vec![
        Said {
            entry: Entry {
                size: 4,
                ..windows::write(Top::Hives, b"System_Delta", Kind::File, T, &Metadata::default().for_file())
            },
            content: "regf",
        },
        entry(Top::UtilityVm, "", Kind::Directory, &plain, ""),
        entry(Top::UtilityVm, "Files", Kind::Directory, &plain, ""),
    ];
    assert_same(&written(all), &golden);

    let all = read(&golden);
    let places: Vec<_> = all.iter().map(|(read, _)| (read.top, path(read))).collect();
    let expected = [(Top::Hives, "System_Delta"), (Top::UtilityVm, ""), (Top::UtilityVm, "Files")];
    assert_eq!(places, expected.map(|(top, path)| (top, path.to_owned())));
    assert_eq!(all[1].0.metadata, plain);
}

#[test]
fn names() {
    let golden = golden::bytes("windows/names.golden");
    let (a, b) = ("a".repeat(60), "b".repeat(60));
    let deep = format!("{a}/{b}");
    let unlike = "Grüße-日本.txt";
    let dir = |path: &str| entry(Top::Files, path, Kind::Directory, &Metadata::default().for_directory(), "");
    let all = vec![
        dir(&a),
        dir(&deep),
        file(&format!("{deep}/c.txt"), "x"),
        file(unlike, ""),
        Said { entry: windows::link(Top::Files, b"zweite", unlike.as_bytes(), T), content: "" },
    ];
    assert_same(&written(all), &golden);

    let all = read(&golden);
    let paths: Vec<_> = all.iter().map(|(read, _)| path(read)).collect();
    assert_eq!(paths, [&a, &deep, &format!("{deep}/c.txt"), unlike, "zweite"]);
    assert_eq!(all[4].0.kind, ReadKind::HardLink { target: vec![unlike.into()] });
}
