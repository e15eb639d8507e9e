//! Layers as other tools write them.

use super::*;

#[test]
fn privileged_whiteouts_hide_lower_layers_wherever_they_stand() {
    let mut store = Fixture::new();
    store.push(&[dir("d/"), file("d/old", ""), file("f", "old"), dir("g/"), file("g/old", "")]);
    for whiteouts_first in [true, false] {
        let mut entries =
            vec![file(".wh.d", ""), file(".wh.f", ""), file(".wh.gone", ""), file("g/.wh..wh..opq", "")];
        let made = vec![dir("d/"), file("d/new", ""), file("f", "new"), dir("g/"), file("g/new", "")];
        if whiteouts_first {
            entries.extend(made);
        } else {
            entries = [made, entries].concat();
        }
        let fs = store.push(&entries);
        assert!(is_opaque(&fs.join("d")) && fs.join("d/new").exists(), "whiteouts first: {whiteouts_first}");
        assert_eq!(text(&fs.join("f")), "new");
        assert!(is_whiteout(&fs.join("gone")));
        assert!(is_opaque(&fs.join("g")) && fs.join("g/new").exists());
    }
}

#[test]
fn privileged_parents_that_nobody_names() {
    let mut store = Fixture::new();
    let fs = store.push(&[file("opt2/app/bin/tool", "tool\n"), file("etc/extra.conf", "x")]);
    assert!(!store.is_plain(), "it is kept for its chain");
    for path in ["opt2", "opt2/app", "opt2/app/bin", "etc"] {
        let meta = fs.join(path).metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o755, 0, 0), "{path}");
    }
    // Named later, or below: as they are there.
    let fs = store.push(&[file("a/f", ""), with(dir("a/"), |e| (e.mode, e.uid) = (0o2700, 5))]);
    assert!(store.is_plain(), "all parents are named");
    assert_eq!(fs.join("a").metadata().unwrap().mode() & 0o7777, 0o2700);
    let fs = store.push(&[file("a/g", "")]);
    assert!(!store.is_plain());
    let meta = fs.join("a").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime_nsec()), (0o2700, 5, 7));
}

#[test]
fn privileged_parents_that_are_links_below() {
    let mut store = Fixture::new();
    store.push(&[
        dir("usr/"),
        with(dir("usr/lib/"), |e| e.mode = 0o711),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr"),
    ]);
    let fs = store.push(&[file("lib/x", "through the link"), file("abs/lib/y", "through another")]);
    assert!(!store.is_plain());
    assert!(fs.join("lib").symlink_metadata().is_err(), "the link of the lower layer stays");
    assert_eq!(text(&fs.join("usr/lib/x")), "through the link");
    assert_eq!(text(&fs.join("usr/lib/y")), "through another");
    assert_eq!(fs.join("usr/lib").metadata().unwrap().mode() & 0o7777, 0o711);
    // Named as a directory, it takes the place of the link.
    let fs = store.push(&[dir("lib/"), file("lib/z", "")]);
    assert!(store.is_plain() && fs.join("lib/z").exists());
    // Hidden by this layer, it is no link any more.
    let fs = store.push(&[file(".wh.abs", ""), file("abs/n", "")]);
    assert!(fs.join("abs/n").exists() && is_opaque(&fs.join("abs")));
}

#[test]
fn privileged_hard_links_into_a_lower_layer() {
    let mut store = Fixture::new();
    store.push(&[
        dir("usr/"),
        with(file("usr/tool", "tool"), |e| {
            (e.mode, e.uid) = (0o4755, 3);
            e.xattrs.insert(b"user.x".to_vec(), b"\n".to_vec());
        }),
    ]);
    let fs = store.push(&[hard_link("tool2", "usr/tool")]);
    assert!(!store.is_plain());
    let (meta, target) = (fs.join("tool2").metadata().unwrap(), fs.join("usr/tool").metadata().unwrap());
    assert_eq!(meta.ino(), target.ino(), "one file of two names");
    assert_eq!((meta.mode() & 0o7777, meta.uid(), text(&fs.join("tool2"))), (0o4755, 3, "tool".to_owned()));
    // Deleted by this layer, it is gone as a target as well.
    let error = store.refused(&[file("usr/.wh.tool", ""), hard_link("tool3", "usr/tool")]);
    assert!(error.contains("`usr/tool` is not there"), "{error}");
}

