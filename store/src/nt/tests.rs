//! What Wine can show; see the table of the module.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::windows::ffi::OsStringExt;

use super::*;

fn scratch() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

fn name(text: &str) -> OsString {
    text.into()
}

fn put(dir: &Dir, name: &str, content: &str) {
    dir.make_file(OsStr::new(name)).unwrap().write_all(content.as_bytes()).unwrap();
}

fn get(dir: &Dir, name: &str) -> String {
    let mut out = String::new();
    dir.file(OsStr::new(name), Share::All).unwrap().read_to_string(&mut out).unwrap();
    out
}

pub(crate) fn under_wine() -> bool {
    super::privilege::exports("ntdll.dll", c"wine_get_version")
}

fn names(dir: &Dir) -> Vec<String> {
    dir.list().unwrap().into_iter().map(|e| e.name.to_string_lossy().into_owned()).collect()
}

#[test]
fn what_is_made_is_found_and_listed_as_the_same() {
    let (_temp, dir) = scratch();
    put(&dir, "b.txt", "content");
    let sub = dir.make_dir(&name("a")).unwrap();
    put(&sub, "inner", "");
    // What a listing tells of a directory is brought up to date when it is closed.
    drop(sub);
    assert_eq!(names(&dir), ["a", "b.txt"]);
    for entry in dir.list().unwrap() {
        let stat = dir.stat(&entry.name).unwrap().unwrap();
        assert_eq!(entry.stat.id, stat.id);
        assert_eq!((entry.stat.kind, entry.stat.attributes), (stat.kind, stat.attributes));
        assert_eq!((entry.stat.size, entry.stat.volume), (stat.size, stat.volume));
        assert_eq!(entry.stat.times.written, stat.times.written);
        assert_eq!(entry.stat.times.changed, stat.times.changed);
    }
    let file = dir.stat(&name("b.txt")).unwrap().unwrap();
    assert!(file.is_file() && !file.is_dir());
    assert_eq!((file.size, file.links), (7, 1));
    assert!(dir.stat(&name("a")).unwrap().unwrap().is_dir());
    assert_eq!(dir.stat(&name("none")).unwrap(), None);
    assert_eq!(dir.file(&name("none"), Share::All).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(dir.file(&name("a"), Share::All).is_err(), "a directory is no file");
    assert_eq!(dir.dir(&name("b.txt")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(dir.make_file(&name("b.txt")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(dir.make_dir(&name("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_name_is_one_component() {
    let (_temp, dir) = scratch();
    put(&dir, "file", "x");
    let long = "n".repeat(256);
    for bad in ["", ".", "..", "a\\b", "a/b", "file:stream", "file::$DATA", "a\0b", "\\", "C:", &long] {
        assert_eq!(check_name(OsStr::new(bad)).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        assert!(dir.make_file(OsStr::new(bad)).is_err(), "{bad:?}");
        assert!(dir.file(OsStr::new(bad), Share::All).is_err(), "{bad:?}");
        assert!(dir.make_dir(OsStr::new(bad)).is_err(), "{bad:?}");
        assert!(dir.stat(OsStr::new(bad)).is_err(), "{bad:?}");
        assert!(dir.rename(&name("file"), &dir, OsStr::new(bad), true).is_err(), "{bad:?}");
    }
    assert_eq!(names(&dir), ["file"]);
}

#[test]
fn names_that_mean_something_to_programs_mean_nothing_here() {
    let (_temp, dir) = scratch();
    let long = "n".repeat(255);
    let hostile =
        ["aux", "COM1", "con", "lpt1.txt", "nul", "nul.txt", "dot.", "dots...", "space ", " x", "~", &long];
    for hostile in hostile {
        put(&dir, hostile, hostile);
    }
    let mut expected: Vec<OsString> = hostile.iter().map(|n| name(n)).collect();
    expected.sort_by_key(|n| std::os::windows::ffi::OsStrExt::encode_wide(&**n).collect::<Vec<_>>());
    assert_eq!(dir.list().unwrap().into_iter().map(|e| e.name).collect::<Vec<_>>(), expected);
    for hostile in hostile {
        assert_eq!(get(&dir, hostile), hostile);
        dir.rename(OsStr::new(hostile), &dir, OsStr::new("renamed."), false).unwrap();
        dir.rename(OsStr::new("renamed."), &dir, OsStr::new(hostile), false).unwrap();
        dir.remove(OsStr::new(hostile)).unwrap();
    }
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn names_of_any_characters() {
    let (_temp, dir) = scratch();
    for odd in
        [OsString::from("grün 語 😀"), OsString::from("a'b&c^d%e%"), OsString::from_wide(&[0x61, 0xE000])]
    {
        dir.make_file(&odd).unwrap();
        assert!(dir.list().unwrap().iter().any(|e| e.name == odd), "{odd:?}");
        dir.remove(&odd).unwrap();
    }
}

#[test]
fn case_does_not_matter_and_is_kept() {
    let (_temp, dir) = scratch();
    put(&dir, "ReadMe", "x");
    assert!(!dir.is_case_sensitive().unwrap());
    assert_eq!(get(&dir, "README"), "x");
    assert_eq!(dir.make_file(&name("readme")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&dir), ["ReadMe"]);
}

#[test]
fn times_and_attributes() {
    let (_temp, dir) = scratch();
    put(&dir, "f", "x");
    let times = Times {
        created: FileTime::from_unix(1_000_000_000, 123_456_700),
        written: FileTime::from_unix(1_100_000_000, 100),
        ..Times::default()
    };
    // Wine says of every file that it is to be archived.
    let attributes = attribute::HIDDEN | attribute::SYSTEM;
    dir.set_basic(&name("f"), times, attributes).unwrap();
    let stat = dir.stat(&name("f")).unwrap().unwrap();
    assert_eq!(stat.times.written, times.written);
    // Wine 8 keeps no time of creation, and tells the one of the last change instead.
    assert!(stat.times.created == times.created || (under_wine() && stat.times.created == times.written));
    assert_eq!(stat.attributes & attributes, attributes);
    assert_eq!(stat.times.written.unix(), (1_100_000_000, 100));
    assert_eq!(times.created.unix_nanos(), 1_000_000_000_123_456_700);
    dir.set_basic(&name("f"), Times::default(), attribute::NORMAL).unwrap();
    let again = dir.stat(&name("f")).unwrap().unwrap();
    assert_eq!(again.attributes & attributes, 0);
    assert_eq!(again.times.written, times.written, "a time of 0 is left alone");
    assert_eq!(FileTime::from_unix(-1, 999_999_900).unix(), (-1, 999_999_900));
    assert_eq!(FileTime::from_unix(i64::MIN, 0), FileTime(1));
    assert_eq!(FileTime::from_unix(i64::MAX, 0).0, i64::MAX);
}

#[test]
fn a_file_that_somebody_holds_is_told_apart() {
    let (_temp, dir) = scratch();
    put(&dir, "f", "x");
    let writer = dir.file_to_write(&name("f"), Share::All).unwrap();
    let error = dir.file(&name("f"), Share::Read).unwrap_err();
    assert!(is_held(&error), "{error:?}");
    assert!(dir.file(&name("f"), Share::All).is_ok());
    drop(writer);
    let reader = dir.file(&name("f"), Share::Read).unwrap();
    let error = dir.file_to_write(&name("f"), Share::All).unwrap_err();
    assert!(is_held(&error), "{error:?}");
    let (_, error) = dir.remove(&name("f")).unwrap_err();
    assert!(is_held(&error), "{error:?}");
    drop(reader);
    dir.remove(&name("f")).unwrap();
}

#[test]
fn trees_go_whatever_is_in_them() {
    let (temp, dir) = scratch();
    let top = dir.make_dir(&name("top")).unwrap();
    put(&top, "read-only", "x");
    top.set_basic(&name("read-only"), Times::default(), attribute::READ_ONLY | attribute::HIDDEN).unwrap();
    put(&top, "nul", "");
    put(&top.make_dir(&name("dir.")).unwrap(), "con", "");
    drop(top);
    // While nothing in it is open: that keeps a directory where it is.
    dir.rename(&name("top"), &dir, &name("moved "), false).unwrap();
    let mut at = dir.dir(&name("moved ")).unwrap().dir(&name("dir.")).unwrap();
    // Deeper than there are handles at once, and beyond 260 characters.
    for i in 0..400 {
        put(&at, "file", "");
        // Wine's own limit of paths is that of the system below it, 4096.
        at = at.make_dir(&name(&format!("d{i}."))).unwrap();
    }
    drop(at);
    dir.remove(&name("moved ")).unwrap();
    assert_eq!(names(&dir), [""; 0]);
    dir.remove(&name("moved ")).unwrap();
    drop(temp);
}

#[test]
fn renames_replace_only_where_they_may() {
    let (_temp, dir) = scratch();
    let other = dir.make_dir(&name("other")).unwrap();
    put(&dir, "a", "a");
    put(&other, "b", "b");
    let error = dir.rename(&name("a"), &other, &name("b"), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    dir.rename(&name("a"), &other, &name("b"), true).unwrap();
    assert_eq!(get(&other, "b"), "a");
    other.link(&name("b"), &dir, &name("second")).unwrap();
    assert_eq!(get(&dir, "second"), "a");
    assert_eq!(dir.stat(&name("second")).unwrap().unwrap().links, 2);
    assert_eq!(dir.stat(&name("second")).unwrap().unwrap().id, other.stat(&name("b")).unwrap().unwrap().id);
    assert_eq!(other.link(&name("b"), &dir, &name("second")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn streams_are_listed_with_their_file_and_go_with_its_directory() {
    let (temp, dir) = scratch();
    let sub = dir.make_dir(&name("d")).unwrap();
    put(&sub, "f", "main");
    sub.make_stream(&name("f"), &name("side")).unwrap().write_all(b"stream").unwrap();
    assert_eq!(names(&sub), ["f"]);
    assert_eq!(sub.streams(&name("f")).unwrap(), [Stream { name: "side".into(), size: 6 }]);
    let mut text = String::new();
    sub.stream(&name("f"), &name("side"), Share::All).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((get(&sub, "f").as_str(), text.as_str()), ("main", "stream"));
    assert_eq!(sub.make_stream(&name("none"), &name("x")).unwrap_err().kind(), ErrorKind::NotFound);
    if under_wine() {
        // Named with its type, it is the stream of that name; of no file it is a name that nobody can have.
        std::fs::write(temp.path().join("d/f:typed:$DATA"), "t").unwrap();
        std::fs::write(temp.path().join("d/none:x"), "").unwrap();
        let streams = sub.streams(&name("f")).unwrap();
        assert_eq!(streams.iter().map(|s| s.name.to_str().unwrap()).collect::<Vec<_>>(), ["side", "typed"]);
        assert!(sub.stream(&name("f"), &name("typed"), Share::All).is_ok());
        assert_eq!(names(&sub), ["f", "none:x"]);
    }
    for bad in ["", "a:b", "a\\b", "$DATA:x"] {
        assert!(sub.make_stream(&name("f"), OsStr::new(bad)).is_err(), "{bad}");
    }
    drop(sub);
    dir.remove(&name("d")).unwrap();
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_volume_says_what_it_can() {
    let (_temp, dir) = scratch();
    let volume = dir.volume().unwrap();
    assert!(volume.cluster.is_power_of_two(), "{volume:?}");
    assert!(!volume.name.is_empty());
}

#[test]
fn a_security_descriptor_is_read() {
    let (_temp, dir) = scratch();
    put(&dir, "f", "");
    let descriptor = dir.security(&name("f")).unwrap();
    assert_eq!(descriptor[0], 1);
    assert!(descriptor.len() > 20);
    assert!(dir.set_security(&name("f"), b"nothing").is_err());
}

#[test]
fn what_is_no_reparse_point_says_so() {
    let (_temp, dir) = scratch();
    put(&dir, "f", "");
    assert!(!dir.is_reparse(&name("f")).unwrap());
    assert!(dir.reparse(&name("f")).is_err());
}
