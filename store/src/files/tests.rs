use std::time::{Duration, SystemTime};

use super::*;

fn facts() -> (tempfile::TempDir, Facts) {
    let dir = tempfile::tempdir().unwrap();
    let facts = Facts::open(&dir.path().join("facts")).unwrap();
    (dir, facts)
}

/// A file that was last touched `age` seconds before now.
fn stat(inode: u64, age: u64) -> FileStat {
    let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - Duration::from_secs(age);
    let then = i64::try_from(then.as_nanos()).unwrap();
    FileStat { device: u64::MAX, inode, size: 3, mtime: then, ctime: then }
}

#[test]
fn a_digest_is_believed_while_nothing_in_the_stat_changed() {
    let (_dir, facts) = facts();
    let files = Files { facts: &facts };
    let file = stat(7, 100);
    let digest = FileDigest::of(b"abc");
    assert_eq!(files.put(&[(file, digest)], SystemTime::now()).unwrap(), 1);
    assert_eq!(files.get(&[file, stat(8, 100)]).unwrap(), [Some(digest), None]);
    for other in [
        FileStat { device: 1, ..file },
        FileStat { size: 4, ..file },
        FileStat { mtime: file.mtime + 1, ..file },
        FileStat { ctime: file.ctime + 1, ..file },
    ] {
        assert_eq!(files.get(&[other]).unwrap(), [None], "{other:?}");
    }
    let newer = FileStat { ctime: file.ctime + 1, ..file };
    files.put(&[(newer, FileDigest::of(b"abd"))], SystemTime::now()).unwrap();
    assert_eq!(files.get(&[newer, file]).unwrap(), [Some(FileDigest::of(b"abd")), None]);
}

#[test]
fn what_was_touched_just_before_it_was_read_is_not_remembered() {
    let (_dir, facts) = facts();
    let files = Files { facts: &facts };
    let now = SystemTime::now();
    let old_mtime = FileStat { ctime: stat(1, 0).ctime, ..stat(1, 1000) };
    let future = FileStat { mtime: i64::MAX, ..stat(2, 1000) };
    for file in [stat(3, 0), stat(4, 1), old_mtime, future] {
        assert_eq!(files.put(&[(file, FileDigest::of(b""))], now).unwrap(), 0, "{file:?}");
        assert_eq!(files.get(&[file]).unwrap(), [None]);
    }
    assert_eq!(files.put(&[(stat(5, 3), FileDigest::of(b""))], now).unwrap(), 1);
}

#[test]
fn a_scan_finds_what_is_known_and_remembers_what_it_learned() {
    for mode in ["wal", "delete"] {
        let (_dir, facts) = facts();
        facts.read("set", |c| c.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))).unwrap();
        let files = Files { facts: &facts };
        let all: Vec<_> = (0..5000).map(|n: u64| (stat(n, 100), FileDigest::of(&n.to_le_bytes()))).collect();
        files.put(&all[..2500], SystemTime::now()).unwrap();
        let scan = files.scan();
        let found = |known: usize| {
            // Threads side by side, as a context is read.
            std::thread::scope(|scope| {
                for part in 0..2 {
                    let (scan, all) = (&scan, &all);
                    scope.spawn(move || {
                        for (n, (file, digest)) in all.iter().enumerate().filter(|(n, _)| n % 2 == part) {
                            let found = scan.get(file);
                            assert_eq!(found, (n < known).then_some(*digest), "{n} in mode {mode}");
                            if found.is_none() {
                                scan.put(file, *digest);
                            }
                        }
                    });
                }
            });
        };
        found(2500);
        // Others write meanwhile.
        files.put(&[(stat(9000, 100), FileDigest::of(b""))], SystemTime::now()).unwrap();
        scan.flush();
        found(5000);
        let young = stat(9001, 0);
        scan.put(&young, FileDigest::of(b"too young"));
        drop(scan);
        assert_eq!(files.get(&[young]).unwrap(), [None]);
        let stats: Vec<_> = all.iter().map(|(file, _)| *file).collect();
        assert!(files.get(&stats).unwrap().iter().all(Option::is_some));
    }
}

#[cfg(windows)]
#[test]
fn a_change_of_the_same_size_with_the_old_time_is_seen() {
    use crate::nt;
    let temp = tempfile::tempdir().unwrap();
    let dir = nt::Dir::open(temp.path()).unwrap();
    let path = temp.path().join("f");
    std::fs::write(&path, "abc").unwrap();
    let before = dir.stat("f".as_ref()).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    std::fs::write(&path, "abd").unwrap();
    let times = nt::Times { written: before.times.written, ..nt::Times::default() };
    dir.set_basic("f".as_ref(), times, 0).unwrap();
    let after = dir.stat("f".as_ref()).unwrap().unwrap();
    assert_eq!(before.times.written, after.times.written);
    assert_ne!(FileStat::from(&before), FileStat::from(&after));
}

#[cfg(windows)]
#[test]
fn numbers_of_128_bits_are_told_apart() {
    use crate::nt;
    let temp = tempfile::tempdir().unwrap();
    let stat = nt::Dir::open(temp.path()).unwrap().stat_self().unwrap();
    let inode = |id: u128| FileStat::from(&nt::Stat { id, ..stat }).inode;
    assert_eq!(inode(5), 5);
    assert_ne!(inode(1 << 64 | 5), inode(2 << 64 | 5));
    assert_ne!(inode(1 << 64 | 5), 5);
}

#[cfg(unix)]
#[test]
fn a_change_of_the_same_size_with_the_old_mtime_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, "abc").unwrap();
    let before = std::fs::metadata(&path).unwrap();
    // Later than the tick of the clock that the first one was written in.
    std::thread::sleep(Duration::from_millis(30));
    std::fs::write(&path, "abd").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_ne!(FileStat::from(&before), FileStat::from(&after));
}

#[test]
fn many_files_at_once() {
    let (_dir, facts) = facts();
    let files = Files { facts: &facts };
    let all: Vec<_> = (0..20_000).map(|n: u64| (stat(n, 100), FileDigest::of(&n.to_le_bytes()))).collect();
    assert_eq!(files.put(&all, SystemTime::now()).unwrap(), all.len());
    let stats: Vec<_> = all.iter().map(|(s, _)| *s).collect();
    let digests: Vec<_> = all.iter().map(|(_, d)| Some(*d)).collect();
    assert_eq!(files.get(&stats).unwrap(), digests);
}
