#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use super::*;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_lives_as_long_as_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(&dir.path().join("work")).unwrap();
    let made = work.create("step").unwrap();
    fs::create_dir_all(made.path().join("a/b")).unwrap();
    fs::write(made.path().join("a/b/c"), "x").unwrap();
    assert_eq!(work.sweep().unwrap().removed, 0, "a sweep leaves what is owned");
    assert_eq!(names(&dir.path().join("work")).len(), 2);
    drop(made);
    assert_eq!(names(&dir.path().join("work")), [""; 0]);
}

#[test]
fn a_sweep_takes_what_a_killed_process_left() {
    if let Some(dir) = std::env::var_os("ORLOP_TEST_WORK_OWNER") {
        let work = Work::open(Path::new(&dir)).unwrap();
        let made = work.create("step").unwrap();
        fs::create_dir_all(made.path().join("deep/er")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", made.path().join("deep/root")).unwrap();
        std::io::stderr().write_all(b"!").unwrap();
        loop {
            std::thread::park();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(dir.path()).unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work::tests::a_sweep_takes_what_a_killed_process_left", "--nocapture"])
        .env("ORLOP_TEST_WORK_OWNER", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0];
    owner.stderr.take().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(work.sweep().unwrap().removed, 0, "its owner lives");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let swept = work.sweep().unwrap();
    assert_eq!(swept.removed, 1);
    assert!(swept.stuck.is_empty(), "{swept:?}");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn many_sweepers_and_makers_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let made = work.create("x").unwrap();
                    fs::write(made.path().join("f"), "mine").unwrap();
                    assert_eq!(fs::read(made.path().join("f")).unwrap(), b"mine");
                }
            });
            scope.spawn(|| {
                for _ in 0..50 {
                    assert!(work.sweep().unwrap().stuck.is_empty());
                }
            });
        }
    });
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_named_lock_is_held_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(dir.path()).unwrap();
    let inside = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _held = work.lock("one").unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(names(dir.path()), [""; 0]);
}
