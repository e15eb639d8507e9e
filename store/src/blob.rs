//! Blobs: content in the form that registries have it, each under its digest.
//!
//! A blob is written in `work/`, hashed as it is written, checked, synced as the durability asks, and then
//! renamed to `blobs/sha256/<hex>`. So whatever is found there is whole; two that write the same one at the
//! same time both win.

mod growing;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::descriptor::Descriptor;
use crate::digest::{Digest, Digester, VerifiedReader, VerifyError};
use crate::error::{Error, Result};
use crate::layer::Durability;
use crate::session::Session;
use crate::write_behind::WriteBehind;

pub use self::growing::GrowingBlob;
use self::growing::Growth;

/// Where blobs can be read from.
pub trait BlobSource: Send + Sync {
    /// The content that `descriptor` names. End of file is reported only after digest and size were found
    /// right.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn open_blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>>;
}

/// Where blobs can be put.
pub trait BlobSink: Send + Sync {
    /// Whether the blob is there already.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn has_blob(&self, digest: &Digest) -> io::Result<bool>;

    /// Takes all of `content`, which must be what `descriptor` names, or nothing of it.
    ///
    /// # Errors
    /// When the content is something else, or cannot be kept.
    fn put_blob(&self, descriptor: &Descriptor, content: &mut dyn Read) -> io::Result<()>;
}

/// The blobs of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: Arc<Path>,
    session: Arc<Session>,
    durability: Durability,
    next: Arc<AtomicU64>,
}

impl Blobs {
    pub(crate) fn open(dir: &Path, session: Arc<Session>, durability: Durability) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
        Ok(Self { dir: dir.into(), session, durability, next: Arc::default() })
    }

    /// Keeps content (blobs, layers by diff ID or chain ID) from being collected while this process lives. To be
    /// called before looking whether it is there.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn hold(&self, digests: &[Digest]) -> Result<()> {
        self.session.hold(digests)
    }

    /// The file of a blob, whether it is there or not.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Size of the blob in bytes; none when it is not there.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match std::fs::metadata(&path) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("look at", &path)(e)),
        }
    }

    /// Opens a blob to read. The bytes are verified on their way.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there.
    pub fn open_verified(&self, digest: &Digest) -> Result<VerifiedReader<BufReader<File>>> {
        let file = self.file(digest)?;
        let size = file.metadata().map_err(Error::io("look at", self.path(digest)))?.len();
        Ok(VerifiedReader::new(BufReader::with_capacity(1 << 16, file), *digest, size))
    }

    /// The open file of a blob, as it lies on the disk.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there.
    pub fn file(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound { what: "blob", name: digest.to_string() },
            _ => Error::io("open", &path)(e),
        })
    }

    /// All of a small blob, verified.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `limit` bytes, [`Error::NotFound`] when it is not there.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let reader = self.open_verified(digest)?;
        read_limited(reader, &format!("blob {digest}"), limit)
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn writer(&self) -> Result<BlobWriter> {
        let dir = self.session.dir()?;
        let path = dir.join(format!("blob-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = File::create_new(&path).map_err(Error::io("make", &path))?;
        Ok(BlobWriter {
            blobs: self.clone(),
            file: WriteBehind::new(file),
            path: Some(path),
            digester: Digester::new(),
            growth: None,
        })
    }

    /// Keeps `bytes` as a blob.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.session.hold(&[descriptor.digest])?;
        if self.size(&descriptor.digest)? == Some(descriptor.size) {
            return Ok(descriptor);
        }
        let mut writer = self.writer()?;
        writer.append(bytes)?;
        writer.finish(media_type, Some(&descriptor))
    }

    /// Keeps all of `content`, which must be what `descriptor` names.
    ///
    /// # Errors
    /// [`Error::Verify`] when it is something else.
    pub fn put(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<Descriptor> {
        let what = format!("blob {}", descriptor.digest);
        let mut writer = self.writer()?;
        let mut content = VerifiedReader::new(content, descriptor.digest, descriptor.size);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => writer.append(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::stream(what)(e)),
            }
        }
        writer.finish(&descriptor.media_type, Some(descriptor))
    }

    /// Every blob with its size in bytes. Files with other names than a digest's are passed over.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, u64, std::time::SystemTime)>> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))? {
            let entry = entry.map_err(Error::io("list", &self.dir))?;
            let Some(digest) = entry.file_name().to_str().and_then(|n| Digest::from_hex(n).ok()) else {
                continue;
            };
            // Removed in the meantime: not there.
            if let Ok(metadata) = entry.metadata() {
                out.push((digest, metadata.len(), changed(&metadata)));
            }
        }
        out.sort();
        Ok(out)
    }
}

/// When a file or directory came to its place: the later of its two times.
pub(crate) fn changed(metadata: &std::fs::Metadata) -> std::time::SystemTime {
    let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let ctime = std::time::UNIX_EPOCH
            + std::time::Duration::new(u64::try_from(metadata.ctime()).unwrap_or(0), 0)
            + std::time::Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or(0));
        modified.max(ctime)
    }
    // A rename leaves the times alone there; a blob is renamed as soon as it is written.
    #[cfg(not(unix))]
    modified.max(metadata.created().unwrap_or(std::time::UNIX_EPOCH))
}

