//! Archives, as ADD unpacks them.

use std::collections::BTreeMap as Map;
use std::io::Write;

use orlop_store::layer::tar::{Entry as TarEntry, Kind, Time, Writer};

use super::*;
use crate::context::tar::ArchiveError;

fn entry(path: &str, kind: Kind) -> TarEntry {
    TarEntry {
        path: path.into(),
        kind,
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 1_000_000_000, nanoseconds: 0 },
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: Map::new(),
        windows: Default::default(),
    }
}

fn file(path: &str, content: &str) -> (TarEntry, Vec<u8>) {
    (TarEntry { size: content.len() as u64, ..entry(path, Kind::File) }, content.into())
}

fn link(path: &str, kind: Kind, target: &str) -> (TarEntry, Vec<u8>) {
    (TarEntry { link: target.into(), ..entry(path, kind) }, Vec::new())
}

fn archive(entries: &[(TarEntry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn add(words: &[&str]) -> CopyRequest {
    CopyRequest { add: Some(AddOptions::default()), ..copy(words) }
}

impl Bench {
    fn with_file(self, name: &str, bytes: &[u8]) -> Self {
        fs::write(self.context().join(name), bytes).unwrap();
        self
    }

    fn unpacked(&self, entries: &[(TarEntry, Vec<u8>)]) -> Result<Map<String, String>, CopyError> {
        fs::write(self.context().join("a.tar"), archive(entries)).unwrap();
        self.copy(&add(&["a.tar", "/x/"]))?;
        Ok(self.tree())
    }
}

/// All compressions of some bytes, by the programs' own libraries.
fn compressed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(bytes).unwrap();
    vec![
        ("a.tar", bytes.to_vec()),
        ("a.tgz", gzip.finish().unwrap()),
        ("any-name", bzip2.finish().unwrap()),
        ("a.tar.xz", xz.finish().unwrap()),
        ("a.tar.zst", zstd::encode_all(bytes, 1).unwrap()),
    ]
}

#[test]
fn archives_of_every_compression_are_unpacked_by_content() {
    let bytes = archive(&[file("d/f", "content"), link("l", Kind::Symlink, "d/f")]);
    for (name, bytes) in compressed(&bytes) {
        for dest in ["/x", "/x/"] {
            let bench = Bench::new().with_file(name, &bytes);
            let expected = tree([("x", "/"), ("x/d", "/"), ("x/d/f", "content"), ("x/l", "-> d/f")]);
            assert_eq!(bench.copied(&add(&[name, dest])), expected, "{name} {dest}");
        }
        let bench = Bench::new().with_file(name, &bytes);
        bench.copy(&copy(&[name, "/x/"])).unwrap();
        assert_eq!(fs::read(bench.image().join("x").join(name)).unwrap(), bytes, "COPY unpacks nothing");
        let no = CopyRequest { add: Some(AddOptions { unpack: Some(false) }), ..copy(&[name, "/y/"]) };
        bench.copy(&no).unwrap();
        assert_eq!(fs::read(bench.image().join("y").join(name)).unwrap(), bytes, "--unpack=false");
    }
}

#[test]
fn what_only_looks_like_an_archive_is_copied() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"no archive").unwrap();
    let gzip = gzip.finish().unwrap();
    for (name, bytes) in [
        ("empty.tar", &b""[..]),
        ("zeros.tar", &[0; 1024]),
        ("text.tar.gz", b"text, whatever it is called"),
        ("f.gz", &gzip),
        ("cut.gz", &gzip[..12]),
        ("magic", &[0x1f, 0x8b, 8]),
    ] {
        let bench = Bench::new().with_file(name, bytes);
        bench.copy(&add(&[name, "/x/"])).unwrap();
        assert_eq!(fs::read(bench.image().join("x").join(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn remote_archives_only_on_demand() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("download"), archive(&[file("f", "content")])).unwrap();
    let request = |unpack, dest: &str| CopyRequest {
        sources: vec![Source::Remote(RemoteFile {
            name: "a.tar".into(),
            path: bench.dir.path().join("download"),
            mtime: None,
        })],
        add: Some(AddOptions { unpack }),
        ..copy(&[dest])
    };
    bench.copy(&request(None, "/x/")).unwrap();
    bench.copy(&request(Some(true), "/y/")).unwrap();
    assert!(bench.image().join("x/a.tar").is_file());
    assert_eq!(fs::read_to_string(bench.image().join("y/f")).unwrap(), "content");
}

#[test]
fn privileged_archives_keep_modes_owners_times_and_kinds() {
    let bench = Bench::new();
    let mut owned = file("d/set", "x");
    (owned.0.mode, owned.0.uid, owned.0.gid) = (0o4755, 100_000, 7);
    owned.0.xattrs.insert(b"user.a".to_vec(), b"\0\n".to_vec());
    // Another name says again what the first said, as tar writes it.
    let mut hard = link("d/hard", Kind::HardLink, "d/set");
    (hard.0.mode, hard.0.uid, hard.0.gid) = (0o4755, 100_000, 7);
    let mut dir = entry("d", Kind::Directory);
    (dir.mode, dir.uid) = (0o1777, 5);
    let mut null = entry("null", Kind::CharDevice);
    null.device = (1, 3);
    bench
        .unpacked(&[
            (dir, vec![]),
            owned,
            hard,
            (entry("pipe", Kind::Fifo), vec![]),
            (null, vec![]),
            file(".wh.gone", "a plain file"),
            file("implied/f", ""),
        ])
        .unwrap();
    let meta = |path: &str| fs::symlink_metadata(bench.image().join("x").join(path)).unwrap();
    assert_eq!((bench.mode("x/d"), bench.owner("x/d")), (0o1777, (5, 0)));
    assert_eq!((bench.mode("x/d/set"), bench.owner("x/d/set")), (0o4755, (100_000, 7)));
    assert_eq!(meta("d/hard").ino(), meta("d/set").ino());
    assert_eq!(meta("null").rdev(), rustix::fs::makedev(1, 3));
    for path in ["d", "d/set", "pipe"] {
        assert_eq!(meta(path).mtime(), 1_000_000_000, "{path}");
    }
    let found = bench.tree();
    assert_eq!((found["x/.wh.gone"].as_str(), found["x/pipe"].as_str()), ("a plain file", "node"));
    assert_eq!((bench.mode("x/implied"), bench.owner("x/implied")), (0o755, (0, 0)));
    let mut value = [0; 8];
    let size = rustix::fs::getxattr(bench.image().join("x/d/set"), "user.a", &mut value[..]).unwrap();
    assert_eq!(&value[..size], b"\0\n");
    let request = CopyRequest { chown: Some("3:4".into()), ..add(&["a.tar", "/owned/"]) };
    bench.copy(&request).unwrap();
    assert_eq!((bench.owner("owned/d"), bench.owner("owned/d/set")), ((3, 4), (3, 4)));
}

#[test]
fn archives_go_over_what_is_there() {
    let bench = Bench::new().in_image(&[
        "x/keep",
        "x/d/old",
        "x/was-dir/f",
        "x/was-file",
        "x/lib -> usr/lib",
        "x/usr/lib/",
    ]);
    set_mode(bench.image().join("x/d"), 0o700);
    let found = bench
        .unpacked(&[
            (entry("d", Kind::Directory), vec![]),
            file("d/new", "new"),
            file("was-dir", "file"),
            (entry("was-file", Kind::Directory), vec![]),
            file("twice", "first"),
            file("twice", "second"),
            (entry("lib", Kind::Directory), vec![]),
            file("lib/so", "so"),
        ])
        .unwrap();
    for (path, content) in [
        ("x/keep", "x/keep"),
        ("x/d/old", "x/d/old"),
        ("x/d/new", "new"),
        ("x/was-dir", "file"),
        ("x/was-file", "/"),
        ("x/twice", "second"),
        ("x/lib", "-> usr/lib"),
        ("x/usr/lib/so", "so"),
    ] {
        assert_eq!(found[path], content, "{path}");
    }
    assert_eq!(bench.mode("x/d"), 0o755);
}

#[test]
fn nothing_leaves_the_destination() {
    let secret = |bench: &Bench| {
        fs::write(bench.image().join("outside"), "outside").unwrap();
        fs::write(bench.dir.path().join("host"), "host").unwrap();
    };
    let untouched = |bench: &Bench, what: &str| {
        assert_eq!(fs::read_to_string(bench.image().join("outside")).unwrap(), "outside", "{what}");
        assert_eq!(fs::read_to_string(bench.dir.path().join("host")).unwrap(), "host", "{what}");
        let names: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{what}: {names:?}");
    };
    for entries in [
        vec![file("../outside", "bad")],
        vec![file("d/../../outside", "bad")],
        vec![file("../../host", "bad")],
        vec![link("hard", Kind::HardLink, "../outside"), file("hard", "bad")],
    ] {
        let bench = Bench::new();
        secret(&bench);
        let error = bench.unpacked(&entries).unwrap_err();
        assert!(
            matches!(&error.kind, CopyErrorKind::Archive { source: ArchiveError::Outside { .. }, .. }),
            "{error:?}"
        );
        untouched(&bench, "..");
    }
    for entries in [
        vec![file("/outside", "inside")],
        vec![link("l", Kind::Symlink, ".."), file("l/outside", "inside")],
        vec![link("l", Kind::Symlink, "/"), file("l/outside", "inside")],
        vec![link("l", Kind::Symlink, "../../host"), file("l", "inside")],
        vec![link("l", Kind::Symlink, "/outside"), (entry("l", Kind::Directory), vec![])],
        vec![link("a", Kind::Symlink, "b"), link("b", Kind::Symlink, "../.."), file("a/host", "inside")],
        vec![
            (entry("d", Kind::Directory), vec![]),
            file("d/f", ""),
            link("d", Kind::Symlink, ".."),
            file("d/outside", "inside"),
        ],
        vec![(entry("..", Kind::Directory), vec![])],
    ] {
        let bench = Bench::new();
        secret(&bench);
        let _ = bench.unpacked(&entries);
        untouched(
            &bench,
            &format!("{:?}", entries.iter().map(|e| String::from_utf8_lossy(&e.0.path)).collect::<Vec<_>>()),
        );
    }
    let bench = Bench::new();
    let error = bench.unpacked(&[link("h", Kind::HardLink, "nothing")]).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("`nothing`, which is not there"));
}

#[test]
fn damaged_archives_say_so() {
    let bench = Bench::new();
    let bytes = archive(&[file("a", "a"), file("b", &"b".repeat(5000))]);
    fs::write(bench.context().join("a.tar"), &bytes[..3000]).unwrap();
    let error = bench.copy(&add(&["a.tar", "/x/"])).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.word), ("cannot unpack `a.tar`", Some(0)));
}

#[test]
fn a_context_may_be_an_archive() {
    let bench = Bench::new();
    let mut owned = file("d/f", "content");
    (owned.0.uid, owned.0.mode) = (4_000_000_000, 0o750);
    for (name, bytes) in compressed(&archive(&[(entry("./", Kind::Directory), vec![]), owned])) {
        let dir = tempfile::tempdir().unwrap();
        let done = crate::context::archive::unpack_context(&bytes[..], dir.path()).unwrap();
        assert_eq!((done.files, done.bytes), (1, 7), "{name}");
        let tree = SourceTree::context(dir.path(), Ignore::nothing()).unwrap();
        let selection = select(&copy(&["d/f", "/"]), &tree, &NoCache, None).unwrap();
        assert!(selection.key_parts()[1].1.ends_with(" 0750 0:0"));
    }
    assert!(crate::context::archive::unpack_context(&b"no archive"[..], bench.dir.path()).is_err());
}
