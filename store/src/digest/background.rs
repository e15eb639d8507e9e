//! Hashing beside other work.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Digest, Digester};

/// So much is hashed at once, before another thread is worth its start.
const FEW: u64 = 1 << 20;
/// What is handed over in one piece, in bytes, and how many of those may wait.
const PIECE: usize = 256 * 1024;
const WAITING: usize = 4;

/// A [`Digester`] that works on a thread of its own as soon as there is much to hash.
#[derive(Debug)]
pub(crate) struct BackgroundDigester {
    size: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Here(Digester),
    There {
        piece: Vec<u8>,
        pieces: SyncSender<Vec<u8>>,
        /// Buffers that are free again.
        used: Receiver<Vec<u8>>,
        thread: JoinHandle<Digester>,
    },
}

impl BackgroundDigester {
    /// Nothing hashed yet.
    pub(crate) fn new() -> Self {
        Self { size: 0, work: Work::Here(Digester::new()) }
    }

    /// Hashes `bytes` after everything before.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if self.size > FEW
            && let Work::Here(digester) = &self.work
            && let Some(there) = start(digester.clone())
        {
            self.work = there;
        }
        match &mut self.work {
            Work::Here(digester) => digester.update(bytes),
            Work::There { piece, pieces, used, .. } => {
                while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(bytes.len().min(PIECE - piece.len()));
                    piece.extend_from_slice(now);
                    bytes = later;
                    if piece.len() == PIECE {
                        let mut empty = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
                        empty.clear();
                        // Nobody listens where that thread panicked, which is said at the end.
                        let _ = pieces.send(std::mem::replace(piece, empty));
                    }
                }
            }
        }
    }

    /// Bytes hashed so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all bytes.
    pub(crate) fn finish(self) -> Digest {
        match self.work {
            Work::Here(digester) => digester.finish(),
            Work::There { piece, pieces, thread, .. } => {
                let _ = pieces.send(piece);
                drop(pieces);
                thread.join().unwrap_or_else(|panic| resume_unwind(panic)).finish()
            }
        }
    }
}

/// Goes on with `digester` elsewhere; none where the system gives no thread.
fn start(mut digester: Digester) -> Option<Work> {
    let (pieces, todo) = sync_channel::<Vec<u8>>(WAITING);
    let (done, used) = sync_channel(WAITING + 1);
    let thread = std::thread::Builder::new().name("digest".to_owned()).spawn(move || {
        for piece in todo {
            digester.update(&piece);
            let _ = done.try_send(piece);
        }
        digester
    });
    Some(Work::There { piece: Vec::with_capacity(PIECE), pieces, used, thread: thread.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_digest_of_the_bytes_wherever_they_are_hashed() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let few = FEW as usize;
        for size in [0, 1, few - 1, few, few + 1, few + PIECE, few + PIECE + 1, bytes.len()] {
            for step in [1 << 22, PIECE, PIECE - 1, 1000] {
                let mut digester = BackgroundDigester::new();
                bytes[..size].chunks(step).for_each(|piece| digester.update(piece));
                assert_eq!(digester.size(), size as u64);
                assert_eq!(digester.finish(), Digest::of(&bytes[..size]), "{size} bytes by {step}");
            }
        }
        // One that is not finished goes away as well.
        let mut digester = BackgroundDigester::new();
        digester.update(&bytes);
    }
}
