//! The privileges to back up and to restore: to read and to write what access lists forbid; and that to make
//! symbolic links.

#![expect(unsafe_code, reason = "calls of the system")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, GetLengthSid, GetTokenInformation, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW,
    SE_PRIVILEGE_ENABLED, TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Which of them this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Privileges {
    /// To read everything.
    pub backup: bool,
    /// To write everything, and to give files to others.
    pub restore: bool,
}

static ENABLED: OnceLock<Privileges> = OnceLock::new();

/// Turns them on where this process has them; the first [`Dir::open`](super::Dir::open) does it. They are then
/// on in the token of this process, and whoever starts another program has to take them away from that.
pub fn privileges() -> Privileges {
    *ENABLED.get_or_init(|| {
        // A reparse point that is a symbolic link is only made with this one on, whoever has it.
        turn_on("SeCreateSymbolicLinkPrivilege");
        Privileges { backup: turn_on("SeBackupPrivilege"), restore: turn_on("SeRestorePrivilege") }
    })
}

pub(super) fn enable() {
    privileges();
}

fn turn_on(name: &str) -> bool {
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let mut luid = LUID { LowPart: 0, HighPart: 0 };
    // SAFETY: the name ends in a NUL; the others are pointers to locals.
    if unsafe { LookupPrivilegeValueW(null(), name.as_ptr(), &raw mut luid) } == 0 {
        return false;
    }
    let Ok(token) = token(TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY) else {
        return false;
    };
    let wanted = TOKEN_PRIVILEGES {
        PrivilegeCount: 1,
        Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
    };
    // SAFETY: one privilege is said and one is there; the old state is not asked for.
    unsafe {
        AdjustTokenPrivileges(token.as_raw_handle(), 0, &raw const wanted, 0, null_mut(), null_mut()) != 0
            // It succeeds without having done it as well.
            && GetLastError() == 0
    }
}

/// The token of this process.
fn token(access: u32) -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: a pointer to a local.
    if unsafe { OpenProcessToken(GetCurrentProcess(), access, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle, nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The security identifier of the user that this process runs as.
///
/// # Errors
/// When the system does not say.
pub(crate) fn user_sid() -> io::Result<Vec<u8>> {
    let token = token(TOKEN_QUERY)?;
    // A pointer and an identifier of at most 68 bytes.
    let mut buffer = [0u64; 16];
    let mut length = 0;
    // SAFETY: the buffer is as long as said.
    let done = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            u32::try_from(size_of_val(&buffer)).unwrap_or(0),
            &raw mut length,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has put that structure at the start of the buffer, which is aligned for it, and what it
    // points to into the rest.
    let sid = unsafe {
        let sid = (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid;
        std::slice::from_raw_parts(sid.cast::<u8>(), GetLengthSid(sid) as usize)
    };
    Ok(sid.to_vec())
}

/// Whether a library that is loaded exports `name`.
#[cfg(test)]
pub(super) fn exports(library: &str, name: &std::ffi::CStr) -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
    let library: Vec<u16> = library.encode_utf16().chain([0]).collect();
    // SAFETY: both names end in a NUL.
    unsafe { GetProcAddress(GetModuleHandleW(library.as_ptr()), name.as_ptr().cast()) }.is_some()
}
