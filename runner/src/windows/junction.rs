//! Junctions: a directory of the host shown at a second place. No privilege is needed, and Wine has none.
#![expect(unsafe_code, reason = "reparse points are set by a control code")]

use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::GENERIC_WRITE;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_REPARSE_POINT;

const MOUNT_POINT: u32 = 0xa000_0003;

/// Makes `at` a junction to `target`, an absolute directory. Leaves nothing behind where that fails.
pub(super) fn create(at: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir(at)?;
    set(at, target).inspect_err(|_| {
        // Ours and empty.
        let _ = fs::remove_dir(at);
    })
}

fn set(at: &Path, target: &Path) -> io::Result<()> {
    let buffer = buffer(target)?;
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    let directory = OpenOptions::new().access_mode(GENERIC_WRITE).custom_flags(flags).open(at)?;
    let mut returned = 0;
    // SAFETY: the buffer has as many bytes as is said.
    let done = unsafe {
        DeviceIoControl(
            directory.as_raw_handle(),
            FSCTL_SET_REPARSE_POINT,
            buffer.as_ptr().cast(),
            buffer.len() as u32,
            null_mut(),
            0,
            &mut returned,
            null_mut(),
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The published layout: tag, length, then where the two names are, then the names, each with a zero.
fn buffer(target: &Path) -> io::Result<Vec<u8>> {
    let shown = super::view::plain(target);
    let shown: Vec<u16> = shown.as_os_str().encode_wide().collect();
    let real: Vec<u16> = r"\??\".encode_utf16().chain(shown.iter().copied()).collect();
    let bytes = |units: &[u16]| u16::try_from(units.len() * 2).map_err(io::Error::other);
    let (real_length, shown_length) = (bytes(&real)?, bytes(&shown)?);
    let length = u32::from(real_length) + u32::from(shown_length) + 12;
    let length = u16::try_from(length).map_err(io::Error::other)?;
    let mut buffer = MOUNT_POINT.to_le_bytes().to_vec();
    for number in [length, 0, 0, real_length, real_length + 2, shown_length] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    for unit in real.iter().chain(&[0]).chain(&shown).chain(&[0]) {
        buffer.extend_from_slice(&unit.to_le_bytes());
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_published_one() {
        let made = buffer(Path::new(r"\\?\C:\d")).expect("short");
        let real: Vec<u8> = r"\??\C:\d".encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let shown: Vec<u8> = r"C:\d".encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let head = [3, 0, 0, 0xa0, 36, 0, 0, 0, 0, 0, 16, 0, 18, 0, 8, 0];
        assert_eq!(made, [&head[..], &real, &shown].concat());
        assert!(buffer(Path::new(&format!(r"C:\{}", "x".repeat(40_000)))).is_err());
    }
}
