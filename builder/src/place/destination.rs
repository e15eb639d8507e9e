//! Where a copy goes.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use orlop_registry_client::{Client, PushOutcome, Repository, TagOrDigest};
use orlop_store::layer::compress::decompress;
use orlop_store::layout::{ArchiveWriter, LayoutWriter, REF_NAME};
use orlop_store::{Descriptor, Digest, Digester, Reference};

use super::Place;
use super::copy::Stop;
use super::document::Document;
use super::source::Source;
use crate::error::{BuildError, ErrorKind};
use crate::event::{Action, Task};
use crate::transfer::watched::{Stoppable, Told};
use crate::transfer::{registry_error, repository, stream_error};

/// A place that is written to.
pub(super) enum Destination<'a> {
    Registry { client: &'a Client, repository: Repository, name: Reference },
    Layout { writer: LayoutWriter, name: Option<String> },
    Archive { writer: Box<ArchiveWriter>, name: Option<String> },
    Saved { writer: Box<ArchiveWriter>, name: Option<Reference> },
}

/// One blob on its way.
pub(super) struct Passage<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) blob: &'a Descriptor,
    pub(super) stop: &'a Stop,
    pub(super) task: &'a Task<'a>,
}

impl<'a> Destination<'a> {
    pub(super) fn open(client: &'a Client, place: &Place) -> Result<Self, BuildError> {
        Ok(match place {
            Place::Registry(name) => {
                Self::Registry { client, repository: repository(name)?, name: name.clone() }
            }
            Place::Layout { path, name } => {
                let name = tag(name.as_deref())?;
                Self::Layout { name, writer: LayoutWriter::open(path).map_err(named)? }
            }
            Place::OciArchive { path, name } => {
                let name = tag(name.as_deref())?;
                Self::Archive { name, writer: Box::new(ArchiveWriter::create(path).map_err(named)?) }
            }
            Place::DockerArchive { path, name } => {
                let writer = Box::new(ArchiveWriter::create(path).map_err(named)?);
                Self::Saved { writer, name: name.clone() }
            }
        })
    }
}

/// The user named the file: that it cannot be is for the user to mend.
fn named(error: orlop_store::Error) -> BuildError {
    let system = error.kind() == orlop_store::ErrorKind::System;
    let error = BuildError::from(error);
    let kind = if system { ErrorKind::User } else { error.kind };
    BuildError { kind, ..error }
}

