//! Bytes that are written to the end of and read when all are there: in a file without a name where they are many.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::work::Work;

/// So many are kept in memory, and written and read at once.
const PIECE: usize = 256 << 10;

/// Bytes in the making.
#[derive(Debug)]
pub(crate) struct Spool {
    work: Work,
    file: Option<File>,
    /// How many bytes the file has.
    written: u64,
    buffer: Vec<u8>,
}

impl Spool {
    pub(crate) fn new(work: &Work) -> Self {
        Self { work: work.clone(), file: None, written: 0, buffer: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Where to write what begins at `at`, which is not before the end.
    #[cfg(any(unix, test))]
    pub(crate) fn room(&mut self, at: u64) -> &mut Vec<u8> {
        self.buffer.resize((at - self.written) as usize, 0);
        &mut self.buffer
    }

    /// To be called after each piece that may be patched, which then is in one place.
    ///
    /// # Errors
    /// When they can not be written.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if self.buffer.len() < PIECE {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.work.file().map_err(|e| e.source)?),
        };
        file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes over a piece.
    ///
    /// # Errors
    /// When it can not be written.
    #[cfg(any(unix, test))]
    pub(crate) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match (at.checked_sub(self.written), &mut self.file) {
            (Some(at), _) => {
                let at = at as usize;
                self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
            }
            (None, Some(file)) => {
                file.seek(SeekFrom::Start(at))?;
                file.write_all(bytes)?;
                file.seek(SeekFrom::Start(self.written))?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// All of them, from the first.
    ///
    /// # Errors
    /// When they can not be read.
    pub(crate) fn into_reader(self) -> io::Result<impl Read> {
        let Self { mut file, buffer, .. } = self;
        if let Some(file) = &mut file {
            file.seek(SeekFrom::Start(0))?;
        }
        let written: Box<dyn Read> = match file {
            Some(file) => Box::new(file),
            None => Box::new(io::empty()),
        };
        Ok(written.chain(io::Cursor::new(buffer)))
    }

    /// Writes all of them to `out`.
    ///
    /// # Errors
    /// When they can not be read or written.
    #[cfg(any(unix, test))]
    pub(crate) fn copy(self, out: &mut impl Write) -> io::Result<()> {
        let mut reader = self.into_reader()?;
        let mut piece = vec![0; PIECE];
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(()),
                n => out.write_all(&piece[..n])?,
            }
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.settle()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_and_patched_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let work = Work::open(dir.path()).unwrap();
        for pieces in [0, 1, 1000, 100_000] {
            let (mut spool, mut expected) = (Spool::new(&work), Vec::new());
            for i in 0..pieces {
                let piece = [i as u8; 10];
                spool.room(spool.end()).extend_from_slice(&piece);
                spool.settle().unwrap();
                expected.extend_from_slice(&piece);
                if i % 7 == 0 {
                    let at = i / 2 * 10;
                    spool.patch(at as u64, b"patch").unwrap();
                    expected[at..at + 5].copy_from_slice(b"patch");
                }
            }
            assert_eq!(spool.end(), expected.len() as u64);
            let mut found = Vec::new();
            spool.copy(&mut found).unwrap();
            assert!(found == expected, "{pieces}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }
}
