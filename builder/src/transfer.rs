//! Images between registries and the store.
//!
//! A pull is three things: [`resolve`] finds out what a name means and takes manifest and config, which
//! is all that a build needs that only adds to an image; [`fetch_layers`] brings the layers, side by
//! side, each streamed once from the registry through verification and inflation into the store; and
//! an [`Arrival`] gives the image its name here when it is complete.

mod arrival;
mod described;
mod look;
mod names;
mod push;
mod several;
pub(crate) mod watched;

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use orlop_registry_client::{Error, Repository, TagOrDigest, select_platform};
use orlop_store::LayerOs;
use orlop_store::image::MAX_CONFIG;
use orlop_store::layout::LoadOptions;
use orlop_store::{
    BlobSink, Descriptor, Digest, ErrorKind, Image, Index, Manifest, Named, Platform, Reference, media_type,
};

pub use arrival::Arrival;
pub(crate) use described::manifest_request;
pub use look::{look, look_into_layout};
pub use names::{Resolved, here, resolve};
pub use push::{Pushed, push, push_index};
pub(crate) use push::{mountable, push_blob};
pub use several::Several;
pub(crate) use watched::Watched;

use crate::error::{BuildError, ErrorKind as Fault};
use crate::event::{Action, Progress, Task};
use crate::request::{Engine, PullPolicy};

/// Layers that are fetched or sent at one time.
const SIDE_BY_SIDE: usize = 4;
/// Indexes that may name indexes before one gives up.
pub(crate) const MAX_DEPTH: usize = 4;

/// What one full name means, as [`resolve`].
fn resolve_one(
    engine: &Engine<'_>,
    reference: &Reference,
    platform: &Platform,
    policy: PullPolicy,
    task: &Task<'_>,
) -> Result<(Image, Option<Arrival>), BuildError> {
    let mut other = None;
    if policy != PullPolicy::Always
        && let Some(named) = engine.store.images().named(reference)?
    {
        let image = engine.store.images().load(&named)?;
        if suits(&image, platform) && (policy == PullPolicy::Never || is_the_choice(engine, &named, platform))
        {
            return Ok((image, None));
        }
        other = Some(here_for(engine, &named, &image));
        // A name that stands for several platforms may have the other one here as well.
        if let Some(image) = sibling(engine, &named, platform)? {
            return Ok((image, None));
        }
    }
    if policy == PullPolicy::Never {
        let error = match other {
            Some(found) => BuildError::user(format!(
                "`{}` is in the store for platform {found}, not for {}",
                reference.familiar(),
                platform.with_version()
            )),
            None => BuildError::user(format!("`{}` is not in the store", reference.familiar())),
        };
        return Err(error.with_hint("fetch it with `orlop pull`, or leave out `--pull=never`".to_owned()));
    }
    let span = engine.trace().span("resolve", &[]);
    let fetched = fetch_metadata(engine, reference, platform);
    drop(span);
    if fetched.is_ok()
        && let Some(mirror) = engine.registry.served_by(&repository(reference)?)
    {
        task.note(format!("from the mirror `{mirror}`"));
    }
    if let Ok((image, _)) = &fetched
        && platform.same_machine(&image.platform())
    {
        note_platform(reference, image, platform, task);
    }
    // What was built here for another platform is not at a registry: that is the better answer.
    match (fetched, other) {
        (Err(error), Some(found)) if error.kind == Fault::User => {
            let text = format!(
                "`{}` is in the store for platform {found}, and cannot be had for {}",
                reference.familiar(),
                platform.with_version()
            );
            let hint = error.hint.clone();
            Err(BuildError::user(text).because(error).with_hint(hint))
        }
        (result, _) => result.map(|(image, arrival)| (image, Some(arrival))),
    }
}

/// The platforms of what a name stands for here, for a message.
fn here_for(engine: &Engine<'_>, named: &Named, image: &Image) -> String {
    let members = named.index.and_then(|index| engine.store.images().members(&index).ok());
    let here = members.map(|members| members.here).unwrap_or_default();
    match here.as_slice() {
        [] | [_] => image.platform().with_version(),
        several => several.iter().map(|m| m.platform.with_version()).collect::<Vec<_>>().join(", "),
    }
}

