//! Additions, changes and deletions, and what is none.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Check, Committed, Step, Subject};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("nothing_done_is_an_empty_diff", nothing_done),
    ("done_and_undone_is_an_empty_diff", done_and_undone),
    ("additions_name_their_parents", additions),
    ("content_same_size_and_time", content_same_size_and_time),
    ("modes_owners_and_times", modes_owners_and_times),
    ("deletions_are_whiteouts", deletions),
    ("kinds_change_into_each_other", kinds_change),
    ("a_directory_made_anew_hides_the_old", made_anew),
    ("renames_of_files_and_directories", renames),
    ("the_root_directory", the_root),
    ("many_layers_on_each_other", many_layers),
    ("the_same_step_twice_is_the_same_layer", same_twice),
    ("content_id_leaves_out_times_only", content_id),
    ("discarded_changes_leave_nothing", discarded),
    ("a_layer_twice_in_a_chain", twice_in_a_chain),
];

pub(super) fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A small base to change.
pub(super) fn base(subject: &Subject) -> Step {
    subject.step(&Committed::scratch(), |root| {
        fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        fs::create_dir_all(root.join("usr/lib/deep/er")).unwrap();
        fs::write(root.join("etc/passwd"), "root").unwrap();
        fs::write(root.join("etc/conf.d/a"), "a").unwrap();
        fs::write(root.join("etc/conf.d/b"), "b").unwrap();
        fs::write(root.join("usr/lib/deep/er/file"), "deep").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        mode(&root.join("tmp"), 0o1777);
        for path in ["etc", "etc/conf.d", "etc/passwd", "etc/conf.d/a", "tmp"] {
            set_time(&root.join(path), 1_000_000_000, 123_456_789);
        }
    })
}

fn nothing_done(subject: &Subject) {
    let empty = subject.step(&Committed::scratch(), |_| {});
    assert!(empty.diff.is_empty());
    assert_eq!(empty.committed, Committed::scratch());
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"root");
        assert_eq!(fs::read_dir(root.join("lib/deep")).unwrap().count(), 1);
    });
    assert!(step.diff.is_empty(), "{step:?}");
    assert_eq!(step.committed, base.committed);
}

fn done_and_undone(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::write(root.join("tmp/x"), "x").unwrap();
        fs::remove_file(root.join("tmp/x")).unwrap();
        fs::create_dir_all(root.join("usr/lib/new/er")).unwrap();
        fs::remove_dir_all(root.join("usr/lib/new")).unwrap();
        mode(&root.join("etc/passwd"), 0o600);
        mode(&root.join("etc/passwd"), 0o644);
        mode(&root.join("etc/conf.d"), 0o700);
        mode(&root.join("etc/conf.d"), 0o755);
        fs::write(root.join("etc/conf.d/a"), "a").unwrap();
        set_time(&root.join("etc/conf.d/a"), 1_000_000_000, 123_456_789);
    });
    assert!(step.diff.is_empty(), "{:?}", step.paths());
}

fn additions(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::write(root.join("usr/lib/deep/er/new"), "n").unwrap();
        fs::create_dir(root.join("opt")).unwrap();
        mode(&root.join("opt"), 0o2750);
        fs::write(root.join("etc/conf.d/c"), "c").unwrap();
        // Copied up and the same again: not in the layer, and no trace in its directory's time.
        mode(&root.join("etc/conf.d/a"), 0o600);
        mode(&root.join("etc/conf.d/a"), 0o644);
    });
    assert_eq!(
        step.paths(),
        [
            "etc/",
            "etc/conf.d/",
            "etc/conf.d/c",
            "opt/",
            "usr/",
            "usr/lib/",
            "usr/lib/deep/",
            "usr/lib/deep/er/",
            "usr/lib/deep/er/new"
        ]
    );
    assert_eq!(step.entries["opt/"].mode, 0o2750);
    assert_eq!(step.entries["etc/"].mtime.nanoseconds, 123_456_789, "a parent keeps its own time");
}

fn content_same_size_and_time(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::write(root.join("etc/passwd"), "toor").unwrap();
        set_time(&root.join("etc/passwd"), 1_000_000_000, 123_456_789);
        set_time(&root.join("etc"), 1_000_000_000, 123_456_789);
    });
    assert_eq!(step.paths(), ["etc/", "etc/passwd"]);
}

