//! Indexes, byte by byte and mounted beside what the same tar unpacks to.

mod bytes;
mod mounted;
mod random;
mod reader;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::FileType;

use super::*;
use crate::layer::apply::{self, Applied, Below, How};
use crate::layer::node::{self, Meta, Xattrs};
use crate::layer::stack::Stack;
use crate::layer::tar::Time;
use crate::layer::tests::*;
use crate::layer::{Ownership, XattrForm};
use crate::snapshot::LayerOs;

/// The index of a tar.
fn image(tar: &[u8], below_is_empty: bool) -> Result<(Vec<u8>, Indexed), Refused> {
    let mut indexer = Indexer::new(below_is_empty);
    assert!(indexer.read(&mut Reader::new(tar), u64::MAX)?);
    let mut image = Vec::new();
    let of = Of { diff_id: Digest::of(tar), tar_size: tar.len() as u64 };
    let indexed = indexer.finish(&mut image, &of)?;
    assert_eq!(indexed.size, image.len() as u64);
    Ok((image, indexed))
}

/// What one name of a tree is.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: FileType,
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    size: u64,
    rdev: u64,
    links: u64,
    xattrs: Xattrs,
    target: Vec<u8>,
    content: Option<Digest>,
    /// The first path of the same file.
    first: Vec<u8>,
}

/// Everything in a tree, by path. Times that unpacking leaves to the clock are none.
fn tree(root: BorrowedFd<'_>, root_entry: bool) -> BTreeMap<Vec<u8>, Seen> {
    let mut out = BTreeMap::new();
    let mut files = HashMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None if path.is_empty() => (&path[..], &b"."[..]),
            None => (&path[..0], &path[..]),
        };
        let dir = node::open_dir(root, parent).unwrap();
        let meta = Meta::at(dir.as_fd(), name).unwrap().unwrap();
        let seen = see(dir.as_fd(), name, &meta, files.entry(meta.id).or_insert(path.clone()));
        if meta.is_dir() {
            let dir = node::open_dir(root, &path).unwrap();
            for name in node::names(dir.as_fd()).unwrap().iter().rev() {
                todo.push(if path.is_empty() { name.clone() } else { [&path[..], b"/", name].concat() });
            }
        }
        let timeless =
            (path.is_empty() && !root_entry) || (meta.kind == FileType::CharacterDevice && meta.rdev == 0);
        out.insert(path, if timeless { Seen { mtime: Time::default(), ..seen } } else { seen });
    }
    out
}

fn see(dir: BorrowedFd<'_>, name: &[u8], meta: &Meta, first: &[u8]) -> Seen {
    let is_file = meta.kind == FileType::RegularFile;
    let is_dir = meta.is_dir();
    Seen {
        kind: meta.kind,
        mode: meta.mode,
        owner: (meta.uid, meta.gid),
        mtime: meta.mtime,
        size: if is_dir { 0 } else { meta.size },
        rdev: meta.rdev,
        links: meta.links,
        xattrs: node::xattrs(dir, name).unwrap(),
        target: match meta.kind {
            FileType::Symlink => rustix::fs::readlinkat(dir, name, Vec::new()).unwrap().into_bytes(),
            _ => Vec::new(),
        },
        content: is_file.then(|| {
            let mut digester = crate::digest::Digester::new();
            let mut file = node::open_file(dir, name).unwrap();
            let mut buf = vec![0; 1 << 16];
            loop {
                match file.read(&mut buf).unwrap() {
                    0 => break digester.finish(),
                    n => digester.update(&buf[..n]),
                }
            }
        }),
        first: first.to_vec(),
    }
}

/// A tar, what it unpacks to, and its index mounted.
struct Pair {
    dir: tempfile::TempDir,
    mounted: OwnedFd,
    applied: Applied,
    indexed: Indexed,
}

impl Pair {
    /// Unpacks a tar over no layers.
    fn unpack(tar: &[u8], root: &Path) -> Result<Applied, UnpackError> {
        std::fs::create_dir(root).unwrap();
        let root = node::open_root(root).unwrap();
        node::set_mode(root.as_fd(), b".", 0o755).unwrap();
        let open = || Stack::open(&[], XattrForm::Trusted).ok();
        let how = How { form: XattrForm::Trusted, ownership: Ownership::Keep, os: LayerOs::Linux };
        let mut reader = Reader::new(tar);
        let applied = apply::apply(&mut reader, root, &Below::new(&open), how)?;
        reader.drain()?;
        Ok(applied)
    }

    /// Both of a tar that both can have.
    fn of(tar: &[u8]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let applied = Self::unpack(tar, &dir.path().join("fs")).unwrap();
        let (image, indexed) = image(tar, true).unwrap();
        let (index, archive) = (dir.path().join("index"), dir.path().join("tar"));
        std::fs::write(&index, image).unwrap();
        std::fs::write(&archive, tar).unwrap();
        let mounted = mount(&index, &archive).unwrap();
        Self { dir, mounted, applied, indexed }
    }

    /// Asserts that both show the same.
    fn assert_same(&self) {
        let Applied { entries, root_entry, needs_below, missing_devices, missing_xattrs } = self.applied;
        let expected = Indexed {
            entries,
            root_entry,
            needs_below,
            missing_devices,
            missing_xattrs,
            size: self.indexed.size,
        };
        assert_eq!(self.indexed, expected);
        let unpacked = node::open_root(&self.dir.path().join("fs")).unwrap();
        let (found, expected) = (tree(self.mounted.as_fd(), root_entry), tree(unpacked.as_fd(), root_entry));
        for (path, seen) in &expected {
            assert_eq!(found.get(path), Some(seen), "`{}`", path.escape_ascii());
        }
        let more: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}

/// Asserts that a tar unpacks to what its index shows.
fn assert_same(entries: &[Made]) {
    Pair::of(&archive(entries)).assert_same();
}

/// Asserts that unpacking a tar over no layers and indexing it fail with the same words.
fn assert_refused(entries: &[Made]) -> String {
    let tar = archive(entries);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let unpacked = chain(&Pair::unpack(&tar, &dir.path().join("fs")).unwrap_err());
    let refused = image(&tar, true).unwrap_err();
    assert!(matches!(refused, Refused::Unpack(_)), "{refused:?}");
    assert_eq!(chain(&refused), unpacked);
    unpacked
}

/// Why there can be no index of a layer over others.
fn not_here(entries: &[Made]) -> &'static str {
    match image(&archive(entries), false) {
        Err(Refused::NotHere(why)) => why,
        other => panic!("{other:?}"),
    }
}
