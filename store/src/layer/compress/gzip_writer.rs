//! gzip in independent members, on all cores.
//!
//! Content is taken in blocks of [`BLOCK`] bytes, some for each core at a time. What does not shrink (pictures,
//! packages, what is compressed already) costs a compressor more than anything else and gives nothing, so each
//! [`PIECE`] of a block is tried first, by a fast level of zstd, and where that finds nothing the bytes are stored.
//! Pieces of one kind that follow each other in a block are one member.

use std::io::{self, Read, Write};

use rayon::prelude::*;

/// What one core takes at a time, in bytes.
pub(super) const BLOCK: usize = 512 << 10;
/// Blocks that are in work at one time, for each core: one of noise is done long before one of text.
const PER_CORE: usize = 2;
/// More cores than this would only take memory: no disk and no network is as fast.
const CORES: usize = 16;
/// What is stored or compressed as one, in bytes.
const PIECE: usize = 128 << 10;
/// The part of a piece that is tried first, in bytes: text is known by it.
const SAMPLE: usize = 4 << 10;
/// Which bytes these rules give. To be counted up with every change of them, and of what is above.
pub(super) const EDITION: u32 = 2;

/// Compresses all of `reader`, at a level of libdeflate; the next blocks are read while these are compressed.
pub(super) fn write(reader: &mut (impl Read + Send), level: u8, out: &mut impl Write) -> io::Result<()> {
    let side_by_side = rayon::current_num_threads().min(CORES) * PER_CORE;
    let mut packers = Vec::new();
    let mut now = batch(reader, side_by_side)?;
    if now.is_empty() {
        // Nothing at all is one empty member.
        now.push(Vec::new());
    }
    while !now.is_empty() {
        while packers.len() < now.len() {
            packers.push(Packer::new(level)?);
        }
        let (packed, next) = rayon::join(
            || {
                let blocks = packers.par_iter_mut().zip(&now);
                blocks.map(|(packer, block)| packer.pack(block)).collect::<Vec<io::Result<()>>>()
            },
            || batch(reader, side_by_side),
        );
        for (packed, packer) in packed.into_iter().zip(&packers) {
            packed?;
            out.write_all(&packer.members)?;
        }
        now = next?;
    }
    Ok(())
}

/// The next blocks, up to so many.
fn batch(reader: &mut impl Read, blocks: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    while batch.len() < blocks {
        let mut block = Vec::with_capacity(BLOCK);
        reader.take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        batch.push(block);
    }
    Ok(batch)
}

/// Whether bytes become fewer when they are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Shrinks,
    Noise,
}

/// What packs one block after another.
struct Packer {
    compress: libdeflater::Compressor,
    store: libdeflater::Compressor,
    probe: zstd::bulk::Compressor<'static>,
    probed: Vec<u8>,
    /// Those of the last block.
    members: Vec<u8>,
}

impl Packer {
    fn new(level: u8) -> io::Result<Self> {
        let compressor = |level| match libdeflater::CompressionLvl::new(level) {
            Ok(level) => Ok(libdeflater::Compressor::new(level)),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "no such level")),
        };
        Ok(Self {
            compress: compressor(i32::from(level.min(12)))?,
            store: compressor(0)?,
            probe: zstd::bulk::Compressor::new(1)?,
            probed: vec![0; zstd::zstd_safe::compress_bound(PIECE)],
            members: Vec::new(),
        })
    }

    /// Makes the members of a block.
    fn pack(&mut self, block: &[u8]) -> io::Result<()> {
        self.members.clear();
        let (mut start, mut content) = (0, None);
        for (n, piece) in block.chunks(PIECE).enumerate() {
            let now = self.look(piece)?;
            if let Some(before) = content.replace(now)
                && before != now
            {
                self.add(&block[start..n * PIECE], before)?;
                start = n * PIECE;
            }
        }
        self.add(&block[start..], content.unwrap_or(Content::Shrinks))
    }

    fn look(&mut self, piece: &[u8]) -> io::Result<Content> {
        for part in [&piece[..piece.len().min(SAMPLE)], piece] {
            // A thirty-second is not worth the time.
            if self.probe.compress_to_buffer(part, &mut self.probed[..])? < part.len() - part.len() / 32 {
                return Ok(Content::Shrinks);
            }
        }
        Ok(Content::Noise)
    }

    fn add(&mut self, bytes: &[u8], content: Content) -> io::Result<()> {
        let compressor = match content {
            Content::Shrinks => &mut self.compress,
            Content::Noise => &mut self.store,
        };
        let start = self.members.len();
        self.members.resize(start + compressor.gzip_compress_bound(bytes.len()), 0);
        let written =
            compressor.gzip_compress(bytes, &mut self.members[start..]).map_err(io::Error::other)?;
        self.members.truncate(start + written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1u64;
        let next = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        next.take(size).collect()
    }

    fn text(size: usize) -> Vec<u8> {
        b"What is said once and again is said in fewer words. ".iter().copied().cycle().take(size).collect()
    }

    fn members(content: &[u8], level: u8) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut &content[..], level, &mut out).unwrap();
        let mut back = Vec::new();
        super::super::decompress(&out[..]).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == content);
        out
    }

    #[test]
    fn noise_is_stored_and_text_beside_it_is_not() {
        let (noise, text) = (noise(3 * BLOCK), text(3 * BLOCK));
        for level in [1, 6, 9] {
            let stored = members(&noise, level);
            assert!((noise.len()..noise.len() + 1000).contains(&stored.len()), "{}", stored.len());
            assert!(members(&text, level).len() < text.len() / 50);
            // Half and half, cut anywhere: the text is all that shrinks.
            for cut in [PIECE, PIECE + 1, BLOCK - 1, BLOCK, BLOCK + PIECE / 2] {
                let mixed = [&noise[..cut], &text[..cut], &noise[cut..]].concat();
                let size = members(&mixed, level).len();
                assert!(size < noise.len() + text.len() / 50, "{size} at {cut}");
            }
        }
    }

    #[test]
    fn nothing_that_begins_as_noise_is_taken_for_noise() {
        let content = [&noise(SAMPLE)[..], &text(PIECE - SAMPLE)].concat();
        assert!(members(&content, 1).len() < PIECE / 8);
    }

    #[test]
    fn level_0_stores_all() {
        assert!(members(&text(BLOCK + 7), 0).len() > BLOCK);
    }
}
