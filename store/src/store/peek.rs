//! A look into a store by who must not change it: nothing is made, locked or cleared away.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{BLOBS, FACTS, FORMAT, format};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::facts;
use crate::image::{Image, MAX_CONFIG};
use crate::reference::Reference;

/// The image that `name` stands for in the store at `root`. None where there is no store, where it is of another
/// version, or where the image cannot be read: whoever needs one for certain opens the store.
pub fn peek(root: &Path, name: &Reference) -> Option<Image> {
    format::check_text(&std::fs::read_to_string(root.join(FORMAT)).ok()?)?;
    let id = named(&root.join(FACTS), name)?;
    let file = std::fs::File::open(root.join(BLOBS).join(id.hex())).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).ok()?;
    if Digest::of(&bytes) != id {
        return None;
    }
    Image::from_parts(&bytes, None).ok()
}

fn named(path: &Path, name: &Reference) -> Option<Digest> {
    let query = "SELECT image FROM names WHERE name = ?";
    let text: String =
        connect(path)?.query_row(query, [name.to_string()], |row| row.get(0)).optional().ok()??;
    text.parse().ok()
}

/// The repositories (`host/name`) that had each of `blobs` when the store at `root` last met them, the latest first.
/// Nothing where there is no store, or none that this version reads: what a mount needs is worth a look, and no more.
pub fn peek_sources(root: &Path, blobs: &[Digest]) -> BTreeMap<Digest, Vec<String>> {
    let looked = || {
        format::check_text(&std::fs::read_to_string(root.join(FORMAT)).ok()?)?;
        let connection = connect(&root.join(FACTS))?;
        let mut query =
            connection.prepare("SELECT repository FROM sources WHERE blob = ? ORDER BY seen DESC").ok()?;
        let mut out = BTreeMap::new();
        for blob in blobs {
            let rows = query.query_map([blob.to_string()], |row| row.get(0)).ok()?;
            let found: Vec<String> = rows.filter_map(Result::ok).collect();
            if !found.is_empty() {
                out.insert(*blob, found);
            }
        }
        Some(out)
    };
    looked().unwrap_or_default()
}

/// Remembers that each of `repositories` (`host/name`) has all of `blobs`, in the store at `root`, which is made where
/// there is none; nothing else of it is opened.
///
/// # Errors
/// When the store cannot be written, or is of another version.
pub fn note_sources(root: &Path, blobs: &[Digest], repositories: &[String]) -> Result<()> {
    super::make_private(root).map_err(Error::io("make", root))?;
    format::claim(root)?;
    super::open_facts(root)?.write("remember where blobs are", |tx| {
        let mut insert =
            tx.prepare("INSERT OR REPLACE INTO sources(blob, repository, seen) VALUES (?, ?, ?)")?;
        for (blob, repository) in blobs.iter().flat_map(|b| repositories.iter().map(move |r| (b, r))) {
            insert.execute((blob.to_string(), repository, facts::now()))?;
        }
        Ok(())
    })
}

fn connect(path: &Path) -> Option<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // Beside a database that somebody has open lie its log and its shared memory. Without them SQLite would make
    // them, unless it is told that nothing changes; if that is wrong after all, the answer does not fit its digest.
    let still = !Path::new(&log).exists();
    let uri = format!("file:{}{}", escaped(path)?, if still { "?immutable=1" } else { "" });
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).ok()?;
    (version == facts::VERSION).then_some(connection)
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let text = if cfg!(windows) { format!("/{}", text.replace('\\', "/")) } else { text.to_owned() };
    Some(text.replace('%', "%25").replace('?', "%3f").replace('#', "%23"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreOptions};
    use crate::{Named, Platform};

    #[test]
    fn a_look_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // What means something in a URI; no name on Windows holds a question mark.
        let root = dir.path().join(if cfg!(windows) { "a store #1%" } else { "a store #1%?" });
        let name: Reference = "debian:12".parse().unwrap();
        assert!(peek(&root, &name).is_none() && !root.exists());
        let image = Image::scratch(&Platform::host()).with_config(|config| config.set_env("A", "b"));
        let options = StoreOptions { durability: crate::Durability::Process, ..StoreOptions::default() };
        let store = Store::open(&root, &options).unwrap();
        let id = store.images().put(&image).unwrap();
        store.images().tag(&name, &Named { id, manifest: None, index: None }).unwrap();
        // While the store is open, and after.
        assert_eq!(peek(&root, &name).unwrap().id(), id);
        store.note_source(&id, "registry.example.org/debian").unwrap();
        drop(store);
        let sources = peek_sources(&root, &[id, Digest::of(b"another")]);
        assert_eq!(sources, BTreeMap::from([(id, vec!["registry.example.org/debian".to_owned()])]));
        let other = dir.path().join("not made yet");
        note_sources(&other, &[id], &["r/a".to_owned(), "r/b".to_owned()]).unwrap();
        assert_eq!(peek_sources(&other, &[id])[&id].len(), 2);
        Store::open(&other, &options).unwrap();
        let files = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = files();
        assert_eq!(peek(&root, &name).unwrap().id(), id);
        assert!(peek(&root, &"debian:13".parse().unwrap()).is_none());
        assert_eq!(files(), before);
    }
}
