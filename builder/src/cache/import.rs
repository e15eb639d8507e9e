//! What `--cache-from` offers: read once, when the first step is not known here, and believed for its keys alone.
//!
//! A layer of a registry's cache is not fetched before somebody needs its files. Where it turns out then that it
//! cannot be had, [`Imports::gave_up`] says so, and the build begins anew without it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use orlop_store::snapshot::LayerOs;
use orlop_store::{Descriptor, Digest};

use super::CacheSource;
use super::document::{Document, Made};
use super::existing::{Existing, read};
use super::place::Place;
use crate::error::{BuildError, ErrorKind};
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;
use crate::transfer::side_by_side;

/// How many layers may be missing before no cache is asked any more.
const PATIENCE: usize = 3;

/// A result that a cache has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Diff ID of the step's layer, if it has one.
    pub(crate) layer: Option<Digest>,
    /// When the step ran, in milliseconds since 1970.
    pub(crate) created: i64,
}

/// The caches that a build may take results from.
#[derive(Debug)]
pub(crate) struct Imports<'a> {
    engine: Engine<'a>,
    progress: &'a Progress<'a>,
    sources: &'a [CacheSource],
    read: OnceLock<Vec<Cache>>,
    state: Mutex<State>,
}

/// One cache that was read.
#[derive(Debug)]
struct Cache {
    place: Place,
    results: HashMap<Digest, (Offer, i64)>,
    /// The keys of each layer that was made at some time: those of one step.
    keys: HashMap<(Digest, i64), Vec<Digest>>,
}

/// The layer of a result.
#[derive(Debug)]
enum Offer {
    Nothing,
    Layer(Digest, Box<Descriptor>),
    Absent(Digest),
}

/// What the build took.
#[derive(Debug, Default)]
struct State {
    /// The blobs of layers that were taken, by diff ID.
    given: HashMap<Digest, Descriptor>,
    /// Blobs that could not be had, or were not what they should be.
    lost: HashSet<Digest>,
    /// Diff IDs of layers that no cache has and that nobody has looked into so far.
    absent: HashSet<Digest>,
    /// Somebody did: such layers are not taken any more.
    whole: bool,
}

