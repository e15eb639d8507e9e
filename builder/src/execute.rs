//! The execution of a plan: stages side by side, steps in order, each step found or made.
//!
//! One RUN goes `execute/stage.rs` (what the instruction says) → `execute/run.rs` (what the job
//! needs) → `execute/step.rs` (key, lookup, snapshot, layer) → the runner and the snapshot driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use orlop_runner::CancelToken;
use orlop_store::{Image, Platform};

use crate::cache::{CachePlace, Carried, Exports, Imports, exporting};
use crate::dockerfile::{self, Dockerfile, Instruction};
use crate::error::{BuildError, ErrorKind};
use crate::event::Progress;
use crate::plan::{Base, Plan};
use crate::request::{BuildReport, BuildRequest, Engine};

#[cfg(unix)]
mod agent;
mod ahead;
mod change;
mod checks;
mod context;
pub mod copy;
mod entitlement;
mod files;
mod flight;
mod from;
mod history;
mod metadata;
mod mounts;
mod once;
mod part;
mod platforms;
mod remote;
mod repository;
mod run;
mod stage;
mod stages;
mod step;
mod words;

use ahead::Ahead;
pub(crate) use context::ignore_rules;
pub(crate) use metadata::ESCAPE_HINT;
pub(crate) use remote::is_remote;
pub use run::check_machine;
use stage::StageResult;
use stages::{Stages, Unavailable};

/// How many stages are built side by side at most; most of them wait for another or for the network.
const MOST_STAGES_AT_ONCE: usize = 64;

/// Builds what `request` asks for and writes it to its outputs.
///
/// # Errors
/// The first thing that went wrong; whatever else ran then was stopped. Steps that had finished stay
/// cached.
pub fn build(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    request: &BuildRequest,
) -> Result<BuildReport, BuildError> {
    let started = Instant::now();
    let span = engine.trace().span("plan", &[]);
    let (dockerfile, mut fault) = dockerfile::parse_part(Arc::clone(&request.dockerfile));
    let dockerfile = Arc::new(dockerfile);
    drop(span);
    let imports = Imports::new(*engine, progress, &request.cache_from);
    let mut ran = 0;
    let report = exporting(engine, progress, &request.cache_to, &imports, |exports| {
        loop {
            let shared = (&imports, exports);
            match attempt(engine, progress, request, (&dockerfile, fault.take()), shared, &mut ran) {
                // What had been done by then is known now, and the step of the layer that is missing is run.
                Err(error) if imports.gave_up(&error) => {}
                result => return result,
            }
        }
    })?;
    Ok(BuildReport { duration: started.elapsed(), ..report })
}

