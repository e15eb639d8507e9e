//! Layers that an overlay joins: nothing may tell them from what they are joined from.

use std::path::Path;

use super::listing::Listing;
use super::runs::{need_root, overlay, place};
use crate::layer::{Layers, XattrForm};
use crate::snapshot::overlay::OverlayDriver;
use crate::snapshot::{Committed, SnapshotDriver, View};

/// A few changes among few names, so that most meet what an earlier layer left there.
fn change(root: &Path, random: &mut impl FnMut(usize) -> usize) {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    for _ in 0..=random(3) {
        let depth = 1 + random(3);
        let path = (0..depth).fold(root.to_owned(), |path, _| path.join(["a", "b", "c"][random(3)]));
        let there = fs::symlink_metadata(&path).ok();
        let is_dir = there.as_ref().is_some_and(fs::Metadata::is_dir);
        let remove = |path: &Path| {
            if is_dir { fs::remove_dir_all(path).unwrap() } else { drop(fs::remove_file(path)) }
        };
        // What is above may be no directory.
        if path.parent().is_none_or(|dir| fs::create_dir_all(dir).is_err()) {
            continue;
        }
        match random(8) {
            0 => remove(&path),
            1 => {
                remove(&path);
                fs::create_dir(&path).unwrap();
            }
            2 => {
                remove(&path);
                symlink("b", &path).unwrap();
            }
            3 if there.is_some_and(|meta| !meta.is_symlink()) => {
                let mode = 0o700 | u32::try_from(random(64)).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            4 if fs::symlink_metadata(root.join("b")).is_ok_and(|meta| meta.is_file())
                && !path.ends_with("b") =>
            {
                remove(&path);
                fs::hard_link(root.join("b"), &path).unwrap();
            }
            _ if is_dir => fs::write(path.join(["x", "y"][random(2)]), [0; 9]).unwrap(),
            _ => {
                remove(&path);
                fs::write(&path, vec![7; random(5)]).unwrap();
            }
        }
    }
}

/// Shows `chain` with the layers below each of `cuts` joined, and those above: it must look as it does layer by layer,
/// and a step over it change the same. How many directories were joined.
fn cut(
    dir: &Path,
    (layers, apart): &(Layers, Box<dyn SnapshotDriver>),
    chain: &Committed,
    cuts: [usize; 2],
    what: &str,
) -> usize {
    let of = |driver: &dyn SnapshotDriver| Listing::of(driver.view(chain).unwrap().path(), true);
    let joining = OverlayDriver::joining(layers);
    for cut in cuts {
        drop(joining.view(&Committed::new(chain.layers()[..cut].to_vec())).unwrap());
    }
    of(&**apart).assert_same(&of(&joining), &format!("{what}, cut at {cuts:?}"));
    let diffs = [&**apart, &joining].map(|driver| {
        let mut state = 1u64;
        let active = driver.prepare(chain).unwrap();
        for _ in 0..3 {
            change(active.path(), &mut |below| {
                state = state.wrapping_mul(69069).wrapping_add(1);
                usize::try_from(state >> 7).unwrap() % below
            });
        }
        driver.diff(&active).unwrap().content_id
    });
    assert_eq!(diffs[0], diffs[1], "{what}, cut at {cuts:?}");
    let work = std::fs::read_dir(dir.join("work")).unwrap().map(|entry| entry.unwrap().file_name());
    work.filter(|name| name.as_encoded_bytes().ends_with(b".lock")).count()
}

/// Adds a layer to a chain.
fn layer(driver: &dyn SnapshotDriver, chain: &mut Committed, change: impl FnOnce(&Path)) {
    let active = driver.prepare(chain).unwrap();
    change(active.path());
    let diff = driver.diff(&active).unwrap();
    *chain = driver.commit(active, &diff).unwrap();
}

/// However a chain of layers is cut into joined ones, it shows what it shows layer by layer.
#[test]
fn privileged_joined_layers_show_what_they_show_apart() {
    need_root();
    let mut joined = 0;
    for seed in 0..100u64 {
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let dir = tempfile::tempdir_in(place()).unwrap();
        let subject = overlay(dir.path(), XattrForm::Trusted);
        let mut chain = Committed::scratch();
        for _ in 0..10 {
            layer(&*subject.1, &mut chain, |root| change(root, &mut random));
        }
        let all = chain.layers().len();
        for first in [random(all), 2, 3] {
            joined += cut(
                dir.path(),
                &subject,
                &chain,
                [first, first + random(all - first)],
                &format!("seed {seed}"),
            );
        }
    }
    assert!(joined > 300, "{joined} times only was there something to compare");
}

/// What hides something over what is below, and what hides nothing there because its directory already does, or
/// because nothing is there.
#[test]
fn privileged_joined_layers_hide_what_they_hide_apart() {
    use std::fs;
    need_root();
    type Change = fn(&Path);
    let fill: Change = |root| {
        for dir in ["a/b", "d/e"] {
            fs::create_dir_all(root.join(dir)).unwrap();
            fs::write(root.join(dir).join("file"), dir).unwrap();
        }
        fs::write(root.join("a/file"), "a").unwrap();
        fs::write(root.join("f"), "f").unwrap();
    };
    let clear: Change = |root| {
        for path in ["a/b/file", "a/file", "d/e/file", "f"] {
            fs::remove_file(root.join(path)).unwrap();
        }
    };
    let remove: Change = |root| {
        for path in ["a", "d"] {
            fs::remove_dir_all(root.join(path)).unwrap();
        }
        fs::remove_file(root.join("f")).unwrap();
    };
    let anew: Change = |root| {
        for path in ["a", "d/e"] {
            fs::remove_dir_all(root.join(path)).unwrap();
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::create_dir(root.join("a/b")).unwrap();
        for path in ["a/b/file", "a/file", "d/e/file"] {
            fs::write(root.join(path), "new").unwrap();
        }
    };
    let directory: Change = |root| {
        fs::remove_file(root.join("f")).unwrap();
        fs::create_dir(root.join("f")).unwrap();
        fs::write(root.join("f/file"), "").unwrap();
    };
    let other: Change = |root| fs::write(root.join("other"), "").unwrap();
    let file: Change = |root| {
        fs::remove_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a"), "file").unwrap();
    };
    let chains: [&[Change]; 8] = [
        &[fill, clear],
        &[fill, other, clear, other],
        &[other, other, fill, clear],
        &[fill, other, anew, clear],
        &[fill, other, remove, fill, clear],
        &[fill, other, remove, other, fill, clear, other],
        &[fill, other, directory, other, file, other],
        &[fill, other, clear, remove_empty, fill, anew, clear],
    ];
    fn remove_empty(root: &Path) {
        fs::remove_dir(root.join("a/b")).unwrap();
        fs::remove_dir(root.join("a")).unwrap();
        fs::write(root.join("f"), "again").unwrap();
    }
    for (i, changes) in chains.iter().enumerate() {
        let dir = tempfile::tempdir_in(place()).unwrap();
        let subject = overlay(dir.path(), XattrForm::Trusted);
        let mut chain = Committed::scratch();
        for (step, change) in changes.iter().enumerate() {
            layer(&*subject.1, &mut chain, |root| {
                change(root);
                // No layer is empty.
                fs::write(root.join("step"), step.to_string()).unwrap();
            });
        }
        let all = chain.layers().len();
        for first in 0..=all {
            for second in first..=all {
                cut(dir.path(), &subject, &chain, [first, second], &format!("chain {i}"));
            }
        }
    }
}

/// How many directories a view is stacked from.
fn stacked(view: &View) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(&view.path().display().to_string())).unwrap();
    // Since Linux 6.5 there is an option for each.
    match line.matches("lowerdir+=").count() {
        0 => line.split_once("lowerdir=").unwrap().1.split(',').next().unwrap().split(':').count(),
        each => each,
    }
}

