//! Entries in few bytes each, written once and read in the same order as often as it takes: a context may have
//! millions of files. Where they are many they are in a file without a name, and memory has none of them.
//!
//! An entry is its length; how many bytes its path shares with that of the entry before it, and the rest of it; then
//! what [`encode`] makes of all else. Numbers are in groups of seven bits, the lowest first.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use orlop_store::{FileDigest, Work};

use super::selection::{Entry, EntryKind};
use crate::context::{FileStat, Time, name_bytes, os_string};

/// So many bytes are kept in memory: about twenty thousand files. Tests have less, to have files sooner.
const MEMORY: usize = if cfg!(test) { 64 << 10 } else { 2 << 20 };

/// So many are written or read at once.
const PIECE: usize = 32 << 10;

/// Entries of any number of lists.
#[derive(Debug)]
pub(super) enum Entries {
    Memory(Vec<u8>),
    File(Mutex<File>),
}

/// Some of them that follow each other.
#[derive(Debug, Default)]
pub(super) struct List {
    start: u64,
    end: u64,
    pub(super) count: usize,
    /// The numbers of those that later ones are hard links to.
    pub(super) targets: Vec<usize>,
    /// Some have an access control list.
    pub(super) has_acl: bool,
}

/// An entry without its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of its content.
    pub(super) size: u64,
    pub(super) has_acl: bool,
}

/// Writes lists, one after the other.
#[derive(Debug)]
pub(super) struct EntriesWriter<'w> {
    work: Option<&'w Work>,
    file: Option<File>,
    buffer: Vec<u8>,
    /// All bytes so far.
    end: u64,
    path: Vec<u8>,
    list: List,
    /// Bytes of the content of all files.
    pub(super) content: u64,
}

impl<'w> EntriesWriter<'w> {
    /// Without a place for it there is no file, and memory has them all.
    pub(super) fn new(work: Option<&'w Work>) -> Self {
        Self {
            work,
            file: None,
            buffer: Vec::new(),
            end: 0,
            path: Vec::new(),
            list: List::default(),
            content: 0,
        }
    }

    /// How many entries the list has so far.
    pub(super) fn count(&self) -> usize {
        self.list.count
    }

    pub(super) fn push(&mut self, path: &[u8], entry: Packed<'_>) -> io::Result<()> {
        let shared = self.path.iter().zip(path).take_while(|(a, b)| a == b).count();
        let rest = &path[shared..];
        let before = self.buffer.len();
        let numbers = length_of(shared as u64) + length_of(rest.len() as u64);
        put(&mut self.buffer, (numbers + rest.len() + entry.bytes.len()) as u64);
        put(&mut self.buffer, shared as u64);
        put(&mut self.buffer, rest.len() as u64);
        self.buffer.extend_from_slice(rest);
        self.buffer.extend_from_slice(entry.bytes);
        self.end += (self.buffer.len() - before) as u64;
        self.path.truncate(shared);
        self.path.extend_from_slice(rest);
        self.list.count += 1;
        self.list.has_acl |= entry.has_acl;
        self.content = self.content.saturating_add(entry.size);
        if self.buffer.len() >= if self.file.is_some() { PIECE } else { MEMORY } {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn push_entry(&mut self, entry: &Entry) -> io::Result<()> {
        if let EntryKind::HardLink { to, .. } = entry.kind {
            self.list.targets.push(to);
        }
        let mut bytes = Vec::new();
        let (size, has_acl) = encode(entry, &mut bytes);
        self.push(name_bytes(entry.path.as_os_str()), Packed { bytes: &bytes, size, has_acl })
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(work) = self.work else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(work.file().map_err(|e| e.source)?),
        };
        file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.buffer.shrink_to(2 * PIECE);
        Ok(())
    }

    /// The entries since the last list.
    pub(super) fn take_list(&mut self) -> List {
        let next = List { start: self.end, ..List::default() };
        let mut list = std::mem::replace(&mut self.list, next);
        list.end = self.end;
        list.targets.sort_unstable();
        list.targets.dedup();
        self.path.clear();
        list
    }

    pub(super) fn finish(mut self) -> io::Result<Entries> {
        if self.file.is_some() {
            self.flush()?;
        }
        Ok(match self.file {
            Some(file) => Entries::File(Mutex::new(file)),
            None => {
                self.buffer.shrink_to_fit();
                Entries::Memory(self.buffer)
            }
        })
    }
}

impl Entries {
    pub(super) fn read<'a>(&'a self, list: &List) -> Reader<'a> {
        Reader { entries: self, at: list.start, end: list.end, buffer: Vec::new(), used: 0, path: Vec::new() }
    }

    fn read_at(&self, at: u64, mut out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).ok_or_else(damaged)?;
                out.write_all(from.get(..out.len()).ok_or_else(damaged)?)
            }
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(out)
            }
        }
    }
}

