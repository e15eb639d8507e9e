//! Where an image goes: `-o`, `--push` and the store.

mod directory;
mod pack;
mod tree;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_store::layout::{ArchiveFormat, NamedImage};
use orlop_store::snapshot::{Committed, LayerOs, View};
use orlop_store::{Digest, Image, Named, Reference};

use crate::error::BuildError;
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;
use crate::transfer;

/// One destination of a build, in BuildKit's words (`-o type=…,dest=…`).
#[derive(Clone, Debug)]
pub enum Output {
    /// The local store, under the build's tags: `type=image`, and what a build without `-o` does.
    Store {
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
    },
    /// A registry: `type=registry`, `--push`, `type=image,push=true`.
    Registry {
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers and the manifest are written.
        packing: Packing,
    },
    /// An OCI archive or, with `tar=false`, an OCI layout directory: `type=oci`.
    Oci {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers and the manifest are written.
        packing: Packing,
        /// `false`: a directory.
        tar: bool,
    },
    /// An archive for `docker load`, its layers not compressed: `type=docker`.
    Docker {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
    },
    /// The file system as a directory: `type=local`.
    Local {
        /// The directory; made where it is missing.
        dest: PathBuf,
        /// Whether files get the owners that they have in the image; otherwise they are the caller's.
        owners: bool,
    },
    /// The file system as one tar: `type=tar`.
    Tar {
        /// Where to.
        dest: Destination,
    },
}

/// A file, or a stream of the caller's.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A file or directory of this machine. It appears complete or not at all.
    Path(PathBuf),
    /// An open file, such as standard output.
    Open(Arc<File>),
}

/// How an image's layers and manifest are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// The form of layers that have no blob yet; gzip where none is named, which every reader takes.
    pub compression: Option<Compression>,
    /// Whether layers that came compressed in another way are compressed again.
    pub force: bool,
    /// Whether layers that registries do not keep (base layers of old Windows images) are pushed all the same.
    pub foreign: bool,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
}

/// The form of a layer's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The tar as it is.
    Uncompressed,
    /// gzip at a level from 0 to 9, 6 where none is named.
    Gzip(Option<u8>),
    /// zstd at a level from 1 to 22, 3 where none is named.
    Zstd(Option<u8>),
}

/// Writes `image` to every one of `outputs`, in order. Those that have names of their own use them,
/// the others `tags`. Gives the digest of the first manifest that was written; none where no output
/// needs one.
///
/// # Errors
/// When an output cannot be written. Those before it are complete; nothing of it is left, a directory
/// that was written into excepted.
pub fn write(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    image: &Image,
    tags: &[Reference],
    outputs: &[Output],
) -> Result<Option<Digest>, BuildError> {
    let mut manifest = None;
    for output in outputs {
        transfer::check_cancelled(engine)?;
        let written = one(engine, progress, image, tags, output)?;
        manifest = manifest.or(written);
    }
    Ok(manifest.or(image.manifest().map(orlop_store::Manifest::digest)))
}

fn one(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    image: &Image,
    tags: &[Reference],
    output: &Output,
) -> Result<Option<Digest>, BuildError> {
    let or_tags = |names: &Vec<Reference>| if names.is_empty() { tags.to_vec() } else { names.clone() };
    match output {
        Output::Store { names } => {
            keep(engine, image, tags.iter().chain(names))?;
            Ok(None)
        }
        Output::Registry { names, packing } => {
            let mut digest = None;
            for name in or_tags(names) {
                let task = progress.start(format!("push {}", name.familiar()));
                let packed = pack::annotated(engine, image, packing, true)?;
                let pushed = transfer::push(engine, &packed, &name, &packing.export(true), &task)?;
                task.finish(Outcome::Done, None, None);
                digest = digest.or(Some(pushed.manifest));
            }
            Ok(digest)
        }
        Output::Oci { dest, names, packing, tar } => {
            let task =
                progress.start(format!("write OCI {} {dest}", if *tar { "archive" } else { "layout" }));
            transfer::fetch_layers(engine, image, None, &task)?;
            let image = pack::annotated(engine, image, packing, false)?;
            let images = [NamedImage { image, names: or_tags(names) }];
            let options = packing.save();
            let written = match dest {
                Destination::Path(path) if *tar => {
                    engine.store.save(path, ArchiveFormat::Oci, &images, &options)?
                }
                Destination::Path(path) => engine.store.save_layout(path, &images, &options)?,
                Destination::Open(file) => {
                    engine.store.save_to(&mut &**file, ArchiveFormat::Oci, &images, &options)?
                }
            };
            task.finish(Outcome::Done, None, None);
            Ok(written.first().map(|descriptor| descriptor.digest))
        }
        Output::Docker { dest, names } => {
            let task = progress.start(format!("write Docker archive {dest}"));
            transfer::fetch_layers(engine, image, None, &task)?;
            let images = [NamedImage { image: image.clone(), names: or_tags(names) }];
            let options = Packing::default().save();
            match dest {
                Destination::Path(path) => {
                    engine.store.save(path, ArchiveFormat::Docker, &images, &options)?
                }
                Destination::Open(file) => {
                    engine.store.save_to(&mut &**file, ArchiveFormat::Docker, &images, &options)?
                }
            };
            task.finish(Outcome::Done, None, None);
            Ok(None)
        }
        Output::Local { dest, owners } => {
            let task = progress.start(format!("write files to {}", dest.display()));
            let view = view(engine, image, &task)?;
            directory::write(engine.cancel, view.path(), dest, *owners, &task)?;
            task.finish(Outcome::Done, None, None);
            Ok(None)
        }
        Output::Tar { dest } => {
            let task = progress.start(format!("write files as tar {dest}"));
            let view = view(engine, image, &task)?;
            match dest {
                Destination::Path(path) => {
                    write_whole(path, |file| tree::write_tar(engine.cancel, view.path(), file))?
                }
                Destination::Open(file) => tree::write_tar(engine.cancel, view.path(), file)?,
            }
            task.finish(Outcome::Done, None, None);
            Ok(None)
        }
    }
}

/// Keeps an image in the store under `names`.
fn keep<'a>(
    engine: &Engine<'_>,
    image: &Image,
    names: impl Iterator<Item = &'a Reference>,
) -> Result<(), BuildError> {
    let images = engine.store.images();
    let id = images.put(image)?;
    let manifest = image.manifest().map(orlop_store::Manifest::digest);
    for name in names {
        images.tag(name, &Named { id, manifest, index: None })?;
    }
    Ok(())
}

/// A look at the files of an image, all its layers fetched.
fn view(engine: &Engine<'_>, image: &Image, task: &Task<'_>) -> Result<View, BuildError> {
    transfer::fetch_layers(engine, image, None, task)?;
    let files = Committed::new(image.diff_ids()).for_os(LayerOs::of(&image.platform().os));
    Ok(engine.store.snapshots()?.view(&files).map_err(orlop_store::Error::from)?)
}

/// Writes a file that appears complete or not at all.
fn write_whole(path: &Path, write: impl FnOnce(&File) -> Result<(), BuildError>) -> Result<(), BuildError> {
    let failed =
        |error: std::io::Error| BuildError::user(format!("cannot write `{}`", path.display())).because(error);
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".orlop-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(parent).map_err(failed)?;
    write(file.as_file())?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Open(_) => f.write_str("to standard output"),
        }
    }
}

#[cfg(test)]
mod tests;
