//! The bytes of files: their digest, and getting them from one file into another.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_store::{FileDigest, FileDigester};

use crate::context::{DigestCache, Dir, Meta, copy_fast, file_meta};

const BUFFER: usize = 256 * 1024;

/// The digest of a file's content, from the cache where it knows the file, and what the file was when
/// it had that content.
pub(super) fn digest(
    dir: &Dir,
    name: &std::ffi::OsStr,
    meta: &Meta,
    cache: Option<&dyn DigestCache>,
) -> io::Result<(FileDigest, Meta)> {
    if let Some(known) = cache.and_then(|cache| cache.get(&meta.file_stat())) {
        return Ok((known, *meta));
    }
    let mut file = dir.file(name)?;
    let mut buffer = vec![0; BUFFER.min(usize::try_from(meta.size).unwrap_or(BUFFER).max(4096))];
    // A file that is written to just now is tried again; one that never rests is taken as it comes,
    // and found out when it is copied.
    let mut tries = 3;
    loop {
        let started = SystemTime::now();
        let before = file_meta(&file)?;
        let mut digester = FileDigester::new();
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => digester.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let after = file_meta(&file)?;
        tries -= 1;
        let steady = before.file_stat() == after.file_stat();
        if !steady && tries > 0 {
            file.seek(SeekFrom::Start(0))?;
            continue;
        }
        let digest = digester.finish();
        if let Some(cache) = cache.filter(|_| steady && rested(&before, started)) {
            cache.put(&before.file_stat(), digest);
        }
        return Ok((digest, after));
    }
}

/// Whether a file was last touched so long before it was read that another change would show in its
/// times: the clock of a file system ticks every few milliseconds, or every two seconds where it
/// keeps no fractions.
fn rested(meta: &Meta, now: SystemTime) -> bool {
    let stat = meta.file_stat();
    let coarse = meta.mtime.nanoseconds == 0 && meta.ctime.nanoseconds == 0;
    let grain: i128 = if coarse { 2_500_000_000 } else { 50_000_000 };
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(0));
    stat.mtime_ns.max(stat.ctime_ns) + grain < now
}

/// Copies all bytes, as cheaply as the file systems can: shared blocks, copied by the kernel, or read
/// and written, holes left out. Returns their number.
pub(super) fn copy(from: &mut File, to: &mut File, meta: &Meta) -> io::Result<u64> {
    if let Some(copied) = copy_fast(from, to, meta)? {
        return Ok(copied);
    }
    transfer(from, to, usize::try_from(meta.size).unwrap_or(BUFFER).max(4096))
}

/// Reads and writes to the end.
fn transfer(from: &mut dyn Read, to: &mut dyn Write, room: usize) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER.min(room)];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                copied += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
