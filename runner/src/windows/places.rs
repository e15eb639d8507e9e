//! Where the host's own directories are.
#![expect(unsafe_code, reason = "the system says it into a buffer")]

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetSystemWindowsDirectoryW};

/// The Windows directory and its `System32`.
pub(super) fn system() -> io::Result<(PathBuf, PathBuf)> {
    Ok((told(GetSystemWindowsDirectoryW)?, told(GetSystemDirectoryW)?))
}

fn told(call: unsafe extern "system" fn(*mut u16, u32) -> u32) -> io::Result<PathBuf> {
    let mut buffer = [0u16; 1024];
    // SAFETY: the buffer has as many units as is said.
    let length = unsafe { call(buffer.as_mut_ptr(), buffer.len() as u32) } as usize;
    match buffer.get(..length) {
        Some(text) if length > 0 => Ok(OsString::from_wide(text).into()),
        _ => Err(io::Error::last_os_error()),
    }
}
