//! What goes into a layer is read in one thread and written in another: both cost about the same where files are small.

use std::io::{self, Read};
use std::mem::take;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use orlop_store::FileDigest;
use orlop_store::layer::compose::Composer;
use orlop_store::layer::tar::Entry;
use orlop_store::snapshot::SnapshotError;

use crate::execute::copy::error::CopyErrorKind;

/// What is handed over at once, in bytes of content, and how many of those may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;
/// So many entries are handed over at once, however little is in them.
const ENTRIES: usize = 1000;

/// What is read: some entries with their content, or more content of the last one.
enum Piece {
    Entries(Batch),
    More(Vec<u8>),
}

#[derive(Default)]
struct Batch {
    entries: Vec<Item>,
    bytes: Vec<u8>,
}

struct Item {
    entry: Entry,
    /// Hard links to it follow.
    again: bool,
    /// The digest of its content, of which the next `here` bytes are in the batch, and the rest follows it.
    content: Option<(FileDigest, usize)>,
}

/// Takes what goes into a layer, in its order.
pub(super) struct Feed<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    batch: Batch,
    state: State<'s>,
}

/// Where the composer is.
enum State<'s> {
    /// Here: a layer of a few small files needs no other thread.
    Here(Box<Composer>),
    There(SyncSender<Piece>, ScopedJoinHandle<'s, Result<Option<Composer>, SnapshotError>>),
    /// It came to an end too early, for that reason; none is that the layer can only be kept in another way.
    Over(Result<(), SnapshotError>),
}

/// Why a file's content was not taken.
pub(super) enum ContentError {
    Read(io::Error),
    /// It has not the size that its entry says.
    Size,
}

impl ContentError {
    /// For the file at a path of the source.
    pub(super) fn of(self, source: &Path) -> CopyErrorKind {
        match self {
            Self::Read(error) => CopyErrorKind::io("read", source)(error),
            Self::Size => CopyErrorKind::Changed { path: source.display().to_string() },
        }
    }
}

impl<'s, 'e> Feed<'s, 'e> {
    pub(super) fn new(scope: &'s Scope<'s, 'e>, composer: Composer) -> Self {
        Self { scope, batch: Batch::default(), state: State::Here(Box::new(composer)) }
    }

    /// The next entry, which has no content. False where no more are wanted; [`Feed::finish`] says why.
    pub(super) fn entry(&mut self, entry: Entry, again: bool) -> bool {
        self.push(Item { entry, again, content: None })
    }

    /// Hands the batch over where it is large, or of many.
    fn push(&mut self, item: Item) -> bool {
        self.batch.entries.push(item);
        let is_small = self.batch.entries.len() < ENTRIES && self.batch.bytes.len() < PIECE;
        is_small || self.hand_over()
    }

    /// The next entry, a file. False where no more are wanted.
    pub(super) fn file(
        &mut self,
        entry: Entry,
        again: bool,
        digest: &FileDigest,
        content: &mut dyn Read,
    ) -> Result<bool, ContentError> {
        if entry.size == 0 {
            return Ok(self.entry(entry, again));
        }
        if entry.size > PIECE as u64 {
            return self.large(entry, again, digest, content);
        }
        let bytes = &mut self.batch.bytes;
        let (start, size) = (bytes.len(), usize::try_from(entry.size).unwrap_or(PIECE));
        // Where a byte more is asked for and not given, the file ends there.
        bytes.resize(start + size + 1, 0);
        let mut end = start;
        while end < start + size {
            match read(content, &mut bytes[end..])? {
                0 => return Err(ContentError::Size),
                n => end += n,
            }
        }
        if end > start + size {
            return Err(ContentError::Size);
        }
        bytes.truncate(end);
        Ok(self.push(Item { entry, again, content: Some((*digest, size)) }))
    }

