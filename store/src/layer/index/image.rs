//! Laying the image out and writing it, from front to back in large pieces.

use std::io::Write;

use super::format::{self, NAME, NODE, NODES, SLOT, Super};
use super::tree::{DIRECTORY, FILE, LINK, NONE, Node, ROOT, Tree};
use super::{Indexed, Of, PATH, Refused};
use crate::layer::apply::io_error;
use crate::layer::tar::TarError;

/// Why there is no index of a layer that its numbers have no bits for.
pub(super) const TOO_LARGE: Refused = Refused::NotHere("its tar is larger than an index can point into");

/// Why there is no index of a tar that lacks zeros at its end, which no reader minds.
const CUT_SHORT: Refused = Refused::NotHere("its tar ends within the last block of a file");

/// So much is written at once.
const PIECE: usize = 1 << 20;

/// A directory that can be reached.
#[derive(Debug)]
struct Dir {
    node: u32,
    /// Its names among [`Layout::names`], and how many.
    first: u32,
    count: u32,
    /// Where `.` and `..` come among all its names.
    dots: [u32; 2],
    /// Where the last of its blocks begins among all its names.
    last: u32,
    /// Length of its path.
    path: u32,
}

/// Where everything is.
#[derive(Debug)]
struct Layout {
    block: u64,
    /// Numbers of all names, directory by directory, sorted in each.
    names: Vec<u32>,
    /// Directories in the order of their nodes.
    dirs: Vec<Dir>,
    /// Nodes in the order in which they stand in the image: directory by directory, and all that is in one
    /// together, because what is listed is looked at next.
    nodes: Vec<u32>,
    /// End of the nodes so far.
    end: u64,
    /// Blocks after the nodes so far.
    blocks: u64,
}

/// Writes the image of a tree.
pub(super) fn write(
    mut tree: Tree,
    mut found: Indexed,
    block_bits: u8,
    out: &mut impl Write,
    of: &Of,
) -> Result<Indexed, Refused> {
    tree.close();
    let layout = Layout::of(&mut tree, 1 << block_bits, &mut found)?;
    let first = layout.end.div_ceil(layout.block);
    let blocks = first + layout.blocks;
    let device_blocks = of.tar_size.div_ceil(layout.block);
    // The greatest number means that there is no block.
    if blocks + device_blocks >= u64::from(u32::MAX) {
        return Err(TOO_LARGE);
    }
    let (blocks, device_blocks) = (blocks as u32, device_blocks as u32);
    let mut image = Image { out, buf: Vec::with_capacity(PIECE + (64 << 10)), written: 0, block_bits };
    let head = Super {
        block_bits,
        root: tree.node(ROOT).slot,
        nodes: layout.nodes.len(),
        blocks,
        device_blocks,
        // After our last one.
        device: blocks,
        meta: 0,
    };
    head.put(&mut image.buf, &of.diff_id);
    let mut data = first as u32;
    let mut dirs = layout.dirs.iter();
    for &number in &layout.nodes {
        let node = tree.node(number);
        image.pad_to(u64::from(node.slot) * SLOT);
        let inline = layout.is_inline(&tree, node);
        let place = match node.kind() {
            FILE if node.size == 0 => 0,
            FILE => {
                let end = (u64::from(node.data) << block_bits).checked_add(node.size);
                match end.and_then(|end| end.checked_next_multiple_of(layout.block)) {
                    Some(end) if end <= of.tar_size => {}
                    // The system reads whole blocks, or nothing.
                    _ if end.is_some_and(|end| end <= of.tar_size) => return Err(CUT_SHORT),
                    _ => return Err(TarError::Truncated { entry: None }.into()),
                }
                blocks + node.data
            }
            DIRECTORY | LINK => {
                let place = data;
                data += layout.blocks_of(node, inline) as u32;
                place
            }
            _ => node.data,
        };
        format::put_node(&mut image.buf, node, place, inline, tree.attributes(node));
        match node.kind() {
            DIRECTORY => {
                let dir = dirs.next().expect("the directories stand in the order of their nodes");
                if inline {
                    layout.put_block(&tree, dir, dir.last..dir.count + 2, &mut image.buf);
                }
            }
            LINK if inline => image.buf.extend_from_slice(tree.target(node)),
            _ => {}
        }
        image.flush(PIECE)?;
    }
    image.pad_to(first * layout.block);
    layout.put_blocks(&tree, &mut image)?;
    image.flush(0)?;
    found.size = image.written;
    debug_assert_eq!(found.size, u64::from(blocks) * layout.block);
    Ok(found)
}

