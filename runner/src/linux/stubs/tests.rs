//! Places are found inside the root only, and nothing of what was made stays.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

fn stubs(root: &Path) -> Stubs {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Stubs::new(rustix::fs::open(root, flags, Mode::empty()).expect("the test's own directory"))
}

/// Every path below `root` with its type, mode and times.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("it was just listed");
        lines.push(format!("{} {:o} {}.{:09}", path.display(), meta.mode(), meta.mtime(), meta.mtime_nsec()));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        }
    }
    lines.sort();
    lines
}

#[test]
fn what_was_made_leaves_no_trace() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(root.path().join("etc/deep")).expect("mkdir");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for dir in ["etc", ""] {
        let dir = fs::File::open(root.path().join(dir)).expect("open");
        dir.set_times(fs::FileTimes::new().set_modified(old).set_accessed(old)).expect("times");
    }
    let before = listing(root.path());
    let mut stubs = stubs(root.path());
    let place = stubs.place(Path::new("/etc/resolv.conf"), Kind::File).expect("made");
    assert_eq!(place.path, Path::new("/etc/resolv.conf"));
    stubs.place(Path::new("/a/b/../c/d"), Kind::Directory).expect("made");
    stubs.place(Path::new("/etc/deep"), Kind::Directory).expect("found");
    assert!(root.path().join("a/b").is_dir() && root.path().join("a/c/d").is_dir());
    assert_eq!(fs::metadata(root.path().join("etc")).expect("etc").modified().expect("mtime"), old);
    stubs.remove().expect("removable");
    assert_eq!(listing(root.path()), before);
}

#[test]
fn what_the_job_made_its_own_stays() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut stubs = stubs(root.path());
    stubs.place(Path::new("/a/b/c"), Kind::Directory).expect("made");
    stubs.place(Path::new("/x/y"), Kind::Directory).expect("made");
    fs::write(root.path().join("a/b/mine"), "").expect("write");
    fs::rename(root.path().join("x"), root.path().join("z")).expect("rename");
    let mtime = fs::metadata(root.path().join("a/b")).expect("b").modified().expect("mtime");
    stubs.remove().expect("removable");
    assert!(!root.path().join("a/b/c").exists());
    assert!(root.path().join("a/b/mine").exists());
    assert!(!root.path().join("z/y").exists(), "found in its renamed parent");
    assert_eq!(fs::metadata(root.path().join("a/b")).expect("b").modified().expect("mtime"), mtime);
}

#[test]
fn symlinks_do_not_lead_out() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("etc")).expect("mkdir");
    symlink(outside.path(), root.join("absolute")).expect("symlink");
    symlink("../../../../..", root.join("etc/up")).expect("symlink");
    symlink("loop", root.join("loop")).expect("symlink");
    symlink("../run/systemd/stub.conf", root.join("etc/resolv.conf")).expect("symlink");
    symlink("/etc", root.join("proc")).expect("symlink");
    let mut stubs = stubs(&root);
    let at = |stubs: &mut Stubs, path: &str, kind| stubs.place(Path::new(path), kind).map(|place| place.path);
    let inside = outside.path().join("x");
    let expected = Path::new("/").join(inside.strip_prefix("/").expect("absolute"));
    assert_eq!(at(&mut stubs, "/absolute/x", Kind::Directory), Ok(expected));
    assert_eq!(at(&mut stubs, "/etc/up/y", Kind::File), Ok("/y".into()));
    assert_eq!(at(&mut stubs, "/loop/y", Kind::File), Err(Errno::LOOP));
    assert_eq!(at(&mut stubs, "/etc/resolv.conf", Kind::File), Ok("/run/systemd/stub.conf".into()));
    assert_eq!(at(&mut stubs, "/etc/resolv.conf/x", Kind::File), Err(Errno::NOTDIR));
    assert_eq!(at(&mut stubs, "/etc", Kind::File), Err(Errno::ISDIR));
    assert_eq!(stubs.plain_place(Path::new("/proc"), Kind::Directory).map(|p| p.path), Err(Errno::LOOP));
    assert!(!inside.exists(), "made outside of the root");
    stubs.remove().expect("removable");
    assert!(!root.join("run").exists() && !root.join("y").exists());
}

#[test]
fn a_target_below_another_is_made_inside_what_covers_it() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let cache = tempfile::tempdir().expect("a temporary directory");
    let tree = rustix::fs::open(cache.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("open");
    let mut stubs = stubs(root.path());
    let place = stubs.place(Path::new("/cache"), Kind::Directory).expect("made");
    stubs.cover(place, Some(tree));
    let place = stubs.place(Path::new("/cache/a/secret"), Kind::File).expect("made");
    assert_eq!(place.path, Path::new("/cache/a/secret"));
    assert!(cache.path().join("a/secret").exists());
    let place = stubs.place(Path::new("/proc"), Kind::Directory).expect("made");
    stubs.cover(place, None);
    let inside = stubs.place(Path::new("/proc/sys"), Kind::File).map(|place| place.path);
    assert_eq!(inside, Err(Errno::XDEV));
    stubs.remove().expect("removable");
    assert_eq!(fs::read_dir(cache.path()).expect("readable").count(), 0);
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 0);
}
