//! Streams that tell how far they are, and stop when they are told to.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use orlop_store::Digest;

use crate::event::{Action, Task};
use crate::request::Engine;

/// Bytes that pass between two reports.
const REPORT: u64 = 256 << 10;

/// Says how far a transfer is, not at every piece.
pub(crate) struct Told<'a> {
    task: &'a Task<'a>,
    label: Digest,
    action: Action,
    size: Option<u64>,
    told: AtomicU64,
}

impl<'a> Told<'a> {
    /// Of so many bytes where that is known, under the name `label` in progress.
    pub(crate) fn new(task: &'a Task<'a>, label: Digest, action: Action, size: Option<u64>) -> Self {
        Self { task, label, action, size, told: AtomicU64::new(0) }
    }

    /// So many bytes have passed by now; fewer than before where something was begun anew.
    pub(crate) fn report(&self, current: u64) {
        let before = self.told.load(Ordering::Relaxed);
        if current < before || current - before >= REPORT {
            self.told.store(current, Ordering::Relaxed);
            // The end is told by whoever knows that all of it is in its place.
            let most = self.size.map_or(u64::MAX, |size| size.saturating_sub(1));
            self.task.transfer(self.label, self.action, current.min(most), self.size);
        }
    }
}

/// Reads until `stop` says so.
pub(crate) struct Stoppable<R, F> {
    inner: R,
    stop: F,
}

impl<R, F: Fn() -> bool> Stoppable<R, F> {
    pub(crate) fn new(inner: R, stop: F) -> Self {
        Self { inner, stop }
    }

    fn check(&self) -> io::Result<()> {
        if (self.stop)() { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

impl<R: Read, F: Fn() -> bool> Read for Stoppable<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<R: BufRead, F: Fn() -> bool> BufRead for Stoppable<R, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}

/// Reads, reports what passed, and stops when the user says so.
pub(crate) struct Watched<'a, R> {
    inner: R,
    engine: &'a Engine<'a>,
    told: Told<'a>,
    current: u64,
}

impl<'a, R> Watched<'a, R> {
    /// The stream `inner`, of so many bytes where that is known, under the name `label` in progress.
    pub(crate) fn new(
        engine: &'a Engine<'a>,
        task: &'a Task<'a>,
        inner: R,
        label: Digest,
        size: Option<u64>,
    ) -> Self {
        Self { inner, engine, told: Told::new(task, label, Action::Pull, size), current: 0 }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.engine.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.inner.read(buffer)?;
        self.current += count as u64;
        self.told.report(self.current);
        Ok(count)
    }
}
