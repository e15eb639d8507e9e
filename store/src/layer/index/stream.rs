//! An index of entries that come in order, written as they come: memory has the directories that are open, and what
//! will be named again.
//!
//! In order are entries where each directory comes before what is in it, that before whatever is beside it, and names
//! by their bytes. Then nothing has to be found again, and nothing is replaced. The image is like every other but for
//! where things are:
//! ```text
//! 1024   superblock and slot of the device
//! 1536   blocks of directories and longer targets, as directories end
//! …      nodes, as they come; numbers are counted from here, so that blocks need not wait for them
//! ```
//! How long the image will be is not known when nodes say where content is, so the device's blocks begin at a number
//! that no image reaches.

use std::collections::HashMap;
use std::io::Write;

use super::format::{self, LINKS, NAME, NODE, SLOT, Super};
use super::image::TOO_LARGE;
use super::tree::{BLOCK_SIZE, DIRECTORY, FILE, LINK, Node, ROOT};
use super::{BLOCK_BITS, Indexed, Indexer, NAME as LONGEST, Of, PATH, Refused};
use crate::layer::apply::clean;
use crate::layer::tar::{Entry, Kind};
use crate::spool::Spool;
use crate::work::Work;

/// The first block of the tar: images have up to 512 GiB.
const DEVICE: u32 = 1 << 30;

/// Blocks before those of directories.
const HEAD: u32 = 3;

/// Bytes before the first node: a number 0 means to some that there is nothing.
const SKIPPED: usize = 64;

/// Why an index cannot be written so.
const DISORDER: Refused = Refused::NotHere("its entries are not in order");

/// An index in the making.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Knows what an entry means; its tree has nothing but what the one at hand needs.
    meaning: Indexer,
    nodes: Spool,
    blocks: Spool,
    count: usize,
    /// The directories from the root to where it has come.
    open: Vec<Open>,
    /// What will be named again, by its path.
    named: HashMap<Box<[u8]>, Named>,
    /// Where the content ends that ends last, in blocks of the tar.
    end: u64,
}

#[derive(Debug)]
struct Named {
    slot: u32,
    links: u32,
    mode: u16,
}

/// A directory to which names are added.
#[derive(Debug)]
struct Open {
    name: Vec<u8>,
    node: Node,
    parent: Node,
    attributes: Vec<u8>,
    names: Names,
}

/// The blocks of a directory.
#[derive(Debug, Default)]
struct Names {
    full: Vec<u8>,
    /// Of the block that is filled: what stands for each name, and the names.
    records: Vec<u8>,
    text: Vec<u8>,
    /// Whether `.` and `..` are there already.
    dots: [bool; 2],
    last: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(work: &Work) -> Self {
        let mut nodes = Spool::new(work);
        let mut root = Node::new(DIRECTORY | 0o755);
        (root.slot, root.links) = ((SKIPPED as u64 / SLOT) as u32, 2);
        nodes.room(SKIPPED as u64 + NODE);
        let names = Names::default();
        Self {
            meaning: Indexer::new(true),
            nodes,
            blocks: Spool::new(work),
            count: 1,
            open: vec![Open { name: Vec::new(), node: root, parent: root, attributes: Vec::new(), names }],
            named: HashMap::new(),
            end: 0,
        }
    }