/// Says what an image is for where that is not what was asked for.
pub(crate) fn note_platform(reference: &Reference, image: &Image, platform: &Platform, task: &Task<'_>) {
    if !suits(image, platform) {
        let name = reference.familiar();
        task.note(format!("`{name}` is for platform {}, not for {platform}", image.platform()));
    }
}

/// Whether `image` can stand where one for `platform` is asked for. An image that does not say what it
/// is for suits everywhere.
pub(crate) fn suits(image: &Image, platform: &Platform) -> bool {
    let own = image.platform();
    (own.os.is_empty() && own.architecture.is_empty()) || platform.matches(&own)
}

/// Whether the image that a name stands for here is the one that the index it came from would give. Of several
/// versions of Windows another one may serve better than that which was asked for last.
fn is_the_choice(engine: &Engine<'_>, named: &Named, platform: &Platform) -> bool {
    let Some(index) = named.index.as_ref().and_then(|digest| engine.store.images().index(digest).ok()) else {
        return true;
    };
    if index.is_draft() {
        let chosen = engine.store.images().choose(named, platform);
        return chosen.is_ok_and(|chosen| chosen.is_none_or(|chosen| chosen.id == named.id));
    }
    match select_platform(index.bytes(), platform) {
        Ok(chosen) => platform.os != "windows" || named.manifest == Some(chosen.digest),
        Err(_) => true,
    }
}

/// The image for `platform` of the index that a name stands for, where it was fetched earlier or built here.
fn sibling(engine: &Engine<'_>, named: &Named, platform: &Platform) -> Result<Option<Image>, BuildError> {
    let Some(index) = named.index.as_ref().and_then(|digest| engine.store.images().index(digest).ok()) else {
        return Ok(None);
    };
    let images = engine.store.images();
    let target = match index.is_draft() {
        true => images.choose(named, platform)?,
        false => {
            // The one that the registry would give, and no other that is nearly as good.
            let Ok(chosen) = select_platform(index.bytes(), platform) else { return Ok(None) };
            let members = named.index.map(|digest| images.members(&digest)).transpose()?;
            let mut here = members.into_iter().flat_map(|members| members.here);
            here.find(|member| member.target.manifest == Some(chosen.digest)).map(|member| member.target)
        }
    };
    Ok(target.map(|target| images.load(&target)).transpose()?)
}

/// The repository that a name is in.
pub(crate) fn repository(reference: &Reference) -> Result<Repository, BuildError> {
    Ok(Repository::of(reference)?)
}

/// What a registry has under a name, complete or not: nothing of it is in the store afterwards.
fn fetch_metadata(
    engine: &Engine<'_>,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Image, Arrival), BuildError> {
    let name = reference.familiar();
    let failed = |error| registry_error(format!("cannot pull `{name}`"), error);
    let repository = repository(reference)?;
    let ask = |which: &TagOrDigest| {
        engine.registry.manifest(&repository, which).map_err(|error| match error {
            Error::Manifest { what, .. } => described::malformed(reference, &repository, which, what),
            error => failed(error),
        })
    };
    let mut which = TagOrDigest::of(reference);
    let mut answer = ask(&which)?;
    let mut index = None;
    let mut depth = 0;
    while media_type::is_index(&answer.media_type) {
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(BuildError::user(format!("`{name}` is an index of indexes without end")));
        }
        let whole = Index::parse(&answer.bytes, &answer.media_type)
            .map_err(|error| described::malformed(reference, &repository, &which, error))?;
        let chosen = select_platform(&answer.bytes, platform).map_err(failed)?;
        index = index.or(Some(whole));
        check_cancelled(engine)?;
        which = TagOrDigest::Digest(chosen.digest);
        answer = ask(&which)?;
    }
    described::refuse_artifact(reference, &answer)?;
    let manifest = Manifest::parse(&answer.bytes, &answer.media_type)
        .map_err(|error| described::malformed(reference, &repository, &which, error))?;
    let descriptor = manifest.config.clone();
    let config = fetch_config(engine, &repository, &descriptor, &name)?;
    let image = Image::from_parts(&config, Some(manifest))
        .map_err(|error| described::malformed_config(reference, &repository, &descriptor, error))?;
    for layer in image.layers().iter().filter_map(|layer| layer.blob.as_ref()) {
        engine.store.note_source(&layer.digest, &reference.repository())?;
    }
    let arrival = Arrival::new(reference.clone(), image.clone(), index);
    // Where all of it is here already there is nothing to wait for.
    arrival.settle(engine)?;
    Ok((image, arrival))
}

