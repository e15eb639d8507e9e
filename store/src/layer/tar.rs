//! Tar archives, as layers and as ADD's sources have them: a streaming reader and a deterministic writer.

mod number;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Chunk, Reader};
pub use writer::Writer;

use std::collections::BTreeMap;
use std::io;

/// Size of a block, the unit of everything in an archive.
const BLOCK: usize = 512;

/// The longest long name, PAX block or sparse map that is read into memory, in bytes (Go's limit too).
const SPECIAL_LIMIT: u64 = 1 << 20;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file with content.
    File,
    /// Another name of an earlier file; [`Entry::link`] names it.
    HardLink,
    /// A symbolic link; [`Entry::link`] is its target.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A moment: seconds since 1970 and nanoseconds after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 10⁹, always forward from `seconds`.
    pub nanoseconds: u32,
}

/// One entry without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path as the archive has it; no NUL, not empty.
    pub path: Vec<u8>,
    /// Kind.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Time of the last change of content.
    pub mtime: Time,
    /// Target of a link, else empty.
    pub link: Vec<u8>,
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    /// Major and minor number of a device, else zeros.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// PAX records of Windows layers by name: `MSWINDOWS.*` and `LIBARCHIVE.creationtime`. [`windows`](super::windows)
    /// knows what they mean; to everything else they mean nothing.
    pub windows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Why an archive can not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The archive ends in the middle of something.
    #[error("the archive is cut off{}", at(.entry))]
    Truncated {
        /// The entry in which it ended.
        entry: Option<String>,
    },
    /// A header or record makes no sense.
    #[error("the archive is damaged{}: {what}", at(.entry))]
    Malformed {
        /// The entry.
        entry: Option<String>,
        /// What is wrong.
        what: String,
    },
    /// The source of the bytes failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl TarError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Truncated { .. } => Some("get the archive again: its end is missing".to_owned()),
            _ => None,
        }
    }

    fn malformed(entry: &[u8], what: impl Into<String>) -> Self {
        let entry = (!entry.is_empty()).then(|| shown(entry));
        Self::Malformed { entry, what: what.into() }
    }
}

/// A path of any bytes for people to read: printable, of bounded length.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut out: String = text.chars().take(200).flat_map(|c| c.escape_debug()).collect();
    if text.chars().nth(200).is_some() {
        out.push('…');
    }
    out
}

fn at(entry: &Option<String>) -> String {
    entry.as_ref().map(|e| format!(" at `{e}`")).unwrap_or_default()
}

/// A time as PAX spells it; none where it is none.
pub(super) fn time_from_text(text: &[u8]) -> Option<Time> {
    number::time(text)
}

/// The PAX spelling of a time.
pub(super) fn time_to_text(time: Time) -> String {
    number::time_text(time)
}

/// A block of PAX records; none where it is none.
pub(super) fn read_records(block: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let records = pax::records(block).ok()?;
    Some(records.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}

/// The records as a block.
pub(super) fn write_records(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in records {
        pax::push(&mut block, key, value);
    }
    block
}

/// Appends a PAX record, for tests that write headers by hand.
#[cfg(all(test, unix))]
pub(super) fn push_record(out: &mut Vec<u8>, key: &str, value: &str) {
    pax::push(out, key.as_bytes(), value.as_bytes());
}

#[cfg(test)]
mod tests;
