//! What a tree becomes as a directory and as a tar.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use orlop_runner::CancelToken;
use orlop_store::layer::tar::{Kind, Reader};

use super::super::{directory, tree};
use crate::event::{Event, Observer, Progress};

struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}

fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// A tree with every kind of file that any user can make.
fn sample() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/file"), "content").unwrap();
    fs::set_permissions(at("dir/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(at("dir/file"), at("dir/link")).unwrap();
    symlink("../outside", at("dir/symlink")).unwrap();
    let fifo = at("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("closed")).unwrap();
    fs::write(at("closed/in"), "x").unwrap();
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    set_time(&at("dir/file"), 1_000_000, 5);
    set_time(&at("dir"), 2_000_000, 7);
    root
}

fn copy(root: &Path, dest: &Path) {
    let progress = Progress::new(&Silent);
    let task = progress.start("x");
    directory::write(&CancelToken::new(), root, dest, false, &task).unwrap();
}

#[test]
fn a_directory_keeps_kinds_modes_times_and_links() {
    let root = sample();
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("new/dest");
    copy(root.path(), &dest);
    let file = fs::metadata(dest.join("dir/file")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime(), file.mtime_nsec()), (0o4751, 1_000_000, 5));
    assert_eq!(file.ino(), fs::metadata(dest.join("dir/link")).unwrap().ino());
    assert_eq!(fs::read_link(dest.join("dir/symlink")).unwrap(), Path::new("../outside"));
    let dir = fs::metadata(dest.join("dir")).unwrap();
    assert_eq!((dir.mtime(), dir.mtime_nsec()), (2_000_000, 7));
    assert_eq!(fs::metadata(dest.join("closed")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(fs::read(dest.join("closed/in")).unwrap(), b"x");
    assert!(!dest.join("socket").exists());
    assert!(dest.join("fifo").exists());
}

#[test]
fn what_is_in_the_way_is_replaced_and_links_are_not_followed() {
    let root = sample();
    let out = tempfile::tempdir().unwrap();
    let elsewhere = out.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let dest = out.path().join("dest");
    fs::create_dir(&dest).unwrap();
    symlink(&elsewhere, dest.join("dir")).unwrap();
    fs::create_dir_all(dest.join("fifo/full")).unwrap();
    fs::write(dest.join("other"), "stays").unwrap();
    copy(root.path(), &dest);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert_eq!(fs::read(dest.join("dir/file")).unwrap(), b"content");
    assert_eq!(fs::read(dest.join("other")).unwrap(), b"stays");
    // Once more over itself.
    copy(root.path(), &dest);
    assert_eq!(fs::read(dest.join("dir/link")).unwrap(), b"content");
}

#[test]
fn a_tar_has_every_file_once_in_the_order_of_names() {
    let root = sample();
    let file = tempfile::tempfile().unwrap();
    tree::write_tar(&CancelToken::new(), &[super::part(root.path())], &file).unwrap();
    use std::io::Seek;
    (&file).rewind().unwrap();
    let mut reader = Reader::new(&file);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push((String::from_utf8(entry.path.clone()).unwrap(), entry.kind));
        match entry.path.as_slice() {
            b"dir/file" => {
                assert_eq!((entry.mode, entry.size), (0o4751, 7));
                assert_eq!((entry.mtime.seconds, entry.mtime.nanoseconds), (1_000_000, 5));
            }
            b"dir/link" => assert_eq!(entry.link, b"dir/file"),
            b"dir/symlink" => assert_eq!(entry.link, b"../outside"),
            _ => {}
        }
    }
    let expected = [
        ("closed/", Kind::Directory),
        ("closed/in", Kind::File),
        ("dir/", Kind::Directory),
        ("dir/file", Kind::File),
        ("dir/link", Kind::HardLink),
        ("dir/symlink", Kind::Symlink),
        ("fifo", Kind::Fifo),
    ];
    let expected: Vec<_> = expected.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect();
    assert_eq!(entries, expected);
}

#[test]
fn an_interrupted_output_stops() {
    let root = sample();
    let cancel = CancelToken::new();
    cancel.cancel();
    let file = tempfile::tempfile().unwrap();
    let error = tree::write_tar(&cancel, &[super::part(root.path())], &file).unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::Interrupted);
}
