//! One step: found by its key, or made over a snapshot and kept as a layer.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_runner::Usage;
use orlop_store::Digest;
use orlop_store::image::{History, ImageLayer};
use orlop_store::snapshot::Active;
use orlop_store::steps::{KeyPart, StepKey, StepRecord};

use super::change::Change;
use super::flight::{Flight, Found};
use super::part::{Part, PartList, list_error};
use super::stage::StageRun;
use crate::cache::{Carried, Exported};
use crate::error::BuildError;
use crate::event::{Outcome, Task};

/// What identifies a step and how it is shown.
#[derive(Debug)]
pub(crate) struct StepSpec<'p> {
    /// The instruction as the user reads it.
    pub(crate) text: String,
    /// How history shows it.
    pub(crate) created_by: String,
    /// Everything that the result depends on besides the parent.
    pub(crate) parts: Vec<Part<'p>>,
    /// Programs of one processor run in it. Without them files are the same whatever processor they are for.
    pub(crate) runs: bool,
    /// The times of its files are part of the result: an earlier one that differs in them alone is another.
    pub(crate) times_count: bool,
    /// Another digest that means the step, known before its parts are ([`StageRun::known_as`]).
    pub(crate) alias: Option<StepKey>,
}

impl StageRun<'_, '_> {
    /// Takes the result of a step from the cache, or makes it with `work`, and goes on from there. A step that this
    /// build came to already, perhaps for another platform, is not done again.
    ///
    /// The order is the crash rule: the layer is complete in the store before its record says so.
    pub(crate) fn step(
        &mut self,
        spec: StepSpec<'_>,
        work: impl FnOnce(&Self, &Task<'_>) -> Result<(Change, Option<Usage>), BuildError>,
    ) -> Result<(), BuildError> {
        let exec = self.exec;
        let span = exec.engine.trace().span("key", &[]);
        let title = self.title(&spec.text);
        let parent = self.snapshot.chain_id();
        let parts = self.parts(spec.parts, spec.runs);
        let key = StepKey::of_parts(&parts).map_err(|e| list_error(&e))?;
        let keys = [Some(key), spec.alias];
        let flight = exec.common.flights.of(&key, self.is_without_cache());
        let mut flight = self.board(&flight);
        let task = match *flight {
            Flight::Failed => return Err(BuildError::interrupted()),
            // It was shown when another platform came to it.
            Flight::Done(found, by) if by != exec.number => {
                self.span.add("outcome", Outcome::Cached.name());
                return self.append(&spec.created_by, found, &keys).map(drop);
            }
            Flight::Done(..) | Flight::New => exec.progress.start_step(title),
        };
        let known = match *flight {
            Flight::Done(found, _) => Some(found),
            _ => {
                *flight = Flight::Failed;
                self.lookup(&key)?
            }
        };
        drop(span);
        if let Some(found) = known {
            *flight = Flight::Done(found, exec.number);
            exec.common.cached.fetch_add(1, Ordering::Relaxed);
            let size = self.append(&spec.created_by, found, &keys)?;
            self.end(task, Outcome::Cached, None, found.layer.zip(size));
            return Ok(());
        }
        let record = StepRecord {
            key,
            parts,
            parent,
            layer: None,
            created: 0,
            duration: 0,
            scope: format!("{} {}", exec.dockerfile().source.name(), exec.plan.stages[self.index].name),
            description: spec.text,
        };
        let (found, usage) = match self.make(record, spec.times_count, &task, work) {
            Ok(made) => made,
            Err(error) => {
                // What a promised layer is missing for begins anew.
                match exec.engine.cancel.is_cancelled() || exec.common.imports.are_to_blame(&error) {
                    true => task.finish(Outcome::Canceled, None, None),
                    false => task.finish(Outcome::Failed, error.step.as_ref().map(|s| s.usage), None),
                }
                return Err(error);
            }
        };
        *flight = Flight::Done(found, exec.number);
        drop(flight);
        exec.common.ran.fetch_add(1, Ordering::Relaxed);
        let size = self.append(&spec.created_by, found, &keys)?;
        if let (Some(_), Some(size)) = (found.layer, size)
            && exec.is_of_target(self.index)
        {
            exec.common.ahead.offer(self.snapshot.layers(), size);
        }
        self.end(task, Outcome::Done, usage, found.layer.zip(size));
        Ok(())
    }

    /// Ends the task of a step that is there, for everybody who is told.
    fn end(&mut self, task: Task<'_>, outcome: Outcome, usage: Option<Usage>, layer: Option<(Digest, u64)>) {
        self.span.add("outcome", outcome.name());
        if let Some((diff_id, size)) = layer {
            self.span.add("layer", diff_id);
            self.span.add("bytes", size);
        }
        task.finish(outcome, usage, layer);
    }

    /// Waits until nobody else is at a step.
    fn board<'f>(&self, flight: &'f Mutex<Flight>) -> MutexGuard<'f, Flight> {
        flight.try_lock().unwrap_or_else(|_| {
            let _span = self.exec.engine.trace().span("wait", &[]);
            flight.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// All parts of a step of the stage as far as it has come.
    fn parts<'p>(&self, own: Vec<Part<'p>>, runs: bool) -> PartList<'p> {
        let platform = &self.exec.plan.stages[self.index].platform;
        let platform = if runs { platform.to_string() } else { platform.os.clone() };
        let mut parts = vec![
            KeyPart::new("parent", "", self.snapshot.chain_id().to_string()).into(),
            KeyPart::new("platform", "", platform).into(),
        ];
        parts.extend(own);
        PartList(parts)
    }

