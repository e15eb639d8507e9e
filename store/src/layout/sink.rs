//! Where the files of a layout go: into a directory, or into a tar.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A place for files by name. A name that was written already is passed over: content has one name only.
pub(super) trait Sink {
    /// Writes `size` bytes of `content`, and fails when it has fewer.
    fn put(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()>;

    /// Writes the file that makes all others count, last.
    fn put_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(name, bytes.len() as u64, &mut &bytes[..])
    }

    /// Whether `name` needs no writing.
    fn has(&self, name: &str) -> bool;
}

/// A tar with fixed metadata.
pub(super) struct TarSink<W: Write> {
    out: W,
    /// What the archive is called in a message.
    label: PathBuf,
    names: BTreeSet<String>,
}

impl<W: Write> TarSink<W> {
    pub(super) fn new(out: W, label: &Path) -> Self {
        Self { out, label: label.to_owned(), names: BTreeSet::new() }
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<()> {
        let ended = self.out.write_all(&[0; 1024]).and_then(|()| self.out.flush());
        ended.map_err(Error::io("write", &self.label))
    }

    fn header(&mut self, name: &str, kind: tar::EntryType, size: u64) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(Error::stream(format!("entry `{name}` of the archive")))?;
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(Error::io("write", &self.label))
    }

    fn directories(&mut self, name: &str) -> Result<()> {
        for (at, _) in name.match_indices('/') {
            let dir = name.get(..=at).unwrap_or_default();
            if self.names.insert(dir.to_owned()) {
                self.header(dir, tar::EntryType::Directory, 0)?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn put(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        if !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        self.directories(name)?;
        self.header(name, tar::EntryType::Regular, size)?;
        let mut content = BufReader::with_capacity(1 << 17, content);
        pour(&format!("`{name}`"), &mut content, size, &mut |bytes| {
            self.out.write_all(bytes).map_err(Error::io("write", &self.label))
        })?;
        let padding = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
        self.out.write_all(&[0; 512][..padding]).map_err(Error::io("write", &self.label))
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Passes all of `content` on, which must have `size` bytes. `what` it is, for messages.
pub(super) fn pour(
    what: &str,
    content: &mut dyn BufRead,
    size: u64,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut total: u64 = 0;
    loop {
        let bytes = match content.fill_buf() {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::stream(what)(e)),
        };
        let count = bytes.len();
        total = total.saturating_add(count as u64);
        if count == 0 || total > size {
            break;
        }
        write(bytes)?;
        content.consume(count);
    }
    if total != size {
        return Err(Error::invalid(what, format!("it has {total} bytes or more, not {size}")));
    }
    Ok(())
}
