//! Files that are on their way to the disk while they are still being written, so that syncing them at the end finds
//! little to do.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "a system call that no safe wrapper exists for")
)]

use std::fs::File;
use std::io::{self, Write};

/// What is begun at once, in bytes. What is smaller than this is left to the system.
const STEP: u64 = 16 << 20;

/// A new file that is written from its start to its end.
#[derive(Debug)]
pub(crate) struct WriteBehind {
    file: File,
    written: u64,
    begun: u64,
}

impl WriteBehind {
    /// Nothing of `file` is written yet.
    pub(crate) fn new(file: File) -> Self {
        Self { file, written: 0, begun: 0 }
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Write for WriteBehind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.written += n as u64;
        if self.written - self.begun >= STEP {
            begin(&self.file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Has the system write a file of `size` bytes that somebody else wrote, where that is worth a call.
#[cfg(unix)]
pub(crate) fn begin_all(file: &File, size: u64) {
    if size >= STEP {
        begin(file, 0, size);
    }
}

/// Has the system write these bytes of the file; does not wait for it (sync_file_range(2), which promises nothing:
/// whoever needs the bytes on the disk syncs the file).
#[cfg(target_os = "linux")]
fn begin(file: &File, start: u64, len: u64) {
    use std::os::fd::AsRawFd;

    let (Ok(start), Ok(len)) = (i64::try_from(start), i64::try_from(len)) else { return };
    // SAFETY: takes numbers only, and the descriptor is open as long as `file` is borrowed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), start, len, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
fn begin(_: &File, _: u64, _: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut out = WriteBehind::new(File::create(&path).unwrap());
        let piece: Vec<u8> = (0..1_000_003u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for _ in 0..40 {
            out.write_all(&piece).unwrap();
        }
        out.flush().unwrap();
        assert_eq!(out.begun, 17 * 2 * 1_000_003, "begun in steps");
        assert!(std::fs::read(&path).unwrap() == piece.repeat(40));
    }
}
