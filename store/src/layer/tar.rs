//! Tar archives, as layers and as ADD's sources have them: a streaming reader and a deterministic writer.

use std::collections::BTreeMap;
use std::io;

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

fn at(entry: &Option<String>) -> String {
    entry.as_ref().map(|e| format!(" at `{e}`")).unwrap_or_default()
}
