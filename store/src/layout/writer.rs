//! Content that comes from elsewhere, put into a layout or an archive byte for byte.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::sink::{Sink, TarSink, pour};
use super::source::DirectorySource;
use super::source::Source as _;
use super::whole::WholeFile;
use super::{docker, oci};
use crate::blob::sync_dir;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::image::Index;
use crate::reference::Reference;

/// What a file is called that is not whole yet.
const PREFIX: &str = ".orlop-copy-";

/// A layout's directory, to which blobs come from several threads, and in the end their names. What it has of other
/// names stays. Whoever reads it meanwhile sees the old names with all that they stand for.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
}

impl LayoutWriter {
    /// Opens the directory, made where missing.
    ///
    /// # Errors
    /// When it holds something else, or cannot be written.
    pub fn open(root: &Path) -> Result<Self> {
        let blobs = root.join("blobs").join("sha256");
        std::fs::create_dir_all(root).map_err(Error::io("make", root))?;
        let layout = root.join(oci::LAYOUT);
        // Another writer may have begun between the first look and the last.
        if !layout.is_file()
            && holds_something_else(root).map_err(Error::io("list", root))?
            && !layout.is_file()
        {
            let why = "it is neither an OCI layout nor empty";
            return Err(Error::invalid(format!("directory `{}`", root.display()), why));
        }
        let writer = Self { root: root.to_owned() };
        let mut lock = writer.lock()?;
        let mut content = Vec::new();
        // By the handle that has it locked: no other one can read it then on Windows.
        let read = (&mut lock).take(oci::MAX_LAYOUT).read_to_end(&mut content);
        read.map_err(Error::io("read", &layout))?;
        if content.is_empty() {
            lock.write_all(oci::LAYOUT_JSON.as_bytes()).map_err(Error::io("write", &layout))?;
        } else {
            oci::check_layout(&format!("directory `{}`", root.display()), &content)?;
        }
        let source = DirectorySource::open(root)?;
        if source.has(oci::INDEX)? {
            oci::read_names(&source)?;
        }
        std::fs::create_dir_all(&blobs).map_err(Error::io("make", &blobs))?;
        sweep(&blobs);
        sweep(root);
        Ok(writer)
    }

    /// The file `oci-layout`, which never changes: locked by who writes the index. What is given back unlocks it.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(oci::LAYOUT);
        // Two that begin at once find one file.
        let file = File::options().read(true).append(true).create(true).open(&path);
        let file = file.map_err(Error::io("open", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    /// Whether the blob is there. Its content is checked by whoever reads it.
    pub fn has(&self, blob: &Descriptor) -> bool {
        std::fs::metadata(self.path(blob)).is_ok_and(|m| m.is_file() && m.len() == blob.size)
    }

    fn path(&self, blob: &Descriptor) -> PathBuf {
        self.root.join(oci::path(&blob.digest))
    }

    /// Takes all of `content`, which its reader verifies, and must have the size that `blob` says.
    ///
    /// # Errors
    /// When `content` fails or is of another size, or the file cannot be written.
    pub fn put(&self, blob: &Descriptor, content: &mut dyn BufRead, told: &mut dyn FnMut(u64)) -> Result<()> {
        self.pour(&oci::path(&blob.digest), content, blob.size, told)
    }

    /// Writes a file that is there whole or not at all.
    fn pour(
        &self,
        name: &str,
        content: &mut dyn BufRead,
        size: u64,
        told: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let path = self.root.join(name);
        let mut file = temporary(path.parent().unwrap_or(&self.root), &path)?;
        pour(&format!("`{name}`"), content, size, &mut |bytes| {
            file.write_all(bytes).map_err(Error::io("write", &path))?;
            told(bytes.len() as u64);
            Ok(())
        })?;
        into_place(file, &path, &path)
    }

    /// Names what was put in: each entry takes the place of the one that has its name.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn finish(&self, entries: Vec<Descriptor>) -> Result<()> {
        let index = self.root.join(oci::INDEX);
        sync_dir(&self.root.join("blobs").join("sha256"))?;
        let _lock = self.lock()?;
        let source = DirectorySource::open(&self.root)?;
        let old = match source.has(oci::INDEX)? {
            true => oci::read_names(&source)?.manifests,
            false => Vec::new(),
        };
        let mut file = temporary(&self.root, &index)?;
        file.write_all(Index::make(oci::merged(&old, entries)).bytes())
            .map_err(Error::io("write", &index))?;
        // All names hang on it.
        file.as_file().sync_all().map_err(Error::io("sync", &index))?;
        into_place(file, &index, &index)?;
        sync_dir(&self.root)
    }
}

impl Sink for LayoutWriter {
    fn put(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        self.pour(name, &mut BufReader::with_capacity(1 << 17, content), size, &mut |_| ())
    }

