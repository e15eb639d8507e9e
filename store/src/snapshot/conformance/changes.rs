//! Additions, changes and deletions, and what is none.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{Check, Committed, Step, Subject, set_time};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("additions_name_their_parents", additions),
    ("modes_owners_and_times", modes_owners_and_times),
    ("deletions_are_whiteouts", deletions),
    ("kinds_change_into_each_other", kinds_change),
    ("a_directory_made_anew_hides_the_old", made_anew),
    ("renames_of_files_and_directories", renames),
    ("the_root_directory", the_root),
];

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
