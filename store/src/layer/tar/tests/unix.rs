//! With GNU tar as the other side.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;

#[test]
fn sparse_files_of_gnu_tar_are_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
    // More parts than fit into one header, with a hole at either end.
    for i in 1..40u64 {
        sparse.write_all_at(&[i as u8; 100], i << 16).unwrap();
    }
    sparse.set_len(41 << 16).unwrap();
    drop(sparse);
    std::fs::write(dir.path().join("z"), "next").unwrap();
    let expected = std::fs::read(dir.path().join("sparse")).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let made = Command::new("tar")
            .current_dir(&dir)
            .args(["--sparse", "-c"])
            .args(options)
            .args(["sparse", "z"])
            .output()
            .unwrap();
        assert!(made.status.success());
        assert!(made.stdout.len() < 1 << 20, "it is sparse in the archive");
        let entries = read(&made.stdout).unwrap();
        assert_eq!(entries[0].0.path, b"sparse", "{options:?}");
        assert_eq!(entries[0].0.size, 41 << 16, "{options:?}");
        assert!(entries[0].1 == expected, "{options:?}");
        assert_eq!(entries[1].1, b"next", "{options:?}");
        let mut reader = Reader::new(&made.stdout[..]);
        reader.next_entry().unwrap();
        let mut whole = Vec::new();
        reader.read_to_end(&mut whole).unwrap();
        assert!(whole == expected, "by `Read` as well: {options:?}");
    }
}

#[test]
fn gnu_tar_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let long = vec![b'n'; 200];
    let mut entry = file(&[&b"d/"[..], &long].concat(), 5);
    entry.uid = 3_000_000_000;
    entry.mtime = Time { seconds: 86_400, nanoseconds: 250_000_000 };
    let mut latin = file(b"d/caf\xe9", 0);
    latin.kind = Kind::Symlink;
    latin.link = b"\xff".to_vec();
    let archive = dir.path().join("a.tar");
    std::fs::write(&archive, write(&[(entry, b"12345".to_vec()), (latin, Vec::new())])).unwrap();
    let listed = Command::new("tar")
        .args(["--numeric-owner", "--full-time", "--quoting-style=escape", "--utc", "-tvf"])
        .arg(&archive)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("3000000000/0") && lines[0].contains("1970-01-02 00:00:00.25"), "{text}");
    assert!(lines[0].ends_with(std::str::from_utf8(&long).unwrap()), "{text}");
    assert!(lines[1].ends_with(r"d/caf\351 -> \377"), "{text}");
}