    fn has(&self, name: &str) -> bool {
        // Content under its own digest; whoever reads it checks it.
        self.root.join(name).is_file()
    }
}

/// Whether anything is in the directory that no layout has. What another writer has just begun is a layout's.
fn holds_something_else(root: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !matches!(&*name, "blobs" | oci::LAYOUT) && !name.starts_with(PREFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what writers left that were killed: nobody has it locked. That some of it cannot be removed harms nobody.
fn sweep(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Locked until it is gone: who has just made it, and not locked it yet, then makes another one.
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A file that is not whole yet, locked as long as somebody writes it.
pub(super) fn temporary(dir: &Path, label: &Path) -> Result<tempfile::NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(dir).map_err(Error::io("write", label))?;
        // Between these two somebody may have taken it for what a dead one left.
        match file.as_file().try_lock() {
            Ok(()) if file.path().exists() => return Ok(file),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", label)(e)),
        }
    }
}

/// Renames a file that is whole to where it belongs. Windows refuses that while somebody reads what is there: those
/// who do it for a moment are waited for.
pub(super) fn into_place(mut file: tempfile::NamedTempFile, path: &Path, label: &Path) -> Result<()> {
    let mut patience = if cfg!(windows) { 50 } else { 0 };
    loop {
        let refused = match file.persist(path) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        if patience == 0 || refused.error.kind() != std::io::ErrorKind::PermissionDenied {
            return Err(Error::io("write", label)(refused.error));
        }
        patience -= 1;
        file = refused.file;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// An archive of either format in the making. The file is there whole when it is finished, and before that as it was.
pub struct ArchiveWriter {
    sink: TarSink<BufWriter<File>>,
    whole: WholeFile,
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter").field("file", &self.whole).finish_non_exhaustive()
    }
}

impl ArchiveWriter {
    /// Begins the archive that `path` will be.
    ///
    /// # Errors
    /// When no file can be made beside it.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let why = "it is a directory; an OCI layout is written with `oci-layout://DIR`";
            return Err(Error::invalid(format!("archive `{}`", path.display()), why));
        }
        let whole = WholeFile::create(path)?;
        let handle = whole.file().try_clone().map_err(Error::io("write", path))?;
        let sink = TarSink::new(BufWriter::with_capacity(1 << 18, handle), path);
        Ok(Self { sink, whole })
    }

    /// A file without a name on the disk that the archive will be on, for what has to be counted before it is written.
    ///
    /// # Errors
    /// When none can be made.
    pub fn spool(&self) -> Result<File> {
        match self.whole.near() {
            Some(dir) => tempfile::tempfile_in(dir).map_err(Error::io("make a file in", dir)),
            None => tempfile::tempfile().map_err(Error::stream("a file for what passes through")),
        }
    }

    /// Adds a blob of an OCI layout; one that is in it already is passed over.
    ///
    /// # Errors
    /// When `content` fails or has another size than `blob` says, or the file cannot be written.
    pub fn put(&mut self, blob: &Descriptor, content: &mut dyn Read) -> Result<()> {
        self.sink.put(&oci::path(&blob.digest), blob.size, content)
    }

    /// Ends an OCI layout in which `entries` are named.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self, entries: Vec<Descriptor>) -> Result<()> {
        self.sink.put_bytes(oci::LAYOUT, oci::LAYOUT_JSON.as_bytes())?;
        self.sink.put_bytes(oci::INDEX, Index::make(entries).bytes())?;
        self.close()
    }

    /// Adds a layer to an archive for `docker load`: its tar, by its diff ID.
    ///
    /// # Errors
    /// As [`ArchiveWriter::put`].
    pub fn put_layer(&mut self, layer: &Descriptor, tar: &mut dyn Read) -> Result<()> {
        self.sink.put(&docker::layer_entry(&layer.digest), layer.size, tar)
    }

    /// Ends an archive for `docker load` with this one image, whose layers are in it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish_docker(
        mut self,
        config: &[u8],
        layers: &[Descriptor],
        name: Option<&Reference>,
    ) -> Result<()> {
        let config_entry = format!("{}.json", crate::digest::Digest::of(config).hex());
        self.sink.put_bytes(&config_entry, config)?;
        let layers: Vec<String> = layers.iter().map(|layer| docker::layer_entry(&layer.digest)).collect();
        let tags = name.map(|name| vec![name.without_digest().familiar()]);
        let manifest = json!([{ "Config": config_entry, "RepoTags": tags, "Layers": layers }]);
        self.sink.put_bytes(docker::MANIFEST, manifest.to_string().as_bytes())?;
        self.close()
    }

    fn close(self) -> Result<()> {
        self.sink.finish()?;
        self.whole.finish()
    }
}