    /// A digest that means a step before its parts are known, because they are made of files that may have to be
    /// fetched first. Only shared caches know steps by it.
    pub(crate) fn alias(&self, own: Vec<KeyPart>, runs: bool) -> StepKey {
        let parts = self.parts(own.into_iter().map(Part::One).collect(), runs);
        let parts = parts.0.into_iter().filter_map(|part| match part {
            Part::One(part) => Some(part),
            Part::Files(_) => None,
        });
        StepKey::of(&parts.collect::<Vec<_>>())
    }

    /// Takes the result of a step from a shared cache that knows it by its alias. False where none does.
    pub(crate) fn known_as(
        &mut self,
        alias: StepKey,
        text: &str,
        created_by: &str,
    ) -> Result<bool, BuildError> {
        if self.is_without_cache() {
            return Ok(false);
        }
        let exec = self.exec;
        let flight = exec.common.flights.of(&alias, false);
        let mut flight = self.board(&flight);
        let found = match *flight {
            Flight::Done(found, by) if by != exec.number => {
                drop(self.title(text));
                self.span.add("outcome", Outcome::Cached.name());
                self.append(created_by, found, &[Some(alias), None])?;
                return Ok(true);
            }
            Flight::Done(found, _) => found,
            Flight::New | Flight::Failed => match self.imported(&alias, false)? {
                Some(found) => found,
                None => return Ok(false),
            },
        };
        *flight = Flight::Done(found, exec.number);
        let title = self.title(text);
        let task = exec.progress.start_step(title);
        exec.common.cached.fetch_add(1, Ordering::Relaxed);
        let size = self.append(created_by, found, &[Some(alias), None])?;
        self.end(task, Outcome::Cached, None, found.layer.zip(size));
        Ok(true)
    }

    /// The result of a step that a shared cache has.
    fn imported(&self, key: &StepKey, with_layer: bool) -> Result<Option<Found>, BuildError> {
        let over = (self.snapshot.os(), self.snapshot.layers());
        let with_layer = with_layer || self.exec.is_of_target(self.index);
        let hit = self.exec.common.imports.lookup(key.digest(), over, with_layer)?;
        Ok(hit.map(|hit| Found { layer: hit.layer, created: hit.created }))
    }

