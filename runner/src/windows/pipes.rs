//! A job's standard handles: our ends and its ends.
#![expect(unsafe_code, reason = "anonymous pipes and standard handles")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use windows_sys::Win32::System::Console::GetConsoleMode;
use windows_sys::Win32::System::Pipes::CreatePipe;

use super::supervise::Happened;
use crate::{RunError, Stdin, Stream};

/// Bytes that a pipe holds before its writer waits.
const PIPE: u32 = 64 << 10;

/// A pipe of which neither end is inherited: reading end, writing end.
pub(super) fn pipe() -> io::Result<(OwnedHandle, OwnedHandle)> {
    use std::os::windows::io::FromRawHandle;
    let (mut read, mut write) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: no attributes; both handles are ours.
    unsafe {
        match CreatePipe(&mut read, &mut write, null(), PIPE) {
            0 => Err(io::Error::last_os_error()),
            _ => Ok((OwnedHandle::from_raw_handle(read), OwnedHandle::from_raw_handle(write))),
        }
    }
}

/// The job's standard input.
///
/// # Errors
/// [`RunError::Unsupported`] for a console of ours: the job has one of its own.
pub(super) fn stdin(stdin: &Stdin) -> Result<OwnedHandle, RunError> {
    let failed = |source| RunError::Setup { step: "use the job's standard input".into(), source, hint: None };
    let handle = match stdin {
        Stdin::Null => None,
        Stdin::Inherit => {
            let own = io::stdin();
            let own = own.as_handle();
            (!own.as_raw_handle().is_null()).then(|| own.try_clone_to_owned()).transpose().map_err(failed)?
        }
        Stdin::File(file) => Some(file.as_handle().try_clone_to_owned().map_err(failed)?),
    };
    let Some(handle) = handle else {
        return OpenOptions::new().read(true).open("NUL").map(OwnedHandle::from).map_err(failed);
    };
    let mut mode = 0;
    // SAFETY: an open handle.
    if unsafe { GetConsoleMode(handle.as_raw_handle(), &mut mode) } != 0 {
        return Err(RunError::Unsupported {
            what: "a console as standard input".into(),
            why: "the job has a console of its own".into(),
            hint: Some("give it a file or a pipe, such as `orlop run … < NUL`".into()),
        });
    }
    Ok(handle)
}

/// Reads one stream to its end on a thread of its own. The channel is bounded: a slow reader slows the job down.
pub(super) fn read(pipe: OwnedHandle, stream: Stream, to: SyncSender<Happened>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = File::from(pipe);
        let mut buffer = vec![0; 32 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if to.send(Happened::Output(stream, buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A broken pipe is its end; any other error is one too.
                Err(_) => break,
            }
        }
        // Nobody listens any more where the job was given up.
        let _ = to.send(Happened::Closed);
    })
}
