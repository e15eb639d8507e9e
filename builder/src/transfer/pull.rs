//! From a registry to the store.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use orlop_registry_client::TagOrDigest;
use orlop_runner::CancelToken;
use orlop_store::image::{Image, Index, MAX_CONFIG, Manifest};
use orlop_store::images::Named;
use orlop_store::{Descriptor, Platform, Reference, VerifiedReader, media_type};

use super::repository;
use crate::error::BuildError;
use crate::event::{Action, Task};
use crate::request::{Engine, PullPolicy};

/// Layers that are brought at the same time. More do not help: each is unpacked while it arrives.
const SIDE_BY_SIDE: usize = 4;

/// What `reference` means for `platform`: its config and manifest, and no layer yet. The store
/// remembers both under the name.
///
/// # Errors
/// When the policy forbids to ask, or the registry has no such image.
pub fn resolve(
    engine: &Engine<'_>,
    reference: &Reference,
    platform: &Platform,
    policy: PullPolicy,
    task: &Task<'_>,
) -> Result<Image, BuildError> {
    if policy != PullPolicy::Always
        && let Some(named) = engine.store.images().named(reference)?
    {
        let image = engine.store.images().load(&named)?;
        if platform.matches(&image.platform()) {
            return Ok(image);
        }
    }
    let familiar = reference.familiar();
    if policy == PullPolicy::Never {
        return Err(BuildError::user(format!("image `{familiar}` for {platform} is not in the store"))
            .with_hint(format!("fetch it with `orlop pull {familiar}`, or build without `--pull=never`")));
    }
    let repo = repository(reference)?;
    let which = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => TagOrDigest::Digest(*digest),
        (None, tag) => TagOrDigest::Tag(tag.unwrap_or("latest").to_owned()),
    };
    let refused = |e: orlop_registry_client::Error| {
        let hint = e.hint();
        BuildError::user(format!("cannot pull `{familiar}`")).because(e).with_hint(hint)
    };
    let mut response = engine.registry.manifest(&repo, &which).map_err(refused)?;
    let mut index = None;
    if media_type::is_index(&response.media_type) {
        let parsed = Index::parse(&response.bytes, &response.media_type)?;
        let entry = parsed.select(platform).cloned().ok_or_else(|| {
            let offered: Vec<_> = parsed.platforms().iter().map(ToString::to_string).collect();
            BuildError::user(format!("`{familiar}` has no image for {platform}"))
                .with_hint(format!("it has: {}", offered.join(", ")))
        })?;
        index = Some(engine.store.images().put_index(&parsed)?);
        response = engine.registry.manifest(&repo, &TagOrDigest::Digest(entry.digest)).map_err(refused)?;
    }
    let manifest = Manifest::parse(&response.bytes, &response.media_type)?;
    let config = small_blob(engine, reference, &manifest.config)?;
    let image = Image::from_parts(&config, Some(manifest))?;
    if !platform.matches(&image.platform()) {
        task.note(format!("the only image of `{familiar}` is for {}, not for {platform}", image.platform()));
    }
    let id = engine.store.images().put(&image)?;
    let named = Named { id, manifest: image.manifest().map(Manifest::digest), index };
    engine.store.images().tag(reference, &named)?;
    Ok(image)
}

/// Reads a blob that is small by its nature.
fn small_blob(engine: &Engine<'_>, reference: &Reference, blob: &Descriptor) -> Result<Vec<u8>, BuildError> {
    let what = format!("config {} of `{}`", blob.digest, reference.familiar());
    if blob.size > MAX_CONFIG {
        return Err(orlop_store::Error::TooLarge { what, size: blob.size, limit: MAX_CONFIG }.into());
    }
    if let Ok(bytes) = engine.store.blobs().read_small(&blob.digest, MAX_CONFIG) {
        return Ok(bytes);
    }
    let reader = engine.registry.blob(&repository(reference)?, blob)?;
    let mut bytes = Vec::new();
    VerifiedReader::new(reader, blob.digest, blob.size)
        .read_to_end(&mut bytes)
        .map_err(orlop_store::Error::stream(what))?;
    Ok(bytes)
}

/// Brings the layers of `image` that the store has not, from the repository of `reference`; several
/// side by side, each verified, kept and unpacked in one stream.
///
/// # Errors
/// The first layer that is not what it should be. Layers that were complete by then stay.
pub fn fetch_layers(
    engine: &Engine<'_>,
    image: &Image,
    reference: Option<&Reference>,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let count = image.layers().len();
    let next = AtomicUsize::new(0);
    let later = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || lock(&failure).is_some() {
                        return;
                    }
                    match fetch_layer(engine, image, index, reference, task) {
                        Ok(()) => {}
                        // It takes files or directories from a layer below that is still on its way.
                        Err(error) if needs_lower(&error) => lock(&later).push(index),
                        Err(error) => drop(lock(&failure).get_or_insert(error.into_build())),
                    }
                }
            });
        }
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut later = std::mem::take(&mut *lock(&later));
    later.sort_unstable();
    for index in later {
        fetch_layer(engine, image, index, reference, task).map_err(FetchError::into_build)?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why one layer did not come.
enum FetchError {
    Store(orlop_store::Error),
    Other(BuildError),
}

impl FetchError {
    fn into_build(self) -> BuildError {
        match self {
            Self::Store(error) => error.into(),
            Self::Other(error) => error,
        }
    }
}

fn needs_lower(error: &FetchError) -> bool {
    use orlop_store::layer::LayerError;
    matches!(error, FetchError::Store(orlop_store::Error::Layer(LayerError::Missing { .. })))
}

fn fetch_layer(
    engine: &Engine<'_>,
    image: &Image,
    index: usize,
    reference: Option<&Reference>,
    task: &Task<'_>,
) -> Result<(), FetchError> {
    if engine.store.ensure_layer(image, index).map_err(FetchError::Store)? {
        return Ok(());
    }
    let layer = &image.layers()[index];
    let (Some(reference), Some(blob)) = (reference, &layer.blob) else {
        return Err(FetchError::Other(
            BuildError::user(format!("layer {} is not in the store", layer.diff_id))
                .with_hint("pull or build the image again".to_owned()),
        ));
    };
    let repo = repository(reference).map_err(FetchError::Other)?;
    let diff_ids = image.diff_ids();
    let reader = engine.registry.blob(&repo, blob).map_err(|e| FetchError::Other(e.into()))?;
    let reader = Watched { reader, task, blob, current: 0, shown: 0, cancel: engine.cancel };
    engine.store.import_layer(blob, &layer.diff_id, &diff_ids[..index], reader).map_err(|e| {
        match engine.cancel.is_cancelled() {
            true => FetchError::Other(BuildError::interrupted()),
            false => FetchError::Store(e),
        }
    })?;
    engine.store.note_source(&blob.digest, &reference.repository()).map_err(FetchError::Store)
}

/// A download that reports its progress and stops when the build does.
struct Watched<'a, R> {
    reader: R,
    task: &'a Task<'a>,
    blob: &'a Descriptor,
    current: u64,
    shown: u64,
    cancel: &'a CancelToken,
}

/// Bytes between two reports.
const REPORT: u64 = 256 << 10;

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let n = self.reader.read(buf)?;
        self.current += n as u64;
        if n == 0 || self.current - self.shown >= REPORT {
            self.shown = self.current;
            self.task.transfer(self.blob.digest, Action::Pull, self.current, Some(self.blob.size));
        }
        Ok(n)
    }
}
