//! Where an image goes: `-o`, `--push` and the store.

mod directory;
mod pack;
mod tree;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use orlop_store::layout::{ArchiveFormat, Content, NamedImage, WholeFile};
use orlop_store::snapshot::{Committed, LayerOs, View};
use orlop_store::{Digest, Image, Named, Platform, Reference};

use crate::error::BuildError;
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;
use crate::transfer::{self, Several};
use tree::Part;

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
        /// `platform-split`: a directory for each platform; where there are several, unless it is `false`.
        split: Option<bool>,
    },
    /// The file system as one tar: `type=tar`.
    Tar {
        /// Where to.
        dest: Destination,
        /// `platform-split`, as for a directory.
        split: Option<bool>,
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
    /// gzip at a level from 0 to 9, 1 where none is named.
    Gzip(Option<u8>),
    /// zstd at a level from 1 to 22, 3 where none is named.
    Zstd(Option<u8>),
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct Built {
    /// An image for each platform, in the order that they were asked for, with what an index says that it is for.
    pub images: Vec<(Platform, Image)>,
}

impl Built {
    /// Whether several platforms were asked for: then all outputs are of them together.
    pub fn is_several(&self) -> bool {
        self.images.len() > 1
    }

    /// The images as one thing, where there are several.
    fn together(&self) -> Option<Several> {
        self.is_several().then(|| Several { images: self.images.clone(), index: None })
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Digest of the config; of several images the digest of their index, in the store where no output has one.
    pub id: Digest,
    /// Digest of the first manifest or index that was written; none where no output needs one.
    pub manifest: Option<Digest>,
}

/// Writes what was built to every one of `outputs`, in order; an image that is not complete comes into the store
/// after those that need its files. Those that have names of their own use them, the others `tags`.
///
/// # Errors
/// When an output cannot be written. Those before it are complete; nothing of it is left, a directory
/// that was written into excepted.
pub fn write(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    built: &Built,
    tags: &[Reference],
    outputs: &[Output],
) -> Result<Written, BuildError> {
    let several = built.together();
    let mut manifest = None;
    for output in in_order(engine, built, outputs)? {
        transfer::check_cancelled(engine)?;
        let written = match (&several, output) {
            (_, Output::Local { .. } | Output::Tar { .. }) => {
                files(engine, progress, built, output)?;
                None
            }
            (Some(several), output) => index(engine, progress, several, tags, output)?,
            (None, output) => built
                .images
                .first()
                .map(|(_, image)| one(engine, progress, image, tags, output))
                .transpose()?
                .flatten(),
        };
        manifest = manifest.or(written);
    }
    let Some((_, image)) = built.images.first() else {
        return Err(BuildError::internal("nothing was built"));
    };
    if !built.is_several() {
        let manifest = manifest.or(image.manifest().map(orlop_store::Manifest::digest));
        return Ok(Written { id: image.id(), manifest });
    }
    let images = engine.store.images();
    // What a name of the store stands for is what the user can ask the store for.
    let kept = match outputs.iter().find_map(|output| match output {
        Output::Store { names } => tags.iter().chain(names).next(),
        _ => None,
    }) {
        Some(name) => images.named(name)?.and_then(|named| named.index),
        None => None,
    };
    let id = match kept.or(manifest) {
        Some(index) => index,
        None => images.put_draft(built.images.iter().map(|(platform, image)| (platform, image)))?,
    };
    Ok(Written { id, manifest })
}

/// The outputs in the order in which they are written. An image whose layers are still elsewhere is kept when those
/// that need its files have had them: where a layer turns out to be lost, names of the store stay where they were.
fn in_order<'o>(
    engine: &Engine<'_>,
    built: &Built,
    outputs: &'o [Output],
) -> Result<Vec<&'o Output>, BuildError> {
    let kept = |output: &&Output| matches!(output, Output::Store { .. });
    let files = |output: &Output| !matches!(output, Output::Store { .. } | Output::Registry { .. });
    let Some(last) = outputs.iter().rposition(files) else { return Ok(outputs.iter().collect()) };
    for (_, image) in &built.images {
        if !engine.store.missing_layers(image)?.is_empty() {
            let (before, after) = outputs.split_at(last + 1);
            let (first, then): (Vec<_>, Vec<_>) = before.iter().partition(|output| !kept(output));
            return Ok(first.into_iter().chain(then).chain(after).collect());
        }
    }
    Ok(outputs.iter().collect())
}