    fn large(
        &mut self,
        entry: Entry,
        again: bool,
        digest: &FileDigest,
        content: &mut dyn Read,
    ) -> Result<bool, ContentError> {
        let mut left = entry.size;
        self.batch.entries.push(Item { entry, again, content: Some((*digest, 0)) });
        let mut wanted = self.hand_over();
        while wanted {
            let mut piece = vec![0; PIECE];
            let n = read(content, &mut piece)?;
            left = left.checked_sub(n as u64).ok_or(ContentError::Size)?;
            if n == 0 {
                return if left == 0 { Ok(true) } else { Err(ContentError::Size) };
            }
            piece.truncate(n);
            wanted = self.send(Piece::More(piece));
        }
        Ok(false)
    }

    /// Waits until all is written. None where the layer can only be kept in another way.
    pub(super) fn finish(mut self) -> Result<Option<Composer>, SnapshotError> {
        if let State::Here(mut composer) = self.state {
            let written = write(&mut composer, take(&mut self.batch), &mut || None)?;
            return Ok(written.then_some(*composer));
        }
        self.hand_over();
        match self.state {
            State::There(pieces, thread) => {
                drop(pieces);
                join(thread)
            }
            State::Over(end) => end.map(|()| None),
            State::Here(composer) => Ok(Some(*composer)),
        }
    }

    fn hand_over(&mut self) -> bool {
        let batch = take(&mut self.batch);
        self.send(Piece::Entries(batch))
    }

    fn send(&mut self, piece: Piece) -> bool {
        self.state = match std::mem::replace(&mut self.state, State::Over(Ok(()))) {
            State::Here(mut composer) => {
                let (pieces, received) = sync_channel(WAITING);
                let thread = self.scope.spawn(move || {
                    let written = write_all(&mut composer, &received)?;
                    Ok(written.then_some(*composer))
                });
                State::There(pieces, thread)
            }
            other => other,
        };
        let State::There(pieces, _) = &self.state else { return false };
        if pieces.send(piece).is_ok() {
            return true;
        }
        if let State::There(_, thread) = std::mem::replace(&mut self.state, State::Over(Ok(()))) {
            self.state = State::Over(join(thread).map(drop));
        }
        false
    }
}

fn join(
    thread: ScopedJoinHandle<'_, Result<Option<Composer>, SnapshotError>>,
) -> Result<Option<Composer>, SnapshotError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes what comes until there is no more. False where the layer can only be kept in another way.
fn write_all(composer: &mut Composer, pieces: &Receiver<Piece>) -> Result<bool, SnapshotError> {
    let mut more = || match pieces.recv() {
        Ok(Piece::More(bytes)) => Some(bytes),
        _ => None,
    };
    while let Ok(piece) = pieces.recv() {
        // More of a file whose writing came to an end already.
        let Piece::Entries(batch) = piece else { continue };
        if !write(composer, batch, &mut more)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes some entries; what is missing of the last one's content comes from `more`.
fn write(
    composer: &mut Composer,
    batch: Batch,
    more: &mut dyn FnMut() -> Option<Vec<u8>>,
) -> Result<bool, SnapshotError> {
    let mut bytes = &batch.bytes[..];
    for Item { entry, again, content } in &batch.entries {
        let fits = match content {
            None => composer.entry(entry, None, *again)?,
            Some((digest, here)) => {
                let (now, later) = bytes.split_at(*here);
                bytes = later;
                let left = entry.size.saturating_sub(*here as u64);
                let mut content = now.chain(Rest { left, piece: Vec::new(), used: 0, more });
                composer.entry(entry, Some((&mut content, digest)), *again)?
            }
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The content of a file that came in pieces.
struct Rest<'a> {
    left: u64,
    piece: Vec<u8>,
    used: usize,
    more: &'a mut dyn FnMut() -> Option<Vec<u8>>,
}

impl Read for Rest<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        if self.used == self.piece.len() {
            // Whoever reads it gave up, and says why.
            self.piece = (self.more)().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.used = 0;
        }
        let rest = &self.piece[self.used..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.used += n;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

fn read(content: &mut dyn Read, buf: &mut [u8]) -> Result<usize, ContentError> {
    loop {
        match content.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(ContentError::Read),
        }
    }
}
