use std::fs;

use rustix::fs::{Mode, OFlags};

use crate::work::Work;

#[test]
fn trees_deeper_than_handles_and_without_permissions_are_removed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(dir.path()).unwrap();
    let made = work.create("deep").unwrap();
    let mut at = rustix::fs::open(made.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "directory", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "directory", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(at);
    let shut = made.path().join("shut");
    fs::create_dir_all(shut.join("x")).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    made.remove().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
