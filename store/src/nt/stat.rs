//! What a file is like.

use std::io;
use std::os::windows::io::BorrowedHandle;

use super::call::{self, Fields};
use super::{FileTime, attribute};

/// Classes of questions about files.
pub(super) mod class {
    pub(in crate::nt) const BASIC: i32 = 4;
    pub(in crate::nt) const STANDARD: i32 = 5;
    pub(in crate::nt) const RENAME: i32 = 10;
    pub(in crate::nt) const LINK: i32 = 11;
    pub(in crate::nt) const DISPOSITION: i32 = 13;
    pub(in crate::nt) const STREAM: i32 = 22;
    pub(in crate::nt) const ATTRIBUTE_TAG: i32 = 35;
    pub(in crate::nt) const ID_BOTH_DIRECTORY: i32 = 37;
    pub(in crate::nt) const ID: i32 = 59;
    pub(in crate::nt) const ID_EXTD_DIRECTORY: i32 = 60;
    pub(in crate::nt) const DISPOSITION_EX: i32 = 64;
    pub(in crate::nt) const RENAME_EX: i32 = 65;
    pub(in crate::nt) const CASE_SENSITIVE: i32 = 71;
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A junction, a symbolic link, a placeholder, …: whatever the tag says. Never followed.
    Reparse {
        /// Which sort, see [`tag`](super::tag).
        tag: u32,
    },
}

/// The 128-bit number of a file on its volume.
pub type FileId = u128;

/// Attribute bits, see [`attribute`].
pub type Attributes = u32;

/// Times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Times {
    /// When it was made.
    pub created: FileTime,
    /// When it was last read, where the system counts that.
    pub accessed: FileTime,
    /// When its content was last written.
    pub written: FileTime,
    /// When its content, attributes, names or security last changed. Harder to forge than the others: it takes
    /// another call, and the same right (`FILE_WRITE_ATTRIBUTES`).
    pub changed: FileTime,
}

/// What a file is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Attribute bits.
    pub attributes: Attributes,
    /// Bytes of its content; 0 for what is no file.
    pub size: u64,
    /// When what happened to it.
    pub times: Times,
    /// Its number.
    pub id: FileId,
    /// Serial number of its volume.
    pub volume: u64,
    /// Its names; 0 where a listing does not tell.
    pub links: u32,
}

impl Stat {
    /// Whether it is a directory, or a reparse point that looks like one (a junction).
    pub fn is_dir_like(&self) -> bool {
        self.attributes & attribute::DIRECTORY != 0
    }

    /// Whether it is a true directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether it is a true file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// What the handle is of.
    pub(super) fn of(file: BorrowedHandle<'_>) -> io::Result<Self> {
        let basic = call::query(file, class::BASIC, 40)?;
        let standard = call::query(file, class::STANDARD, 24)?;
        let (basic, standard) = (basic.bytes(), standard.bytes());
        let attributes = basic.u32_at(32);
        let tag = match attributes & attribute::REPARSE {
            0 => 0,
            _ => call::query(file, class::ATTRIBUTE_TAG, 8)?.bytes().u32_at(4),
        };
        let (volume, id) = identity(file)?;
        Ok(Self {
            kind: kind(attributes, tag),
            attributes,
            size: size(attributes, standard.u64_at(8)),
            times: times(basic, 0),
            id,
            volume,
            links: standard.u32_at(16),
        })
    }
}

/// Serial number of the volume, and the file's own number.
pub(super) fn identity(file: BorrowedHandle<'_>) -> io::Result<(u64, FileId)> {
    let id = call::query(file, class::ID, 24)?;
    Ok((id.bytes().u64_at(0), u128::from_le_bytes(id.bytes().at(8))))
}

pub(super) fn kind(attributes: Attributes, tag: u32) -> Kind {
    if attributes & attribute::REPARSE != 0 {
        Kind::Reparse { tag }
    } else if attributes & attribute::DIRECTORY != 0 {
        Kind::Directory
    } else {
        Kind::File
    }
}

/// Directories have sizes on some file systems, which mean nothing.
pub(super) fn size(attributes: Attributes, size: u64) -> u64 {
    if attributes & attribute::DIRECTORY == 0 { size } else { 0 }
}

/// Four times in a row: made, read, written, changed.
pub(super) fn times(bytes: &[u8], offset: usize) -> Times {
    let at = |i: usize| FileTime(bytes.i64_at(offset + 8 * i));
    Times { created: at(0), accessed: at(1), written: at(2), changed: at(3) }
}
