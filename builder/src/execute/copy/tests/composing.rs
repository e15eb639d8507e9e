//! A copy that is written as a layer's tar gives what one gives that is applied to a snapshot.

use std::os::unix::fs::{MetadataExt, chown};

use orlop_store::snapshot::Committed;
use orlop_store::{Store, StoreOptions};

use orlop_fixtures::tool::tool;

use super::*;
use crate::execute::copy::compose::{ComposeError, compose};

/// Copies in both ways over the image of `bench`: whether the copy was plain. What both gave must be the same, times
/// of directories aside, which are those of the moment.
fn both(bench: &Bench, request: &CopyRequest) -> bool {
    let store = Store::open(&bench.dir.path().join("store"), &StoreOptions::default()).unwrap();
    assert_eq!(
        store.layers().unpacked_because(),
        None,
        "this test needs root, and a kernel that mounts files"
    );
    let snapshots = store.snapshots().unwrap();
    let active = snapshots.prepare(&Committed::scratch()).unwrap();
    let done =
        tool("cp").args(["-a", "--"]).arg(bench.image().join(".")).arg(active.path()).status().unwrap();
    assert!(done.success());
    let diff = snapshots.diff(&active).unwrap();
    let parent = snapshots.commit(active, &diff).unwrap();

    let selection = bench.select(request).unwrap();
    let active = snapshots.prepare(&parent).unwrap();
    let applied = apply(&selection, active.path(), &no_names);
    let view = snapshots.view(&parent).unwrap();
    let composer = snapshots.compose(&parent).unwrap().unwrap();
    let composed = compose(&selection, view.path(), &no_names, composer).unwrap();
    drop(view);
    let Some(composed) = composed else { return false };
    applied.unwrap();
    let diff = snapshots.diff(&active).unwrap();
    let found = *composed.diff();
    assert_eq!((found.content_id, found.entries), (diff.content_id, diff.entries), "{request:?}");
    let committed = composed.commit().unwrap();
    if found.is_empty() {
        assert_eq!(committed, parent);
        return true;
    }
    // What is mounted is what was copied.
    let view = snapshots.view(&committed).unwrap();
    let done = tool("diff")
        .args(["-r", "--no-dereference", "-x", "fifo"])
        .args([view.path(), active.path()])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let device = |path: &Path| fs::symlink_metadata(path).unwrap().dev();
    for entry in fs::read_dir(view.path()).unwrap() {
        // All of it seems to be one file system.
        assert_eq!(device(&entry.unwrap().path()), device(view.path()));
    }
    true
}

