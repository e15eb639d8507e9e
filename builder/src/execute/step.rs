//! One step: found by its key, or made over a snapshot and kept as a layer.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_runner::Usage;
use orlop_store::Digest;
use orlop_store::image::{History, ImageLayer};
use orlop_store::snapshot::Active;
use orlop_store::steps::{KeyPart, StepKey, StepRecord};

use super::flight::{Flight, Found};
use super::stage::StageRun;
use crate::error::BuildError;
use crate::event::{Outcome, Task};

/// What identifies a step and how it is shown.
#[derive(Debug)]
pub(crate) struct StepSpec {
    /// The instruction as the user reads it.
    pub(crate) text: String,
    /// How history shows it.
    pub(crate) created_by: String,
    /// Everything that the result depends on besides the parent.
    pub(crate) parts: Vec<KeyPart>,
    /// Programs of one processor run in it. Without them files are the same whatever processor they are for.
    pub(crate) runs: bool,
    /// The times of its files are part of the result: an earlier one that differs in them alone is another.
    pub(crate) times_count: bool,
}

impl StageRun<'_, '_> {
    /// Takes the result of a step from the cache, or makes it with `work`, and goes on from there. A step that this
    /// build came to already, perhaps for another platform, is not done again.
    ///
    /// The order is the crash rule: the layer is complete in the store before its record says so.
    pub(crate) fn step(
        &mut self,
        spec: StepSpec,
        work: impl FnOnce(&Self, &Active, &Task<'_>) -> Result<Option<Usage>, BuildError>,
    ) -> Result<(), BuildError> {
        let exec = self.exec;
        let title = self.title(&spec.text);
        let parent = self.snapshot.chain_id();
        let platform = &exec.plan.stages[self.index].platform;
        let platform = if spec.runs { platform.to_string() } else { platform.os.clone() };
        let mut parts =
            vec![KeyPart::new("parent", "", parent.to_string()), KeyPart::new("platform", "", platform)];
        parts.extend(spec.parts);
        let key = StepKey::of(&parts);
        let flight = exec.common.flights.of(&key, self.is_without_cache());
        let mut flight = flight.lock().unwrap_or_else(PoisonError::into_inner);
        let task = match *flight {
            Flight::Failed => return Err(BuildError::interrupted()),
            // It was shown when another platform came to it.
            Flight::Done(found, by) if by != exec.number => {
                return self.append(&spec.created_by, found).map(drop);
            }
            Flight::Done(..) | Flight::New => exec.progress.start(title),
        };
        let known = match *flight {
            Flight::Done(found, _) => Some(found),
            _ => {
                *flight = Flight::Failed;
                self.lookup(&key)?
            }
        };
        if let Some(found) = known {
            *flight = Flight::Done(found, exec.number);
            exec.common.cached.fetch_add(1, Ordering::Relaxed);
            let size = self.append(&spec.created_by, found)?;
            task.finish(Outcome::Cached, None, found.layer.zip(size));
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
                match exec.engine.cancel.is_cancelled() {
                    true => task.finish(Outcome::Canceled, None, None),
                    false => task.finish(Outcome::Failed, error.step.as_ref().map(|s| s.usage), None),
                }
                return Err(error);
            }
        };
        *flight = Flight::Done(found, exec.number);
        drop(flight);
        exec.common.ran.fetch_add(1, Ordering::Relaxed);
        let size = self.append(&spec.created_by, found)?;
        task.finish(Outcome::Done, usage, found.layer.zip(size));
        Ok(())
    }

    /// The result of a step that ran before, if its layer is still here.
    fn lookup(&self, key: &StepKey) -> Result<Option<Found>, BuildError> {
        if self.is_without_cache() {
            return Ok(None);
        }
        Ok(match self.exec.engine.store.steps().lookup(key)? {
            Some(record) if self.has(record.layer)? => {
                Some(Found { layer: record.layer, created: record.created })
            }
            _ => None,
        })
    }

    /// Makes the result of a step with `work`, and keeps it with `record`.
    fn make(
        &self,
        mut record: StepRecord,
        times_count: bool,
        task: &Task<'_>,
        work: impl FnOnce(&Self, &Active, &Task<'_>) -> Result<Option<Usage>, BuildError>,
    ) -> Result<(Found, Option<Usage>), BuildError> {
        let exec = self.exec;
        let store = exec.engine.store;
        let started = SystemTime::now();
        self.fetch_base(task)?;
        let active = store.snapshots()?.prepare(&self.snapshot).map_err(orlop_store::Error::from)?;
        let usage = work(self, &active, task)?;
        exec.check_canceled()?;
        let diff = store.snapshots()?.diff(&active).map_err(orlop_store::Error::from)?;
        let parent = record.parent;
        let earlier = match times_count || self.is_without_cache() || diff.is_empty() {
            true => None,
            false => store.steps().content_result(&parent, &diff.content_id)?,
        };
        let found = match earlier {
            // The same content as before, only at other times: everything after it stays cached.
            Some((earlier, created)) if self.has(Some(earlier))? => Found { layer: Some(earlier), created },
            _ => {
                let created = now();
                let committed = store.snapshots()?.commit(active, &diff).map_err(orlop_store::Error::from)?;
                let layer = (committed != self.snapshot).then_some(diff.diff_id);
                if let Some(diff_id) = layer {
                    store.steps().put_content_result(&parent, &diff.content_id, &diff_id, created)?;
                }
                Found { layer, created }
            }
        };
        (record.layer, record.created) = (found.layer, found.created);
        record.duration =
            u64::try_from(started.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        store.steps().put(&record)?;
        Ok((found, usage))
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

    /// Puts a step's result on top; gives the layer's size in bytes.
    fn append(&mut self, created_by: &str, found: Found) -> Result<Option<u64>, BuildError> {
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
        let size = facts.map_or(0, |facts| facts.size);
        self.image = self.image.append_layer(ImageLayer::new(diff_id, Some(size)), entry);
        self.snapshot = self.snapshot.with(diff_id);
        Ok(Some(size))
    }

    /// Makes sure that the files below this step are here: a base image is only resolved until a
    /// step needs them.
    pub(crate) fn fetch_base(&self, task: &Task<'_>) -> Result<(), BuildError> {
        super::from::fetch(self.exec, &self.snapshot, self.origin.as_ref(), task)
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
