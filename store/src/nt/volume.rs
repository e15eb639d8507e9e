//! What a volume can do.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::BorrowedHandle;

use super::Dir;
use super::call::{self, Fields};

/// What a volume is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `NTFS`, `ReFS`, …
    pub name: OsString,
    /// `FILE_*` flags of the file system.
    pub flags: u32,
    /// Bytes of a cluster.
    pub cluster: u32,
}

impl Volume {
    /// Whether extents can be shared between files (`FILE_SUPPORTS_BLOCK_REFCOUNTING`).
    pub fn can_clone(&self) -> bool {
        self.flags & 0x0800_0000 != 0
    }

    /// Whether there are reparse points.
    pub fn has_reparse_points(&self) -> bool {
        self.flags & 0x80 != 0
    }

    /// Whether access lists are kept and enforced.
    pub fn has_access_lists(&self) -> bool {
        self.flags & 0x8 != 0
    }

    /// Whether there are alternate streams.
    pub fn has_streams(&self) -> bool {
        self.flags & 0x4_0000 != 0
    }

    pub(super) fn of(file: BorrowedHandle<'_>) -> io::Result<Self> {
        let attributes = call::query_volume(file, 5, 12 + 64)?;
        let attributes = attributes.bytes();
        let bytes = attributes.get(12..).and_then(|r| r.get(..attributes.u32_at(8) as usize));
        let units: Vec<u16> =
            bytes.unwrap_or_default().chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        let size = call::query_volume(file, 3, 24)?;
        let (sectors, sector) = (size.bytes().u32_at(16), size.bytes().u32_at(20));
        Ok(Self {
            name: OsString::from_wide(&units),
            flags: attributes.u32_at(0),
            cluster: sectors.saturating_mul(sector).max(512),
        })
    }
}

impl Dir {
    /// The volume that the directory is on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn volume(&self) -> io::Result<Volume> {
        Volume::of(self.handle())
    }
}
