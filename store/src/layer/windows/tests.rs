use super::*;
use crate::layer::tar::{Entry, Kind, Reader, Time, Writer};

fn records(pairs: &[(&str, &str)]) -> Records {
    pairs.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

#[test]
fn records_round_trip() {
    let metadata = Metadata {
        attributes: Some(Attributes(0x26)),
        security: Some(SecurityDescriptor::file()),
        sddl: None,
        created: Some(Time { seconds: 1_577_836_800, nanoseconds: 100 }),
        mount_point: true,
        extended: [(b"KERNEL.CI".to_vec(), vec![0, 1, 255])].into(),
    };
    let text = metadata.records();
    assert_eq!(text[&b"MSWINDOWS.fileattr"[..]], b"38");
    assert_eq!(text[&b"LIBARCHIVE.creationtime"[..]], b"1577836800.0000001");
    assert_eq!(text[&b"MSWINDOWS.xattr.KERNEL.CI"[..]], b"AAH/");
    assert_eq!(text[&b"MSWINDOWS.mountpoint"[..]], b"1");
    assert_eq!(Metadata::parse(&text).unwrap(), metadata);
    assert_eq!(Metadata::from_carrier(&metadata.to_carrier()).unwrap(), metadata);
}

#[test]
fn hostile_records_are_refused() {
    for (name, value) in [
        ("MSWINDOWS.fileattr", "-1"),
        ("MSWINDOWS.fileattr", "0x20"),
        ("MSWINDOWS.fileattr", "4294967296"),
        ("MSWINDOWS.fileattr", "99999999999999999999999999"),
        ("MSWINDOWS.rawsd", "!!!!"),
        ("MSWINDOWS.rawsd", "AQAEgA=="),
        ("MSWINDOWS.rawsd", "AQAEgA"),
        ("LIBARCHIVE.creationtime", "yesterday"),
        ("MSWINDOWS.xattr.", "AA=="),
        ("MSWINDOWS.xattr.x", "="),
    ] {
        assert!(Metadata::parse(&records(&[(name, value)])).is_err(), "{name}={value}");
    }
    let huge = "A".repeat(1 << 20);
    assert!(Metadata::parse(&records(&[("MSWINDOWS.rawsd", &huge)])).is_err());
    assert!(Metadata::parse(&records(&[("MSWINDOWS.xattr.x", &huge)])).is_err());
    let odd = Metadata::parse(&records(&[("MSWINDOWS.fileattr", "4294967295")])).unwrap();
    assert_eq!(odd.attributes, Some(Attributes(u32::MAX)));
    assert!(Metadata::parse(&records(&[("MSWINDOWS.nobody.knows", "x")])).unwrap() == Metadata::default());
}

#[test]
fn paths() {
    let names = |list: &[&str]| list.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>();
    let in_files = |list: &[&str]| LayerPath::In(Top::Files, names(list));
    assert_eq!(split(b"Files").unwrap(), in_files(&[]));
    assert_eq!(split(b"./Files/").unwrap(), in_files(&[]));
    assert_eq!(split(b"files\\App/x").unwrap(), in_files(&["App", "x"]));
    assert_eq!(split(b"Hives/System_Delta").unwrap(), LayerPath::In(Top::Hives, names(&["System_Delta"])));
    assert_eq!(split(b"UtilityVM/Files/x").unwrap(), LayerPath::In(Top::UtilityVm, names(&["Files", "x"])));
    assert_eq!(split(b"Filesystem/x").unwrap(), LayerPath::Elsewhere);
    assert_eq!(split(b"/").unwrap(), LayerPath::Elsewhere);
    for bad in [
        &b"Files/../Hives/x"[..],
        b"Files/a/..\\b",
        b"Files/C:/x",
        b"Files/a:b/c",
        b"Files/a::b",
        b"Files/a:",
        b"Files/:b",
        b"Files/a?",
        b"Files/a\x01",
        b"Files/\xff",
    ] {
        assert!(split(bad).is_err(), "{}", bad.escape_ascii());
    }
    assert!(split(&[b"Files/", &[b'a'; 256][..]].concat()).is_err());
    assert!(split("Files/naïve\u{1F600}".as_bytes()).is_ok());
}

#[test]
fn names_are_compared_as_windows_does() {
    assert!(same_name(b"App", b"aPP"));
    assert!(same_name("ÄÖ".as_bytes(), "äö".as_bytes()));
    assert!(same_name("Ω".as_bytes(), "ω".as_bytes()));
    // Sharp s has no single upper case, and the Turkish dotless i is its own.
    assert!(!same_name("straße".as_bytes(), b"STRASSE"));
    assert!(!same_name(b"a", b"b"));
}

fn round_trip(entries: &[(Entry, &[u8])]) -> Vec<(Read, Vec<u8>)> {
    let mut tar = Writer::new(Vec::new());
    for (entry, content) in entries {
        tar.append(entry, *content).unwrap();
    }
    let bytes = tar.finish().unwrap();
    let mut reader = Reader::new(&bytes[..]);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
        out.push((read(&entry).unwrap().unwrap(), content));
    }
    out
}

