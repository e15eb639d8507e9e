//! Logon sessions and the drive letters that each of them has for itself.
//!
//! Since Windows XP a drive letter that a program defines is kept by the logon session of whoever defines it, and
//! goes with the session's last token; LocalSystem's are the machine's (Microsoft, "Defining an MS-DOS Device
//! Name"). Nothing of this could be tried where it was written: Wine has one list for everybody. So every call is
//! behind [`Calls`](super::Calls), and what it gave is looked at by its effect.
#![expect(unsafe_code, reason = "logs on, impersonates and defines device names")]

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NOT_ALL_ASSIGNED, GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, ImpersonateLoggedOnUser, LOGON32_LOGON_NEW_CREDENTIALS, LOGON32_PROVIDER_WINNT50,
    LUID_AND_ATTRIBUTES, LogonUserW, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED, TOKEN_PRIVILEGES,
};
use windows_sys::Win32::Storage::FileSystem::{
    DDD_EXACT_MATCH_ON_REMOVE, DDD_NO_BROADCAST_SYSTEM, DDD_RAW_TARGET_PATH, DDD_REMOVE_DEFINITION,
    DefineDosDeviceW, FILE_NAME_NORMALIZED, GetFinalPathNameByHandleW, QueryDosDeviceW, VOLUME_NAME_NT,
};

use super::calls::{Failure, Kept, TokenFacts};
use super::letter::NEEDED;
use super::{object, token};
use crate::windows::library::wide;

/// Whom a server would see that the step talks to: nobody. A logon of this kind is not checked until then.
const NOBODY: &str = "orlop-step";

/// A token like the caller's own in a logon session of its own, ready to start a process with.
pub(super) fn new() -> Result<(OwnedHandle, TokenFacts), Failure> {
    let (name, domain, password) = (wide(NOBODY), wide("."), wide(""));
    let mut made = null_mut();
    // SAFETY: texts end with a zero; the handle is ours.
    let made = unsafe {
        let (kind, provider) = (LOGON32_LOGON_NEW_CREDENTIALS, LOGON32_PROVIDER_WINNT50);
        if LogonUserW(name.as_ptr(), domain.as_ptr(), password.as_ptr(), kind, provider, &mut made) == 0 {
            return Err(Failure::last("LogonUserW"));
        }
        OwnedHandle::from_raw_handle(made)
    };
    // Processes are started by a thread that impersonates it: whichever of the two is asked has them.
    for token in [&token::adjustable()?, &made] {
        NEEDED.iter().try_for_each(|name| enable(token, name))?;
    }
    let facts = token::facts(&made)?;
    Ok((made, facts))
}

/// Switches a privilege on that a token has.
pub(super) fn enable(token: &OwnedHandle, name: &str) -> Result<(), Failure> {
    let name = wide(name);
    let mut luid = LUID::default();
    // SAFETY: the name ends with a zero; the structure holds the one privilege that it says.
    unsafe {
        if LookupPrivilegeValueW(null(), name.as_ptr(), &mut luid) == 0 {
            return Err(Failure::last("LookupPrivilegeValueW"));
        }
        let wanted = TOKEN_PRIVILEGES {
            PrivilegeCount: 1,
            Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
        };
        let done = AdjustTokenPrivileges(token.as_raw_handle(), 0, &wanted, 0, null_mut(), null_mut());
        // It succeeds without having done it.
        match done == 0 || GetLastError() == ERROR_NOT_ALL_ASSIGNED {
            true => Err(Failure::last("AdjustTokenPrivileges")),
            false => Ok(()),
        }
    }
}

/// Does something as the user of a token, in a thread that then ends: nothing has to be undone.
pub(in crate::windows) fn impersonating<T: Send>(
    token: BorrowedHandle<'_>,
    what: impl FnOnce() -> T + Send,
) -> Result<T, Failure> {
    let lost = |code| Failure { call: "CreateThread", code };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            // SAFETY: an open token; the thread does nothing else afterwards.
            match unsafe { ImpersonateLoggedOnUser(token.as_raw_handle()) } {
                0 => Err(Failure::last("ImpersonateLoggedOnUser")),
                _ => Ok(what()),
            }
        });
        let thread = thread.map_err(|error| lost(error.raw_os_error().unwrap_or(0) as u32))?;
        thread.join().unwrap_or_else(|_| Err(lost(0)))
    })
}

