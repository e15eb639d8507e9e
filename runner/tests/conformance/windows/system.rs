//! The few calls of the system that the checks need.
#![expect(unsafe_code, reason = "handles and processes of the system")]

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::ptr::null;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CreateEventW, OpenProcess, PROCESS_SYNCHRONIZE, SetEvent, WaitForSingleObject,
};

use super::Error;

/// Whether this is Wine: asked in the one way that it documents.
pub(super) fn is_wine() -> bool {
    // SAFETY: a library that every process has; the function is only asked for.
    unsafe {
        GetProcAddress(GetModuleHandleA(c"ntdll.dll".as_ptr().cast()), c"wine_get_version".as_ptr().cast())
            .is_some()
    }
}

/// An event that every child inherits which is not kept from it.
pub(super) fn inheritable_event() -> OwnedHandle {
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: std::ptr::null_mut(),
        bInheritHandle: 1,
    };
    // SAFETY: no name; the handle is ours.
    unsafe {
        let event = CreateEventW(&attributes, 1, 0, null());
        assert!(!event.is_null());
        OwnedHandle::from_raw_handle(event)
    }
}

/// Whether it was set.
pub(super) fn is_set(event: &OwnedHandle) -> bool {
    // SAFETY: an open event.
    unsafe { WaitForSingleObject(event.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

/// Whether a process has ended or is not there.
pub(super) fn ended(pid: u32) -> bool {
    // SAFETY: the handle is ours and closed.
    unsafe {
        let process = OpenProcess(PROCESS_SYNCHRONIZE, 0, pid);
        process.is_null() || {
            let process = OwnedHandle::from_raw_handle(process);
            WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_OBJECT_0
        }
    }
}

/// In a job: sets an event by a handle that it should not have.
pub(super) fn signal(handle: &str) -> Result<(), Error> {
    let handle = handle.parse::<usize>()? as HANDLE;
    // SAFETY: any number will do; one that is no event of ours is refused.
    unsafe { SetEvent(handle) };
    Ok(())
}

/// In a job: tries to start a process outside.
#[expect(clippy::disallowed_methods, reason = "an attacker starts processes")]
pub(super) fn breakaway() -> Result<(), Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["actor", "beat", "/beat-0"]).creation_flags(CREATE_BREAKAWAY_FROM_JOB);
    let child = command.spawn();
    // Time to be seen.
    std::thread::sleep(std::time::Duration::from_millis(300));
    Err(match child {
        Ok(_) => "left".into(),
        Err(error) => format!("refused: {}", error.raw_os_error().unwrap_or(0)).into(),
    })
}

/// In a job: ends with any code.
#[expect(clippy::exit, reason = "the job's exit code is what is looked at")]
pub(super) fn exit(code: &str) -> Result<(), Error> {
    std::process::exit(code.parse::<u32>()? as i32)
}
