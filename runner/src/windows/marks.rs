//! By what a process is known as a step's when its token does not tell: where its program is, and what its environment
//! says.
//!
//! A process that a step starts under another parent has that parent's token and is in that parent's job. Where the
//! system cannot keep a step from doing so (see `HOLES.md`), these two are left: a program inside the step's own
//! directories, and `ORLOP_ROOT`, which is inherited from whoever really started it. A program that hides both on
//! purpose is not found so.
#![expect(unsafe_code, reason = "asks what another process runs, and opens it")]

use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};

use windows_sys::Win32::System::Threading::{
    GetProcessId, OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_INFORMATION, PROCESS_VM_READ,
    QueryFullProcessImageNameW,
};

use super::memory;

/// Whether a process bears a step's marks. `None` where it is too young to have any.
pub(super) fn bears(process: BorrowedHandle<'_>, places: &[PathBuf], root: &Path) -> Option<bool> {
    if image(process).is_some_and(|image| places.iter().any(|place| below(&image, place))) {
        return Some(true);
    }
    // Whom we may not read is no process of ours that was started under another parent.
    let Some(process) = readable(process) else { return Some(false) };
    let environment = memory::environment(process.as_handle())?;
    let mark: Vec<u16> =
        "ORLOP_ROOT=".encode_utf16().chain(root.as_os_str().encode_wide()).chain([0]).collect();
    Some(holds(&environment, &mark))
}

/// Whether a path is inside a directory, whatever the case of their names.
fn below(path: &Path, directory: &Path) -> bool {
    let plain = |path: &Path| {
        path.to_string_lossy().trim_start_matches(r"\\?\").trim_end_matches('\\').to_lowercase()
    };
    let (path, directory) = (plain(path), plain(directory));
    path.strip_prefix(&directory).is_some_and(|rest| rest.starts_with('\\'))
}

/// Whether a variable is among those of an environment, whatever its case.
fn holds(environment: &[u16], mark: &[u16]) -> bool {
    let lower =
        |unit: u16| char::from_u32(u32::from(unit)).map_or(unit, |c| c.to_ascii_lowercase() as u32 as u16);
    let begins = |at: usize| at == 0 || environment[at - 1] == 0;
    let same = |window: &[u16]| window.iter().zip(mark).all(|(one, other)| lower(*one) == lower(*other));
    environment.windows(mark.len()).enumerate().any(|(at, window)| begins(at) && same(window))
}

/// The file of a process's program.
fn image(process: BorrowedHandle<'_>) -> Option<PathBuf> {
    let mut path = vec![0u16; 32_768];
    let mut length = path.len() as u32;
    // SAFETY: the buffer has as many units as is said.
    let got = unsafe {
        QueryFullProcessImageNameW(
            process.as_raw_handle(),
            PROCESS_NAME_WIN32,
            path.as_mut_ptr(),
            &mut length,
        )
    };
    let path = path.get(..length as usize).filter(|_| got != 0)?;
    Some(String::from_utf16_lossy(path).into())
}

/// The process again, with the right to read its memory.
fn readable(process: BorrowedHandle<'_>) -> Option<OwnedHandle> {
    let access = PROCESS_QUERY_INFORMATION | PROCESS_VM_READ;
    // Its id is its own as long as we have it open.
    // SAFETY: an open process; the new handle is ours.
    unsafe {
        let process = OpenProcess(access, 0, GetProcessId(process.as_raw_handle()));
        (!process.is_null()).then(|| OwnedHandle::from_raw_handle(process))
    }
}

/// Whether it has got as far as to have an environment block.
pub(super) fn has_block(process: &OwnedHandle) -> bool {
    memory::block(process.as_handle()).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::identity::object::own_process;
    use super::*;

    #[test]
    fn programs_are_looked_for_below_directories() {
        let at = |path: &str, directory: &str| below(Path::new(path), Path::new(directory));
        assert!(at(r"C:\work\Root\a.exe", r"\\?\c:\WORK\root"));
        assert!(!at(r"C:\work\rootless\a.exe", r"C:\work\root"));
        assert!(!at(r"C:\work\root", r"C:\work\root"));
    }

    #[test]
    fn variables_are_found_whole() {
        let wide = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        let all = wide("A=1\0orlop_root=C:\\x\0Z=\0\0");
        assert!(holds(&all, &wide("ORLOP_ROOT=c:\\X\0")));
        assert!(!holds(&all, &wide("ORLOP_ROOT=C:\\\0")), "not a part of the value");
        assert!(!holds(&all, &wide("ROOT=C:\\x\0")), "not a part of the name");
        assert!(!holds(&[], &wide("A=1\0")));
    }

    #[test]
    fn this_process_bears_the_marks_that_it_has() {
        let own = own_process();
        let program = std::env::current_exe().expect("the program's own path");
        let places = [program.parent().expect("a directory").to_owned()];
        assert_eq!(bears(own, &places, Path::new(r"C:\none")), Some(true));
        assert_eq!(bears(own, &[], Path::new(r"C:\none")), Some(false), "its environment can be read");
    }
}
