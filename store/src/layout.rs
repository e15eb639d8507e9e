//! Images in files: OCI layouts (a directory, or a tar of it) and the archives of `docker save`.
//!
//! What is written is the same bytes for the same image: entries in a fixed order, with no times and no owners.
//! What is read is verified, digest by digest, before anything of it is named in the store.

mod docker;
mod oci;
mod peek;
mod reader;
mod sink;
mod source;
mod whole;
mod writer;

use std::io::{Read, Write};
use std::path::Path;

pub use peek::peek;
pub use reader::{LayoutReader, SavedImage};
pub use whole::WholeFile;
pub use writer::{ArchiveWriter, LayoutWriter};

use sink::TarSink;
use source::{ArchiveSource, DirectorySource, Source};

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::image::{Image, Index, Manifest, ManifestKind};
use crate::layer::compress::Compression;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{ExportOptions, Store};

/// The annotation with the tag, or whatever a layout's maker calls an image.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the full name.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// What an archive is like inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// An OCI image layout.
    Oci,
    /// What `docker save` writes and `docker load` reads, with layers that are not compressed.
    Docker,
}

/// What goes by one name.
#[derive(Clone, Debug)]
pub enum Content {
    /// One image.
    Image(Box<Image>),
    /// Images of several platforms: their index, and each of them with the manifest that the index names.
    Index(Index, Vec<Image>),
}

impl From<Image> for Content {
    fn from(image: Image) -> Self {
        Self::Image(Box::new(image))
    }
}

/// An image on its way out, and the names that it goes by.
#[derive(Clone, Debug)]
pub struct NamedImage {
    /// The image, or several in an index.
    pub content: Content,
    /// Its names; may be none.
    pub names: Vec<Reference>,
}

/// How images are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveOptions {
    /// Compression of layers that have no blob yet. Docker archives do without.
    pub compression: Compression,
    /// Whether blobs of another compression are made anew, too.
    pub force: bool,
}

impl Default for SaveOptions {
    fn default() -> Self {
        let ExportOptions { compression, force, .. } = ExportOptions::default();
        Self { compression, force }
    }
}

/// Which images are read from a file.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Only the one of this name: a tag or reference as the file has it, or a digest of a manifest or index. All
    /// where none is given.
    pub name: Option<String>,
    /// Which one where a name stands for several platforms. Where none is given it is this machine's, or the first;
    /// the others of its index come into the store as well.
    pub platform: Option<Platform>,
    /// Bring its layers alone: the store's list of images does not get it. For what is only built upon.
    pub layers_only: bool,
}

/// An image that was read from a file and is now in the store.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its names in the file, as far as they are names of images.
    pub names: Vec<Reference>,
    /// The image.
    pub image: Image,
    /// The descriptor that the file had it, or the index over it, under.
    pub descriptor: Option<Descriptor>,
}

impl Store {
    /// Writes `images` to the file `path`, which is there whole or not at all.
    ///
    /// # Errors
    /// When a layer is not in the store, or the file cannot be written.
    pub fn save(
        &self,
        path: &Path,
        format: ArchiveFormat,
        images: &[NamedImage],
        options: &SaveOptions,
    ) -> Result<Vec<Descriptor>> {
        let whole = WholeFile::create(path)?;
        let written = self.write_archive(&mut whole.file(), path, format, images, options)?;
        whole.finish()?;
        Ok(written)
    }