#[test]
fn privileged_plain_copies_are_layers_at_once() {
    let many: Vec<String> = (0..300).map(|n| format!("src/{}/{n}", n % 7)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases: &[(&[&str], &[&str], CopyRequest)] = &[
        (&["a"], &[], copy(&["a", "/"])),
        (&["a"], &[], copy(&["a", "/b"])),
        (&["a"], &["dir/"], copy(&["a", "/dir"])),
        (&["a"], &["dir/x"], copy(&["a", "/new/dir/"])),
        (&["a", "b"], &["link -> dir", "dir/x"], copy(&["a", "b", "/link/"])),
        (&["a"], &["link -> /dir/deep", "dir/deep/x"], copy(&["a", "link/more/"])),
        (&["d/a", "d/e/b", "d/l -> a", "d/empty/"], &[], copy(&["d", "/srv"])),
        (&["d/a", "d/e/b"], &["srv/e/c", "srv/f"], copy(&["d", "/srv"])),
        (&["d/a", "d/e/b"], &["srv/e/c"], copy(&["d", "/"])),
        (&["d/e/"], &["srv/e/c"], copy(&["d", "/srv"])),
        (&many, &["srv/x"], copy(&["src", "/srv"])),
        (&["a.jar"], &[], copy(&["*.jar", "/lib/"])),
        // Several directories into one, by turns.
        (
            &["d/a", "d/m/x", "d/m.x", "d/z", "e/!", "e/b", "e/m/w", "e/m/y", "e/n/q"],
            &["srv/m/old"],
            copy(&["d", "e", "/srv"]),
        ),
        (
            &["d/m/x", "e/m/x/"],
            &[],
            CopyRequest { excludes: vec!["**/x".to_owned()], ..copy(&["d", "e", "/srv"]) },
        ),
        (&["d/m/x", "a.jar", "n", "z/y"], &["srv/x"], copy(&["a.jar", "d", "z", "n", "/srv/"])),
        (&["d/a", "d/e/b"], &["srv/x"], CopyRequest { link: true, ..copy(&["d", "/srv/e"]) }),
        (&["d/a"], &["srv/x"], CopyRequest { chown: Some("7:8".to_owned()), ..copy(&["d", "/srv/new/"]) }),
        (&["d/a"], &["srv/x"], CopyRequest { chmod: Some("0700".parse().unwrap()), ..copy(&["d", "/srv"]) }),
        (&["d/a", "d/e/b"], &["d/x"], CopyRequest { parents: true, ..copy(&["d/e/b", "/"]) }),
        (&["d/a", "d/b"], &[], CopyRequest { excludes: vec!["b".to_owned()], ..copy(&["d", "/srv"]) }),
        (
            &[],
            &["x"],
            CopyRequest {
                sources: vec![Source::Inline { name: "EOF".to_owned(), content: b"text\n".to_vec() }],
                dest: "/etc/text".to_owned(),
                ..CopyRequest::default()
            },
        ),
    ];
    for (context, image, request) in cases {
        let bench = Bench::new().in_context(context).in_image(image);
        assert!(both(&bench, request), "{request:?}");
    }
}

#[test]
fn privileged_files_of_any_size_and_number_go_through_whole() {
    let bench = Bench::new().in_context(&["d/a"]);
    let d = bench.context().join("d");
    let piece = 256 << 10;
    for (n, size) in [0, 1, piece - 1, piece, piece + 1, 2 * piece, 3 * piece + 5].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        // Large ones before, between and behind small ones.
        fs::write(d.join(format!("{n}-of-{size}")), &bytes).unwrap();
        for small in 0..700 {
            fs::write(d.join(format!("{n}-small-{small}")), if small % 3 == 0 { "" } else { "text" })
                .unwrap();
        }
    }
    assert!(both(&bench, &copy(&["d", "/srv"])));
}

#[test]
fn privileged_only_large_holes_are_kept_in_another_way() {
    use std::os::unix::fs::FileExt;
    let (page, large) = (4096, 1 << 20);
    // A linker leaves small holes in what it writes. Where data is, and how long the file is.
    for (data, size, plain) in [
        (&[0, 3 * page][..], 4 << 20, false),
        (&[0, large - page], large, true),
        (&[], large - page, true),
        (&[], large, false),
        (&[large], large + page, false),
        (&[large - page], large, true),
        (&[0, large / 2, large], large + page, true),
        (&[0, large / 2, large, 3 * large / 2], 2 * large, false),
    ] {
        let bench = Bench::new().in_context(&["d/a"]);
        let file = fs::File::create(bench.context().join("d/file")).unwrap();
        file.set_len(size).unwrap();
        for at in data {
            file.write_all_at(&vec![b'x'; page as usize], *at).unwrap();
        }
        // Until it is written, a file may seem to take more room than it will, or less.
        file.sync_all().unwrap();
        assert_eq!(both(&bench, &copy(&["d", "/srv"])), plain, "{data:?} of {size}");
    }
}

#[test]
fn privileged_a_file_that_changed_since_it_was_selected_is_named() {
    for (before, after) in [(10, 9), (10, 11), (300_000, 299_999), (300_000, 300_001), (10, 300_000)] {
        let bench = Bench::new().in_context(&["d/a", "d/z"]).in_image(&["x"]);
        fs::write(bench.context().join("d/file"), vec![b'x'; before]).unwrap();
        let store = Store::open(&bench.dir.path().join("store"), &StoreOptions::default()).unwrap();
        let snapshots = store.snapshots().unwrap();
        let selection = bench.select(&copy(&["d", "/"])).unwrap();
        fs::write(bench.context().join("d/file"), vec![b'x'; after]).unwrap();
        let composer = snapshots.compose(&Committed::scratch()).unwrap().unwrap();
        let view = snapshots.view(&Committed::scratch()).unwrap();
        let error = compose(&selection, view.path(), &no_names, composer).unwrap_err();
        let ComposeError::Copy(error) = error else { panic!("{error:?}") };
        assert!(error.to_string().contains("d/file"), "{error}");
    }
}

