//! The two terminals of `orlop run -t`: the job's own, and the caller's, whose keys and size it gets.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::termios::{OptionalActions, Termios, Winsize};

/// A size in characters.
pub(super) fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The caller's terminal in raw mode, so that every key reaches the job; put back when dropped.
#[derive(Debug)]
pub(super) struct RawTerminal {
    file: File,
    before: Termios,
    size: Option<(u16, u16)>,
}

impl RawTerminal {
    /// `None` when `file` is no terminal.
    pub(super) fn new(file: File) -> Option<Self> {
        let before = rustix::termios::tcgetattr(&file).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&file, OptionalActions::Flush, &raw).ok()?;
        Some(Self { file, before, size: None })
    }

    /// Gives the job's terminal the size of this one when that has changed.
    pub(super) fn follow_size(&mut self, job: &OwnedFd) {
        let Ok(now) = rustix::termios::tcgetwinsize(&self.file) else { return };
        let now = (now.ws_row, now.ws_col);
        if now.0 != 0
            && self.size != Some(now)
            && rustix::termios::tcsetwinsize(job, size(now.0, now.1)).is_ok()
        {
            self.size = Some(now);
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&self.file, OptionalActions::Drain, &self.before);
    }
}
