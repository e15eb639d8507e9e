//! Copying into Windows images, on any machine.

use super::*;
use crate::dialect::Dialect;

fn request(sources: &[&str], dest: &str) -> CopyRequest {
    CopyRequest {
        sources: sources.iter().map(|s| Source::Path((*s).to_owned())).collect(),
        dest: dest.to_owned(),
        dialect: Dialect::Windows,
        ..CopyRequest::default()
    }
}

#[test]
fn a_destination_is_found_whatever_its_case() {
    let bench = Bench::new().in_context(&["a/X.txt", "a/Sub/y", "b"]).in_image(&["Program Files/App/x.TXT"]);
    bench.copy(&request(&["a"], "/program files/APP/")).unwrap();
    bench.copy(&request(&["b"], "/PROGRAM FILES/app/SUB/Y")).unwrap();
    let tree = bench.tree();
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "Program Files",
            "Program Files/App",
            "Program Files/App/Sub",
            "Program Files/App/Sub/y",
            "Program Files/App/x.TXT"
        ]
    );
    assert_eq!(tree["Program Files/App/x.TXT"], "a/X.txt");
    assert_eq!(tree["Program Files/App/Sub/y"], "b");
}

#[cfg(unix)]
#[test]
fn what_windows_cannot_have_is_refused() {
    for (file, part) in [
        ("d/nul.txt", "`d/nul.txt` cannot be in a Windows image: it holds `nul.txt`, which is a device"),
        ("d/a:b", "stream"),
        ("d/a\\b", "'\\\\'"),
        ("d/end.", "drops the dot"),
        ("d/que?", "'?'"),
    ] {
        let bench = Bench::new().in_context(&[file]);
        let error = bench.copy(&request(&["d"], "/x/")).unwrap_err();
        assert!(error.to_string().contains(part), "{file}: {error}");
        assert_eq!(error.word, Some(0));
        assert!(error.hint().is_some());
    }
    let bench = Bench::new().in_context(&["d/File", "d/file"]);
    let error = bench.copy(&request(&["d"], "/")).unwrap_err();
    assert!(error.to_string().starts_with("`d/file` and `d/File` differ only by case"), "{error}");
    let bench = Bench::new().in_context(&["d/Sub/x", "d/sub/y"]);
    assert!(matches!(bench.copy(&request(&["d"], "/")).unwrap_err().kind, CopyErrorKind::SameName { .. }));
    let bench = Bench::new().in_context(&["a", "A"]);
    assert!(matches!(
        bench.copy(&request(&["a", "A"], "/x/")).unwrap_err().kind,
        CopyErrorKind::SameName { .. }
    ));
    // The same file once more is written over.
    Bench::new().in_context(&["d/a", "e/a"]).copy(&request(&["d", "e"], "/x/")).unwrap();
}