fn fetch_config(
    engine: &Engine<'_>,
    repository: &Repository,
    descriptor: &Descriptor,
    name: &str,
) -> Result<Vec<u8>, BuildError> {
    if descriptor.size > MAX_CONFIG {
        return Err(BuildError::user(format!(
            "the config of `{name}` has {} bytes, more than the {MAX_CONFIG} allowed",
            descriptor.size
        )));
    }
    if engine.store.blobs().contains(&descriptor.digest) {
        return Ok(engine.store.blobs().read_small(&descriptor.digest, MAX_CONFIG)?);
    }
    let failed = |error: std::io::Error| stream_error(format!("cannot fetch the config of `{name}`"), error);
    // A damaged one is fetched again.
    if engine.store.blobs().has_blob(&descriptor.digest).is_ok_and(|has| has)
        && let Ok(bytes) = engine.store.blobs().read_small(&descriptor.digest, MAX_CONFIG)
    {
        return Ok(bytes);
    }
    let read = || -> Result<std::io::Result<Vec<u8>>, BuildError> {
        let mut bytes = Vec::new();
        let reader = engine
            .registry
            .blob(repository, descriptor)
            .map_err(|error| registry_error(format!("cannot fetch the config of `{name}`"), error))?;
        Ok(reader.take(MAX_CONFIG).read_to_end(&mut bytes).map(|_| bytes))
    };
    let mut again = true;
    let bytes = loop {
        let lost = engine.registry.mirrors_lost();
        match read()? {
            // A mirror served something else, and is not asked again.
            Err(_) if engine.registry.mirrors_lost() > lost => {}
            Err(error) if again && tried_again(engine, &error) => again = false,
            end => break end.map_err(failed)?,
        }
    };
    // The reader verifies as well; the promise to everything after this does not rest on that alone.
    if Digest::of(&bytes) != descriptor.digest {
        return Err(BuildError::user(format!("the config of `{name}` is not what its manifest says")));
    }
    Ok(bytes)
}

/// What failed, and the registry's error as its cause.
pub(crate) fn registry_error(message: String, error: orlop_registry_client::Error) -> BuildError {
    if matches!(error, orlop_registry_client::Error::Cancelled) {
        return BuildError::interrupted();
    }
    let hint = error.hint();
    BuildError::user(message).because(error).with_hint(hint)
}

/// An error of a registry's stream, its cause and its hint brought to light.
pub(crate) fn stream_error(message: String, error: std::io::Error) -> BuildError {
    match error.downcast::<orlop_registry_client::Error>() {
        Ok(error) => registry_error(message, error),
        Err(error) => BuildError::user(message).because(error),
    }
}

pub(crate) fn check_cancelled(engine: &Engine<'_>) -> Result<(), BuildError> {
    if engine.cancel.is_cancelled() { Err(BuildError::interrupted()) } else { Ok(()) }
}

/// Brings all layers of `image` that cannot be mounted yet from the registry of `origin`, or from where
/// the store remembers that their blobs are.
///
/// # Errors
/// When one of them cannot be had or is not what it should be.
pub fn fetch_layers(
    engine: &Engine<'_>,
    image: &Image,
    origin: Option<&Reference>,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    fetch_layers_of(engine, image, |_| origin, task)
}

/// The same of an image whose layers from `base.1` on are not known to be where the ones below it are.
pub(crate) fn fetch_layers_over(
    engine: &Engine<'_>,
    image: &Image,
    base: (&Reference, usize),
    task: &Task<'_>,
) -> Result<(), BuildError> {
    fetch_layers_of(engine, image, |index| (index < base.1).then_some(base.0), task)
}

