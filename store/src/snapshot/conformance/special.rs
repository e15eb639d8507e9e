//! Links, devices, attributes, and everything that is large, long or odd.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use orlop_fixtures::tarball::{Entry, archive};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};

use super::changes::base;
use super::{Check, Committed, Subject, set_time};
use crate::digest::Digest;
use crate::layer::tar::Kind;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("hard_links_in_a_layer", links_in_a_layer),
    ("symbolic_links", symbolic_links),
    ("devices_and_pipes_but_no_sockets", devices),
    ("extended_attributes", attributes),
    ("attributes_of_overlayfs_stay_out", private_attributes),
    ("default_acls_are_not_inherited", default_acls),
    ("names_of_any_bytes", names),
    ("times_before_1970_and_after_2242", times),
    ("huge_owners", owners),
    ("sparse_and_huge_files", sparse),
    ("deletions_of_nothing_are_not_seen", deletions_of_nothing),
    ("deep_directories", deep),
    ("directories_without_permissions", shut),
];

fn links_in_a_layer(subject: &Subject) {
    let step = subject.step(&Committed::scratch(), |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/z"), "linked").unwrap();
        fs::hard_link(root.join("d/z"), root.join("a")).unwrap();
        fs::hard_link(root.join("d/z"), root.join("d/m")).unwrap();
        symlink("target", root.join("s")).unwrap();
        fs::hard_link(root.join("s"), root.join("t")).unwrap();
    });
    assert_eq!(step.entries["a"].kind, Kind::File, "the first name by its bytes has the content");
    for path in ["d/m", "d/z"] {
        assert_eq!((step.entries[path].kind, &step.entries[path].link[..]), (Kind::HardLink, &b"a"[..]));
    }
    let step = subject.step(&step.committed, |root| fs::remove_file(root.join("a")).unwrap());
    if subject.deviations.breaks_links {
        assert_eq!(step.paths(), [".wh.a"]);
    }
}

fn symbolic_links(subject: &Subject) {
    let long = "t".repeat(300);
    let step = subject.step(&Committed::scratch(), |root| {
        symlink("/absolute/../path", root.join("a")).unwrap();
        symlink(&long, root.join("long")).unwrap();
        symlink(OsStr::from_bytes(b"caf\xe9"), root.join("latin")).unwrap();
    });
    assert_eq!(step.entries["long"].link, long.as_bytes());
    let step = subject.step(&step.committed, |root| {
        fs::remove_file(root.join("a")).unwrap();
        symlink("/elsewhere", root.join("a")).unwrap();
    });
    assert_eq!(step.paths(), ["a"]);
}

