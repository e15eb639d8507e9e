//! What a COPY takes: everything about the files that ends up in the image, and nothing about where.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use orlop_runner::Account;
use orlop_store::{Digest, Digester, FileDigest};

use super::entries::{Entries, List};
use crate::context::pattern::slashed;
use crate::context::{Dir, FileStat, Time, name_bytes};
use crate::dialect::Dialect;

/// The result of [`select`](super::select): files with all that they will be, still where they were.
#[derive(Debug)]
pub struct Selection {
    pub(super) groups: Vec<Group>,
    /// What is in the directories among them.
    pub(super) entries: Entries,
    /// Bytes of the content of all files.
    pub(super) bytes: u64,
    /// The destination, absolute; a directory where it ends with `/`.
    pub(super) dest: String,
    pub(super) chown: Option<String>,
    /// Whose the files are in a Windows image.
    pub(super) account: Option<Account>,
    pub(super) link: bool,
    /// The system of the image that it is copied into.
    pub(super) dialect: Dialect,
    pub(super) unmatched: Vec<usize>,
}

/// What one source word, or one match of its pattern, gives.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) word: usize,
    /// What it is called when it goes into a directory.
    pub(super) name: OsString,
    pub(super) origin: Origin,
    /// Whether it is unpacked where it is an archive.
    pub(super) unpack: bool,
    /// What it is where it is no directory; its path is empty.
    pub(super) one: Option<Box<Entry>>,
    /// A directory's content in order, directories before what is in them.
    pub(super) list: List,
}

/// Where a group's bytes are.
#[derive(Debug)]
pub(super) enum Origin {
    /// The content of a directory; its path in the tree and itself.
    Directory(PathBuf, Dir),
    /// One file in a directory; its path in the tree.
    File(PathBuf, Dir, OsString),
    Inline(Vec<u8>),
    Remote(PathBuf),
    /// A directory from elsewhere that was not fetched: what its content is decided by.
    Unfetched(String),
}

impl Group {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.origin, Origin::Directory(..))
    }

    /// How many entries it has.
    pub(super) fn count(&self) -> usize {
        self.list.count + usize::from(self.one.is_some())
    }

    /// The path of an entry in the source tree, for messages.
    pub(super) fn source_path(&self, entry: &Entry) -> PathBuf {
        match &self.origin {
            Origin::Directory(path, _) => path.join(&entry.path),
            Origin::File(path, ..) | Origin::Remote(path) => path.clone(),
            Origin::Inline(_) | Origin::Unfetched(_) => PathBuf::from(&self.name),
        }
    }
}

/// One file, directory, link or node.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path below the destination; empty where the source is this one file.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// The permission bits that it will have, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner that it will have, where there is no `--chown`.
    pub uid: u32,
    /// The group that it will have, where there is no `--chown`.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// Only on the way to something selected by a pattern; where it exists, it keeps its owner.
    pub implied: bool,
    /// The permission bits of the source.
    pub(super) source_mode: u32,
    /// Last change of content; `None` for now.
    pub(super) mtime: Option<Time>,
    /// What the source was when its content was read.
    pub(super) stat: Option<FileStat>,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Digest of the content.
        digest: FileDigest,
    },
    /// Another name of an earlier file.
    HardLink {
        /// The index of the earlier file among the entries of this source.
        to: usize,
        /// Bytes.
        size: u64,
        /// Digest of the content.
        digest: FileDigest,
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: OsString,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Its number.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its number.
        rdev: u64,
    },
}

impl Selection {
    /// How many files it has, directories and links among them, and how many bytes are in them.
    pub fn size(&self) -> (usize, u64) {
        (self.groups.iter().map(Group::count).sum(), self.bytes)
    }

    /// Every selected entry, with the path that it has in the source tree.
    ///
    /// # Errors
    /// When the list of them can not be read.
    pub fn entries(&self) -> impl Iterator<Item = io::Result<(PathBuf, Entry)>> {
        self.groups.iter().flat_map(|group| {
            self.of(group).map(|entry| entry.map(|entry| (group.source_path(&entry), entry)))
        })
    }

