//! A bounded queue of byte chunks between a thread and a task of the hidden runtime.
//!
//! Both ends work from either side: the blocking calls wait on a condition variable and so may be
//! used anywhere, even on a thread that drives a runtime of its own, where tokio's own blocking
//! calls panic.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::Error;
use crate::retry::{STOP_INTERVAL, Stop};

/// The writer went away without an end.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl From<Abandoned> for io::Error {
    fn from(_: Abandoned) -> Self {
        Self::new(io::ErrorKind::BrokenPipe, "the source of the stream went away")
    }
}

impl From<Abandoned> for Error {
    fn from(_: Abandoned) -> Self {
        Self::Cancelled
    }
}

struct State<E> {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Set once by the writer; what is queued still comes first.
    end: Option<Result<(), E>>,
    ended: bool,
    reader_gone: bool,
    reader_waker: Option<Waker>,
    writer_waker: Option<Waker>,
    taken: u64,
    last_taken: Instant,
    /// The reader found nothing when it last looked: a slow transfer is then the source's doing.
    starving: bool,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
    capacity: usize,
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, waker: Option<Waker>) {
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A pipe that holds about `capacity` bytes.
pub(crate) fn pipe<E>(capacity: usize) -> (Writer<E>, Reader<E>) {
    let state = State {
        queue: VecDeque::new(),
        queued: 0,
        end: None,
        ended: false,
        reader_gone: false,
        reader_waker: None,
        writer_waker: None,
        taken: 0,
        last_taken: Instant::now(),
        starving: true,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), capacity });
    (Writer(Arc::clone(&shared)), Reader(shared))
}

/// The end that puts chunks in.
pub(crate) struct Writer<E>(Arc<Shared<E>>);

impl<E> Writer<E> {
    fn put(&self, state: &mut State<E>, chunk: &mut Option<Bytes>) -> Option<bool> {
        if state.reader_gone {
            return Some(false);
        }
        if state.queued >= self.0.capacity {
            return None;
        }
        if let Some(chunk) = chunk.take() {
            state.queued += chunk.len();
            state.queue.push_back(chunk);
        }
        Some(true)
    }

    /// Puts a chunk in, waiting for room as long as nobody says stop. False when it is not wanted any more.
    pub(crate) fn send_blocking(&self, chunk: Bytes, stop: &Stop) -> bool {
        let mut chunk = Some(chunk);
        let mut state = self.0.lock();
        loop {
            if let Some(done) = self.put(&mut state, &mut chunk) {
                let waker = state.reader_waker.take();
                drop(state);
                self.0.wake(waker);
                return done;
            }
            let woken = self.0.changed.wait_timeout(state, STOP_INTERVAL);
            let (again, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if waited.timed_out() && stop.is_asked() {
                return false;
            }
        }
    }

    /// The same for a task.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        let mut chunk = Some(chunk);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match self.put(&mut state, &mut chunk) {
                Some(done) => {
                    let waker = state.reader_waker.take();
                    drop(state);
                    self.0.wake(waker);
                    Poll::Ready(done)
                }
                None => {
                    state.writer_waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Ends the stream, well or with an error.
    pub(crate) fn finish(self, end: Result<(), E>) {
        let mut state = self.0.lock();
        state.end = Some(end);
        state.ended = true;
        drop(state);
    }

    /// Watches how the reader gets on.
    pub(crate) fn monitor(&self) -> Monitor<E> {
        Monitor(Arc::clone(&self.0))
    }
}

impl<E> Drop for Writer<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        let waker = state.reader_waker.take();
        drop(state);
        self.0.wake(waker);
    }
}

/// The end that takes chunks out.
pub(crate) struct Reader<E>(Arc<Shared<E>>);

impl<E: From<Abandoned>> Reader<E> {
    fn take(state: &mut State<E>) -> Option<Option<Result<Bytes, E>>> {
        if let Some(chunk) = state.queue.pop_front() {
            state.queued -= chunk.len();
            state.taken += chunk.len() as u64;
            state.last_taken = Instant::now();
            state.starving = false;
            return Some(Some(Ok(chunk)));
        }
        if state.ended {
            // After the end was told once, a further look finds a plain end.
            let end = state.end.replace(Ok(())).unwrap_or_else(|| Err(Abandoned.into()));
            return Some(end.err().map(Err));
        }
        state.starving = true;
        None
    }

