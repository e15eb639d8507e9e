//! The tree that the entries of a layer make, in few bytes a node: a layer may have millions.
//!
//! Nodes and names are never taken away. A directory that something else takes the place of is left with all
//! that is in it: nothing leads there any more, and only what can be reached from the root is written.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use super::Refused;
use super::format::Attributes;
use crate::layer::tar::Time;

/// The root directory's number.
pub(super) const ROOT: u32 = 0;

/// Bytes of a block.
pub(super) const BLOCK_SIZE: u64 = 1 << super::BLOCK_BITS;

/// Number of what is not there.
pub(super) const NONE: u32 = u32::MAX;

/// So many bytes of names, targets and attributes are kept in memory; ten million files have half of it.
pub(super) const MOST_BYTES: usize = 512 << 20;

/// Bits of a mode that say what kind of node it is.
pub(super) const KIND: u16 = 0o170_000;
pub(super) const FIFO: u16 = 0o010_000;
pub(super) const CHARACTER: u16 = 0o020_000;
pub(super) const DIRECTORY: u16 = 0o040_000;
pub(super) const BLOCK: u16 = 0o060_000;
pub(super) const FILE: u16 = 0o100_000;
pub(super) const LINK: u16 = 0o120_000;

/// A file, directory or anything else: what several names may share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) seconds: i64,
    /// Bytes of a file's content or of a symbolic link's target.
    pub(super) size: u64,
    pub(super) nanoseconds: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Of a file the first block of its content in the tar; of a symbolic link where its target begins among
    /// the [`Tree::bytes`]; of a device its number as the kernel stores it; of a directory the one it is in.
    pub(super) data: u32,
    /// Where its attributes begin among the [`Tree::bytes`], or [`NONE`].
    pub(super) xattrs: u32,
    /// Names, counted when the image is laid out.
    pub(super) links: u32,
    /// Where it is in the image, set when that is laid out.
    pub(super) slot: u32,
    /// Kind and permissions, as `st_mode` has them.
    pub(super) mode: u16,
    /// A directory that hides what is below.
    pub(super) opaque: bool,
    /// A directory that has, or had, whiteouts in it.
    pub(super) hides: bool,
}

impl Node {
    /// A node of root's with no time.
    pub(super) fn new(mode: u16) -> Self {
        Self {
            seconds: 0,
            size: 0,
            nanoseconds: 0,
            uid: 0,
            gid: 0,
            data: 0,
            xattrs: NONE,
            links: 0,
            slot: NONE,
            mode,
            opaque: false,
            hides: false,
        }
    }

    pub(super) fn kind(&self) -> u16 {
        self.mode & KIND
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == DIRECTORY
    }

    /// A whiteout is the only device 0:0 that there is: those of a tar are left out.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind() == CHARACTER && self.data == 0
    }

    pub(super) fn set_time(&mut self, time: Time) {
        (self.seconds, self.nanoseconds) = (time.seconds, time.nanoseconds);
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) parent: u32,
    /// What has the name; [`NONE`] where that was taken away.
    pub(super) node: u32,
    /// Where it begins among the [`Tree::bytes`]: its length, then itself.
    text: u32,
    hash: u32,
}

/// All nodes and names.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) names: Vec<Name>,
    /// Names, targets and attributes one after the other.
    pub(super) bytes: Vec<u8>,
    /// Directories that no entry has named.
    pub(super) implied: HashSet<u32>,
    /// Numbers of names where their hashes say, or in the places after that; at most half full.
    table: Vec<u32>,
    /// With a key of its own, so that nobody can write a layer whose names collide.
    hasher: RandomState,
}

impl Tree {
    /// The empty root directory.
    pub(super) fn new() -> Self {
        let mut root = Node::new(DIRECTORY | 0o755);
        root.data = ROOT;
        Self {
            nodes: vec![root],
            names: Vec::new(),
            bytes: Vec::new(),
            implied: HashSet::new(),
            table: vec![NONE; 64],
            hasher: RandomState::new(),
        }
    }