#[test]
fn privileged_a_layer_that_needs_those_below_says_so() {
    let mut store = Fixture::new();
    let base = archive(&[with(dir("a/"), |e| e.mode = 0o700)]);
    store.chain.push(Digest::of(&base));
    let upper = archive(&[file("a/f", "")]);
    let error = store.import(&upper).unwrap_err();
    assert!(matches!(error, LayerError::NeedsBelow { .. }), "{error}");
    let plain = archive(&[dir("b/"), file("b/f", "")]);
    store.import(&plain).unwrap();
    store.layers.import(&[], &Digest::of(&base), &base[..]).unwrap();
    let facts = store.import(&upper).unwrap();
    let fs = store.layers.fs(&store.chain, &facts.diff_id).unwrap();
    assert_eq!(fs.join("a").metadata().unwrap().mode() & 0o7777, 0o700);
    assert!(!store.layers.contains(&[], &facts.diff_id), "only over that chain");
}

#[test]
fn privileged_what_is_said_last_counts() {
    let mut store = Fixture::new();
    let fs = store.push(&[
        file("a", "one"),
        hard_link("b", "a"),
        file("a", "two"),
        dir("d/"),
        file("d/inside", ""),
        file("d", "a file now"),
        symlink("l", "a"),
        dir("l/"),
        file("l/inside", "x"),
        with(dir("m/"), |e| e.mode = 0o700),
        with(dir("m/"), |e| (e.mode, e.uid) = (0o1777, 9)),
        hard_link("a", "a"),
    ]);
    assert_eq!((text(&fs.join("a")), text(&fs.join("b"))), ("two".to_owned(), "one".to_owned()));
    assert_eq!(text(&fs.join("d")), "a file now");
    assert!(fs.join("l").symlink_metadata().unwrap().is_dir() && fs.join("l/inside").exists());
    let meta = fs.join("m").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o1777, 9));
}

#[test]
fn privileged_metadata_is_exact() {
    let mut store = Fixture::new();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fs = store.push(&[
        with(dir("d/"), |e| (e.mode, e.mtime) = (0o500, Time { seconds: -5, nanoseconds: 1 })),
        with(file("d/suid", "x"), |e| {
            (e.mode, e.uid, e.gid) = (0o6711, 4_000_000_000, 12);
            e.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
            e.xattrs.insert(b"user.bin".to_vec(), b"\n\0=".to_vec());
        }),
        with(symlink("s", "t"), |e| (e.uid, e.mtime.nanoseconds) = (7, 3)),
        with((entry("null", Kind::CharDevice), Vec::new()), |e| (e.device, e.mode) = ((1, 3), 0o666)),
        with((entry("pipe", Kind::Fifo), Vec::new()), |e| e.mode = 0o622),
        with(dir("./"), |e| e.mode = 0o711),
    ]);
    let meta = |path: &str| fs.join(path).symlink_metadata().unwrap();
    let suid = meta("d/suid");
    assert_eq!(
        (suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime_nsec()),
        (0o6711, 4_000_000_000, 12, 7)
    );
    for (name, value) in [("security.capability", &capability[..]), ("user.bin", b"\n\0=")] {
        let mut found = [0; 64];
        let n = rustix::fs::lgetxattr(fs.join("d/suid"), name, &mut found).unwrap();
        assert_eq!(&found[..n], value);
    }
    let d = meta("d");
    assert_eq!((d.mode() & 0o7777, d.mtime(), d.mtime_nsec()), (0o500, -5, 1));
    assert_eq!((meta("s").uid(), meta("s").mtime_nsec()), (7, 3));
    assert_eq!((meta("null").rdev(), meta("null").mode() & 0o7777), (0x103, 0o666));
    assert_eq!(meta("pipe").mode(), 0o010622);
    assert_eq!(meta("").mode() & 0o7777, 0o711);
}

#[test]
fn privileged_files_of_aufs_are_passed_over() {
    let mut store = Fixture::new();
    let fs = store.push(&[
        file(".wh..wh.aufs", ""),
        dir(".wh..wh.plnk/"),
        file(".wh..wh.plnk/1.2", ""),
        dir(".wh..wh.orph/"),
        file("f", ""),
    ]);
    assert_eq!(std::fs::read_dir(fs).unwrap().count(), 1);
}

#[test]
fn privileged_what_stands_behind_the_end_belongs_to_the_diff_id() {
    let store = Fixture::new();
    let mut tar = archive(&[file("f", "x")]);
    tar.extend([0; 8192]);
    assert_eq!(store.import(&tar).unwrap().size, tar.len() as u64);
    let none = b"";
    assert_eq!(store.import(none).unwrap().entries, 0);
}
