//! Where it goes and what becomes of what is there.

use super::*;

#[test]
fn file_to_file_directory_and_beyond() {
    for (dest, place) in [
        ("/x", "x"),
        ("x", "w/x"),
        ("/x/", "x/f"),
        ("x/", "w/x/f"),
        (".", "w/f"),
        ("./", "w/f"),
        ("..", "f"),
        ("/there", "there/f"),
        ("/there/", "there/f"),
        ("/there/g", "there/g"),
        ("/a/b/c/g", "a/b/c/g"),
        ("/", "f"),
        ("/../../x", "x"),
        ("/x/.", "x/f"),
    ] {
        let bench = Bench::new().in_context(&["f"]).in_image(&["there/", "w/"]);
        let request = CopyRequest { workdir: "/w".into(), ..copy(&["f", dest]) };
        assert_eq!(bench.copied(&request).get(place).map(String::as_str), Some("f"), "{dest}");
    }
}

#[test]
fn a_directory_gives_its_content() {
    for (source, dest) in [("d", "/x"), ("d/", "/x/"), ("/d/.", "/x"), ("d", "/x/")] {
        for image in [&[][..], &["x/"]] {
            let bench = Bench::new().in_context(&["d/f", "d/e/g", "d/l -> f", "d/empty/"]).in_image(image);
            let expected = tree([
                ("x", "/"),
                ("x/f", "d/f"),
                ("x/e", "/"),
                ("x/e/g", "d/e/g"),
                ("x/l", "-> f"),
                ("x/empty", "/"),
            ]);
            assert_eq!(bench.copied(&copy(&[source, dest])), expected, "{source} {dest} {image:?}");
        }
    }
}

#[test]
fn several_files_go_into_a_directory() {
    let bench = Bench::new().in_context(&["a", "b"]);
    assert_eq!(bench.copied(&copy(&["a", "b", "/x/"])), tree([("x", "/"), ("x/a", "a"), ("x/b", "b")]));
    // Without the slash only a directory that is there will do.
    let bench = Bench::new().in_context(&["a", "b"]).in_image(&["x/"]);
    assert_eq!(bench.copied(&copy(&["a", "b", "/x"])), tree([("x", "/"), ("x/a", "a"), ("x/b", "b")]));
    let error = Bench::new().in_context(&["a", "b"]).copy(&copy(&["a", "b", "/x"])).unwrap_err();
    assert!(matches!(error.kind, super::CopyErrorKind::SeveralToOne { .. }), "{error}");
    assert!(error.hint().unwrap().contains("`/x/`"));
    // But those of one pattern replace one another, as in BuildKit.
    let bench = Bench::new().in_context(&["app-plain.jar", "app.jar"]);
    assert_eq!(bench.copied(&copy(&["*.jar", "/x.jar"])), tree([("x.jar", "app.jar")]));
}

#[test]
fn links_in_the_destination_are_followed_inside_the_image() {
    let bench = Bench::new().in_context(&["a", "d/in-d"]).in_image(&[
        "opt/origin/dir1/dir2/",
        "opt/link -> /opt/origin",
        "opt/rel -> origin/dir1",
        "opt/out -> ../../../../../../opt/origin",
    ]);
    bench.copy(&copy(&["a", "/opt/link/"])).unwrap();
    bench.copy(&copy(&["a", "/opt/link/dir1/dir2/b"])).unwrap();
    bench.copy(&copy(&["a", "/opt/rel/dir2/new/c"])).unwrap();
    bench.copy(&copy(&["d", "/opt/link/dir1"])).unwrap();
    bench.copy(&copy(&["a", "/opt/out/escaped"])).unwrap();
    let tree = bench.tree();
    for (path, content) in [
        ("opt/link", "-> /opt/origin"),
        ("opt/rel", "-> origin/dir1"),
        ("opt/origin/a", "a"),
        ("opt/origin/dir1/dir2/b", "a"),
        ("opt/origin/dir1/dir2/new/c", "a"),
        ("opt/origin/dir1/in-d", "d/in-d"),
        ("opt/origin/escaped", "a"),
    ] {
        assert_eq!(tree[path], content, "{path}");
    }
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 2);
}

