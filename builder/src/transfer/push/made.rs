//! Layers that are compressed for a push: the first bytes are sent while the last ones are still being made.

use std::io::Read;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use orlop_store::{Descriptor, Digest, ExportOptions, GrowingBlob, Image, Reference};

use super::{check_cancelled, failure, mountable, push_blob, repository};
use crate::error::BuildError;
use crate::event::{Action, Task};
use crate::request::Engine;
use crate::transfer::watched::{Stoppable, Told};

/// Layers that are compressed at one time. Each uses all cores where it is large, and holds some megabytes for each
/// of them.
pub(super) const AT_ONCE: usize = 2;

/// The layers of an image that have no blob yet, and what became of them.
pub(super) struct Making<'a> {
    options: &'a ExportOptions,
    diff_ids: Vec<Digest>,
    /// Which layers are missing, each once.
    pub(super) missing: Vec<usize>,
    made: Mutex<Vec<(Digest, Descriptor)>>,
    gate: [Mutex<()>; AT_ONCE],
}

impl<'a> Making<'a> {
    /// Those of `layers` that are none.
    pub(super) fn new(image: &Image, layers: &[Option<Descriptor>], options: &'a ExportOptions) -> Self {
        let diff_ids = image.diff_ids();
        let mut missing: Vec<usize> = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            if layer.is_none() && !missing.iter().any(|other| diff_ids.get(*other) == diff_ids.get(index)) {
                missing.push(index);
            }
        }
        Self { options, diff_ids, missing, made: Mutex::default(), gate: Default::default() }
    }

    /// Missing layers of which nothing is here that their blob could be made of.
    pub(super) fn gone(&self, engine: &Engine<'_>) -> Vec<usize> {
        let is_gone = |index: &usize| {
            let (below, diff_id) = (self.diff_ids.get(..*index), self.diff_ids.get(*index));
            below.zip(diff_id).is_some_and(|(below, id)| engine.store.layer_tar(below, id).is_err())
        };
        self.missing.iter().copied().filter(is_gone).collect()
    }

    /// All layers, those that were missing as they were made.
    pub(super) fn with(&self, layers: &[Option<Descriptor>]) -> Result<Vec<Descriptor>, BuildError> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let of =
            |diff_id: &Digest| made.iter().find(|(made, _)| made == diff_id).map(|(_, blob)| blob.clone());
        let all =
            layers.iter().zip(&self.diff_ids).map(|(layer, diff_id)| layer.clone().or_else(|| of(diff_id)));
        all.collect::<Option<_>>().ok_or_else(|| BuildError::internal("a layer was not made"))
    }

    /// Makes the blob of layer `index` and sends it. Gives the bytes that were sent.
    pub(super) fn push(
        &self,
        engine: &Engine<'_>,
        reference: &Reference,
        index: usize,
        task: &Task<'_>,
    ) -> Result<u64, BuildError> {
        check_cancelled(engine)?;
        let (Some(below), Some(diff_id)) = (self.diff_ids.get(..index), self.diff_ids.get(index)) else {
            return Err(BuildError::internal(format!("there is no layer {index}")));
        };
        if let Some(blob) = engine.store.made_before(diff_id, self.options.compression)?
            && mountable(engine, &repository(reference)?, &blob)?
        {
            engine.store.note_source(&blob.digest, &reference.repository())?;
            task.transfer(blob.digest, Action::Exists, blob.size, Some(blob.size));
            self.keep(*diff_id, blob);
            return Ok(0);
        }
        let turn = self.missing.iter().position(|missing| *missing == index).unwrap_or_default();
        let trace = engine.trace();
        let wait = trace.span("wait", &[]);
        let _one_of_few = self.gate[turn % AT_ONCE].lock().unwrap_or_else(PoisonError::into_inner);
        drop(wait);
        let (give, take) = mpsc::channel();
        let (blob, sent) = thread::scope(|scope| {
            let maker = scope.spawn(move || {
                trace.thread("compress");
                let along = |growing: GrowingBlob| drop(give.send(growing));
                engine.store.layer_blob_along(below, diff_id, self.options.compression, along)
            });
            let wait = trace.span("wait", &[]);
            let growing = take.recv().ok();
            drop(wait);
            let pushed = growing.as_ref().map(|growing| along(engine, reference, diff_id, growing, task));
            if let (Some(growing), Some(Err(_))) = (&growing, &pushed) {
                growing.abandon();
            }
            let wait = trace.span("wait", &[]);
            let made = maker.join().map_err(|_| BuildError::internal("compressing a layer failed"))?;
            drop(wait);
            check_cancelled(engine)?;
            match (pushed, made) {
                // The source broke because it could not be made: that is what is wrong.
                (Some(Err(orlop_registry_client::Error::Source { .. })) | None, Err(error)) => {
                    Err(error.into())
                }
                (Some(Err(error)), _) => Err(failure(reference, error)),
                (Some(Ok(())), Err(error)) => Err(error.into()),
                (Some(Ok(())), Ok(blob)) => Ok((blob.clone(), Some(blob.size))),
                // Somebody else has made it meanwhile.
                (None, Ok(blob)) => Ok((blob, None)),
            }
        })?;
        let sent = match sent {
            None => push_blob(engine, reference, &blob, task)?,
            Some(sent) => {
                engine.store.note_source(&blob.digest, &reference.repository())?;
                task.transfer(*diff_id, Action::Push, sent, Some(sent));
                sent
            }
        };
        self.keep(*diff_id, blob);
        Ok(sent)
    }

    fn keep(&self, diff_id: Digest, blob: Descriptor) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((diff_id, blob));
    }
}

/// Sends a blob while it grows. Progress goes by the diff ID: the digest is known last.
fn along(
    engine: &Engine<'_>,
    reference: &Reference,
    diff_id: &Digest,
    growing: &GrowingBlob,
    task: &Task<'_>,
) -> Result<(), orlop_registry_client::Error> {
    let _span = engine.trace().span("upload", &[("layer", (*diff_id).into())]);
    let place = orlop_registry_client::Repository::of(reference)?;
    let cancel = engine.cancel.clone();
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        let cancel = cancel.clone();
        Ok(Box::new(Stoppable::new(growing.open(), move || cancel.is_cancelled())))
    };
    let told = Told::new(task, *diff_id, Action::Push, None);
    engine.registry.push_growing(&place, &open, &|| growing.whole(), &|current| told.report(current))?;
    Ok(())
}