fn fetch_layers_of<'r>(
    engine: &Engine<'_>,
    image: &Image,
    origin: impl Fn(usize) -> Option<&'r Reference> + Sync,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let wanted: Vec<usize> = (0..image.layers().len()).collect();
    let _span = engine.trace().span("pull", &[]);
    fetch_chosen(engine, image, &wanted, origin, task)?;
    // A layer that takes directories or links from those below it may have come before them.
    for &index in &wanted {
        check_cancelled(engine)?;
        let ensured = engine.store.ensure_layer(image, index);
        if !ensured.map_err(|error| BuildError::from(error).of_layer(image.layers().get(index)))? {
            return Err(BuildError::internal(format!("layer {index} of the image is gone again"))
                .with_hint("something removed it meanwhile: try again".to_owned()));
        }
    }
    Ok(())
}

/// Brings the blobs `blobs` of `image`, to be sent on; whether a snapshot can be made of them is another question.
fn fetch_blobs(
    engine: &Engine<'_>,
    image: &Image,
    blobs: &[&Descriptor],
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let is_wanted = |index: &usize| {
        let blob = image.layers().get(*index).and_then(|layer| layer.blob.as_ref());
        blob.is_none_or(|blob| blobs.iter().any(|wanted| wanted.digest == blob.digest))
    };
    let wanted: Vec<usize> = (0..image.layers().len()).filter(is_wanted).collect();
    let _span = engine.trace().span("pull", &[]);
    fetch_chosen(engine, image, &wanted, |_| None, task)
}

