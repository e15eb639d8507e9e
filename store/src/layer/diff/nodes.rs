//! The nodes of a directory that was looked through, in few bytes each: a step may leave millions.

use std::collections::HashMap;
use std::io;

use rustix::fs::FileType;

use super::What;
use crate::layer::node::Meta;
use crate::layer::tar::Time;

/// A node that is, or may turn out to be, part of the changes.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Number of the directory that it is in; the root is its own.
    pub(super) parent: usize,
    pub(super) name: &'a [u8],
    /// What was found. Of a file with one name, and of a directory, identity and number of names are not kept.
    pub(super) what: What,
    pub(super) emit: bool,
}

/// All nodes by their numbers.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    all: Vec<Packed>,
    /// Each name's length in two bytes, and the name.
    names: Vec<u8>,
    looks: Vec<Look>,
    numbers: HashMap<Look, u32>,
    linked: HashMap<u32, Linked>,
}

/// What is different for most nodes.
#[derive(Clone, Copy, Debug)]
struct Packed {
    seconds: i64,
    /// A file's size, or a device's number.
    size: u64,
    parent: u32,
    name: u32,
    look: u32,
    /// Below the topmost bit, which says whether it is part of the changes.
    nanoseconds: u32,
}

const EMIT: u32 = 1 << 31;

/// What many nodes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Look {
    Deleted {
        socket: bool,
    },
    Junk,
    /// With the kind in the mode, as `stat` has it.
    Present {
        mode: u32,
        uid: u32,
        gid: u32,
        changed: bool,
        opaque: bool,
    },
}

/// What has to be known of a file of several names.
#[derive(Clone, Copy, Debug)]
struct Linked {
    id: (u64, u64),
    links: u64,
    old: Option<(u64, u64)>,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds a node; its number.
    ///
    /// # Errors
    /// When there are more than any file system has.
    pub(super) fn push(&mut self, parent: usize, name: &[u8], what: What, emit: bool) -> io::Result<usize> {
        let number = |number| u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        let (here, place, parent) = (number(self.all.len())?, number(self.names.len())?, number(parent)?);
        let length =
            u16::try_from(name.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
        self.names.extend_from_slice(&length.to_le_bytes());
        self.names.extend_from_slice(name);
        let (look, time, size) = match what {
            What::Deleted { socket } => (Look::Deleted { socket }, Time::default(), 0),
            What::Junk => (Look::Junk, Time::default(), 0),
            What::Present { meta, changed, opaque, old } => {
                if meta.links > 1 && !meta.is_dir() {
                    self.linked.insert(here, Linked { id: meta.id, links: meta.links, old });
                }
                let Meta { kind, mode, uid, gid, .. } = meta;
                let size = if is_device(kind) { meta.rdev } else { meta.size };
                let mode = mode | kind.as_raw_mode();
                (Look::Present { mode, uid, gid, changed, opaque }, meta.mtime, size)
            }
        };
        let look = match self.numbers.get(&look) {
            Some(known) => *known,
            None => {
                let new = number(self.looks.len())?;
                self.looks.push(look);
                self.numbers.insert(look, new);
                new
            }
        };
        let nanoseconds = time.nanoseconds | if emit { EMIT } else { 0 };
        self.all.push(Packed { seconds: time.seconds, size, parent, name: place, look, nanoseconds });
        Ok(here as usize)
    }

    /// The node with a number that there is.
    pub(super) fn get(&self, number: usize) -> Node<'_> {
        let packed = self.all[number];
        let (length, rest) =
            self.names[packed.name as usize..].split_first_chunk().expect("each name has its length");
        let name = &rest[..usize::from(u16::from_le_bytes(*length))];
        let what = match self.looks[packed.look as usize] {
            Look::Deleted { socket } => What::Deleted { socket },
            Look::Junk => What::Junk,
            Look::Present { mode, uid, gid, changed, opaque } => {
                let (kind, mode) = (FileType::from_raw_mode(mode), mode & 0o7777);
                let linked = self.linked.get(&(number as u32)).copied();
                let Linked { id, links, old } = linked.unwrap_or(Linked { id: (0, 0), links: 1, old: None });
                let nanoseconds = packed.nanoseconds & !EMIT;
                let (size, rdev) = if is_device(kind) { (0, packed.size) } else { (packed.size, 0) };
                let mtime = Time { seconds: packed.seconds, nanoseconds };
                let meta = Meta { kind, mode, uid, gid, mtime, size, rdev, id, links };
                What::Present { meta, changed, opaque, old }
            }
        };
        Node { parent: packed.parent as usize, name, what, emit: packed.nanoseconds & EMIT != 0 }
    }

    /// All, by their numbers.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Node<'_>> + ExactSizeIterator {
        (0..self.len()).map(|number| self.get(number))
    }

    /// The directory that a node is in.
    pub(super) fn parent(&self, number: usize) -> usize {
        self.all[number].parent as usize
    }

    /// Whether a node is part of the changes.
    pub(super) fn is_emitted(&self, number: usize) -> bool {
        self.all[number].nanoseconds & EMIT != 0
    }

    /// Makes a node part of the changes.
    pub(super) fn emit(&mut self, number: usize) {
        self.all[number].nanoseconds |= EMIT;
    }
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let file = Meta {
            kind: FileType::RegularFile,
            mode: 0o4711,
            uid: u32::MAX - 1,
            gid: 7,
            mtime: Time { seconds: -5, nanoseconds: 999_999_999 },
            size: u64::MAX,
            rdev: 0,
            id: (3, 4),
            links: 2,
        };
        let device = Meta { kind: FileType::BlockDevice, size: 0, rdev: u64::MAX, ..file };
        let alone = Meta { id: (0, 0), links: 1, ..file };
        let present = |meta, changed, opaque, old| What::Present { meta, changed, opaque, old };
        let all = [
            (0, &b""[..], present(alone, false, true, None), false),
            (0, b"a", present(file, true, false, Some((1, 2))), true),
            (1, b"a", present(device, false, false, None), false),
            (0, &[b'n'; 300], What::Deleted { socket: true }, true),
            (3, b"b", What::Deleted { socket: false }, false),
            (0, b"\xff", What::Junk, true),
            (0, b"again", present(alone, false, true, None), true),
        ];
        let mut nodes = Nodes::default();
        for (number, (parent, name, what, emit)) in all.into_iter().enumerate() {
            assert_eq!(nodes.push(parent, name, what, emit).unwrap(), number);
        }
        assert_eq!((nodes.len(), nodes.iter().len()), (all.len(), all.len()));
        for emitted in [false, true] {
            for (number, (parent, name, what, emit)) in all.into_iter().enumerate() {
                let node = nodes.get(number);
                assert_eq!((node.parent, node.name, node.what), (parent, name, what));
                assert_eq!(node.emit, emit || emitted);
                assert_eq!((nodes.parent(number), nodes.is_emitted(number)), (parent, emit || emitted));
                nodes.emit(number);
            }
        }
    }
}