    /// Writes `images` as an archive to a stream. Returns the descriptors of what was written: of manifests and
    /// indexes in OCI archives, of configs in Docker ones.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save_to(
        &self,
        out: &mut dyn Write,
        format: ArchiveFormat,
        images: &[NamedImage],
        options: &SaveOptions,
    ) -> Result<Vec<Descriptor>> {
        self.write_archive(out, Path::new("archive"), format, images, options)
    }

    fn write_archive(
        &self,
        out: &mut dyn Write,
        label: &Path,
        format: ArchiveFormat,
        images: &[NamedImage],
        options: &SaveOptions,
    ) -> Result<Vec<Descriptor>> {
        let mut buffered = std::io::BufWriter::with_capacity(1 << 18, out);
        let mut sink = TarSink::new(&mut buffered, label);
        let written = match format {
            ArchiveFormat::Oci => {
                let saved = oci::write(self, &mut sink, images, options)?;
                oci::end(&mut sink, saved.entries)?;
                saved.written
            }
            ArchiveFormat::Docker => docker::write(self, &mut sink, images)?,
        };
        sink.finish()?;
        buffered.flush().map_err(Error::io("write", label))?;
        Ok(written)
    }

    /// Writes `images` into the OCI layout at the directory `path`, made where missing. Images of other names that
    /// it has stay.
    ///
    /// # Errors
    /// As [`Store::save`]; or when the directory holds something else.
    pub fn save_layout(
        &self,
        path: &Path,
        images: &[NamedImage],
        options: &SaveOptions,
    ) -> Result<Vec<Descriptor>> {
        let mut writer = LayoutWriter::open(path)?;
        let saved = oci::write(self, &mut writer, images, options)?;
        writer.finish(saved.entries)?;
        Ok(saved.written)
    }

    /// Reads images from `path`: an OCI layout's directory, or an archive of either format, gzip-compressed or
    /// not. Layers and configs are in the store afterwards, and the images with them; names are not set.
    ///
    /// # Errors
    /// When the file is neither, something in it is not what its digest says, or nothing fits the options.
    pub fn load(&self, path: &Path, options: &LoadOptions) -> Result<Vec<Loaded>> {
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        if metadata.is_dir() {
            return self.load_source(&DirectorySource::open(path)?, options);
        }
        let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
        if metadata.is_file() {
            let name = format!("archive `{}`", path.display());
            return self.load_source(&ArchiveSource::open(file, name, || self.spool_file())?, options);
        }
        // A pipe or a device.
        self.load_from(file, options)
    }

    /// Reads images from a stream with an archive in it; see [`Store::load`]. The archive is kept in `work/` in the
    /// meantime, since its parts may come in any order.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_from(&self, mut stream: impl Read, options: &LoadOptions) -> Result<Vec<Loaded>> {
        let mut file = self.spool_file()?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    file.write_all(buffer.get(..n).unwrap_or_default())
                        .map_err(Error::io("write", self.root()))?;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::stream("the archive")(e)),
            }
        }
        self.load_source(&ArchiveSource::open(file, "the archive".to_owned(), || self.spool_file())?, options)
    }

    fn load_source(&self, source: &dyn Source, options: &LoadOptions) -> Result<Vec<Loaded>> {
        // Archives of today's `docker save` are both; the OCI half says more.
        if source.has(oci::INDEX)? {
            return oci::read(self, source, options);
        }
        if source.has(docker::MANIFEST)? {
            return docker::read(self, source, options);
        }
        if source.has("repositories")? {
            let why = "it was written by a Docker before 1.10; load and save it with a newer one";
            return Err(Error::invalid(source.name(), why));
        }
        let why = format!("it has neither `{}` nor `{}` in it", oci::INDEX, docker::MANIFEST);
        Err(Error::invalid(source.name(), why))
    }

    /// A file without a name for what passes through.
    fn spool_file(&self) -> Result<std::fs::File> {
        let dir = self.session().dir()?;
        tempfile::tempfile_in(&dir).map_err(Error::io("make a file in", &dir))
    }
}

/// The OCI manifest that an image has in a layout.
fn oci_manifest(store: &Store, image: &Image, options: &SaveOptions) -> Result<Manifest> {
    let export = ExportOptions {
        kind: Some(ManifestKind::Oci),
        compression: options.compression,
        force: options.force,
        absent: false,
        foreign: true,
    };
    store.export(image, &export)
}

#[cfg(test)]
mod tests;
