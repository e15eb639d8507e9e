//! Copies of a file's content: by sharing blocks where the volume can, else by reading and writing.
//!
//! Block clones are ReFS's (Server 2016 and newer; Dev Drive). What the call wants is from Microsoft's
//! documentation and not tested on a real volume: source and target on one volume, both ends at clusters (the last
//! one may reach beyond the end), less than 4 GiB a call, the target as long as the range, both sparse or not, both
//! with checksums or without, and at most some 8,175 references to one block. The decisions are tested with
//! recorded answers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::{Digest, Digester};

/// The calls that sharing blocks takes.
pub(crate) trait Extents: Send + Sync + std::fmt::Debug {
    /// Makes the target have what the source has at `offset`, `length` bytes, without copying.
    fn share(&self, source: &File, target: &File, offset: u64, length: u64) -> io::Result<()>;

    /// Gives the target the length, sparseness and checksums that sharing wants.
    fn like(&self, source: &File, target: &File, length: u64) -> io::Result<()>;
}

/// How content came to a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Blocks are shared.
    Shared,
    /// Bytes were copied.
    Copied,
}

/// Copies of content on one volume.
#[derive(Debug)]
pub(crate) struct Cloner {
    calls: Box<dyn Extents>,
    cluster: u64,
    /// Whether it is still tried.
    works: AtomicBool,
}

/// Too many references to a block: this file is copied, others are not concerned.
const TOO_MANY_REFERENCES: i32 = 347;

impl Cloner {
    /// `can` says what the volume says of itself.
    pub(crate) fn new(calls: Box<dyn Extents>, cluster: u32, can: bool) -> Self {
        let cluster = u64::from(cluster).max(512);
        Self { calls, cluster, works: AtomicBool::new(can && cluster.is_power_of_two()) }
    }

    /// Whether blocks are shared, as far as is known.
    pub(crate) fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }

    /// Copies all `size` bytes of `source` into the new file `target`; with their digest where it is copied.
    pub(crate) fn content(
        &self,
        source: &mut File,
        target: &mut File,
        size: u64,
    ) -> io::Result<(How, Option<Digest>)> {
        // A file of less than a cluster may live in the directory itself; there is nothing to share.
        if self.works() && size >= self.cluster {
            match self.share(source, target, size) {
                Ok(()) => return Ok((How::Shared, None)),
                Err(e) if e.raw_os_error() == Some(TOO_MANY_REFERENCES) => {}
                Err(e) if crate::nt::is_unsupported(&e) => self.works.store(false, Ordering::Relaxed),
                // This file only: open elsewhere, encrypted, compressed, …
                Err(_) => {}
            }
        }
        source.seek(SeekFrom::Start(0))?;
        target.seek(SeekFrom::Start(0))?;
        let mut digester = Digester::new();
        let mut buf = vec![0; 256 << 10];
        loop {
            match source.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => {
                    digester.update(&buf[..n]);
                    target.write_all(&buf[..n])?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let copied = digester.size();
        if copied != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it changed while it was copied"));
        }
        target.set_len(size)?;
        Ok((How::Copied, Some(digester.finish())))
    }

    fn share(&self, source: &File, target: &File, size: u64) -> io::Result<()> {
        self.calls.like(source, target, size)?;
        for (offset, length) in ranges(size, self.cluster) {
            self.calls.share(source, target, offset, length)?;
        }
        Ok(())
    }
}

/// The calls for a file of `size` bytes: offsets and lengths, all multiples of the cluster, each less than 4 GiB.
fn ranges(size: u64, cluster: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = size.div_ceil(cluster) * cluster;
    let most = (((4 << 30) - 1) / cluster) * cluster;
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = (end - at).min(most);
        let range = (at, length);
        at += length;
        (length > 0).then_some(range)
    })
}