fn or_tags(names: &[Reference], tags: &[Reference]) -> Vec<Reference> {
    if names.is_empty() { tags.to_vec() } else { names.to_vec() }
}

/// Writes one image.
fn one(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    image: &Image,
    tags: &[Reference],
    output: &Output,
) -> Result<Option<Digest>, BuildError> {
    match output {
        Output::Store { names } => {
            let _span = engine.trace().span("output", &[]);
            keep(engine, image, tags.iter().chain(names))?;
            Ok(None)
        }
        Output::Registry { names, packing } => {
            let packed = pack::annotated(engine, image, packing, true)?;
            push_to_each(progress, &or_tags(names, tags), |name, task| {
                transfer::push(engine, &packed, name, &packing.export(true), task)
            })
        }
        Output::Oci { names, packing, .. } => archive(engine, progress, output, |task| {
            transfer::fetch_layers(engine, image, None, task)?;
            let content = pack::annotated(engine, image, packing, false)?.into();
            Ok(NamedImage { content, names: or_tags(names, tags) })
        }),
        Output::Docker { names, .. } => {
            archive(engine, progress, output, |task| {
                transfer::fetch_layers(engine, image, None, task)?;
                Ok(NamedImage { content: image.clone().into(), names: or_tags(names, tags) })
            })?;
            Ok(None)
        }
        Output::Local { .. } | Output::Tar { .. } => Ok(None),
    }
}

