//! Reading in a thread of its own, ahead of whoever works on what was read: to decompress costs about as much as all
//! that is done with the result.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

/// So much is read before a thread is worth its start, in bytes.
const FEW: u64 = 1 << 20;
/// What is read at once, in bytes, and how many of those may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// Reads a stream in pieces, most of them before they are asked for.
#[derive(Debug)]
pub(crate) struct ReadAhead<'s, 'e, R> {
    scope: &'s Scope<'s, 'e>,
    source: Source<R>,
    read: u64,
    /// Nobody reads any more.
    gone: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Source<R> {
    Here(R),
    There {
        pieces: Receiver<io::Result<Vec<u8>>>,
        /// Buffers that are free again.
        used: SyncSender<Vec<u8>>,
    },
    /// Nothing comes any more but the reason why.
    Over(Option<io::Error>),
}

impl<'s, 'e, R: Read + Send + 's> ReadAhead<'s, 'e, R> {
    /// The thread ends before the scope does: when the result is dropped, as soon as `reader` gives any of what it is
    /// being asked for.
    pub(crate) fn new(scope: &'s Scope<'s, 'e>, reader: R) -> Self {
        Self { scope, source: Source::Here(reader), read: 0, gone: Arc::default() }
    }

    /// Puts the next piece where another was; nothing at the end.
    ///
    /// # Errors
    /// Those of the reader, once all that came before is read.
    pub(crate) fn next(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        if self.read >= FEW && matches!(self.source, Source::Here(_)) {
            self.start();
        }
        match &mut self.source {
            Source::Here(reader) => {
                if let Err(error) = fill(reader, piece, &AtomicBool::new(false)) {
                    self.source = Source::Over(Some(error));
                }
            }
            Source::There { pieces, used } => {
                let _ = used.try_send(std::mem::take(piece));
                match pieces.recv() {
                    Ok(Ok(next)) => *piece = next,
                    Ok(Err(error)) => self.source = Source::Over(Some(error)),
                    Err(_) => self.source = Source::Over(None),
                }
            }
            Source::Over(_) => piece.clear(),
        }
        self.read += piece.len() as u64;
        match &mut self.source {
            Source::Over(error) if piece.is_empty() => error.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn start(&mut self) {
        let (hand, reader) = sync_channel::<R>(1);
        let (full, pieces) = sync_channel(WAITING);
        let (used, empty) = sync_channel::<Vec<u8>>(WAITING + 1);
        let gone = Arc::clone(&self.gone);
        let work = move || {
            let Ok(mut reader) = reader.recv() else { return };
            loop {
                let mut piece = empty.try_recv().unwrap_or_default();
                let end = fill(&mut reader, &mut piece, &gone);
                let is_over = piece.is_empty();
                // Who does not listen any more does not want it.
                if !is_over && full.send(Ok(piece)).is_err() {
                    return;
                }
                if let Err(error) = end {
                    let _ = full.send(Err(error));
                    return;
                }
                if is_over {
                    return;
                }
            }
        };
        // Where the system gives no thread it goes on here.
        if Builder::new().name("read-ahead".to_owned()).spawn_scoped(self.scope, work).is_ok()
            && let Source::Here(reader) = std::mem::replace(&mut self.source, Source::There { pieces, used })
        {
            let _ = hand.send(reader);
        }
    }
}

impl<R> Drop for ReadAhead<'_, '_, R> {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// Reads a whole piece, or up to the end, or until it is not wanted any more. After an error the piece has what came
/// before it.
fn fill(reader: &mut impl Read, piece: &mut Vec<u8>, gone: &AtomicBool) -> io::Result<()> {
    piece.resize(PIECE, 0);
    let mut filled = 0;
    let end = loop {
        if filled == PIECE || gone.load(Ordering::Relaxed) {
            break Ok(());
        }
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break Ok(()),
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    piece.truncate(filled);
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Gives a few bytes at a time, then an end.
    struct Slow<'a>(&'a [u8], usize, Option<io::ErrorKind>);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty()
                && let Some(kind) = self.2
            {
                return Err(kind.into());
            }
            let n = self.1.min(buf.len());
            self.0.read(&mut buf[..n])
        }
    }

    #[test]
    fn all_comes_in_order_with_the_end_after_it() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let few = FEW as usize;
        for size in [0, 1, PIECE, few - 1, few, few + 1, few + PIECE, bytes.len()] {
            for (step, end) in [(1 << 30, None), (60_001, None), (60_001, Some(io::ErrorKind::InvalidData))] {
                std::thread::scope(|scope| {
                    let mut reader = ReadAhead::new(scope, Slow(&bytes[..size], step, end));
                    let (mut all, mut piece) = (Vec::new(), vec![7; 3]);
                    let ended = loop {
                        match reader.next(&mut piece) {
                            Ok(()) if piece.is_empty() => break None,
                            Ok(()) => all.extend_from_slice(&piece),
                            Err(e) => break Some(e.kind()),
                        }
                    };
                    assert_eq!(ended, end, "{size} bytes by {step}");
                    assert!(all == bytes[..size], "{size} bytes by {step}");
                    reader.next(&mut piece).unwrap();
                    assert!(piece.is_empty());
                });
            }
        }
    }

    /// Gives much at once, and then a byte each time.
    struct Trickle<'a>(u64, &'a AtomicUsize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 > 0 {
                let n = buf.len().min(usize::try_from(self.0).unwrap());
                self.0 -= n as u64;
                return Ok(n);
            }
            self.1.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(1)
        }
    }

    #[test]
    fn nobody_waits_for_a_whole_piece_that_is_not_wanted() {
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let mut reader = ReadAhead::new(scope, Trickle(FEW + PIECE as u64, &reads));
            let mut piece = Vec::new();
            for _ in 0..=FEW / PIECE as u64 {
                reader.next(&mut piece).unwrap();
                assert_eq!(piece.len(), PIECE);
            }
            while reads.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
        });
        assert!(reads.load(Ordering::Relaxed) < PIECE / 2, "{reads:?}");
    }

    #[test]
    fn who_reads_no_more_ends_it() {
        std::thread::scope(|scope| {
            let mut reader = ReadAhead::new(scope, io::repeat(7));
            let mut piece = Vec::new();
            for _ in 0..20 {
                reader.next(&mut piece).unwrap();
            }
        });
    }
}