    /// The next chunk, waiting for it as long as nobody says stop; nothing at the end.
    pub(crate) fn recv_blocking(&self, stop: &Stop) -> Option<Result<Bytes, E>> {
        let mut state = self.0.lock();
        loop {
            if let Some(item) = Self::take(&mut state) {
                let waker = state.writer_waker.take();
                drop(state);
                self.0.wake(waker);
                return item;
            }
            let woken = self.0.changed.wait_timeout(state, STOP_INTERVAL);
            let (again, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if waited.timed_out() && stop.is_asked() {
                return Some(Err(Abandoned.into()));
            }
        }
    }
}

impl<E: From<Abandoned>> futures_core::Stream for Reader<E> {
    type Item = Result<Bytes, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.lock();
        match Self::take(&mut state) {
            Some(item) => {
                let waker = state.writer_waker.take();
                drop(state);
                self.0.wake(waker);
                Poll::Ready(item)
            }
            None => {
                state.reader_waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<E> Drop for Reader<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.queue.clear();
        let waker = state.writer_waker.take();
        drop(state);
        self.0.wake(waker);
    }
}

/// What a task of a client downloads, read on any thread.
pub(crate) struct ChunkReader {
    reader: Reader<Error>,
    chunk: Bytes,
    failed: bool,
    task: JoinHandle<()>,
    /// Keeps the runtime alive, and knows what is not to be shown.
    client: Client,
}

impl ChunkReader {
    pub(crate) fn new(reader: Reader<Error>, task: JoinHandle<()>, client: Client) -> Self {
        Self { reader, chunk: Bytes::new(), failed: false, task, client }
    }
}

impl fmt::Debug for ChunkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            if self.failed {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the download failed before"));
            }
            match self.reader.recv_blocking(&self.client.stop) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(e)) => {
                    self.failed = true;
                    return Err(self.client.masked(e).into_io());
                }
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl Drop for ChunkReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far the reader is.
pub(crate) struct Monitor<E>(Arc<Shared<E>>);

impl<E> Monitor<E> {
    /// Since when the reader could have taken bytes and did not; nothing while it waits for the writer.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        let state = self.0.lock();
        (!state.starving && !state.queue.is_empty()).then(|| state.last_taken.elapsed())
    }

    /// Whether all was written and taken, and how long ago the last chunk was.
    pub(crate) fn drained_for(&self) -> Option<Duration> {
        let state = self.0.lock();
        (state.ended && state.queue.is_empty()).then(|| state.last_taken.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_then_end_then_nothing() {
        let (writer, reader) = pipe::<io::Error>(4);
        let thread = std::thread::spawn(move || {
            for part in ["abcdef", "gh"] {
                assert!(writer.send_blocking(Bytes::from_static(part.as_bytes()), &Stop::default()));
            }
            writer.finish(Ok(()));
        });
        let mut got = Vec::new();
        while let Some(chunk) = reader.recv_blocking(&Stop::default()) {
            got.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(got, b"abcdefgh");
        assert!(reader.recv_blocking(&Stop::default()).is_none());
        thread.join().unwrap();
    }

    #[test]
    fn a_vanished_writer_is_no_end_and_a_vanished_reader_stops_the_writer() {
        let (writer, reader) = pipe::<io::Error>(4);
        writer.send_blocking(Bytes::from_static(b"x"), &Stop::default());
        drop(writer);
        let never = Stop::default();
        assert!(reader.recv_blocking(&never).unwrap().is_ok());
        assert_eq!(reader.recv_blocking(&never).unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (writer, reader) = pipe::<io::Error>(1);
        let put = move || while writer.send_blocking(Bytes::from_static(b"xy"), &Stop::default()) {};
        let thread = std::thread::spawn(put);
        drop(reader);
        thread.join().unwrap();
    }

    #[test]
    fn who_waits_for_room_can_be_stopped() {
        let (writer, _reader) = pipe::<io::Error>(1);
        let stop = Stop::new(|| true);
        assert!(writer.send_blocking(Bytes::from_static(b"xy"), &stop), "there is room");
        assert!(!writer.send_blocking(Bytes::from_static(b"xy"), &stop));
    }
}