    /// The result of a step that ran before, if its layer is still here; else what a shared cache has.
    fn lookup(&self, key: &StepKey) -> Result<Option<Found>, BuildError> {
        if self.is_without_cache() {
            return Ok(None);
        }
        Ok(match self.exec.engine.store.steps().lookup(key)? {
            Some(record) if self.has(record.layer)? => {
                Some(Found { layer: record.layer, created: record.created })
            }
            _ => self.imported(key, false)?,
        })
    }

    /// Makes the result of a step with `work`, and keeps it with `record`.
    fn make(
        &self,
        mut record: StepRecord<PartList<'_>>,
        times_count: bool,
        task: &Task<'_>,
        work: impl FnOnce(&Self, &Task<'_>) -> Result<(Change, Option<Usage>), BuildError>,
    ) -> Result<(Found, Option<Usage>), BuildError> {
        let exec = self.exec;
        let store = exec.engine.store;
        let trace = exec.engine.trace();
        let started = SystemTime::now();
        self.fetch_base(task)?;
        let (change, usage) = work(self, task)?;
        exec.check_canceled()?;
        let diff = change.diff();
        let span = trace.span("key", &[]);
        let parent = record.parent;
        let (mut earlier, mut shared) = (None, None);
        if !(times_count || self.is_without_cache() || diff.is_empty()) {
            // The same content as before, only at other times: everything after it stays cached.
            let known = store.steps().content_result(&parent, &diff.content_id)?;
            earlier = match known {
                Some((layer, created)) if self.has(Some(layer))? => {
                    Some(Found { layer: Some(layer), created })
                }
                _ => None,
            };
            if earlier.is_none() {
                // One that nobody has would only be made a second time.
                shared = self.imported(&StepKey::of_result(&parent, &diff.content_id), true)?;
            }
        }
        drop(span);
        let span = trace.span("commit", &[("layer", diff.diff_id.into())]);
        let (found, unused) = match earlier {
            Some(found) => (found, Some(change)),
            None => {
                let created = now();
                let committed = change.commit(store)?;
                let layer = (committed != self.snapshot).then_some(diff.diff_id);
                if let Some(diff_id) = layer {
                    store.steps().put_content_result(&parent, &diff.content_id, &diff_id, created)?;
                }
                (Found { layer, created }, None)
            }
        };
        (record.layer, record.created) = (found.layer, found.created);
        record.duration =
            u64::try_from(started.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        store.steps().put(&record)?;
        drop(span);
        let span = trace.span("unmount", &[]);
        drop(unused);
        drop(span);
        // What others say of it is not written down here: they are asked again each time. Where their layer cannot be
        // had, this one is here; and what is the same to the byte needs none of theirs.
        let shared = shared.filter(|shared| shared.layer != Some(diff.diff_id));
        Ok((shared.unwrap_or(found), usage))
    }

    /// What `work` changes in a snapshot of the stage as far as it has come.
    pub(crate) fn in_snapshot(
        &self,
        work: impl FnOnce(&Active) -> Result<Option<Usage>, BuildError>,
    ) -> Result<(Change, Option<Usage>), BuildError> {
        let snapshots = self.exec.engine.store.snapshots()?;
        let trace = self.exec.engine.trace();
        let span = trace.span("prepare", &[]);
        let active = snapshots.prepare(&self.snapshot).map_err(orlop_store::Error::from)?;
        drop(span);
        let usage = work(&active)?;
        self.exec.check_canceled()?;
        let mut span = trace.span("diff", &[]);
        let diff = snapshots.diff(&active).map_err(orlop_store::Error::from)?;
        span.add("entries", diff.entries);
        span.add("bytes", diff.size);
        drop(span);
        Ok((Change::Snapshot(active, diff), usage))
    }

    /// Whether every step of this stage is to run.
    fn is_without_cache(&self) -> bool {
        let request = self.exec.request;
        let name = &self.exec.dockerfile().stages[self.index].from.name;
        let named = |name: &str| request.no_cache_stages.iter().any(|stage| stage.eq_ignore_ascii_case(name));
        request.no_cache || name.as_ref().is_some_and(|name| named(&name.value))
    }

    /// Whether a step's layer is still here.
    fn has(&self, layer: Option<Digest>) -> Result<bool, BuildError> {
        match layer {
            None => Ok(true),
            Some(diff_id) => {
                Ok(self.exec.engine.store.has_layer(self.snapshot.os(), self.snapshot.layers(), &diff_id)?)
            }
        }
    }

    /// Hands a step's result over to the shared caches. `keys` are the digests that mean it.
    fn export(&mut self, found: Found, keys: &[Option<StepKey>]) -> Result<(), BuildError> {
        let exec = self.exec;
        let of_target = exec.is_of_target(self.index);
        let wanted = exec.common.exports.any();
        if !wanted && !exec.carries_cache() {
            return Ok(());
        }
        let mut keys: Vec<Digest> = keys.iter().flatten().map(|key| *key.digest()).collect();
        if let Some(layer) = &found.layer {
            if let Some(key) = keys.first() {
                keys.extend(exec.common.imports.also_known_as(key, layer, found.created));
            }
            let parent = self.snapshot.chain_id();
            let content = exec.engine.store.steps().content_of(&parent, layer)?;
            keys.extend(content.map(|content| *StepKey::of_result(&parent, &content).digest()));
        }
        keys.sort();
        keys.dedup();
        if wanted {
            let (keys, below) = (keys.clone(), self.snapshot.clone());
            let Found { layer, created } = found;
            exec.common.exports.add(&Exported { keys, below, layer, created, of_target });
        }
        let Found { layer, created } = found;
        let place = layer.filter(|_| of_target).map(|_| self.image.layers().len());
        let step = Carried { keys, layer, place, created };
        match of_target {
            true => self.steps.push(step),
            false => exec.others.lock().unwrap_or_else(PoisonError::into_inner).push(step),
        }
        Ok(())
    }

    /// Puts a step's result on top; gives the layer's size in bytes, where that is known. `keys` are the digests that
    /// mean the step.
    fn append(
        &mut self,
        created_by: &str,
        found: Found,
        keys: &[Option<StepKey>],
    ) -> Result<Option<u64>, BuildError> {
        self.export(found, keys)?;
        let entry = History {
            created: Some(match self.exec.request.source_date_epoch {
                Some(seconds) => super::timestamp(seconds, 0),
                None => super::timestamp(found.created / 1000, (found.created % 1000) as i32 * 1_000_000),
            }),
            created_by: Some(created_by.to_owned()),
            comment: Some(super::history::COMMENT.to_owned()),
            empty_layer: found.layer.is_none(),
            ..History::default()
        };
        self.last_created.clone_from(&entry.created);
        let Some(diff_id) = found.layer else {
            self.image = self.image.take().append_history(entry);
            return Ok(None);
        };
        let facts = self
            .exec
            .engine
            .store
            .layers()
            .for_os(self.snapshot.os())
            .facts(self.snapshot.layers(), &diff_id)
            .map_err(orlop_store::Error::from)?;
        let size = facts.map(|facts| facts.size);
        let blob = match size {
            Some(_) => None,
            None => self.exec.common.imports.blob_of(&diff_id),
        };
        self.image = self.image.append_layer(ImageLayer { diff_id, blob, size }, entry);
        self.snapshot = self.snapshot.with(diff_id);
        Ok(size)
    }

    /// Makes sure that the files below this step are here: a base image is only resolved until a
    /// step needs them.
    pub(crate) fn fetch_base(&self, task: &Task<'_>) -> Result<(), BuildError> {
        super::from::fetch(self.exec, &self.snapshot, || self.origin(), task)
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