fn modes_owners_and_times(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        mode(&root.join("etc/conf.d/a"), 0o4711);
        mode(&root.join("usr"), 0o700);
        set_time(&root.join("etc/passwd"), 1_000_000_000, 123_456_788);
        set_time(&root.join("usr/lib/deep/er/file"), 0, 1);
    });
    assert_eq!(
        step.paths(),
        [
            "etc/",
            "etc/conf.d/",
            "etc/conf.d/a",
            "etc/passwd",
            "usr/",
            "usr/lib/",
            "usr/lib/deep/",
            "usr/lib/deep/er/",
            "usr/lib/deep/er/file"
        ]
    );
    assert_eq!(step.entries["etc/conf.d/a"].mode, 0o4711);
    if subject.deviations.one_id {
        return;
    }
    let step = subject.step(&step.committed, |root| {
        let own =
            |path: &str, uid, gid| std::os::unix::fs::lchown(root.join(path), Some(uid), Some(gid)).unwrap();
        own("lib", 5, 6);
        own("etc/conf.d", 1234, 5678);
        own("etc/conf.d/a", 1, 0);
        mode(&root.join("etc/conf.d/a"), 0o6755);
    });
    assert_eq!(step.paths(), ["etc/", "etc/conf.d/", "etc/conf.d/a", "lib"]);
    assert_eq!((step.entries["lib"].uid, step.entries["lib"].gid), (5, 6));
    assert_eq!(step.entries["etc/conf.d/a"].mode, 0o6755, "a new owner does not take setuid away");
}

fn deletions(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::remove_file(root.join("etc/conf.d/a")).unwrap();
        fs::remove_dir_all(root.join("usr/lib/deep")).unwrap();
        fs::remove_file(root.join("lib")).unwrap();
    });
    assert_eq!(
        step.paths(),
        [".wh.lib", "etc/", "etc/conf.d/", "etc/conf.d/.wh.a", "usr/", "usr/lib/", "usr/lib/.wh.deep"]
    );
    let back = subject.step(&step.committed, |root| {
        fs::create_dir(root.join("usr/lib/deep")).unwrap();
        fs::write(root.join("lib"), "a file now").unwrap();
    });
    assert_eq!(back.paths(), ["lib", "usr/", "usr/lib/", "usr/lib/deep/"]);
}

fn kinds_change(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        fs::create_dir(root.join("etc/passwd")).unwrap();
        fs::write(root.join("etc/passwd/inside"), "x").unwrap();
        fs::remove_dir_all(root.join("usr/lib/deep")).unwrap();
        symlink("../nowhere", root.join("usr/lib/deep")).unwrap();
        fs::remove_file(root.join("lib")).unwrap();
        fs::create_dir(root.join("lib")).unwrap();
        fs::remove_dir_all(root.join("etc/conf.d")).unwrap();
        fs::write(root.join("etc/conf.d"), "file").unwrap();
    });
    assert_eq!(
        step.paths(),
        [
            "etc/",
            "etc/conf.d",
            "etc/passwd/",
            "etc/passwd/inside",
            "lib/",
            "usr/",
            "usr/lib/",
            "usr/lib/deep"
        ]
    );
    subject.step(&step.committed, |root| {
        fs::remove_dir_all(root.join("etc/passwd")).unwrap();
        fs::write(root.join("etc/passwd"), "again").unwrap();
        fs::remove_file(root.join("etc/conf.d")).unwrap();
        fs::create_dir(root.join("etc/conf.d")).unwrap();
    });
}

fn made_anew(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::remove_dir_all(root.join("etc")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/fresh"), "new").unwrap();
        fs::create_dir(root.join("etc/conf.d")).unwrap();
        fs::write(root.join("etc/conf.d/z"), "new").unwrap();
    });
    let paths = if subject.deviations.opaque {
        &["etc/", "etc/.wh..wh..opq", "etc/conf.d/", "etc/conf.d/z", "etc/fresh"][..]
    } else {
        &[
            "etc/",
            "etc/.wh.passwd",
            "etc/conf.d/",
            "etc/conf.d/.wh.a",
            "etc/conf.d/.wh.b",
            "etc/conf.d/z",
            "etc/fresh",
        ][..]
    };
    assert_eq!(step.paths(), paths);
    let gone = subject.step(&step.committed, |root| fs::remove_dir_all(root.join("etc")).unwrap());
    assert_eq!(gone.paths(), [".wh.etc"]);
    subject.step(&gone.committed, |root| {
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "third").unwrap();
    });
}

