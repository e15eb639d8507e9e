//! Ctrl-C and Ctrl-Break: the first asks everything to end, the second ends it at once. A console window that
//! is closed, a logoff and a shutdown leave no time for the first.

#![expect(unsafe_code, reason = "the console's calls")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orlop_runner::CancelToken;
use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};

use crate::diagnostics::{Failure, INTERRUPTED};

/// How long after the second Ctrl-C the command may still take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the system lets a program live whose window is closed: five seconds, of which we leave one.
const CLOSING: Duration = Duration::from_secs(4);

struct Watched {
    cancel: CancelToken,
    asked: Arc<AtomicBool>,
    times: AtomicU32,
}

static WATCHED: OnceLock<Watched> = OnceLock::new();

/// Sets `cancel` when this process is asked to end, and what is returned with it: `cancel` alone may also
/// say that one part of a command failed and the others should stop.
pub(crate) fn watch(cancel: &CancelToken) -> Result<Arc<AtomicBool>, Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    let watched = Watched { cancel: cancel.clone(), asked: Arc::clone(&asked), times: AtomicU32::new(0) };
    if WATCHED.set(watched).is_err() {
        return Err(Failure::internal("Ctrl-C is watched for already"));
    }
    // SAFETY: a function of this program, which is never unloaded. A null handler with FALSE undoes what a
    // parent may have handed down: that Ctrl-C is ignored.
    let set = unsafe {
        SetConsoleCtrlHandler(None, FALSE);
        SetConsoleCtrlHandler(Some(handle), TRUE)
    };
    if set == FALSE {
        let error = std::io::Error::last_os_error();
        return Err(Failure::internal(format!("cannot watch for Ctrl-C: {error}")));
    }
    Ok(asked)
}

/// Called by the system, each time on a thread of its own.
unsafe extern "system" fn handle(event: u32) -> i32 {
    let Some(watched) = WATCHED.get() else { return FALSE };
    watched.asked.store(true, Ordering::Release);
    let ends = !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT);
    let again = watched.times.fetch_add(1, Ordering::AcqRel) > 0;
    if !ends && !again {
        watched.cancel.cancel();
        return TRUE;
    }
    watched.cancel.kill();
    // The main thread ends the process when it can; something may wait for what does not come, such as an
    // answer from the network. For a closed window the system itself ends us when this returns.
    std::thread::sleep(if ends { CLOSING } else { PATIENCE });
    exit()
}

#[expect(clippy::exit, reason = "the main thread does not come back by itself")]
fn exit() -> ! {
    std::process::exit(INTERRUPTED.into())
}
