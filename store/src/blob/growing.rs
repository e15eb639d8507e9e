//! A blob that is read while it is being written: a push sends the first bytes of a layer while the last ones are
//! still being compressed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::descriptor::Descriptor;
use crate::trace::Trace;

/// How far the writer is.
#[derive(Debug)]
struct State {
    written: u64,
    end: End,
    /// Nobody wants the blob any more.
    abandoned: bool,
}

#[derive(Clone, Debug)]
enum End {
    NotYet,
    Whole(Box<Descriptor>),
    /// The writer gave up; its own error says why.
    Failed,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob in the making, for those who read along. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GrowingBlob {
    /// Opened before the blob is renamed into its place: each reader reads at places of its own.
    file: Arc<File>,
    shared: Arc<Shared>,
    trace: Trace,
}

impl GrowingBlob {
    /// The content from its first byte. A read waits for bytes that are not written yet; the end comes when the blob
    /// is whole. Nothing has verified the bytes: they are being made here.
    pub fn open(&self) -> impl Read + Send + use<> {
        Along { blob: self.clone(), at: 0 }
    }

    /// Waits for the end and says what the blob is.
    ///
    /// # Errors
    /// When its writer failed.
    pub fn whole(&self) -> io::Result<Descriptor> {
        let mut state = self.shared.lock();
        loop {
            match &state.end {
                End::Whole(descriptor) => return Ok(Descriptor::clone(descriptor)),
                End::Failed => return Err(gave_up()),
                End::NotYet => {
                    let _span = self.trace.span("wait", &[]);
                    state = self.shared.wait(state);
                }
            }
        }
    }

    /// Tells the writer that nobody wants the blob any more: its next write fails.
    pub fn abandon(&self) {
        self.shared.lock().abandoned = true;
    }
}

fn gave_up() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the blob could not be made")
}

/// Reads a blob along with its writer.
struct Along {
    blob: GrowingBlob,
    at: u64,
}

impl Read for Along {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.blob.shared.lock();
        while state.written <= self.at {
            match state.end {
                End::Whole(_) => return Ok(0),
                End::Failed => return Err(gave_up()),
                End::NotYet => {
                    let _span = self.blob.trace.span("wait", &[]);
                    state = self.blob.shared.wait(state);
                }
            }
        }
        let there = state.written - self.at;
        drop(state);
        let most = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let count = read_at(&self.blob.file, &mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Growth(Arc<Shared>);

impl Growth {
    /// Lets others read along what is written to `path`.
    pub(super) fn of(path: &Path, trace: &Trace) -> io::Result<(Self, GrowingBlob)> {
        let file = Arc::new(File::open(PathBuf::from(path))?);
        let state = State { written: 0, end: End::NotYet, abandoned: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Ok((Self(Arc::clone(&shared)), GrowingBlob { file, shared, trace: trace.clone() }))
    }

    /// Bytes are in the file now. Fails where nobody wants more.
    pub(super) fn grow(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.0.lock();
        state.written += bytes as u64;
        self.0.changed.notify_all();
        match state.abandoned {
            true => Err(io::Error::other("nobody wants the blob any more")),
            false => Ok(()),
        }
    }

    pub(super) fn finish(self, descriptor: &Descriptor) {
        self.0.lock().end = End::Whole(Box::new(descriptor.clone()));
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(state.end, End::NotYet) {
            state.end = End::Failed;
        }
        self.0.changed.notify_all();
    }
}
