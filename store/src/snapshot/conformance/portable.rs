//! What every driver does on every system.

use std::fs;
use std::path::Path;

use super::{Check, Step, Subject, set_time};
use crate::layer::tar::Kind;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("nothing_done_is_an_empty_diff", nothing_done),
    ("done_and_undone_is_an_empty_diff", done_and_undone),
    ("additions_name_their_parents", additions),
    ("content_same_size_and_time", content_same_size_and_time),
    ("deletions_are_whiteouts", deletions),
    ("files_and_directories_change_into_each_other", kinds_change),
    ("a_directory_made_anew_hides_the_old", made_anew),
    ("renames_of_files_and_directories", renames),
    ("many_layers_on_each_other", many_layers),
    ("the_same_step_twice_is_the_same_layer", same_twice),
    ("content_id_leaves_out_times_only", content_id),
    ("discarded_changes_leave_nothing", discarded),
    ("a_layer_twice_in_a_chain", twice_in_a_chain),
    ("hard_links_in_a_layer", links_in_a_layer),
    ("hard_links_into_a_lower_layer", links_into_lower),
    ("hard_links_of_a_lower_layer", links_of_lower),
    ("long_and_odd_names", names),
    ("deep_directories", deep),
    ("children_of_one_parent_do_not_see_each_other", siblings),
    ("a_stage_goes_on_from_any_of_its_steps", resumed),
];

/// A small base to change.
fn base(subject: &Subject) -> Step {
    subject.step(&subject.scratch(), |root| {
        fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        fs::create_dir_all(root.join("usr/lib/deep/er")).unwrap();
        fs::write(root.join("etc/passwd"), "root").unwrap();
        fs::write(root.join("etc/conf.d/a"), "a").unwrap();
        fs::write(root.join("etc/conf.d/b"), "b").unwrap();
        fs::write(root.join("usr/lib/deep/er/file"), "deep").unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        for path in ["etc/passwd", "etc/conf.d/a", "etc/conf.d", "etc", "tmp"] {
            set_time(&root.join(path), 1_000_000_000, 123_456_700);
        }
    })
}

fn additions(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::write(root.join("usr/lib/deep/er/new"), "n").unwrap();
        fs::create_dir(root.join("opt")).unwrap();
        fs::write(root.join("etc/conf.d/c"), "c").unwrap();
    });
    assert_eq!(
        step.names(),
        [
            "etc",
            "etc/conf.d",
            "etc/conf.d/c",
            "opt",
            "usr",
            "usr/lib",
            "usr/lib/deep",
            "usr/lib/deep/er",
            "usr/lib/deep/er/new"
        ]
    );
    assert_eq!(step.entry("etc").mtime.nanoseconds, 123_456_700, "a parent keeps its own time");
}

fn deletions(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::remove_file(root.join("etc/conf.d/a")).unwrap();
        fs::remove_dir_all(root.join("usr/lib/deep")).unwrap();
    });
    assert_eq!(step.names(), ["etc", "etc/conf.d", "etc/conf.d/.wh.a", "usr", "usr/lib", "usr/lib/.wh.deep"]);
    let back = subject.step(&step.committed, |root| {
        fs::create_dir(root.join("usr/lib/deep")).unwrap();
        fs::write(root.join("etc/conf.d/a"), "again").unwrap();
    });
    assert_eq!(back.names(), ["etc", "etc/conf.d", "etc/conf.d/a", "usr", "usr/lib", "usr/lib/deep"]);
}

fn kinds_change(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        fs::create_dir(root.join("etc/passwd")).unwrap();
        fs::write(root.join("etc/passwd/inside"), "x").unwrap();
        fs::remove_dir_all(root.join("etc/conf.d")).unwrap();
        fs::write(root.join("etc/conf.d"), "file").unwrap();
    });
    assert_eq!(step.names(), ["etc", "etc/conf.d", "etc/passwd", "etc/passwd/inside"]);
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
        fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        fs::write(root.join("etc/conf.d/z"), "new").unwrap();
    });
    if !subject.deviations.opaque {
        let expected =
            ["etc", "etc/.wh.passwd", "etc/conf.d", "etc/conf.d/.wh.a", "etc/conf.d/.wh.b", "etc/conf.d/z"];
        assert_eq!(step.names(), expected);
    }
    let gone = subject.step(&step.committed, |root| fs::remove_dir_all(root.join("etc")).unwrap());
    assert_eq!(gone.names(), [".wh.etc"]);
    subject.step(&gone.committed, |root| {
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "third").unwrap();
    });
}

fn renames(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::rename(root.join("etc/passwd"), root.join("etc/shadow")).unwrap();
        let (from, to) = (root.join("usr/lib/deep"), root.join("usr/lib/moved"));
        // overlayfs says EXDEV for a directory of a lower layer; mv(1) copies then.
        if fs::rename(&from, &to).is_err() {
            fs::create_dir_all(to.join("er")).unwrap();
            fs::copy(from.join("er/file"), to.join("er/file")).unwrap();
            fs::remove_dir_all(from).unwrap();
        }
    });
    assert_eq!(
        step.names(),
        [
            "etc",
            "etc/.wh.passwd",
            "etc/shadow",
            "usr",
            "usr/lib",
            "usr/lib/.wh.deep",
            "usr/lib/moved",
            "usr/lib/moved/er",
            "usr/lib/moved/er/file"
        ]
    );
}