/// Pushes to each name in its turn; the digest is that of the first.
fn push_to_each(
    progress: &Progress<'_>,
    names: &[Reference],
    push: impl Fn(&Reference, &Task<'_>) -> Result<transfer::Pushed, BuildError>,
) -> Result<Option<Digest>, BuildError> {
    let mut digest = None;
    for name in names {
        let task = progress.start(format!("push {}", name.familiar()));
        let pushed = push(name, &task)?;
        task.finish(Outcome::Done, None, None);
        digest = digest.or(Some(pushed.manifest));
    }
    Ok(digest)
}

/// Writes images of several platforms as one thing: an index.
fn index(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    several: &Several,
    tags: &[Reference],
    output: &Output,
) -> Result<Option<Digest>, BuildError> {
    match output {
        Output::Store { names } => {
            let _span = engine.trace().span("output", &[]);
            keep_index(engine, several, tags.iter().chain(names))?;
            Ok(None)
        }
        Output::Registry { names, packing } => {
            let several = pack::annotated_all(engine, several, packing, true)?;
            push_to_each(progress, &or_tags(names, tags), |name, task| {
                transfer::push_index(engine, &several, name, &packing.export(true), task)
            })
        }
        Output::Oci { names, packing, .. } => archive(engine, progress, output, |task| {
            for (_, image) in &several.images {
                transfer::fetch_layers(engine, image, None, task)?;
            }
            let several = pack::annotated_all(engine, several, packing, false)?;
            let (index, images) = several.packed(engine.store, &packing.export(false))?;
            engine.store.images().put_index(&index)?;
            Ok(NamedImage { content: Content::Index(index, images), names: or_tags(names, tags) })
        }),
        Output::Docker { .. } => {
            Err(BuildError::user("an archive for Docker holds an image of one platform")
                .with_hint("write an OCI archive, `-o type=oci,dest=FILE`, or build one platform".to_owned()))
        }
        Output::Local { .. } | Output::Tar { .. } => Ok(None),
    }
}

/// Writes an archive or a layout of what `content` gives.
fn archive(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    output: &Output,
    content: impl FnOnce(&Task<'_>) -> Result<NamedImage, BuildError>,
) -> Result<Option<Digest>, BuildError> {
    let (dest, format, options, kind) = match output {
        Output::Oci { dest, packing, tar: true, .. } => {
            (dest, Some(ArchiveFormat::Oci), packing.save(), "OCI archive")
        }
        Output::Oci { dest, packing, .. } => (dest, None, packing.save(), "OCI layout"),
        Output::Docker { dest, .. } => {
            (dest, Some(ArchiveFormat::Docker), Packing::default().save(), "Docker archive")
        }
        _ => return Ok(None),
    };
    let task = progress.start(format!("write {kind} {dest}"));
    let span = engine.trace().span("output", &[]);
    let images = [content(&task)?];
    let written = match (dest, format) {
        (Destination::Path(path), Some(format)) => engine.store.save(path, format, &images, &options)?,
        (Destination::Path(path), None) => engine.store.save_layout(path, &images, &options)?,
        (Destination::Open(file), format) => {
            let format = format.unwrap_or(ArchiveFormat::Oci);
            engine.store.save_to(&mut &**file, format, &images, &options)?
        }
    };
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(written.first().map(|descriptor| descriptor.digest))
}

/// Writes the files of the images: `type=local` and `type=tar`.
fn files(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    built: &Built,
    output: &Output,
) -> Result<(), BuildError> {
    let (title, split) = match output {
        Output::Local { dest, split, .. } => (format!("write files to {}", dest.display()), *split),
        Output::Tar { dest, split } => (format!("write files as tar {dest}"), *split),
        _ => return Ok(()),
    };
    let task = progress.start(title);
    let span = engine.trace().span("output", &[]);
    let views = built.images.iter().map(|(platform, image)| Ok((platform, view(engine, image, &task)?)));
    let views = views.collect::<Result<Vec<_>, BuildError>>()?;
    let split = split.unwrap_or(built.is_several());
    let parts: Vec<Part<'_>> =
        views.iter().map(|(platform, view)| Part::new(platform, split, view.path())).collect();
    tree::nothing_twice(engine.cancel, &parts)?;
    match output {
        Output::Local { dest, owners, .. } => {
            for part in &parts {
                directory::write(engine.cancel, part.root, &dest.join(&part.prefix), *owners, &task)?;
            }
        }
        Output::Tar { dest: Destination::Path(path), .. } => {
            let whole = WholeFile::create(path)?;
            tree::write_tar(engine.cancel, &parts, whole.file())?;
            whole.finish()?;
        }
        Output::Tar { dest: Destination::Open(file), .. } => {
            tree::write_tar(engine.cancel, &parts, file)?;
        }
        _ => {}
    }
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(())
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

/// Keeps images of several platforms in the store under `names`.
fn keep_index<'a>(
    engine: &Engine<'_>,
    several: &Several,
    names: impl Iterator<Item = &'a Reference>,
) -> Result<(), BuildError> {
    let images = engine.store.images();
    for (_, image) in &several.images {
        images.put(image)?;
    }
    let draft = images.put_draft(several.images.iter().map(|(platform, image)| (platform, image)))?;
    let target = images.resolve(&draft.to_string())?;
    for name in names {
        images.tag(name, &target)?;
    }
    Ok(())
}

/// A look at the files of an image, all its layers fetched.
fn view(engine: &Engine<'_>, image: &Image, task: &Task<'_>) -> Result<View, BuildError> {
    transfer::fetch_layers(engine, image, None, task)?;
    let files = Committed::new(image.diff_ids()).for_os(LayerOs::of(&image.platform().os));
    Ok(engine.store.snapshots()?.view(&files).map_err(orlop_store::Error::from)?)
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
