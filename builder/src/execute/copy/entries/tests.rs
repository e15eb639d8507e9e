use super::*;

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o4755,
        uid: u32::MAX,
        gid: 0,
        xattrs: Vec::new(),
        implied: false,
        source_mode: 0o600,
        mtime: Some(Time { seconds: 1_700_000_000, nanoseconds: 999_999_999 }),
        stat: None,
    }
}

/// A name that is no text.
#[cfg(unix)]
fn strange() -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(b"a\xff\xed\xa0\x80b".to_vec())
}

#[cfg(windows)]
fn strange() -> std::ffi::OsString {
    std::os::windows::ffi::OsStringExt::from_wide(&[0x61, 0xdc00, 0xd800, 0x20ac, 0xd83d, 0xde00, 0xd8ff])
}

/// One of every kind, with numbers at both ends.
fn all() -> Vec<Entry> {
    let digest = FileDigest::of(b"content");
    let stat = |mtime_ns, ctime_ns| FileStat { dev: 1, ino: u64::MAX, size: 7, mtime_ns, ctime_ns };
    let xattrs = vec![("user.a".into(), b"\0\xff".to_vec()), ("system.posix_acl_access".into(), Vec::new())];
    vec![
        entry("d", EntryKind::Directory),
        Entry { implied: true, mtime: None, xattrs, ..entry("d/e", EntryKind::Directory) },
        Entry {
            stat: Some(stat(i128::MAX / 4, i128::MIN / 4)),
            ..entry("d/e/f", EntryKind::File { size: u64::MAX, digest })
        },
        Entry {
            mtime: Some(Time { seconds: i64::MIN, nanoseconds: 0 }),
            stat: Some(stat(-1, 0)),
            ..entry("d/e/fg", EntryKind::HardLink { to: 2, size: 0, digest })
        },
        entry("d/l", EntryKind::Symlink { target: "../x".into() }),
        entry("e", EntryKind::Fifo),
        entry("éa", EntryKind::CharDevice { rdev: u64::MAX }),
        entry("éb", EntryKind::BlockDevice { rdev: 0 }),
        Entry { path: strange().into(), ..entry("", EntryKind::Symlink { target: strange() }) },
    ]
}

/// A list of files that are too many for memory.
fn many() -> Vec<Entry> {
    let file = |n: usize| {
        let digest = FileDigest::of(&n.to_le_bytes());
        entry(&format!("dir/{n:07}"), EntryKind::File { size: n as u64, digest })
    };
    (0..MEMORY / 40).map(file).collect()
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{entry:?}")).collect()
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(dir.path()).unwrap();
    let lists = [all(), Vec::new(), many(), all()];
    for work in [None, Some(&work)] {
        let mut writer = EntriesWriter::new(work);
        let kept: Vec<List> = lists
            .iter()
            .map(|list| {
                list.iter().for_each(|entry| writer.push_entry(entry).unwrap());
                writer.take_list()
            })
            .collect();
        let entries = writer.finish().unwrap();
        assert_eq!(matches!(entries, Entries::File(_)), work.is_some());
        for (list, kept) in lists.iter().zip(&kept) {
            assert_eq!(kept.count, list.len());
            let found: Vec<Entry> = entries.read(kept).map(Result::unwrap).collect();
            assert!(shown(&found) == shown(list));
        }
        assert_eq!((&kept[0].targets, kept[0].has_acl), (&vec![2], true));
        assert_eq!((&kept[2].targets, kept[2].has_acl), (&Vec::new(), false));
        // Two that are read at a time have nothing to do with each other.
        let (one, other) = (entries.read(&kept[0]), entries.read(&kept[3]));
        assert!(one.zip(other).all(|(one, other)| format!("{one:?}") == format!("{other:?}")));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
}

#[test]
fn damage_is_told() {
    let mut writer = EntriesWriter::new(None);
    all().iter().for_each(|entry| writer.push_entry(entry).unwrap());
    let list = writer.take_list();
    let Entries::Memory(bytes) = writer.finish().unwrap() else { panic!("it is small") };
    let count = all().len();
    for cut in 0..bytes.len() {
        let entries = Entries::Memory(bytes[..cut].to_vec());
        assert!(entries.read(&list).take(count).any(|entry| entry.is_err()), "{cut}");
        // Whatever it says, it ends.
        let mut changed = bytes.clone();
        changed[cut] ^= 0xff;
        let entries = Entries::Memory(changed);
        entries.read(&list).take_while(Result::is_ok).for_each(drop);
    }
}