    /// The next entry, as [`Indexer::entry`] has it. `again` where hard links to it follow.
    ///
    /// # Errors
    /// When unpacking would refuse it, it is not in order, or an index cannot express it. Nothing more can be made
    /// of the layer then.
    pub(crate) fn entry(&mut self, entry: &Entry, at: Option<u64>, again: bool) -> Result<(), Refused> {
        self.meaning.found.entries += 1;
        let mut names = clean(&entry.path)?;
        let length = names.iter().map(|name| name.len() + 1).sum::<usize>();
        let Some(name) = names.pop() else { return self.root_entry(entry) };
        if length > PATH || name.len() > LONGEST {
            return Err(Refused::NotHere("a path is too long"));
        }
        if name.starts_with(b".wh.") {
            return Err(Refused::NotHere("something is deleted"));
        }
        let there =
            self.open.iter().skip(1).zip(&names).take_while(|(open, name)| open.name == **name).count();
        if there != names.len() {
            return Err(DISORDER);
        }
        while self.open.len() > there + 1 {
            self.close()?;
        }
        self.meaning.tree.bytes.clear();
        self.meaning.xattrs = (Vec::new(), super::tree::NONE);
        if entry.kind == Kind::HardLink {
            let Some(named) = self.named.get_mut(entry.link.as_slice()) else { return Err(DISORDER) };
            named.links += 1;
            let (node, links) = (Node { slot: named.slot, ..Node::new(named.mode) }, named.links);
            let at = u64::from(node.slot) * SLOT + LINKS;
            self.nodes.patch(at, &links.to_le_bytes()).map_err(Refused::Write)?;
            return self.name(name, &node);
        }
        let mut node = Node { links: 1, ..Node::new(0) };
        if entry.kind == Kind::Directory {
            (node.mode, node.links) = (DIRECTORY, 2);
        } else if !self.meaning.content(entry, at, &mut node)? {
            // It would take the place of what had its name.
            self.innermost(name)?;
            self.meaning.found.missing_devices += 1;
            return Ok(());
        }
        self.meaning.describe(entry, &mut node)?;
        self.put(&mut node)?;
        self.name(name, &node)?;
        if node.is_dir() {
            let attributes = self.meaning.tree.attributes(&node).encoded.to_vec();
            let parent = self.open.last_mut().ok_or(DISORDER)?;
            parent.node.links += 1;
            let (name, parent, names) = (name.to_vec(), parent.node, Names::default());
            self.open.push(Open { name, node, parent, attributes, names });
        } else if again {
            let named = Named { slot: node.slot, links: 1, mode: node.mode };
            self.named.insert(entry.path.as_slice().into(), named);
        }
        Ok(())
    }

