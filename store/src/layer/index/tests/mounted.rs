//! Indexes that are mounted, beside what the same tar unpacks to.

use std::os::unix::fs::FileExt;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount as m;

use super::*;
use crate::work::Work;

#[test]
fn privileged_one_of_each_kind() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let device = |path, kind, device| with((entry(path, kind), Vec::new()), |e| e.device = device);
    let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
    assert_same(&[
        with(dir("./"), |e| (e.mode, e.uid, e.mtime) = (0o1711, 5, time(12, 34))),
        with(dir("d/"), |e| (e.mode, e.mtime) = (0o2500, time(-5, 999_999_999))),
        with(file("d/suid", "content"), |e| {
            (e.mode, e.uid, e.gid) = (0o6711, 4_000_000_000, 4_294_967_294);
            e.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
            e.xattrs.insert(b"user.bin".to_vec(), b"\n\0=\xff".to_vec());
            e.xattrs.insert(b"user.empty".to_vec(), b"".to_vec());
            e.xattrs.insert(b"trusted.x".to_vec(), vec![0; 300]);
        }),
        with(file("later", "x"), |e| e.mtime = time(10_000_000_000, 1)),
        file("empty", ""),
        hard_link("again", "d/suid"),
        hard_link("d/and again", "again"),
        device("null", Kind::CharDevice, (1, 3)),
        device("large", Kind::CharDevice, (4095, 1_048_575)),
        device("disk", Kind::BlockDevice, (259, 0x12345)),
        device("zero", Kind::BlockDevice, (0, 0)),
        device("no device", Kind::CharDevice, (0, 0)),
        device("nor this", Kind::CharDevice, (4096, 0)),
        device("nor that", Kind::BlockDevice, (0, 1 << 20)),
        hard_link("null2", "null"),
        with((entry("pipe", Kind::Fifo), Vec::new()), |e| e.mode = 0o622),
        with(symlink("s", "t"), |e| (e.uid, e.mtime.nanoseconds) = (7, 3)),
        hard_link("s2", "s"),
    ]);
}

#[test]
fn privileged_names_targets_and_contents_of_every_size() {
    let mut entries = vec![dir("d/")];
    for name in [
        &[b'n'; 255][..],
        b"latin-\xe9\xff",
        b"new\nline",
        b"!",
        b"-",
        b".x",
        b"..x",
        b".!",
        b".\xff",
        b"\x01",
    ] {
        entries.push(with(file("", "x"), |e| e.path = [b"d/", name].concat()));
    }
    for size in [1, 100, 447, 448, 449, 511, 512, 513, 1024, 4094, 4095] {
        entries.push(symlink(&format!("link-{size}"), &"t".repeat(size)));
    }
    for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 3_000_001] {
        let content: Vec<u8> =
            (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let made = with(file(&format!("file-{size}"), ""), |e| e.size = size);
        entries.push((made.0, content));
    }
    let mut deep = String::new();
    for i in 0..1200 {
        deep += &format!("{i}/");
        if deep.len() > 4000 {
            break;
        }
        entries.push(dir(&deep));
    }
    assert_same(&entries);
}

#[test]
fn privileged_many_attributes() {
    let acl = |ids: &[u32]| {
        let mut out = vec![2, 0, 0, 0];
        let mut add = |tag: u16, permissions: u16, id: u32| {
            out.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            out.extend(id.to_le_bytes());
        };
        add(1, 6, u32::MAX);
        ids.iter().for_each(|id| add(2, 7, *id));
        [(4, 4), (16, 4), (32, 4)].into_iter().for_each(|(tag, permissions)| add(tag, permissions, u32::MAX));
        out
    };
    let some = |e: &mut Entry| {
        for i in 0..40 {
            e.xattrs.insert(format!("user.{i}").into_bytes(), vec![i; usize::from(i)]);
        }
    };
    assert_same(&[
        with(dir("d/"), |e| {
            some(e);
            e.mode = 0o644;
            e.xattrs.insert(b"system.posix_acl_access".to_vec(), acl(&[1, 2, 70_000]));
            e.xattrs.insert(b"system.posix_acl_default".to_vec(), acl(&[3]));
        }),
        with(file("d/f", "x"), some),
        with(file("d/g", "x"), some),
        with(file("acl", "x"), |e| drop(e.xattrs.insert(b"system.posix_acl_access".to_vec(), acl(&[9])))),
        with(file("plain acl", "x"), |e| {
            drop(e.xattrs.insert(b"system.posix_acl_access".to_vec(), acl(&[])))
        }),
        with(symlink("l", "t"), some),
        with(file("mac", "x"), |e| drop(e.xattrs.insert(b"com.apple.provenance".to_vec(), b"1".to_vec()))),
    ]);
    // More than this machine's file system would take.
    let many = with(file("f", "x"), |e| {
        for i in 0..300 {
            e.xattrs.insert(format!("user.{i}").into_bytes(), vec![1; 200]);
        }
        e.xattrs.insert(b"trusted.large".to_vec(), (0..60_000).map(|i| i as u8).collect());
    });
    let (_dir, root, _) = mounted(&archive(std::slice::from_ref(&many)));
    assert_eq!(node::xattrs(root.as_fd(), b"f").unwrap(), many.0.xattrs);
}

