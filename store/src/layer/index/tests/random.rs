//! Tars of random entries with few names, so that they get into each other's way.

use proptest::prelude::*;

use super::reader::Image;
use super::*;

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &["a", "a", "b", "b", "c", "..", ".", "", "-", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh..wh.x"][..],
    )
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/")).prop_map(|path| match &path[..] {
        "" => ".".to_owned(),
        _ => path,
    })
}

fn entries() -> impl Strategy<Value = Vec<Made>> {
    let one = (path(), path(), 0..20u8, any::<u8>());
    prop::collection::vec(one.prop_map(|(path, link, kind, number)| made(&path, &link, kind, number)), 1..14)
}

fn made(path: &str, link: &str, kind: u8, number: u8) -> Made {
    let made = match kind {
        0..5 => file(path, &"x".repeat(usize::from(number) * 7)),
        5..10 => dir(path),
        10..14 => hard_link(path, link),
        14..17 => symlink(path, link),
        17 => (entry(path, Kind::Fifo), Vec::new()),
        18 => (
            Entry { device: ((u32::from(number) % 3) << 11, 0), ..entry(path, Kind::CharDevice) },
            Vec::new(),
        ),
        _ => with(dir(path), |e| drop(e.xattrs.insert(b"user.x".to_vec(), vec![number; number.into()]))),
    };
    with(made, |e| {
        (e.uid, e.mode) = (number.into(), 0o400 | u32::from(number));
        e.mtime = Time { seconds: number.into(), nanoseconds: number.into() };
        // Names that end in a slash are directories.
        if e.kind == Kind::File && e.path.ends_with(b"/") {
            e.path.push(b'a');
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// Unpacked and mounted, a tar shows the same; or neither is to be had, for the same reason.
    #[test]
    fn privileged_random_tars_over_nothing(entries in entries()) {
        let tar = archive(&entries);
        match image(&tar, true) {
            Ok(_) => Pair::of(&tar).assert_same(),
            Err(Refused::Unpack(_)) => drop(assert_refused(&entries)),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Over layers that are not there, unpacking asks for them where an index cannot be had, and only there.
    #[test]
    fn privileged_random_tars_over_others(entries in entries()) {
        let tar = archive(&entries);
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = node::open_root(dir.path()).unwrap();
        node::set_mode(root.as_fd(), b".", 0o755).unwrap();
        let how = How { form: XattrForm::Trusted, ownership: Ownership::Keep, os: LayerOs::Linux };
        let applied = apply::apply(&mut Reader::new(&tar[..]), root, &Below::new(&|| None), how);
        match (image(&tar, false), applied) {
            (Err(Refused::NotHere(_)), Err(UnpackError::NeedsBelow)) => {}
            (Err(Refused::Unpack(refused)), Err(unpacked)) => assert_eq!(chain(&refused), chain(&unpacked)),
            (Ok((image, indexed)), Ok(applied)) => {
                prop_assert_eq!(indexed.needs_below, applied.needs_below);
                let root = node::open_root(dir.path()).unwrap();
                let paths: Vec<_> = tree(root.as_fd(), true).into_keys().collect();
                prop_assert_eq!(Image::new(&image).tree().into_keys().collect::<Vec<_>>(), paths);
            }
            (index, unpacked) => panic!("{index:?} {unpacked:?}"),
        }
    }

    /// Whatever stands in a damaged tar, it ends, and what comes of it is an image.
    #[test]
    fn damaged_tars(
        entries in entries(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut tar = archive(&entries);
        for (at, byte) in damage {
            let at = at.index(tar.len());
            tar[at] = byte;
            let header = at / 512 * 512;
            let mut fixed = ::tar::Header::new_old();
            fixed.as_mut_bytes().copy_from_slice(&tar[header..header + 512]);
            fixed.set_cksum();
            tar[header..header + 512].copy_from_slice(fixed.as_bytes());
        }
        if let Ok((image, _)) = image(&tar, true) {
            let image = Image::new(&image);
            for node in image.tree().values().filter(|node| node.mode >> 12 == 8 && node.size > 0) {
                assert!(image.file(node).end <= tar.len() as u64);
            }
        }
    }
}
