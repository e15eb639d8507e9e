//! Every driver, wherever it works.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Deviations, Subject, run};
use crate::layer::{Durability, Layers, Ownership, XattrForm};
use crate::snapshot::copy::CopyDriver;
use crate::snapshot::overlay::{OverlayDriver, probe};
use crate::snapshot::{Committed, SnapshotDriver};
use crate::work::Work;

fn layers(dir: &Path, form: XattrForm) -> (Work, Layers) {
    let work = Work::open(&dir.join("work")).unwrap();
    let layers = Layers::open(&dir.join("layers"), &work, form).unwrap();
    (work, layers.with_durability(Durability::Process))
}

pub(super) fn overlay(dir: &Path, form: XattrForm) -> (Layers, Box<dyn SnapshotDriver>) {
    let (work, layers) = layers(dir, form);
    probe(&work, form).unwrap();
    let driver = OverlayDriver::new(&layers);
    (layers, Box::new(driver))
}

/// Layers stay in their tars and are mounted from there.
fn mounted(dir: &Path) -> (Layers, Box<dyn SnapshotDriver>) {
    let (work, layers) = layers(dir, XattrForm::Trusted);
    probe(&work, XattrForm::Trusted).unwrap();
    let layers = layers.with_mounts();
    assert_eq!(layers.unpacked_because(), None, "this test needs a kernel that mounts files as EROFS");
    let driver = OverlayDriver::new(&layers);
    (layers, Box::new(driver))
}

/// Layers are joined as soon as there are two.
fn joining(dir: &Path, form: XattrForm, mounts: bool) -> (Layers, Box<dyn SnapshotDriver>) {
    let (work, layers) = layers(dir, form);
    probe(&work, form).unwrap();
    let layers = if mounts { layers.with_mounts() } else { layers };
    let driver = OverlayDriver::joining(&layers);
    (layers, Box::new(driver))
}

fn copy(dir: &Path, form: XattrForm) -> (Layers, Box<dyn SnapshotDriver>) {
    let (_, layers) = layers(dir, form);
    let driver = CopyDriver::new(&layers);
    (layers, Box::new(driver))
}

pub(super) fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
}

/// Not /tmp, which may be a tmpfs that knows no `user.*` attributes.
pub(super) fn place() -> &'static Path {
    Path::new("/var/tmp")
}

#[test]
fn privileged_overlay() {
    need_root();
    let deviations = Deviations { breaks_links: true, opaque: true, ..Deviations::default() };
    run("overlay", || Subject::new(place(), deviations, |dir| overlay(dir, XattrForm::Trusted)));
}

#[test]
fn privileged_overlay_of_mounted_layers() {
    need_root();
    let deviations = Deviations { breaks_links: true, opaque: true, ..Deviations::default() };
    run("overlay of mounted layers", || Subject::new(place(), deviations, mounted));
}

#[test]
fn privileged_overlay_of_joined_layers() {
    need_root();
    let deviations = Deviations { breaks_links: true, opaque: true, ..Deviations::default() };
    for mounts in [false, true] {
        run("overlay of joined layers", || {
            Subject::new(place(), deviations, |dir| joining(dir, XattrForm::Trusted, mounts))
        });
    }
}

#[test]
fn privileged_copy() {
    need_root();
    run("copy", || Subject::new(place(), Deviations::default(), |dir| copy(dir, XattrForm::Trusted)));
}

/// Removes a mount that a test made.
struct Unmounted(std::path::PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()) || std::thread::panicking(), "cannot unmount {:?}", self.0);
    }
}

