//! Whom this process runs as.

#![expect(unsafe_code, reason = "the token's calls")]

use std::io;

use orlop_store::layer::{Ownership, XattrForm};
use windows_sys::Win32::Foundation::{CloseHandle, FALSE, HANDLE};
use windows_sys::Win32::Security::{
    GetTokenInformation, IsWellKnownSid, TOKEN_ELEVATION, TOKEN_QUERY, TOKEN_USER, TokenElevation, TokenUser,
    WinLocalSystemSid,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use crate::diagnostics::Failure;
use crate::startup::Host;

/// Finds out what this process may do, and removes what killed ones left outside the store. Nothing has to be
/// changed before threads start.
pub(crate) fn enter() -> Result<Host, Failure> {
    let root = is_elevated()
        .map_err(|error| Failure::internal(format!("this process's own token cannot be read: {error}")))?;
    super::HostRunner::new().sweep_stale();
    // Owners and modes of Unix have no place in this file system: layers keep those of Windows.
    Ok(Host { root, xattrs: XattrForm::User, ownership: Ownership::Ignore, note: None })
}

/// The same question where the answer only decides which store is looked at.
pub(crate) fn is_root() -> bool {
    is_elevated().unwrap_or(false)
}

/// Whether an administrator's rights are switched on.
fn is_elevated() -> io::Result<bool> {
    let mut elevation = TOKEN_ELEVATION { TokenIsElevated: 0 };
    with_token(|token| {
        let mut size = size_of::<TOKEN_ELEVATION>() as u32;
        // SAFETY: the structure has the size that is told.
        unsafe {
            GetTokenInformation(token, TokenElevation, (&raw mut elevation).cast(), size, &mut size) != FALSE
        }
    })?;
    Ok(elevation.TokenIsElevated != 0)
}

/// Whether we run as the system itself, as services do that nobody gave a user. Where that cannot be found
/// out we are taken for a user.
pub(crate) fn is_system() -> bool {
    // The structure, and the SID that it points to behind it.
    let mut buffer = [0_u64; 32];
    let read = with_token(|token| {
        let mut size = size_of_val(&buffer) as u32;
        // SAFETY: the buffer has the size that is told.
        unsafe { GetTokenInformation(token, TokenUser, buffer.as_mut_ptr().cast(), size, &mut size) != FALSE }
    });
    // SAFETY: the call has filled the buffer with such a structure, which is aligned as numbers of 64 bits.
    read.is_ok()
        && unsafe {
            IsWellKnownSid((*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid, WinLocalSystemSid) != FALSE
        }
}

fn with_token(ask: impl FnOnce(HANDLE) -> bool) -> io::Result<()> {
    let mut token = std::ptr::null_mut();
    // SAFETY: the handle is written by the call, used while it is open, and closed once.
    unsafe {
        if OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) == FALSE {
            return Err(io::Error::last_os_error());
        }
        let answered = ask(token);
        let error = io::Error::last_os_error();
        CloseHandle(token);
        if answered { Ok(()) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_tells_who_we_are() {
        // Nobody knows what runs this test; that both can be read is what counts.
        enter().unwrap();
        let mut called = false;
        with_token(|_| {
            called = true;
            true
        })
        .unwrap();
        assert!(called);
        assert!(with_token(|_| false).is_err());
    }
}