/// A digest names what is there, and is no name to be given.
fn tag(name: Option<&str>) -> Result<Option<String>, BuildError> {
    match name {
        Some(digest) if digest.starts_with("sha256:") => {
            Err(BuildError::user("a layout's images are named by tags, and a digest cannot be given to one")
                .with_hint("leave `@sha256:…` out, or write `:TAG`".to_owned()))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

/// Brings one blob into a repository, by whatever is least work.
pub(super) fn push(
    client: &Client,
    repository: &Repository,
    passage: &Passage<'_>,
    mount_from: &[&str],
) -> Result<PushOutcome, BuildError> {
    let Passage { source, blob, stop, task } = *passage;
    let open =
        || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(stoppable(source.open_blob(blob)?, stop))) };
    let told = Told::new(task, blob.digest, Action::Push, Some(blob.size));
    let report = |current| told.report(current);
    let outcome = client.push_blob(repository, blob, &open, mount_from, &report);
    if stop.is_set() {
        return Err(BuildError::interrupted());
    }
    let outcome = outcome.map_err(|error| match error {
        orlop_registry_client::Error::Source { source: error, .. } => {
            stream_error(format!("{}: blob {}", source.cannot(), blob.digest.short()), error)
        }
        other => registry_error(format!("cannot copy to `{repository}`"), other),
    })?;
    let action = if outcome == PushOutcome::Uploaded { Action::Push } else { Action::Exists };
    task.transfer(blob.digest, action, blob.size, Some(blob.size));
    Ok(outcome)
}

/// Puts one blob into a layout, unless it is there. Gives the bytes that were written.
pub(super) fn store(writer: &LayoutWriter, passage: &Passage<'_>) -> Result<Option<u64>, BuildError> {
    let Passage { source, blob, stop, task } = *passage;
    if writer.has(blob) {
        task.transfer(blob.digest, Action::Exists, blob.size, Some(blob.size));
        return Ok(None);
    }
    let failed = |error| stream_error(format!("{}: blob {}", source.cannot(), blob.digest.short()), error);
    let mut reader = stoppable(source.open_blob(blob).map_err(failed)?, stop);
    let (told, mut done) = (Told::new(task, blob.digest, Action::Export, Some(blob.size)), 0);
    let written = writer.put(blob, &mut reader, &mut |count| {
        done += count;
        told.report(done);
    });
    written.map_err(|error| lifted(source, blob, stop, error))?;
    task.transfer(blob.digest, Action::Export, blob.size, Some(blob.size));
    Ok(Some(blob.size))
}

/// An error of a writer; where it is that of the stream, what is inside comes to light.
fn lifted(source: &Source<'_>, blob: &Descriptor, stop: &Stop, error: orlop_store::Error) -> BuildError {
    if stop.is_set() {
        return BuildError::interrupted();
    }
    match error {
        orlop_store::Error::Stream { source: error, .. } => {
            stream_error(format!("{}: blob {}", source.cannot(), blob.digest.short()), error)
        }
        other => other.into(),
    }
}

/// Puts blobs into an archive, one after the other; those of a registry are fetched a few ahead.
pub(super) fn append(
    writer: &mut ArchiveWriter,
    source: &Source<'_>,
    blobs: &[Descriptor],
    (stop, task): (&Stop, &Task<'_>),
) -> Result<(), BuildError> {
    let failed = |blob: &Descriptor, error| {
        stream_error(format!("{}: blob {}", source.cannot(), blob.digest.short()), error)
    };
    let mut ahead = std::collections::VecDeque::new();
    let mut coming = blobs.iter();
    loop {
        while ahead.len() < super::copy::SIDE_BY_SIDE {
            let Some(blob) = coming.next() else { break };
            ahead.push_back((blob, source.open_blob(blob).map_err(|e| failed(blob, e))?));
        }
        let Some((blob, inner)) = ahead.pop_front() else { return Ok(()) };
        let mut reader = stoppable(inner, stop);
        writer.put(blob, &mut reader).map_err(|error| lifted(source, blob, stop, error))?;
        task.transfer(blob.digest, Action::Export, blob.size, Some(blob.size));
    }
}

/// Writes one image into an archive for `docker load`, whose layers are not compressed: each is inflated into a file
/// without a name first, since a tar's entry begins with its size.
pub(super) fn save(
    mut writer: ArchiveWriter,
    name: Option<&Reference>,
    source: &Source<'_>,
    manifest: &Document,
    (stop, task): (&Stop, &Task<'_>),
) -> Result<u64, BuildError> {
    let Some(config) = &manifest.config else { return Err(BuildError::user("this is no image")) };
    let failed = |blob: &Descriptor, error| {
        stream_error(format!("{}: blob {}", source.cannot(), blob.digest.short()), error)
    };
    if config.size > orlop_store::image::MAX_CONFIG {
        return Err(BuildError::user(format!("the config of the image has {} bytes", config.size)));
    }
    let mut bytes = Vec::new();
    let reading = source.open_blob(config).and_then(|mut reader| reader.read_to_end(&mut bytes));
    reading.map_err(|e| failed(config, e))?;
    let parsed = orlop_store::Manifest::parse(&manifest.bytes, &manifest.descriptor.media_type)?;
    let image = orlop_store::Image::from_parts(&bytes, Some(parsed.clone()))?;
    let mut layers = Vec::new();
    for (blob, diff_id) in parsed.layers.iter().zip(image.diff_ids()) {
        let inner = source.open_blob(blob).map_err(|e| failed(blob, e))?;
        let tar = decompress(stoppable(inner, stop)).map_err(|e| failed(blob, e))?;
        let mut spool = writer.spool()?;
        let (found, size) = inflate(tar, &mut spool).map_err(|e| failed(blob, e))?;
        if found != diff_id {
            return Err(BuildError::user(format!("{}: layer {}", source.cannot(), blob.digest.short()))
                .because(format!("its tar has digest {found}, and the image's config says {diff_id}")));
        }
        let layer = Descriptor::new("", diff_id, size);
        writer.put_layer(&layer, &mut io::BufReader::with_capacity(1 << 17, spool))?;
        task.transfer(blob.digest, Action::Export, blob.size, Some(blob.size));
        layers.push(layer);
    }
    writer.finish_docker(&bytes, &layers, name)?;
    Ok(layers.iter().map(|layer| layer.size).sum::<u64>() + config.size)
}

/// Writes all of `tar`, and stands at its start again.
fn inflate(mut tar: impl Read, out: &mut std::fs::File) -> io::Result<(Digest, u64)> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        digester.update(piece);
        out.write_all(piece)?;
    }
    out.seek(SeekFrom::Start(0))?;
    let size = digester.size();
    Ok((digester.finish(), size))
}

/// The entry of a layout's index for `document`.
pub(super) fn entry(document: &Document, tag: Option<&str>) -> Descriptor {
    let annotations = tag.map(|tag| (REF_NAME.to_owned(), tag.to_owned()));
    let Descriptor { media_type, digest, size, platform, .. } = document.descriptor.clone();
    Descriptor {
        annotations: annotations.into_iter().collect::<BTreeMap<_, _>>(),
        platform,
        artifact_type: document.artifact_type.clone(),
        ..Descriptor::new(media_type, digest, size)
    }
}

/// What a name at a registry is pushed as, the manifest being `digest`.
pub(super) fn target(name: &Reference, digest: Digest) -> Result<TagOrDigest, BuildError> {
    if let Some(pinned) = name.digest().filter(|pinned| **pinned != digest) {
        return Err(BuildError::user(format!(
            "cannot copy to `{}`: the manifest is {digest}",
            name.familiar()
        ))
        .because(format!("the name asks for {pinned}"))
        .with_hint("copy to a tag".to_owned()));
    }
    Ok(match name.tag() {
        Some(tag) => TagOrDigest::Tag(tag.to_owned()),
        None => TagOrDigest::Digest(digest),
    })
}

fn stoppable<R>(inner: R, stop: &Stop) -> Stoppable<R, impl Fn() -> bool + Send + use<R>> {
    let stop = stop.clone();
    Stoppable::new(inner, move || stop.is_set())
}
