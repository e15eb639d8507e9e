//! What is taken.

use super::*;

/// The paths that a request takes, below the destination.
fn taken(bench: &Bench, request: &CopyRequest, ignore: &str) -> Vec<String> {
    let selection = bench.select_ignoring(request, ignore).unwrap();
    selection
        .key_parts()
        .into_iter()
        .filter(|(_, what)| !what.contains("directory") && !what.starts_with("destination"))
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn a_source_is_always_below_the_root() {
    let bench = Bench::new().in_context(&["f", "d/g"]);
    fs::write(bench.dir.path().join("secret"), "secret").unwrap();
    for word in ["f", "/f", "./f", "../f", "../../f", "d/../f", "/../f", "d/../../context/../f"] {
        assert_eq!(taken(&bench, &copy(&[word, "/x"]), ""), ["f"], "{word}");
    }
    let error = bench.select(&copy(&["../secret", "/x"])).unwrap_err();
    assert_eq!(error.to_string(), "`../secret`: not found");
    assert_eq!(error.word, Some(0));
    assert!(error.hint().unwrap().contains("cannot leave the context"));
}

#[test]
fn links_that_lead_out_end_at_the_root() {
    let bench = Bench::new().in_context(&[
        "etc/passwd",
        "abs -> /etc/passwd",
        "up -> ../../../../etc",
        "loop -> loop",
    ]);
    assert_eq!(bench.copied(&copy(&["abs", "/x"]))["x"], "etc/passwd");
    assert_eq!(bench.copied(&copy(&["up", "/y"]))["y/passwd"], "etc/passwd");
    assert_eq!(bench.copied(&copy(&["up/passwd", "/z"]))["z"], "etc/passwd");
    assert!(bench.select(&copy(&["loop", "/x"])).is_err());
    fs::write(bench.dir.path().join("secret"), "secret").unwrap();
    symlink(bench.dir.path().join("secret"), bench.context().join("out")).unwrap();
    symlink("../secret", bench.context().join("near")).unwrap();
    for word in ["out", "near", "out/x"] {
        assert!(bench.select(&copy(&[word, "/x"])).is_err(), "{word}");
    }
    // Inside a directory a link is a link, wherever it leads.
    assert_eq!(bench.copied(&copy(&[".", "/all/"]))["all/near"], "-> ../secret");
}

#[test]
fn wildcards() {
    let bench = Bench::new().in_context(&[
        "a.txt",
        "b.txt",
        "c.md",
        "d/e.txt",
        "d/f/g.txt",
        "dd/e.txt",
        ".hidden",
        "arr[0].txt",
        "l -> d",
    ]);
    for (word, names) in [
        ("*.txt", &["a.txt", "arr[0].txt", "b.txt"][..]),
        ("?.txt", &["a.txt", "b.txt"]),
        ("[ab].*", &["a.txt", "b.txt"]),
        ("[^a].*", &["b.txt", "c.md"]),
        ("*/e.txt", &["e.txt", "e.txt"]),
        ("d*/*.txt", &["e.txt", "e.txt"]),
        ("**/g.txt", &[]),
        ("d/**/g.txt", &["g.txt"]),
        (".h*", &[".hidden"]),
        ("arr[[]0].txt", &["arr[0].txt"]),
        ("nothing*", &[]),
        ("l/*.txt", &["e.txt"]),
        ("../[a]*.txt", &["a.txt", "arr[0].txt"]),
    ] {
        assert_eq!(taken(&bench, &copy(&[word, "/x/"]), ""), names, "{word}");
    }
    // A directory that matches gives what is in it.
    assert_eq!(
        bench.copied(&copy(&["d*", "/x/"])),
        tree([("x", "/"), ("x/e.txt", "dd/e.txt"), ("x/f", "/"), ("x/f/g.txt", "d/f/g.txt")])
    );
}

#[test]
fn a_pattern_may_match_nothing_but_a_path_may_not() {
    let bench = Bench::new().in_context(&["f"]);
    let selection = bench.select(&copy(&["nothing*", "f", "/x/"])).unwrap();
    assert_eq!(selection.unmatched(), [0]);
    assert!(bench.select(&copy(&["no-dir/*", "/x/"])).is_err());
    let error = bench.select(&copy(&["f", "gone", "/x/"])).unwrap_err();
    assert_eq!((error.word, error.to_string().as_str()), (Some(1), "`gone`: not found"));
    let error = bench.select(&copy(&["[a", "/x/"])).unwrap_err();
    assert!(matches!(error.kind, CopyErrorKind::Pattern(_)));
}

#[test]
fn a_typo_gets_a_hint() {
    let bench = Bench::new().in_context(&["src/main.rs", "Cargo.toml"]);
    for (word, hint) in [
        ("Cargo.tmol", "did you mean `Cargo.toml`?"),
        ("cargo.toml", "did you mean `Cargo.toml`?"),
        ("scr/main.rs", "did you mean `src/main.rs`?"),
        ("src/mian.rs", "did you mean `src/main.rs`?"),
    ] {
        assert_eq!(bench.select(&copy(&[word, "/x"])).unwrap_err().hint().as_deref(), Some(hint), "{word}");
    }
    assert_eq!(bench.select(&copy(&["other", "/x"])).unwrap_err().hint(), None);
}

#[test]
fn what_is_ignored_is_not_there() {
    let bench =
        Bench::new().in_context(&["keep", "drop", "dir/keep", "dir/drop", "link -> drop", "gone/x/y"]);
    let ignore = "# rules\ndrop\n**/drop\ngone";
    assert_eq!(taken(&bench, &copy(&[".", "/"]), ignore), ["dir/keep", "keep", "link"]);
    for word in ["drop", "dir/drop", "gone", "gone/x", "link"] {
        let error = bench.select_ignoring(&copy(&[word, "/"]), ignore).unwrap_err();
        assert!(
            error.hint().unwrap_or_default().contains("of the ignore file (`.dockerignore`) excludes it"),
            "{word} {error:?}"
        );
    }
    let error = bench.select_ignoring(&copy(&["drop", "/"]), "drop").unwrap_err();
    assert_eq!(error.hint().unwrap(), "line 1 of the ignore file (`.dockerignore`) excludes it: `drop`");
    assert_eq!(taken(&bench, &copy(&["d*", "/"]), ignore), ["dir/keep"]);
}

#[test]
fn exceptions_bring_back_what_is_below() {
    let bench = Bench::new().in_context(&[
        "hi.txt",
        "no.md",
        "top.py",
        "recipes/cake.txt",
        "recipes/secret.txt",
        "a/one.py",
        "a/b/c/three.py",
        "a/b/c/no.md",
        "empty/",
    ]);
    let ignore = "*\n!hi.txt\n!*/*.txt\n!**/*.py\nrecipes/secret.txt\n";
    assert_eq!(
        taken(&bench, &copy(&[".", "/c/"]), ignore),
        ["a/b/c/three.py", "a/one.py", "hi.txt", "recipes/cake.txt", "top.py"]
    );
    assert_eq!(taken(&bench, &copy(&["a", "/c/"]), ignore), ["a/b/c/three.py", "a/one.py"]);
    assert!(bench.select_ignoring(&copy(&["empty", "/c/"]), ignore).is_err());
    assert!(!bench.copied_ignoring(&copy(&[".", "/c/"]), ignore).contains_key("c/empty"));
}

#[test]
fn excludes_are_relative_to_the_source() {
    let bench = Bench::new().in_context(&["s/a.txt", "s/b.md", "s/d/c.txt", "s/d/e.md", "x.txt", "y.md"]);
    let request = |words: &[&str], excludes: &[&str]| CopyRequest {
        excludes: excludes.iter().map(|text| (*text).to_owned()).collect(),
        ..copy(words)
    };
    for (words, excludes, names) in [
        (&["s", "/x/"][..], &["*.txt"][..], &["s/b.md", "s/d/c.txt", "s/d/e.md"][..]),
        (&["s", "/x/"], &["**/*.txt"], &["s/b.md", "s/d/e.md"]),
        (&["s", "/x/"], &["d"], &["s/a.txt", "s/b.md"]),
        (&["s", "/x/"], &["d", "!d/c.txt"], &["s/a.txt", "s/b.md", "s/d/c.txt"]),
        (&["*", "/x/"], &["*.txt", "s"], &["y.md"]),
        (&["x.txt", "y.md", "/x/"], &["*.txt"], &["y.md"]),
    ] {
        assert_eq!(taken(&bench, &request(words, excludes), ""), names, "{words:?} {excludes:?}");
    }
}

#[test]
fn parents_keep_the_path() {
    let bench = Bench::new().in_context(&["a/b/f", "a/b/g", "a/c/f", "top", "x/y/z/f"]);
    let request = |words: &[&str]| CopyRequest { parents: true, ..copy(words) };
    let paths = |words: &[&str]| {
        let bench = Bench { dir: tempfile::tempdir_in(bench.dir.path()).unwrap() };
        fs::create_dir(bench.image()).unwrap();
        symlink("../context", bench.context()).unwrap();
        bench
            .copied(&request(words))
            .into_iter()
            .filter(|(_, what)| what != "/")
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&["a/b/f", "/d/"]), ["d/a/b/f"]);
    assert_eq!(paths(&["./a/b", "top", "/d/"]), ["d/a/b/f", "d/a/b/g", "d/top"]);
    assert_eq!(paths(&["a/*/f", "/d"]), ["d/a/b/f", "d/a/c/f"]);
    assert_eq!(paths(&["**/f", "/d"]), ["d/a/b/f", "d/a/c/f", "d/x/y/z/f"]);
    assert_eq!(paths(&["a/./b/f", "/d"]), ["d/b/f"]);
    assert_eq!(paths(&["x/y/./z", "/d"]), ["d/z/f"]);
    assert_eq!(paths(&["a/./*/f", "/d"]), ["d/b/f", "d/c/f"]);
    assert!(bench.select(&request(&["a/b/nothing", "/d"])).is_err());
    assert_eq!(bench.select(&request(&["a/none*", "/d"])).unwrap().unmatched(), [0]);
}

