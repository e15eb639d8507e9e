//! The real processes behind the guard.
#![expect(unsafe_code, reason = "the system's list of processes, and opening them")]

use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{FILETIME, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::SystemInformation::GetSystemTimeAsFileTime;
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SET_QUOTA, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess,
};

use super::console::{Asked, Bears, Listed, Moment, Processes};
use super::identity::Calls;
use super::job::{Job, JobCalls};
use super::marks;
use super::process::wait;
use super::security::Sid;

/// The machine's processes, as seen from one job.
#[derive(Debug)]
pub(super) struct Machine {
    /// The job.
    pub(super) job: Arc<Job>,
    /// How a token is read.
    pub(super) calls: Arc<dyn Calls>,
    /// The SID that only this step's tokens carry, where they do.
    pub(super) sid: Option<Sid>,
    /// The directories that only this step's programs are in: its root first.
    pub(super) places: Vec<PathBuf>,
}

/// An open process: with all rights that the guard needs, or only those to ask.
#[derive(Debug)]
pub(super) struct Opened(OwnedHandle);

fn open(pid: u32, access: u32) -> Option<OwnedHandle> {
    // SAFETY: the handle is ours.
    unsafe {
        let process = OpenProcess(access, 0, pid);
        (!process.is_null()).then(|| OwnedHandle::from_raw_handle(process))
    }
}

fn moment(time: FILETIME) -> Moment {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// How old a process is that has an environment, if it ever gets one.
const GROWN: Moment = 20_000_000;

impl Processes for Machine {
    type Opened = Opened;

    fn list(&self) -> Vec<Listed> {
        let mut all = Vec::new();
        // SAFETY: the structure says its size; the handle is ours and closed.
        unsafe {
            let list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
            if list == INVALID_HANDLE_VALUE {
                return all;
            }
            let list = OwnedHandle::from_raw_handle(list);
            let dw_size = size_of::<PROCESSENTRY32W>() as u32;
            let mut entry = PROCESSENTRY32W { dwSize: dw_size, ..Default::default() };
            let mut more = Process32FirstW(list.as_raw_handle(), &mut entry);
            while more != 0 {
                let length =
                    entry.szExeFile.iter().position(|&unit| unit == 0).unwrap_or(entry.szExeFile.len());
                all.push(Listed {
                    pid: entry.th32ProcessID,
                    parent: entry.th32ParentProcessID,
                    name: String::from_utf16_lossy(&entry.szExeFile[..length]),
                    threads: entry.cntThreads,
                });
                more = Process32NextW(list.as_raw_handle(), &mut entry);
            }
        }
        all
    }

    fn members(&self) -> Vec<u32> {
        self.job.ids().unwrap_or_default()
    }

    fn open(&self, pid: u32) -> Option<Opened> {
        let ask = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        let act = ask | PROCESS_QUERY_INFORMATION | PROCESS_SET_QUOTA | PROCESS_TERMINATE;
        // To be put into a job takes two of the rights; what does not give them is asked and then refused.
        open(pid, act).or_else(|| open(pid, ask | PROCESS_TERMINATE)).or_else(|| open(pid, ask)).map(Opened)
    }

    fn ask(&self, process: &Opened) -> Option<Asked> {
        let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
        let handle = process.0.as_raw_handle();
        // SAFETY: an open process; four structures.
        if unsafe { GetProcessTimes(handle, &mut created, &mut ended, &mut kernel, &mut user) } == 0 {
            return None;
        }
        let inside = self.job.holds(process.0.as_handle()).ok()?;
        let ended = wait(process.0.as_handle(), Some(std::time::Duration::ZERO)).unwrap_or(false);
        Some(Asked { created: moment(created), inside, ended })
    }

    fn bears(&self, process: &Opened, created: Moment) -> Bears {
        let carries = |sid: &Sid| {
            self.calls.process(process.0.as_handle()).is_ok_and(|facts| {
                facts.token.restricting.contains(sid) || facts.token.container.as_ref() == Some(sid)
            })
        };
        if self.sid.as_ref().is_some_and(carries) {
            return Bears::Ours;
        }
        // A token may be another's that was named as the parent: then the program and its environment tell.
        let Some(root) = self.places.first() else { return Bears::Nothing };
        match marks::bears(process.0.as_handle(), &self.places, root) {
            Some(true) => Bears::Ours,
            None if created.saturating_add(GROWN) >= self.now() => Bears::TooYoung,
            _ => Bears::Nothing,
        }
    }

    fn adopt(&self, process: &Opened) -> bool {
        self.job.assign(process.0.as_handle()).is_ok()
    }

    fn kill(&self, process: &Opened) -> bool {
        // SAFETY: an open process.
        unsafe { TerminateProcess(process.0.as_raw_handle(), super::ending::KILLED) };
        wait(process.0.as_handle(), Some(std::time::Duration::from_secs(5))).unwrap_or(false)
    }

    fn now(&self) -> Moment {
        let mut now = FILETIME::default();
        // SAFETY: a structure of ours.
        unsafe { GetSystemTimeAsFileTime(&mut now) };
        moment(now)
    }
}

#[cfg(test)]
mod tests;