/// What would look otherwise is left as it is, and what comes after it joined.
#[test]
fn privileged_what_cannot_be_joined_is_tried_once() {
    need_root();
    let dir = tempfile::tempdir_in(place()).unwrap();
    let (_layers, driver) = overlay(dir.path(), XattrForm::Trusted);
    let mut chain = Committed::scratch();
    for step in 0..100 {
        layer(&*driver, &mut chain, |root| {
            std::fs::write(root.join(format!("{step}")), "x").unwrap();
            match step {
                3 => std::fs::hard_link(root.join("3"), root.join("other")).unwrap(),
                // Of its two names one is hidden, and both are counted.
                5 => std::fs::remove_file(root.join("other")).unwrap(),
                _ => {}
            }
        });
    }
    let view = driver.view(&chain).unwrap();
    assert_eq!(std::fs::read_dir(view.path()).unwrap().count(), 100);
    let links = std::os::unix::fs::MetadataExt::nlink(&view.path().join("3").metadata().unwrap());
    assert_eq!(links, 2);
    let lower = stacked(&view);
    assert!(lower > 30 && lower < 80, "{lower} directories");
}

/// A build of many small steps stacks few directories, and its layers are those that it would have without.
#[test]
fn privileged_many_small_layers_are_joined() {
    need_root();
    let dir = tempfile::tempdir_in(place()).unwrap();
    let (layers, driver) = overlay(dir.path(), XattrForm::Trusted);
    let mut chain = Committed::scratch();
    for step in 0..100 {
        layer(&*driver, &mut chain, |root| std::fs::write(root.join(format!("{step}")), "x").unwrap());
    }
    assert_eq!(chain.layers().len(), 100);
    let view = driver.view(&chain).unwrap();
    assert_eq!(std::fs::read_dir(view.path()).unwrap().count(), 100);
    let lower = stacked(&view);
    assert!(lower > 2 && lower < 50, "{lower} directories");
    drop((view, layers));
    // The joined ones go with the driver.
    drop(driver);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("work")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