    pub(super) fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    pub(super) fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize]
    }

    pub(super) fn text(&self, name: &Name) -> &[u8] {
        let at = name.text as usize;
        &self.bytes[at + 1..at + 1 + usize::from(self.bytes[at])]
    }

    /// What the directory `parent` has by a name.
    pub(super) fn find(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let number = self.table[self.place(parent, name, self.hash(parent, name))];
        let node = self.names.get(number as usize)?.node;
        (node != NONE).then_some(node)
    }

    /// Adds a node that has no name yet; its number.
    pub(super) fn add(&mut self, node: Node) -> Result<u32, Refused> {
        let number = u32::try_from(self.nodes.len()).ok().filter(|number| *number < NONE - 1);
        let number = number.ok_or(Refused::NotHere("it has more entries than an index can hold"))?;
        self.nodes.push(node);
        Ok(number)
    }

    /// Gives the name in `parent` to a node; what had it before has it no more. The name has at most 255 bytes.
    pub(super) fn put(&mut self, parent: u32, name: &[u8], node: u32) -> Result<(), Refused> {
        let hash = self.hash(parent, name);
        let place = self.place(parent, name, hash);
        if let Some(there) = self.names.get_mut(self.table[place] as usize) {
            there.node = node;
            return Ok(());
        }
        let number = self.names.len() as u32;
        let length = u8::try_from(name.len()).map_err(|_| Refused::NotHere("a name is too long"))?;
        let text = self.keep(&[&[length], name])?;
        self.names.push(Name { parent, node, text, hash });
        if self.names.len() * 2 > self.table.len() {
            self.grow();
        } else {
            self.table[place] = number;
        }
        Ok(())
    }

    /// Takes a name away from what has it.
    pub(super) fn remove(&mut self, parent: u32, name: &[u8]) {
        let place = self.place(parent, name, self.hash(parent, name));
        if let Some(there) = self.names.get_mut(self.table[place] as usize) {
            there.node = NONE;
        }
    }

    /// Keeps bytes; where they begin.
    pub(super) fn keep(&mut self, parts: &[&[u8]]) -> Result<u32, Refused> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        match self.bytes.len() {
            ..=MOST_BYTES => Ok(start as u32),
            _ => Err(Refused::NotHere("its names, links and attributes are too large for an index")),
        }
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self, link: &Node) -> &[u8] {
        &self.bytes[link.data as usize..][..link.size as usize]
    }

    /// The attributes of a node.
    pub(super) fn attributes(&self, node: &Node) -> Attributes<'_> {
        let mut encoded: &[u8] = &[];
        if node.xattrs != NONE
            && let Some((length, rest)) = self.bytes[node.xattrs as usize..].split_first_chunk()
        {
            encoded = &rest[..u32::from_le_bytes(*length) as usize];
        }
        Attributes { encoded, opaque: node.opaque, hides: node.hides }
    }

    /// Whether `dir` is `above` or somewhere in it.
    pub(super) fn is_within(&self, mut dir: u32, above: u32) -> bool {
        while dir != above {
            if dir == ROOT {
                return false;
            }
            dir = self.node(dir).data;
        }
        true
    }

    /// Forgets what finds names: nothing is added any more.
    pub(super) fn close(&mut self) {
        self.table = Vec::new();
    }

    fn hash(&self, parent: u32, name: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(parent);
        hasher.write(name);
        hasher.finish() as u32
    }

    /// Where in the table the name is, or belongs.
    fn place(&self, parent: u32, name: &[u8], hash: u32) -> usize {
        let mask = self.table.len() - 1;
        let mut place = hash as usize & mask;
        while let Some(there) = self.names.get(self.table[place] as usize) {
            if there.hash == hash && there.parent == parent && self.text(there) == name {
                break;
            }
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        self.table = vec![NONE; mask + 1];
        for (number, name) in self.names.iter().enumerate() {
            let mut place = name.hash as usize & mask;
            while self.table[place] != NONE {
                place = (place + 1) & mask;
            }
            self.table[place] = number as u32;
        }
    }
}
