//! A reader of images that believes nothing: what it is told lies somewhere must be there, and nothing overlaps.

use std::collections::{BTreeMap, BTreeSet};

use crate::layer::node::Xattrs;

/// An image.
pub(super) struct Image<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) block: usize,
}

/// A node of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) number: u64,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) owner: (u32, u32),
    pub(super) time: (i64, u32),
    pub(super) links: u32,
    /// First block, or device number.
    pub(super) place: u32,
    pub(super) xattrs: Xattrs,
    inline: bool,
    /// End of the node and its attributes.
    end: usize,
}

impl<'a> Image<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let image = Self { bytes, block: 1 << bytes[1024 + 12] };
        assert_eq!(image.u32(1024), 0xe0f5_e1e2);
        assert_eq!(image.u32(1024 + 36) as usize * image.block, bytes.len(), "blocks");
        assert_eq!(image.u32(1024 + 80), 8, "a table of devices and nothing else that a reader must know");
        assert_eq!(image.u16(1024 + 86), 1, "one device");
        assert_eq!(image.u16(1024 + 88), 9, "whose slot comes next");
        assert!(image.u32(1152 + 68) >= image.u32(1024 + 36), "and its blocks after those of the image");
        image
    }

    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[at..at + N].try_into().unwrap()
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.take(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.take(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.take(at))
    }

    pub(super) fn root(&self) -> Node {
        self.node(self.u16(1024 + 14).into())
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> u64 {
        self.u64(1024 + 16)
    }

    fn node(&self, number: u64) -> Node {
        let at = self.u32(1024 + 40) as usize * self.block + number as usize * 32;
        let form = self.u16(at);
        assert!(form & !4 == 1, "the long form, in one run of blocks");
        let mut end = at + 64;
        let mut xattrs = Xattrs::new();
        if let Some(rest @ 1..) = self.u16(at + 2).checked_sub(1) {
            let mut here = end + 12;
            end = here + usize::from(rest) * 4;
            while here < end {
                let [length, prefix] = self.take(here);
                let value = here + 4 + usize::from(length);
                let next = value + usize::from(self.u16(here + 2));
                let prefix = match prefix {
                    1 => "user.",
                    2 => "system.posix_acl_access",
                    3 => "system.posix_acl_default",
                    4 => "trusted.",
                    6 => "security.",
                    other => panic!("{other}"),
                };
                let name = [prefix.as_bytes(), &self.bytes[here + 4..value]].concat();
                assert_eq!(xattrs.insert(name, self.bytes[value..next].to_vec()), None);
                here = next.next_multiple_of(4);
            }
            assert_eq!(here, end, "attributes end where they should");
        }
        Node {
            number,
            mode: self.u16(at + 4),
            size: self.u64(at + 8),
            place: self.u32(at + 16),
            owner: (self.u32(at + 24), self.u32(at + 28)),
            time: (self.u64(at + 32) as i64, self.u32(at + 40)),
            links: self.u32(at + 44),
            xattrs,
            inline: form & 4 != 0,
            end,
        }
    }

    /// What a directory or link holds, block by block.
    fn content(&self, node: &Node) -> Vec<&'a [u8]> {
        let mut left = node.size as usize;
        let mut out = Vec::new();
        let mut at = node.place as usize * self.block;
        while left > self.block || (left > 0 && !node.inline) {
            let n = left.min(self.block);
            // Before all nodes or after them.
            let is_before = at + self.block <= self.u32(1024 + 40) as usize * self.block;
            assert!(at >= node.end.next_multiple_of(self.block) || (at >= 1280 && is_before));
            out.push(&self.bytes[at..at + n]);
            (at, left) = (at + self.block, left - n);
        }
        if left > 0 {
            assert!(
                node.end % self.block + left <= self.block,
                "what stands behind a node stays in its block"
            );
            out.push(&self.bytes[node.end..node.end + left]);
        }
        out
    }

    pub(super) fn target(&self, link: &Node) -> Vec<u8> {
        self.content(link).concat()
    }

    /// Names of a directory with the nodes that have them, and what the directory says that those are.
    pub(super) fn list(&self, dir: &Node) -> Vec<(&'a [u8], u64, u8)> {
        let mut out = Vec::new();
        for block in self.content(dir) {
            let at = |i: usize| usize::from(u16::from_le_bytes([block[12 * i + 8], block[12 * i + 9]]));
            let count = at(0) / 12;
            assert!(count > 0 && at(0) % 12 == 0);
            for i in 0..count {
                let end = if i + 1 < count { at(i + 1) } else { block.len() };
                let name = &block[at(i)..end];
                let name = name.split(|b| *b == 0).next().unwrap();
                let number = u64::from_le_bytes(block[12 * i..12 * i + 8].try_into().unwrap());
                out.push((name, number, block[12 * i + 10]));
            }
        }
        assert!(out.is_sorted_by(|a, b| a.0 < b.0), "sorted, and no name twice");
        out
    }

    /// Everything by its path.
    pub(super) fn tree(&self) -> BTreeMap<Vec<u8>, Node> {
        let mut out = BTreeMap::from([(Vec::new(), self.root())]);
        let mut todo = vec![(Vec::new(), self.root(), self.root().number)];
        let mut names = BTreeMap::new();
        while let Some((path, dir, parent)) = todo.pop() {
            let mut subdirs = 0;
            for (name, number, kind) in self.list(&dir) {
                match name {
                    b"." => assert_eq!(number, dir.number),
                    b".." => assert_eq!(number, parent),
                    name => {
                        let node = self.node(number);
                        let path =
                            if path.is_empty() { name.to_vec() } else { [&path[..], b"/", name].concat() };
                        let kinds = [(1, 8), (2, 4), (3, 2), (4, 6), (5, 1), (7, 10)];
                        assert!(kinds.contains(&(kind, node.mode >> 12)));
                        if node.mode >> 12 == 4 {
                            subdirs += 1;
                            todo.push((path.clone(), node.clone(), dir.number));
                        } else {
                            *names.entry(number).or_insert(0) += 1;
                        }
                        out.insert(path, node);
                    }
                }
            }
            assert_eq!(dir.links, 2 + subdirs);
        }
        for node in out.values().filter(|node| node.mode >> 12 != 4) {
            assert_eq!(node.links, names[&node.number], "every name counts");
        }
        let numbers: BTreeSet<_> = out.values().map(|node| node.number).collect();
        assert_eq!(numbers.len() as u64, self.nodes());
        out
    }

    /// Where a file's content is in the device, in bytes; it must be in there.
    pub(super) fn file(&self, node: &Node) -> std::ops::Range<u64> {
        let blocks = u64::from(self.u32(1152 + 64));
        let first = u64::from(node.place - self.u32(1152 + 68));
        assert!(first + node.size.div_ceil(self.block as u64) <= blocks, "a file lies in the device");
        first * self.block as u64..first * self.block as u64 + node.size
    }
}