#[test]
fn entries_round_trip() {
    let mtime = Time { seconds: 1_600_000_000, nanoseconds: 500 };
    let dir = Metadata::default().for_directory();
    let file = Metadata::default().for_file();
    let mut junction = Metadata { mount_point: true, ..Metadata::default() }.for_link(true);
    junction.created = Some(mtime);
    let content = Entry { size: 3, ..write(Top::Files, b"app/a.txt", Kind::File, mtime, &file) };
    let mut to = write(Top::Files, b"link", Kind::Symlink, mtime, &junction);
    to.link = b"C:\\Users".to_vec();
    let all = round_trip(&[
        (write(Top::Files, b"", Kind::Directory, mtime, &dir), b""),
        (write(Top::Files, b"app", Kind::Directory, mtime, &dir), b""),
        (content, b"abc"),
        (stream(Top::Files, b"app/a.txt", b"Zone.Identifier", 2, mtime), b"zz"),
        (link(Top::Files, b"app/b.txt", b"app/a.txt", mtime), b""),
        (to, b""),
        (whiteout(Top::Files, b"app/gone"), b""),
        (whiteout(Top::Files, b"gone"), b""),
    ]);
    let names = |list: &[&str]| list.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(all[0].0.path, names(&[]));
    assert_eq!(all[1].0.metadata, dir);
    assert_eq!((&all[2].0.kind, &all[2].1[..]), (&ReadKind::File { size: 3 }, &b"abc"[..]));
    assert_eq!(all[2].0.mtime, mtime);
    assert_eq!(all[3].0.kind, ReadKind::Stream { name: b"Zone.Identifier".to_vec(), size: 2 });
    assert_eq!(all[3].0.path, names(&["app", "a.txt"]));
    assert_eq!(all[4].0.kind, ReadKind::HardLink { target: names(&["app", "a.txt"]) });
    assert_eq!(all[5].0.kind, ReadKind::Link { target: b"C:\\Users".to_vec() });
    assert!(all[5].0.metadata.mount_point);
    assert_eq!((&all[6].0.kind, &all[6].0.path), (&ReadKind::Whiteout, &names(&["app", "gone"])));
    assert_eq!(all[7].0.path, names(&["gone"]));
}

#[test]
fn what_windows_has_not_is_refused() {
    let plain = write(Top::Files, b"x", Kind::Fifo, Time::default(), &Metadata::default());
    assert!(read(&plain).is_err());
    let hard = Entry { link: b"Hives/System_Delta".to_vec(), kind: Kind::HardLink, ..plain.clone() };
    assert!(read(&hard).is_err());
    let hidden = Entry { path: b"Files/.wh.".to_vec(), kind: Kind::File, ..plain.clone() };
    assert!(read(&hidden).is_err());
    let part = Entry { path: b"Files".to_vec(), kind: Kind::File, ..plain.clone() };
    assert!(read(&part).is_err());
    let beside = Entry { path: b"tombstones.txt".to_vec(), kind: Kind::File, ..plain };
    assert_eq!(read(&beside).unwrap(), None);
}
