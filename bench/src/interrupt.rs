//! Ctrl-C and SIGTERM: what runs is ended, and everything is put away.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal is remembered instead of ending this process.
pub(crate) fn listen() -> io::Result<()> {
    let flag = ASKED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether somebody asked us to stop.
pub(crate) fn asked() -> bool {
    ASKED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error where somebody did.
pub(crate) fn check() -> io::Result<()> {
    if asked() { Err(io::Error::other("interrupted")) } else { Ok(()) }
}