impl Layout {
    fn of(tree: &mut Tree, block: u64, found: &mut Indexed) -> Result<Self, Refused> {
        let names = by_directory(tree);
        let mut layout = Self { block, names, dirs: Vec::new(), nodes: Vec::new(), end: NODES, blocks: 0 };
        layout.place_dir(tree, ROOT, 0)?;
        let mut next = 0;
        while let Some(dir) = layout.dirs.get(next) {
            let (parent, path, range) =
                (dir.node, dir.path, dir.first as usize..(dir.first + dir.count) as usize);
            next += 1;
            found.needs_below |= tree.implied.contains(&parent);
            for at in range {
                let name = tree.names[layout.names[at] as usize];
                let node = tree.node(name.node);
                if node.is_dir() {
                    let path = path + tree.text(&name).len() as u32 + 1;
                    if path as usize > PATH {
                        let path = Self::path(tree, parent, tree.text(&name));
                        return Err(io_error("finish directory", &path)(
                            rustix::io::Errno::NAMETOOLONG.into(),
                        )
                        .into());
                    }
                    tree.node_mut(parent).links += 1;
                    layout.place_dir(tree, name.node, path)?;
                    continue;
                }
                if node.slot == NONE {
                    layout.place(tree, name.node)?;
                }
                tree.node_mut(name.node).links += 1;
            }
        }
        Ok(layout)
    }

    /// Sorts the names of a directory, measures its blocks and places its node.
    fn place_dir(&mut self, tree: &mut Tree, number: u32, path: u32) -> Result<(), Refused> {
        let node = tree.node(number);
        // As `by_directory` left them.
        let (count, end) = (node.size as u32, node.links);
        let first = end - count;
        let names = &mut self.names[first as usize..end as usize];
        // Archives have them sorted, often, or in a few sorted runs.
        names.sort_by(|a, b| tree.text(&tree.names[*a as usize]).cmp(tree.text(&tree.names[*b as usize])));
        let before =
            |dot: &[u8]| names.partition_point(|name| tree.text(&tree.names[*name as usize]) < dot) as u32;
        let dots = [before(b"."), before(b"..") + 1];
        let mut dir = Dir { node: number, first, count, dots, last: 0, path };
        let (mut size, mut used) = (0, 0);
        for at in 0..count + 2 {
            let needs = NAME + self.name(tree, &dir, at).0.len();
            if used + needs > self.block as usize {
                (size, used, dir.last) = (size + self.block, 0, at);
            }
            used += needs;
        }
        let node = tree.node_mut(number);
        (node.size, node.links) = (size + used as u64, 2);
        self.dirs.push(dir);
        self.place(tree, number)
    }

    /// Gives a node its place.
    fn place(&mut self, tree: &mut Tree, number: u32) -> Result<(), Refused> {
        let node = tree.node(number);
        let size = NODE + tree.attributes(node).size();
        let mut start = self.end.next_multiple_of(SLOT);
        self.end = start + size;
        if matches!(node.kind(), DIRECTORY | LINK) {
            let inline = self.is_inline(tree, node);
            self.blocks += self.blocks_of(node, inline);
            if inline {
                let tail = tail(node.size, self.block);
                // It may not lie across the border of a block.
                while (start + size) % self.block + tail > self.block {
                    start += SLOT;
                }
                self.end = start + size + tail;
            }
        }
        let slot = u32::try_from(start / SLOT).ok().filter(|slot| *slot != NONE).ok_or(TOO_LARGE)?;
        tree.node_mut(number).slot = slot;
        self.nodes.push(number);
        Ok(())
    }

    /// Whether the last block of a directory, or the target of a link, can stand behind its node.
    fn is_inline(&self, tree: &Tree, node: &Node) -> bool {
        let fits = |size| (NODE + tree.attributes(node).size()) % SLOT + size <= self.block;
        match node.kind() {
            DIRECTORY => fits(tail(node.size, self.block)),
            LINK => fits(node.size),
            _ => false,
        }
    }

    /// Blocks of a directory or link that do not stand behind its node.
    fn blocks_of(&self, node: &Node, inline: bool) -> u64 {
        node.size.div_ceil(self.block) - u64::from(inline)
    }