#[cfg(unix)]
#[test]
fn owner_and_mode_are_no_part_of_it() {
    let bench = Bench::new().in_context(&["d/x", "d/sub/"]);
    let key = bench.select(&request(&["d"], "/")).unwrap().digest().unwrap();
    fs::set_permissions(bench.context().join("d/x"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(bench.context().join("d/sub"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bench.select(&request(&["d"], "/")).unwrap().digest().unwrap(), key);
    let linux = CopyRequest { dialect: Dialect::Linux, ..request(&["d"], "/") };
    assert_ne!(bench.select(&linux).unwrap().digest().unwrap(), key);
}

#[cfg(unix)]
#[test]
fn another_windows_image_is_read_whatever_the_case() {
    let bench = Bench::new().in_context(&[
        "Users/Public/One.TXT",
        "Users/Public/two.txt",
        "Dir -> C:\\users\\PUBLIC",
    ]);
    let tree = SourceTree::root(&bench.context(), Dialect::Windows).unwrap();
    let names = |source: &str| {
        let selection =
            select(&request(&[source], "/x/"), &tree, &NoCache, None).map_err(|e| e.to_string())?;
        Ok::<_, String>(
            selection.entries().map(|entry| entry.unwrap().0.display().to_string()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(names("/users/public/one.txt").unwrap(), ["Users/Public/One.TXT"]);
    assert_eq!(names("/USERS/public/*.txt").unwrap(), ["Users/Public/One.TXT", "Users/Public/two.txt"]);
    assert_eq!(names("/dir/ONE.txt").unwrap(), ["Users/Public/One.TXT"]);
    assert!(names("/dir/three").is_err());
    let linux = SourceTree::root(&bench.context(), Dialect::Linux).unwrap();
    assert!(select(&request(&["/users/public/one.txt"], "/x/"), &linux, &NoCache, None).is_err());
}

#[test]
fn errors_show_paths_of_windows() {
    let bench = Bench::new().in_context(&["f"]).in_image(&["App/bin"]);
    let error = bench.copy(&request(&["f"], "/app/BIN/x")).unwrap_err();
    assert_eq!(error.to_string(), r"cannot copy a directory to `C:\app\BIN\x`, which is not a directory");
}

#[test]
fn archives_hold_what_windows_can_have() {
    use std::io::Write;
    let archive = |names: &[&str]| {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(77);
            header.set_size(1);
            // The crate itself refuses some of these.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, &b"x"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let unpack = |names: &[&str]| {
        let bench = Bench::new().in_image(&["Bin/Old"]);
        fs::File::create(bench.context().join("a.tar")).unwrap().write_all(&archive(names)).unwrap();
        let add = CopyRequest { add: Some(AddOptions::default()), ..request(&["a.tar"], "/") };
        let result = bench.copy(&add);
        result
            .map(|_| bench.tree())
            .map_err(|e| std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default())
    };
    let tree = unpack(&["bin/old", "bin/new", "Lib/x"]).unwrap();
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["Bin", "Bin/Old", "Bin/new", "Lib", "Lib/x"]);
    assert!(unpack(&["a/x", "A/y"]).unwrap_err().contains("differ only by case"));
    assert!(unpack(&["a/aux.h"]).unwrap_err().contains("device"));
    assert!(unpack(&["a\\..\\b"]).unwrap_err().contains("'\\\\'"));
    assert!(unpack(&["C:/x"]).unwrap_err().contains("stream"));
}

/// What a machine with Windows itself does: names without case by the file system, paths with either separator.
#[cfg(windows)]
mod host {
    use super::*;

    #[test]
    fn a_context_is_copied_with_its_times() {
        let bench = Bench::new().in_context(&["src/Bin/a.dll", "src/b.txt", "src/obj/x", "src/empty/"]);
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let file = fs::File::options().write(true).open(bench.context().join("src/b.txt")).unwrap();
        file.set_modified(old).unwrap();
        drop(file);
        let request = request(&["SRC"], "/app/");
        let selection = bench.select_ignoring(&request, "src\\obj\n").unwrap();
        let names: Vec<String> = selection
            .entries()
            .map(|entry| crate::context::pattern::slashed(&entry.unwrap().0).into_owned())
            .collect();
        assert_eq!(names, ["src/Bin", "src/Bin/a.dll", "src/b.txt", "src/empty"]);
        apply(&selection, &bench.image(), &no_names).unwrap();
        let tree = bench.tree();
        assert_eq!(tree["app/Bin/a.dll"], "src/Bin/a.dll");
        assert_eq!(tree["app/empty"], "/");
        assert_eq!(fs::metadata(bench.image().join("app/b.txt")).unwrap().modified().unwrap(), old);
    }

    #[test]
    fn wildcards_know_no_case() {
        let bench = Bench::new().in_context(&["One.TXT", "two.txt", "three.md"]);
        bench.copy(&request(&["*.txt"], "/x/")).unwrap();
        let tree = bench.tree();
        assert_eq!(tree.keys().map(String::as_str).collect::<Vec<_>>(), ["x", "x/One.TXT", "x/two.txt"]);
    }

    #[test]
    fn nothing_leads_out_of_the_context() {
        let bench = Bench::new().in_context(&["a"]);
        fs::write(bench.dir.path().join("outside"), "secret").unwrap();
        for source in ["../outside", "a/../../outside", "/../outside"] {
            let error = bench.copy(&request(&[source], "/x/")).unwrap_err();
            assert!(matches!(error.kind, CopyErrorKind::NotFound { .. }), "{source}: {error}");
        }
    }

    #[test]
    fn the_same_content_has_the_same_key_after_it_was_touched() {
        let bench = Bench::new().in_context(&["d/x"]);
        let key = bench.select(&request(&["d"], "/")).unwrap().digest().unwrap();
        fs::write(bench.context().join("d/x"), "d/x").unwrap();
        assert_eq!(bench.select(&request(&["d"], "/")).unwrap().digest().unwrap(), key);
        fs::write(bench.context().join("d/x"), "other").unwrap();
        assert_ne!(bench.select(&request(&["d"], "/")).unwrap().digest().unwrap(), key);
    }
}