    /// The root directory itself, before all that is in it.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), Refused> {
        let [root] = &mut self.open[..] else { return Err(DISORDER) };
        if entry.kind != Kind::Directory || self.count > 1 || self.meaning.found.root_entry {
            return Err(DISORDER);
        }
        let mut node = Node { mode: DIRECTORY, ..root.node };
        self.meaning.describe(entry, &mut node)?;
        let attributes = self.meaning.tree.attributes(&node);
        self.nodes.room(SKIPPED as u64 + NODE + attributes.size());
        root.attributes = attributes.encoded.to_vec();
        (root.node, root.parent) = (node, node);
        self.meaning.found.root_entry = true;
        Ok(())
    }

    /// Writes a node down; a directory's place is only kept free.
    fn put(&mut self, node: &mut Node) -> Result<(), Refused> {
        let tree = &self.meaning.tree;
        let attributes = tree.attributes(node);
        let size = NODE + attributes.size();
        let mut start = self.nodes.end().next_multiple_of(SLOT);
        let target = if node.kind() == LINK { tree.target(node) } else { &[] };
        let is_inline = !target.is_empty() && size % SLOT + target.len() as u64 <= BLOCK_SIZE;
        if is_inline {
            // It may not lie across the border of a block.
            while (start + size) % BLOCK_SIZE + target.len() as u64 > BLOCK_SIZE {
                start += SLOT;
            }
        }
        node.slot = u32::try_from(start / SLOT).ok().filter(|slot| *slot != u32::MAX).ok_or(TOO_LARGE)?;
        let mut place = node.data;
        if node.kind() == FILE {
            place = 0;
            if node.size > 0 {
                place = node.data.checked_add(DEVICE).ok_or(TOO_LARGE)?;
                self.end = self.end.max(u64::from(node.data) + node.size.div_ceil(BLOCK_SIZE));
            }
        } else if node.kind() == LINK {
            place = HEAD + block_number(self.blocks.end())?;
        }
        let buffer = self.nodes.room(start);
        format::put_node(buffer, node, place, is_inline, attributes);
        if is_inline {
            buffer.extend_from_slice(target);
        } else if !target.is_empty() {
            let target = target.to_vec();
            self.put_blocks(&target)?;
        }
        self.count += 1;
        self.nodes.settle().map_err(Refused::Write)
    }

    fn put_blocks(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let end = self.blocks.end();
        self.blocks.room(end).extend_from_slice(bytes);
        self.blocks.room((end + bytes.len() as u64).next_multiple_of(BLOCK_SIZE));
        self.blocks.settle().map_err(Refused::Write)
    }

    /// The innermost directory, in which `name` comes after all that it has.
    fn innermost(&mut self, name: &[u8]) -> Result<&mut Open, Refused> {
        let open = self.open.last_mut().ok_or(DISORDER)?;
        let is_next = open.names.last.is_empty() || name > open.names.last.as_slice();
        is_next.then_some(open).ok_or(DISORDER)
    }

    /// Adds a name to the innermost directory.
    fn name(&mut self, name: &[u8], node: &Node) -> Result<(), Refused> {
        let open = self.innermost(name)?;
        open.names.last.clear();
        open.names.last.extend_from_slice(name);
        open.names.dots(Some(name), &open.node, &open.parent);
        open.names.add(name, node);
        Ok(())
    }

    /// Ends the innermost directory.
    fn close(&mut self) -> Result<(), Refused> {
        let Some(Open { mut node, parent, attributes, mut names, .. }) = self.open.pop() else {
            return Ok(());
        };
        names.dots(None, &node, &parent);
        names.end_block();
        node.size = names.full.len() as u64;
        let place = HEAD + block_number(self.blocks.end())?;
        self.put_blocks(&names.full)?;
        let mut bytes = Vec::new();
        let attributes = format::Attributes { encoded: &attributes, opaque: false, hides: false };
        format::put_node(&mut bytes, &node, place, false, attributes);
        self.nodes.patch(u64::from(node.slot) * SLOT, &bytes).map_err(Refused::Write)
    }

    /// Writes the image, from front to back.
    ///
    /// # Errors
    /// When a file lies outside the tar, the layer is too large for an index, or `out` fails.
    pub(crate) fn finish(mut self, out: &mut impl Write, of: &Of) -> Result<Indexed, Refused> {
        let root = self.open.first().map_or(ROOT, |root| root.node.slot);
        while !self.open.is_empty() {
            self.close()?;
        }
        let device_blocks = of.tar_size.div_ceil(BLOCK_SIZE);
        if self.end > of.tar_size / BLOCK_SIZE {
            return Err(Refused::NotHere("its tar ends within a file"));
        }
        if u64::from(DEVICE) + device_blocks >= u64::from(u32::MAX) {
            return Err(TOO_LARGE);
        }
        self.nodes.room(self.nodes.end().next_multiple_of(BLOCK_SIZE));
        let meta = HEAD + block_number(self.blocks.end())?;
        let blocks = u64::from(meta) + self.nodes.end() / BLOCK_SIZE;
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks <= DEVICE).ok_or(TOO_LARGE)?;
        let head = Super {
            block_bits: BLOCK_BITS,
            root,
            nodes: self.count,
            blocks,
            device_blocks: device_blocks as u32,
            device: DEVICE,
            meta,
        };
        let mut bytes = Vec::new();
        head.put(&mut bytes, &of.diff_id);
        bytes.resize(HEAD as usize * BLOCK_SIZE as usize, 0);
        format::seal(&mut bytes, BLOCK_BITS);
        out.write_all(&bytes).map_err(Refused::Write)?;
        let Self { meaning, blocks: data, nodes, .. } = self;
        data.copy(out).and_then(|()| nodes.copy(out)).map_err(Refused::Write)?;
        Ok(Indexed { size: u64::from(blocks) * BLOCK_SIZE, ..meaning.found })
    }
}

fn block_number(at: u64) -> Result<u32, Refused> {
    u32::try_from(at / BLOCK_SIZE).ok().filter(|block| *block < DEVICE - HEAD).ok_or(TOO_LARGE)
}

impl Names {
    /// Adds `.` and `..` where they come before a name, or at the end.
    fn dots(&mut self, next: Option<&[u8]>, own: &Node, parent: &Node) {
        for (i, (dot, node)) in [(&b"."[..], own), (b"..", parent)].into_iter().enumerate() {
            if !self.dots[i] && next.is_none_or(|next| dot < next) {
                self.dots[i] = true;
                self.add(dot, node);
            }
        }
    }

    fn add(&mut self, name: &[u8], node: &Node) {
        if self.records.len() + self.text.len() + NAME + name.len() > BLOCK_SIZE as usize {
            self.end_block();
            self.full.resize(self.full.len().next_multiple_of(BLOCK_SIZE as usize), 0);
        }
        format::put_name(&mut self.records, node, self.text.len());
        self.text.extend_from_slice(name);
    }

    fn end_block(&mut self) {
        let length = self.records.len() as u16;
        for record in self.records.as_chunks_mut::<NAME>().0 {
            // The names come after all that stands for them.
            let at = u16::from_le_bytes([record[8], record[9]]) + length;
            record[8..10].copy_from_slice(&at.to_le_bytes());
        }
        self.full.append(&mut self.records);
        self.full.append(&mut self.text);
    }
}