/// Whether a drive has a letter, for the user of a token or for the caller.
pub(super) fn has_letter(token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
    let ask = || {
        let (name, mut target) = (device(letter), [0u16; 1024]);
        // SAFETY: the name ends with a zero; the buffer has as many units as is said.
        let length = unsafe { QueryDosDeviceW(name.as_ptr(), target.as_mut_ptr(), target.len() as u32) };
        // SAFETY: reads the thread's own value.
        match (length, unsafe { GetLastError() }) {
            (0, ERROR_FILE_NOT_FOUND) => Ok(false),
            // What is there and cannot be read is there.
            (0, 5 | 122) | (1.., _) => Ok(true),
            (0, code) => Err(Failure { call: "QueryDosDeviceW", code }),
        }
    };
    match token {
        Some(token) => impersonating(token, ask)?,
        None => ask(),
    }
}

/// A directory's volume and its number there, as the user of a token finds it.
pub(super) fn directory_id(token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
    impersonating(token, || object::directory_id(path))?
}

/// Gives a directory a letter in a logon session, for as long as the result is kept.
pub(super) fn define(session: BorrowedHandle<'_>, letter: char, root: &Path) -> Result<Kept, Failure> {
    let target = of_the_system(root)?;
    let session = session.try_clone_to_owned().map_err(|error| Failure {
        call: "DuplicateHandle",
        code: error.raw_os_error().unwrap_or(0) as u32,
    })?;
    set(session.as_handle(), letter, &target, DDD_RAW_TARGET_PATH)?;
    Ok(Box::new(Definition { session, letter, target }))
}

/// A letter that goes when this does.
struct Definition {
    session: OwnedHandle,
    letter: char,
    target: Vec<u16>,
}

impl Drop for Definition {
    fn drop(&mut self) {
        let exactly = DDD_RAW_TARGET_PATH | DDD_REMOVE_DEFINITION | DDD_EXACT_MATCH_ON_REMOVE;
        // Where it cannot be removed it goes with the session, whose last token is the next to be closed.
        let _ = set(self.session.as_handle(), self.letter, &self.target, exactly);
    }
}

fn set(session: BorrowedHandle<'_>, letter: char, target: &[u16], flags: u32) -> Result<(), Failure> {
    let name = device(letter);
    impersonating(session, || {
        // SAFETY: both texts end with a zero.
        let done =
            unsafe { DefineDosDeviceW(flags | DDD_NO_BROADCAST_SYSTEM, name.as_ptr(), target.as_ptr()) };
        if done == 0 { Err(Failure::last("DefineDosDeviceW")) } else { Ok(()) }
    })?
}

/// `X:`, with a final zero.
fn device(letter: char) -> Vec<u16> {
    wide(format!("{letter}:"))
}

/// A directory by the system's own name of its volume, which no letter of any session stands behind.
fn of_the_system(path: &Path) -> Result<Vec<u16>, Failure> {
    let directory = object::open(path, 0)?;
    let mut name = vec![0u16; 0x8000];
    // SAFETY: the buffer has as many units as is said.
    let length = unsafe {
        GetFinalPathNameByHandleW(
            directory.as_raw_handle(),
            name.as_mut_ptr(),
            name.len() as u32,
            FILE_NAME_NORMALIZED | VOLUME_NAME_NT,
        )
    } as usize;
    match length {
        0 => Err(Failure::last("GetFinalPathNameByHandleW")),
        length if length >= name.len() => Err(Failure { call: "GetFinalPathNameByHandleW", code: 206 }),
        length => {
            name.truncate(length);
            name.push(0);
            Ok(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_impersonates_leaves_the_others_as_they_are() {
        let token = token::adjustable().expect("our own token");
        let directory = tempfile::tempdir().expect("a directory");
        let id = directory_id(token.as_handle(), directory.path());
        assert_eq!(id.expect("seen by ourselves"), object::directory_id(directory.path()).expect("seen"));
        assert!(directory_id(token.as_handle(), &directory.path().join("none")).is_err());
    }

    #[test]
    fn letters_that_are_there_are_seen() {
        let own = std::env::current_exe().expect("the program's own path");
        let letter = own.to_string_lossy().chars().next().expect("a letter");
        assert_eq!(has_letter(None, letter), Ok(true));
        let token = token::adjustable().expect("our own token");
        assert_eq!(has_letter(Some(token.as_handle()), letter), Ok(true));
        let free = ('D'..='Y').rev().find(|letter| has_letter(None, *letter) == Ok(false));
        assert!(free.is_some(), "no machine has them all");
    }
}
