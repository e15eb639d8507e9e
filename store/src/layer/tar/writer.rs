//! Writing archives: the same entries give the same bytes, always and everywhere.
//!
//! An entry that fits is one ustar header (POSIX.1-1988, with the name in its first field only). What does
//! not fit, and times with fractions, extended attributes and names that are not ASCII, stand in PAX records
//! before it, sorted by key. Nothing of the machine gets in: no user or group names, no access times, no
//! sparse forms.

use std::io::{Read, Write};

use super::{BLOCK, Entry, Kind, TarError, number, pax};

const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

/// Writes an archive entry by entry. [`Writer::finish`] makes it whole.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    /// Content bytes that the current entry still lacks.
    missing: u64,
    padding: usize,
    entries: u64,
    written: u64,
    path: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes into `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, missing: 0, padding: 0, entries: 0, written: 0, path: Vec::new() }
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes so far: behind [`Writer::entry`], where the content of that entry begins.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Begins an entry. Of a file's content exactly [`Entry::size`] bytes must follow by [`Writer::content`].
    ///
    /// # Errors
    /// When the entry before lacks content, this one can not be expressed, or the bytes can not be written.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), TarError> {
        self.end_entry()?;
        self.path.clone_from(&entry.path);
        if entry.path.is_empty() || entry.path.contains(&0) || entry.link.contains(&0) {
            return Err(TarError::malformed(&entry.path, "it has no proper name"));
        }
        let records = records(entry);
        if !records.is_empty() {
            let mut block = Vec::new();
            for (key, value) in &records {
                pax::push(&mut block, key, value);
            }
            let mut header = tar::Header::new_ustar();
            set(&mut header.as_old_mut().name, &pax_name(&entry.path));
            header.set_entry_type(tar::EntryType::XHeader);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(block.len() as u64);
            header.set_cksum();
            self.write(header.as_bytes())?;
            self.write(&block)?;
            self.write(&[0; BLOCK][..pad(block.len() as u64)])?;
        }
        self.write(header(entry).as_bytes())?;
        self.missing = if entry.kind == Kind::File { entry.size } else { 0 };
        self.padding = pad(self.missing);
        self.entries += 1;
        Ok(())
    }

    /// Writes content of the current entry.
    ///
    /// # Errors
    /// When that is more than its size, or can not be written.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.missing = self
            .missing
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| TarError::malformed(&self.path, "it has more content than its size says"))?;
        self.write(bytes)
    }

    /// Writes an entry with all its content.
    ///
    /// # Errors
    /// When `content` fails or does not have [`Entry::size`] bytes, or as [`Writer::entry`] says.
    pub fn append(&mut self, entry: &Entry, mut content: impl Read) -> Result<(), TarError> {
        self.entry(entry)?;
        if entry.kind != Kind::File {
            return Ok(());
        }
        let mut buf = vec![0; 64 * 1024];
        loop {
            match content.read(&mut buf) {
                Ok(0) => return self.end_entry(),
                Ok(n) => self.content(&buf[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(TarError::Read(e)),
            }
        }
    }

    /// Ends the archive and gives back what it was written into.
    ///
    /// # Errors
    /// When the last entry lacks content, or the bytes can not be written.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.end_entry()?;
        self.write(&[0; 2 * BLOCK])?;
        self.inner.flush().map_err(TarError::Write)?;
        Ok(self.inner)
    }

    fn end_entry(&mut self) -> Result<(), TarError> {
        if self.missing > 0 {
            let what = format!("it lacks {} bytes of its content", self.missing);
            return Err(TarError::malformed(&self.path, what));
        }
        let padding = std::mem::take(&mut self.padding);
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.inner.write_all(bytes).map_err(TarError::Write)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn pad(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

fn plain_name(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// The PAX records that an entry needs, sorted by key.
fn records(entry: &Entry) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut out: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| out.push((key.to_vec(), value.to_vec()));
    for (name, value) in entry.windows.iter().filter(|(name, _)| !name.contains(&b'=')) {
        add(name, value);
    }
    for (name, value) in &entry.xattrs {
        if name.contains(&b'=') {
            // Such a key would end at the wrong place; the other form can spell it.
            add(
                &[b"LIBARCHIVE.xattr.", &pax::percent_encoded(name)[..]].concat(),
                &pax::base64_encoded(value),
            );
        } else {
            add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
    }
    if entry.gid > OCTAL_7 {
        add(b"gid", entry.gid.to_string().as_bytes());
    }
    // Says that names are no UTF-8 (pax, "hdrcharset"), for readers that would decode them.
    if std::str::from_utf8(&entry.path).is_err() || std::str::from_utf8(&entry.link).is_err() {
        add(b"hdrcharset", b"BINARY");
    }
    if !plain_name(&entry.link) {
        add(b"linkpath", &entry.link);
    }
    if entry.mtime.nanoseconds != 0 || !(0..=OCTAL_11 as i64).contains(&entry.mtime.seconds) {
        add(b"mtime", number::time_text(entry.mtime).as_bytes());
    }
    if !plain_name(&entry.path) {
        add(b"path", &entry.path);
    }
    if entry.kind == Kind::File && entry.size > OCTAL_11 {
        add(b"size", entry.size.to_string().as_bytes());
    }
    if entry.uid > OCTAL_7 {
        add(b"uid", entry.uid.to_string().as_bytes());
    }
    out.sort();
    out
}

/// What stands in the name field of a PAX header; no reader uses it.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let base = trimmed.rsplit(|b| *b == b'/').next().unwrap_or(trimmed);
    let mut name = b"PaxHeaders.0/".to_vec();
    name.extend(base.iter().filter(|b| b.is_ascii()).take(100 - name.len()));
    name
}

fn header(entry: &Entry) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let within = |value: u64, limit: u64| if value > limit { 0 } else { value };
    header.set_entry_type(match entry.kind {
        Kind::File => tar::EntryType::Regular,
        Kind::HardLink => tar::EntryType::Link,
        Kind::Symlink => tar::EntryType::Symlink,
        Kind::CharDevice => tar::EntryType::Char,
        Kind::BlockDevice => tar::EntryType::Block,
        Kind::Directory => tar::EntryType::Directory,
        Kind::Fifo => tar::EntryType::Fifo,
    });
    header.set_mode(entry.mode & 0o7777);
    header.set_uid(within(entry.uid, OCTAL_7));
    header.set_gid(within(entry.gid, OCTAL_7));
    let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
    header.set_mtime(within(seconds, OCTAL_11));
    header.set_size(if entry.kind == Kind::File { within(entry.size, OCTAL_11) } else { 0 });
    set(&mut header.as_old_mut().name, &entry.path);
    set(&mut header.as_old_mut().linkname, &entry.link);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(entry.device.0);
        ustar.set_device_minor(entry.device.1);
    }
    header.set_cksum();
    header
}

/// Fills a name field: the ASCII part of `name`, as far as it goes.
fn set(field: &mut [u8; 100], name: &[u8]) {
    *field = [0; 100];
    for (to, from) in field.iter_mut().zip(name.iter().filter(|b| b.is_ascii())) {
        *to = *from;
    }
}
