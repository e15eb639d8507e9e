//! The roles of the steps that a self-test starts: each tries one thing and tells by its exit code whether it is
//! closed (0), open (1) or could not be tried (2), with a line of what it saw.
#![expect(unsafe_code, reason = "attacks what the system may not give")]

mod devices;
mod planted;
mod processes;
mod services;

use std::ffi::c_void;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{FILETIME, GetLastError, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::{
    InitializeSecurityDescriptor, SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorDacl,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_WRITE, MEM_COMMIT, MEM_RESERVE, OpenFileMappingW, PAGE_EXECUTE_READWRITE,
    PAGE_READWRITE, VirtualAlloc,
};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, KEY_WRITE, REG_OPTION_VOLATILE, RegCloseKey, RegCreateKeyExW, RegDeleteKeyW,
};
use windows_sys::Win32::System::StationsAndDesktops::{
    CloseDesktop, CloseWindowStation, GetProcessWindowStation, GetThreadDesktop, GetUserObjectInformationW,
    OpenWindowStationW, UOI_NAME,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThreadId, GetProcessTimes};

use super::bench::{ABSENT, CLOSED, OPEN};
use crate::windows::identity::{Calls, Windows};
use crate::windows::library::{function, wide};

pub(super) use devices::remove_letter;
pub(super) use planted::{NAMES, STREAM};
pub(super) use processes::{alive, end_own, hosts_from_outside};
pub(super) use services::{MARK, clear, entry_name};

/// The exit code of an attack that could not be tried.
const BROKEN: i32 = 2;

type Seen = (i32, String);

/// Runs a role.
pub(super) fn run(words: &[&str], output: &mut dyn Write) -> i32 {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let (code, seen) = match *words {
        ["exit", code] => (number(code) as i32, "ended".into()),
        ["token"] => token(),
        ["open-process", pid] => processes::open_process(number(pid)),
        ["reparent", pid] => processes::reparent(number(pid)),
        ["reparent-any"] => processes::reparent_any(),
        ["breakaway"] => processes::breakaway(),
        ["handle", value] => handle(value),
        ["write", path] => told("writing outside the root", fs::write(path, "written by a step")),
        ["read", path] => told("reading outside the root", fs::read(path)),
        ["connect", address] => connect(address),
        ["open-section", name] => open_section(name),
        ["open-station", name] => open_station(name),
        ["registry"] => registry(),
        ["create-service", name] => services::create_service(name),
        ["wmi", _] => services::wmi(),
        ["task-scheduler", name] => services::task(name),
        ["mark"] => return services::mark(),
        ["plant-links", target] => planted::links(target),
        ["plant-stream"] => planted::stream(),
        ["plant-names"] => planted::names(),
        ["define-letter", letter, seconds] => return devices::define(letter, seconds, output),
        ["letter"] => return devices::letter(output),
        ["open-pipe", name] => devices::open_pipe(name),
        ["pipe", name, seconds] => match devices::pipe(name) {
            Ok(_pipe) => return stay(name, seconds, output),
            Err(error) => (BROKEN, format!("no pipe could be made: error {error}")),
        },
        ["dynamic-code"] => dynamic_code(),
        ["conhost"] => processes::conhosts(),
        ["processes", count] => processes::processes(number(count)),
        ["memory", megabytes] => memory(number(megabytes)),
        ["spin", milliseconds] => spin(number(milliseconds)),
        ["escape", program] => return processes::escape(program == "own", output),
        ["leave", count] => return processes::leave(number(count), output),
        ["sleep", seconds] => return stay(&std::process::id().to_string(), seconds, output),
        ["sleep-child", seconds] => match processes::spawn(&format!("sleep {seconds}"), 0, None) {
            // A moment for whoever watches the job to see it.
            Ok(process) => {
                std::thread::sleep(Duration::from_millis(300));
                return stay(&processes::id(&process).to_string(), seconds, output);
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

/// The names of this process's window station and of this thread's desktop.
fn station() -> String {
    let name_of = |object| {
        let mut name = [0u16; 256];
        let (size, mut needed) = (size_of_val(&name) as u32, 0);
        // SAFETY: the buffer has as many bytes as is said.
        unsafe {
            GetUserObjectInformationW(object, UOI_NAME, name.as_mut_ptr().cast(), size, &mut needed);
        }
        let length = name.iter().position(|&unit| unit == 0).unwrap_or(0);
        String::from_utf16_lossy(&name[..length])
    };
    // SAFETY: both are this process's own and are not closed.
    let own: [*mut c_void; 2] =
        unsafe { [GetProcessWindowStation(), GetThreadDesktop(GetCurrentThreadId())] };
    own.map(name_of).join("\\")
}

/// Opens another step's window station; where steps share their builder's, its desktop there.
fn open_station(name: &str) -> Seen {
    let own = station();
    let (own, _) = own.split_once('\\').unwrap_or_default();
    let (station, desktop) = name.split_once('\\').unwrap_or_default();
    if own == station {
        return open_desktop(desktop);
    }
    let name = wide(station);
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

fn open_desktop(name: &str) -> Seen {
    type Open = unsafe extern "system" fn(*const u16, u32, i32, u32) -> *mut c_void;
    let name = wide(name);
    // SAFETY: the function's published type; the name ends with a zero.
    unsafe {
        let Some(open) = function::<Open>("user32.dll", c"OpenDesktopW") else {
            return (BROKEN, "no OpenDesktopW".into());
        };
        // DESKTOP_READOBJECTS.
        let desktop = open(name.as_ptr(), 0, 0, 0x1);
        if desktop.is_null() {
            return (CLOSED, format!("OpenDesktop: error {}", last_error()));
        }
        CloseDesktop(desktop);
    }
    (OPEN, "another step's desktop opens".into())
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

/// Memory that can be written and executed.
fn dynamic_code() -> Seen {
    // SAFETY: a fresh part of the address space, which nothing is done with.
    let part = unsafe { VirtualAlloc(null(), 4096, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE) };
    match part.is_null() {
        true => (CLOSED, format!("VirtualAlloc: error {}", last_error())),
        false => (OPEN, "memory can be written and executed".into()),
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
    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: our own process; four structures.
    unsafe { GetProcessTimes(GetCurrentProcess(), created, ended, kernel, user) };
    let hundreds = |time: &FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    let used = (hundreds(kernel) + hundreds(user)) / 10_000;
    (CLOSED, format!("used={used} of={}", start.elapsed().as_millis()))
}

/// A path that exists for sure, for checks of reading.
pub(super) fn secret(work: &Path) -> std::io::Result<std::path::PathBuf> {
    let path = work.join("not-the-steps.txt");
    fs::write(&path, "a secret of the builder's")?;
    Ok(path)
}
