//! Layers as other tools and attackers write them, put into a store and looked at.

mod foreign;
mod hostile;
mod store;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::tar::{Entry, Kind, Time, Writer};
use super::*;
use crate::work::Work;

/// A store and a chain that grows in it.
struct Fixture {
    dir: tempfile::TempDir,
    layers: Layers,
    chain: Vec<Digest>,
}

impl Fixture {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let work = Work::open(&dir.path().join("work")).unwrap();
        let layers = Layers::open(&dir.path().join("layers"), &work, XattrForm::Trusted).unwrap();
        Self { dir, layers: layers.with_durability(Durability::Process), chain: Vec::new() }
    }

    fn import(&self, tar: &[u8]) -> Result<LayerFacts, LayerError> {
        self.layers.import(&self.chain, &Digest::of(tar), tar)
    }

    /// Puts a layer on top of the chain; its directory.
    fn push(&mut self, entries: &[Made]) -> PathBuf {
        let tar = archive(entries);
        let facts = self.import(&tar).unwrap();
        assert_eq!(facts.entries, entries.len() as u64);
        let fs = self.layers.fs(&self.chain, &facts.diff_id).unwrap();
        self.chain.push(facts.diff_id);
        fs
    }

    /// What unpacking `entries` fails with, and that nothing stays of it.
    fn refused(&self, entries: &[Made]) -> String {
        let error = self.import(&archive(entries)).unwrap_err();
        assert_eq!(std::fs::read_dir(self.dir.path().join("work")).unwrap().count(), 0);
        chain(&error)
    }

    /// Whether the newest layer is kept under its diff ID.
    fn is_plain(&self) -> bool {
        let diff_id = self.chain.last().unwrap();
        self.layers.path(&LayerKey::Diff(*diff_id)).exists()
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

pub(super) type Made = (Entry, Vec<u8>);

pub(super) fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 1_600_000_000, nanoseconds: 7 },
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: Default::default(),
    }
}

pub(super) fn file(path: &str, content: &str) -> Made {
    (Entry { size: content.len() as u64, ..entry(path, Kind::File) }, content.as_bytes().to_vec())
}

pub(super) fn dir(path: &str) -> Made {
    (entry(path, Kind::Directory), Vec::new())
}

pub(super) fn symlink(path: &str, target: &str) -> Made {
    (Entry { link: target.as_bytes().to_vec(), ..entry(path, Kind::Symlink) }, Vec::new())
}

pub(super) fn hard_link(path: &str, target: &str) -> Made {
    (Entry { link: target.as_bytes().to_vec(), ..entry(path, Kind::HardLink) }, Vec::new())
}

pub(super) fn with(mut made: Made, change: impl FnOnce(&mut Entry)) -> Made {
    change(&mut made.0);
    made
}

pub(super) fn archive(entries: &[Made]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn is_whiteout(path: &Path) -> bool {
    let meta = path.symlink_metadata().unwrap();
    meta.mode() & 0o170000 == 0o020000 && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    matches!(rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value), Ok(1) if value[0] == b'y')
}

fn read_all(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.read_to_end(&mut out)?;
    Ok(out)
}