#[test]
fn a_link_as_the_destination_itself() {
    let bench = Bench::new().in_context(&["f", "d/g"]).in_image(&[
        "real",
        "file -> real",
        "dir/",
        "to-dir -> dir",
        "dangling -> new/place",
        "dir/f -> ../real",
    ]);
    bench.copy(&copy(&["f", "/file"])).unwrap();
    bench.copy(&copy(&["f", "/dangling"])).unwrap();
    bench.copy(&copy(&["d", "/to-dir"])).unwrap();
    let found = bench.tree();
    // The link stays and leads to the new file.
    assert_eq!((found["file"].as_str(), found["real"].as_str()), ("-> real", "f"));
    assert_eq!(found["new/place"], "f");
    assert_eq!(found["dir/g"], "d/g");
    // In a directory the name itself is replaced, not what it leads to.
    fs::write(bench.image().join("real"), "untouched").unwrap();
    bench.copy(&copy(&["f", "/dir/"])).unwrap();
    let found = bench.tree();
    assert_eq!((found["dir/f"].as_str(), found["real"].as_str()), ("f", "untouched"));
}

#[test]
fn what_cannot_take_each_others_place() {
    let bench = Bench::new().in_context(&["f", "d/sub/x", "e/file"]).in_image(&[
        "file",
        "dir/f/",
        "dir/file/",
        "dst/sub -> ../dir",
        "loop -> loop",
    ]);
    for (words, message) in [
        (&["d", "/file"][..], "cannot copy a directory to `/file`, which is not a directory"),
        (&["f", "/file/x"], "cannot copy a directory to `/file/x`, which is not a directory"),
        (&["f", "/file/"], "cannot copy a directory to `/file`, which is not a directory"),
        (&["f", "/dir"], "cannot replace the directory `/dir/f` with a file"),
        (&["e", "/dir"], "cannot replace the directory `/dir/file` with a file"),
        (&["d", "/dst"], "cannot copy a directory to `/dst/sub`, which is not a directory"),
    ] {
        let error = bench.copy(&copy(words)).unwrap_err();
        assert_eq!(error.to_string(), message, "{words:?}");
        assert_eq!(error.word, Some(0));
    }
    assert!(bench.copy(&copy(&["f", "/loop"])).is_err());
}

#[test]
fn privileged_existing_directories_keep_their_mode_and_new_ones_are_plain() {
    let bench = Bench::new().in_context(&["f", "d/sub/g"]).in_image(&["tmp/", "q/"]);
    set_mode(bench.image().join("tmp"), 0o1777);
    std::os::unix::fs::chown(bench.image().join("q"), Some(1234), Some(5678)).unwrap();
    set_mode(bench.image().join("q"), 0o2770);
    set_mode(bench.context().join("d"), 0o700);
    set_mode(bench.context().join("d/sub"), 0o711);
    set_mode(bench.context().join("f"), 0o4750);
    std::os::unix::fs::chown(bench.context().join("d/sub"), Some(77), Some(77)).unwrap();
    for dest in ["/tmp/f", "/q/", "/new/deep/f"] {
        bench.copy(&copy(&["f", dest])).unwrap();
    }
    bench.copy(&copy(&["d", "/tmp"])).unwrap();
    bench.copy(&copy(&["d", "/made"])).unwrap();
    assert_eq!((bench.mode("tmp"), bench.mode("q"), bench.owner("q")), (0o1777, 0o2770, (1234, 5678)));
    assert_eq!((bench.mode("tmp/f"), bench.owner("tmp/f"), bench.owner("q/f")), (0o4750, (0, 0), (0, 0)));
    assert_eq!((bench.mode("new"), bench.mode("new/deep")), (0o755, 0o755));
    // The destination of a directory is made plainly; what is in it is as the source.
    assert_eq!((bench.mode("made"), bench.mode("made/sub"), bench.owner("made/sub")), (0o755, 0o711, (0, 0)));
    // A directory that was there already takes what the source's has.
    set_mode(bench.image().join("made/sub"), 0o777);
    bench.copy(&copy(&["d", "/made"])).unwrap();
    assert_eq!(bench.mode("made/sub"), 0o711);
}

