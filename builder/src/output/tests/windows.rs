use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use orlop_runner::CancelToken;
use orlop_store::layer::tar::{Kind, Reader};

use super::super::{directory, tree};
use crate::event::{Event, Observer, Progress};

struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}

fn sample() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join(r"Dir\empty")).unwrap();
    fs::write(root.path().join(r"Dir\file.txt"), "content").unwrap();
    let file = fs::File::options().write(true).open(root.path().join(r"Dir\file.txt")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    root
}

#[test]
fn a_directory_is_filled_over_what_is_there() {
    let (root, out) = (sample(), tempfile::tempdir().unwrap());
    let dest = out.path().join(r"made\here");
    fs::create_dir_all(dest.join(r"DIR\file.TXT")).unwrap();
    fs::write(dest.join("stays"), "x").unwrap();
    let progress = Progress::new(&Silent);
    let task = progress.start("export");
    directory::write(&CancelToken::new(), root.path(), &dest, false, &task).unwrap();
    assert_eq!(fs::read_to_string(dest.join(r"dir\file.txt")).unwrap(), "content");
    assert_eq!(fs::read_to_string(dest.join("stays")).unwrap(), "x");
    assert!(dest.join(r"Dir\empty").is_dir());
    let modified = fs::metadata(dest.join(r"dir\file.txt")).unwrap().modified().unwrap();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
}

#[test]
fn a_tar_has_slashes() {
    let root = sample();
    let out = tempfile::NamedTempFile::new().unwrap();
    tree::write_tar(&CancelToken::new(), &[super::part(root.path())], out.as_file()).unwrap();
    let mut reader = Reader::new(fs::File::open(out.path()).unwrap());
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        found.push((String::from_utf8(entry.path).unwrap(), entry.kind, entry.size, entry.mtime.seconds));
    }
    let file = ("Dir/file.txt".to_owned(), Kind::File, 7, 1_000_000_000);
    assert!(found.contains(&file), "{found:?}");
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.trim_end_matches('/')).collect();
    assert_eq!(names, ["Dir", "Dir/empty", "Dir/file.txt"]);
}
