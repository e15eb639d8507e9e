//! What comes from a pipe or standard input, read by a thread of its own: whoever waits for it can look meanwhile
//! whether the build is to stop.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use orlop_runner::CancelToken;

/// How often is looked whether the build is to stop.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// Pieces that wait to be taken; whoever sends more waits as well.
pub(super) const WAITING: usize = 64;
/// The most bytes of one piece.
const SIZE: usize = 32 << 10;

/// Reads to the end and sends what comes, and an error as the last. The thread may outlive whoever takes the pieces,
/// as long as nothing comes.
pub(super) fn send<P: Send + 'static>(
    mut from: impl Read + Send + 'static,
    to: SyncSender<P>,
    piece: impl Fn(io::Result<Vec<u8>>) -> P + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; SIZE];
        loop {
            let bytes = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => Ok(buffer[..n].to_vec()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let last = bytes.is_err();
            if to.send(piece(bytes)).is_err() || last {
                break;
            }
        }
    });
}

/// A stream whose reader is not kept waiting when the build is to stop.
pub(super) struct Interruptible<'a> {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// What is left of the piece that came last.
    rest: io::Cursor<Vec<u8>>,
    cancel: &'a CancelToken,
}

impl<'a> Interruptible<'a> {
    /// The stream `from`.
    pub(super) fn of(from: impl Read + Send + 'static, cancel: &'a CancelToken) -> Self {
        let (to, pieces) = mpsc::sync_channel(WAITING);
        send(from, to, |bytes| bytes);
        Self { pieces, rest: io::Cursor::default(), cancel }
    }
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.rest.read(buffer)? {
                0 if !buffer.is_empty() => {}
                n => return Ok(n),
            }
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("interrupted"));
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => self.rest = io::Cursor::new(piece?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    /// Gives what it has, byte by byte, and then what `end` gives.
    struct Slow(Vec<u8>, fn() -> io::Result<usize>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.is_empty() {
                true => self.1(),
                false => {
                    buffer[0] = self.0.remove(0);
                    Ok(1)
                }
            }
        }
    }

    #[test]
    fn all_of_it_comes_and_the_error_that_ends_it() {
        let cancel = CancelToken::new();
        let mut text = String::new();
        let mut stream = Interruptible::of(Slow(b"some text".to_vec(), || Ok(0)), &cancel);
        stream.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), stream.read(&mut [0]).unwrap()), ("some text", 0));
        let large = vec![7; 3 * SIZE * WAITING];
        let mut out = Vec::new();
        Interruptible::of(io::Cursor::new(large.clone()), &cancel).read_to_end(&mut out).unwrap();
        assert_eq!(out, large);
        let mut stream = Interruptible::of(Slow(b"x".to_vec(), || Err(io::Error::other("lost"))), &cancel);
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "lost");
    }

    #[test]
    fn nobody_waits_for_what_does_not_come() {
        let (cancel, started) = (CancelToken::new(), Instant::now());
        let asleep = || -> io::Result<usize> {
            std::thread::sleep(Duration::from_secs(600));
            Ok(0)
        };
        let mut stream = Interruptible::of(Slow(b"x".to_vec(), asleep), &cancel);
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        let other = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            other.cancel();
        });
        assert_eq!(stream.read(&mut byte).unwrap_err().to_string(), "interrupted");
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_nobody_takes_is_not_read() {
        struct Endless(Arc<AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(buffer.len())
            }
        }
        let (count, cancel) = (Arc::new(AtomicUsize::new(0)), CancelToken::new());
        let stream = Interruptible::of(Endless(Arc::clone(&count)), &cancel);
        std::thread::sleep(Duration::from_millis(200));
        assert!((1..=WAITING + 2).contains(&count.load(Ordering::SeqCst)));
        drop(stream);
    }
}
