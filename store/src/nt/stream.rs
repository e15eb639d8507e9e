//! Alternate data streams.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::AsHandle;

use super::call::{self, Fields};
use super::dir::{SHARE_ALL, Share, access};
use super::stat::class;
use super::{Dir, is_unsupported, name};

/// The type of streams that have content.
const TYPE: &str = ":$DATA";

/// One alternate stream of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Its name, without colons.
    pub name: OsString,
    /// Its bytes.
    pub size: u64,
}

impl Dir {
    /// The alternate streams of `name`, sorted; the file's own content is none of them.
    ///
    /// # Errors
    /// When the system does not say. A file system without streams has none.
    pub fn streams(&self, name: &OsStr) -> io::Result<Vec<Stream>> {
        let file = self.any(name, access::READ_ATTRIBUTES)?;
        let mut found = match call::query_all(file.as_handle(), class::STREAM) {
            Ok((buffer, length)) => parse(buffer.bytes().get(..length).unwrap_or_default()),
            Err(e) if is_unsupported(&e) => self.streams_as_files(name)?,
            // Directories without any.
            Err(e) if e.raw_os_error() == Some(38) => Vec::new(),
            Err(e) => return Err(e),
        };
        found.sort();
        Ok(found)
    }

    /// The content of a stream, to read.
    ///
    /// # Errors
    /// When there is none, or somebody holds it.
    pub fn stream(&self, name: &OsStr, stream: &OsStr, share: Share) -> io::Result<File> {
        let mut units = name::stream(name, stream)?;
        let share = if share == Share::All { SHARE_ALL } else { 1 };
        match self.raw(&units, access::FILE_READ, 1, 0, share) {
            // As Wine keeps one that was named with its type.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                units.extend(TYPE.encode_utf16());
                Ok(self.raw(&units, access::FILE_READ, 1, 0, share)?.into())
            }
            other => other.map(File::from),
        }
    }

    /// Makes a stream, to write. Whether it was there before makes no difference; it is empty.
    ///
    /// # Errors
    /// When the file system has no streams, or the file is not there.
    pub fn make_stream(&self, name: &OsStr, stream: &OsStr) -> io::Result<File> {
        // Without this a stream of nothing would make a file.
        if self.stat(name)?.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let units = name::stream(name, stream)?;
        // FILE_OVERWRITE_IF.
        Ok(self.raw(&units, access::FILE_READ | access::FILE_WRITE, 5, 0, SHARE_ALL)?.into())
    }

    /// Wine's: `a:b` is a file of that name beside `a`.
    fn streams_as_files(&self, name: &OsStr) -> io::Result<Vec<Stream>> {
        let prefix: Vec<u16> = name.encode_wide().chain([u16::from(b':')]).collect();
        let mut out = Vec::new();
        for entry in self.list_raw()? {
            let units: Vec<u16> = entry.name.encode_wide().collect();
            if let Some(stream) = units.strip_prefix(&prefix[..]) {
                let typed: Vec<u16> = TYPE.encode_utf16().collect();
                let stream = stream.strip_suffix(&typed[..]).unwrap_or(stream);
                out.push(Stream { name: OsString::from_wide(stream), size: entry.stat.size });
            }
        }
        out.dedup_by(|one, other| one.name == other.name);
        Ok(out)
    }
}

/// `FILE_STREAM_INFORMATION`: names are `:name:$DATA`; of other types there is nothing to be had.
fn parse(mut rest: &[u8]) -> Vec<Stream> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let next = rest.u32_at(0) as usize;
        let bytes = rest.get(24..).and_then(|r| r.get(..rest.u32_at(4) as usize)).unwrap_or_default();
        let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        let suffix: Vec<u16> = TYPE.encode_utf16().collect();
        if let Some(name) = units.strip_prefix(&[0x3A][..]).and_then(|n| n.strip_suffix(&suffix[..]))
            && !name.is_empty()
        {
            out.push(Stream { name: OsString::from_wide(name), size: rest.u64_at(8) });
        }
        rest = if next == 0 { &[] } else { rest.get(next..).unwrap_or_default() };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_system_is_read() {
        let entry = |name: &str, size: u64, last: bool| {
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut out = vec![0; 24];
            out[4..8].copy_from_slice(&u32::try_from(units.len()).unwrap().to_le_bytes());
            out[8..16].copy_from_slice(&size.to_le_bytes());
            out.extend(units);
            out.resize(out.len().next_multiple_of(8), 0);
            if !last {
                let length = u32::try_from(out.len()).unwrap();
                out[..4].copy_from_slice(&length.to_le_bytes());
            }
            out
        };
        let mut answer = entry("::$DATA", 5, false);
        answer.extend(entry(":Zone.Identifier:$DATA", 26, false));
        answer.extend(entry(":other:$BITMAP", 1, true));
        let found = parse(&answer);
        assert_eq!(found, [Stream { name: "Zone.Identifier".into(), size: 26 }]);
        for cut in 0..answer.len() {
            parse(&answer[..cut]);
        }
    }
}
