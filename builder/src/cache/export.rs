//! `--cache-to`: each step goes out in the background as soon as it is there, and so does what names it. A build that
//! fails, or is stopped, leaves the cache of what it had done.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use orlop_registry_client::Stop;
use orlop_runner::CancelToken;
use orlop_store::snapshot::Committed;
use orlop_store::{Descriptor, Digest};

use super::document::{Document, Layer, Made, Record, Written, oci};
use super::existing::{Existing, read};
use super::import::Imports;
use super::place::Place;
use super::{CacheMode, CacheTarget, now};
use crate::error::{BuildError, ErrorKind};
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;

/// How long nothing must have come before what there is gets its name, and how often that is done at most.
const QUIET: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(5);
/// How long writing may still take once the user has said stop.
const GRACE: Duration = Duration::from_secs(3);
/// The largest layer that is still compressed then, in bytes.
const QUICKLY_PACKED: u64 = 64 << 20;
/// How often a cache is written that another build writes at the same time.
const ATTEMPTS: usize = 5;

/// What came of a step, on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    /// The digests that mean it.
    pub(crate) keys: Vec<Digest>,
    /// The file system that it stood on.
    pub(crate) below: Committed,
    /// Diff ID of its layer, if it has one.
    pub(crate) layer: Option<Digest>,
    /// When it ran, in milliseconds since 1970.
    pub(crate) created: i64,
    /// The image is made of it.
    pub(crate) of_target: bool,
}

/// Where steps are handed over to go out.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    queues: Vec<Sender<Exported>>,
}

