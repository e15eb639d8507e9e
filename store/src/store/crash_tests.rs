//! Processes that are killed in the middle of things.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::tests::{half_made, import, layer_tar, open, pulled};
use super::{ExportOptions, Store};
use crate::image::{History, Image, ImageLayer, validate};
use crate::images::Named;
use crate::layer::compress::Compression;
use crate::snapshot::Committed;
use crate::steps::{KeyPart, StepKey, StepRecord};
use crate::{ArchiveFormat, GcPolicy, NamedImage, SaveOptions};

/// Environment variable with the store's directory, for children.
const CHILD: &str = "ORLOP_STORE_CHILD";
/// Files beside the store that say how far a child is.
const OPENED: &str = "opened";
const TAGGED: &str = "tagged";

fn tag(store: &Store, name: &str, image: &Image) {
    let target = Named { id: image.id(), manifest: image.manifest().map(|m| m.digest()), index: None };
    store.images().tag(&name.parse().unwrap(), &target).unwrap();
}

fn child(test: &str, dir: &Path) -> Vec<String> {
    assert!(dir.is_dir());
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    vec![program, "--exact".into(), format!("store::crash_tests::{test}"), "--nocapture".into()]
}

/// The next process finds a store in which everything that is named is whole, and nothing half-made.
fn just_works(dir: &Path, when: &str) {
    let store = open(dir);
    assert!(store.notes().is_empty(), "{when}: {:?}", store.notes());
    for record in store.images().list().unwrap() {
        for name in &record.names {
            let image = store.images().get(&name.to_string()).unwrap();
            for index in 0..image.layers().len() {
                assert!(store.ensure_layer(&image, index).unwrap(), "{when}: layer {index} of {name}");
            }
            let manifest = store.export(&image, &ExportOptions::default()).unwrap();
            let exported = Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap();
            validate::content(&exported, store.blobs()).unwrap();
        }
    }
    let report = store.check().unwrap();
    assert!(report.is_sound() && report.incomplete.is_empty(), "{when}: {report:?}");
    assert!(half_made(&store).is_empty(), "{when}: {:?}", half_made(&store));
}

/// Run as a child of the test below: writes for ever until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("ORLOP_STORE_CHILD") else { return };
    let store = open(std::path::Path::new(&dir));
    let told = |what| std::fs::write(Path::new(&dir).with_file_name(what), "").unwrap();
    told(OPENED);
    for round in 0.. {
        let text = format!("{}-{round}", std::process::id());
        let (image, blobs) = pulled(&["one", &text]);
        import(&store, &image, &blobs);
        tag(&store, &format!("child:{text}"), &image);
        told(TAGGED);
    }
}

#[test]
fn a_process_killed_at_any_time_leaves_a_store_that_just_works() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    drop(open(&dir));
    let words = child("child_that_writes_until_it_is_killed", &dir);
    for round in 0..8u64 {
        // How long a process takes until then is the machine's.
        let after = place.path().join(if round % 2 == 0 { OPENED } else { TAGGED });
        let _ = std::fs::remove_file(&after);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env(CHILD, &dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !after.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: the child does nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(round * 17));
        child.kill().unwrap();
        child.wait().unwrap();
        just_works(&dir, &format!("round {round}"));
    }
    assert!(!open(&dir).images().list().unwrap().is_empty(), "the children did write");
}

/// Run as a child of the test below: everything that writes to a store, once.
#[test]
fn child_that_does_everything_once() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir));
    let (base, blobs) = pulled(&["one", "two"]);
    import(&store, &base, &blobs);
    tag(&store, "base", &base);
    let snapshots = store.snapshots().unwrap();
    let parent = Committed::new(base.diff_ids());
    let active = snapshots.prepare(&parent).unwrap();
    std::fs::write(active.path().join("made"), "here").unwrap();
    let diff = snapshots.diff(&active).unwrap();
    snapshots.commit(active, &diff).unwrap();
    let parts = [KeyPart::new("instruction", "", "RUN echo here > made")];
    let record = StepRecord {
        key: StepKey::of(&parts),
        parts: parts.to_vec(),
        scope: "s".into(),
        description: "RUN".into(),
        parent: parent.chain_id(),
        layer: Some(diff.diff_id),
        created: 1,
        duration: 1,
    };
    store.steps().put(&record).unwrap();
    store.steps().put_content_result(&parent.chain_id(), &diff.content_id, &diff.diff_id, 0).unwrap();
    let image = base.append_layer(ImageLayer::new(diff.diff_id, Some(diff.size)), History::default());
    store.images().put(&image).unwrap();
    tag(&store, "app", &image);
    store.layer_blob(parent.layers(), &diff.diff_id, Compression::Zstd(3)).unwrap();
    let images = [NamedImage { content: image.into(), names: vec!["app".parse().unwrap()] }];
    let out = store.root().with_extension("tar");
    store.save(&out, ArchiveFormat::Oci, &images, &SaveOptions::default()).unwrap();
    store.layers().adopt(&[], layer_tar("f", b"unneeded").as_slice()).unwrap();
    store.gc(&GcPolicy { keep_for: None, keep_bytes: None, all: true }).unwrap();
}

/// Every place where a process may die is found by counting system calls, with no hook in the product.
#[cfg(target_os = "linux")]
#[test]
fn a_process_killed_at_any_system_call_leaves_a_store_that_just_works() {
    if Command::new("strace").arg("--version").output().is_err() {
        panic!("this test needs strace: apt-get install strace");
    }
    // What makes things visible, what makes and removes them, and what fills them; of the last only some.
    let calls =
        [("rename,renameat,renameat2", 1), ("unlink,unlinkat,mkdir,mkdirat", 7), ("pwrite64,write", 17)];
    for (calls, step) in calls {
        // As many as there are is found out by the kill, which the child cannot pass over.
        let mut last = usize::MAX;
        for fault in ["signal=KILL", "error=ENOSPC"] {
            let mut when = 1;
            loop {
                let dir = tempfile::tempdir().unwrap();
                let output = Command::new("strace")
                    .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"])
                    .arg(format!("inject={calls}:{fault}:when={when}"))
                    .args(child("child_that_does_everything_once", dir.path()))
                    .env(CHILD, dir.path())
                    .output()
                    .unwrap();
                let fine = output.status.success();
                just_works(dir.path(), &format!("{fault} at number {when} of {calls}"));
                if when >= last || (fine && fault == "signal=KILL") {
                    break;
                }
                when += step;
            }
            assert!(when > 2 * step, "{calls} were hardly ever called");
            last = when;
        }
    }
}