/// Builds and writes, believing what the shared caches say. Adds to `ran` the steps that it ran.
fn attempt(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    request: &BuildRequest,
    (dockerfile, fault): (&Arc<Dockerfile>, Option<dockerfile::ParseError>),
    (imports, exports): (&Imports<'_>, &Exports),
    ran: &mut usize,
) -> Result<BuildReport, BuildError> {
    // A failed stage stops its siblings by a token of the build's own: the user's stays what the user made it.
    let (cancel, outer) = (CancelToken::new(), engine.cancel.clone());
    let inner = cancel.clone();
    let _link = engine.cancel.subscribe(move || match outer.is_killed() {
        true => inner.kill(),
        false => inner.cancel(),
    });
    let engine = &Engine { cancel: &cancel, ..*engine };
    let span = engine.trace().span("plan", &[]);
    let checks = checks::Checks::begin(dockerfile, request, progress, fault)?;
    drop(span);
    std::thread::scope(|scope| {
        let ahead = Ahead::start(scope, engine, &request.outputs);
        let common = Common::new(engine, request, progress, (imports, exports), ahead);
        let built = platforms::build(&common, dockerfile, checks);
        let before = std::mem::replace(ran, *ran + common.ran.load(Ordering::Relaxed));
        let built = built?;
        from::settle(&common)?;
        let written = crate::output::write(engine, progress, &built, &request.tags, &request.outputs)?;
        Ok(BuildReport {
            image_id: written.id,
            built,
            manifest_digest: written.manifest,
            steps_cached: common.cached.into_inner().saturating_sub(before),
            steps_run: *ran,
            duration: std::time::Duration::ZERO,
        })
    })
}

/// The platform of an image where the user names none.
pub fn default_platform() -> Platform {
    Platform::host()
}

/// `--label`s come last, on top of everything the Dockerfile says.
fn finish_image(execution: &Execution<'_>, result: &StageResult) -> Image {
    let request = execution.request;
    let created = request.source_date_epoch.map(|s| timestamp(s, 0));
    let carrying = execution.carries_cache().then(|| {
        let mut others = execution.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Stages end in any order, and the image is to be the same.
        others.sort();
        crate::cache::inline(&result.image, &result.steps, &others, request.source_date_epoch)
    });
    carrying.as_ref().unwrap_or(&result.image).with_config(|config| {
        for (name, value) in &request.labels {
            config.set_label(name, value);
        }
        if let Some(created) = &created {
            config.set_created(Some(created));
        }
    })
}

/// A time of the OCI specification (RFC 3339) from seconds and nanoseconds since 1970.
pub(crate) fn timestamp(seconds: i64, nanoseconds: i32) -> String {
    jiff::Timestamp::new(seconds, nanoseconds).unwrap_or_default().to_string()
}

/// Everything that the threads of one build share, whatever platform they build for.
pub(crate) struct Common<'a> {
    engine: Engine<'a>,
    request: &'a BuildRequest,
    progress: &'a Progress<'a>,
    /// Results that others have.
    imports: &'a Imports<'a>,
    /// Where results go that others may want.
    exports: &'a Exports,
    /// What will be pushed.
    ahead: Ahead,
    /// The build context, once it is open.
    context: OnceLock<Result<context::Opened, BuildError>>,
    /// The same for each named context.
    named: Vec<OnceLock<Result<context::Opened, BuildError>>>,
    /// The named contexts that something was taken from.
    used: Mutex<BTreeSet<usize>>,
    /// Images that the build has looked up already, by name and platform.
    images: from::Images,
    /// Commits that names of git repositories mean.
    commits: repository::Commits,
    /// Files that the build has fetched.
    downloads: remote::Downloads,
    /// Steps that this build came to already.
    flights: flight::Flights,
    first_error: Mutex<Option<BuildError>>,
    /// What has been said of the host's protection of jobs.
    noted: Mutex<BTreeSet<String>>,
    /// The ARGs that triggers of base images declare.
    in_triggers: Mutex<BTreeSet<String>>,
    cached: AtomicUsize,
    ran: AtomicUsize,
    /// About how many bytes the configs of all stages' images have together.
    configs: AtomicU64,
}

impl<'a> Common<'a> {
    fn new(
        engine: &Engine<'a>,
        request: &'a BuildRequest,
        progress: &'a Progress<'a>,
        (imports, exports): (&'a Imports<'a>, &'a Exports),
        ahead: Ahead,
    ) -> Self {
        Self {
            engine: *engine,
            request,
            progress,
            imports,
            exports,
            ahead,
            context: OnceLock::new(),
            named: request.named_contexts.iter().map(|_| OnceLock::new()).collect(),
            used: Mutex::default(),
            images: Mutex::default(),
            commits: repository::Commits::default(),
            downloads: remote::Downloads::default(),
            flights: flight::Flights::default(),
            first_error: Mutex::new(None),
            noted: Mutex::default(),
            in_triggers: Mutex::default(),
            cached: AtomicUsize::new(0),
            ran: AtomicUsize::new(0),
            configs: AtomicU64::new(0),
        }
    }
}

/// The build for one platform.
pub(crate) struct Execution<'a> {
    /// What it shares with those for other platforms.
    common: &'a Common<'a>,
    pub(crate) engine: Engine<'a>,
    pub(crate) request: &'a BuildRequest,
    pub(crate) progress: &'a Progress<'a>,
    pub(crate) plan: Plan,
    stages: Stages<StageResult>,
    /// What stages start with, until each takes its own.
    starts: Mutex<BTreeMap<usize, from::Start>>,
    /// The steps that the image is not made of, for those who may ask about them.
    others: Mutex<Vec<Carried>>,
    /// Which of the build's platforms this is, and whether there are others.
    pub(crate) number: usize,
    pub(crate) several: bool,
}

impl<'a> Execution<'a> {
    /// The build of `plan`, the platform `number` of several or the only one.
    fn new(common: &'a Common<'a>, plan: Plan, number: usize, several: bool) -> Self {
        let Common { engine, request, progress, .. } = *common;
        let (stages, starts) = (Stages::new(plan.stages.len(), engine.trace()), Mutex::default());
        let others = Mutex::default();
        Self { common, engine, request, progress, plan, stages, starts, others, number, several }
    }
}

