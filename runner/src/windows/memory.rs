//! The environment of another process, in its memory: read, and put in place before it runs.
//!
//! For a process in an AppContainer the system makes its own of three variables (`LOCALAPPDATA`, `TEMP` and `TMP`
//! lead into the container's profile, which is deleted after the step), whatever environment it is given. So the
//! one that was asked for is written into the process while it is suspended. The layout is that of every 64-bit
//! Windows since Vista, and what is there is looked at before anything is written.
#![expect(unsafe_code, reason = "another process's memory, by the system's published layout")]

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr::{null, null_mut};

use super::identity::Failure;
use super::library::function;

/// Offsets in the process environment block and the process's parameters, of 64-bit processes.
const PARAMETERS: usize = 0x20;
const ENVIRONMENT: usize = 0x80;
const ENVIRONMENT_SIZE: usize = 0x3f0;
const PAGE: usize = 4096;
/// As much of an environment as is looked at.
const MOST: usize = 32 * PAGE;
/// No environment of a process that has not run is larger, in bytes.
const LARGEST: usize = 1 << 20;

/// Gives a process that has not run yet exactly the environment `block`. Does nothing where it has it.
///
/// # Errors
/// The call that failed; the process then has the environment that the system gave it.
pub(super) fn set_environment(process: BorrowedHandle<'_>, block: &[u16]) -> Result<(), Failure> {
    const UNKNOWN: Failure = Failure { call: "NtQueryInformationProcess", code: 13 };
    let parameters = self::block(process).and_then(|peb| pointer(process, peb.checked_add(PARAMETERS)?));
    let parameters = parameters.ok_or(UNKNOWN)?;
    let at = |offset: usize| parameters.checked_add(offset).ok_or(UNKNOWN);
    let start = pointer(process, at(ENVIRONMENT)?).ok_or(UNKNOWN)?;
    let size = pointer(process, at(ENVIRONMENT_SIZE)?).unwrap_or(0);
    let wanted: Vec<u8> = block.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let mut there = vec![0; wanted.len()];
    if read(process, start, &mut there) == there.len() && there == wanted {
        return Ok(());
    }
    // It is the size of what is there, or the layout is another: an environment ends with two zeros.
    if size < 4 || !size.is_multiple_of(2) || size > LARGEST {
        return Err(UNKNOWN);
    }
    let mut last = [1; 4];
    let end = start.checked_add(size - last.len()).ok_or(UNKNOWN)?;
    if read(process, end, &mut last) != last.len() || last != [0; 4] {
        return Err(UNKNOWN);
    }
    let place = allocate(process, wanted.len())?;
    write(process, place, &wanted)?;
    // It has not run: nobody sees the one without the other.
    write(process, at(ENVIRONMENT)?, &place.to_le_bytes())?;
    write(process, at(ENVIRONMENT_SIZE)?, &wanted.len().to_le_bytes())
}

fn allocate(process: BorrowedHandle<'_>, size: usize) -> Result<usize, Failure> {
    type Allocate = unsafe extern "system" fn(*mut c_void, *const c_void, usize, u32, u32) -> *mut c_void;
    const CALL: &str = "VirtualAllocEx";
    // MEM_COMMIT and MEM_RESERVE, PAGE_READWRITE.
    // SAFETY: the function's published type; the memory is the other process's.
    let place = unsafe {
        let allocate =
            function::<Allocate>("kernel32.dll", c"VirtualAllocEx").ok_or(Failure::missing(CALL))?;
        allocate(process.as_raw_handle(), null(), size, 0x3000, 0x4)
    };
    if place.is_null() { Err(Failure::last(CALL)) } else { Ok(place.addr()) }
}

fn write(process: BorrowedHandle<'_>, at: usize, bytes: &[u8]) -> Result<(), Failure> {
    type Write = unsafe extern "system" fn(*mut c_void, *mut c_void, *const c_void, usize, *mut usize) -> i32;
    const CALL: &str = "WriteProcessMemory";
    let mut done = 0;
    // SAFETY: the function's published type; an address in the other process, which the call checks.
    let wrote = unsafe {
        let write = function::<Write>("kernel32.dll", c"WriteProcessMemory").ok_or(Failure::missing(CALL))?;
        write(process.as_raw_handle(), at as *mut c_void, bytes.as_ptr().cast(), bytes.len(), &mut done)
    };
    if wrote == 0 || done != bytes.len() { Err(Failure::last(CALL)) } else { Ok(()) }
}

