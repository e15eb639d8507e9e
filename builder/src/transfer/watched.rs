//! A stream that tells how far it is.

use std::io::{self, Read};

use orlop_store::Digest;

use super::REPORT;
use crate::event::{Action, Task};
use crate::request::Engine;

/// Reads, reports what passed, and stops when the user says so.
pub(crate) struct Watched<'a, R> {
    inner: R,
    engine: &'a Engine<'a>,
    task: &'a Task<'a>,
    label: Digest,
    size: Option<u64>,
    current: u64,
    told: u64,
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
        Self { inner, engine, task, label, size, current: 0, told: 0 }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.engine.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.inner.read(buffer)?;
        self.current += count as u64;
        if self.current - self.told >= REPORT {
            self.told = self.current;
            // The end is told by whoever knows that all of it is in its place.
            let current = self.size.map_or(self.current, |size| self.current.min(size.saturating_sub(1)));
            self.task.transfer(self.label, Action::Pull, current, self.size);
        }
        Ok(count)
    }
}