#[test]
fn privileged_everything_about_a_file_is_in_its_layer() {
    let bench = Bench::new().in_context(&["d/a", "d/e/b", "d/empty/"]).in_image(&["srv/e/x"]);
    let d = bench.context().join("d");
    fs::hard_link(d.join("e/b"), d.join("a-link")).unwrap();
    fs::write(d.join("none"), "").unwrap();
    fs::write(d.join("large"), "content ".repeat(100_000)).unwrap();
    set_mode(d.join("a"), 0o4751);
    set_mode(d.join("e"), 0o2770);
    chown(d.join("a"), Some(7), Some(8)).unwrap();
    let fifo = d.join("fifo");
    assert!(tool("mkfifo").arg(&fifo).status().unwrap().success());
    for (path, key) in
        [("a", "user.binary"), ("e", "user.dir"), ("a", "user.orlop.own"), ("e", "user.orlop.own")]
    {
        rustix::fs::setxattr(d.join(path), key, b"\0\x01=\xff", rustix::fs::XattrFlags::empty()).unwrap();
    }
    assert!(both(&bench, &copy(&["d", "/srv"])));
    assert!(both(&bench, &copy(&["d", "/elsewhere/deep"])));
}

#[test]
fn privileged_what_is_not_plain_is_left_to_a_snapshot() {
    let acl = |bench: &Bench| {
        let path = bench.image().join("srv");
        let done = tool("setfacl").args(["-d", "-m", "u:7:rwx"]).arg(path).status();
        assert!(done.expect("this test needs setfacl").success());
    };
    let group = |bench: &Bench| set_mode(bench.image().join("srv"), 0o2755);
    let nothing = |_: &Bench| {};
    type Prepare<'a> = &'a dyn Fn(&Bench);
    let cases: &[(&[&str], &[&str], CopyRequest, Prepare<'_>)] = &[
        (&["a"], &["a"], copy(&["a", "/a"]), &nothing),
        (&["d/a"], &["srv/a -> b"], copy(&["d", "/srv"]), &nothing),
        (&["d/a"], &["srv/a/"], copy(&["d", "/srv"]), &nothing),
        (&["d/a/b"], &["srv/a"], copy(&["d", "/srv"]), &nothing),
        (&["a"], &["srv"], copy(&["a", "/srv/"]), &nothing),
        (&["a", "b"], &[], copy(&["a", "b", "/srv"]), &nothing),
        (&["1.jar", "2.jar"], &[], copy(&["*.jar", "/app.jar"]), &nothing),
        (&["d/l -> /etc", "e/x"], &[], copy(&["d", "e", "/"]), &|bench| {
            fs::create_dir(bench.context().join("e/l")).unwrap();
        }),
        (&["d/.wh.a"], &["srv/a"], copy(&["d", "/srv"]), &nothing),
        // What the copy itself would write over.
        (&["d/m/a", "e/m/a"], &[], copy(&["d", "e", "/srv"]), &nothing),
        (&["d/m/a", "d/z", "e/a", "e/z"], &[], copy(&["d", "e", "/srv"]), &nothing),
        (&["d/a", "e/a/x"], &[], copy(&["d", "e", "/srv"]), &nothing),
        (&["d/a/x", "e/a"], &[], copy(&["d", "e", "/srv"]), &nothing),
        (&["d/a", "a"], &[], copy(&["d", "a", "/srv/"]), &nothing),
        (&["d/a", "a"], &[], copy(&["a", "d", "/srv/"]), &nothing),
        (&["d/a"], &["srv/x"], copy(&["d", "/srv"]), &acl),
        (&["d/a"], &["srv/x"], copy(&["d", "/srv/new/"]), &group),
    ];
    for (context, image, request, prepare) in cases {
        let bench = Bench::new().in_context(context).in_image(image);
        prepare(&bench);
        assert!(!both(&bench, request), "{request:?}");
    }
}