impl Exports {
    /// Whether anybody wants steps.
    pub(crate) fn any(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Hands over a step.
    pub(crate) fn add(&self, step: &Exported) {
        for queue in &self.queues {
            // Nobody listens where writing has failed: that is told at the end.
            let _ = queue.send(step.clone());
        }
    }
}

/// Does `act` while what it hands over goes out to all of `targets`. Its own error is worth more than one of these.
pub(crate) fn exporting<T>(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    targets: &[CacheTarget],
    imports: &Imports<'_>,
    act: impl FnOnce(&Exports) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let mut places = Vec::new();
    for target in targets {
        places.extend(Place::of_target(&target.place)?.map(|place| (target, place)));
    }
    // A failed step stops its siblings, and not what goes out.
    let stop = CancelToken::new();
    let over = stop.clone();
    let registry = engine.registry.with_stop(Stop::new(move || over.is_cancelled()));
    let sending = Engine { cancel: &stop, registry: &registry, ..*engine };
    std::thread::scope(|scope| {
        let mut exports = Exports::default();
        let mut workers = Vec::new();
        for (target, place) in places {
            let (queue, steps) = channel();
            exports.queues.push(queue);
            let worker = Worker::new(sending, engine.cancel, progress, imports, target, place);
            workers.push((target, scope.spawn(move || worker.run(&steps))));
        }
        let result = act(&exports);
        // They end when nothing can come any more.
        drop(exports);
        let workers = wait(workers, engine.cancel, &stop);
        let mut failed = None;
        for (target, worker) in workers {
            let ended = || Err(BuildError::internal("writing a cache ended without a result"));
            let Err(error) = worker.join().unwrap_or_else(|_| ended()) else { continue };
            match result.is_err() || target.ignore_error || failed.is_some() {
                true => progress.warn(error.in_one_line(), None),
                false => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => result,
        }
    })
}

type Workers<'s, 't> = Vec<(&'t CacheTarget, ScopedJoinHandle<'s, Result<(), BuildError>>)>;

/// Waits for all of them; once the user says stop, not for long.
fn wait<'s, 't>(workers: Workers<'s, 't>, asked: &CancelToken, stop: &CancelToken) -> Workers<'s, 't> {
    let mut since = None;
    while !workers.iter().all(|(_, worker)| worker.is_finished()) {
        let over = asked.is_cancelled() && since.get_or_insert_with(Instant::now).elapsed() >= GRACE;
        if (over || asked.is_killed()) && !stop.is_cancelled() {
            stop.cancel();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    workers
}

/// Writes one cache.
struct Worker<'a> {
    engine: Engine<'a>,
    asked: &'a CancelToken,
    progress: &'a Progress<'a>,
    imports: &'a Imports<'a>,
    target: &'a CacheTarget,
    place: Place,
    task: Option<Task<'a>>,
    document: Document,
    /// Places of layers in the document by the chain ID that they make.
    chains: HashMap<Digest, usize>,
    /// Places of records in the document.
    keys: HashMap<Digest, usize>,
    /// Steps whose layers had to stay out.
    left_out: Vec<Exported>,
    /// Since when something waits to be named.
    waiting: Option<Instant>,
    named: Option<Instant>,
}

impl<'a> Worker<'a> {
    fn new(
        engine: Engine<'a>,
        asked: &'a CancelToken,
        progress: &'a Progress<'a>,
        imports: &'a Imports<'a>,
        target: &'a CacheTarget,
        place: Place,
    ) -> Self {
        Self {
            engine,
            asked,
            progress,
            imports,
            target,
            place,
            task: None,
            document: Document::default(),
            chains: HashMap::new(),
            keys: HashMap::new(),
            left_out: Vec::new(),
            waiting: None,
            named: None,
        }
    }

    fn run(mut self, steps: &Receiver<Exported>) -> Result<(), BuildError> {
        self.engine.trace().thread("cache export");
        let mut failed = None;
        loop {
            let step = match self.due() {
                None => steps.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => steps.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            let result = match step {
                _ if failed.is_some() || self.engine.cancel.is_cancelled() => match step {
                    Err(RecvTimeoutError::Disconnected) => break,
                    _ => {
                        self.waiting = None;
                        continue;
                    }
                },
                Ok(step) => self.take(&step),
                Err(RecvTimeoutError::Timeout) => self.publish(false),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = result
                && error.kind != ErrorKind::Interrupted
            {
                failed = Some(error);
            }
        }
        // The image has left by now, and its layers may have come here for that, or gone where the cache is.
        for step in std::mem::take(&mut self.left_out) {
            if failed.is_none()
                && let Err(error) = self.take(&step)
                && error.kind != ErrorKind::Interrupted
            {
                failed = Some(error);
            }
        }
        // Also where something did not go out: what did is of use.
        let end = self.publish(true);
        let published = end.is_ok();
        let result = match (failed, end) {
            (Some(error), _) | (None, Err(error)) if error.kind != ErrorKind::Interrupted => {
                let name = self.place.shown();
                let hint = error.hint.clone();
                Err(BuildError::user(format!("cannot export the cache to `{name}`"))
                    .because(error)
                    .with_hint(hint))
            }
            _ => Ok(()),
        };
        if let Some(task) = self.task.take() {
            if published {
                let (records, layers) = (self.document.records.len(), self.document.layers.len());
                task.note(format!("{} and {}", count(records, "result"), count(layers, "layer")));
            }
            if published && !self.left_out.is_empty() {
                let text = "without their layers, which are in another registry that gives them to no other";
                task.note(format!("{} {text}", count(self.left_out.len(), "result")));
            }
            task.finish(if result.is_ok() { Outcome::Done } else { Outcome::Failed }, None, None);
        }
        result
    }

    /// When what waits is to get its name.
    fn due(&self) -> Option<Instant> {
        let waiting = self.waiting? + QUIET;
        Some(self.named.map_or(waiting, |named| waiting.max(named + SELDOM)))
    }

    /// Sends a step's layer, and notes what came of the step.
    fn take(&mut self, step: &Exported) -> Result<(), BuildError> {
        if self.task.is_none() {
            self.task = Some(self.progress.start(format!("exporting cache to {}", self.place.shown())));
        }
        let _span = self.engine.trace().span("cache export", &[]);
        let made = match &step.layer {
            None => Made::Nothing,
            // What was in other stages is enough to know where nobody has to look into them.
            Some(diff_id) if !step.of_target && self.target.mode == CacheMode::Min => Made::Absent(*diff_id),
            Some(diff_id) => match self.layer(step, diff_id)? {
                Some(place) => Made::Layer(place),
                None => {
                    // A build may begin anew, and come to a step for several platforms.
                    let same = |other: &Exported| other.below == step.below && other.layer == step.layer;
                    if !self.left_out.iter().any(same) {
                        self.left_out.push(step.clone());
                    }
                    Made::Absent(*diff_id)
                }
            },
        };
        for key in &step.keys {
            let record = Record { key: *key, made, created: step.created, used: 0 };
            match self.keys.get(key).and_then(|at| self.document.records.get_mut(*at)) {
                Some(known) if *known == record => continue,
                // The same step of a stage that the image is made of.
                Some(known) if matches!((known.made, made), (Made::Layer(_), Made::Absent(_))) => continue,
                Some(known) => *known = record,
                None => {
                    self.keys.insert(*key, self.document.records.len());
                    self.document.records.push(record);
                }
            }
            self.waiting.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// The place of a step's layer in the document, once its blob is where the cache is.
    fn layer(&mut self, step: &Exported, diff_id: &Digest) -> Result<Option<usize>, BuildError> {
        let chain = step.below.with(*diff_id).chain_id();
        if let Some(place) = self.chains.get(&chain) {
            return Ok(Some(*place));
        }
        let Some(blob) = self.blob(step, diff_id)? else { return Ok(None) };
        let parent = self.chains.get(&step.below.chain_id()).copied();
        self.document.layers.push(Layer { blob: oci(blob), diff_id: *diff_id, parent });
        let place = self.document.layers.len() - 1;
        self.chains.insert(chain, place);
        Ok(Some(place))
    }

    /// The blob of a layer, sent where the cache has it not; none where it could not be sent.
    fn blob(&self, step: &Exported, diff_id: &Digest) -> Result<Option<Descriptor>, BuildError> {
        let (store, os, below) = (self.engine.store, step.below.os(), step.below.layers());
        let options = self.target.packing.export(true);
        let here = store.has_layer(os, below, diff_id)?;
        // Of a layer that is here any form can be made.
        if !(here && options.force) {
            // What passed through the store once was found to be this layer.
            let known = store.layer_blobs(diff_id)?;
            let held: Vec<Digest> = known.iter().map(|known| known.descriptor.digest).collect();
            store.blobs().hold(&held)?;
            if let Some(known) = known.iter().find(|known| store.blobs().contains(&known.descriptor.digest)) {
                return self.send(&known.descriptor).map(Some);
            }
            let taken = self.imports.blob_of(diff_id);
            for blob in known.iter().map(|known| &known.descriptor).chain(&taken) {
                if self.place.has_layer(&self.engine, blob)? {
                    return Ok(Some(blob.clone()));
                }
            }
        }
        if !here {
            return Ok(None);
        }
        if self.asked.is_cancelled() {
            let facts = store.layer_facts(below, diff_id)?;
            if facts.is_some_and(|facts| facts.size > QUICKLY_PACKED) {
                return Err(BuildError::interrupted());
            }
        }
        let blob = store.layer_blob(below, diff_id, options.compression)?;
        self.send(&blob).map(Some)
    }

    fn send(&self, blob: &Descriptor) -> Result<Descriptor, BuildError> {
        if let Some(task) = &self.task {
            self.place.put_layer(&self.engine, blob, task)?;
        }
        Ok(blob.clone())
    }

    /// Gives what there is its name, together with what others have put there. At the end it is made sure that no
    /// other build wrote at the same time and took it away again.
    fn publish(&mut self, last: bool) -> Result<(), BuildError> {
        self.waiting = None;
        if self.document.records.is_empty() {
            return Ok(());
        }
        let _span = self.engine.trace().span("cache export", &[]);
        let now = now();
        for attempt in 1..=ATTEMPTS {
            let (earlier, bytes) = self.earlier()?;
            let expected = Some(bytes.as_slice()).filter(|_| attempt < ATTEMPTS);
            let written = self.document.with(&earlier, now).write(self.target.image_manifest);
            if bytes == written.manifest {
                break;
            }
            let put = match self.write(&written, expected) {
                // A layer of an earlier build may be gone from there: only what is surely there is named.
                Err(_) if !earlier.records.is_empty() => {
                    let alone = self.document.with(&Document::default(), now);
                    self.write(&alone.write(self.target.image_manifest), expected)?
                }
                result => result?,
            };
            if put && !last {
                break;
            }
        }
        self.named = Some(Instant::now());
        Ok(())
    }

    /// Puts it under the name, where the manifest that is `expected` there still is. False where another is by now.
    fn write(&self, written: &Written, expected: Option<&[u8]>) -> Result<bool, BuildError> {
        self.place.put_small(&self.engine, &written.config_descriptor, &written.config)?;
        if let Some(expected) = expected
            && let Ok(found) = self.place.find(&self.engine)
            && found.map(|found| found.bytes).unwrap_or_default() != expected
        {
            return Ok(false);
        }
        self.place.name(&self.engine, written.media_type, &written.manifest)?;
        Ok(true)
    }

    /// What orlop wrote there before, and the manifest that is there: empty where there is none.
    fn earlier(&self) -> Result<(Document, Vec<u8>), BuildError> {
        match read(&self.engine, &self.place) {
            Ok(Existing::Cache(document, bytes)) if document.ours => Ok((document, bytes)),
            Ok(Existing::Cache(_, bytes) | Existing::Damaged(_, bytes)) => Ok((Document::default(), bytes)),
            Ok(Existing::Nothing) => Ok((Document::default(), Vec::new())),
            Ok(Existing::Images(_)) => {
                let name = self.place.shown();
                Err(BuildError::user(format!("`{name}` is an image, and the cache would take its place"))
                    .with_hint(
                        "give the cache a name of its own, as in `ref=REPOSITORY:buildcache`".to_owned(),
                    ))
            }
            // It may hold what others need, or be no cache at all.
            Err(error) => Err(error),
        }
    }
}

fn count(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
