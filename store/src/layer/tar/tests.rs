use std::io::Read;

use proptest::prelude::*;

use super::*;

fn file(path: &[u8], size: u64) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        link: Vec::new(),
        size,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: Default::default(),
    }
}

fn write(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(archive);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        let mut buf = [0; 1000];
        loop {
            match reader.chunk(&mut buf)? {
                Chunk::Data(n) => content.extend_from_slice(&buf[..n]),
                Chunk::Hole(n) => content.resize(content.len() + usize::try_from(n).unwrap(), 0),
                Chunk::End => break,
            }
        }
        out.push((entry, content));
    }
    Ok(out)
}

fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = || {
        prop_oneof![
            "[a-z]{1,12}(/[a-z]{1,8}){0,3}".prop_map(String::into_bytes),
            "[a-zäß]{60,300}".prop_map(String::into_bytes),
            prop::collection::vec(1u8..=255, 1..150),
        ]
    };
    let xattrs = prop::collection::btree_map(
        prop_oneof![
            "(user|security)\\.[a-z]{1,8}".prop_map(String::into_bytes),
            "user\\.[a-z=%]{1,8}".prop_map(String::into_bytes)
        ],
        prop::collection::vec(any::<u8>(), 0..200),
        0..4,
    );
    let number = || prop_oneof![0u64..70_000, Just(0o7_777_777), Just(0o10_000_000), Just(4_294_967_294)];
    let seconds =
        prop_oneof![-5_000_000_000i64..5_000_000_000, Just(0), Just(0o77_777_777_777), Just(1 << 40)];
    let kind = prop_oneof![
        4 => Just(Kind::File), 1 => Just(Kind::HardLink), 1 => Just(Kind::Symlink), 1 => Just(Kind::CharDevice),
        1 => Just(Kind::BlockDevice), 1 => Just(Kind::Directory), 1 => Just(Kind::Fifo)
    ];
    let content = prop::collection::vec(any::<u8>(), 0..1500);
    (name(), name(), kind, 0u32..0o10000, number(), number(), seconds, 0u32..1_000_000_000, xattrs, content)
        .prop_map(|(mut path, link, kind, mode, uid, gid, seconds, nanoseconds, xattrs, mut content)| {
            while path.ends_with(b"/") {
                path.pop();
            }
            path.push(if kind == Kind::Directory { b'/' } else { b'.' });
            if kind != Kind::File {
                content.clear();
            }
            let link = if matches!(kind, Kind::HardLink | Kind::Symlink) { link } else { Vec::new() };
            let device =
                if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { (259, 1_048_575) } else { (0, 0) };
            let mtime = Time { seconds, nanoseconds };
            let size = content.len() as u64;
            (
                Entry {
                    path,
                    kind,
                    mode,
                    uid,
                    gid,
                    mtime,
                    link,
                    size,
                    device,
                    xattrs,
                    windows: Default::default(),
                },
                content,
            )
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(any_entry(), 0..6)) {
        let archive = write(&entries);
        prop_assert_eq!(archive.len() % 512, 0);
        prop_assert_eq!(read(&archive).unwrap(), entries);
    }

    #[test]
    fn damage_is_an_error_or_other_content_but_never_a_panic(
        entries in prop::collection::vec(any_entry(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut archive = write(&entries);
        for (at, byte) in damage {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        let _ = read(&archive);
        archive.truncate(cut.index(archive.len()));
        let _ = read(&archive);
    }

    #[test]
    fn noise_with_right_checksums_never_panics(mut block in prop::collection::vec(any::<u8>(), 512),
        flag in prop::sample::select(&b"0123456SxgLKV"[..]), tail in prop::collection::vec(any::<u8>(), 0..2048)) {
        block[156] = flag;
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        header.set_cksum();
        let _ = read_bounded(&[&header.as_bytes()[..], &tail].concat());
    }
}

/// Reads without keeping what a hostile map makes of it.
fn read_bounded(archive: &[u8]) -> Result<(), TarError> {
    let mut reader = Reader::new(archive);
    while reader.next_entry()?.is_some() {
        let mut buf = [0; 100];
        while reader.chunk(&mut buf)? != Chunk::End {}
    }
    Ok(())
}

#[test]
fn the_bytes_of_an_archive_are_fixed() {
    let mut entry = file("dir/ä".as_bytes(), 3);
    entry.mtime = Time { seconds: 1, nanoseconds: 500_000_000 };
    entry.xattrs.insert(b"user.x".to_vec(), b"\n\0".to_vec());
    let archive = write(&[(entry, b"abc".to_vec())]);
    assert_eq!(&archive[..15], b"PaxHeaders.0/\0\0");
    assert_eq!(
        &archive[512..569],
        "26 SCHILY.xattr.user.x=\n\0\n13 mtime=1.5\n15 path=dir/ä\n\0\0\0".as_bytes()
    );
    // A change of these bytes changes the diff ID of every layer: it must be meant.
    assert_eq!(
        crate::Digest::of(&archive).to_string(),
        "sha256:b1b912d0bcb12e6a50f826889579dfd7d724bc35cf73ff012c7530faed2767b2"
    );
}

#[test]
fn what_is_missing_at_the_end() {
    let archive = write(&[(file(b"a", 600), vec![1; 600])]);
    assert_eq!(archive.len(), 512 + 1024 + 1024);
    for end in [512 + 1024, 512 + 600, 512 + 1024 + 512] {
        assert_eq!(read(&archive[..end]).unwrap().len(), 1, "{end}: only zeros are missing");
    }
    for end in [511, 512, 513, 512 + 599] {
        let error = read(&archive[..end]).unwrap_err();
        assert!(matches!(error, TarError::Truncated { .. }), "{end}: {error}");
    }
    assert_eq!(read(b"").unwrap(), []);
}

#[test]
fn sizes_that_lie() {
    for size in [8u64 << 60, (8u64 << 60) - 1, u64::MAX] {
        let mut header = tar::Header::new_gnu();
        header.set_path("huge").unwrap();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        for flag in [b'0', b'x', b'L', b'g'] {
            header.as_old_mut().linkflag = [flag];
            header.set_cksum();
            let error = read(&[&header.as_bytes()[..], b"few bytes"].concat()).unwrap_err();
            assert!(!error.to_string().is_empty(), "{error}");
        }
    }
    let mut large = Writer::new(Vec::new());
    large.entry(&file(b"large", 9 << 30)).unwrap();
    assert!(large.content(b"x").is_ok());
    assert!(large.finish().is_err(), "content is missing");
}

#[test]
fn where_contents_stand() {
    let mut entries = vec![(file(b"empty", 0), Vec::new())];
    for (i, size) in [1usize, 511, 512, 513, 3000].into_iter().enumerate() {
        entries.push((
            file(format!("{}{i}", "long".repeat(i * 30)).as_bytes(), size as u64),
            vec![i as u8 + 1; size],
        ));
    }
    let mut archive = write(&entries);
    archive.extend(b"more");
    let mut reader = Reader::new(&archive[..]);
    // Read or not read, all or some.
    for (i, (_, content)) in entries.iter().enumerate() {
        let entry = reader.next_entry().unwrap().unwrap();
        let at = usize::try_from(reader.content_at().unwrap()).unwrap();
        assert_eq!(&archive[at..at + content.len()], content);
        assert_eq!(entry.size, content.len() as u64);
        reader.by_ref().take(i as u64 * 200).read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(reader.content_at(), Some(at as u64), "wherever in it we are");
    }
    assert_eq!(reader.next_entry().unwrap(), None);
    reader.drain().unwrap();
    assert_eq!(reader.taken(), archive.len() as u64);
}

#[test]
fn contents_with_holes_stand_nowhere() {
    let sparse = |map: &str, size: u64, data: &[u8]| {
        let mut block = Vec::new();
        for (key, value) in [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.realsize", &size.to_string()),
        ] {
            pax::push(&mut block, key.as_bytes(), value.as_bytes());
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(block.len() as u64);
        header.set_cksum();
        let mut archive = header.as_bytes().to_vec();
        archive.extend(block);
        archive.resize(1024, 0);
        let mut header = tar::Header::new_ustar();
        header.set_path("f").unwrap();
        header.set_size(512 + data.len() as u64);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(map.as_bytes());
        archive.resize(2048, 0);
        archive.extend_from_slice(data);
        archive.resize(2048 + 512 + 1024, 0);
        let mut reader = Reader::new(&archive[..]);
        assert_eq!(reader.next_entry().unwrap().unwrap().size, size);
        reader.content_at()
    };
    assert_eq!(sparse("1\n0\n5\n", 5, b"whole"), Some(2048), "behind its map");
    assert_eq!(sparse("1\n0\n5\n", 6, b"whole"), None, "a hole at the end");
    assert_eq!(sparse("1\n1\n5\n", 6, b"whole"), None, "a hole at the beginning");
    assert_eq!(sparse("0\n", 9, b""), None, "nothing but a hole");
    assert_eq!(sparse("0\n", 0, b""), Some(2048));
}

#[test]
fn old_headers_and_long_names() {
    let long = "l/".repeat(150) + "name";
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    header.set_cksum();
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder.append_link(&mut header, "short", &long).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{}/file", "p".repeat(120))).unwrap();
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let mut header = tar::Header::new_old();
    header.set_path("v7/").unwrap();
    header.as_old_mut().linkflag = [0];
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let entries = read(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(entries[0].0.path, long.as_bytes());
    assert_eq!((entries[1].0.kind, &entries[1].0.link[..]), (Kind::HardLink, long.as_bytes()));
    assert_eq!(entries[2].0.path, format!("{}/file", "p".repeat(120)).as_bytes());
    assert_eq!(entries[3].0.kind, Kind::Directory);
}

#[test]
fn global_headers_are_passed_over() {
    let mut archive = Vec::new();
    let body = b"52 comment=0123456789012345678901234567890123456789\n";
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    header.set_size(body.len() as u64);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(body);
    archive.resize(1024, 0);
    archive.extend(write(&[(file(b"a", 0), Vec::new())]));
    assert_eq!(read(&archive).unwrap()[0].0.path, b"a");
}

#[test]
fn files_over_8_gib() {
    /// Keeps the beginning and the length.
    struct Beginning(Vec<u8>, u64);
    impl std::io::Write for Beginning {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let keep = bytes.len().min(1536 - self.0.len());
            self.0.extend_from_slice(&bytes[..keep]);
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let size = (8 << 30) + 1;
    let mut writer = Writer::new(Beginning(Vec::new(), 0));
    writer.append(&file(b"large", size), std::io::repeat(0).take(size)).unwrap();
    let Beginning(headers, length) = writer.finish().unwrap();
    assert_eq!(length, 1536 + size + 511 + 1024);
    let content = std::io::repeat(0).take(length - 1536);
    let mut reader = Reader::new((&headers[..]).chain(content));
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((&entry.path[..], entry.size), (&b"large"[..], size));
    let mut buf = vec![1; 1 << 20];
    let mut seen = 0;
    while let Chunk::Data(n) = reader.chunk(&mut buf).unwrap() {
        seen += n as u64;
    }
    assert_eq!(seen, size);
    assert_eq!(reader.next_entry().unwrap(), None);
}

#[cfg(unix)]
mod unix;