/// A tar's index, mounted.
fn mounted(tar: &[u8]) -> (tempfile::TempDir, OwnedFd, Indexed) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (image, indexed) = image(tar, true).unwrap();
    let (index, archive) = (dir.path().join("index"), dir.path().join("tar"));
    std::fs::write(&index, image).unwrap();
    std::fs::write(&archive, tar).unwrap();
    let root = mount(&index, &archive).unwrap();
    (dir, root, indexed)
}

#[test]
fn privileged_what_is_said_last_counts() {
    assert_same(&[
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
        file("m/stays", ""),
        with(dir("m/"), |e| (e.mode, e.uid) = (0o1777, 9)),
        hard_link("a", "a"),
        dir("n/"),
        dir("n/x/"),
        file("n/x/y", "1"),
        symlink("n", "m"),
        file("n/new", "in m"),
        file("o", ""),
        with((entry("o", Kind::CharDevice), Vec::new()), |e| e.device = (0, 0)),
        file("p/q", "named later"),
        with(dir("p"), |e| e.mode = 0o711),
        file("never/named", ""),
    ]);
}

#[test]
fn privileged_whiteouts_and_opaque_directories() {
    for whiteouts_first in [true, false] {
        let whiteouts = vec![
            file(".wh.d", ""),
            file(".wh.f", ""),
            file(".wh.gone", ""),
            dir(".wh.dir/"),
            file("g/.wh..wh..opq", ""),
            with(file("", ""), |e| e.path = [&b".wh."[..], &[b'n'; 255]].concat()),
            file(".wh.over", ""),
            file(".wh..wh.plnk/1.2", ""),
        ];
        let made = vec![dir("d/"), file("d/new", ""), file("f", "new"), dir("g/"), file("g/new", "")];
        let mut entries =
            if whiteouts_first { [whiteouts, made].concat() } else { [made, whiteouts].concat() };
        entries.extend([
            file("over/implied", ""),
            file(".wh..wh..opq", ""),
            with(dir("g/"), |e| drop(e.xattrs.insert(b"user.x".to_vec(), b"1".to_vec()))),
            hard_link("gone", "f"),
        ]);
        assert_same(&entries);
    }
}

