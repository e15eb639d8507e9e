//! Listing a directory.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::{AsHandle, BorrowedHandle};

use super::call::{self, Buffer, Fields};
use super::dir::access;
use super::stat::{self, class};
use super::{Dir, Stat, attribute, is_unsupported};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the directory has it.
    pub name: OsString,
    /// What it stands for; `links` is 0.
    pub stat: Stat,
}

/// Where the fields of an entry are.
struct Layout {
    class: i32,
    /// The reparse tag, or where there is none of its own the size of extended attributes, which is the tag.
    tag: usize,
    id: usize,
    long_id: bool,
    name: usize,
}

/// Windows 8 and Server 2012 on, but not in Wine 8.
const EXTENDED: Layout = Layout { class: class::ID_EXTD_DIRECTORY, tag: 68, id: 72, long_id: true, name: 88 };
const BOTH: Layout = Layout { class: class::ID_BOTH_DIRECTORY, tag: 64, id: 96, long_id: false, name: 104 };

impl Dir {
    /// Everything in the directory, sorted by the UTF-16 units of the names.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut out = self.list_raw()?;
        if out.iter().any(|entry| is_stream(&entry.name)) {
            let upper = |name: &OsStr| name.to_string_lossy().to_uppercase();
            let files: HashSet<String> = out.iter().map(|entry| upper(&entry.name)).collect();
            // One of no file is no stream, and is not to stay unseen.
            out.retain(|entry| match upper(&entry.name).split_once(':') {
                Some((file, _)) => !files.contains(file),
                None => true,
            });
        }
        Ok(out)
    }

    /// The same with the files that Wine keeps streams in.
    pub(super) fn list_raw(&self) -> io::Result<Vec<Entry>> {
        let (volume, _) = stat::identity(self.handle())?;
        // By a handle of its own: a handle has one place in its listing, and Wine lists again what it listed first.
        let handle = self.reopen(access::LIST)?;
        match read(handle.as_handle(), &EXTENDED, volume) {
            Err(e) if is_unsupported(&e) => read(handle.as_handle(), &BOTH, volume),
            other => other,
        }
    }
}

/// Whether a listed name is that of a stream: no file of Windows has a colon in its name.
pub(super) fn is_stream(name: &OsStr) -> bool {
    name.encode_wide().any(|unit| unit == u16::from(b':'))
}

fn read(dir: BorrowedHandle<'_>, layout: &Layout, volume: u64) -> io::Result<Vec<Entry>> {
    let mut found: BTreeMap<Vec<u16>, Stat> = BTreeMap::new();
    let mut buffer = Buffer::new(64 << 10);
    let mut restart = true;
    while let Some(length) = call::directory(dir, layout.class, &mut buffer, restart)? {
        restart = false;
        let mut rest = buffer.bytes().get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let next = rest.u32_at(0) as usize;
            let bytes = rest.u32_at(60) as usize;
            let name = rest.get(layout.name..).and_then(|r| r.get(..bytes)).unwrap_or_default();
            let name: Vec<u16> = name.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            if !(name.is_empty() || name == [0x2E] || name == [0x2E, 0x2E]) {
                found.insert(name, entry(rest, layout, volume));
            }
            rest = if next == 0 { &[] } else { rest.get(next..).unwrap_or_default() };
        }
    }
    Ok(found.into_iter().map(|(name, stat)| Entry { name: OsString::from_wide(&name), stat }).collect())
}

fn entry(bytes: &[u8], layout: &Layout, volume: u64) -> Stat {
    let attributes = bytes.u32_at(56);
    let tag = if attributes & attribute::REPARSE != 0 { bytes.u32_at(layout.tag) } else { 0 };
    let id = match layout.long_id {
        true => u128::from_le_bytes(bytes.at(layout.id)),
        false => bytes.u64_at(layout.id).into(),
    };
    Stat {
        kind: stat::kind(attributes, tag),
        attributes,
        size: stat::size(attributes, bytes.u64_at(40)),
        times: stat::times(bytes, 8),
        id,
        volume,
        links: 0,
    }
}
