//! Roles with names that the whole machine may share: drive letters and pipes.
#![expect(unsafe_code, reason = "defines device names and opens pipes")]

use std::io::Write;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, DDD_NO_BROADCAST_SYSTEM, DDD_REMOVE_DEFINITION, DefineDosDeviceW, OPEN_EXISTING,
    PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_TYPE_BYTE};

use super::{BROKEN, CLOSED, OPEN, Seen, last_error, stay};
use crate::windows::library::wide;

/// Defines a letter for the directory it is in, says whether it could, and stays.
pub(super) fn define(letter: &str, seconds: &str, output: &mut dyn Write) -> i32 {
    let target = std::env::current_dir().unwrap_or_default();
    let (name, target) = (wide(format!("{letter}:")), wide(target));
    // SAFETY: both texts end with a zero.
    let done = unsafe { DefineDosDeviceW(DDD_NO_BROADCAST_SYSTEM, name.as_ptr(), target.as_ptr()) };
    let said = match done {
        0 => format!("DefineDosDevice: error {}", last_error()),
        _ => "defined".into(),
    };
    stay(&said, seconds, output)
}

/// Takes back a letter that a step defined for us all.
pub(in super::super) fn remove_letter(letter: char) {
    let name = wide(format!("{letter}:"));
    // SAFETY: the text ends with a zero.
    unsafe { DefineDosDeviceW(DDD_REMOVE_DEFINITION | DDD_NO_BROADCAST_SYSTEM, name.as_ptr(), null()) };
}

/// Whether this process started on a letter that shows its root.
pub(super) fn letter(output: &mut dyn Write) -> i32 {
    #[expect(clippy::disallowed_methods, reason = "a step has nothing but its environment")]
    let drive = std::env::var("ORLOP_DRIVE").unwrap_or_default();
    let cwd = std::env::current_dir().unwrap_or_default();
    if drive.is_empty() {
        let _ = writeln!(output, "the root by its path");
        return CLOSED;
    }
    let top = format!("{drive}\\");
    if !cwd.starts_with(&top) || !Path::new(&top).join("self-test.exe").is_file() {
        let _ = writeln!(output, "`{drive}` is not the root");
        return OPEN;
    }
    // A moment for the builder to look whether it has it too.
    let _ = writeln!(output, "on {drive}").and_then(|()| output.flush());
    std::thread::sleep(std::time::Duration::from_millis(500));
    CLOSED
}

/// A pipe with the access list that the token gives it.
pub(super) fn pipe(name: &str) -> Result<OwnedHandle, u32> {
    let name = wide(format!(r"\\.\pipe\{name}"));
    // SAFETY: the name ends with a zero; the handle is ours.
    unsafe {
        let pipe =
            CreateNamedPipeW(name.as_ptr(), PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE, 1, 512, 512, 0, null());
        match pipe == INVALID_HANDLE_VALUE {
            true => Err(last_error()),
            false => Ok(OwnedHandle::from_raw_handle(pipe)),
        }
    }
}

/// Opens another's pipe.
pub(super) fn open_pipe(name: &str) -> Seen {
    let name = wide(format!(r"\\.\pipe\{name}"));
    // SAFETY: the name ends with a zero; the handle is ours.
    unsafe {
        let pipe =
            CreateFileW(name.as_ptr(), GENERIC_READ | GENERIC_WRITE, 0, null(), OPEN_EXISTING, 0, null_mut());
        if pipe == INVALID_HANDLE_VALUE {
            return match last_error() {
                // It is there, and who may open it is not asked while another has it.
                231 => (BROKEN, "CreateFile: error 231".into()),
                error => (CLOSED, format!("CreateFile: error {error}")),
            };
        }
        drop(OwnedHandle::from_raw_handle(pipe));
    }
    (OPEN, "another step's pipe opens".into())
}