fn call(program: &str, args: &[&std::ffi::OsStr]) {
    let done = Command::new(program).args(args).output();
    let done = done.unwrap_or_else(|e| panic!("this test needs the program `{program}`: {e}"));
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn privileged_copy_shares_blocks_on_btrfs() {
    need_root();
    let dir = tempfile::tempdir_in(place()).unwrap();
    let (image, at) = (dir.path().join("image"), dir.path().join("at"));
    std::fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    std::fs::create_dir(&at).unwrap();
    call("mkfs.btrfs", &["-q".as_ref(), image.as_ref()]);
    call("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()]);
    let mounted = Unmounted(at.clone());
    run("copy on btrfs", || Subject::new(&at, Deviations::default(), |dir| copy(dir, XattrForm::Trusted)));
    let free = || rustix::fs::statvfs(&at).unwrap().f_bavail * 4096;
    let (layers, driver) = copy(&at, XattrForm::Trusted);
    let base = driver.prepare(&Committed::scratch()).unwrap();
    std::fs::write(base.path().join("large"), vec![7; 100 << 20]).unwrap();
    let diff = driver.diff(&base).unwrap();
    let base = driver.commit(base, &diff).unwrap();
    call("sync", &["-f".as_ref(), at.as_ref()]);
    let before = free();
    let steps: Vec<_> = (0..5).map(|_| driver.prepare(&base).unwrap()).collect();
    call("sync", &["-f".as_ref(), at.as_ref()]);
    assert!(before - free() < 50 << 20, "five copies of 100 MiB share their blocks");
    drop((steps, driver, layers));
    drop(mounted);
}

/// Runs the test `name` of this binary again in a user namespace in which the ids from 0 on are those from
/// `first` on outside, with a directory of its own.
fn in_user_namespace(name: &str, first: u32, count: u32) {
    need_root();
    let dir = tempfile::tempdir_in(place()).unwrap();
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(first), Some(first)).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(first), Some(first)).unwrap();
    // The build directory may be out of reach for those ids.
    let binary = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut holder = Command::new("unshare")
        .args(["-U", "-m", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It answers once it is in its namespaces.
    holder.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = holder.id();
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{map}"), format!("0 {first} {count}")).unwrap();
    }
    let test = format!("snapshot::conformance::runs::{name}");
    let done = Command::new("nsenter")
        .args(["-U", "-m", "-S", "0", "-G", "0", "-t", &pid.to_string()])
        .arg(&binary)
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, &own)
        .output()
        .unwrap();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

/// Says to a test that it runs in a user namespace, and in which directory.
const INSIDE: &str = "ORLOP_TEST_INSIDE";

fn inside() -> Option<std::path::PathBuf> {
    std::env::var_os(INSIDE).map(Into::into)
}

fn with_ownership(
    (layers, _): (Layers, Box<dyn SnapshotDriver>),
    overlay: bool,
) -> (Layers, Box<dyn SnapshotDriver>) {
    let layers = layers.with_ownership(Ownership::Ignore);
    let driver: Box<dyn SnapshotDriver> =
        if overlay { Box::new(OverlayDriver::new(&layers)) } else { Box::new(CopyDriver::new(&layers)) };
    (layers, driver)
}

#[test]
fn privileged_overlay_in_a_user_namespace() {
    let Some(dir) = inside() else {
        return in_user_namespace("privileged_overlay_in_a_user_namespace", 100_000, 65536);
    };
    let deviations = Deviations {
        breaks_links: true,
        opaque: true,
        no_devices: true,
        inodes_differ: true,
        ..Deviations::default()
    };
    run("rootless overlay", || Subject::new(&dir, deviations, |dir| overlay(dir, XattrForm::User)));
    run("rootless overlay of joined layers", || {
        Subject::new(&dir, deviations, |dir| joining(dir, XattrForm::User, false))
    });
}

#[test]
fn privileged_overlay_with_one_id() {
    let Some(dir) = inside() else {
        return in_user_namespace("privileged_overlay_with_one_id", 12_345, 1);
    };
    let deviations =
        Deviations { breaks_links: true, opaque: true, no_devices: true, one_id: true, inodes_differ: true };
    run("overlay with one id", || {
        Subject::new(&dir, deviations, |dir| with_ownership(overlay(dir, XattrForm::User), true))
    });
}

#[test]
fn privileged_copy_with_one_id() {
    let Some(dir) = inside() else {
        return in_user_namespace("privileged_copy_with_one_id", 12_345, 1);
    };
    let deviations = Deviations { no_devices: true, one_id: true, ..Deviations::default() };
    run("copy with one id", || {
        Subject::new(&dir, deviations, |dir| with_ownership(copy(dir, XattrForm::User), false))
    });
}

/// A step and a view whose process is killed leave nothing that the next sweep does not take, mounts included.
#[test]
fn privileged_killed_in_a_step() {
    if let Some(dir) = inside() {
        let (layers, driver) = overlay(&dir, XattrForm::Trusted);
        let active = driver.prepare(&Committed::scratch()).unwrap();
        std::fs::create_dir(active.path().join("d")).unwrap();
        let diff = driver.diff(&active).unwrap();
        let committed = driver.commit(active, &diff).unwrap();
        let _view = driver.view(&committed).unwrap();
        let _active = driver.prepare(&committed).unwrap();
        std::io::stderr().write_all(b"!").unwrap();
        drop(layers);
        loop {
            std::thread::park();
        }
    }
    need_root();
    let dir = tempfile::tempdir_in(place()).unwrap();
    let mut step = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "snapshot::conformance::runs::privileged_killed_in_a_step", "--nocapture"])
        .env(INSIDE, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    step.stderr.take().unwrap().read_exact(&mut [0]).unwrap();
    let mounts = || {
        let all = std::fs::read_to_string("/proc/self/mounts").unwrap();
        all.lines().filter(|line| line.contains(dir.path().to_str().unwrap())).count()
    };
    assert_eq!(mounts(), 2);
    step.kill().unwrap();
    step.wait().unwrap();
    let work = Work::open(&dir.path().join("work")).unwrap();
    let swept = work.sweep().unwrap();
    assert_eq!(swept.removed, 2, "{swept:?}");
    assert!(swept.stuck.is_empty(), "{swept:?}");
    assert_eq!((mounts(), std::fs::read_dir(dir.path().join("work")).unwrap().count()), (0, 0));
    let (layers, driver) = overlay(dir.path(), XattrForm::Trusted);
    let stored = layers.list().unwrap();
    assert_eq!(stored.len(), 1, "what was committed stays");
    drop(driver);
}