/// The real calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Extents for System {
    fn share(&self, source: &File, target: &File, offset: u64, length: u64) -> io::Result<()> {
        crate::nt::share_extents(source, target, offset, length)
    }

    fn like(&self, source: &File, target: &File, length: u64) -> io::Result<()> {
        crate::nt::prepare_to_share(source, target)?;
        target.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Calls = Arc<Mutex<Vec<(u64, u64)>>>;

    /// Answers as recorded; the last one for ever.
    #[derive(Debug)]
    struct Recorded {
        answers: Vec<Option<i32>>,
        calls: Calls,
    }

    impl Extents for Recorded {
        fn share(&self, _: &File, _: &File, offset: u64, length: u64) -> io::Result<()> {
            let mut calls = self.calls.lock().unwrap();
            let answer = self.answers.get(calls.len()).or(self.answers.last()).copied().flatten();
            calls.push((offset, length));
            answer.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
        }

        fn like(&self, _: &File, target: &File, length: u64) -> io::Result<()> {
            target.set_len(length)
        }
    }

    fn cloner(answers: &[Option<i32>]) -> (Cloner, Calls) {
        let calls = Arc::default();
        let recorded = Recorded { answers: answers.to_vec(), calls: Arc::clone(&calls) };
        (Cloner::new(Box::new(recorded), 4096, true), calls)
    }

    fn copy(cloner: &Cloner, content: &[u8]) -> (How, Vec<u8>) {
        let (mut source, mut target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all(content).unwrap();
        let (how, digest) = cloner.content(&mut source, &mut target, content.len() as u64).unwrap();
        if how == How::Copied {
            assert_eq!(digest, Some(Digest::of(content)));
        }
        let mut out = Vec::new();
        target.seek(SeekFrom::Start(0)).unwrap();
        target.read_to_end(&mut out).unwrap();
        (how, out)
    }

    #[test]
    fn ranges_are_whole_clusters_below_4_gib() {
        let all = |size, cluster| ranges(size, cluster).collect::<Vec<_>>();
        assert_eq!(all(0, 4096), []);
        assert_eq!(all(1, 4096), [(0, 4096)]);
        assert_eq!(all(8192, 4096), [(0, 8192)]);
        assert_eq!(all(8193, 65536), [(0, 65536)]);
        for cluster in [4096u64, 65536] {
            let ranges = all((10 << 30) + 1, cluster);
            assert_eq!(ranges.len(), 3);
            let mut at = 0;
            for (offset, length) in ranges {
                assert_eq!((offset, offset % cluster, length % cluster), (at, 0, 0));
                assert!(length < 4 << 30);
                at += length;
            }
            assert_eq!(at, (10 << 30) + cluster);
        }
    }

    #[test]
    fn a_volume_that_shares_is_asked_and_one_that_says_no_is_not() {
        let (shares, calls) = cloner(&[None]);
        assert_eq!(copy(&shares, &[7; 9000]).0, How::Shared);
        assert_eq!(*calls.lock().unwrap(), [(0, 12288)]);
        // Too small to have a block of its own.
        assert_eq!(copy(&shares, b"small"), (How::Copied, b"small".to_vec()));
        let recorded = Recorded { answers: vec![None], calls: Arc::clone(&calls) };
        let cannot = Cloner::new(Box::new(recorded), 4096, false);
        assert_eq!(copy(&cannot, &[7; 9000]), (How::Copied, vec![7; 9000]));
        assert_eq!(calls.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_shared_is_copied_and_only_a_volume_that_cannot_is_not_asked_again() {
        // Too many references, access denied, sharing violation, invalid data: this file.
        for code in [347, 5, 32, 13] {
            let (cloner, calls) = cloner(&[Some(code), None]);
            assert_eq!(copy(&cloner, &[7; 9000]), (How::Copied, vec![7; 9000]), "{code}");
            assert_eq!(copy(&cloner, &[7; 9000]).0, How::Shared, "{code}");
            assert_eq!(calls.lock().unwrap().len(), 2, "{code}");
        }
        // Invalid function, not supported, invalid parameter: the volume.
        for code in [1, 50, 87] {
            let (cloner, calls) = cloner(&[Some(code)]);
            for _ in 0..2 {
                assert_eq!(copy(&cloner, &[7; 9000]), (How::Copied, vec![7; 9000]), "{code}");
            }
            assert_eq!(calls.lock().unwrap().len(), 1, "{code}");
            assert!(!cloner.works());
        }
    }
}