/// Goes through a list.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    entries: &'a Entries,
    /// What is read next, and where the list ends.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
    path: Vec<u8>,
}

impl Reader<'_> {
    /// Has at least so many bytes in the buffer, or all that there are.
    fn fill(&mut self, enough: usize) -> io::Result<()> {
        if self.buffer.len() - self.used >= enough || self.at == self.end {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let kept = self.buffer.len();
        let more = (enough - kept).max(PIECE) as u64;
        let more = more.min(self.end - self.at);
        self.buffer.resize(kept + more as usize, 0);
        self.entries.read_at(self.at, &mut self.buffer[kept..])?;
        self.at += more;
        Ok(())
    }

    fn read(&mut self) -> io::Result<Option<Entry>> {
        self.fill(10)?;
        let mut rest = &self.buffer[self.used..];
        if rest.is_empty() {
            return Ok(None);
        }
        let before = rest.len();
        let length = usize::try_from(take(&mut rest).ok_or_else(damaged)?).map_err(|_| damaged())?;
        self.used += before - rest.len();
        self.fill(length)?;
        let bytes = self.buffer.get(self.used..self.used + length).ok_or_else(damaged)?;
        self.used += length;
        unpack(bytes, &mut self.path).map(Some).ok_or_else(damaged)
    }
}

impl Iterator for Reader<'_> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what was written")
}

fn unpack(mut bytes: &[u8], path: &mut Vec<u8>) -> Option<Entry> {
    let from = &mut bytes;
    path.truncate(take_length(from)?);
    path.extend_from_slice(take_bytes(from)?);
    decode(from, PathBuf::from(os_string(path)?))
}

const IMPLIED: u8 = 0x08;
const TIMED: u8 = 0x10;
const KNOWN: u8 = 0x20;
const KIND: u8 = 0x07;

/// Writes all of an entry but its path. How many bytes its content has, and whether it has an access control list.
pub(super) fn encode(entry: &Entry, out: &mut Vec<u8>) -> (u64, bool) {
    let kind = match entry.kind {
        EntryKind::Directory => 0,
        EntryKind::File { .. } => 1,
        EntryKind::HardLink { .. } => 2,
        EntryKind::Symlink { .. } => 3,
        EntryKind::Fifo => 4,
        EntryKind::CharDevice { .. } => 5,
        EntryKind::BlockDevice { .. } => 6,
    };
    let flag = |set, flag| if set { flag } else { 0 };
    out.push(
        kind | flag(entry.implied, IMPLIED)
            | flag(entry.mtime.is_some(), TIMED)
            | flag(entry.stat.is_some(), KNOWN),
    );
    for number in [entry.mode, entry.source_mode, entry.uid, entry.gid] {
        put(out, number.into());
    }
    let time = entry.mtime.unwrap_or_default();
    if entry.mtime.is_some() {
        put_signed(out, time.seconds.into());
        put(out, time.nanoseconds.into());
    }
    if let Some(stat) = &entry.stat {
        for number in [stat.dev, stat.ino, stat.size] {
            put(out, number);
        }
        // Both are near it, most often.
        put_signed(out, stat.mtime_ns - time.nanos());
        put_signed(out, stat.ctime_ns - time.nanos());
    }
    let mut content = 0;
    match &entry.kind {
        EntryKind::Directory | EntryKind::Fifo => {}
        EntryKind::File { size, digest } => {
            content = *size;
            put(out, *size);
            out.extend_from_slice(digest.as_bytes());
        }
        EntryKind::HardLink { to, size, digest } => {
            put(out, *to as u64);
            put(out, *size);
            out.extend_from_slice(digest.as_bytes());
        }
        EntryKind::Symlink { target } => put_bytes(out, name_bytes(target)),
        EntryKind::CharDevice { rdev } | EntryKind::BlockDevice { rdev } => put(out, *rdev),
    }
    // Most have none, and that is said by the end.
    for (key, value) in &entry.xattrs {
        put_bytes(out, name_bytes(key));
        put_bytes(out, value);
    }
    let has_acl = entry.xattrs.iter().any(|(key, _)| name_bytes(key).starts_with(b"system."));
    (content, has_acl)
}