fn renames(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::rename(root.join("etc/passwd"), root.join("etc/shadow")).unwrap();
        // overlayfs says EXDEV for a directory of a lower layer; mv(1) copies then.
        if fs::rename(root.join("usr/lib/deep"), root.join("usr/lib/moved")).is_err() {
            fs::create_dir_all(root.join("usr/lib/moved/er")).unwrap();
            let file = "er/file";
            fs::copy(root.join("usr/lib/deep").join(file), root.join("usr/lib/moved").join(file)).unwrap();
            fs::remove_dir_all(root.join("usr/lib/deep")).unwrap();
        }
    });
    assert_eq!(
        step.paths(),
        [
            "etc/",
            "etc/.wh.passwd",
            "etc/shadow",
            "usr/",
            "usr/lib/",
            "usr/lib/.wh.deep",
            "usr/lib/moved/",
            "usr/lib/moved/er/",
            "usr/lib/moved/er/file"
        ]
    );
}

fn the_root(subject: &Subject) {
    let base = base(subject);
    assert!(!base.entries.contains_key("./"), "a new time is no change of the root");
    let step = subject.step(&base.committed, |root| mode(root, 0o711));
    assert_eq!(step.paths(), ["./"]);
    let next = subject.step(&step.committed, |root| {
        assert_eq!(root.metadata().unwrap().mode() & 0o7777, 0o711);
        fs::write(root.join("x"), "").unwrap();
    });
    assert_eq!(next.paths(), ["x"]);
}

fn many_layers(subject: &Subject) {
    let mut at = base(subject).committed;
    for i in 0..20u64 {
        at = subject
            .step(&at, |root| {
                fs::write(root.join(format!("etc/conf.d/{i}")), i.to_string()).unwrap();
                if i > 0 {
                    fs::remove_file(root.join(format!("etc/conf.d/{}", i - 1))).unwrap();
                }
            })
            .committed;
    }
    assert_eq!(at.layers().len(), 21);
    let view = subject.driver.view(&at).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(view.path().join("etc/conf.d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["19", "a", "b"]);
}

fn same_twice(subject: &Subject) {
    let base = base(subject);
    let work = |root: &Path| {
        for i in [3, 1, 2] {
            fs::write(root.join(format!("etc/conf.d/{i}")), "x").unwrap();
            set_time(&root.join(format!("etc/conf.d/{i}")), 5, i);
        }
        set_time(&root.join("etc/conf.d"), 7, 0);
    };
    let one = subject.step(&base.committed, work);
    let two = subject.step(&base.committed, |root| {
        fs::write(root.join("etc/conf.d/9"), "gone again").unwrap();
        fs::remove_file(root.join("etc/conf.d/9")).unwrap();
        work(root);
    });
    assert_eq!(one.diff, two.diff);
    assert_eq!(one.committed, two.committed);
}

fn content_id(subject: &Subject) {
    let base = base(subject);
    let write = |content: &'static str, seconds| {
        move |root: &Path| {
            fs::write(root.join("etc/x"), content).unwrap();
            set_time(&root.join("etc/x"), seconds, 0);
        }
    };
    let one = subject.step(&base.committed, write("x", 1)).diff;
    let later = subject.step(&base.committed, write("x", 2)).diff;
    let other = subject.step(&base.committed, write("y", 1)).diff;
    assert_ne!(one.diff_id, later.diff_id);
    assert_eq!(one.content_id, later.content_id);
    assert_ne!(one.content_id, other.content_id);
}

fn discarded(subject: &Subject) {
    let base = base(subject);
    let active = subject.driver.prepare(&base.committed).unwrap();
    let path = active.path().to_owned();
    fs::write(path.join("etc/x"), "x").unwrap();
    drop(active);
    assert!(!path.exists());
    let view = subject.driver.view(&base.committed).unwrap();
    assert!(!view.path().join("etc/x").exists());
}

fn twice_in_a_chain(subject: &Subject) {
    let base = base(subject);
    let put = |root: &Path| {
        let dir = root.join("d");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("f"), "x").unwrap();
        set_time(&dir.join("f"), 1, 0);
        set_time(&dir, 1, 0);
    };
    let one = subject.step(&base.committed, put);
    let gone = subject.step(&one.committed, |root| fs::remove_dir_all(root.join("d")).unwrap());
    let again = subject.step(&gone.committed, put);
    assert_eq!(one.diff.diff_id, again.diff.diff_id, "the same layer, twice");
    subject.step(&again.committed, |root| {
        assert_eq!(fs::read(root.join("d/f")).unwrap(), b"x");
        fs::write(root.join("d/g"), "y").unwrap();
    });
}
