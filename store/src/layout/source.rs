//! Where the files of a layout come from: a directory, or a tar with its entries in any order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blob::read_limited;
use crate::error::{Error, Result};

/// Most entries of an archive: a layout has a few for each layer.
const MAX_ENTRIES: usize = 100_000;
/// Most links that lead from one entry to the next; old Dockers saved layers that several images share so.
const MAX_LINKS: usize = 8;

/// Files by name. Names are relative, with `/` between their parts.
pub(super) trait Source {
    /// What it is called in a message.
    fn name(&self) -> String;

    /// Opens a file; none where there is none of the name. Also tells its size in bytes.
    fn open(&self, name: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>>;

    /// Whether there is a file of the name.
    fn has(&self, name: &str) -> Result<bool> {
        Ok(self.open(name)?.is_some())
    }

    /// Opens a file that must be there.
    fn need(&self, name: &str) -> Result<(Box<dyn Read + Send>, u64)> {
        self.open(name)?.ok_or_else(|| Error::invalid(self.name(), format!("`{name:.200}` is missing")))
    }

    /// All of a small file that must be there.
    fn read_small(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        read_limited(self.need(name)?.0, &format!("`{name:.200}` in {}", self.name()), limit)
    }
}

/// A name without `.` and doubled slashes; none when it leads out.
fn clean(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A directory.
pub(super) struct DirectorySource {
    root: PathBuf,
    /// As it was named: what is canonical has another form on Windows, which nobody writes.
    given: PathBuf,
}

impl DirectorySource {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let given = root.to_owned();
        Ok(Self { root: std::fs::canonicalize(root).map_err(Error::io("open", root))?, given })
    }
}

impl Source for DirectorySource {
    fn name(&self) -> String {
        format!("directory `{}`", self.given.display())
    }

    fn open(&self, name: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        let Some(name) = clean(name).filter(|n| !n.contains('\\')) else { return Ok(None) };
        let path = self.root.join(name);
        let real = match std::fs::canonicalize(&path) {
            Ok(real) => real,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        if !real.starts_with(&self.root) {
            return Err(Error::invalid(self.name(), format!("`{}` leads out of it", path.display())));
        }
        // A FIFO must not hold us up.
        let metadata = std::fs::metadata(&real).map_err(Error::io("open", &path))?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let file = File::open(&real).map_err(Error::io("open", &path))?;
        Ok(Some((Box::new(BufReader::with_capacity(1 << 16, file)), metadata.len())))
    }
}

/// A tar in a file.
pub(super) struct ArchiveSource {
    file: Arc<File>,
    name: String,
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl ArchiveSource {
    /// Finds out what is where in `file`. One that is gzip-compressed is inflated into a `spool` file first.
    pub(super) fn open(mut file: File, name: String, spool: impl FnOnce() -> Result<File>) -> Result<Self> {
        let mut magic = [0; 2];
        let rewind = |file: &mut File| file.seek(SeekFrom::Start(0)).map_err(Error::stream(&name));
        rewind(&mut file)?;
        let n = file.read(&mut magic).map_err(Error::stream(&name))?;
        rewind(&mut file)?;
        if magic[..n] == [0x1f, 0x8b] {
            let mut inflated = spool()?;
            let mut reader = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
            io::copy(&mut reader, &mut inflated).map_err(Error::stream(&name))?;
            file = inflated;
            rewind(&mut file)?;
        }
        let entries = index(&file, &name)?;
        Ok(Self { file: Arc::new(file), name, entries })
    }
}

fn index(file: &File, name: &str) -> Result<BTreeMap<String, Entry>> {
    let length = file.metadata().map_err(Error::stream(name))?.len();
    let bad = |why: String| Error::invalid(name, why);
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 12, file));
    let mut entries = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(|e| bad(e.to_string()))? {
        let entry = entry.map_err(|e| bad(format!("it is not a tar, or damaged: {e}")))?;
        let path = entry.path_bytes();
        let path = String::from_utf8_lossy(&path).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let Some(clean_name) = clean(&path) else {
            return Err(bad(format!("its entry `{path:.200}` leads out of it")));
        };
        let value = if kind.is_file() {
            let (offset, size) = (entry.raw_file_position(), entry.size());
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(bad(format!("it ends in the middle of `{path:.200}`")));
            }
            Entry::File { offset, size }
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            let from =
                if kind.is_symlink() { clean_name.rsplit_once('/').map_or("", |(dir, _)| dir) } else { "" };
            match clean(&format!("{from}/{target}")) {
                Some(target) if !target.starts_with('/') => Entry::Link(target),
                _ => return Err(bad(format!("its link `{path:.200}` leads out of it"))),
            }
        } else {
            return Err(bad(format!("its entry `{path:.200}` is neither a file nor a directory")));
        };
        // As when unpacked: the last of a name counts.
        entries.insert(clean_name, value);
        if entries.len() > MAX_ENTRIES {
            return Err(bad(format!("it has more than {MAX_ENTRIES} entries")));
        }
    }
    if entries.is_empty() {
        return Err(bad("there is nothing in it".to_owned()));
    }
    Ok(entries)
}

impl Source for ArchiveSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn open(&self, name: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        let Some(mut name) = clean(name) else { return Ok(None) };
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name) {
                None => return Ok(None),
                Some(Entry::Link(target)) => name.clone_from(target),
                Some(Entry::File { offset, size }) => {
                    let part = Part { file: Arc::clone(&self.file), offset: *offset, left: *size };
                    return Ok(Some((Box::new(BufReader::with_capacity(1 << 16, part)), *size)));
                }
            }
        }
        Err(Error::invalid(self.name(), format!("its links go round in circles at `{name:.200}`")))
    }
}

/// A part of a file, read at its own offset, so that several may be read at once.
struct Part {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = read_at(&self.file, &mut buf[..most], self.offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}
