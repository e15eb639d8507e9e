//! Attacks on processes, and by way of them on the job.
#![expect(unsafe_code, reason = "opens, starts and lists processes as an attacker would")]

use std::ffi::c_void;
use std::io::Write;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};
use std::time::Duration;

use windows_sys::Win32::System::JobObjects::{
    IsProcessInJob, JOBOBJECT_BASIC_PROCESS_ID_LIST, JobObjectBasicProcessIdList, QueryInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NO_WINDOW, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetProcessId, InitializeProcThreadAttributeList, OpenProcess,
    PROC_THREAD_ATTRIBUTE_PARENT_PROCESS, PROCESS_CREATE_PROCESS, PROCESS_DUP_HANDLE, PROCESS_INFORMATION,
    PROCESS_QUERY_INFORMATION, PROCESS_SET_QUOTA, PROCESS_TERMINATE, PROCESS_VM_READ, PROCESS_VM_WRITE,
    STARTUPINFOEXW, TerminateProcess, UpdateProcThreadAttribute,
};

use super::{BROKEN, CLOSED, OPEN, Seen, last_error};
use crate::windows::console::Listed;
use crate::windows::library::wide;
use crate::windows::strangers::list;

/// `WRITE_DAC`: the owner's way to all other rights.
const WRITE_DAC: u32 = 0x4_0000;

pub(super) fn open_process(pid: u32) -> Seen {
    let rights = [
        ("create process", PROCESS_CREATE_PROCESS),
        ("duplicate handles", PROCESS_DUP_HANDLE),
        ("read memory", PROCESS_VM_READ),
        ("write memory", PROCESS_VM_WRITE),
        ("end", PROCESS_TERMINATE),
        ("change limits", PROCESS_SET_QUOTA),
        ("change its access list", WRITE_DAC),
    ];
    let (mut open, mut code) = (Vec::new(), 0);
    for (name, right) in rights {
        // SAFETY: plain values; the handle is ours and closed.
        unsafe {
            let process = OpenProcess(right, 0, pid);
            code = last_error();
            if !process.is_null() {
                drop(OwnedHandle::from_raw_handle(process));
                open.push(name);
            }
        }
    }
    match open.is_empty() {
        true => (CLOSED, format!("OpenProcess: error {code}")),
        false => (OPEN, format!("OpenProcess succeeds: {}", open.join(", "))),
    }
}

/// Starts this program again in another role.
pub(super) fn spawn(role: &str, flags: u32, parent: Option<RawHandle>) -> Result<OwnedHandle, u32> {
    let Ok(program) = std::env::current_exe() else { return Err(2) };
    let lead: String =
        crate::windows::selftest::lead().map(|word| format!(" \"{}\"", word.to_string_lossy())).collect();
    start(&format!("\"{}\"{lead} {role}", program.display()), flags, parent)
}

/// Starts a command, under another parent where one is given, and waits for nothing.
fn start(line: &str, flags: u32, parent: Option<RawHandle>) -> Result<OwnedHandle, u32> {
    let mut line = wide(line);
    let mut info = STARTUPINFOEXW::default();
    info.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
    let mut size = 0;
    let mut made = PROCESS_INFORMATION::default();
    // SAFETY: all that is pointed to lives until the call is over; the handles are ours.
    unsafe {
        InitializeProcThreadAttributeList(null_mut(), 1, 0, &mut size);
        let mut list = vec![0usize; size.div_ceil(size_of::<usize>()).max(1)];
        let mut extended = 0;
        if let Some(parent) = &parent {
            info.lpAttributeList = list.as_mut_ptr().cast();
            let value: *const c_void = (&raw const *parent).cast();
            let attribute = PROC_THREAD_ATTRIBUTE_PARENT_PROCESS as usize;
            if InitializeProcThreadAttributeList(info.lpAttributeList, 1, 0, &mut size) == 0
                || UpdateProcThreadAttribute(
                    info.lpAttributeList,
                    0,
                    attribute,
                    value,
                    size_of::<RawHandle>(),
                    null_mut(),
                    null(),
                ) == 0
            {
                return Err(last_error());
            }
            extended = EXTENDED_STARTUPINFO_PRESENT;
        }
        let started = CreateProcessW(
            null(),
            line.as_mut_ptr(),
            null(),
            null(),
            0,
            CREATE_NO_WINDOW | flags | extended,
            null(),
            null(),
            (&raw const info).cast(),
            &mut made,
        );
        let error = last_error();
        if !info.lpAttributeList.is_null() {
            DeleteProcThreadAttributeList(info.lpAttributeList);
        }
        if started == 0 {
            return Err(error);
        }
        drop(OwnedHandle::from_raw_handle(made.hThread));
        Ok(OwnedHandle::from_raw_handle(made.hProcess))
    }
}

