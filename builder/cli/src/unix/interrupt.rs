//! Ctrl-C: the first asks everything to end, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orlop_runner::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::diagnostics::{Failure, INTERRUPTED};

/// How long after the second Ctrl-C the command may still take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sets `cancel` when this process is asked to end, and what is returned with it: `cancel` alone may also
/// say that one part of a command failed and the others should stop.
pub(crate) fn watch(cancel: &CancelToken) -> Result<Arc<AtomicBool>, Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("cannot watch for signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let cancel = cancel.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&asked);
    let watcher = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            flag.store(true, Ordering::Release);
            cancel.cancel();
        }
        if signals.next().is_some() {
            cancel.kill();
            std::thread::sleep(PATIENCE);
            // Something waits for what does not come, such as an answer from the network.
            exit();
        }
    };
    std::thread::Builder::new().name("orlop-signals".to_owned()).spawn(watcher).map_err(failed)?;
    Ok(asked)
}

#[expect(clippy::exit, reason = "the main thread does not come back by itself")]
fn exit() -> ! {
    std::process::exit(INTERRUPTED.into())
}
