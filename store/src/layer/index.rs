//! The index of a layer: an EROFS image of everything in its tar but the content of files, which stays where it
//! is. Mounted with the tar as its one device the two show the layer as it would be unpacked, and overlayfs takes
//! that as a lower directory.
//!
//! What an entry means is what it means to [`apply`](super::apply): the same paths, the same refusals, the same
//! last word. The tar is as hostile here: overlayfs's own attributes and devices 0:0 do not get in, and no file
//! lies outside the tar. What an index cannot say, [`Refused::NotHere`] says, and the layer is unpacked instead.
//!
//! # The image
//! (`fs/erofs/erofs_fs.h` of Linux; all numbers little endian.) Blocks have 512 bytes, as those of a tar, so that
//! any file of it begins at a block.
//! ```text
//! 1024   superblock, 128 bytes, and the slot of the one device, 128 bytes
//! 1280   nodes, each at a multiple of 32: 64 bytes, attributes, and what fits into the rest of the block of a
//!        directory's last block or a symbolic link's target; the root first, then directory by directory
//! …      blocks of directories and longer targets
//! ```
//! The device's blocks are counted on after those of the image, so that a file is one run of blocks in that one
//! space: no map, however large it is.

mod attributes;
mod format;
mod image;
mod mount;
mod place;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

use std::io::{self, Read, Write};

use rustix::io::Errno;

use super::apply::{clean, impossible, io_error};
use super::failure::UnpackError;
use super::node;
use super::tar::{Entry, Kind, Reader, TarError, shown};
use crate::digest::Digest;
pub(crate) use mount::{mount, probe};
pub(crate) use stream::Stream;
use tree::{BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, LINK, NONE, Node, ROOT, Tree};

/// The longest name.
const NAME: usize = 255;

/// The longest path or target with the NUL after it.
pub(super) const PATH: usize = 4096;

/// Bits of a block's size.
const BLOCK_BITS: u8 = 9;

/// Why there is no index of a layer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The layer is not to be had in any form.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// An index cannot express the layer: it has to be unpacked into a directory.
    #[error("the layer has to be unpacked: {0}")]
    NotHere(&'static str),
    /// The image could not be written.
    #[error("cannot write the index")]
    Write(#[source] io::Error),
}

impl From<TarError> for Refused {
    fn from(error: TarError) -> Self {
        Self::Unpack(error.into())
    }
}

/// The tar that an index is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    /// Its digest, by which the image calls its device.
    pub(crate) diff_id: Digest,
    /// Its bytes, all of them.
    pub(crate) tar_size: u64,
}

/// What was indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// Entries of the tar.
    pub(crate) entries: u64,
    /// The tar has an entry for the root directory.
    pub(crate) root_entry: bool,
    /// The result holds directories that no entry has named.
    pub(crate) needs_below: bool,
    /// Device nodes that there cannot be.
    pub(crate) missing_devices: u64,
    /// Extended attributes that there cannot be.
    pub(crate) missing_xattrs: u64,
    /// Bytes of the image.
    pub(crate) size: u64,
}

/// Collects what a layer's tar says, entry by entry, and writes the index.
///
/// Keeps about 100 bytes of an entry besides its name, attributes and target.
#[derive(Debug)]
pub(crate) struct Indexer {
    tree: Tree,
    below_is_empty: bool,
    block_bits: u8,
    found: Indexed,
    /// The last parent directory by its path in the archive: entries come directory by directory.
    parent: Option<(Vec<u8>, u32)>,
    /// Directories that were made before an entry named them, if one did.
    implied: u64,
    /// The attributes that were kept last, and where: many files have the same.
    xattrs: (Vec<u8>, u32),
}

impl Indexer {
    /// Begins the index of a layer for use over others, or over none. Over others a layer is refused that says
    /// nothing of a parent directory: it is as theirs is, or leads elsewhere.
    pub(crate) fn new(below_is_empty: bool) -> Self {
        Self {
            tree: Tree::new(),
            below_is_empty,
            block_bits: BLOCK_BITS,
            found: Indexed::default(),
            parent: None,
            implied: 0,
            xattrs: (Vec::new(), NONE),
        }
    }

