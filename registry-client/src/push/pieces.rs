//! Memory for the pieces of a body, used again when they have gone: what is new each time is zeroed each time, by the
//! kernel and by us.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes read at once.
pub(super) const PIECE: usize = 128 * 1024;

/// The pieces of one body.
#[derive(Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

/// A piece on its way. It comes back when nobody looks at it any more.
struct Piece {
    buffer: Vec<u8>,
    filled: usize,
    home: Pieces,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut home = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        home.push(std::mem::take(&mut self.buffer));
    }
}

impl Pieces {
    /// Room for `want` bytes, with anything in it.
    pub(super) fn room(&self, want: usize) -> Vec<u8> {
        if want != PIECE {
            return vec![0; want];
        }
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| vec![0; PIECE])
    }

    /// The first `filled` bytes of what [`Pieces::room`] gave.
    pub(super) fn filled(&self, mut buffer: Vec<u8>, filled: usize) -> Bytes {
        if buffer.len() != PIECE {
            buffer.truncate(filled);
            return buffer.into();
        }
        Bytes::from_owner(Piece { buffer, filled, home: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_never_while_it_is_looked_at() {
        let pieces = Pieces::default();
        let mut room = pieces.room(PIECE);
        room[..3].copy_from_slice(b"one");
        let one = pieces.filled(room, 3);
        let mut room = pieces.room(PIECE);
        room[..3].copy_from_slice(b"two");
        let two = pieces.filled(room, 3);
        let copy = one.clone();
        drop(one);
        assert_eq!((&copy[..], &two[..]), (&b"one"[..], &b"two"[..]));
        assert_eq!(pieces.0.lock().unwrap().len(), 0);
        drop(copy);
        assert_eq!(pieces.0.lock().unwrap().len(), 1);
        assert_eq!(pieces.room(PIECE).len(), PIECE);
        assert_eq!(pieces.0.lock().unwrap().len(), 0);
        assert_eq!(&pieces.filled(vec![7; 5], 2)[..], [7, 7]);
    }
}