#[test]
fn privileged_chown_takes_everything_that_is_new() {
    let bench = Bench::new().in_context(&["f", "d/sub/g", "d/l -> g"]).in_image(&["there/"]);
    let request = |words: &[&str]| CopyRequest { chown: Some("12:34".into()), ..copy(words) };
    bench.copy(&request(&["f", "/there/new/f"])).unwrap();
    bench.copy(&request(&["d", "/made"])).unwrap();
    assert_eq!(bench.owner("there"), (0, 0));
    for path in ["there/new", "there/new/f", "made", "made/sub", "made/sub/g", "made/l"] {
        assert_eq!(bench.owner(path), (12, 34), "{path}");
    }
    let error =
        bench.copy(&CopyRequest { chown: Some("nobody-here".into()), ..copy(&["f", "/"]) }).unwrap_err();
    assert_eq!(error.to_string(), "`--chown=nobody-here`");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn chmod_is_for_files_and_the_directories_inside() {
    let bench = Bench::new().in_context(&["f", "d/sub/g", "d/l -> sub"]);
    let request =
        |mode: &str, words: &[&str]| CopyRequest { chmod: Some(mode.parse().unwrap()), ..copy(words) };
    bench.copy(&request("4711", &["f", "/x/f"])).unwrap();
    bench.copy(&request("700", &["d", "/y"])).unwrap();
    bench.copy(&request("u=rwX,go=", &["d", "/z"])).unwrap();
    assert_eq!((bench.mode("x"), bench.mode("x/f")), (0o755, 0o4711));
    assert_eq!((bench.mode("y"), bench.mode("y/sub"), bench.mode("y/sub/g")), (0o755, 0o700, 0o700));
    assert_eq!((bench.mode("z/sub"), bench.mode("z/sub/g")), (0o700, 0o600));
}

#[test]
fn privileged_from_a_stage_owners_attributes_and_nodes_come_along() {
    let bench = Bench::new().in_context(&["d/f", "d/l -> f"]);
    let source = bench.context();
    std::os::unix::fs::chown(source.join("d/f"), Some(5), Some(6)).unwrap();
    std::os::unix::fs::lchown(source.join("d/l"), Some(7), Some(8)).unwrap();
    set_mode(source.join("d/f"), 0o755);
    // cap_net_bind_service=ep
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(source.join("d/f"), "security.capability", &capability, flags).unwrap();
    rustix::fs::setxattr(source.join("d/f"), "user.binary", b"\0\n\xff", flags).unwrap();
    rustix::fs::setxattr(source.join("d/f"), "user.overlay.opaque", b"y", flags).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, source.join("d/p"), fifo, 0o640.into(), 0).unwrap();
    let device = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, source.join("d/n"), device, 0o666.into(), null).unwrap();
    set_mode(source.join("d/n"), 0o666);
    let tree = SourceTree::root(&source, Dialect::Linux).unwrap();
    let selection = select(&copy(&["/d", "/x"]), &tree, &NoCache, None).unwrap();
    let stats = apply(&selection, &bench.image(), &no_names).unwrap();
    assert_eq!(stats.attributes_lost, 0);
    assert_eq!((bench.owner("x/f"), bench.owner("x/l"), bench.owner("x")), ((5, 6), (7, 8), (0, 0)));
    assert_eq!((bench.mode("x/f"), bench.mode("x/n"), bench.mode("x/p")), (0o755, 0o666, 0o640));
    let meta = fs::symlink_metadata(bench.image().join("x/n")).unwrap();
    assert_eq!(meta.rdev(), null);
    let attribute = |name: &str| {
        let mut value = [0; 64];
        let size = rustix::fs::getxattr(bench.image().join("x/f"), name, &mut value[..]).ok()?;
        Some(value[..size].to_vec())
    };
    assert_eq!(attribute("security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(attribute("user.binary").as_deref(), Some(&b"\0\n\xff"[..]));
    assert_eq!(attribute("user.overlay.opaque"), None);
}

#[test]
fn times_hard_links_and_holes_are_kept() {
    let bench = Bench::new().in_context(&["d/a", "d/sub/"]);
    fs::hard_link(bench.context().join("d/a"), bench.context().join("d/sub/b")).unwrap();
    let hole = fs::File::create(bench.context().join("d/hole")).unwrap();
    hole.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&hole, b"middle", 4 << 20).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(bench.context().join("d/a")).unwrap().set_modified(old).unwrap();
    fs::File::open(bench.context().join("d/sub")).unwrap().set_modified(old).unwrap();
    let stats = bench.copy(&copy(&["d", "/x"])).unwrap();
    assert_eq!((stats.files, stats.directories), (3, 1));
    let meta = |path: &str| fs::symlink_metadata(bench.image().join(path)).unwrap();
    for path in ["x/a", "x/sub"] {
        assert_eq!(meta(path).modified().unwrap(), old, "{path}");
    }
    assert_eq!((meta("x/a").ino(), meta("x/a").nlink()), (meta("x/sub/b").ino(), 2));
    assert_eq!(
        fs::read(bench.image().join("x/hole")).unwrap(),
        fs::read(bench.context().join("d/hole")).unwrap()
    );
    assert!(meta("x/hole").blocks() * 512 < 1 << 20);
}

