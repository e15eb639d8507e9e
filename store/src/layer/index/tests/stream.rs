//! Indexes that are written as the entries come.

use std::collections::HashSet;

use proptest::prelude::*;

use super::reader::Image;
use super::*;
use crate::work::Work;

/// In the order that a stream wants.
fn in_order(mut entries: Vec<Made>) -> Vec<Made> {
    let names = |made: &Made| {
        let path = made.0.path.strip_suffix(b"/").unwrap_or(&made.0.path);
        path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    entries.sort_by_cached_key(names);
    entries
}

/// The index of a tar, and its mount where it is not refused.
fn streamed(entries: &[Made], dir: &Path) -> Result<(Vec<u8>, Indexed), Refused> {
    let tar = archive(entries);
    let targets: HashSet<_> =
        entries.iter().filter(|made| made.0.kind == Kind::HardLink).map(|made| made.0.link.clone()).collect();
    let mut stream = Stream::new(&Work::open(&dir.join("work")).unwrap());
    let mut reader = Reader::new(&tar[..]);
    while let Some(entry) = reader.next_entry()? {
        stream.entry(&entry, reader.content_at(), targets.contains(&entry.path))?;
    }
    reader.drain()?;
    let mut image = Vec::new();
    let of = Of { diff_id: Digest::of(&tar), tar_size: tar.len() as u64 };
    let indexed = stream.finish(&mut image, &of)?;
    assert_eq!(indexed.size, image.len() as u64);
    assert_eq!(std::fs::read_dir(dir.join("work")).unwrap().count(), 0);
    Ok((image, indexed))
}

/// Asserts that a tar's index is as the kernel wants it, and that mounted it shows what the tar unpacks to.
fn assert_streamed(entries: &[Made]) {
    let pair = Pair::of(&archive(entries));
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (image, indexed) = streamed(entries, dir.path()).unwrap();
    Image::new(&image).tree();
    let index = dir.path().join("index");
    std::fs::write(&index, image).unwrap();
    let mounted = mount(&index, &pair.dir.path().join("tar")).unwrap();
    Pair { mounted, indexed, ..pair }.assert_same();
}

fn long(size: usize, path: &str) -> Made {
    file(path, &"content ".repeat(size / 8 + 1)[..size])
}

#[test]
fn privileged_everything_in_order_is_there() {
    let device = |path, kind, device| with((entry(path, kind), Vec::new()), |e| e.device = device);
    let mut entries = vec![
        with(dir("d/"), |e| {
            (e.mode, e.uid, e.mtime) =
                (0o2500, 4_000_000_000, Time { seconds: -5, nanoseconds: 999_999_999 });
            drop(e.xattrs.insert(b"trusted.large".to_vec(), vec![7; 3000]));
        }),
        dir("d/empty/"),
        dir("d.e/"),
        dir("d/e/"),
        file("d/e/f", "x"),
        file("d/z", "after a directory"),
        // Before `.` and `..`, between them, and after.
        file("d/!", "x"),
        dir("d/-/"),
        file("d/.!", "x"),
        file("d/..x", "x"),
        file("d/.x", "x"),
        with(file("x", "content"), |e| {
            e.mode = 0o6711;
            for i in 0..40 {
                e.xattrs.insert(format!("user.{i}").into_bytes(), vec![i; usize::from(i)]);
            }
        }),
        hard_link("y", "x"),
        hard_link("z", "x"),
        device("n/null", Kind::CharDevice, (1, 3)),
        device("n/none", Kind::CharDevice, (0, 0)),
        device("n/disk", Kind::BlockDevice, (259, 0x12345)),
        dir("n/"),
        with((entry("pipe", Kind::Fifo), Vec::new()), |e| e.mode = 0o622),
        dir("many/"),
        dir("names/"),
    ];
    entries.extend((1..=255).map(|length| file(&format!("names/{}", "n".repeat(length)), "")));
    entries.extend([0, 1, 511, 512, 513, 4096, 3_000_001].map(|size| long(size, &format!("file-{size}"))));
    let sizes = [1, 100, 447, 448, 449, 511, 512, 513, 1024, 4094, 4095];
    entries.extend(sizes.map(|size| symlink(&format!("link-{size}"), &"t".repeat(size))));
    let attributes = |size| {
        with(symlink(&format!("link-x{size}"), &"t".repeat(300)), |e| {
            drop(e.xattrs.insert(b"trusted.x".to_vec(), vec![1; size]));
        })
    };
    entries.extend([1, 60, 120, 130, 200].map(attributes));
    // More than a stream has in memory, and directories that end when their node is in the file.
    for i in 0..5000 {
        entries.push(file(&format!("many/{i}"), ""));
        if i % 50 == 0 {
            entries.extend([dir(&format!("many/{i}.d/")), file(&format!("many/{i}.d/f"), "x")]);
        }
    }
    let mut deep = String::new();
    while deep.len() < 3900 {
        deep += "deep/";
        entries.push(dir(&deep));
    }
    assert_streamed(&in_order(entries));
    assert_streamed(&[]);
    assert_streamed(&[dir("d/")]);
    for size in [0, 1, 500, 3000] {
        let root = with(dir("./"), |e| {
            (e.mode, e.uid, e.gid) = (0o2711, 5, 7);
            if size > 0 {
                drop(e.xattrs.insert(b"trusted.root".to_vec(), vec![7; size]));
            }
        });
        assert_streamed(std::slice::from_ref(&root));
        assert_streamed(&[root, file("a", "x"), dir("d/"), file("d/f", "y")]);
    }
}

#[test]
fn what_is_not_in_order_is_not_here() {
    let large = "n".repeat(256);
    let cases: &[&[Made]] = &[
        &[file("b", ""), file("a", "")],
        &[file("a", ""), (entry("a", Kind::CharDevice), Vec::new())],
        &[file("a", ""), with((entry("a", Kind::BlockDevice), Vec::new()), |e| e.device = (5000, 1))],
        &[file("a", ""), file("a", "")],
        &[dir("a/"), dir("a/")],
        &[dir("a/"), file("a/x", ""), file("b", ""), file("a/y", "")],
        &[dir("a/"), file("b", ""), file("a/x", "")],
        &[file("a/x", "")],
        &[file("a", ""), file("a/x", "")],
        &[symlink("a", "b"), file("a/x", "")],
        &[hard_link("a", "b"), file("b", "")],
        &[dir("a/"), dir("./")],
        &[dir("./"), dir("./")],
        &[symlink("./", "a")],
        &[file(".wh.a", "")],
        &[dir("a/"), file("a/.wh..wh..opq", "")],
        &[file(&large, "")],
    ];
    for entries in cases {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let refused = streamed(entries, dir.path()).unwrap_err();
        assert!(matches!(refused, Refused::NotHere(_)), "{entries:?}: {refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn privileged_random_trees(
        paths in prop::collection::btree_set("[a-c.!]{1,3}(/[a-c.]{1,2}){0,3}", 0..60),
        sizes in prop::collection::vec(0usize..1200, 60),
    ) {
        let mut entries: BTreeMap<String, Made> = BTreeMap::new();
        for (path, size) in paths.iter().zip(sizes) {
            if path.split('/').any(|name| matches!(name, "." | "..")) {
                continue;
            }
            let above: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
            if above.iter().any(|at| entries.get(&path[..*at]).is_some_and(|made| made.0.kind != Kind::Directory)) {
                continue;
            }
            for at in above {
                entries.entry(path[..at].to_owned()).or_insert_with(|| dir(&format!("{}/", &path[..at])));
            }
            let made = if size % 3 == 0 { symlink(path, &"t".repeat(size + 1)) } else { long(size, path) };
            entries.entry(path.clone()).or_insert(made);
        }
        assert_streamed(&in_order(entries.into_values().collect()));
    }
}