/// Brings some layers, side by side.
fn fetch_chosen<'r>(
    engine: &Engine<'_>,
    image: &Image,
    wanted: &[usize],
    origin: impl Fn(usize) -> Option<&'r Reference> + Sync,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let failed = Mutex::new(None::<BuildError>);
    side_by_side(wanted, |&index| {
        engine.trace().thread("transfer");
        let stop = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if stop() {
            return false;
        }
        match fetch_layer(engine, image, index, origin(index), task) {
            Ok(()) => true,
            Err(error) => {
                let error = error.of_layer(image.layers().get(index));
                let mut slot = failed.lock().unwrap_or_else(PoisonError::into_inner);
                slot.get_or_insert(error);
                false
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Calls `act` for each item, a few at a time, in order; what has not begun when one says false is left.
pub(crate) fn side_by_side<T: Sync>(items: &[T], act: impl Fn(&T) -> bool + Sync) {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        while !stopped.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if !act(item) {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..SIDE_BY_SIDE.min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
}

fn fetch_layer(
    engine: &Engine<'_>,
    image: &Image,
    index: usize,
    origin: Option<&Reference>,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    check_cancelled(engine)?;
    let here = engine.store.ensure_layer(image, index)?;
    if here && !engine.store.lacks_blob(image, index)? {
        return Ok(());
    }
    let diff_ids = image.diff_ids();
    let (Some(layer), Some(below)) = (image.layers().get(index), diff_ids.get(..index)) else {
        return Err(BuildError::internal(format!("there is no layer {index}")));
    };
    let Some(blob) = &layer.blob else {
        return Err(BuildError::user(format!("layer {} is not in the store", layer.diff_id.short()))
            .with_hint("build or pull its image again".to_owned()));
    };
    let mut last = None;
    let os = image.layer_os();
    let places = places(engine, origin, &blob.digest)?;
    for place in places.known.iter().chain(&places.guess) {
        loop {
            let lost = engine.registry.mirrors_lost();
            match fetch_from(engine, place, blob, &layer.diff_id, (os, below), task) {
                Ok(()) => {
                    engine.store.note_source(&blob.digest, &place.to_string())?;
                    return Ok(());
                }
                // A mirror served something else, and is not asked again.
                Err(error) if error.kind == Fault::User && engine.registry.mirrors_lost() > lost => {}
                Err(error) if error.kind == Fault::User => {
                    let error = match &places.guess {
                        Some(guess) => {
                            unknown(blob, guess).because(error.in_one_line()).with_hint(error.hint)
                        }
                        None => error,
                    };
                    last = last.or(Some(error));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    // Registries may keep such a layer and most do not: what the others say is worth more.
    if blob.is_foreign() {
        last = None;
        for url in &blob.urls {
            match fetch_foreign(engine, url, blob, &layer.diff_id, (os, below), task) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == Fault::User => last = last.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
    }
    if here {
        // Steps can go on with it; it cannot leave the store, which is said where somebody wants that.
        return Ok(());
    }
    Err(last.unwrap_or_else(|| {
        BuildError::user(format!(
            "layer {} is not in the store, and no registry is known that has it",
            layer.diff_id.short()
        ))
        .with_hint("pull its image again".to_owned())
    }))
}

/// Where a blob may be.
struct Places {
    /// Repositories that had it when it was last heard of, the most likely first.
    known: Vec<Repository>,
    /// Where none is known: the one that the image's name would be in, if it had been there ever.
    guess: Option<Repository>,
}

/// Repositories that should have the blob. That of a name is one of them where the image came from there or was sent
/// there. What was built here, perhaps from a cache in another registry, has a name that says nothing.
fn places(engine: &Engine<'_>, origin: Option<&Reference>, blob: &Digest) -> Result<Places, BuildError> {
    let origin = origin.map(repository).transpose()?;
    let mut known: Vec<Repository> = Vec::new();
    for source in engine.store.sources(blob)? {
        let Some((registry, name)) = source.split_once('/') else { continue };
        known.extend(Repository::new(registry, name));
    }
    // Of several the one by which the user calls it.
    known.sort_by_key(|place| Some(place) != origin.as_ref());
    let guess = origin.filter(|_| known.is_empty());
    Ok(Places { known, guess })
}

/// Of a layer that was looked for in `guess` because of its image's name alone.
fn unknown(blob: &Descriptor, guess: &Repository) -> BuildError {
    BuildError::user(format!(
        "layer {} is not in the store, no registry is known to have it, and `{guess}` was asked only because the \
         image has that name",
        blob.digest.short()
    ))
}

fn fetch_from(
    engine: &Engine<'_>,
    place: &Repository,
    blob: &Descriptor,
    diff_id: &Digest,
    (os, below): (LayerOs, &[Digest]),
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let fetch = || take(engine, (blob, diff_id), (os, below), engine.registry.blob(place, blob)?, task);
    let end = match fetch()? {
        Err(orlop_store::Error::Stream { source, .. }) if tried_again(engine, &source) => fetch()?,
        end => end,
    };
    end.map_err(|error| layer_error(&place.to_string(), blob, error))
}

/// Fetches a layer that no registry keeps from one of the URLs that its descriptor has.
fn fetch_foreign(
    engine: &Engine<'_>,
    url: &str,
    blob: &Descriptor,
    diff_id: &Digest,
    (os, below): (LayerOs, &[Digest]),
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let shown: String = url.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
    let shown: String = shown.chars().filter(|c| !c.is_control()).collect();
    let failed = |error| registry_error(format!("cannot pull layer {}", blob.digest.short()), error);
    let reader = engine.registry.foreign_blob(url, blob).map_err(failed)?;
    take(engine, (blob, diff_id), (os, below), reader, task)?
        .map_err(|error| layer_error(&shown, blob, error))
}

/// Takes a layer from a stream, and tells how it gets on.
fn take(
    engine: &Engine<'_>,
    (blob, diff_id): (&Descriptor, &Digest),
    (os, below): (LayerOs, &[Digest]),
    inner: impl Read + Send,
    task: &Task<'_>,
) -> Result<Result<(), orlop_store::Error>, BuildError> {
    task.transfer(blob.digest, Action::Pull, 0, Some(blob.size));
    let reader = Watched::new(engine, task, inner, blob.digest, Some(blob.size));
    let result = engine.store.import_layer(os, blob, diff_id, below, reader);
    check_cancelled(engine)?;
    if result.is_ok() {
        task.transfer(blob.digest, Action::Pull, blob.size, Some(blob.size));
    }
    Ok(result.map(drop))
}

/// Whether what came is not what was asked for.
fn is_damaged(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(orlop_registry_client::Error::Digest { .. }))
}

/// A byte that fell over on the way will hardly do so twice: says so, and that the content is fetched once more.
fn tried_again(engine: &Engine<'_>, error: &std::io::Error) -> bool {
    let damaged = is_damaged(error);
    if damaged {
        Progress::new(engine.observer).warn(format!("{error}; trying again (1 of 1)"), None);
    }
    damaged
}

/// Of a stream's error the registry's own words are worth more than that a stream broke.
fn layer_error(place: &str, blob: &Descriptor, error: orlop_store::Error) -> BuildError {
    let message = format!("cannot pull layer {} from `{place}`", blob.digest.short());
    match error {
        orlop_store::Error::Stream { source, .. } => stream_error(message, source),
        other => {
            let hint = other.hint();
            let BuildError { kind, .. } = match other.kind() {
                ErrorKind::Content | ErrorKind::NotFound | ErrorKind::Input => BuildError::user(""),
                _ => BuildError::internal(""),
            };
            BuildError { kind, ..BuildError::user(message).because(other).with_hint(hint) }
        }
    }
}

/// Pulls an image with all its layers.
///
/// # Errors
/// As [`resolve`] and [`fetch_layers`].
pub fn pull(
    engine: &Engine<'_>,
    reference: &Reference,
    platform: &Platform,
    policy: PullPolicy,
    task: &Task<'_>,
) -> Result<Image, BuildError> {
    let Resolved { image, name, arrival } = resolve(engine, reference, platform, policy, task)?;
    if !platform.same_machine(&image.platform()) {
        note_platform(&name, &image, platform, task);
    }
    fetch_layers(engine, &image, Some(&name), task)?;
    if let Some(arrival) = arrival {
        arrival.settle(engine)?;
    }
    Ok(image)
}

/// Reads an image from `path[:tag][@digest]`, an OCI layout's directory or an archive: what FROM means by
/// `oci-layout://`. Its layers are in the store afterwards; it gets no name.
///
/// # Errors
/// When there is none of that name and platform, or something in it is not what it should be.
pub fn load_layout(engine: &Engine<'_>, layout: &str, platform: &Platform) -> Result<Image, BuildError> {
    let _span = engine.trace().span("resolve", &[]);
    let (path, name) = split_layout(layout);
    std::fs::metadata(path).map_err(|e| {
        // What is left of `C:\images` where the backslash escapes.
        let drive = matches!(path.as_bytes(), [letter] if letter.is_ascii_alphabetic()) && name.is_some();
        let hint = drive.then(|| crate::execute::ESCAPE_HINT.to_owned());
        BuildError::user(format!("cannot open `{path}`")).because(e).with_hint(hint)
    })?;
    let load = |name: Option<&str>| {
        let options = LoadOptions {
            name: name.map(str::to_owned),
            platform: Some(platform.clone()),
            layers_only: true,
        };
        engine.store.load(std::path::Path::new(path), &options)
    };
    let mut loaded = load(name)?;
    // As with buildx: where no name is said `latest` is meant, unless there is but one.
    if name.is_none()
        && loaded.len() > 1
        && let Ok(latest) = load(Some("latest"))
    {
        loaded = latest;
    }
    match <[_; 1]>::try_from(loaded) {
        Ok([one]) => Ok(one.image),
        Err(loaded) => Err(BuildError::user(format!("`{path}` has {} images for {platform}", loaded.len()))
            .with_hint(format!("name one of them: `oci-layout://{path}:TAG`"))),
    }
}

/// A path, and the tag or digest behind it. A colon belongs to the path when what follows has a separator, of
/// whichever system: `C:\images` is a path.
pub(crate) fn split_layout(layout: &str) -> (&str, Option<&str>) {
    let tagged = |text| {
        let (path, tag) = str::rsplit_once(text, ':')?;
        (!path.is_empty() && !tag.contains(['/', '\\'])).then_some((path, tag))
    };
    if let Some((path, digest)) = layout.rsplit_once('@')
        && digest.starts_with("sha256:")
    {
        return (tagged(path).map_or(path, |(path, _)| path), Some(digest));
    }
    match tagged(layout) {
        Some((path, tag)) if !tag.is_empty() => (path, Some(tag)),
        _ => (layout, None),
    }
}

#[cfg(test)]
mod tests;