#[test]
fn privileged_what_attackers_write() {
    let inject = |made: Made| {
        with(made, |e| {
            for form in ["trusted", "user"] {
                for name in ["opaque", "redirect", "metacopy", "whiteout", "origin", "overlay.opaque"] {
                    e.xattrs.insert(format!("{form}.overlay.{name}").into_bytes(), b"y".to_vec());
                }
            }
            e.xattrs.insert(b"user.kept".to_vec(), b"1".to_vec());
        })
    };
    assert_same(&[
        inject(dir("d/")),
        inject(file("d/f", "x")),
        inject(file(".wh.gone", "")),
        inject(file("d/.wh..wh..opq", "")),
        symlink("absolute", "/var/tmp"),
        file("absolute/owned", "inside"),
        symlink("up", "../../../../../../../.."),
        file("up/owned", "inside"),
        symlink("d/chain", "../absolute"),
        file("d/chain/two", "inside"),
        symlink("dots", "d/.././/d/new/../new2"),
        file("dots/three", "inside"),
        file("d/../b", "b"),
        symlink("d/long", &"../d/".repeat(800)),
        file("d/long/long/far", "thousands of names"),
        file("/c", "c"),
        file("././e", "e"),
        file("d//./f", "f"),
        hard_link("h", "/d/../e"),
        file(".wh.dir/inside", "a name like any other"),
    ]);
    let long = "n".repeat(254) + "/";
    assert_same(&[dir(&format!("{}fifteen-letters", long.repeat(16)))]);
    for (entries, words) in [
        (vec![dir("a/"), file("../x", "")], "climbs out"),
        (vec![file("a/../../x", "")], "climbs out"),
        (vec![hard_link("x", "../../etc/passwd")], "climbs out"),
        (vec![symlink("a", "b"), symlink("b", "a"), file("a/x", "")], "too many symbolic links"),
        (
            vec![dir("a/"), symlink("a/l", &"../a/".repeat(800)), file("a/l/l/l/l/f", "")],
            "too many symbolic links",
        ),
        (vec![hard_link("x", "nowhere")], "is not there"),
        (vec![file(".wh.x", ""), hard_link("y", "x")], "is not there"),
        (vec![dir("etc/"), hard_link("x", "etc")], "to a directory"),
        (vec![hard_link("x", "/")], "to the root"),
        (vec![dir("d/"), file("d/f", ""), hard_link("d", "d/f")], "cannot link"),
        (vec![file(".wh.", "")], "must name what it hides"),
        (vec![dir("d/"), file("d/.wh...", "")], "must name what it hides"),
        (vec![file("a", ""), file("a/b", "")], "not a directory"),
        (vec![file(".", "")], "the root can only be a directory"),
        (vec![with(file("f", ""), |e| e.uid = u64::from(u32::MAX))], "belongs to 4294967295:0"),
        (vec![with(dir("f"), |e| e.gid = 1 << 40)], "belongs to 0:1099511627776"),
        (vec![with(symlink("f", "t"), |e| e.gid = 1 << 40)], "belongs to 0:1099511627776"),
        (vec![symlink("l", &"t".repeat(4096))], "cannot make"),
        (vec![file(&"n".repeat(256), "")], "cannot look at"),
        (vec![file(&format!(".wh.{}", "n".repeat(256)), "")], "cannot look at"),
        (vec![file(&format!("{}/f", "n".repeat(256)), "")], "cannot find the place"),
        (vec![file(&format!("new/{}/f", "n".repeat(256)), "")], "cannot make the directory"),
        (vec![file(&format!("{}f", long.repeat(17)), "")], "cannot find the place"),
        (vec![dir(&format!("{}sixteen-letters.", long.repeat(16)))], "cannot finish directory"),
    ] {
        let error = assert_refused(&entries);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn privileged_a_directory_of_100_000_entries() {
    let mut indexer = Indexer::new(true);
    let name = |i: u32| format!("{:x}", i.wrapping_mul(2_654_435_761));
    for i in 0..100_000 {
        indexer.entry(&entry(&name(i), Kind::Fifo), None).unwrap();
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (index, tar) = (dir.path().join("index"), dir.path().join("tar"));
    std::fs::File::create(&tar).unwrap();
    let mut file = std::fs::File::create(&index).unwrap();
    indexer.finish(&mut file, &Of { diff_id: Digest::of(b""), tar_size: 0 }).unwrap();
    let root = mount(&index, &tar).unwrap();
    let root = node::open_dir(root.as_fd(), b"").unwrap();
    let mut expected: Vec<_> = (0..100_000).map(|i| name(i).into_bytes()).collect();
    expected.sort_unstable();
    assert!(node::names(root.as_fd()).unwrap() == expected);
    for i in (0..100_000).step_by(97) {
        let meta = Meta::at(root.as_fd(), name(i).as_bytes()).unwrap().unwrap();
        assert_eq!(meta.kind, FileType::Fifo);
        assert!(Meta::at(root.as_fd(), format!("{}x", name(i)).as_bytes()).unwrap().is_none());
    }
}

#[test]
fn privileged_files_of_8_gib() {
    let sizes = [(8u64 << 30) + 5, 513];
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (index, path) = (dir.path().join("index"), dir.path().join("tar"));
    let archive = std::fs::File::create(&path).unwrap();
    let mut indexer = Indexer::new(true);
    let mut at = 0;
    for size in sizes {
        let made = with(file(&format!("file-{size}"), ""), |e| e.size = size);
        let mut header = Vec::new();
        crate::layer::tar::Writer::new(&mut header).entry(&made.0).unwrap();
        archive.write_all_at(&header, at).unwrap();
        at += header.len() as u64;
        indexer.entry(&made.0, Some(at)).unwrap();
        for mark in [0, size / 2, size - 4] {
            archive.write_all_at(b"mark", at + mark).unwrap();
        }
        at = (at + size).next_multiple_of(512);
    }
    archive.set_len(at + 1024).unwrap();
    let mut file = std::fs::File::create(&index).unwrap();
    indexer.finish(&mut file, &Of { diff_id: Digest::of(b""), tar_size: at + 1024 }).unwrap();
    let root = mount(&index, &path).unwrap();
    for size in sizes {
        let file = node::open_file(root.as_fd(), format!("file-{size}").as_bytes()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), size);
        for mark in [0, size / 2, size - 4] {
            let mut found = [0; 4];
            file.read_exact_at(&mut found, mark).unwrap();
            assert_eq!(&found, b"mark", "at {mark} of {size}");
        }
        assert_eq!(file.read_at(&mut [0; 4], size).unwrap(), 0);
    }
}

#[test]
fn privileged_tars_that_end_early() {
    let content = "x".repeat(600);
    let whole = archive(&[file("a", "first"), file("f", &content)]);
    let content = whole.windows(600).position(|bytes| bytes == content.as_bytes()).unwrap();
    for length in [whole.len(), content + 1024, whole.len() - 512] {
        let pair = Pair::of(&whole[..length]);
        pair.assert_same();
    }
    // Whose content is all there, but not the rest of its block.
    for length in [content + 600, content + 1023] {
        assert!(matches!(image(&whole[..length], true), Err(Refused::NotHere(_))), "{length}");
    }
    // What stands behind the end is not looked at.
    Pair::of(&[&whole[..], b"more"].concat()).assert_same();
    let nothing = Pair::of(b"");
    nothing.assert_same();
    assert!(image(&whole[..content + 599], true).is_err());
}

#[test]
fn privileged_the_probe_and_what_does_not_mount() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let work = Work::open(&dir.path().join("work")).unwrap();
    probe(&work).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
    // A path that is longer than what the kernel takes.
    let long = dir.path().join("l".repeat(200)).join("m".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    let tar = archive(&[file("f", "text")]);
    let (image, _) = image(&tar, true).unwrap();
    let (index, archive) = (long.join("index"), long.join("tar"));
    std::fs::write(&archive, &tar).unwrap();
    std::fs::write(&index, &image).unwrap();
    drop(mount(&index, &archive).unwrap());
    for (at, byte) in [(1024, 0), (1100, 7), (1280, 9)] {
        let mut damaged = image.clone();
        damaged[at] = byte;
        std::fs::write(&index, damaged).unwrap();
        let error = mount(&index, &archive).unwrap_err();
        assert!(error.to_string().starts_with("cannot mount `"), "{error}");
        assert!(error.hint().is_some());
    }
    std::fs::write(&index, &image).unwrap();
    std::fs::remove_file(&archive).unwrap();
    let error = chain(&mount(&index, &archive).unwrap_err());
    assert!(error.contains("No such file"), "{error}");
}

/// What overlayfs makes of two mounted indexes that are attached nowhere.
#[test]
fn privileged_overlays_of_indexes() {
    let (_below, below, _) = mounted(&archive(&[
        dir("d/"),
        file("d/old", ""),
        file("f", "old"),
        dir("g/"),
        file("g/old", ""),
        file("kept", "from below"),
        dir("h/"),
        file("h/old", ""),
    ]));
    let (_above, above, _) = mounted(&archive(&[
        file(".wh.f", ""),
        dir("g/"),
        file("g/.wh..wh..opq", ""),
        file("g/new", "new"),
        file(".wh.h", ""),
        dir("h/"),
        dir("d/"),
        file("d/new", ""),
    ]));
    let context = m::fsopen("overlay", m::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for layer in [&above, &below] {
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(layer));
        m::fsconfig_set_string(context.as_fd(), "lowerdir+", name).unwrap();
    }
    m::fsconfig_create(context.as_fd()).unwrap();
    let flags = m::MountAttrFlags::MOUNT_ATTR_RDONLY;
    let overlay = m::fsmount(context.as_fd(), m::FsMountFlags::FSMOUNT_CLOEXEC, flags).unwrap();
    // It keeps what it needs of them.
    drop((below, above));
    let found: Vec<_> =
        tree(overlay.as_fd(), false).into_keys().map(|path| String::from_utf8(path).unwrap()).collect();
    assert_eq!(found, ["", "d", "d/new", "d/old", "g", "g/new", "h", "kept"]);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    assert!(rustix::fs::openat(CWD, "/nowhere-at-all", flags, Mode::empty()).is_err());
}