fn devices(subject: &Subject) {
    let node =
        |path: &Path, kind, device| mknodat(CWD, path, kind, Mode::from_raw_mode(0o620), device).unwrap();
    let step = subject.step(&Committed::scratch(), |root| {
        node(&root.join("pipe"), FileType::Fifo, 0);
        if !subject.deviations.no_devices {
            node(&root.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
            node(&root.join("disk"), FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
        }
        fs::write(root.join("turns"), "into a socket").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    });
    if subject.deviations.no_devices {
        assert_eq!(step.paths(), ["pipe", "turns"]);
    } else {
        assert_eq!(step.paths(), ["disk", "null", "pipe", "turns"]);
        assert_eq!(step.entries["disk"].device, (259, 70_000));
    }
    let step = subject.step(&step.committed, |root| {
        fs::remove_file(root.join("turns")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("turns")).unwrap();
        fs::remove_file(root.join("pipe")).unwrap();
        node(&root.join("pipe"), FileType::Fifo, 0);
    });
    assert_eq!(step.paths(), [".wh.turns", "pipe"]);
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn attributes(subject: &Subject) {
    let base = base(subject);
    // cap_net_raw+ep, revision 2.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // user::rwx user:1:r-x group::r-x mask::r-x other::---
    let mut acl = vec![2, 0, 0, 0];
    for (tag, perm, id) in
        [(1u16, 7u16, u32::MAX), (2, 5, 1), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let step = subject.step(&base.committed, |root| {
        let file = root.join("etc/passwd");
        set(&file, "user.text", b"value");
        set(&file, "user.binary", b"\n\0\x01=\xff 12 a=b\n");
        set(&file, "user.empty", b"");
        set(&file, "user.large", &[7; 2000]);
        set(&root.join("etc/conf.d/a"), "security.capability", &capability);
        if !subject.deviations.one_id {
            set(&root.join("etc/conf.d/b"), "system.posix_acl_access", &acl);
        }
        set(&root.join("tmp"), "user.dir", b"d");
    });
    assert_eq!(step.entries["etc/passwd"].xattrs[&b"user.binary"[..]], b"\n\0\x01=\xff 12 a=b\n");
    assert_eq!(step.entries["etc/conf.d/a"].xattrs[&b"security.capability"[..]], capability);
    assert_eq!(step.entries["tmp/"].xattrs[&b"user.dir"[..]], b"d");
    let step = subject.step(&step.committed, |root| {
        rustix::fs::lremovexattr(root.join("etc/passwd"), "user.text").unwrap();
    });
    assert_eq!(step.paths(), ["etc/", "etc/passwd"]);
    assert!(!step.entries["etc/passwd"].xattrs.contains_key(&b"user.text"[..]));
}

fn private_attributes(subject: &Subject) {
    let step = subject.step(&Committed::scratch(), |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "").unwrap();
        // Where the driver lets a step set such a thing, it is not in the layer.
        let _ = rustix::fs::lsetxattr(root.join("d"), "user.overlay.opaque", b"y", XattrFlags::empty());
        let _ =
            rustix::fs::lsetxattr(root.join("d/f"), "user.overlay.redirect", b"/etc", XattrFlags::empty());
    });
    for (path, entry) in &step.entries {
        assert!(entry.xattrs.is_empty(), "{path}");
    }
}

fn default_acls(subject: &Subject) {
    if subject.deviations.one_id {
        return;
    }
    let mut acl = vec![2, 0, 0, 0];
    for (tag, perm, id) in
        [(1u16, 7u16, u32::MAX), (2, 7, 1), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let base = base(subject);
    let step = subject.step(&base.committed, |root| {
        // The files in it are older and have none.
        set(&root.join("etc/conf.d"), "system.posix_acl_default", &acl);
    });
    let step = subject.step(&step.committed, |root| fs::write(root.join("etc/conf.d/inherits"), "").unwrap());
    // The same of the root, above which there is no directory of a layer.
    let step = subject.step(&step.committed, |root| set(root, "system.posix_acl_default", &acl));
    let step = subject.step(&step.committed, |root| fs::write(root.join("inherits"), "").unwrap());
    let step = subject.step(&step.committed, |root| fs::create_dir(root.join("as well")).unwrap());
    assert!(step.entries["as well/"].xattrs.contains_key(&b"system.posix_acl_default"[..]));
}

fn names(subject: &Subject) {
    let names: &[&[u8]] = &[
        &[b'n'; 255],
        "ünïcödé".as_bytes(),
        b"latin-\xe9\xff",
        b"new\nline",
        b"  spaces ",
        b"\\back\"slash'",
        b".wh",
        b"...",
        b"\x01",
    ];
    let step = subject.step(&Committed::scratch(), |root| {
        for name in names {
            fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
        }
        let mut deep = root.to_owned();
        for _ in 0..3 {
            deep.push("d".repeat(200));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
    });
    for name in names {
        assert!(step.entries.values().any(|entry| entry.path == *name), "{}", name.escape_ascii());
    }
    subject.step(&step.committed, |root| {
        for name in names {
            fs::remove_file(root.join(OsStr::from_bytes(name))).unwrap();
        }
    });
}

fn times(subject: &Subject) {
    let times = [(-1i64, 0u32), (-2, 999_999_999), (0, 1), (1 << 31, 5), (10_000_000_000, 1)];
    let step = subject.step(&Committed::scratch(), |root| {
        for (i, (seconds, nanoseconds)) in times.iter().enumerate() {
            let path = root.join(format!("t{i}"));
            fs::write(&path, "").unwrap();
            let time = rustix::fs::Timespec { tv_sec: *seconds, tv_nsec: (*nanoseconds).into() };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(fs::File::open(&path).unwrap(), &times).unwrap();
        }
    });
    for (i, (seconds, nanoseconds)) in times.iter().enumerate() {
        let mtime = step.entries[&format!("t{i}")].mtime;
        assert_eq!((mtime.seconds, mtime.nanoseconds), (*seconds, *nanoseconds));
    }
}

fn owners(subject: &Subject) {
    if subject.deviations.one_id || subject.deviations.no_devices {
        return;
    }
    let step = subject.step(&Committed::scratch(), |root| {
        fs::write(root.join("f"), "").unwrap();
        std::os::unix::fs::chown(root.join("f"), Some(4_000_000_000), Some(2_097_152)).unwrap();
    });
    assert_eq!((step.entries["f"].uid, step.entries["f"].gid), (4_000_000_000, 2_097_152));
}

fn sparse(subject: &Subject) {
    let step = subject.step(&Committed::scratch(), |root| {
        let file = fs::File::create(root.join("sparse")).unwrap();
        file.write_all_at(b"data", 5_000_000).unwrap();
        file.set_len(20_000_000).unwrap();
        fs::File::create(root.join("hole")).unwrap().set_len(3_000_000).unwrap();
    });
    assert_eq!(step.entries["sparse"].size, 20_000_000);
    let view = subject.other.view(&step.committed).unwrap();
    for name in ["sparse", "hole"] {
        let blocks = fs::metadata(view.path().join(name)).unwrap().blocks();
        assert!(blocks < 1000, "holes stay holes: {name} has {blocks} blocks");
    }
}

fn deep(subject: &Subject) {
    let step = subject.step(&Committed::scratch(), |root| {
        let mut path = root.to_owned();
        for _ in 0..700 {
            path.push("deep");
        }
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("f"), "x").unwrap();
    });
    assert_eq!(step.diff.entries, 701);
}

fn shut(subject: &Subject) {
    use std::os::unix::fs::PermissionsExt;
    let step = subject.step(&Committed::scratch(), |root| {
        fs::create_dir_all(root.join("shut/inner")).unwrap();
        fs::write(root.join("shut/inner/f"), "x").unwrap();
        set_time(&root.join("shut/inner"), 3, 0);
        fs::set_permissions(root.join("shut/inner"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(root.join("shut"), fs::Permissions::from_mode(0o555)).unwrap();
    });
    assert_eq!(step.entries["shut/inner/"].mode, 0o000);
    assert_eq!(step.entries["shut/inner/"].mtime.seconds, 3);
}

/// Other tools write whiteouts of what no layer has. In a directory that is of one layer alone an overlay would list
/// them, as names that lead nowhere.
fn deletions_of_nothing(subject: &Subject) {
    let entry = |path: &&str| match path.strip_suffix('/') {
        Some(_) => Entry::dir(path),
        None => Entry::file(path, ""),
    };
    let chains: [&[&[&str]]; 4] = [
        &[&["a/", "a/.wh.gone", "a/kept", ".wh.gone", "a/b/", "a/b/.wh.gone"]],
        // A directory is named before what is in it, after that, and not at all.
        &[
            &["a/", "a/x"],
            &["d/.wh.gone", "d/", "d/kept", "a/.wh.gone", "a/.wh.x", "a/", "e/.wh.gone", "e/f"],
        ],
        &[&["a/", "a/x"], &["a/", "a/.wh..wh..opq", "a/.wh.x", "a/.wh.gone", "a/kept"]],
        &[&["a/", "a/x"], &["b/", "b/.wh.gone"], &["b/", "b/.wh.other", "c/", "c/.wh.b"]],
    ];
    let expected: [&[&str]; 4] = [
        &["a", "a/b", "a/kept"],
        &["a", "d", "d/kept", "e", "e/f"],
        &["a", "a/kept"],
        &["a", "a/x", "b", "c"],
    ];
    for (chain, expected) in chains.into_iter().zip(expected) {
        let mut snapshot = Committed::scratch();
        for layer in chain {
            let tar = archive(&layer.iter().map(entry).collect::<Vec<_>>());
            let diff_id = Digest::of(&tar);
            subject.layers.import(snapshot.layers(), &diff_id, &tar[..]).unwrap();
            snapshot = snapshot.with(diff_id);
        }
        let names = |root: &Path| {
            let mut found = Vec::new();
            let mut todo = vec![root.to_owned()];
            while let Some(dir) = todo.pop() {
                for entry in fs::read_dir(dir).unwrap() {
                    let path = entry.unwrap().path();
                    found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                        todo.push(path);
                    }
                }
            }
            found.sort();
            found
        };
        let view = subject.driver.view(&snapshot).unwrap();
        assert_eq!(names(view.path()), expected, "{chain:?}");
        drop(view);
        let active = subject.driver.prepare(&snapshot).unwrap();
        assert_eq!(names(active.path()), expected, "{chain:?}");
        fs::remove_dir_all(active.path().join("a")).unwrap();
        let diff = subject.driver.diff(&active).unwrap();
        assert_eq!(diff.entries, 1, "{chain:?}");
        let committed = subject.driver.commit(active, &diff).unwrap();
        let left: Vec<_> = expected.iter().copied().filter(|path| !path.starts_with('a')).collect();
        assert_eq!(names(subject.driver.view(&committed).unwrap().path()), left, "{chain:?}");
    }
}
