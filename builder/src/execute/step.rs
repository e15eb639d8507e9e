//! One step: found by its key, or made over a snapshot and kept as a layer.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_runner::Usage;
use orlop_store::Digest;
use orlop_store::image::{History, ImageLayer};
use orlop_store::snapshot::Active;
use orlop_store::steps::{KeyPart, StepKey, StepRecord};

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
}

/// What a step made or found.
struct Found {
    /// The new layer, if there is one.
    layer: Option<Digest>,
    /// When it was made, in milliseconds since 1970: the time that history says.
    created: i64,
}

impl StageRun<'_, '_> {
    /// Takes the result of a step from the cache, or makes it with `work`, and goes on from there.
    ///
    /// The order is the crash rule: the layer is complete in the store before its record says so.
    pub(crate) fn step(
        &mut self,
        spec: StepSpec,
        work: impl FnOnce(&Self, &Active, &Task<'_>) -> Result<Option<Usage>, BuildError>,
    ) -> Result<(), BuildError> {
        let exec = self.exec;
        let store = exec.engine.store;
        let title = self.title(&spec.text);
        let task = exec.progress.start(title);
        let parent = self.snapshot.chain_id();
        let mut parts = vec![
            KeyPart::new("parent", "", parent.to_string()),
            KeyPart::new("platform", "", exec.plan.stages[self.index].platform.to_string()),
        ];
        parts.extend(spec.parts);
        let key = StepKey::of(&parts);
        let no_cache = self.is_without_cache();
        if !no_cache
            && let Some(record) = store.steps().lookup(&key)?
            && self.has(record.layer)?
        {
            exec.cached.fetch_add(1, Ordering::Relaxed);
            let size =
                self.append(&spec.created_by, Found { layer: record.layer, created: record.created })?;
            task.finish(Outcome::Cached, None, record.layer.zip(size));
            return Ok(());
        }
        let started = SystemTime::now();
        self.fetch_base(&task)?;
        let active = store.snapshots()?.prepare(&self.snapshot).map_err(orlop_store::Error::from)?;
        let usage = match work(self, &active, &task) {
            Ok(usage) => usage,
            Err(error) if exec.engine.cancel.is_cancelled() => {
                task.finish(Outcome::Canceled, None, None);
                return Err(error);
            }
            Err(error) => {
                task.finish(Outcome::Failed, error.step.as_ref().map(|step| step.usage), None);
                return Err(error);
            }
        };
        exec.check_canceled()?;
        let diff = store.snapshots()?.diff(&active).map_err(orlop_store::Error::from)?;
        let earlier = match no_cache || diff.is_empty() {
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
        store.steps().put(&StepRecord {
            key,
            parts,
            parent,
            layer: found.layer,
            created: found.created,
            duration: u64::try_from(started.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
            scope: format!("{} {}", exec.dockerfile().source.name(), exec.plan.stages[self.index].name),
            description: spec.text,
        })?;
        exec.ran.fetch_add(1, Ordering::Relaxed);
        let layer = found.layer;
        let size = self.append(&spec.created_by, found)?;
        task.finish(Outcome::Done, usage, layer.zip(size));
        Ok(())
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
