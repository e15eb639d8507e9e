//! The files of layouts and archives as they are, to be copied elsewhere without a store.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::source::{ArchiveSource, DirectorySource, Source};
use super::{ArchiveFormat, IMAGE_NAME, REF_NAME, docker, oci};
use crate::blob::read_limited;
use crate::descriptor::Descriptor;
use crate::digest::{Digest, VerifiedReader};
use crate::error::{Error, Result};

/// Bytes that are read and hashed at once; who wants more gets them without a copy.
const PIECE: usize = 64 << 10;

/// A layout's directory, or an archive of either format. Reading changes nothing of it; several threads may read at
/// once.
pub struct LayoutReader {
    source: Box<dyn Source + Send + Sync>,
    format: ArchiveFormat,
}

impl std::fmt::Debug for LayoutReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayoutReader").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// An image of a `docker save` archive, with the blobs that its layers are there.
#[derive(Clone, Debug)]
pub struct SavedImage {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// Its layers, bottom first: as they lie in the archive, with the entry that each is.
    pub layers: Vec<(Descriptor, String)>,
}

impl LayoutReader {
    /// Opens a directory or an archive. One that is compressed as a whole is inflated into a file without a name in
    /// `spool`.
    ///
    /// # Errors
    /// When it is neither a layout nor an archive, or cannot be read.
    pub fn open(path: &Path, spool: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        let source: Box<dyn Source + Send + Sync> = if metadata.is_dir() {
            Box::new(DirectorySource::open(path)?)
        } else {
            if !metadata.is_file() {
                let why = "it is neither a file nor a directory";
                return Err(Error::invalid(format!("archive `{}`", path.display()), why));
            }
            let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
            let spooled = || tempfile::tempfile_in(spool).map_err(Error::io("make a file in", spool));
            Box::new(ArchiveSource::open(file, format!("archive `{}`", path.display()), spooled)?)
        };
        let format = match (source.has(oci::INDEX)?, source.has(docker::MANIFEST)?) {
            (true, _) => ArchiveFormat::Oci,
            (false, true) => ArchiveFormat::Docker,
            (false, false) => {
                let why = format!("it has neither `{}` nor `{}` in it", oci::INDEX, docker::MANIFEST);
                return Err(Error::invalid(source.name(), why));
            }
        };
        Ok(Self { source, format })
    }

    /// What it is called in a message.
    pub fn name(&self) -> String {
        self.source.name()
    }

    /// What it is. Archives of today's `docker save` are both, which counts as OCI.
    pub fn format(&self) -> ArchiveFormat {
        self.format
    }

    /// What its `index.json` names.
    ///
    /// # Errors
    /// When it is no OCI layout, or a malformed one.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(oci::read_index(&*self.source)?.manifests)
    }

    /// The entry that goes by `name` (a tag, a full name, or a digest, also one that the index does not name itself);
    /// without a name the only one, or the one called `latest`.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(&self, name: Option<&str>) -> Result<Descriptor> {
        let index = oci::read_index(&*self.source)?;
        if let Some(name) = name {
            if let Ok(digest) = name.trim_start_matches('@').parse::<Digest>()
                && !index.manifests.iter().any(|entry| entry.digest == digest)
                && let Some((_, size)) = self.source.open(&oci::path(&digest))?
            {
                return Ok(Descriptor::new("", digest, size));
            }
            return oci::choose(&*self.source, &index, name).cloned();
        }
        let named =
            |d: &&Descriptor| d.annotations.contains_key(REF_NAME) || d.annotations.contains_key(IMAGE_NAME);
        let latest = |d: &&Descriptor| d.annotations.get(REF_NAME).is_some_and(|name| name == "latest");
        let names: Vec<&Descriptor> = index.manifests.iter().filter(named).collect();
        match (index.manifests.as_slice(), names.as_slice()) {
            ([one], _) => return Ok(one.clone()),
            // What has no name is what refers to the others.
            (_, [one]) => return Ok((*one).clone()),
            ([], _) => return Err(Error::invalid(self.name(), "there is no image in it")),
            _ => {}
        }
        if let Some(latest) = index.manifests.iter().find(latest) {
            return Ok(latest.clone());
        }
        let tags: Vec<&str> =
            names.iter().filter_map(|d| d.annotations.get(REF_NAME)).map(String::as_str).collect();
        let why = match tags.is_empty() {
            true => {
                format!("{} images without names are in it: name the digest of one", index.manifests.len())
            }
            false => format!("several images are in it, name one: `{:.500}`", tags.join("`, `")),
        };
        Err(Error::invalid(self.name(), why))
    }

    /// A blob, verified as it is read.
    ///
    /// # Errors
    /// When it is not there.
    pub fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BufRead + Send>> {
        self.verified(&oci::path(&blob.digest), blob)
    }

    /// The bytes of a small blob.
    ///
    /// # Errors
    /// When it is not there, not what the descriptor says, or has more than `limit` bytes.
    pub fn small(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        oci::read_blob(&*self.source, blob, limit)
    }

    /// The image `name` of an archive of `docker save`; without a name its only one.
    ///
    /// # Errors
    /// When there is none of that name, or several, or one that is damaged.
    pub fn saved_image(&self, name: Option<&str>) -> Result<SavedImage> {
        docker::saved_image(&*self.source, name)
    }

    /// A layer of [`LayoutReader::saved_image`], verified as it is read.
    ///
    /// # Errors
    /// When it is not there.
    pub fn saved_layer(&self, blob: &Descriptor, entry: &str) -> Result<Box<dyn BufRead + Send>> {
        self.verified(entry, blob)
    }

    fn verified(&self, entry: &str, blob: &Descriptor) -> Result<Box<dyn BufRead + Send>> {
        let (reader, _): (Box<dyn Read + Send>, u64) = self.source.need(entry)?;
        let verified = VerifiedReader::new(reader, blob.digest, blob.size);
        Ok(Box::new(BufReader::with_capacity(PIECE, verified)))
    }
}

/// Digest and size of what `reader` gives.
pub(super) fn hash(mut reader: impl Read, what: &str) -> Result<(Digest, u64)> {
    let mut digester = crate::digest::Digester::new();
    std::io::copy(&mut reader, &mut digester).map_err(Error::stream(what))?;
    let size = digester.size();
    Ok((digester.finish(), size))
}

/// The first bytes of an entry, to tell what it is.
pub(super) fn start_of(source: &dyn Source, entry: &str) -> Result<Vec<u8>> {
    let (reader, _) = source.need(entry)?;
    read_limited(reader.take(4), entry, 4)
}
