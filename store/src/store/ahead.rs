//! Reading on one thread what another one works on: a blob is fetched, hashed and written while the bytes before are
//! inflated and unpacked.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::digest::Digest;
use crate::trace::Trace;

/// Bytes that are passed on at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the one who works on them.
const WAITING: usize = 6;

/// Calls `work` with the content of `reader`, which another thread reads ahead. Gives what `work` gave, and the reader
/// with the error that it failed with, of which `work` got a copy.
///
/// The reading is the phase of that name, for the layer of that diff ID, to whoever listens to `trace`.
///
/// Where `work` stops early, the reader is read a little beyond what was used.
pub(super) fn read_ahead<R: Read + Send, T>(
    trace: &Trace,
    (phase, layer): (&'static str, Digest),
    mut reader: R,
    work: impl FnOnce(&mut Ahead) -> T,
) -> (T, (R, Option<io::Error>)) {
    std::thread::scope(|scope| {
        let (give, take) = sync_channel(WAITING);
        let thread = scope.spawn(move || {
            trace.thread("reader");
            let mut span = trace.span(phase, &[("layer", layer.into())]);
            let (bytes, end) = pass_on(trace, &mut reader, &give);
            span.add("bytes", bytes);
            let error = end.err();
            (reader, error)
        });
        let mut ahead =
            Ahead { trace: trace.clone(), take: Some(take), piece: Vec::new(), at: 0, failed: None };
        let result = work(&mut ahead);
        // A reader that waits for room goes on when there is nobody any more.
        ahead.take = None;
        match thread.join() {
            Ok(read) => (result, read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads to the end, or until nobody takes any more. Gives the bytes that were read as well.
fn pass_on(
    trace: &Trace,
    reader: &mut impl Read,
    give: &SyncSender<io::Result<Vec<u8>>>,
) -> (u64, io::Result<()>) {
    let mut bytes = 0;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let end = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        // What came before an error is passed on before it.
        if !piece.is_empty() {
            bytes += piece.len() as u64;
            let gone = match give.try_send(Ok(piece)) {
                Ok(()) => false,
                Err(TrySendError::Full(piece)) => {
                    let _span = trace.span("wait", &[]);
                    give.send(piece).is_err()
                }
                Err(TrySendError::Disconnected(_)) => true,
            };
            if gone {
                return (bytes, Ok(()));
            }
        }
        match end {
            Ok(0) => return (bytes, Ok(())),
            Ok(_) => {}
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                let _gone = give.send(Err(copy));
                return (bytes, Err(error));
            }
        }
    }
}

/// What another thread has read.
pub(super) struct Ahead {
    trace: Trace,
    take: Option<Receiver<io::Result<Vec<u8>>>>,
    piece: Vec<u8>,
    at: usize,
    /// The stream is broken here, and stays so.
    failed: Option<io::ErrorKind>,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if let Some(kind) = self.failed {
                return Err(kind.into());
            }
            let next = self.take.as_ref().and_then(|take| match take.try_recv() {
                Err(TryRecvError::Empty) => {
                    let _span = self.trace.span("wait", &[]);
                    take.recv().ok()
                }
                piece => piece.ok(),
            });
            match next {
                Some(Ok(piece)) => (self.piece, self.at) = (piece, 0),
                Some(Err(error)) => {
                    self.failed = Some(error.kind());
                    return Err(error);
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<R: Read + Send, T>(reader: R, work: impl FnOnce(&mut Ahead) -> T) -> (T, (R, Option<io::Error>)) {
        read_ahead(&Trace::none(), ("read", Digest::of(b"")), reader, work)
    }

    #[test]
    fn everything_comes_in_order_and_the_reader_comes_back() {
        let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 253) as u8).collect();
        let (got, (left, error)) = read(content.as_slice(), |ahead| {
            let mut got = Vec::new();
            ahead.read_to_end(&mut got).map(|_| got)
        });
        assert!(got.unwrap() == content && left.is_empty() && error.is_none());
    }

    #[test]
    fn who_stops_early_stops_the_reader_too() {
        let (got, (_, error)) = read(io::repeat(7), |ahead| {
            let mut one = [0; 10];
            ahead.read_exact(&mut one).map(|()| one)
        });
        assert!(got.is_ok() && error.is_none());
    }

    #[test]
    fn an_error_comes_after_what_was_before_it_and_is_given_back() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut"));
                }
                buffer[0] = 1;
                Ok(1)
            }
        }
        let (got, (_, error)) = read(Broken(false), |ahead| {
            let mut got = Vec::new();
            let first = ahead.read_to_end(&mut got).map_err(|e| e.kind());
            assert!(ahead.read(&mut [0]).is_err(), "a broken stream has no end");
            (first, got)
        });
        assert_eq!(got, (Err(io::ErrorKind::ConnectionReset), vec![1]));
        assert_eq!(error.unwrap().to_string(), "cut");
    }
}
