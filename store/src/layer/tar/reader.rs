//! Reading archives.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::sparse::Map;
use super::{BLOCK, Entry, Kind, SPECIAL_LIMIT, TarError, Time, number, pax, shown};

/// A piece of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes were put into the buffer; never 0.
    Data(usize),
    /// So many zeros that the archive does not spell out; never 0.
    Hole(u64),
    /// The content is over.
    End,
}

/// Reads an archive from front to back, entry by entry.
///
/// Understands ustar, GNU, star and PAX headers, long names, huge numbers and all four forms of sparse files,
/// whose holes are filled in. Paths are bytes as they are found: nothing is cleaned and nothing is trusted.
///
/// ```
/// use std::io::Read;
/// # fn f(archive: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = orlop_store::layer::tar::Reader::new(archive);
/// while let Some(entry) = reader.next_entry()? {
///     let mut content = Vec::new();
///     reader.read_to_end(&mut content)?; // `Read` is the content of the current entry
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    /// Bytes taken from `inner` so far.
    taken: u64,
    /// What `taken` was where the content of the current entry began.
    start: u64,
    /// Bytes of the current entry that `inner` still holds, without padding.
    data: u64,
    /// Zeros after them up to the next block.
    padding: u64,
    /// Offset in the content of the current entry, holes included.
    position: u64,
    map: Map,
    part: usize,
    path: Vec<u8>,
    ended: bool,
}