impl Execution<'_> {
    pub(crate) fn dockerfile(&self) -> &Dockerfile {
        &self.plan.dockerfile
    }

    /// Builds all needed stages side by side and gives the target's result.
    fn target(&self) -> Result<Arc<StageResult>, BuildError> {
        // Each takes the next stage of an order in which a stage stands behind all that it needs: whoever waits
        // waits for one that has been begun, however few they are.
        let next = AtomicUsize::new(0);
        let work = || {
            self.engine.trace().thread("stage");
            while let Some(&index) = self.plan.order.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.build_stage(index);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.plan.order.len().min(MOST_STAGES_AT_ONCE) {
                scope.spawn(work);
            }
            work();
        });
        // Why it failed is told by whoever waits for all platforms: the fault may be another one's.
        self.stages.wait(None, self.plan.target, || ()).map_err(|_| BuildError::interrupted())
    }

    /// Builds a stage in this thread, unless it has been begun. Its error becomes the build's if it
    /// is the first one.
    fn build_stage(&self, index: usize) {
        let result = self.stages.run(index, || stage::build(self, index));
        if let Err(error) = result {
            let mut first = self.common.first_error.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever waited for the stage that failed may get here before it.
            if first.as_ref().is_none_or(|e| e.kind == ErrorKind::Interrupted) {
                *first = Some(error);
            }
            drop(first);
            // What still runs stops: its result will not be used.
            self.engine.cancel.cancel();
        }
    }

    /// The result of stage `index`, for the thread that builds `waiter`.
    pub(crate) fn stage(&self, waiter: usize, index: usize) -> Result<Arc<StageResult>, BuildError> {
        self.stages.wait(Some(waiter), index, || self.build_stage(index)).map_err(|unavailable| {
            match unavailable {
                Unavailable::Failed => BuildError::interrupted(),
                Unavailable::Circle(path) => {
                    let names: Vec<_> = path.iter().map(|&i| self.plan.stages[i].name.as_str()).collect();
                    BuildError::user(format!("stages need each other in a circle: {}", names.join(" → ")))
                }
            }
        })
    }

    /// An error when the build is to stop: the user said so, or another stage failed.
    pub(crate) fn check_canceled(&self) -> Result<(), BuildError> {
        match self.engine.cancel.is_cancelled() {
            true => Err(BuildError::interrupted()),
            false => Ok(()),
        }
    }

    /// An ARG that no line of the Dockerfile has.
    pub(crate) fn declared_by_trigger(&self, name: String) {
        self.common.in_triggers.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    /// Whether the image is to carry a cache: `--cache-to type=inline`, or the build argument that was there before it.
    fn carries_cache(&self) -> bool {
        let argument = self.plan.globals.build_arg("BUILDKIT_INLINE_CACHE").and_then(crate::boolean);
        let asked = || self.request.cache_to.iter().any(|target| target.place == CachePlace::Inline);
        argument == Some(true) || asked()
    }

    /// Whether the target's image has the layers of stage `index`: it is the target, or one that this stands on.
    pub(crate) fn is_of_target(&self, index: usize) -> bool {
        let mut stage = self.plan.target;
        while stage != index {
            match self.plan.stages[stage].base {
                // One that comes before it.
                Base::Stage(base) if base < stage => stage = base,
                _ => return false,
            }
        }
        true
    }

    /// `--no-cache-filter` of what is no stage.
    fn warn_about_unknown_stages(&self) {
        let names = || self.plan.dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref());
        for name in &self.request.no_cache_stages {
            if names().any(|stage| stage.value.eq_ignore_ascii_case(name)) {
                continue;
            }
            let hint = dockerfile::suggest::did_you_mean(name, names().map(|stage| stage.value.as_str()));
            self.progress.advise(format!("`--no-cache-filter {name}`: no stage has that name"), hint);
        }
    }

    /// `--build-arg` names that no ARG took: a typing mistake more often than not.
    fn warn_about_unused_arguments(&self) {
        let dockerfile = &self.plan.dockerfile;
        let in_stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        let args = dockerfile.global_args().chain(in_stages.flat_map(Instruction::arguments));
        let declared: BTreeSet<&str> = args.map(|arg| arg.name.value.as_str()).collect();
        let in_triggers = self.common.in_triggers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &str| {
            declared.contains(name)
                || in_triggers.contains(name)
                || self.plan.globals.declares(name)
                || crate::scope::PROXY_ARGS.contains(&name)
                || name.starts_with("BUILDKIT_")
                || name == "SOURCE_DATE_EPOCH"
        };
        for name in self.plan.globals.build_arg_names().filter(|name| !known(name)) {
            let near = dockerfile::suggest::did_you_mean(name, declared.iter().copied());
            let hint = near.or_else(|| {
                let names: Vec<_> = declared.iter().take(8).map(|name| format!("`{name}`")).collect();
                (!names.is_empty()).then(|| format!("the Dockerfile has {}", names.join(", ")))
            });
            self.progress.advise(format!("no ARG takes the build argument `{name}`"), hint);
        }
    }
}