#[test]
fn the_key_sees_what_matters_and_nothing_else() {
    let bench = Bench::new().in_context(&["d/f", "d/g", "l -> d"]);
    set_mode(bench.context().join("d/f"), 0o644);
    let key = |words: &[&str]| bench.select(&copy(words)).unwrap().digest().unwrap();
    let before = key(&["d", "/x"]);
    let touched = fs::File::options().write(true).open(bench.context().join("d/f")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(key(&["d", "/x"]), before, "time");
    assert_ne!(key(&["d/f", "/x"]), key(&["d/g", "/x"]), "a file by another name");
    set_mode(bench.context().join("d/f"), 0o600);
    assert_ne!(key(&["d", "/x"]), before, "mode");
    set_mode(bench.context().join("d/f"), 0o644);
    assert_eq!(key(&["d", "/x"]), before, "the same again");
    fs::write(bench.context().join("d/f"), "X/f").unwrap();
    assert_ne!(key(&["d", "/x"]), before, "content of the same size");
    fs::write(bench.context().join("d/f"), "d/f").unwrap();
    fs::rename(bench.context().join("d/g"), bench.context().join("d/h")).unwrap();
    assert_ne!(key(&["d", "/x"]), before, "name");
    let parts = bench.select(&copy(&["d/f", "/x"])).unwrap().key_parts();
    assert_eq!(parts[0], ("/x".to_owned(), "destination".to_owned()));
    assert_eq!(parts[1].0, "f");
    assert!(parts[1].1.starts_with("file blake3:") && parts[1].1.ends_with(" 0644 0:0"), "{parts:?}");
    let key = |request: &CopyRequest| bench.select(request).unwrap().digest().unwrap();
    let plain = copy(&["d/f", "/x"]);
    for other in [
        copy(&["d/f", "/y"]),
        CopyRequest { workdir: "/w".into(), ..copy(&["d/f", "x"]) },
        CopyRequest { chown: Some("1:1".into()), ..plain.clone() },
        CopyRequest { chmod: Some("600".parse().unwrap()), ..plain.clone() },
        CopyRequest { link: true, ..plain.clone() },
        CopyRequest { add: Some(AddOptions::default()), ..plain.clone() },
    ] {
        assert_ne!(key(&other), key(&plain), "{other:?}");
    }
    let same = CopyRequest { workdir: "/".into(), ..copy(&["./d/f", "x"]) };
    assert_eq!(key(&same), key(&plain));
}

#[test]
fn the_cache_is_believed_and_fed() {
    #[derive(Default)]
    struct Cache(
        std::sync::Mutex<std::collections::HashMap<crate::context::FileStat, orlop_store::FileDigest>>,
    );
    impl crate::context::DigestCache for Cache {
        fn get(&self, file: &crate::context::FileStat) -> Option<orlop_store::FileDigest> {
            self.0.lock().unwrap().get(file).copied()
        }
        fn put(&self, file: &crate::context::FileStat, digest: orlop_store::FileDigest) {
            self.0.lock().unwrap().insert(*file, digest);
        }
    }
    let bench = Bench::new().in_context(&["old", "new"]);
    let cache = Cache::default();
    let tree = SourceTree::context(&bench.context(), Ignore::nothing()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(80));
    fs::write(bench.context().join("new"), "new").unwrap();
    select(&copy(&["old", "new", "/x/"]), &tree, &cache, None).unwrap();
    // `new` was touched too lately: another change could leave its times as they are.
    assert_eq!(cache.0.lock().unwrap().len(), 1);
    let marker = orlop_store::FileDigest::of(b"from the cache");
    cache.0.lock().unwrap().values_mut().for_each(|digest| *digest = marker);
    let selection = select(&copy(&["old", "/x/"]), &tree, &cache, None).unwrap();
    assert!(selection.key_parts()[1].1.contains(&marker.to_string()));
}

#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(bench.context().join(name), "x").unwrap();
    bench.copy(&copy(&["caf?", "/x/"])).unwrap();
    bench.copy(&copy(&[".", "/y/"])).unwrap();
    for dir in ["x", "y"] {
        assert_eq!(fs::read(bench.image().join(dir).join(name)).unwrap(), b"x");
    }
}

