//! Digests of files in build contexts, remembered by what `stat` says of them.
//!
//! A digest is believed when device, inode, size, mtime and ctime are all as they were. One is remembered only
//! when the file had been left alone for longer than the clock's grain before it was read: a change within the
//! same tick of the clock, after the reading, would not show in the times.

mod scan;

use std::time::SystemTime;

use rusqlite::Connection;

pub use scan::FileScan;

use crate::digest::FileDigest;
use crate::error::Result;
use crate::facts::{Facts, now};

/// How long a file must have been left alone before it was read, in nanoseconds. File systems with the coarsest
/// clocks (FAT, some network ones) count in steps of two seconds.
const GRAIN: i64 = 2_000_000_000;
/// How often a use is written down, in milliseconds.
const USE_GRAIN: i64 = 24 * 3600 * 1000;
/// What stands before a digest in the database: BLAKE3. Older stores have sha256 there, with nothing before it.
const ALGORITHM: u8 = 3;

/// What a file is known by. Modes and owners are not in it: changing them changes ctime, and content alone
/// matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// Device; on Windows the serial number of the volume.
    pub device: u64,
    /// Inode; on Windows the file's number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Change of content, in nanoseconds since 1970.
    pub mtime: i64,
    /// Change of content or inode, in nanoseconds since 1970.
    pub ctime: i64,
}

#[cfg(unix)]
impl From<&std::fs::Metadata> for FileStat {
    fn from(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanos = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(windows)]
impl From<&crate::nt::Stat> for FileStat {
    fn from(stat: &crate::nt::Stat) -> Self {
        // NTFS counts in 64 bits. ReFS has 128; what is left of them goes through a digest.
        let inode = u64::try_from(stat.id).unwrap_or_else(|_| {
            let digest = crate::digest::Digest::of(&stat.id.to_le_bytes());
            digest.as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
        });
        Self {
            device: stat.volume,
            inode,
            size: stat.size,
            mtime: stat.times.written.unix_nanos(),
            ctime: stat.times.changed.unix_nanos(),
        }
    }
}

impl FileStat {
    /// Whether a digest of the file, read at `read` or later, may be believed as long as the stat stays the
    /// same. A time in the future never may.
    fn settled(&self, read: SystemTime) -> bool {
        let since = read.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let read = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        self.mtime.max(self.ctime).saturating_add(GRAIN) < read
    }
}

/// The file-digest cache of a store.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    pub(crate) facts: &'a Facts,
}

impl<'a> Files<'a> {
    /// For many files, one by one.
    pub fn scan(self) -> FileScan<'a> {
        FileScan::new(self)
    }

    /// The digests of the contents of `files`, where they are known.
    ///
    /// # Errors
    /// When the database says no.
    pub fn get(&self, files: &[FileStat]) -> Result<Vec<Option<FileDigest>>> {
        let found = self.facts.read("look up files", |c| {
            files.iter().map(|file| find(c, file)).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let stale = files.iter().zip(&found).filter(|(_, (_, is_stale))| *is_stale);
        let stale: Vec<_> = stale.map(|(file, _)| *file).collect();
        if !stale.is_empty() {
            self.note_use(&stale)?;
        }
        Ok(found.into_iter().map(|(digest, _)| digest).collect())
    }

    /// Remembers digests of files. `read` is a time before the first of them was looked at and read; those that
    /// were changed shortly before it, or after it, are left out. Returns how many were remembered.
    ///
    /// # Errors
    /// When the database says no.
    pub fn put(&self, files: &[(FileStat, FileDigest)], read: SystemTime) -> Result<usize> {
        let settled: Vec<_> = files.iter().filter(|(file, _)| file.settled(read)).collect();
        if settled.is_empty() {
            return Ok(0);
        }
        self.facts.write("remember files", |tx| {
            let mut insert = tx.prepare_cached(
                "INSERT OR REPLACE INTO files(device, inode, size, mtime, ctime, digest, used)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for (file, digest) in &settled {
                insert.execute((
                    file.device.cast_signed(),
                    file.inode.cast_signed(),
                    file.size.cast_signed(),
                    file.mtime,
                    file.ctime,
                    [&[ALGORITHM], &digest.as_bytes()[..]].concat(),
                    now(),
                ))?;
            }
            Ok(settled.len())
        })
    }

    fn note_use(&self, files: &[FileStat]) -> Result<()> {
        self.facts.write("note the use", |tx| {
            let mut update = tx.prepare_cached("UPDATE files SET used = ? WHERE device = ? AND inode = ?")?;
            for file in files {
                update.execute((now(), file.device.cast_signed(), file.inode.cast_signed()))?;
            }
            Ok(())
        })
    }
}

/// The digest of a file, where it is known, and whether its use is to be noted.
fn find(connection: &Connection, file: &FileStat) -> rusqlite::Result<(Option<FileDigest>, bool)> {
    let mut query = connection.prepare_cached(
        "SELECT size, mtime, ctime, digest, used FROM files WHERE device = ? AND inode = ?",
    )?;
    let mut rows = query.query((file.device.cast_signed(), file.inode.cast_signed()))?;
    let Some(row) = rows.next()? else { return Ok((None, false)) };
    let same = row.get::<_, i64>(0)? == file.size.cast_signed()
        && row.get::<_, i64>(1)? == file.mtime
        && row.get::<_, i64>(2)? == file.ctime;
    if !same {
        return Ok((None, false));
    }
    Ok((read_digest(row.get_ref(3)?.as_blob()?), now() - row.get::<_, i64>(4)? > USE_GRAIN))
}

/// A digest as it is in the database; none where that is of another algorithm.
fn read_digest(bytes: &[u8]) -> Option<FileDigest> {
    let (&ALGORITHM, digest) = bytes.split_first()? else { return None };
    <[u8; 32]>::try_from(digest).ok().map(FileDigest::from)
}

#[cfg(test)]
mod tests;