    /// A directory's name at a place among all its names, and what has it.
    fn name<'t>(&self, tree: &'t Tree, dir: &Dir, at: u32) -> (&'t [u8], u32) {
        let [one, two] = dir.dots;
        if at == one {
            return (b".", dir.node);
        }
        if at == two {
            return (b"..", tree.node(dir.node).data);
        }
        let at = dir.first + at - u32::from(at > one) - u32::from(at > two);
        let name = &tree.names[self.names[at as usize] as usize];
        (tree.text(name), name.node)
    }

    /// A block of a directory with the names at `names`, not filled up.
    fn put_block(&self, tree: &Tree, dir: &Dir, names: std::ops::Range<u32>, out: &mut Vec<u8>) {
        let mut offset = names.len() * NAME;
        for at in names.clone() {
            let (name, number) = self.name(tree, dir, at);
            format::put_name(out, tree.node(number), offset);
            offset += name.len();
        }
        for at in names {
            out.extend_from_slice(self.name(tree, dir, at).0);
        }
    }

    /// All that does not stand behind its node.
    fn put_blocks<W: Write>(&self, tree: &Tree, image: &mut Image<'_, W>) -> Result<(), Refused> {
        let mut dirs = self.dirs.iter();
        for &number in &self.nodes {
            let node = tree.node(number);
            match node.kind() {
                DIRECTORY => {
                    let dir = dirs.next().expect("the directories stand in the order of their nodes");
                    let end = if self.is_inline(tree, node) { dir.last } else { dir.count + 2 };
                    let (mut start, mut used) = (0, 0);
                    for at in 0..end {
                        let needs = NAME + self.name(tree, dir, at).0.len();
                        if used + needs > self.block as usize {
                            self.put_block(tree, dir, start..at, &mut image.buf);
                            image.fill_block();
                            image.flush(PIECE)?;
                            (start, used) = (at, 0);
                        }
                        used += needs;
                    }
                    self.put_block(tree, dir, start..end, &mut image.buf);
                }
                LINK if !self.is_inline(tree, node) => image.buf.extend_from_slice(tree.target(node)),
                _ => continue,
            }
            image.fill_block();
            image.flush(PIECE)?;
        }
        Ok(())
    }

    /// The path of a name in a directory.
    fn path(tree: &Tree, mut dir: u32, name: &[u8]) -> Vec<u8> {
        let mut named = vec![None; tree.nodes.len()];
        for name in tree.names.iter().filter(|name| name.node != NONE) {
            named[name.node as usize] = Some(name);
        }
        let mut names = vec![name];
        while dir != ROOT {
            names.extend(named[dir as usize].map(|name| tree.text(name)));
            dir = tree.node(dir).data;
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// Bytes of the last block of so many.
fn tail(size: u64, block: u64) -> u64 {
    size - (size.div_ceil(block) - 1) * block
}

/// The numbers of all names, directory by directory. How many each has and where they end is left in its size
/// and its links.
fn by_directory(tree: &mut Tree) -> Vec<u32> {
    let Tree { nodes, names, .. } = tree;
    for node in nodes.iter_mut().filter(|node| node.is_dir()) {
        node.size = 0;
    }
    let live = || names.iter().enumerate().filter(|(_, name)| name.node != NONE);
    for (_, name) in live() {
        nodes[name.parent as usize].size += 1;
    }
    let mut end = 0;
    for node in nodes.iter_mut().filter(|node| node.is_dir()) {
        (node.links, end) = (end, end + node.size as u32);
    }
    let mut out = vec![0; end as usize];
    for (number, name) in live() {
        let parent = &mut nodes[name.parent as usize];
        out[parent.links as usize] = number as u32;
        parent.links += 1;
    }
    out
}

/// What is written, collected into large pieces.
struct Image<'a, W> {
    out: &'a mut W,
    buf: Vec<u8>,
    written: u64,
    block_bits: u8,
}

impl<W: Write> Image<'_, W> {
    fn pad_to(&mut self, at: u64) {
        let length = at - self.written;
        debug_assert!(length >= self.buf.len() as u64);
        self.buf.resize(length as usize, 0);
    }

    fn fill_block(&mut self) {
        let at = self.written + self.buf.len() as u64;
        self.pad_to(at.next_multiple_of(1 << self.block_bits));
    }

    /// Writes what is there once it is `enough`.
    fn flush(&mut self, enough: usize) -> Result<(), Refused> {
        if self.buf.len() < enough {
            return Ok(());
        }
        if self.written == 0 {
            format::seal(&mut self.buf, self.block_bits);
        }
        self.out.write_all(&self.buf).map_err(Refused::Write)?;
        self.written += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }
}
