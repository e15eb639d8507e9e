//! The console that we write to.

#![expect(unsafe_code, reason = "the console's calls")]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{FALSE, HANDLE};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_ECHO_INPUT, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode,
    GetConsoleScreenBufferInfo, SetConsoleMode,
};

/// Columns of the console window behind standard error, where it is one.
pub(crate) fn width() -> Option<usize> {
    // SAFETY: a plain structure, filled by the call.
    let info = unsafe {
        let mut info: CONSOLE_SCREEN_BUFFER_INFO = std::mem::zeroed();
        if GetConsoleScreenBufferInfo(stderr(), &mut info) == FALSE {
            return None;
        }
        info
    };
    // Of the window, not of the buffer behind it, which may be much wider.
    let columns = i32::from(info.srWindow.Right) - i32::from(info.srWindow.Left) + 1;
    usize::try_from(columns).ok().filter(|&columns| columns > 0)
}

/// Whether escape sequences move the cursor and set colours. Consoles since Windows 10 and Server 2016 do
/// when they are asked to; older ones show them as they are.
pub(crate) fn takes_escapes() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| {
        let mut mode = 0;
        // SAFETY: one number is written; what is no console is an error.
        unsafe {
            GetConsoleMode(stderr(), &mut mode) != FALSE
                && SetConsoleMode(stderr(), mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != FALSE
        }
    })
}

/// Standard output as a file of its own.
pub(crate) fn stdout_file() -> io::Result<File> {
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

/// Reads a line from the console behind standard input without showing it. Ctrl-C ends the program, whose console
/// mode goes with it.
pub(crate) fn read_hidden() -> io::Result<Option<String>> {
    let stdin = io::stdin().as_raw_handle();
    let mut mode = 0;
    // SAFETY: one number is written; what is no console is an error.
    let hidden = unsafe {
        GetConsoleMode(stdin, &mut mode) != FALSE && SetConsoleMode(stdin, mode & !ENABLE_ECHO_INPUT) != FALSE
    };
    if !hidden {
        return Err(io::Error::last_os_error());
    }
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    // SAFETY: the mode is the one that was read above.
    unsafe { SetConsoleMode(stdin, mode) };
    read?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn stderr() -> HANDLE {
    io::stderr().as_raw_handle()
}
