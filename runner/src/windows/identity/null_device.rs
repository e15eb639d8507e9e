//! `NUL` for an AppContainer.
//!
//! The device's access list admits everybody and restricted tokens, and no AppContainer, until some coming Windows:
//! `echo x > NUL` then fails with "access is denied", and so does every runtime that opens the device when it starts.
//! Who may change the list (administrators) admits the step's SID for the step's time; the list is made anew at each
//! start of the system. Nothing is kept in the device, and nothing comes out of it.
#![expect(unsafe_code, reason = "a lock between processes")]

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{WAIT_ABANDONED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{CreateMutexW, ReleaseMutex, WaitForSingleObject};

use super::calls::{Failure, Kept};
use super::object::{self, Part};
use super::{session, token};
use crate::windows::library::wide;
use crate::windows::security::{AccessList, Entry, SecurityDescriptor, Sid};

const READ_CONTROL: u32 = 0x2_0000;
const WRITE_DAC: u32 = 0x4_0000;
/// Reading and writing, as files have them.
const READ_WRITE: u32 = 0x0012_019f;
/// How long another orlop may take to change the list, in milliseconds.
const PATIENCE: u32 = 5000;

/// What takes the entry away again.
#[derive(Debug)]
struct Admitted(Sid);

impl Drop for Admitted {
    fn drop(&mut self) {
        // What stays is an entry for a SID that nobody has any more, until the system starts again.
        let _ = change(|list| without(list, &self.0));
    }
}

/// Admits a step to the device.
pub(super) fn admit(step: &Sid) -> Result<Kept, Failure> {
    let now = object::security(open(READ_CONTROL)?.as_raw_handle())?;
    if is_open(&now, step) {
        return Ok(Box::new(()));
    }
    change(|list| with(list, step))?;
    Ok(Box::new(Admitted(step.clone())))
}

fn open(access: u32) -> Result<OwnedHandle, Failure> {
    object::open(Path::new(r"\\.\NUL"), access)
}

/// Whether a container can use the device already.
fn is_open(now: &SecurityDescriptor, step: &Sid) -> bool {
    let all_packages = Sid::new(15, [2, 1]);
    let Some(list) = &now.access else { return true };
    [&all_packages, step].iter().any(|sid| list.allows(sid, READ_WRITE & 0xffff))
}

fn with(mut list: AccessList, step: &Sid) -> AccessList {
    list = without(list, step);
    list.0.push(Entry::allow(step, READ_WRITE, 0));
    list
}

fn without(mut list: AccessList, step: &Sid) -> AccessList {
    list.0.retain(|entry| entry.sid.as_ref() != Some(step));
    list
}

/// Reads the list, changes it, and writes it: one process at a time.
fn change(how: impl FnOnce(AccessList) -> AccessList) -> Result<(), Failure> {
    let _turn = Turn::take()?;
    let device = open(READ_CONTROL | WRITE_DAC).or_else(|failure| match failure.code {
        // The system's device need not be the administrators' own: then it takes the privilege to restore.
        5 => {
            session::enable(&token::adjustable()?, "SeRestorePrivilege").map_err(|_| failure)?;
            open(READ_CONTROL | WRITE_DAC)
        }
        _ => Err(failure),
    })?;
    let mut now = object::security(device.as_raw_handle())?;
    let Some(list) = now.access.take() else { return Ok(()) };
    now.access = Some(how(list));
    object::set_security(device.as_raw_handle(), &[Part::Access], &now)
}

/// A turn at the list.
#[derive(Debug)]
struct Turn(OwnedHandle);

impl Turn {
    fn take() -> Result<Self, Failure> {
        let name = wide(r"Global\orlop.nul");
        // SAFETY: the name ends with a zero; the handle is ours.
        let mutex = unsafe {
            let mutex = CreateMutexW(std::ptr::null(), 0, name.as_ptr());
            if mutex.is_null() {
                return Err(Failure::last("CreateMutexW"));
            }
            OwnedHandle::from_raw_handle(mutex)
        };
        // SAFETY: an open mutex.
        match unsafe { WaitForSingleObject(mutex.as_raw_handle(), PATIENCE) } {
            WAIT_OBJECT_0 | WAIT_ABANDONED => Ok(Self(mutex)),
            _ => Err(Failure { call: "WaitForSingleObject", code: 258 }),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: a mutex that this thread has.
        unsafe { ReleaseMutex(self.0.as_raw_handle()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(list: &[(Sid, u32)]) -> SecurityDescriptor {
        let entries = list.iter().map(|(sid, mask)| Entry::allow(sid, *mask, 0)).collect();
        SecurityDescriptor { access: Some(AccessList(entries)), ..SecurityDescriptor::default() }
    }

    #[test]
    fn a_step_is_admitted_and_nobody_else_touched() {
        let step = Sid::new(15, [2, 1, 2, 3, 4, 5, 6, 7]);
        // As Windows makes it: SYSTEM, Administrators, everybody, restricted tokens.
        let usual = descriptor(&[
            (Sid::system(), 0x001f_01ff),
            (Sid::administrators(), 0x0012_01bf),
            (Sid::everyone(), READ_WRITE),
            (Sid::restricted(), READ_WRITE),
        ]);
        assert!(!is_open(&usual, &step), "everybody is no container");
        let before = usual.access.clone().unwrap_or_default();
        let list = with(before.clone(), &step);
        assert!(is_open(&SecurityDescriptor { access: Some(list.clone()), ..usual.clone() }, &step));
        assert_eq!(with(list.clone(), &step), list, "once");
        assert_eq!(without(list, &step), before);
        assert!(is_open(&descriptor(&[(Sid::new(15, [2, 1]), 0x001f_01ff)]), &step));
        assert!(is_open(&SecurityDescriptor::default(), &step), "no list admits everybody");
    }

    #[test]
    fn turns_do_not_overlap() {
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _turn = Turn::take().expect("a turn");
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