pub(super) fn id(process: &OwnedHandle) -> u32 {
    // SAFETY: a process of ours.
    unsafe { GetProcessId(process.as_raw_handle()) }
}

pub(super) fn end(process: &OwnedHandle) {
    // SAFETY: a process of ours.
    unsafe { TerminateProcess(process.as_raw_handle(), 0) };
}

pub(super) fn reparent(pid: u32) -> Seen {
    // SAFETY: plain values; the handle is ours.
    let parent = unsafe {
        let parent = OpenProcess(PROCESS_CREATE_PROCESS, 0, pid);
        if parent.is_null() {
            return (CLOSED, format!("OpenProcess: error {}", last_error()));
        }
        OwnedHandle::from_raw_handle(parent)
    };
    match spawn("exit 0", 0, Some(parent.as_raw_handle())) {
        Ok(process) => {
            end(&process);
            (OPEN, "a process starts as the other's child".into())
        }
        Err(error) => (CLOSED, format!("CreateProcess: error {error}")),
    }
}

/// The ids of the processes of this process's own job.
fn members() -> Vec<u32> {
    const ROOM: usize = 1024;
    let mut buffer = vec![0usize; ROOM + 2];
    let (pointer, size) = (buffer.as_mut_ptr().cast(), size_of_val(&buffer[..]) as u32);
    // SAFETY: the buffer has as many bytes as is said; the structure is read within it.
    unsafe {
        if QueryInformationJobObject(null_mut(), JobObjectBasicProcessIdList, pointer, size, null_mut()) == 0
        {
            return Vec::new();
        }
        let list = pointer.cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>();
        let count = ((*list).NumberOfProcessIdsInList as usize).min(ROOM);
        buffer[1..=count].iter().map(|id| *id as u32).collect()
    }
}

/// Looks for any process outside of the job that lets itself be named as a parent. This one is the job's first, so
/// that those outside are all but itself and its children.
pub(super) fn reparent_any() -> Seen {
    let own = std::process::id();
    let mut open = Vec::new();
    for Listed { pid: id, parent, name, .. } in list() {
        if id < 8 || id == own || parent == own {
            continue;
        }
        // SAFETY: plain values; the handle is ours.
        let parent = unsafe {
            let parent = OpenProcess(PROCESS_CREATE_PROCESS, 0, id);
            if parent.is_null() {
                continue;
            }
            OwnedHandle::from_raw_handle(parent)
        };
        if let Ok(process) = spawn("exit 0", 0, Some(parent.as_raw_handle())) {
            end(&process);
            open.push(name);
        }
    }
    open.sort();
    open.dedup();
    match open.is_empty() {
        true => (CLOSED, "no process outside the job can be named".into()),
        false => (OPEN, format!("these can be named: {}", open.join(", "))),
    }
}

/// Whether a process is in any job.
fn in_a_job(pid: u32) -> bool {
    let mut inside = 0;
    // SAFETY: plain values; the handle is ours.
    unsafe {
        let process = OpenProcess(PROCESS_QUERY_INFORMATION, 0, pid);
        if process.is_null() {
            return false;
        }
        let process = OwnedHandle::from_raw_handle(process);
        IsProcessInJob(process.as_raw_handle(), null_mut(), &mut inside);
    }
    inside != 0
}

pub(super) fn breakaway() -> Seen {
    let process = match spawn("sleep 5", CREATE_BREAKAWAY_FROM_JOB, None) {
        Ok(process) => process,
        Err(error) => return (CLOSED, format!("CreateProcess: error {error}")),
    };
    let mut inside = 0;
    // SAFETY: our own process; any job.
    unsafe { IsProcessInJob(process.as_raw_handle(), null_mut(), &mut inside) };
    end(&process);
    match inside {
        0 => (OPEN, "a process leaves the job".into()),
        _ => (CLOSED, "the process is in the job all the same".into()),
    }
}

