//! The `format` file: which version of the store this is, and what it uses that others may not know.

use std::io::Write;
use std::path::Path;

use super::FORMAT;
use crate::error::{Error, Result};

/// The first line of a format file, its version after it.
const MAGIC: &str = "orlop-store";
/// The version that is written and known.
const VERSION: &str = "1";
/// Features without which a store must not be opened, as far as they are known here: none yet.
const INCOMPATIBLE: [&str; 0] = [];
/// Features without which a store must not be written to, as far as they are known here: none yet.
const READ_ONLY_COMPATIBLE: [&str; 0] = [];
/// What may lie in a directory that is becoming a store.
const OURS: [&str; 7] = ["format", "blobs", "layers", "work", "facts", "gc.lock", "reserve"];

/// Finds the format file of `root` to be known, or writes it where `root` is empty.
pub(super) fn claim(root: &Path) -> Result<()> {
    let path = root.join(FORMAT);
    match std::fs::read_to_string(&path) {
        Ok(text) => check(&path, &text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            refuse_foreign(root)?;
            write(root, &path)
        }
        Err(e) => Err(Error::io("read", &path)(e)),
    }
}

/// Whether the text of a format file is one that is known.
pub(super) fn check_text(text: &str) -> Option<()> {
    check(Path::new(FORMAT), text).ok()
}

fn check(path: &Path, text: &str) -> Result<()> {
    let unknown = |found: String, known: &str| {
        Err(Error::UnknownFormat { path: path.to_owned(), found, known: known.to_owned() })
    };
    let mut lines = text.lines();
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    match first.as_slice() {
        [MAGIC, VERSION] => {}
        [MAGIC, other] => return unknown(format!("version {:.20}", other), "version 1"),
        _ => return unknown("nothing that an orlop wrote".to_owned(), "`orlop-store 1`"),
    }
    for line in lines {
        let (list, known) = match line.split_once(':') {
            Some(("incompatible", features)) => (features, INCOMPATIBLE.as_slice()),
            Some(("read-only-compatible", features)) => (features, READ_ONLY_COMPATIBLE.as_slice()),
            // Compatible features, and lines of later versions that are nobody's concern.
            _ => continue,
        };
        if let Some(feature) = list.split_whitespace().find(|f| !known.contains(f)) {
            return unknown(format!("that it uses `{feature:.40}`"), "other features");
        }
    }
    Ok(())
}

/// A directory with other people's files in it is none to make a store of.
fn refuse_foreign(root: &Path) -> Result<()> {
    for entry in std::fs::read_dir(root).map_err(Error::io("list", root))? {
        let name = entry.map_err(Error::io("list", root))?.file_name();
        let name = name.to_string_lossy();
        if name == "lost+found" || OURS.iter().any(|ours| name.starts_with(ours)) {
            continue;
        }
        return Err(Error::invalid(
            format!("store `{}`", root.display()),
            format!("it has no `{FORMAT}` file and is not empty (`{name}`); choose an empty directory"),
        ));
    }
    Ok(())
}

fn write(root: &Path, path: &Path) -> Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{FORMAT}."))
        .tempfile_in(root)
        .map_err(Error::io("write", path))?;
    writeln!(file, "{MAGIC} {VERSION}\ncompatible:\nread-only-compatible:\nincompatible:")
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io("write", path))?;
    // Two that make a store at the same time write the same.
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("write", path)(e.error))
        }
        _ => Ok(()),
    }
}