/// A process's environment as it is now; what is there may be anything.
pub(super) fn environment(process: BorrowedHandle<'_>) -> Option<Vec<u16>> {
    let parameters = pointer(process, block(process)?.checked_add(PARAMETERS)?)?;
    let start = pointer(process, parameters.checked_add(ENVIRONMENT)?)?;
    let mut bytes = Vec::new();
    while bytes.len() < MOST {
        let at = start.checked_add(bytes.len())?;
        let mut part = vec![0u8; PAGE - at % PAGE];
        let got = read(process, at, &mut part);
        bytes.extend_from_slice(&part[..got]);
        if got < part.len() {
            break;
        }
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    (units.len() > 1).then_some(units)
}

/// The address of its environment block.
pub(super) fn block(process: BorrowedHandle<'_>) -> Option<usize> {
    type Query = unsafe extern "system" fn(*mut c_void, u32, *mut c_void, u32, *mut u32) -> i32;
    // ProcessBasicInformation: the second of six words.
    let mut words = [0usize; 6];
    let size = size_of_val(&words) as u32;
    // SAFETY: the function's published type; the buffer has as many bytes as is said.
    let status = unsafe {
        let query = function::<Query>("ntdll.dll", c"NtQueryInformationProcess")?;
        query(process.as_raw_handle(), 0, words.as_mut_ptr().cast(), size, null_mut())
    };
    (status == 0 && words[1] != 0).then_some(words[1])
}

fn pointer(process: BorrowedHandle<'_>, at: usize) -> Option<usize> {
    let mut bytes = [0u8; size_of::<usize>()];
    let whole = read(process, at, &mut bytes) == bytes.len();
    Some(usize::from_le_bytes(bytes)).filter(|value| whole && *value != 0)
}

/// How many bytes could be read.
fn read(process: BorrowedHandle<'_>, at: usize, buffer: &mut [u8]) -> usize {
    type Read = unsafe extern "system" fn(*mut c_void, *const c_void, *mut c_void, usize, *mut usize) -> i32;
    let mut got = 0;
    // SAFETY: the function's published type.
    let Some(read) = (unsafe { function::<Read>("kernel32.dll", c"ReadProcessMemory") }) else { return 0 };
    // SAFETY: an address in the other process, which the call checks; a buffer of ours and its size.
    let done = unsafe {
        read(process.as_raw_handle(), at as *const c_void, buffer.as_mut_ptr().cast(), buffer.len(), &mut got)
    };
    if done == 0 { 0 } else { got.min(buffer.len()) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "starts a program to look at what it sees")]
mod tests {
    use std::io::Read;
    use std::os::windows::io::AsHandle;
    use std::os::windows::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// A program that shows its environment, not running yet.
    fn suspended() -> std::process::Child {
        const CREATE_SUSPENDED: u32 = 4;
        let mut command = Command::new("cmd.exe");
        command
            .args(["/D", "/C", "set"])
            .env_clear()
            .env("LOCALAPPDATA", r"C:\the\systems")
            .stdin(Stdio::null());
        command.stdout(Stdio::piped()).creation_flags(CREATE_SUSPENDED).spawn().expect("started")
    }

    fn shown(mut child: std::process::Child) -> String {
        type Resume = unsafe extern "system" fn(*mut c_void) -> i32;
        // SAFETY: the function's type; our own child.
        let status = unsafe {
            function::<Resume>("ntdll.dll", c"NtResumeProcess").expect("there")(child.as_raw_handle())
        };
        assert_eq!(status, 0);
        let mut text = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("read");
        assert!(child.wait().expect("it ends").success());
        text
    }

    #[test]
    fn a_process_gets_the_environment_that_was_asked_for() {
        let long = "x".repeat(20_000);
        let wanted = format!("LOCALAPPDATA=C:\\asked\0LONG={long}\0TEMP=C:\\t\0\0");
        let wanted: Vec<u16> = wanted.encode_utf16().collect();
        let child = suspended();
        set_environment(child.as_handle(), &wanted).expect("written");
        let there = environment(child.as_handle()).expect("read");
        assert_eq!(there[..wanted.len()], wanted);
        set_environment(child.as_handle(), &wanted).expect("it has it");
        let text = shown(child);
        for line in [r"LOCALAPPDATA=C:\asked", r"TEMP=C:\t", &format!("LONG={long}")] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
        assert!(!text.contains("the\\systems"), "{text}");
    }
}
