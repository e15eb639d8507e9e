//! What a volume can do.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};

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

/// Makes `target` have what `source` has at `offset`, `length` bytes, by sharing the blocks
/// (`FSCTL_DUPLICATE_EXTENTS_TO_FILE`).
pub(crate) fn share_extents(source: &File, target: &File, offset: u64, length: u64) -> io::Result<()> {
    let mut input = source.as_raw_handle().addr().to_le_bytes().to_vec();
    // The structure's numbers are aligned to eight bytes.
    input.resize(8, 0);
    for number in [offset, offset, length] {
        input.extend(number.to_le_bytes());
    }
    call::control(target.as_handle(), 0x0009_8344, &input, &mut []).map(drop)
}

/// Makes an empty `target` sparse and checksummed as `source` is: blocks are only shared between files that are
/// alike.
pub(crate) fn prepare_to_share(source: &File, target: &File) -> io::Result<()> {
    let from = super::Stat::of(source.as_handle())?;
    if from.attributes & super::attribute::SPARSE != 0 {
        // FSCTL_SET_SPARSE
        call::control(target.as_handle(), 0x0009_00C4, &[], &mut [])?;
    }
    // FSCTL_GET_INTEGRITY_INFORMATION: algorithm, reserved, flags, chunk, cluster.
    let mut said = [0; 16];
    call::control(source.as_handle(), 0x0009_027C, &[], &mut said)?;
    // FSCTL_SET_INTEGRITY_INFORMATION: algorithm, reserved, flags.
    call::control(target.as_handle(), 0x0009_C280, &said[..8], &mut []).map(drop)
}
