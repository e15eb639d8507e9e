//! Pushing: blobs side by side, those that are there already not sent, then config and manifest.

mod made;

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use orlop_registry_client::{PushOutcome, TagOrDigest};
use orlop_store::images::index_entry;
use orlop_store::{
    BlobSource, Descriptor, Digest, Export, ExportOptions, Image, Index, Manifest, Member, Named, Reference,
};

use self::made::Making;
use super::watched::{Stoppable, Told};
use super::{
    Several, check_cancelled, fetch_blobs, fetch_chosen, registry_error, repository, side_by_side,
    stream_error,
};
use crate::error::BuildError;
use crate::event::{Action, Task};
use crate::request::Engine;

/// What a push left at the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest, or the index.
    pub manifest: Digest,
    /// Bytes that were sent.
    pub sent: u64,
}

/// Pushes `image` under the name `reference`, whose tag is `latest` where it has none.
///
/// A manifest that the image came with goes as it came when nothing in it is to be changed. A layer that
/// is only known by its blob is not fetched to be sent: the registry may have it, or may take it from
/// another of its repositories; only where neither is so it is fetched first.
///
/// # Errors
/// When a layer cannot be had, or the registry refuses something.
pub fn push(
    engine: &Engine<'_>,
    image: &Image,
    reference: &Reference,
    options: &ExportOptions,
    task: &Task<'_>,
) -> Result<Pushed, BuildError> {
    let (manifest, sent) = send(engine, image, reference, options, task)?;
    let digest = name(engine, reference, &manifest.media_type, manifest.bytes())?;
    remember(engine, image, &manifest, reference)?;
    Ok(Pushed { manifest: digest, sent })
}

/// Pushes the images of several platforms, each by its digest, and then an index that names their manifests under
/// the name `reference`: the one that they came in, if nothing in it is to be changed. [`Pushed::manifest`] is the
/// index.
///
/// # Errors
/// As [`push`].
pub fn push_index(
    engine: &Engine<'_>,
    several: &Several,
    reference: &Reference,
    options: &ExportOptions,
    task: &Task<'_>,
) -> Result<Pushed, BuildError> {
    let place = repository(reference)?;
    let (mut entries, mut sent) = (Vec::new(), 0);
    for (platform, image) in &several.images {
        let (manifest, bytes) = send(engine, image, reference, options, task)?;
        sent += bytes;
        let which = TagOrDigest::Digest(manifest.digest());
        let _span = engine.trace().span("upload", &[("manifest", manifest.digest().into())]);
        engine
            .registry
            .push_manifest(&place, &which, &manifest.media_type, manifest.bytes())
            .map_err(|error| failure(reference, error))?;
        entries.push(index_entry(&manifest, platform));
    }
    let index = several.index_over(entries);
    let digest = name(engine, reference, &index.media_type, index.bytes())?;
    remember_index(engine, several, &index, reference)?;
    Ok(Pushed { manifest: digest, sent })
}

/// Puts a manifest or an index under the name.
fn name(
    engine: &Engine<'_>,
    reference: &Reference,
    media_type: &str,
    bytes: &[u8],
) -> Result<Digest, BuildError> {
    check_cancelled(engine)?;
    let own = Digest::of(bytes);
    let which = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => TagOrDigest::Tag(tag.to_owned()),
        (None, Some(_)) => TagOrDigest::Digest(own),
        (None, None) => TagOrDigest::Tag("latest".to_owned()),
    };
    if let Some(pinned) = reference.digest()
        && *pinned != own
    {
        return Err(BuildError::user(format!(
            "cannot push to `{}`: the image's manifest is {own}",
            reference.familiar()
        ))
        .with_hint("push to a tag".to_owned()));
    }
    let _span = engine.trace().span("upload", &[("manifest", own.into())]);
    engine
        .registry
        .push_manifest(&repository(reference)?, &which, media_type, bytes)
        .map_err(|error| failure(reference, error))
}

