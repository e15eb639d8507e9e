//! The roles of the steps that a self-test starts: each tries one thing and tells by its exit code whether it is
//! closed (0), open (1) or could not be tried (2), with a line of what it saw.
#![expect(unsafe_code, reason = "attacks what the system may not give")]

use std::ffi::c_void;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{GetLastError, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::{
    InitializeSecurityDescriptor, SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorDacl,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::JobObjects::{
    IsProcessInJob, JOBOBJECT_BASIC_PROCESS_ID_LIST, JobObjectBasicProcessIdList, QueryInformationJobObject,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_WRITE, MEM_COMMIT, MEM_RESERVE, OpenFileMappingW, PAGE_READWRITE,
    VirtualAlloc,
};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, KEY_WRITE, REG_OPTION_VOLATILE, RegCloseKey, RegCreateKeyExW, RegDeleteKeyW,
};
use windows_sys::Win32::System::StationsAndDesktops::{
    CloseWindowStation, GetProcessWindowStation, GetUserObjectInformationW, OpenWindowStationW, UOI_NAME,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NO_WINDOW, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetCurrentProcess, GetProcessId, GetProcessTimes,
    InitializeProcThreadAttributeList, OpenProcess, PROC_THREAD_ATTRIBUTE_PARENT_PROCESS,
    PROCESS_CREATE_PROCESS, PROCESS_DUP_HANDLE, PROCESS_INFORMATION, PROCESS_QUERY_INFORMATION,
    PROCESS_SET_QUOTA, PROCESS_TERMINATE, PROCESS_VM_READ, PROCESS_VM_WRITE, STARTUPINFOEXW,
    TerminateProcess, UpdateProcThreadAttribute,
};

use super::bench::{CLOSED, OPEN};
use crate::windows::identity::{Calls, Windows};
use crate::windows::library::{function, wide};

/// The exit code of an attack that could not be tried.
const BROKEN: i32 = 2;
/// `WRITE_DAC`: the owner's way to all other rights.
const WRITE_DAC: u32 = 0x4_0000;

type Seen = (i32, String);

/// Runs a role.
pub(super) fn run(words: &[&str], output: &mut dyn Write) -> i32 {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let (code, seen) = match *words {
        ["exit", code] => (number(code) as i32, "ended".into()),
        ["token"] => token(),
        ["open-process", pid] => open_process(number(pid)),
        ["reparent", pid] => reparent(number(pid)),
        ["reparent-any"] => reparent_any(),
        ["breakaway"] => breakaway(),
        ["handle", value] => handle(value),
        ["write", path] => told("writing outside the root", fs::write(path, "written by a step")),
        ["read", path] => told("reading outside the root", fs::read(path)),
        ["connect", address] => connect(address),
        ["open-section", name] => open_section(name),
        ["open-station", name] => open_station(name),
        ["registry"] => registry(),
        ["services"] => services(),
        ["conhost"] => conhosts(),
        ["processes", count] => processes(number(count)),
        ["memory", megabytes] => memory(number(megabytes)),
        ["spin", milliseconds] => spin(number(milliseconds)),
        ["leave", count] => return leave(number(count), output),
        ["sleep", seconds] => return stay(&std::process::id().to_string(), seconds, output),
        ["sleep-child", seconds] => match spawn(&format!("sleep {seconds}"), 0, None) {
            // A moment for whoever watches the job to see it.
            Ok(process) => {
                std::thread::sleep(Duration::from_millis(300));
                return stay(&id(&process).to_string(), seconds, output);
            }
            Err(error) => (BROKEN, format!("CreateProcess: error {error}")),
        },
        ["section", name, seconds] => match section(name) {
            Ok(_section) => return stay(name, seconds, output),
            Err(error) => (BROKEN, format!("no shared memory could be made: error {error}")),
        },
        ["station", seconds] => return stay(&station(), seconds, output),
        _ => (BROKEN, format!("no such role: {words:?}")),
    };
    let _ = writeln!(output, "{seen}");
    code
}

/// Tells one line and waits.
fn stay(line: &str, seconds: &str, output: &mut dyn Write) -> i32 {
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    std::thread::sleep(Duration::from_secs(seconds.parse().unwrap_or(0)));
    CLOSED
}

fn told<T>(what: &str, result: std::io::Result<T>) -> Seen {
    match result {
        Ok(_) => (OPEN, format!("{what} succeeds")),
        Err(error) => (CLOSED, format!("{what}: error {}", error.raw_os_error().unwrap_or(0))),
    }
}

fn last_error() -> u32 {
    // SAFETY: reads the thread's own value.
    unsafe { GetLastError() }
}

/// What of the identity is too much, in words that the checks look for.
fn token() -> Seen {
    let facts = match Windows.own_token() {
        Ok(facts) => facts,
        Err(failure) => return (BROKEN, failure.to_string()),
    };
    let privileges: Vec<&str> = facts.privileges.iter().map(|one| one.name.as_str()).collect();
    let active = facts.groups.iter().filter(|group| group.enabled && !group.deny_only);
    let active: Vec<String> = active.map(|group| group.sid.to_string()).collect();
    let text = format!(
        "privileges={} groups={} integrity={:#x} restricting={} container={}",
        privileges.join(","),
        active.join(","),
        facts.integrity,
        facts.restricting.len(),
        u8::from(facts.container.is_some()),
    );
    (CLOSED, text)
}

fn open_process(pid: u32) -> Seen {
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

/// Starts this program again, waiting for nothing. Returns its process.
fn spawn(role: &str, flags: u32, parent: Option<RawHandle>) -> Result<OwnedHandle, u32> {
    let Ok(program) = std::env::current_exe() else { return Err(2) };
    let lead: String = super::lead().map(|word| format!(" \"{}\"", word.to_string_lossy())).collect();
    let mut line = wide(format!("\"{}\"{lead} {role}", program.display()));
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

fn id(process: &OwnedHandle) -> u32 {
    // SAFETY: a process of ours.
    unsafe { GetProcessId(process.as_raw_handle()) }
}

fn end(process: &OwnedHandle) {
    // SAFETY: a process of ours.
    unsafe { TerminateProcess(process.as_raw_handle(), 0) };
}

fn reparent(pid: u32) -> Seen {
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

/// Every process: its id, its parent's, its name.
fn list() -> Vec<(u32, u32, String)> {
    let mut all = Vec::new();
    // SAFETY: the structure says its size; the list is ours and closed.
    unsafe {
        let list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
        if list == INVALID_HANDLE_VALUE {
            return all;
        }
        let list = OwnedHandle::from_raw_handle(list);
        let size = size_of::<PROCESSENTRY32W>() as u32;
        let mut entry = PROCESSENTRY32W { dwSize: size, ..Default::default() };
        let mut more = Process32FirstW(list.as_raw_handle(), &mut entry);
        while more != 0 {
            let length = entry.szExeFile.iter().position(|&unit| unit == 0).unwrap_or(0);
            let name = String::from_utf16_lossy(&entry.szExeFile[..length]);
            all.push((entry.th32ProcessID, entry.th32ParentProcessID, name));
            more = Process32NextW(list.as_raw_handle(), &mut entry);
        }
    }
    all
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
fn reparent_any() -> Seen {
    let own = std::process::id();
    let mut open = Vec::new();
    for (id, parent, name) in list() {
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

fn breakaway() -> Seen {
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

/// Writes to a handle of the builder's that this process should not have.
fn handle(value: &str) -> Seen {
    let Ok(value) = value.parse::<usize>() else { return (BROKEN, "no handle".into()) };
    // SAFETY: a number that is a handle or none; what it is, if it is one, is not closed by us.
    let file = unsafe { std::mem::ManuallyDrop::new(File::from_raw_handle(value as RawHandle)) };
    match (&*file).write_all(b"written by a step") {
        // Whether it was that file is for the builder to see.
        Ok(()) => (CLOSED, "the number is a handle of something".into()),
        Err(error) => (CLOSED, format!("WriteFile: error {}", error.raw_os_error().unwrap_or(0))),
    }
}

fn connect(address: &str) -> Seen {
    let Ok(address) = address.parse::<SocketAddr>() else { return (BROKEN, "no address".into()) };
    told("connecting", TcpStream::connect_timeout(&address, Duration::from_secs(5)))
}

/// Shared memory that admits everybody.
fn section(name: &str) -> Result<OwnedHandle, u32> {
    let mut descriptor = SECURITY_DESCRIPTOR::default();
    let name = wide(name);
    // SAFETY: the descriptor is initialised here and lives until the call is over; the handle is ours.
    unsafe {
        InitializeSecurityDescriptor((&raw mut descriptor).cast(), 1);
        SetSecurityDescriptorDacl((&raw mut descriptor).cast(), 1, null(), 0);
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: (&raw mut descriptor).cast(),
            bInheritHandle: 0,
        };
        let made =
            CreateFileMappingW(INVALID_HANDLE_VALUE, &attributes, PAGE_READWRITE, 0, 4096, name.as_ptr());
        if made.is_null() { Err(last_error()) } else { Ok(OwnedHandle::from_raw_handle(made)) }
    }
}

fn open_section(name: &str) -> Seen {
    let name = wide(name);
    // SAFETY: the name ends with a zero; the handle is ours.
    unsafe {
        let section = OpenFileMappingW(FILE_MAP_WRITE, 0, name.as_ptr());
        if section.is_null() {
            return (CLOSED, format!("OpenFileMapping: error {}", last_error()));
        }
        drop(OwnedHandle::from_raw_handle(section));
    }
    (OPEN, "another step's shared memory opens".into())
}

/// The name of this process's window station.
fn station() -> String {
    let mut name = [0u16; 256];
    let (size, mut needed) = (size_of_val(&name) as u32, 0);
    // SAFETY: the buffer has as many bytes as is said.
    unsafe {
        let own = GetProcessWindowStation();
        GetUserObjectInformationW(own, UOI_NAME, name.as_mut_ptr().cast(), size, &mut needed);
    }
    let length = name.iter().position(|&unit| unit == 0).unwrap_or(0);
    String::from_utf16_lossy(&name[..length])
}

fn open_station(name: &str) -> Seen {
    if name == station() {
        return (OPEN, "both steps are on one window station".into());
    }
    let name = wide(name);
    // SAFETY: the name ends with a zero; the station is ours to close.
    unsafe {
        // WINSTA_READATTRIBUTES.
        let station = OpenWindowStationW(name.as_ptr(), 0, 0x2);
        if station.is_null() {
            return (CLOSED, format!("OpenWindowStation: error {}", last_error()));
        }
        CloseWindowStation(station);
    }
    (OPEN, "another step's window station opens".into())
}

fn registry() -> Seen {
    let path = wide(r"Software\orlop-self-test");
    let mut key = null_mut();
    // SAFETY: the path ends with a zero; the key is ours, is gone with the machine's next start and is deleted now.
    unsafe {
        let made = RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            0,
            null(),
            REG_OPTION_VOLATILE,
            KEY_WRITE,
            null(),
            &mut key,
            null_mut(),
        );
        if made != 0 {
            return (CLOSED, format!("a key below HKLM\\Software: error {made}"));
        }
        RegCloseKey(key);
        RegDeleteKeyW(HKEY_LOCAL_MACHINE, path.as_ptr());
    }
    (OPEN, "a key below HKLM\\Software is made".into())
}

fn services() -> Seen {
    type Open = unsafe extern "system" fn(*const u16, *const u16, u32) -> *mut c_void;
    type Close = unsafe extern "system" fn(*mut c_void) -> i32;
    const CREATE_SERVICE: u32 = 0x2;
    // SAFETY: the functions' published types.
    unsafe {
        let open = function::<Open>("advapi32.dll", c"OpenSCManagerW");
        let close = function::<Close>("advapi32.dll", c"CloseServiceHandle");
        let (Some(open), Some(close)) = (open, close) else {
            return (BROKEN, "no service manager".into());
        };
        let manager = open(null(), null(), CREATE_SERVICE);
        if manager.is_null() {
            return (CLOSED, format!("OpenSCManager: error {}", last_error()));
        }
        close(manager);
    }
    (OPEN, "the service manager would make a service".into())
}

/// Looks for console hosts of this job's processes that are not in the job.
fn conhosts() -> Seen {
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
    let family = |pid: u32| pid == first || all.iter().any(|(id, parent, _)| *id == pid && *parent == first);
    let host = |name: &str| name.to_ascii_lowercase().starts_with("conhost");
    let ours = all.iter().filter(|(_, parent, name)| host(name) && family(*parent));
    let (within, outside): (Vec<_>, Vec<_>) = ours.partition(|(id, ..)| inside(*id));
    let seen = format!("{} in the job, {} outside of it", within.len(), outside.len());
    (if outside.is_empty() { CLOSED } else { OPEN }, seen)
}

/// The same from outside, for a builder that is in no job itself: any job that they are in is the step's.
pub(super) fn hosts_from_outside(child: u32) -> (bool, String) {
    let first = list().into_iter().find(|(id, ..)| *id == child).map_or(0, |(_, parent, _)| parent);
    let (code, seen) = hosts(first, &in_a_job);
    (code == CLOSED, seen)
}

/// How many processes can be had at once beside this one.
fn processes(count: u32) -> Seen {
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

fn memory(megabytes: u32) -> Seen {
    let mut got = 0u32;
    while got < megabytes {
        // SAFETY: a fresh part of the address space; it is written to within its size.
        unsafe {
            let part = VirtualAlloc(null(), 1 << 20, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
            if part.is_null() {
                return (CLOSED, format!("{got} MiB, then error {}", last_error()));
            }
            (0..1 << 20).step_by(4096).for_each(|at| part.cast::<u8>().add(at).write_volatile(1));
        }
        got += 1;
    }
    (OPEN, format!("{got} MiB can be had"))
}

/// Uses as much of a processor as it gets, and tells how much that was.
fn spin(milliseconds: u32) -> Seen {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(u64::from(milliseconds)) {
        std::hint::spin_loop();
    }
    let mut times = [windows_sys::Win32::Foundation::FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: our own process; four structures.
    unsafe { GetProcessTimes(GetCurrentProcess(), created, ended, kernel, user) };
    let hundreds = |time: &windows_sys::Win32::Foundation::FILETIME| {
        u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
    };
    let used = (hundreds(kernel) + hundreds(user)) / 10_000;
    (CLOSED, format!("used={used} of={}", start.elapsed().as_millis()))
}

/// Starts processes, tells their ids and ends before them.
fn leave(count: u32, output: &mut dyn Write) -> i32 {
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
pub(super) fn alive(pid: u32) -> bool {
    list().iter().any(|(id, ..)| *id == pid)
}

/// A path that exists for sure, for checks of reading.
pub(super) fn secret(work: &Path) -> std::io::Result<std::path::PathBuf> {
    let path = work.join("not-the-steps.txt");
    fs::write(&path, "a secret of the builder's")?;
    Ok(path)
}
