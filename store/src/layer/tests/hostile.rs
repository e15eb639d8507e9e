//! Layers that try to get out, to lie or to break something.

use super::*;

#[test]
fn privileged_entries_that_climb_out_are_refused_by_name() {
    let store = Fixture::new();
    for path in ["../x", "a/../../x", "/../x", "./../../x", "usr/../../../../tmp/x", ".."] {
        let error = store.refused(&[dir("a/"), file(path, "owned")]);
        assert!(error.contains("climbs out of the root") && error.contains(path), "{error}");
    }
    let error = store.refused(&[hard_link("x", "../../etc/passwd")]);
    assert!(error.contains("climbs out"), "{error}");
    // Inside, dots are legal, and so are leading slashes.
    let mut store = Fixture::new();
    let fs = store.push(&[
        dir("a/"),
        file("a/../b", "b"),
        file("/c", "c"),
        file("././d", "d"),
        file("a//./e", "e"),
    ]);
    for (path, content) in [("b", "b"), ("c", "c"), ("d", "d"), ("a/e", "e")] {
        assert_eq!(text(&fs.join(path)), content);
    }
}

#[test]
fn privileged_links_made_by_the_layer_end_inside_the_root() {
    let mut store = Fixture::new();
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let name = outside.path().to_str().unwrap();
    let fs = store.push(&[
        symlink("absolute", name),
        file("absolute/owned", "inside"),
        symlink("up", "../../../../../../../.."),
        file("up/owned", "inside"),
        dir("d/"),
        symlink("d/chain", "../absolute"),
        file("d/chain/two", "inside"),
        symlink("victim", &format!("{name}/victim")),
        file("victim", "a file in the place of the link"),
    ]);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "nothing got out");
    assert_eq!(text(&fs.join("owned")), "inside");
    assert_eq!(text(&fs.join(&name[1..]).join("owned")), "inside");
    assert_eq!(text(&fs.join(&name[1..]).join("two")), "inside");
    assert!(fs.join("victim").symlink_metadata().unwrap().is_file());
    let error = store.refused(&[symlink("a", "b"), symlink("b", "a"), file("a/x", "")]);
    assert!(error.contains("too many symbolic links"), "{error}");
}

