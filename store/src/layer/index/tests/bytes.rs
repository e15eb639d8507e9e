//! What stands where.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use super::reader::Image;
use super::*;

#[test]
fn the_beginning_says_what_it_is() {
    let tar = archive(&[with(dir("./"), |e| (e.mode, e.gid) = (0o1777, 9)), file("f", "content")]);
    let (image, indexed) = image(&tar, true).unwrap();
    let number = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    assert!(image[..1024].iter().all(|b| *b == 0));
    assert_eq!(&image[1024..1028], [0xe2, 0xe1, 0xf5, 0xe0]);
    assert_eq!(number(1032), 3, "a checksum; times of content");
    assert_eq!(image[1036], 9, "blocks of 512 bytes");
    assert_eq!(&image[1088..1104], b"orlop index 2\0\0\0");
    let diff_id = Digest::of(&tar);
    assert_eq!(&image[1152..1216], diff_id.hex().as_bytes());
    assert_eq!(number(1216) as usize * 512, tar.len());
    assert_eq!(
        image[1072..1076],
        [&diff_id.hex()[..8]].map(|hex| u32::from_str_radix(hex, 16).unwrap().to_be_bytes())[0]
    );
    // Root: long form with its names behind it, no attributes, its kind and mode.
    assert_eq!(&image[1280..1288], [5, 0, 0, 0, 0xff, 0x43, 0, 0]);
    assert_eq!(indexed.entries, 2);
    // `.`, `..` and `f`, twelve bytes each, then the names.
    assert_eq!(&image[1344..1356], [40, 0, 0, 0, 0, 0, 0, 0, 36, 0, 2, 0]);
    assert_eq!(&image[1356..1368], [40, 0, 0, 0, 0, 0, 0, 0, 37, 0, 2, 0]);
    assert_eq!(&image[1368..1384], *b"\x2c\0\0\0\0\0\0\0\x27\0\x01\0...f");
    let sum = number(1028);
    let mut zeroed = image.clone();
    zeroed[1028..1032].fill(0);
    assert_eq!(sum, format::crc32c(&zeroed[1024..1536]));
    assert_eq!(!format::crc32c(b"123456789"), 0xe306_9283, "as the specification of CRC-32C has it");
}

#[test]
fn the_bytes_of_an_image_are_fixed() {
    let tar = archive(&[dir("d/"), file("d/f", "x"), symlink("l", &"t".repeat(600)), file(".wh.gone", "")]);
    let (one, _) = image(&tar, true).unwrap();
    assert_eq!(image(&tar, true).unwrap().0, one, "whatever the hash table does");
    // Who changes these has to change the label in the superblock too.
    assert_eq!(
        Digest::of(&one).to_string(),
        "sha256:2c0d6a252b1576632790927e68e5e88b96ad7445f077c91d5ce4100eaeff56b1"
    );
}

#[test]
fn files_are_where_the_tar_has_them() {
    let contents = [0, 1, 511, 512, 513, 5000].map(|n| "x".repeat(n));
    let mut entries = vec![dir("d/")];
    entries.extend(contents.iter().enumerate().map(|(i, text)| file(&format!("d/{i}"), text)));
    // Long names have records before them.
    entries.push(file(&format!("d/{}", "n".repeat(200)), "after a record"));
    let tar = archive(&entries);
    let (image, _) = image(&tar, true).unwrap();
    let image = Image::new(&image);
    let tree = image.tree();
    for (entry, content) in &entries[1..] {
        let node = &tree[&entry.path];
        assert_eq!(node.size, content.len() as u64);
        if node.size > 0 {
            let range = image.file(node);
            assert_eq!(&tar[range.start as usize..range.end as usize], content);
        }
    }
}

#[test]
fn directories_of_every_size() {
    // Some end at the end of a block, some just behind it, some just before.
    for names in (0..45).chain([100, 1000, 5000]) {
        for length in [1, 20, 243, 244, 255] {
            let mut entries = vec![dir("d/")];
            let name = |i: usize| format!("d/{i:x}{}", "-".repeat(length.max(4) - 4)).replace("d/0-", "d/!-");
            entries.extend((0..names).rev().map(|i| (entry(&name(i), Kind::Fifo), Vec::new())));
            if names > 100 && length > 20 {
                continue;
            }
            let (image, _) = image(&archive(&entries), true).unwrap();
            let tree = Image::new(&image).tree();
            assert_eq!(tree.len(), names + 2);
        }
    }
}