#[test]
fn a_file_that_changes_meanwhile_is_found_out() {
    let bench = Bench::new().in_context(&["f", "d/g"]);
    let selection = bench.select(&copy(&["f", "/x"])).unwrap();
    fs::write(bench.context().join("f"), "F").unwrap();
    let error = apply(&selection, &bench.image(), &no_names).unwrap_err();
    assert_eq!(error.to_string(), "`f` changed while it was copied");
    let selection = bench.select(&copy(&["d", "/y"])).unwrap();
    // Touched but the same: nothing happened.
    fs::write(bench.context().join("d/g"), "d/g").unwrap();
    apply(&selection, &bench.image(), &no_names).unwrap();
    let selection = bench.select(&copy(&["d", "/y"])).unwrap();
    fs::remove_file(bench.context().join("d/g")).unwrap();
    symlink("/etc/passwd", bench.context().join("d/g")).unwrap();
    assert!(apply(&selection, &bench.image(), &no_names).is_err());
}

#[test]
fn here_documents_and_remote_files() {
    let bench = Bench::new().in_context(&["f"]);
    fs::write(bench.dir.path().join("download"), "remote").unwrap();
    let mtime = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    let request = CopyRequest {
        sources: vec![
            Source::Inline { name: "one".into(), content: b"1\n".to_vec() },
            Source::Path("f".into()),
            Source::Remote(RemoteFile {
                name: RemoteFile::name_of("/a/remote.txt"),
                path: bench.dir.path().join("download"),
                mtime: Some(mtime),
            }),
        ],
        dest: "/x/".into(),
        ..CopyRequest::default()
    };
    assert_eq!(
        bench.copied(&request),
        tree([("x", "/"), ("x/f", "f"), ("x/one", "1\n"), ("x/remote.txt", "remote")])
    );
    assert_eq!((bench.mode("x/one"), bench.mode("x/remote.txt")), (0o644, 0o600));
    let meta = fs::metadata(bench.image().join("x/remote.txt")).unwrap();
    assert_eq!(meta.modified().unwrap(), mtime);
    assert_eq!(RemoteFile::name_of("/"), "__unnamed__");
}

#[test]
fn link_lays_a_layer_over_what_is_there() {
    let bench = Bench::new().in_context(&["f", "d/sub/g"]).in_image(&[
        "real/keep",
        "link -> real",
        "tmp/",
        "dir/old",
        "x/sub -> ../real",
    ]);
    set_mode(bench.image().join("tmp"), 0o1777);
    let request = |words: &[&str]| CopyRequest { link: true, ..copy(words) };
    bench.copy(&request(&["f", "/link/f"])).unwrap();
    bench.copy(&request(&["f", "/tmp/f"])).unwrap();
    bench.copy(&request(&["f", "/dir"])).unwrap();
    bench.copy(&request(&["d", "/x"])).unwrap();
    let found = bench.tree();
    assert_eq!((found["link"].as_str(), found["link/f"].as_str()), ("/", "f"));
    assert_eq!(found["real/keep"], "real/keep");
    assert!(!found.contains_key("real/f") && !found.contains_key("real/g"));
    assert_eq!(found["dir"], "f");
    assert_eq!((found["x/sub"].as_str(), found["x/sub/g"].as_str()), ("/", "d/sub/g"));
    assert_eq!(bench.mode("tmp"), 0o755);
}
