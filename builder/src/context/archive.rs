//! A context that came as an archive: told from a Dockerfile by its first bytes, and unpacked within limits.

use std::io::{self, Read};
use std::path::Path;

use orlop_store::layer::tar::{Reader, TarError};

use super::decompress::decompress;
use super::handle::Dir;
use super::tar::{ArchiveError, Limits, Owner, Unpacked, unpack};
use crate::dialect::Dialect;

/// So many bytes of a stream tell an archive from a Dockerfile.
pub const HEAD: usize = 512;

/// The most entries that a context's archive may have.
pub(crate) const MAX_ENTRIES: u64 = 1_000_000;
/// The most bytes that a context's archive may unpack to.
pub(crate) const MAX_BYTES: u64 = 64 << 30;
/// Headers and padding: what an archive within the limits may have besides its content.
const OVERHEAD: u64 = 16 << 30;

/// How much a context may hold that is no directory of this machine.
pub(super) const CONTEXT: Limits = Limits { entries: MAX_ENTRIES, bytes: MAX_BYTES };

/// Whether a stream that begins with these bytes, [`HEAD`] of them where it has so many, is an archive of any
/// compression and not a text. Docker tells by the same signs, and knows no zstd.
pub fn begins(head: &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    let skippable = matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    skippable || COMPRESSED.iter().any(|magic| head.starts_with(magic)) || is_header(head)
}

/// Whether a block is the header of a tar, of whatever age: its checksum fits. Zeros are the end of an empty one.
fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.get(..HEAD) else { return false };
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let field = block.get(148..156).unwrap_or_default();
    let digits = field.trim_ascii_start();
    let digits = digits.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
    let stated = digits.fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    // The field itself counts as blanks. Some old tars took bytes for signed.
    let others = || block.iter().enumerate().filter(|(i, _)| !(148..156).contains(i)).map(|(_, byte)| *byte);
    let unsigned: u32 = 8 * u32::from(b' ') + others().map(u32::from).sum::<u32>();
    let signed: i32 = 8 * i32::from(b' ') + others().map(|byte| i32::from(byte as i8)).sum::<i32>();
    stated == unsigned || i64::from(stated) == i64::from(signed)
}

/// Unpacks a context that came as an archive, of any compression, into an empty directory of its own. What is
/// in it belongs to whoever unpacks: nobody asks for a context's owners, and not everybody could set them.
///
/// # Errors
/// When the stream is no archive, is damaged or hostile, holds more than [`MAX_ENTRIES`] or [`MAX_BYTES`], or
/// the directory cannot be written.
pub(crate) fn unpack_context(stream: impl Read + Send, into: &Path) -> Result<Unpacked, ArchiveError> {
    unpack_within(stream, into, CONTEXT)
}

fn unpack_within(stream: impl Read + Send, into: &Path, limits: Limits) -> Result<Unpacked, ArchiveError> {
    let stream = decompress(stream).map_err(TarError::Read)?;
    // What is no entry counts too: headers without end would keep us busy for ever.
    let stream = Bounded { inner: stream, left: limits.bytes.saturating_add(OVERHEAD) };
    let dir = Dir::open(into).map_err(|source| ArchiveError::Io {
        action: "open",
        entry: into.display().to_string(),
        source,
    })?;
    unpack(&mut Reader::new(stream), &dir, Owner::Ours, limits, Dialect::host())
}

/// A stream that ends with an error where it is longer than it may be.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks without end")),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use orlop_fixtures::tarball::{Entry, archive};

    use super::*;

    fn within(entries: &[Entry], limits: Limits) -> Result<Unpacked, ArchiveError> {
        let dir = tempfile::tempdir().unwrap();
        unpack_within(&archive(entries)[..], dir.path(), limits)
    }

    #[test]
    fn archives_are_known_by_their_beginning() {
        let tar = archive(&[Entry::file("Dockerfile", "FROM scratch\n")]);
        assert!(begins(&tar[..HEAD]));
        let mut old = tar[..HEAD].to_vec();
        // As tars were before there was a magic.
        old[257..265].fill(0);
        old[148..156].fill(b' ');
        let sum: u32 = old.iter().map(|byte| u32::from(*byte)).sum();
        old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(begins(&old));
        for head in [&b"\x1f\x8b\x08"[..], b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", &[0; HEAD]] {
            assert!(begins(head), "{head:?}");
        }
        for head in [&b""[..], b"FROM debian\n", &[b' '; HEAD], &[b'x'; HEAD], &tar[..HEAD - 1]] {
            assert!(!begins(head), "{head:?}");
        }
    }

    #[test]
    fn what_goes_beyond_the_limits_is_not_written() {
        let files: Vec<_> = (0..4).map(|i| Entry::file(format!("f{i}"), "12345")).collect();
        assert_eq!(within(&files, Limits { entries: 4, bytes: 20 }).unwrap().files, 4);
        let error = within(&files, Limits { entries: 3, bytes: 20 }).unwrap_err();
        assert_eq!(error.to_string(), "the archive has more than 3 entries");
        let error = within(&files, Limits { entries: 4, bytes: 19 }).unwrap_err();
        assert!(error.to_string().contains("more than 19 bytes: `f3`") && error.hint().is_some(), "{error}");
        // It states the size of a planet and brings nothing.
        let bomb = [Entry::file("bomb", "little").stating_size(1 << 60)];
        let error = within(&bomb, CONTEXT).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_stream_without_entries_ends_too() {
        let endless = Bounded { inner: io::repeat(0), left: 1000 };
        let error = io::copy(&mut { endless }, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