/// Where a header came from: blocks and records before the entry's own.
#[derive(Default)]
struct Before {
    pax: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Reads the archive that `inner` yields, uncompressed.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            taken: 0,
            start: 0,
            data: 0,
            padding: 0,
            position: 0,
            map: Map::default(),
            part: 0,
            path: Vec::new(),
            ended: false,
        }
    }

    /// The next entry; what is left of the current one's content is skipped. None at the end, which is two
    /// blocks of zeros or, as other readers have it too, simply the end of the bytes between two entries.
    ///
    /// # Errors
    /// When the archive is cut off or makes no sense.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip()?;
        let mut before = Before::default();
        while !self.ended {
            let Some(block) = self.header_block()? else {
                if before.pax.is_some() || before.name.is_some() || before.link.is_some() {
                    return Err(self.truncated());
                }
                break;
            };
            let header = tar::Header::from_byte_slice(&block);
            let size =
                unsigned(&header.as_old().size).ok_or_else(|| self.malformed("its size is no number"))?;
            match header.as_old().linkflag[0] {
                b'x' | b'X' => before.pax = Some(self.special(size)?),
                // Comments of git archive and the like; Docker ignores them as well.
                b'g' => drop(self.special(size)?),
                b'L' => before.name = Some(self.long_name(size)?),
                b'K' => before.link = Some(self.long_name(size)?),
                // The label of a volume.
                b'V' => {}
                flag => return self.entry(header, flag, size, before).map(Some),
            }
        }
        Ok(None)
    }

    /// Reads the rest of the underlying stream, which belongs to the archive's digest: padding, and whatever
    /// else was put behind the end.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn drain(&mut self) -> Result<(), TarError> {
        self.taken += io::copy(&mut self.inner, &mut io::sink()).map_err(TarError::Read)?;
        Ok(())
    }

    /// Bytes of the underlying stream that were read so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives the underlying stream back.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The byte of the archive at which the current entry's content stands; none where it does not stand there
    /// as it is, in one piece: a sparse file with holes. Always a multiple of 512.
    pub fn content_at(&self) -> Option<u64> {
        match self.map.parts[..] {
            [] if self.map.size == 0 => Some(self.start),
            [(0, length)] if length == self.map.size => Some(self.start),
            _ => None,
        }
    }

    /// The next piece of the current entry's content. `buf` must not be empty.
    ///
    /// # Errors
    /// When the archive is cut off.
    pub fn chunk(&mut self, buf: &mut [u8]) -> Result<Chunk, TarError> {
        while let Some(&(offset, length)) = self.map.parts.get(self.part) {
            if self.position < offset {
                let hole = offset - self.position;
                self.position = offset;
                return Ok(Chunk::Hole(hole));
            }
            let left = offset + length - self.position;
            if left == 0 {
                self.part += 1;
                continue;
            }
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            let n = read_some(&mut self.inner, &mut buf[..want]).map_err(TarError::Read)?;
            if n == 0 {
                return Err(self.truncated());
            }
            self.position += n as u64;
            self.taken += n as u64;
            self.data -= n as u64;
            return Ok(Chunk::Data(n));
        }
        let hole = self.map.size - self.position;
        self.position = self.map.size;
        Ok(if hole > 0 { Chunk::Hole(hole) } else { Chunk::End })
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        flag: u8,
        header_size: u64,
        before: Before,
    ) -> Result<Entry, TarError> {
        let old = header.as_old();
        let block = header.as_bytes();
        let mut path = header_path(block);
        let mut link = until_nul(&old.linkname).to_vec();
        if let Some(name) = before.name {
            path = name;
        }
        if let Some(name) = before.link {
            link = name;
        }
        self.path.clone_from(&path);
        let pax_block = before.pax.unwrap_or_default();
        let records = pax::records(&pax_block).map_err(|what| self.malformed(what))?;
        let mut said: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (key, value) in &records {
            // An empty value takes back what was said.
            if value.is_empty() {
                said.remove(key);
            } else {
                said.insert(key, value);
            }
        }
        if let Some(value) = said.get(&b"path"[..]) {
            path = value.to_vec();
        }
        if let Some(value) = said.get(&b"GNU.sparse.name"[..]) {
            path = value.to_vec();
        }
        if let Some(value) = said.get(&b"linkpath"[..]) {
            link = value.to_vec();
        }
        self.path.clone_from(&path);
        if path.is_empty() || path.contains(&0) || link.contains(&0) {
            return Err(self.malformed("it has no proper name"));
        }
        let number = |key: &[u8], field: &[u8], what: &str| match said.get(key) {
            Some(value) => {
                number::decimal(value).ok_or_else(|| self.malformed(format!("its {what} is no number")))
            }
            None => unsigned(field).ok_or_else(|| self.malformed(format!("its {what} is no number"))),
        };
        let uid = number(b"uid", &old.uid, "owner")?;
        let gid = number(b"gid", &old.gid, "group")?;
        let mode = number(b"", &old.mode, "mode")?;
        let mtime = match said.get(&b"mtime"[..]) {
            Some(value) => number::time(value),
            None => number::field(&old.mtime)
                .and_then(|n| i64::try_from(n).ok())
                .map(|seconds| Time { seconds, nanoseconds: 0 }),
        }
        .ok_or_else(|| self.malformed("its time is no number"))?;
        let kind = match flag {
            b'0' | b'7' | 0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' | b'S' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let what = format!("entries of type `{}` are not supported", other.escape_ascii());
                return Err(self.malformed(what));
            }
        };
        if matches!(kind, Kind::HardLink | Kind::Symlink) {
            if link.is_empty() {
                return Err(self.malformed("it is a link to nothing"));
            }
        } else {
            link.clear();
        }
        let mut device = (0, 0);
        if let (Kind::CharDevice | Kind::BlockDevice, Some(ustar)) = (kind, header_with_devices(block)) {
            let part = |field| unsigned(field).and_then(|n| u32::try_from(n).ok());
            let (Some(major), Some(minor)) = (part(&ustar[..8]), part(&ustar[8..])) else {
                return Err(self.malformed("its device number is no number"));
            };
            device = (major, minor);
        }
        let size = match said.get(&b"size"[..]) {
            Some(value) => number::decimal(value).ok_or_else(|| self.malformed("its size is no number"))?,
            None => header_size,
        };
        if size > i64::MAX as u64 {
            return Err(self.malformed("its size is larger than any file"));
        }
        // Other kinds have no data, whatever their size says (Go, Docker).
        let size = if kind == Kind::File { size } else { 0 };
        self.data = size;
        self.padding = padding(size);
        self.position = 0;
        self.part = 0;
        self.map = Map { parts: if size > 0 { vec![(0, size)] } else { Vec::new() }, size };
        if kind == Kind::File {
            if flag == b'S' {
                self.map = self.old_sparse(block)?;
            } else if let Some(map) = self.pax_sparse(&records, &said)? {
                self.map = map;
            }
        }
        self.start = self.taken;
        Ok(Entry {
            path,
            kind,
            mode: (mode & 0o7777) as u32,
            uid,
            gid,
            mtime,
            link,
            size: self.map.size,
            device,
            xattrs: pax::xattrs(&records),
            windows: said
                .iter()
                .filter(|(key, _)| crate::layer::windows::is_ours(key))
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect(),
        })
    }

    /// The map of a GNU sparse entry in the old form: in the header and in blocks that follow it.
    fn old_sparse(&mut self, block: &[u8; BLOCK]) -> Result<Map, TarError> {
        let mut parts = Vec::new();
        Map::old_pairs(&block[386..482], &mut parts).map_err(|what| self.malformed(what))?;
        let size = unsigned(&block[483..495])
            .ok_or_else(|| self.malformed("its size without holes is no number"))?;
        let mut more = block[482] != 0;
        while more {
            let mut extension = [0; BLOCK];
            self.exact(&mut extension)?;
            Map::old_pairs(&extension[..504], &mut parts).map_err(|what| self.malformed(what))?;
            more = extension[504] != 0;
            if parts.len() as u64 > SPECIAL_LIMIT / 16 {
                return Err(self.malformed("its sparse map is too large"));
            }
        }
        self.sparse_map(parts, size)
    }

    /// The map of a sparse entry in one of the three forms that use PAX records.
    fn pax_sparse(
        &mut self,
        records: &[pax::Record<'_>],
        said: &BTreeMap<&[u8], &[u8]>,
    ) -> Result<Option<Map>, TarError> {
        let is = |key: &[u8], value: &[u8]| said.get(key) == Some(&value);
        let size = said.get(&b"GNU.sparse.realsize"[..]).or_else(|| said.get(&b"GNU.sparse.size"[..]));
        let size = size.map(|value| number::decimal(value));
        let parts = if is(b"GNU.sparse.major", b"1") && is(b"GNU.sparse.minor", b"0") {
            self.map_in_data()?
        } else if let Some(text) = said.get(&b"GNU.sparse.map"[..]) {
            Map::commas(text).map_err(|what| self.malformed(what))?
        } else if said.contains_key(&b"GNU.sparse.numblocks"[..]) {
            let keys = [&b"GNU.sparse.offset"[..], b"GNU.sparse.numbytes"];
            let numbers = records.iter().filter(|(key, _)| keys.contains(key));
            let numbers: Option<Vec<u64>> = numbers
                .enumerate()
                .map(|(i, (key, value))| if *key == keys[i % 2] { number::decimal(value) } else { None })
                .collect();
            let numbers =
                numbers.ok_or_else(|| self.malformed("a sparse map has no number where one belongs"))?;
            Map::pairs(&numbers).map_err(|what| self.malformed(what))?
        } else {
            return Ok(None);
        };
        let size = size.flatten().ok_or_else(|| self.malformed("its size without holes is no number"))?;
        self.sparse_map(parts, size).map(Some)
    }

    /// Form 1.0: decimal numbers, one a line, before the data, filled up to a block.
    fn map_in_data(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let mut text = Vec::new();
        let mut numbers = Vec::new();
        let mut wanted = None;
        while wanted.is_none_or(|n| (numbers.len() as u64) < n) {
            if self.data < BLOCK as u64 || text.len() as u64 > SPECIAL_LIMIT {
                return Err(self.malformed("its sparse map does not end"));
            }
            let mut block = [0; BLOCK];
            self.exact(&mut block)?;
            self.data -= BLOCK as u64;
            text.extend_from_slice(&block);
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let value = number::decimal(&text[..end])
                    .ok_or_else(|| self.malformed("a sparse map has no number where one belongs"))?;
                text.drain(..=end);
                match wanted {
                    None => {
                        let count = value.checked_mul(2).filter(|n| *n <= SPECIAL_LIMIT / 8);
                        wanted = Some(count.ok_or_else(|| self.malformed("its sparse map is too large"))?);
                    }
                    Some(_) => numbers.push(value),
                }
                if wanted == Some(numbers.len() as u64) {
                    break;
                }
            }
        }
        Map::pairs(&numbers).map_err(|what| self.malformed(what))
    }

    fn sparse_map(&self, parts: Vec<(u64, u64)>, size: u64) -> Result<Map, TarError> {
        if size > i64::MAX as u64 {
            return Err(self.malformed("its size is larger than any file"));
        }
        Map::checked(parts, size, self.data).map_err(|what| self.malformed(what))
    }

    /// The content of a block that describes the next entry.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > SPECIAL_LIMIT {
            return Err(self.malformed(format!("a name or record of {size} bytes is too long")));
        }
        let mut out = Vec::new();
        let total = size + padding(size);
        let n = (&mut self.inner).take(total).read_to_end(&mut out).map_err(TarError::Read)?;
        self.taken += n as u64;
        if (out.len() as u64) < total {
            return Err(self.truncated());
        }
        out.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(out)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        Ok(until_nul(&self.special(size)?).to_vec())
    }

    /// The next header; none at the end of the archive.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block == [0; BLOCK] {
            self.ended = true;
            return match self.block()? {
                None => Ok(None),
                Some(second) if second == [0; BLOCK] => Ok(None),
                Some(_) => Err(self.malformed("a single block of zeros stands between entries")),
            };
        }
        let stored = number::field(&block[148..156]);
        // Every archive has one of these a block: sums that the compiler can make of many bytes at once.
        let sum = |signed: bool| {
            let of = |bytes: &[u8]| -> i32 {
                match signed {
                    true => bytes.iter().map(|b| i32::from(*b as i8)).sum(),
                    false => bytes.iter().map(|b| i32::from(*b)).sum(),
                }
            };
            i128::from(of(&block) - of(&block[148..156]) + 8 * 32)
        };
        if stored != Some(sum(false)) && stored != Some(sum(true)) {
            return Err(self.malformed("a header has the wrong checksum"));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match read_some(&mut self.inner, &mut block[filled..]).map_err(TarError::Read)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.truncated()),
                n => filled += n,
            }
        }
        self.taken += BLOCK as u64;
        Ok(Some(block))
    }

    fn exact(&mut self, block: &mut [u8; BLOCK]) -> Result<(), TarError> {
        *block = self.block()?.ok_or_else(|| self.truncated())?;
        Ok(())
    }

    /// Skips what is left of the current entry.
    fn skip(&mut self) -> Result<(), TarError> {
        let left = self.data + self.padding;
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink()).map_err(TarError::Read)?;
        self.taken += skipped;
        // An archive that ends right after the data of its last entry lacks only zeros.
        if skipped < self.data {
            return Err(self.truncated());
        }
        (self.data, self.padding, self.map, self.part, self.position) = (0, 0, Map::default(), 0, 0);
        Ok(())
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated { entry: (!self.path.is_empty()).then(|| shown(&self.path)) }
    }

    fn malformed(&self, what: impl Into<String>) -> TarError {
        TarError::malformed(&self.path, what)
    }
}

/// The content of the current entry, holes filled with zeros.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let position = self.position;
        match self.chunk(buf).map_err(io::Error::from)? {
            Chunk::Data(n) => Ok(n),
            Chunk::End => Ok(0),
            Chunk::Hole(hole) => {
                let n = usize::try_from(hole).unwrap_or(usize::MAX).min(buf.len());
                buf[..n].fill(0);
                self.position = position + n as u64;
                Ok(n)
            }
        }
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read(e) | TarError::Write(e) => e,
            TarError::Truncated { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            TarError::Malformed { .. } => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}

fn read_some(inner: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match inner.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn unsigned(field: &[u8]) -> Option<u64> {
    number::field(field).and_then(|n| u64::try_from(n).ok())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

/// The name in the header itself: with the prefix of ustar and star headers. GNU headers have other things
/// in that place.
fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = match &block[257..263] {
        b"ustar\0" if &block[508..512] == b"tar\0" => until_nul(&block[345..476]),
        b"ustar\0" => until_nul(&block[345..500]),
        _ => b"",
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// The two device fields, which v7 headers do not have.
fn header_with_devices(block: &[u8; BLOCK]) -> Option<&[u8]> {
    (&block[257..262] == b"ustar").then(|| &block[329..345])
}