#[test]
fn sockets_are_left_out() {
    let bench = Bench::new().in_context(&["d/f"]);
    let _socket = std::os::unix::net::UnixListener::bind(bench.context().join("d/s")).unwrap();
    assert_eq!(bench.copied(&copy(&["d", "/x"])), tree([("x", "/"), ("x/f", "d/f")]));
    assert!(bench.select(&copy(&["d/s", "/x"])).is_err());
}

#[test]
fn too_deep_is_an_error_and_no_crash() {
    let bench = Bench::new();
    let mut path = bench.context();
    for _ in 0..600 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let error = bench.select(&copy(&[".", "/x"])).unwrap_err();
    assert!(matches!(error.kind, CopyErrorKind::TooDeep { .. }));
}

#[test]
fn privileged_what_is_ignored_is_not_opened() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let bench = Bench::new().in_context(&["keep", "closed/f", "open/closed/f", "open/g"]);
    set_mode(bench.context().join("closed"), 0);
    set_mode(bench.context().join("open/closed"), 0);
    // Root reads everything unless it gives that up, which is done thread by thread.
    let give_up = |_| {
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets).unwrap();
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(give_up).build().unwrap();
    pool.install(|| {
        assert!(bench.select(&copy(&[".", "/"])).is_err());
        assert_eq!(taken(&bench, &copy(&[".", "/"]), "**/closed"), ["keep", "open/g"]);
        assert_eq!(taken(&bench, &copy(&["*", "/"]), "**/closed"), ["keep", "open/g"]);
        assert_eq!(taken(&bench, &copy(&[".", "/"]), "*\n!open/g"), ["open/g"]);
        let error = bench.select(&copy(&["closed/f", "/"])).unwrap_err();
        assert_eq!(error.to_string(), "cannot look at `closed/f`");
    });
}