/// Reads all of `reader`, at most `limit` bytes of it.
pub(crate) fn read_limited(reader: impl Read, what: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::stream(what))?;
    let size = bytes.len() as u64;
    if size > limit {
        return Err(Error::TooLarge { what: what.to_owned(), size, limit });
    }
    Ok(bytes)
}

/// A blob in the making; dropped, nothing of it is left.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: WriteBehind,
    path: Option<PathBuf>,
    digester: Digester,
    /// Tells those who read along.
    growth: Option<Growth>,
}

impl BlobWriter {
    /// Lets others read the blob from now on, while it is being written.
    ///
    /// # Errors
    /// When the file cannot be opened a second time.
    pub fn growing(&mut self) -> Result<GrowingBlob> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let (growth, blob) = Growth::of(path, self.blobs.session.trace()).map_err(Error::io("open", path))?;
        growth.grow(usize::try_from(self.size()).unwrap_or(usize::MAX)).map_err(Error::io("read", path))?;
        self.growth = Some(growth);
        Ok(blob)
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.digester.size()
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// When they cannot be written; names the file.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        self.file.write_all(bytes).map_err(Error::io("write", path))?;
        self.digester.update(bytes);
        match &self.growth {
            Some(growth) => growth.grow(bytes.len()).map_err(Error::io("write", path)),
            None => Ok(()),
        }
    }

    /// Compares what was written so far with `expected`: it must not be longer, and where it `ends` here it must be
    /// that.
    pub(crate) fn verify(&self, expected: &Descriptor, ends: bool) -> std::result::Result<(), VerifyError> {
        let size = self.digester.size();
        match ends {
            true => verify(expected, self.digester.clone().finish(), size),
            false if size > expected.size => {
                Err(VerifyError::TooLong { digest: expected.digest, size: expected.size })
            }
            false => Ok(()),
        }
    }

    /// Verifies the whole against `expected` and puts the blob in its place. Returns what it is, with the media
    /// type `media_type`.
    ///
    /// # Errors
    /// [`Error::Verify`] when digest or size are other than expected; then nothing is left.
    pub fn finish(mut self, media_type: &str, expected: Option<&Descriptor>) -> Result<Descriptor> {
        let path = self.path.clone().unwrap_or_default();
        let size = self.digester.size();
        let found = std::mem::take(&mut self.digester).finish();
        if let Some(expected) = expected {
            verify(expected, found, size)
                .map_err(|source| Error::Verify { what: format!("blob {}", expected.digest), source })?;
        }
        // Before it is in its place, so that no collector finds it without.
        self.blobs.session.hold(&[found])?;
        if self.blobs.durability == Durability::Power {
            let _span = self.blobs.session.trace().span("sync", &[]);
            self.file.file().sync_data().map_err(Error::io("sync", &path))?;
        }
        let target = self.blobs.path(&found);
        match std::fs::rename(&path, &target) {
            Ok(()) => self.path = None,
            // Windows refuses where somebody reads the same blob already: then ours is one too many.
            Err(e) if cfg!(windows) && e.kind() == io::ErrorKind::PermissionDenied => {
                if self.blobs.size(&found)? != Some(size) {
                    return Err(Error::io("rename into place", &target)(e));
                }
            }
            Err(e) => return Err(Error::io("rename into place", &target)(e)),
        }
        if self.blobs.durability == Durability::Power {
            let _span = self.blobs.session.trace().span("sync", &[]);
            sync_dir(&self.blobs.dir)?;
        }
        let descriptor = Descriptor::new(media_type, found, size);
        if let Some(growth) = self.growth.take() {
            growth.finish(&descriptor);
        }
        Ok(descriptor)
    }
}

fn verify(expected: &Descriptor, found: Digest, got: u64) -> std::result::Result<(), VerifyError> {
    let (digest, size) = (expected.digest, expected.size);
    if got > size {
        return Err(VerifyError::TooLong { digest, size });
    }
    if got < size {
        return Err(VerifyError::TooShort { digest, size, got });
    }
    if found != digest {
        return Err(VerifyError::WrongDigest { expected: digest, found });
    }
    Ok(())
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is swept with the session's directory.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Makes renames in `dir` lasting.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(Error::io("sync", dir))
}

/// Directories cannot be synced on Windows; its file systems keep renames in order.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_dir: &Path) -> Result<()> {
    Ok(())
}

impl BlobSource for Blobs {
    fn open_blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(1 << 16, self.file(&descriptor.digest)?);
        Ok(Box::new(VerifiedReader::new(file, descriptor.digest, descriptor.size)))
    }
}

impl BlobSink for Blobs {
    fn has_blob(&self, digest: &Digest) -> io::Result<bool> {
        self.session.hold(&[*digest])?;
        Ok(self.contains(digest))
    }

    fn put_blob(&self, descriptor: &Descriptor, content: &mut dyn Read) -> io::Result<()> {
        self.put(descriptor, content)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