impl<'a> Imports<'a> {
    /// Nothing is asked yet.
    pub(crate) fn new(engine: Engine<'a>, progress: &'a Progress<'a>, sources: &'a [CacheSource]) -> Self {
        Self { engine, progress, sources, read: OnceLock::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result behind `key` for a step over the layers `below`, from the first cache that has one. Where the result
    /// is no part of the image, it may be one whose layer nobody has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn lookup(
        &self,
        key: &Digest,
        (os, below): (LayerOs, &[Digest]),
        of_target: bool,
    ) -> Result<Option<Hit>, BuildError> {
        if self.sources.is_empty() || self.state().lost.len() >= PATIENCE {
            return Ok(None);
        }
        for cache in self.read.get_or_init(|| self.read_all()) {
            let Some((offer, created)) = cache.results.get(key) else { continue };
            let hit = |layer| Ok(Some(Hit { layer, created: *created }));
            match offer {
                Offer::Nothing => return hit(None),
                Offer::Layer(diff_id, blob) => {
                    if self.engine.store.has_layer(os, below, diff_id)?
                        || self.offer(cache, (diff_id, blob), (os, below))?
                    {
                        return hit(Some(*diff_id));
                    }
                }
                Offer::Absent(diff_id) => {
                    if self.engine.store.has_layer(os, below, diff_id)? {
                        return hit(Some(*diff_id));
                    }
                    let mut state = self.state();
                    if !of_target && !state.whole {
                        state.absent.insert(*diff_id);
                        return hit(Some(*diff_id));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes a layer that is not here. False where this cannot be had from the cache.
    fn offer(
        &self,
        cache: &Cache,
        (diff_id, blob): (&Digest, &Descriptor),
        (os, below): (LayerOs, &[Digest]),
    ) -> Result<bool, BuildError> {
        if self.state().lost.contains(&blob.digest) {
            return Ok(false);
        }
        if let Some(repository) = cache.place.repository() {
            self.engine.store.note_source(&blob.digest, &repository)?;
        }
        if let Some(layout) = cache.place.local() {
            // It is near, and may be gone when the image leaves: it is taken at once.
            let taken = layout
                .open(blob)
                .and_then(|content| Ok(self.engine.store.import_layer(os, blob, diff_id, below, content)?));
            if let Err(error) = taken {
                self.lose(blob.digest, &error.in_one_line());
                return Ok(false);
            }
        }
        // The first that is found stays: what a layer's blob is does not change in the middle of a build.
        self.state().given.entry(*diff_id).or_insert_with(|| blob.clone());
        Ok(true)
    }

    /// The other digests by which the caches that were read know the step that `key` means, and that gave `layer` at
    /// `created`.
    pub(crate) fn also_known_as(&self, key: &Digest, layer: &Digest, created: i64) -> Vec<Digest> {
        let caches = self.read.get().into_iter().flatten();
        let same =
            caches.filter_map(|cache| cache.keys.get(&(*layer, created)).filter(|keys| keys.contains(key)));
        same.flatten().copied().collect()
    }

    /// The blob of a layer that was taken from a cache and perhaps not fetched.
    pub(crate) fn blob_of(&self, diff_id: &Digest) -> Option<Descriptor> {
        self.state().given.get(diff_id).cloned()
    }

    /// Whether something failed because of a layer that a cache had promised.
    pub(crate) fn are_to_blame(&self, error: &BuildError) -> bool {
        let Some(layer) = error.layer.as_deref().filter(|_| error.kind == ErrorKind::User) else {
            return false;
        };
        let state = self.state();
        (state.absent.contains(layer) && !state.whole)
            || state.given.values().any(|given| given.digest == *layer)
    }

    /// The same of the build as a whole. Such a layer is not taken again, so that it can begin anew.
    pub(crate) fn gave_up(&self, error: &BuildError) -> bool {
        let Some(layer) = error.layer.as_deref().filter(|_| self.are_to_blame(error)) else { return false };
        let mut state = self.state();
        if state.absent.contains(layer) && !state.whole {
            state.whole = true;
            drop(state);
            // No fault of anybody's: it was not clear before that files would be needed.
            let title = "stages are built whose files are needed and whose layers no cache has";
            self.progress.start(title).finish(Outcome::Done, None, None);
            return true;
        }
        drop(state);
        self.lose(*layer, &error.in_one_line());
        true
    }

    fn lose(&self, blob: Digest, why: &str) {
        let mut state = self.state();
        state.given.retain(|_, given| given.digest != blob);
        let new = state.lost.insert(blob);
        drop(state);
        if new {
            let text =
                format!("layer {} of the cache cannot be had, and its step is run: {why}", blob.short());
            self.progress.warn(text, None);
        }
    }

    /// Reads all caches, side by side.
    fn read_all(&self) -> Vec<Cache> {
        let slots: Vec<(usize, &CacheSource)> = self.sources.iter().enumerate().collect();
        let found = Mutex::new(Vec::new());
        side_by_side(&slots, |(number, source)| {
            self.engine.trace().thread("transfer");
            if let Some(cache) = self.read_one(source) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((*number, cache));
            }
            true
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, cache)| cache).collect()
    }

    /// Reads one; none where it has nothing for us, which is told and nothing worse.
    fn read_one(&self, source: &CacheSource) -> Option<Cache> {
        let name = match source {
            CacheSource::Registry(reference) => reference.familiar(),
            CacheSource::Local { dir, .. } => dir.display().to_string(),
        };
        let task = self.progress.start(format!("importing cache from {name}"));
        let span = self.engine.trace().span("cache import", &[]);
        let result = Place::of_source(source).and_then(|place| match read(&self.engine, &place)? {
            Existing::Damaged(error, _) => Err(error),
            existing => Ok((place, existing)),
        });
        drop(span);
        let cache = match result {
            Ok((place, existing)) => told(&task, existing).map(|documents| Cache::of(place, documents)),
            Err(error) => {
                let why = error.in_one_line();
                let text = format!("the cache `{name}` cannot be read, and the build does without: {why}");
                if error.kind != ErrorKind::Interrupted {
                    self.progress.advise(text, error.hint);
                }
                None
            }
        };
        task.finish(Outcome::Done, None, None);
        cache
    }
}

/// Says what a cache has; none where it has nothing.
fn told(task: &Task<'_>, existing: Existing) -> Option<Vec<Document>> {
    let documents = match existing {
        Existing::Nothing | Existing::Damaged(..) => {
            task.note("there is no cache yet");
            return None;
        }
        Existing::Cache(document, _) if !document.ours => {
            task.note("another builder's cache: no step of orlop's is in it");
            return None;
        }
        Existing::Cache(document, _) => vec![document],
        Existing::Images(documents) if documents.is_empty() => {
            task.note("an image that carries no cache");
            return None;
        }
        Existing::Images(documents) => documents,
    };
    let count: usize = documents.iter().map(|document| document.records.len()).sum();
    task.note(match count {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    });
    Some(documents)
}

impl Cache {
    fn of(place: Place, documents: Vec<Document>) -> Self {
        let (mut results, mut keys) = (HashMap::new(), HashMap::<_, Vec<Digest>>::new());
        for document in documents {
            for record in &document.records {
                let offer = match record.made {
                    Made::Nothing => Offer::Nothing,
                    Made::Absent(diff_id) => Offer::Absent(diff_id),
                    Made::Layer(at) => match document.layers.get(at) {
                        Some(layer) => Offer::Layer(layer.diff_id, Box::new(layer.blob.clone())),
                        None => continue,
                    },
                };
                if let Some(diff_id) = document.diff_id(record) {
                    keys.entry((diff_id, record.created)).or_default().push(record.key);
                }
                results.entry(record.key).or_insert((offer, record.created));
            }
        }
        Self { place, results, keys }
    }
}