/// Everything below a directory by its path, directories before what is in them, names by their bytes.
fn below(dir: &Path, top: &Path, out: &mut Vec<PathBuf>) {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort_unstable_by(|a, b| a.file_name().cmp(&b.file_name()));
    for path in found {
        out.push(path.strip_prefix(top).unwrap().to_owned());
        if path.is_dir() {
            below(&path, top, out);
        }
    }
}

#[test]
fn large_trees_are_taken_in_order() {
    let bench = Bench::new();
    let context = bench.context();
    let long = "n".repeat(200);
    // Names of a directory that are looked at in several goes, with directories among them; many small ones; deep ones.
    for i in 0..2100 {
        let file = context.join(format!("large/{i:04}-{long}"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
        if i % 100 == 0 {
            bench.fill(&context, &[&format!("large/{i:04}.d/x"), &format!("large/{i:04}.d/e/y")]);
        }
    }
    for i in 0..300 {
        bench.fill(
            &context,
            &[&format!("small/{}/{}/f-{long}", i % 30, i), &format!("small/{}/{i}.x", i % 30)],
        );
    }
    bench.fill(&context, &[&format!("{}f", "deep/".repeat(100)), "small.txt", "small!"]);
    fs::hard_link(context.join("small/0/0.x"), context.join("small/9/link")).unwrap();
    let mut expected = Vec::new();
    below(&context, &context, &mut expected);

    let tree = SourceTree::context(&context, Ignore::nothing()).unwrap();
    let work = orlop_store::Work::open(&bench.dir.path().join("work")).unwrap();
    let select_in = |words: &[&str], work| select(&copy(words), &tree, &NoCache, work).unwrap();
    // So many that their list is in a file.
    let in_file = select_in(&[".", "small", "/x/"], Some(&work));
    let mut found: Vec<PathBuf> = in_file.entries().map(|entry| entry.unwrap().0).collect();
    assert_eq!(in_file.size().0, found.len());
    let again = found.split_off(expected.len());
    assert_eq!(found, expected);
    expected.retain(|path| path.starts_with("small") && path != Path::new("small"));
    assert_eq!(again, expected);
    // The same wherever the list is.
    let in_memory = select_in(&[".", "small", "/x/"], None);
    assert_eq!(in_file.key_parts(), in_memory.key_parts());
    assert_eq!(in_file.digest().unwrap(), in_memory.digest().unwrap());
    apply(&select_in(&[".", "/x/"], Some(&work)), &bench.image(), &no_names).unwrap();
    let (mut copied, mut expected) = (Vec::new(), Vec::new());
    below(&bench.image().join("x"), &bench.image().join("x"), &mut copied);
    below(&context, &context, &mut expected);
    assert_eq!(copied, expected);
    let inode = |path: &str| fs::metadata(bench.image().join(path)).unwrap().ino();
    assert_eq!(inode("x/small/0/0.x"), inode("x/small/9/link"));

    // Directories that are there for what is in them alone, on many levels.
    let parents = CopyRequest { parents: true, ..copy(&["**/60.x", "**/2000.d/e/*", "/p/"]) };
    let taken: Vec<String> = bench
        .select(&parents)
        .unwrap()
        .entries()
        .map(|entry| entry.unwrap().0.display().to_string())
        .collect();
    assert_eq!(
        taken,
        ["small", "small/0", "small/0/60.x", "large", "large/2000.d", "large/2000.d/e", "large/2000.d/e/y"]
    );
}

#[test]
fn of_several_faults_the_first_in_order_is_told() {
    let bench = Bench::new().in_context(&["a/b/c", "b/x"]);
    let mut deep = bench.context().join("m");
    (0..510).for_each(|_| deep.push("d"));
    fs::create_dir_all(&deep).unwrap();
    let error = bench.select(&copy(&[".", "/x"])).unwrap_err();
    let CopyErrorKind::TooDeep { path, .. } = &error.kind else { panic!("{error:?}") };
    assert_eq!(path.matches('d').count(), 500);
    for _ in 0..5 {
        assert_eq!(bench.select(&copy(&[".", "/x"])).unwrap_err().to_string(), error.to_string());
    }
}
