//! Who may open threads.
//!
//! A thread is an object of its own: who may change it runs what he likes in its process, whatever the access list of
//! the process says. Where a step has a second access check, the lists that threads are born with keep it out. Where
//! it has none they do not, and Wine gives threads no list at all: there every thread is given one.
#![expect(unsafe_code, reason = "the system's list of threads, and opening them")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::Threading::{OpenThread, THREAD_QUERY_LIMITED_INFORMATION};

use super::calls::Failure;
use super::{object, same_access};
use crate::windows::security::SecurityDescriptor;

const READ_CONTROL: u32 = 0x2_0000;
const WRITE_DAC: u32 = 0x4_0000;
const WRITE_OWNER: u32 = 0x8_0000;

/// Sets who may open the threads of these processes. Those of other processes than this one only once: `done` says
/// which had their turn.
///
/// # Errors
/// The first call that failed for a thread of this process, or that it has kept another list.
pub(super) fn protect(
    owners: &BTreeMap<u32, &SecurityDescriptor>,
    done: &mut BTreeSet<u32>,
) -> Result<(), Failure> {
    let own = std::process::id();
    let all = list()?;
    let mut outcome = Ok(());
    let mut now = BTreeSet::new();
    for (thread, process) in all {
        let Some(wanted) = owners.get(&process) else { continue };
        if process == own {
            // An id may be a new thread's by now, so that these are done each time.
            outcome = outcome.and(protect_one(thread, wanted));
        } else if done.contains(&thread) || protect_one(thread, wanted).is_ok() {
            now.insert(thread);
        }
    }
    *done = now;
    outcome
}

fn protect_one(thread: u32, wanted: &SecurityDescriptor) -> Result<(), Failure> {
    let access = READ_CONTROL | WRITE_DAC | WRITE_OWNER | THREAD_QUERY_LIMITED_INFORMATION;
    // SAFETY: plain values; the handle is ours.
    let thread = unsafe {
        let thread = OpenThread(access, 0, thread);
        if thread.is_null() {
            let failure = Failure::last("OpenThread");
            // It has ended since it was listed.
            return if failure.code == ERROR_INVALID_PARAMETER { Ok(()) } else { Err(failure) };
        }
        OwnedHandle::from_raw_handle(thread)
    };
    object::set_both(thread.as_raw_handle(), wanted)?;
    let got = object::security(thread.as_raw_handle())?;
    match same_access(wanted, &got) {
        true => Ok(()),
        false => Err(Failure { call: "SetKernelObjectSecurity", code: 0 }),
    }
}

/// The machine's threads, and whose they are.
fn list() -> Result<Vec<(u32, u32)>, Failure> {
    let mut all = Vec::new();
    // SAFETY: the structure says its size; the handle is ours and closed.
    unsafe {
        let list = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
        if list == INVALID_HANDLE_VALUE {
            return Err(Failure::last("CreateToolhelp32Snapshot"));
        }
        let list = OwnedHandle::from_raw_handle(list);
        let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
        let mut more = Thread32First(list.as_raw_handle(), &mut entry);
        while more != 0 {
            all.push((entry.th32ThreadID, entry.th32OwnerProcessID));
            more = Thread32Next(list.as_raw_handle(), &mut entry);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use windows_sys::Win32::System::Threading::GetCurrentThreadId;

    use super::*;
    use crate::windows::security::{Entry, Sid};

    #[test]
    fn threads_of_this_process_get_the_list_and_go_on() {
        // Everything to everybody, so that the test's other threads are not disturbed, and an entry to know it by.
        let mut wanted = SecurityDescriptor::only([&Sid::everyone()]);
        let mark = Entry::allow(&Sid::administrators(), 1, 0);
        wanted.access.get_or_insert_default().0.push(mark);
        let ((ids, id), (go, end)) = (channel(), channel::<()>());
        let thread = std::thread::spawn(move || {
            // SAFETY: asks for a number.
            ids.send(unsafe { GetCurrentThreadId() }).expect("somebody listens");
            end.recv().is_ok()
        });
        let id = id.recv().expect("it runs");
        let own = std::process::id();
        assert!(list().expect("a list").contains(&(id, own)));
        protect(&BTreeMap::from([(own, &wanted)]), &mut BTreeSet::new()).expect("set");
        // SAFETY: plain values; the handle is ours.
        let opened = unsafe { OwnedHandle::from_raw_handle(OpenThread(READ_CONTROL, 0, id)) };
        let got = object::security(opened.as_raw_handle()).expect("it reads back");
        assert!(same_access(&wanted, &got), "{got}");
        go.send(()).expect("it waits");
        assert!(thread.join().expect("it goes on"));
    }
}