fn links_in_a_layer(subject: &Subject) {
    let step = subject.step(&subject.scratch(), |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/z"), "linked").unwrap();
        fs::hard_link(root.join("d/z"), root.join("a")).unwrap();
        fs::hard_link(root.join("d/z"), root.join("d/m")).unwrap();
    });
    assert_eq!(step.entry("a").kind, Kind::File, "the first name by its bytes has the content");
    for path in ["d/m", "d/z"] {
        assert_eq!(step.entry(path).kind, Kind::HardLink);
    }
    let step = subject.step(&step.committed, |root| fs::remove_file(root.join("a")).unwrap());
    assert!(step.names().contains(&".wh.a".to_owned()));
    subject.step(&step.committed, |root| fs::write(root.join("d/m"), "both").unwrap());
}

fn names(subject: &Subject) {
    let long = "n".repeat(250);
    let names = [long.as_str(), "ünïcödé", "語", "😀", " leading", "a'b&c^d%e%", ".wh", "~1", "..."];
    let step = subject.step(&subject.scratch(), |root| {
        for name in names.iter().filter(|name| !cfg!(windows) || !name.ends_with('.')) {
            fs::write(root.join(name), name).unwrap();
        }
    });
    subject.step(&step.committed, |root| {
        for entry in fs::read_dir(root).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    });
}

fn deep(subject: &Subject) {
    let step = subject.step(&subject.scratch(), |root| {
        let mut path = root.to_owned();
        for _ in 0..200 {
            path.push("deep");
        }
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("f"), "x").unwrap();
    });
    assert_eq!(step.names().len(), 201);
}

fn siblings(subject: &Subject) {
    let base = base(subject);
    let (one, two) =
        (subject.driver.prepare(&base.committed).unwrap(), subject.driver.prepare(&base.committed).unwrap());
    fs::write(one.path().join("etc/passwd"), "one").unwrap();
    fs::remove_file(two.path().join("etc/conf.d/a")).unwrap();
    fs::write(two.path().join("two"), "").unwrap();
    assert!(one.path().join("etc/conf.d/a").exists() && !one.path().join("two").exists());
    assert_eq!(fs::read(two.path().join("etc/passwd")).unwrap(), b"root");
    let mut done = Vec::new();
    for active in [one, two] {
        let after = subject.listing(active.path());
        let diff = subject.driver.diff(&active).unwrap();
        done.push(subject.finish(active, diff, after));
    }
    assert_eq!(done[0].names(), ["etc", "etc/passwd"]);
    assert_eq!(done[1].names(), ["etc", "etc/conf.d", "etc/conf.d/.wh.a", "two"]);
    let view = subject.driver.view(&base.committed).unwrap();
    assert_eq!(fs::read(view.path().join("etc/passwd")).unwrap(), b"root");
}

fn resumed(subject: &Subject) {
    let base = base(subject);
    let mut steps = vec![base.committed];
    for i in 0..3 {
        let last = steps.last().unwrap().clone();
        steps.push(subject.step(&last, |root| fs::write(root.join(format!("{i}")), "x").unwrap()).committed);
    }
    // One that fails, with whatever it did.
    let failed = subject.driver.prepare(&steps[3]).unwrap();
    fs::remove_dir_all(failed.path().join("etc")).unwrap();
    drop(failed);
    for (i, step) in steps.iter().enumerate() {
        let again = subject.step(step, |root| {
            assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"root");
            assert_eq!(fs::read_dir(root).unwrap().count(), 3 + i);
            fs::write(root.join(format!("again{i}")), "y").unwrap();
        });
        assert_eq!(again.names(), [format!("again{i}")]);
    }
}

fn nothing_done(subject: &Subject) {
    let empty = subject.step(&subject.scratch(), |_| {});
    assert!(empty.diff.is_empty());
    assert_eq!(empty.committed, subject.scratch());
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"root");
        assert_eq!(fs::read_dir(root.join("usr/lib/deep")).unwrap().count(), 1);
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
        fs::write(root.join("etc/conf.d/a"), "a").unwrap();
        set_time(&root.join("etc/conf.d/a"), 1_000_000_000, 123_456_700);
    });
    assert!(step.diff.is_empty(), "{:?}", step.names());
}

fn content_same_size_and_time(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::write(root.join("etc/passwd"), "toor").unwrap();
        set_time(&root.join("etc/passwd"), 1_000_000_000, 123_456_700);
        set_time(&root.join("etc"), 1_000_000_000, 123_456_700);
    });
    assert_eq!(step.names(), ["etc", "etc/passwd"]);
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
            set_time(&root.join(format!("etc/conf.d/{i}")), 5, 100 * i);
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

fn links_into_lower(subject: &Subject) {
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd-")).unwrap();
    });
    assert_eq!(step.names(), ["etc", "etc/passwd", "etc/passwd-"], "all names of a file are in one layer");
    assert_eq!(step.entry("etc/passwd-").kind, Kind::HardLink);
}

fn links_of_lower(subject: &Subject) {
    let one = subject.step(&subject.scratch(), |root| {
        fs::write(root.join("a"), "x").unwrap();
        fs::hard_link(root.join("a"), root.join("b")).unwrap();
        fs::hard_link(root.join("a"), root.join("c")).unwrap();
    });
    let step = subject.step(&one.committed, |root| {
        fs::write(root.join("b"), "changed").unwrap();
    });
    let paths = if subject.deviations.breaks_links { &["b"][..] } else { &["a", "b", "c"][..] };
    assert_eq!(step.names(), paths);
}