/// What [`encode`] wrote.
pub(super) fn decode(from: &mut &[u8], path: PathBuf) -> Option<Entry> {
    let (&flags, rest) = from.split_first()?;
    *from = rest;
    let mut number = || u32::try_from(take(from)?).ok();
    let (mode, source_mode, uid, gid) = (number()?, number()?, number()?, number()?);
    let (mut mtime, mut stat) = (None, None);
    if flags & TIMED != 0 {
        let seconds = i64::try_from(take_signed(from)?).ok()?;
        mtime = Some(Time { seconds, nanoseconds: u32::try_from(take(from)?).ok()? });
    }
    if flags & KNOWN != 0 {
        let time = mtime.unwrap_or_default().nanos();
        stat = Some(FileStat {
            dev: take(from)?,
            ino: take(from)?,
            size: take(from)?,
            mtime_ns: take_signed(from)?.checked_add(time)?,
            ctime_ns: take_signed(from)?.checked_add(time)?,
        });
    }
    let kind = match flags & KIND {
        0 => EntryKind::Directory,
        1 => EntryKind::File { size: take(from)?, digest: take_digest(from)? },
        2 => EntryKind::HardLink { to: take_length(from)?, size: take(from)?, digest: take_digest(from)? },
        3 => EntryKind::Symlink { target: os_string(take_bytes(from)?)? },
        4 => EntryKind::Fifo,
        5 => EntryKind::CharDevice { rdev: take(from)? },
        6 => EntryKind::BlockDevice { rdev: take(from)? },
        _ => return None,
    };
    let mut xattrs = Vec::new();
    while !from.is_empty() {
        xattrs.push((os_string(take_bytes(from)?)?, take_bytes(from)?.to_vec()));
    }
    Some(Entry {
        path,
        kind,
        mode,
        uid,
        gid,
        xattrs,
        implied: flags & IMPLIED != 0,
        source_mode,
        mtime,
        stat,
    })
}

fn length_of(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number with its sign in the lowest bit, which comes in two halves where it is large.
fn put_signed(out: &mut Vec<u8>, number: i128) {
    let folded = (number << 1 ^ number >> 127) as u128;
    // The first bit says whether the other half follows.
    let (low, high) = ((folded & u128::from(u64::MAX >> 1)) as u64, (folded >> 63) as u64);
    let more = folded >> 63 != 0;
    put(out, low << 1 | u64::from(more));
    if more {
        put(out, high);
        out.push((folded >> 127) as u8);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

fn take_signed(from: &mut &[u8]) -> Option<i128> {
    let low = take(from)?;
    let mut folded = u128::from(low >> 1);
    if low & 1 != 0 {
        folded |= u128::from(take(from)?) << 63;
        let (&top, rest) = from.split_first()?;
        *from = rest;
        folded |= u128::from(top & 1) << 127;
    }
    Some((folded >> 1) as i128 ^ -((folded & 1) as i128))
}

fn take_length(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(from)?).ok()
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(from)?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

fn take_digest(from: &mut &[u8]) -> Option<FileDigest> {
    let (bytes, rest) = from.split_first_chunk::<32>()?;
    *from = rest;
    Some(FileDigest::from(*bytes))
}

#[cfg(test)]
mod tests;