/// Gives everything in a tree the same time, so that no clock is in the way.
fn stop_the_clock(root: &Path) {
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                todo.push(path.clone());
            }
            let handle = crate::layer::node::open_root(&dir).unwrap();
            let name = path.file_name().unwrap().as_encoded_bytes();
            let time = crate::layer::tar::Time { seconds: 1_700_000_000, nanoseconds: 5 };
            crate::layer::node::set_time(std::os::fd::AsFd::as_fd(&handle), name, time).unwrap();
        }
    }
}

/// Two drivers see the same changes, and make the same bytes of them.
#[test]
fn privileged_both_drivers_make_the_same_layers() {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    need_root();
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |root| {
            for dir in ["a/b/c", "x/y", "gone/deep", "same"] {
                fs::create_dir_all(root.join(dir)).unwrap();
                for name in ["1", "2"] {
                    fs::write(root.join(dir).join(name), dir).unwrap();
                }
            }
            symlink("a", root.join("link")).unwrap();
        },
        |root| {
            fs::write(root.join("a/b/c/1"), "a/b/C").unwrap();
            fs::write(root.join("a/b/c/2"), "a/b/c").unwrap();
            fs::remove_file(root.join("x/1")).unwrap_err();
            fs::remove_file(root.join("x/y/1")).unwrap();
            fs::remove_dir_all(root.join("gone")).unwrap();
            fs::set_permissions(root.join("same/1"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::create_dir_all(root.join("new/er")).unwrap();
        },
        |root| {
            fs::remove_file(root.join("link")).unwrap();
            fs::create_dir(root.join("link")).unwrap();
            fs::remove_dir_all(root.join("a/b")).unwrap();
            symlink("nowhere", root.join("a/b")).unwrap();
            fs::hard_link(root.join("same/2"), root.join("same/3")).unwrap();
        },
        |_| {},
    ];
    let dir = tempfile::tempdir_in(place()).unwrap();
    let (_layers, overlay) = overlay(&dir.path().join("overlay"), XattrForm::Trusted);
    let (_layers, copy) = copy(&dir.path().join("copy"), XattrForm::Trusted);
    let (mut one, mut two) = (Committed::scratch(), Committed::scratch());
    for (i, change) in changes.iter().enumerate() {
        let step = |driver: &dyn SnapshotDriver, parent: &mut Committed| {
            let active = driver.prepare(parent).unwrap();
            change(active.path());
            stop_the_clock(active.path());
            let diff = driver.diff(&active).unwrap();
            *parent = driver.commit(active, &diff).unwrap();
            diff
        };
        assert_eq!(step(&*overlay, &mut one), step(&*copy, &mut two), "change {i}");
        assert_eq!(one, two);
    }
    assert_eq!(one.layers().len(), 3, "the last one changed nothing");
}