    /// The entries of a group.
    pub(super) fn of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = io::Result<Entry>> + 'a {
        let one = group.one.iter().map(|entry| Ok(Entry::clone(entry)));
        one.chain(self.entries.read(&group.list))
    }

    /// The sources, counted from 0, whose pattern matched nothing: allowed, but worth a word.
    pub fn unmatched(&self) -> &[usize] {
        &self.unmatched
    }

    /// What a step's key says of a copy: first where it goes and whom it belongs to, then one part a path:
    /// the path below the destination, and type, mode, owner, attributes and content. Never times.
    ///
    /// # Errors
    /// When the list of files can not be read.
    pub fn each_key_part(&self, take: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
        let mut target = "destination".to_owned();
        if let Some(owner) = &self.chown {
            target = format!("{target}, owner {owner}");
        }
        if self.link {
            target.push_str(", as a layer of its own");
        }
        take(&self.dest, &target);
        for group in &self.groups {
            let name = Path::new(&group.name);
            if let Origin::Unfetched(key) = &group.origin {
                take("git", key);
            }
            if group.is_directory() {
                take(&format!("{}/", slashed(name)), "content of a directory");
            }
            for entry in self.of(group) {
                let entry = entry?;
                // A path joined with nothing would end in a slash.
                let path = if group.is_directory() { name.join(&entry.path) } else { name.to_owned() };
                let mut what = entry.describe(self.chown.is_none());
                if group.unpack {
                    what.push_str(" unpacked");
                }
                // Names that are no text look alike when they are shown.
                if path.to_str().is_none() {
                    what = format!("{what} named {}", Digest::of(name_bytes(path.as_os_str())));
                }
                take(&slashed(&path), &what);
            }
        }
        Ok(())
    }

    /// All of them.
    #[cfg(all(test, unix))]
    pub(super) fn key_parts(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        self.each_key_part(&mut |path, what| out.push((path.to_owned(), what.to_owned()))).unwrap();
        out
    }

    /// One digest over all that [`each_key_part`](Self::each_key_part) says.
    ///
    /// # Errors
    /// When the list of files can not be read.
    pub fn digest(&self) -> io::Result<Digest> {
        let mut digester = Digester::new();
        self.each_key_part(&mut |path, what| {
            for part in [path, what] {
                digester.update(&(part.len() as u64).to_le_bytes());
                digester.update(part.as_bytes());
            }
        })?;
        Ok(digester.finish())
    }
}

impl Entry {
    /// All that makes a difference, in one line.
    fn describe(&self, with_owner: bool) -> String {
        use std::fmt::Write as _;
        let mut out = match &self.kind {
            EntryKind::Directory if self.implied => "parent directory".to_owned(),
            EntryKind::Directory => "directory".to_owned(),
            EntryKind::File { digest, .. } => format!("file {digest}"),
            EntryKind::HardLink { to, digest, .. } => format!("hard link {to} {digest}"),
            EntryKind::Symlink { target } => match target.to_str() {
                Some(target) => format!("symlink to {target}"),
                None => format!("symlink to {}", Digest::of(name_bytes(target))),
            },
            EntryKind::Fifo => "fifo".to_owned(),
            EntryKind::CharDevice { rdev } => format!("character device {rdev}"),
            EntryKind::BlockDevice { rdev } => format!("block device {rdev}"),
        };
        // Writing to a string cannot fail.
        let _ = write!(out, " {:04o}", self.mode);
        if with_owner {
            let _ = write!(out, " {}:{}", self.uid, self.gid);
        }
        if !self.xattrs.is_empty() {
            let mut digester = Digester::new();
            for part in self.xattrs.iter().flat_map(|(key, value)| [name_bytes(key), value]) {
                digester.update(&(part.len() as u64).to_le_bytes());
                digester.update(part);
            }
            let _ = write!(out, " xattrs {}", digester.finish());
        }
        out
    }
}