/// Sends everything of an image but its manifest, which it gives with the bytes that were sent.
///
/// Layers that have no blob yet are compressed, hashed and sent in one stream, beside those that have one.
fn send(
    engine: &Engine<'_>,
    image: &Image,
    reference: &Reference,
    options: &ExportOptions,
    task: &Task<'_>,
) -> Result<(Manifest, u64), BuildError> {
    let place = repository(reference)?;
    let lazy = ExportOptions { absent: true, ..*options };
    let mut plan = engine.store.plan_export(image, &lazy)?;
    let absent: Vec<&Descriptor> =
        sent_layers(&plan, options).filter(|layer| !engine.store.blobs().contains(&layer.digest)).collect();
    if !absent.is_empty() && !all_reachable(engine, &place, &absent)? {
        fetch_blobs(engine, image, &absent, task)?;
        // Layers that are here but without their blob are written anew.
        plan = engine.store.plan_export(image, &ExportOptions { absent: false, ..*options })?;
    }
    let mut known: Vec<&Descriptor> = Vec::new();
    let config = if let Export::AsItCame(manifest) = &plan { Some(&manifest.config) } else { None };
    for blob in sent_layers(&plan, options).chain(config) {
        if !known.iter().any(|other| other.digest == blob.digest) {
            known.push(blob);
        }
    }
    let made = match &plan {
        Export::AsItCame(_) => Making::new(image, &[], options),
        Export::Layers(layers) => Making::new(image, layers, options),
    };
    let gone = made.gone(engine);
    if !gone.is_empty() {
        let _span = engine.trace().span("pull", &[]);
        fetch_chosen(engine, image, &gone, |_| None, task)?;
    }
    // As many as can be compressed at one time go first, and nothing that is ready waits for the others.
    let (first, later) = made.missing.split_at(made.missing.len().min(made::AT_ONCE));
    let missing = |indices: &[usize]| indices.iter().map(|index| Part::Missing(*index)).collect::<Vec<_>>();
    let ready = known.into_iter().map(Part::Known);
    let parts: Vec<Part<'_>> = missing(first).into_iter().chain(ready).chain(missing(later)).collect();
    let sent = AtomicU64::new(0);
    let failed = Mutex::new(None::<BuildError>);
    side_by_side(&parts, |part| {
        engine.trace().thread("transfer");
        let done = match part {
            Part::Known(blob) => push_blob(engine, reference, blob, task),
            Part::Missing(index) => made.push(engine, reference, *index, task),
        };
        match done {
            Ok(bytes) => {
                sent.fetch_add(bytes, Ordering::Relaxed);
                true
            }
            Err(error) => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                false
            }
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    check_cancelled(engine)?;
    let manifest = match &plan {
        Export::AsItCame(manifest) => Manifest::clone(manifest),
        Export::Layers(layers) => {
            let manifest = engine.store.export_over(image, options, &made.with(layers)?)?;
            sent.fetch_add(push_blob(engine, reference, &manifest.config, task)?, Ordering::Relaxed);
            manifest
        }
    };
    check_cancelled(engine)?;
    Ok((manifest, sent.into_inner()))
}

/// What is brought to the registry.
enum Part<'a> {
    /// A blob that is here, or at the registry.
    Known(&'a Descriptor),
    /// A layer that has no blob yet.
    Missing(usize),
}

/// The layers whose blobs belong to a push: those that registries do not keep stay where they are, unless asked for.
fn sent_layers<'p>(
    plan: &'p Export,
    options: &ExportOptions,
) -> impl Iterator<Item = &'p Descriptor> + use<'p> {
    let foreign = options.foreign;
    let (came, made) = match plan {
        Export::AsItCame(manifest) => (manifest.layers.as_slice(), &[][..]),
        Export::Layers(layers) => (&[][..], layers.as_slice()),
    };
    came.iter().chain(made.iter().flatten()).filter(move |layer| foreign || !layer.is_foreign())
}

/// Whether the registry has, or can take from itself, every one of `blobs`.
fn all_reachable(
    engine: &Engine<'_>,
    place: &orlop_registry_client::Repository,
    blobs: &[&Descriptor],
) -> Result<bool, BuildError> {
    for blob in blobs {
        if mount_sources(engine, place.registry(), &blob.digest)?.is_empty()
            || !mountable(engine, place, blob)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Brings a blob into the repository without having it. False where the registry does not do that.
pub(crate) fn mountable(
    engine: &Engine<'_>,
    place: &orlop_registry_client::Repository,
    blob: &Descriptor,
) -> Result<bool, BuildError> {
    let _span = engine.trace().span("upload", &[("blob", blob.digest.into())]);
    if engine.registry.has_blob(place, blob.digest)? {
        return Ok(true);
    }
    let sources = mount_sources(engine, place.registry(), &blob.digest)?;
    if sources.is_empty() {
        return Ok(false);
    }
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    // A source that cannot be read ends the attempt as soon as the registry wants bytes.
    let nothing = || -> std::io::Result<Box<dyn Read + Send>> {
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the layer is not here"))
    };
    match engine.registry.push_blob(place, blob, &nothing, &names, &|_| ()) {
        Ok(_) => Ok(true),
        Err(orlop_registry_client::Error::Source { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Repositories of `registry` that had the blob.
fn mount_sources(engine: &Engine<'_>, registry: &str, blob: &Digest) -> Result<Vec<String>, BuildError> {
    let prefix = format!("{registry}/");
    let sources = engine.store.sources(blob)?;
    Ok(sources.iter().filter_map(|source| source.strip_prefix(&prefix).map(str::to_owned)).collect())
}

/// Sends a blob that the store has, or finds that it need not be sent. Gives the bytes that were sent.
pub(crate) fn push_blob(
    engine: &Engine<'_>,
    reference: &Reference,
    blob: &Descriptor,
    task: &Task<'_>,
) -> Result<u64, BuildError> {
    check_cancelled(engine)?;
    let place = repository(reference)?;
    let sources = mount_sources(engine, place.registry(), &blob.digest)?;
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    let cancel = engine.cancel.clone();
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        let inner = engine.store.blobs().open_blob(blob)?;
        let cancel = cancel.clone();
        Ok(Box::new(Stoppable::new(inner, move || cancel.is_cancelled())))
    };
    let told = Told::new(task, blob.digest, Action::Push, Some(blob.size));
    let report = |current| told.report(current);
    let mut span = engine.trace().span("upload", &[("blob", blob.digest.into())]);
    let outcome = engine.registry.push_blob(&place, blob, &open, &names, &report);
    span.add("bytes", if matches!(outcome, Ok(PushOutcome::Uploaded)) { blob.size } else { 0 });
    drop(span);
    check_cancelled(engine)?;
    let outcome = outcome.map_err(|error| failure(reference, error))?;
    engine.store.note_source(&blob.digest, &reference.repository())?;
    match outcome {
        PushOutcome::Uploaded => {
            task.transfer(blob.digest, Action::Push, blob.size, Some(blob.size));
            Ok(blob.size)
        }
        PushOutcome::Existed | PushOutcome::Mounted => {
            task.transfer(blob.digest, Action::Exists, blob.size, Some(blob.size));
            Ok(0)
        }
    }
}

fn failure(reference: &Reference, error: orlop_registry_client::Error) -> BuildError {
    let message = format!("cannot push to `{}`", reference.familiar());
    match error {
        orlop_registry_client::Error::Source { digest, source } => {
            let which = digest.map(|digest| format!(" {}", digest.short())).unwrap_or_default();
            stream_error(format!("{message}: layer{which} cannot be read"), source)
        }
        other => registry_error(message, other),
    }
}

/// The name now stands, here as well, for the manifest that was pushed under it; a name that stands for
/// something else here is left alone.
fn remember(
    engine: &Engine<'_>,
    image: &Image,
    manifest: &Manifest,
    reference: &Reference,
) -> Result<(), BuildError> {
    let images = engine.store.images();
    let Some(named) = images.named(reference)? else { return Ok(()) };
    if named.id == image.id() && named.manifest != Some(manifest.digest()) && reference.digest().is_none() {
        images.tag(reference, &Named { manifest: Some(manifest.digest()), index: None, ..named })?;
    }
    Ok(())
}

/// The same for the images of an index.
fn remember_index(
    engine: &Engine<'_>,
    several: &Several,
    index: &Index,
    reference: &Reference,
) -> Result<(), BuildError> {
    let images = engine.store.images();
    let digest = images.put_index(index)?;
    let Some(named) = images.named(reference)? else { return Ok(()) };
    let Some(old) = named.index.filter(|old| *old != digest && reference.digest().is_none()) else {
        return Ok(());
    };
    let ids = |members: Vec<Member>| members.into_iter().map(|member| member.target.id).collect::<Vec<_>>();
    let same = several.images.iter().map(|(_, image)| image.id()).eq(ids(images.members(&old)?.here));
    let target = images.members(&digest)?.here.into_iter().find(|member| member.target.id == named.id);
    if let Some(target) = target.filter(|_| same) {
        images.tag(reference, &target.target)?;
    }
    Ok(())
}
