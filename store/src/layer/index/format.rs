//! The records of an EROFS image (`fs/erofs/erofs_fs.h` of Linux), little endian.

use super::attributes::{HEADER, HIDES, OPAQUE};
use super::tree::{BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, LINK, Node};
use crate::digest::Digest;

/// Where the superblock is.
pub(super) const SUPER: usize = 1024;

/// Bytes of the superblock, and of a device's slot.
const RECORD: usize = 128;

/// Where the nodes begin: after the superblock and the slot of the device.
pub(super) const NODES: u64 = (SUPER + 2 * RECORD) as u64;

/// What the numbers of nodes count.
pub(super) const SLOT: u64 = 32;

/// Bytes of a node of the form that has 32 bits for owners and a time of its own.
pub(super) const NODE: u64 = 64;

/// Where a node has the number of its names.
pub(super) const LINKS: u64 = 44;

/// Bytes of a name in a directory, without the name.
pub(super) const NAME: usize = 12;

const MAGIC: u32 = 0xe0f5_e1e2;

/// Features that any reader may ignore: a checksum of the superblock; times are those of content.
const COMPATIBLE: u32 = 1 | 2;

/// The feature that it may not: a table of devices.
const INCOMPATIBLE: u32 = 8;

/// Which writer this is, for those who look at an image.
const LABEL: &[u8; 16] = b"orlop index 2\0\0\0";

/// The superblock.
#[derive(Debug)]
pub(super) struct Super {
    pub(super) block_bits: u8,
    /// Number of the root directory.
    pub(super) root: u32,
    pub(super) nodes: usize,
    pub(super) blocks: u32,
    pub(super) device_blocks: u32,
    /// The first of the device's blocks.
    pub(super) device: u32,
    /// The block from which nodes are counted.
    pub(super) meta: u32,
}

impl Super {
    /// Begins an image. The device is called as the tar's digest.
    pub(super) fn put(&self, out: &mut Vec<u8>, diff_id: &Digest) {
        let hex = diff_id.hex();
        out.resize(SUPER, 0);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        // The checksum comes when all that it is of is there.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&COMPATIBLE.to_le_bytes());
        out.extend_from_slice(&[self.block_bits, 0]);
        out.extend_from_slice(&(self.root as u16).to_le_bytes());
        out.extend_from_slice(&(self.nodes as u64).to_le_bytes());
        // No time of its own: the same tar has the same index.
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.meta.to_le_bytes());
        // There are no shared attributes.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&uuid(&hex));
        out.extend_from_slice(LABEL);
        out.extend_from_slice(&INCOMPATIBLE.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&1u16.to_le_bytes());
        out.extend_from_slice(&(((SUPER + RECORD) / RECORD) as u16).to_le_bytes());
        out.resize(SUPER + RECORD, 0);
        out.extend_from_slice(hex.as_bytes());
        out.resize(SUPER + RECORD + 64, 0);
        out.extend_from_slice(&self.device_blocks.to_le_bytes());
        out.extend_from_slice(&self.device.to_le_bytes());
        out.resize(NODES as usize, 0);
    }
}

/// A UUID made of a digest: overlayfs tells file systems apart by it.
fn uuid(hex: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (byte, digits) in out.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(0) << 4 | digit(1);
    }
    out
}

/// Puts the checksum into the beginning of an image: of the rest of the superblock's block, or of a block where
/// that is shorter than what stands before it.
pub(super) fn seal(image: &mut [u8], block_bits: u8) {
    let block = 1usize << block_bits;
    let length = if block > SUPER { block - SUPER } else { block };
    let sum = crc32c(&image[SUPER..SUPER + length]);
    image[SUPER + 4..SUPER + 8].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32C without the last inversion, as the kernel has it.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

/// The attributes of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    pub(super) encoded: &'a [u8],
    pub(super) opaque: bool,
    pub(super) hides: bool,
}

impl Attributes<'_> {
    /// Those that are for overlayfs.
    fn marks(self) -> impl Iterator<Item = &'static [u8]> {
        [(self.opaque, OPAQUE), (self.hides, HIDES)].into_iter().filter_map(|(set, mark)| set.then_some(mark))
    }

    /// Bytes of all with the header.
    pub(super) fn size(self) -> u64 {
        let entries = self.encoded.len() + self.marks().map(<[u8]>::len).sum::<usize>();
        if entries == 0 { 0 } else { (HEADER + entries) as u64 }
    }
}

/// A node with its attributes. `place` is its first block or a device's number.
pub(super) fn put_node(out: &mut Vec<u8>, node: &Node, place: u32, inline: bool, attributes: Attributes<'_>) {
    // The long form; one run of blocks, of which the last may stand behind the node.
    let form: u16 = 1 | if inline { 2 << 1 } else { 0 };
    let count = match attributes.size() {
        0 => 0,
        size => (size as usize - HEADER) / 4 + 1,
    };
    let (size, place) = match node.kind() {
        FILE | DIRECTORY | LINK => (node.size, place),
        CHARACTER | BLOCK => (0, place),
        _ => (0, 0),
    };
    out.extend_from_slice(&form.to_le_bytes());
    out.extend_from_slice(&(count as u16).to_le_bytes());
    out.extend_from_slice(&node.mode.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&place.to_le_bytes());
    out.extend_from_slice(&node.slot.to_le_bytes());
    out.extend_from_slice(&node.uid.to_le_bytes());
    out.extend_from_slice(&node.gid.to_le_bytes());
    out.extend_from_slice(&node.seconds.to_le_bytes());
    out.extend_from_slice(&node.nanoseconds.to_le_bytes());
    out.extend_from_slice(&node.links.to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    if count > 0 {
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(attributes.encoded);
        attributes.marks().for_each(|mark| out.extend_from_slice(mark));
    }
}

/// What stands for a name in a directory's block; the name itself is at `offset` in it.
pub(super) fn put_name(out: &mut Vec<u8>, node: &Node, offset: usize) {
    let kind = match node.kind() {
        FILE => 1,
        DIRECTORY => 2,
        CHARACTER => 3,
        BLOCK => 4,
        FIFO => 5,
        _ => 7,
    };
    out.extend_from_slice(&u64::from(node.slot).to_le_bytes());
    out.extend_from_slice(&(offset as u16).to_le_bytes());
    out.extend_from_slice(&[kind, 0]);
}
