use std::time::{Duration, SystemTime};

use super::*;

struct Tree {
    _directory: tempfile::TempDir,
    root: PathBuf,
    other: PathBuf,
}

fn tree() -> Tree {
    let directory = tempfile::tempdir().expect("a directory");
    let base = view::plain(&directory.path().canonicalize().expect("it is there"));
    let (root, other) = (base.join("root"), base.join("other"));
    fs::create_dir_all(root.join("app"))
        .and_then(|()| fs::write(root.join("app/file"), "own"))
        .expect("write");
    fs::create_dir_all(other.join("sub")).and_then(|()| fs::write(other.join("sub/x"), "x")).expect("write");
    Tree { _directory: directory, root, other }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_placed_is_there_and_goes_again() {
    let tree = tree();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let times = fs::FileTimes::new().set_modified(old);
    let options = |path: &Path| OpenOptions::new().write(true).custom_flags(0x0200_0000).open(path);
    options(&tree.root).and_then(|root| root.set_times(times)).expect("times");
    let mut placements = Placements::new(&tree.root);
    let tmpfs = Mount { target: r"C:\app\tmp".into(), kind: MountKind::Tmpfs { size: None, mode: 0o1777 } };
    let mounts = [
        Mount::file("/run/secrets/key", "secret", 0o400, 0, 0),
        Mount::bind(&tree.other, r"C:\src\deep", true),
        tmpfs,
    ];
    placements.place(&mounts).expect("placed");
    placements.directory(&tree.root.join(r"Users\ContainerUser")).expect("made");
    assert_eq!(fs::read_to_string(tree.root.join("run/secrets/key")).expect("there"), "secret");
    assert_eq!(fs::read_to_string(tree.root.join("src/deep/sub/x")).expect("there"), "x");
    fs::write(tree.root.join("src/deep/sub/x"), "changed").expect("a copy is writable");
    fs::write(tree.root.join("app/tmp/y"), "y").expect("write");
    fs::write(tree.root.join("run/own"), "kept").expect("write");
    assert!(tree.root.join(r"Users\ContainerUser").is_dir());
    placements.remove().expect("removed");
    assert_eq!(names(&tree.root), ["app", "run"]);
    assert_eq!(names(&tree.root.join("run")), ["own"], "what the job put there stays");
    assert_eq!(names(&tree.root.join("app")), ["file"]);
    assert_eq!(fs::read_to_string(tree.other.join("sub/x")).expect("there"), "x");
    assert_eq!(fs::metadata(&tree.root).and_then(|meta| meta.modified()).expect("there"), old);
}

#[test]
fn nothing_is_placed_over_what_is_there() {
    let tree = tree();
    for target in [r"C:\app\file", r"C:\app"] {
        let mut placements = Placements::new(&tree.root);
        let error = placements.place(&[Mount::file(target, "x", 0o400, 0, 0)]).expect_err("it is there");
        assert!(matches!(error, RunError::Unsupported { .. }), "{error}");
    }
    for target in [r"C:\app\file\x", "relative", r"C:\", r"C:\a:b", r"D:\x"] {
        let mut placements = Placements::new(&tree.root);
        assert!(placements.place(&[Mount::file(target, "x", 0o400, 0, 0)]).is_err(), "{target}");
    }
    assert_eq!(fs::read_to_string(tree.root.join("app/file")).expect("there"), "own");
    let sized = Mount { target: "/t".into(), kind: MountKind::Tmpfs { size: Some(1), mode: 0 } };
    assert!(matches!(Placements::new(&tree.root).place(&[sized]), Err(RunError::LimitUnavailable { .. })));
    assert_eq!(names(&tree.root), ["app"]);
}

#[test]
fn a_writable_bind_is_shown_or_refused() {
    let tree = tree();
    let mut placements = Placements::new(&tree.root);
    match placements.place(&[Mount::bind(&tree.other, "/cache", false)]) {
        Ok(()) => {
            fs::write(tree.root.join("cache/new"), "new").expect("write");
            assert_eq!(placements.writable.len(), 1);
            placements.remove().expect("removed");
            assert_eq!(names(&tree.other), ["new", "sub"], "the source stays, with what the job wrote");
        }
        Err(RunError::Unsupported { why, .. }) => {
            assert!(why.contains("junction"), "{why}");
            drop(placements);
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(names(&tree.root), ["app"]);
    let mut placements = Placements::new(&tree.root);
    let file = Mount::bind(tree.other.join("sub/x"), "/x", false);
    assert!(matches!(placements.place(&[file]), Err(RunError::Unsupported { .. })));
    let outside =
        MountKind::Bind { source: "../../x".into(), within: Some(tree.other.clone()), readonly: true };
    assert!(placements.place(&[Mount { target: "/y".into(), kind: outside }]).is_err(), "it stays inside");
}