#[test]
fn attributes_of_every_size_with_targets_behind_them() {
    let mut entries = Vec::new();
    for size in (0..70).chain([400, 440, 480, 500, 4000, 60_000]) {
        for target in [1, 100, 300, 511, 512, 513, 4095] {
            entries.push(with(symlink(&format!("{size}-{target}"), &"t".repeat(target)), |e| {
                e.xattrs.insert(b"trusted.x".to_vec(), vec![7; size]);
            }));
        }
    }
    let (image, _) = image(&archive(&entries), true).unwrap();
    let image = Image::new(&image);
    let tree = image.tree();
    for (entry, _) in &entries {
        let node = &tree[&entry.path];
        assert_eq!(image.target(node), entry.link);
        assert_eq!(node.xattrs, entry.xattrs);
    }
}

#[test]
fn what_has_no_place_in_an_index() {
    let sparse = |e: &mut Entry| e.size = 5;
    let mut indexer = Indexer::new(true);
    let made = with(file("f", ""), sparse);
    assert!(matches!(indexer.entry(&made.0, None), Err(Refused::NotHere(_))));
    for at in [1, 511, 513] {
        assert!(matches!(Indexer::new(true).entry(&made.0, Some(at)), Err(Refused::NotHere(_))));
    }
    // Two TiB of 512 byte blocks, and what 32 bits cannot count.
    assert!(matches!(Indexer::new(true).entry(&made.0, Some(1 << 41)), Err(Refused::NotHere(_))));
    for (at, size, tar_size, fits) in [
        (512, 5, 1024, true),
        (512, 5, 1023, false),
        (512, 5, 516, false),
        (512, 512, 1024, true),
        (512, 513, 1535, false),
        (512, u64::MAX, 1024, false),
        (1 << 40, 1 << 40, 1 << 41, false),
        (1 << 40, (1 << 40) - (1 << 20), (1 << 41) - (1 << 20), true),
    ] {
        let mut indexer = Indexer::new(true);
        let made = with(file("f", ""), |e| e.size = size);
        indexer.entry(&made.0, Some(at)).unwrap();
        let of = Of { diff_id: Digest::of(b""), tar_size };
        assert_eq!(indexer.finish(&mut Vec::new(), &of).is_ok(), fits, "{at} {size} {tar_size}");
    }
}

#[test]
fn attributes_that_the_system_has_to_judge() {
    let acl = |entries: &[[u8; 8]]| [&[2, 0, 0, 0][..], &entries.concat()].concat();
    let at = |tag, permissions, id: u8| [tag, 0, permissions, 0, id, 0, 0, 0];
    let anybody = |tag, permissions| [tag, 0, permissions, 0, 0xff, 0xff, 0xff, 0xff];
    let plain = acl(&[anybody(1, 6), anybody(4, 4), anybody(32, 4)]);
    let named = acl(&[anybody(1, 6), at(2, 7, 5), anybody(4, 4), anybody(16, 4), anybody(32, 4)]);
    let check = |name: &str, value: &[u8], made: Made| {
        let made = with(made, |e| drop(e.xattrs.insert(name.into(), value.to_vec())));
        image(&archive(&[made]), true).map(|(image, indexed)| {
            let tree = Image::new(&image).tree();
            let node = tree.values().find(|node| node.number != Image::new(&image).root().number);
            (node.unwrap().xattrs.len(), indexed.missing_xattrs)
        })
    };
    let access = "system.posix_acl_access";
    assert_eq!(check(access, &plain, file("f", "")).unwrap(), (0, 0), "it says what the mode says");
    assert_eq!(check(access, &named, file("f", "")).unwrap(), (1, 0));
    assert_eq!(check("system.posix_acl_default", &named, dir("d")).unwrap(), (1, 0));
    assert_eq!(check(access, &named, symlink("l", "t")).unwrap(), (0, 1));
    for (name, value, made) in [
        // The mode says something else.
        (access, &named, with(file("f", ""), |e| e.mode = 0o664)),
        ("system.posix_acl_default", &named, file("f", "")),
        (access, &named[..named.len() - 1].to_vec(), file("f", "")),
        (access, &acl(&[anybody(1, 6), at(2, 7, 5), anybody(4, 4), anybody(32, 4)]), file("f", "")),
        (access, &acl(&[anybody(4, 4), anybody(1, 6), anybody(32, 4)]), file("f", "")),
        (access, &b"".to_vec(), file("f", "")),
        ("security.capability", &b"nonsense".to_vec(), file("f", "")),
        ("user.", &b"nothing".to_vec(), file("f", "")),
        ("user.large", &vec![0; 65536], file("f", "")),
    ] {
        assert!(matches!(check(name, value, made), Err(Refused::NotHere(_))), "{name} {value:?}");
    }
    // Namespaces that no system has, and users' attributes where none can be.
    assert_eq!(check("com.apple.provenance", b"1", file("f", "")).unwrap(), (0, 1));
    assert_eq!(check("user.x", b"1", symlink("l", "t")).unwrap(), (0, 1));
    assert_eq!(check("trusted.x", b"1", symlink("l", "t")).unwrap(), (1, 0));
    // Not counted: they are of this machine.
    assert_eq!(check("security.selinux", b"1", file("f", "")).unwrap(), (0, 0));
    assert_eq!(check("trusted.overlay.redirect", b"/etc", dir("d")).unwrap(), (0, 0));
    assert_eq!(check("user.overlay.metacopy", b"", file("f", "")).unwrap(), (0, 0));
}