/// Looks for console hosts of this job's processes that are not in the job.
pub(super) fn conhosts() -> Seen {
    let process = spawn("sleep 3", 0, None);
    std::thread::sleep(Duration::from_millis(500));
    let known = members();
    let own = std::process::id();
    let seen = match known.is_empty() {
        true => (BROKEN, "the job does not tell its processes".into()),
        false => hosts(own, &|pid| known.contains(&pid)),
    };
    if let Ok(process) = process {
        end(&process);
    }
    seen
}

/// The console hosts of a job's first process and of its children, and whether they are in the job.
fn hosts(first: u32, inside: &dyn Fn(u32) -> bool) -> Seen {
    let all = list();
    let family = |pid: u32| pid == first || all.iter().any(|one| one.pid == pid && one.parent == first);
    let host = |name: &str| name.to_ascii_lowercase().starts_with("conhost");
    let ours = all.iter().filter(|one| host(&one.name) && family(one.parent));
    let (within, outside): (Vec<_>, Vec<_>) = ours.partition(|one| inside(one.pid));
    let seen = format!("{} in the job, {} outside of it", within.len(), outside.len());
    (if outside.is_empty() { CLOSED } else { OPEN }, seen)
}

/// The same from outside, for a builder that is in no job itself: any job that they are in is the step's.
pub(in super::super) fn hosts_from_outside(child: u32) -> (bool, String) {
    let first = list().into_iter().find(|one| one.pid == child).map_or(0, |one| one.parent);
    let (code, seen) = hosts(first, &in_a_job);
    (code == CLOSED, seen)
}

/// How many processes can be had at once beside this one.
pub(super) fn processes(count: u32) -> Seen {
    let mut made = Vec::new();
    let mut error = 0;
    for _ in 0..count {
        match spawn("sleep 5", 0, None) {
            Ok(process) => made.push(process),
            Err(code) => {
                error = code;
                break;
            }
        }
    }
    made.iter().for_each(end);
    match made.len() as u32 == count {
        true => (OPEN, format!("{count} more processes start")),
        false => (CLOSED, format!("{} more processes start, then error {error}", made.len())),
    }
}

/// Starts processes, tells their ids and ends before them.
pub(super) fn leave(count: u32, output: &mut dyn Write) -> i32 {
    for _ in 0..count {
        match spawn("sleep 60", 0, None) {
            Ok(process) => {
                // SAFETY: a process of ours.
                let id =
                    unsafe { windows_sys::Win32::System::Threading::GetProcessId(process.as_raw_handle()) };
                let _ = writeln!(output, "{id}");
            }
            Err(error) => {
                let _ = writeln!(output, "CreateProcess: error {error}");
                return BROKEN;
            }
        }
    }
    let _ = output.flush();
    CLOSED
}

/// Whether a process is still there.
pub(in super::super) fn alive(pid: u32) -> bool {
    list().iter().any(|one| one.pid == pid)
}

/// Ends a process of this program, wherever it is.
pub(in super::super) fn end_own(pid: u32) {
    let ours = |name: &str| name.eq_ignore_ascii_case("self-test.exe");
    if !list().iter().any(|one| one.pid == pid && ours(&one.name)) {
        return;
    }
    // SAFETY: plain values; the handle is ours.
    unsafe {
        let process = OpenProcess(PROCESS_TERMINATE, 0, pid);
        if !process.is_null() {
            end(&OwnedHandle::from_raw_handle(process));
        }
    }
}

/// Starts a process outside of the job, by naming any other that lets itself be named as its parent, and leaves it.
pub(super) fn escape(own_program: bool, output: &mut dyn Write) -> i32 {
    let own = std::process::id();
    for Listed { pid: id, parent, .. } in list() {
        if id < 8 || id == own || parent == own {
            continue;
        }
        // SAFETY: plain values; the handle is ours.
        let outside = unsafe {
            let outside = OpenProcess(PROCESS_CREATE_PROCESS, 0, id);
            if outside.is_null() {
                continue;
            }
            OwnedHandle::from_raw_handle(outside)
        };
        let parent = Some(outside.as_raw_handle());
        let started = match own_program {
            true => spawn("sleep 60", 0, parent),
            // Waits for a console's input that never comes.
            false => start("cmd.exe /K", 0, parent),
        };
        if let Ok(process) = started {
            let _ = writeln!(output, "{}", self::id(&process)).and_then(|()| output.flush());
            return OPEN;
        }
    }
    let _ = writeln!(output, "no process outside the job can be named");
    CLOSED
}