#[test]
fn privileged_hard_links_reach_nothing_outside() {
    let mut store = Fixture::new();
    let fs = store.push(&[
        dir("etc/"),
        file("etc/passwd", "inside"),
        symlink("s", "/etc/passwd"),
        hard_link("h", "/etc/passwd"),
        hard_link("t", "s"),
    ]);
    assert_eq!(text(&fs.join("h")), "inside");
    assert!(fs.join("t").symlink_metadata().unwrap().is_symlink(), "a link to the link itself");
    for (target, why) in [("nowhere", "is not there"), ("etc", "to a directory"), ("/", "to the root")] {
        let error = store.refused(&[dir("etc/"), hard_link("x", target)]);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn privileged_overlay_attributes_of_a_layer_are_dropped() {
    let mut store = Fixture::new();
    let inject = |made: Made| {
        with(made, |e| {
            for form in ["trusted", "user"] {
                for name in ["opaque", "redirect", "metacopy", "whiteout", "origin"] {
                    e.xattrs.insert(format!("{form}.overlay.{name}").into_bytes(), b"/etc".to_vec());
                }
            }
            e.xattrs.insert(b"user.kept".to_vec(), b"1".to_vec());
        })
    };
    let fs = store.push(&[inject(dir("d/")), inject(file("d/f", "x"))]);
    for path in ["d", "d/f"] {
        let mut list = vec![0; 1000];
        let n = rustix::fs::llistxattr(fs.join(path), &mut list).unwrap();
        assert_eq!(&list[..n], b"user.kept\0", "{path}");
    }
    // Nor can a device be one that means "deleted", or become one for lack of bits.
    for number in [(0, 0), (1 << 12, 0), (0, 1 << 20), (1 << 31, 1 << 31)] {
        let device = with((entry("null", Kind::CharDevice), Vec::new()), |e| e.device = number);
        let facts = store.import(&archive(&[file("f", ""), device])).unwrap();
        assert_eq!(facts.missing_devices, 1, "{number:?}");
    }
    let device = with((entry("null", Kind::CharDevice), Vec::new()), |e| e.device = (0xfff, 0xfffff));
    assert_eq!(store.import(&archive(&[device])).unwrap().missing_devices, 0);
}

#[test]
fn privileged_whiteouts_must_name_something() {
    let store = Fixture::new();
    for path in [".wh.", ".wh..", ".wh...", "d/.wh..."] {
        let error = store.refused(&[dir("d/"), file(path, "")]);
        assert!(error.contains("must name what it hides"), "{path}: {error}");
    }
}

#[test]
fn privileged_files_are_no_directories() {
    let store = Fixture::new();
    let error = store.refused(&[file("a", ""), file("a/b", "")]);
    assert!(error.contains("`a/b`") && error.contains("not a directory"), "{error}");
    let error = store.refused(&[file(".", "")]);
    assert!(error.contains("the root can only be a directory"), "{error}");
}

#[test]
fn privileged_damage_and_lies_leave_nothing() {
    let store = Fixture::new();
    let good = archive(&[dir("d/"), file("d/f", &"x".repeat(3000))]);
    let wrong = Digest::of(b"another");
    let error = store.layers.import(&[], &wrong, &good[..]).unwrap_err();
    assert!(matches!(error, LayerError::WrongDiffId { expected, .. } if expected == wrong));
    let error = store.layers.import(&[], &Digest::of(&good), &good[..4000]).unwrap_err();
    assert!(chain(&error).contains("cut off at `d/f`"), "{}", chain(&error));
    let huge = with(file("huge", ""), |e| e.size = (8 << 60) - 1);
    let mut tar = Writer::new(Vec::new());
    tar.entry(&huge.0).unwrap();
    tar.content(b"few bytes").unwrap();
    let error = tar.finish().unwrap_err();
    assert!(error.to_string().contains("lacks"));
    let mut header = ::tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size((8 << 60) - 1);
    header.set_cksum();
    let error = store.import(header.as_bytes()).unwrap_err();
    assert!(chain(&error).contains("cut off at `huge`"), "{}", chain(&error));
    assert!(store.layers.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(store.dir.path().join("work")).unwrap().count(), 0);
    // And the store is as usable as before.
    store.import(&good).unwrap();
}

#[test]
fn privileged_owners_that_do_not_exist() {
    let store = Fixture::new();
    for uid in [u64::from(u32::MAX), 1 << 40] {
        let error = store.refused(&[with(file("f", ""), |e| e.uid = uid)]);
        assert!(error.contains(&format!("`f` belongs to {uid}:0")), "{error}");
    }
}

#[test]
fn privileged_bombs_of_holes_cost_nothing() {
    let mut store = Fixture::new();
    let mut block = Vec::new();
    for (key, value) in [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "hole"),
        ("GNU.sparse.realsize", "1099511627776"),
    ] {
        super::super::tar::push_record(&mut block, key, value);
    }
    let mut tar = Vec::new();
    let mut header = ::tar::Header::new_ustar();
    header.set_entry_type(::tar::EntryType::XHeader);
    header.set_size(block.len() as u64);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    block.resize(512, 0);
    tar.extend_from_slice(&block);
    let mut header = ::tar::Header::new_ustar();
    header.set_path("GNUSparseFile.0/hole").unwrap();
    header.set_mode(0o644);
    header.set_size(512);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    let mut map = b"0\n".to_vec();
    map.resize(512, 0);
    tar.extend_from_slice(&map);
    tar.resize(tar.len() + 1024, 0);
    let facts = store.import(&tar).unwrap();
    let fs = store.layers.fs(&[], &facts.diff_id).unwrap();
    let meta = fs.join("hole").metadata().unwrap();
    assert_eq!((meta.len(), meta.blocks()), (1 << 40, 0));
    store.chain.push(facts.diff_id);
}

#[test]
fn privileged_depth_costs_no_more_than_its_length() {
    // With a walk from the root for every name of a path this would take minutes.
    let mut store = Fixture::new();
    let deep = "d/".repeat(300);
    store.push(&[dir("d/"), file(&format!("{deep}f"), "x")]);
    let fs = store.push(&[file(&format!("{deep}g"), "x")]);
    assert_eq!(text(&fs.join(&deep).join("g")), "x");
    let deep = "e/".repeat(1900);
    let fs = store.push(&[file(&format!("{deep}g"), "x")]);
    assert_eq!(text(&fs.join(&deep).join("g")), "x");
}