#[test]
fn other_layers_are_asked_for_what_only_they_know() {
    let parents = "leaves out parent directories";
    assert!(not_here(&[file("a/f", "")]).contains(parents));
    assert!(not_here(&[dir("a/"), file("a/b/c/f", "")]).contains(parents));
    assert!(not_here(&[symlink("l", "elsewhere"), file("l/f", "")]).contains(parents));
    assert!(not_here(&[hard_link("h", "below")]).contains("a layer below"));
    // What this layer hides or has itself is nobody's business.
    for (entries, needs_below) in [
        (vec![dir("a/"), file("a/f", ""), hard_link("a/h", "a/f")], false),
        (vec![file(".wh.a", ""), file("a/b/f", "")], true),
        (vec![file(".wh..wh..opq", ""), file("a/b/f", "")], true),
        (vec![dir("a/"), file("a/.wh..wh..opq", ""), file("a/b/f", ""), dir("a/b")], false),
    ] {
        let (_, indexed) = image(&archive(&entries), false).unwrap();
        assert_eq!(indexed.needs_below, needs_below, "{entries:?}");
    }
}

#[test]
fn one_entry_cannot_stand_for_any_number() {
    let mut indexer = Indexer::new(true);
    let refused = (0..).find_map(|i| {
        let (entry, _) = file(&format!("{i}/{}f", "d/".repeat(2000)), "");
        indexer.entry(&entry, Some(512)).err().map(|refused| (i, refused))
    });
    let (entries, refused) = refused.unwrap();
    assert_eq!(entries, 500, "each has 2001 directories");
    assert!(chain(&refused).contains("more than a million parent directories"), "{refused}");
}

#[test]
fn what_is_kept_in_memory_has_an_end() {
    let mut indexer = Indexer::new(true);
    let link = |i: u32| symlink(&i.to_string(), &"t".repeat(4000)).0;
    // Zeros that nobody touches stand for the first half of a gigabyte.
    indexer.tree.bytes = vec![0; super::super::tree::MOST_BYTES - 5000];
    indexer.entry(&link(1), None).unwrap();
    assert!(matches!(indexer.entry(&link(2), None), Err(Refused::NotHere(_))));
}

/// Blocks of 4096 bytes, which Debian 12's tools can read; those of 512 they cannot.
#[test]
fn fsck_finds_nothing() {
    let mut indexer = Indexer { block_bits: 12, ..Indexer::new(true) };
    let mut at = 4096;
    let mut add = |made: Made| {
        indexer.entry(&made.0, Some(at)).unwrap();
        at += made.0.size.next_multiple_of(4096);
    };
    add(dir("./"));
    for i in 0..300 {
        add(dir(&format!("d{i}/")));
        for j in 0..i {
            add(with((entry(&format!("d{i}/{j}"), Kind::File), Vec::new()), |e| e.size = j * 100));
        }
    }
    for size in [1, 100, 3000, 4000, 4095] {
        add(with(symlink(&format!("l{size}"), &"t".repeat(size)), |e| {
            e.xattrs.insert(b"trusted.x".to_vec(), vec![7; size]);
        }));
    }
    add(hard_link("h", "d299/298"));
    add(file("d7/.wh..wh..opq", ""));
    add(file("d7/.wh.gone", ""));
    add(with((entry("null", Kind::CharDevice), Vec::new()), |e| e.device = (1, 3)));
    add((entry("pipe", Kind::Fifo), Vec::new()));
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (index, device) = (dir.path().join("index"), dir.path().join("device"));
    std::fs::File::create(&device).unwrap().set_len(at).unwrap();
    let mut file = std::fs::File::create(&index).unwrap();
    indexer.finish(&mut file, &Of { diff_id: Digest::of(b""), tar_size: at }).unwrap();
    Image::new(&std::fs::read(&index).unwrap()).tree();
    // Not with `--extract`: the tools of Debian 12 do not look for the blocks of a device behind those of the image.
    for (program, more) in [("fsck.erofs", "-d1"), ("dump.erofs", "-sS")] {
        let done = std::process::Command::new(program)
            .args([more, &format!("--device={}", device.display())])
            .arg(&index)
            .output()
            .unwrap_or_else(|e| panic!("cannot start {program} ({e}): install erofs-utils"));
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success() && !text.contains("<E>"), "{program}: {text}");
    }
}