    /// The next entry of the tar, whose content begins at byte `at` of it; none where the content is not there
    /// in one piece (sparse files).
    ///
    /// # Errors
    /// When unpacking would refuse it, or an index cannot express it. Nothing more can be made of the layer then.
    pub(crate) fn entry(&mut self, entry: &Entry, at: Option<u64>) -> Result<(), Refused> {
        self.found.entries += 1;
        let mut names = clean(&entry.path)?;
        if names.iter().any(|name| name.starts_with(b".wh..wh.") && *name != b".wh..wh..opq") {
            // aufs's own files; they mean nothing to anybody else.
            return Ok(());
        }
        let Some(name) = names.pop() else {
            return self.root_entry(entry);
        };
        let dir = self.parent_of(&names, entry)?;
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            if name == b".wh..wh..opq" {
                self.tree.node_mut(dir).opaque = true;
                return Ok(());
            }
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(impossible(entry, "a whiteout must name what it hides").into());
            }
            return self.whiteout(dir, hidden, entry);
        }
        let there = self.look(dir, name, entry)?;
        if entry.kind == Kind::HardLink {
            return self.hard_link(entry, dir, name, there);
        }
        let mut node = Node::new(0);
        if let Some(number) = there {
            let there = *self.tree.node(number);
            if there.is_dir() && entry.kind == Kind::Directory {
                node.opaque = there.opaque;
                return self.directory(entry, node, dir, number);
            }
            node.opaque = there.is_whiteout() && entry.kind == Kind::Directory;
            self.clear(&there);
        }
        if entry.kind == Kind::Directory {
            let number = self.tree.add(node)?;
            self.tree.put(dir, name, number)?;
            return self.directory(entry, node, dir, number);
        }
        match self.content(entry, at, &mut node)? {
            true => {
                self.describe(entry, &mut node)?;
                let number = self.tree.add(node)?;
                self.tree.put(dir, name, number)
            }
            false => {
                self.tree.remove(dir, name);
                self.found.missing_devices += 1;
                Ok(())
            }
        }
    }

    /// All entries of a tar, or `most` of them; its end is read too. False where there are more.
    ///
    /// # Errors
    /// As [`Self::entry`] says, and when the tar is damaged. What is left of it is not read then.
    pub(crate) fn read<R: Read>(&mut self, reader: &mut Reader<R>, most: u64) -> Result<bool, Refused> {
        while let Some(entry) = reader.next_entry()? {
            if self.found.entries == most {
                return Ok(false);
            }
            self.entry(&entry, reader.content_at())?;
        }
        reader.drain()?;
        Ok(true)
    }

    /// Writes the image, from front to back.
    ///
    /// # Errors
    /// When a file lies outside the tar, the layer is too large for an index, or `out` fails.
    pub(crate) fn finish(self, out: &mut impl Write, of: &Of) -> Result<Indexed, Refused> {
        image::write(self.tree, self.found, self.block_bits, out, of)
    }

    /// What is there already where an entry belongs.
    fn look(&self, dir: u32, name: &[u8], entry: &Entry) -> Result<Option<u32>, Refused> {
        if name.len() > NAME {
            return Err(io_error("look at", &entry.path)(Errno::NAMETOOLONG.into()).into());
        }
        Ok(self.tree.find(dir, name))
    }

    /// The root directory itself.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), Refused> {
        if entry.kind != Kind::Directory {
            return Err(impossible(entry, "the root can only be a directory").into());
        }
        self.found.root_entry = true;
        let node = Node { opaque: self.tree.node(ROOT).opaque, ..Node::new(0) };
        self.directory(entry, node, ROOT, ROOT)
    }

    /// Makes the node `number`, which is in `dir`, the directory that an entry describes.
    fn directory(&mut self, entry: &Entry, mut node: Node, dir: u32, number: u32) -> Result<(), Refused> {
        node.mode = DIRECTORY;
        node.data = dir;
        node.hides = self.tree.node(number).hides;
        self.tree.implied.remove(&number);
        self.describe(entry, &mut node)?;
        *self.tree.node_mut(number) = node;
        Ok(())
    }

    fn whiteout(&mut self, dir: u32, name: &[u8], entry: &Entry) -> Result<(), Refused> {
        match self.look(dir, name, entry)? {
            None => {
                self.tree.node_mut(dir).hides = true;
                let number = self.tree.add(Node::new(CHARACTER))?;
                self.tree.put(dir, name, number)
            }
            // Made by this layer, so it stays; only what is below goes.
            Some(there) => {
                let there = self.tree.node_mut(there);
                there.opaque |= there.is_dir();
                Ok(())
            }
        }
    }

    fn hard_link(&mut self, entry: &Entry, dir: u32, name: &[u8], there: Option<u32>) -> Result<(), Refused> {
        let mut target = clean(&entry.link)?;
        let Some(target_name) = target.pop() else {
            return Err(impossible(entry, "it is a hard link to the root").into());
        };
        let missing = || impossible(entry, format!("its target `{}` is not there", shown(&entry.link)));
        let (from, number) = self.link_target(&target, target_name, entry)?.ok_or_else(missing)?;
        if self.tree.node(number).is_dir() {
            return Err(impossible(entry, "it is a hard link to a directory").into());
        }
        if let Some(there) = there {
            if there == number {
                return Ok(());
            }
            if self.tree.node(there).is_dir() && self.tree.is_within(from, there) {
                // What it shall take the place of holds its target.
                return Err(io_error("link", &entry.path)(Errno::NOENT.into()).into());
            }
            let there = *self.tree.node(there);
            self.clear(&there);
        }
        self.tree.put(dir, name, number)
    }

    /// Forgets what would lead to something that is replaced.
    fn clear(&mut self, there: &Node) {
        if there.is_dir() || there.kind() == LINK {
            self.parent = None;
        }
    }

    /// Kind and content of a node that is no directory; false for a device that there cannot be.
    fn content(&mut self, entry: &Entry, at: Option<u64>, node: &mut Node) -> Result<bool, Refused> {
        let device = |node: &mut Node, kind| {
            let (major, minor) = entry.device;
            node.mode = kind;
            node.data = (minor & 0xff) | major << 8 | (minor & !0xff) << 12;
            node::device_number(entry.device).is_some()
        };
        match entry.kind {
            Kind::File => {
                node.mode = FILE;
                node.size = entry.size;
                if entry.size > 0 {
                    let at = at.ok_or(Refused::NotHere("it has a sparse file"))?;
                    let block = at >> self.block_bits;
                    if block << self.block_bits != at {
                        return Err(Refused::NotHere("a file of it does not begin at a block"));
                    }
                    node.data = u32::try_from(block).map_err(|_| image::TOO_LARGE)?;
                }
            }
            Kind::Symlink if entry.link.is_empty() || entry.link.len() >= PATH => {
                let why = if entry.link.is_empty() { Errno::NOENT } else { Errno::NAMETOOLONG };
                return Err(io_error("make", &entry.path)(why.into()).into());
            }
            Kind::Symlink => {
                node.mode = LINK;
                node.size = entry.link.len() as u64;
                node.data = self.tree.keep(&[&entry.link])?;
            }
            Kind::Fifo => node.mode = FIFO,
            Kind::BlockDevice => return Ok(device(node, BLOCK)),
            // 0:0 would be a whiteout, and it is no device in any case.
            _ => return Ok(device(node, CHARACTER) && node.data != 0),
        }
        Ok(true)
    }

    /// Gives a node of some kind what an entry says of it.
    fn describe(&mut self, entry: &Entry, node: &mut Node) -> Result<(), Refused> {
        let id = |id| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(UnpackError::Owner {
                entry: shown(&entry.path),
                uid: entry.uid,
                gid: entry.gid,
                source: Errno::INVAL.into(),
            }
            .into());
        };
        (node.uid, node.gid) = (uid, gid);
        node.mode |= match entry.kind {
            Kind::Symlink => 0o777,
            _ => (entry.mode & 0o7777) as u16,
        };
        node.set_time(entry.mtime);
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        let (xattrs, missing) = attributes::encode(&entry.xattrs, node.mode)?;
        self.found.missing_xattrs += missing;
        if xattrs.is_empty() {
            return Ok(());
        }
        if self.xattrs.0 != xattrs {
            let at = self.tree.keep(&[&(xattrs.len() as u32).to_le_bytes(), &xattrs])?;
            self.xattrs = (xattrs, at);
        }
        node.xattrs = self.xattrs.1;
        Ok(())
    }
}
