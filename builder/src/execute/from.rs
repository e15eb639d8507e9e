//! FROM: what a stage starts from, and where the files of it come from when a step needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_store::snapshot::{Committed, LayerOs, View};
use orlop_store::{Image, Platform, Reference};

use super::{Common, Execution};
use crate::cache::Carried;
use crate::dialect::Dialect;
use crate::dockerfile::suggest::nearest;
use crate::error::BuildError;
use crate::event::{Outcome, Task};
use crate::plan::Base;
use crate::scope::StageScope;
use crate::transfer::{Arrival, Resolved};

/// Where layers that are not here can be fetched from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The name that the image, or the base of the stage, was found under; none where it has none.
    pub(crate) reference: Option<Reference>,
    /// The image, or the stage as far as it has come: its layers know their blobs.
    pub(crate) image: Image,
    /// How many of its layers that name has, counted from the bottom; the others are from caches.
    pub(crate) base: usize,
    /// What gives the base its name here once its layers are; none where it was here.
    pub(crate) arrival: Option<Arc<Arrival>>,
}

/// What a stage starts with.
pub(crate) struct Start {
    pub(crate) image: Image,
    pub(crate) snapshot: Committed,
    pub(crate) scope: StageScope,
    pub(crate) origin: Option<Origin>,
    /// The steps that the image is made of.
    pub(crate) steps: Vec<Carried>,
    /// What the programs in it are for, as far as one knows: an image may say something else of itself.
    pub(crate) machine: Platform,
}

/// Files of another stage or image.
pub(crate) struct Source {
    pub(crate) snapshot: Committed,
    pub(crate) origin: Option<Origin>,
}

/// Images that one build has looked up, so that a name means one thing throughout.
pub(crate) type Images = Mutex<HashMap<(String, Platform), Arc<Mutex<Option<Found>>>>>;

/// What stage `index` starts with; an error is at its FROM.
pub(crate) fn start(exec: &Execution<'_>, index: usize) -> Result<Start, BuildError> {
    let dockerfile = exec.dockerfile();
    let span = dockerfile.stages[index].from.span;
    let named = exec.several.then(|| exec.works_for(index, &StageScope::default()));
    let start = resolve(exec, index, super::stage::steps(exec, index));
    start.map_err(|e| e.at(&dockerfile.source, span).of_one(named))
}

/// Understands the FROM of stage `index`.
fn resolve(exec: &Execution<'_>, index: usize, total: usize) -> Result<Start, BuildError> {
    let planned = &exec.plan.stages[index];
    let from = &exec.dockerfile().stages[index].from;
    let title = format!("[{} 1/{total}] {}", exec.label(index, &StageScope::default()), from.original);
    let (image, origin) = match &planned.base {
        Base::Stage(stage) => {
            let result = exec.stage(index, *stage)?;
            let mut scope = result.scope.clone();
            // What the base's image says of a variable is said anew.
            for (name, _) in result.image.config().env() {
                scope.set_by_env(Dialect::of(&planned.platform), &name);
            }
            return Ok(Start {
                image: result.image.clone(),
                snapshot: result.snapshot.clone(),
                scope,
                origin: result.origin.clone(),
                steps: result.steps.clone(),
                machine: result.machine.clone(),
            });
        }
        Base::Unknown(why) => return Err(BuildError::user(why.as_str())),
        Base::Scratch | Base::Context(_) => {
            // As BuildKit does: what comes out is for what is asked for, whoever makes it.
            let target = &exec.plan.platform;
            let mut platform =
                if target.os == planned.platform.os { target } else { &planned.platform }.clone();
            if platform.os == "windows" && platform.os_version.is_none() {
                // As Docker does: what is built here runs here.
                platform.os_version.clone_from(&exec.request.host_version);
            }
            let image = Image::scratch(&platform).with_config(|config| {
                let dialect = Dialect::of(&planned.platform);
                // On Windows that is left to whoever runs the image.
                if !dialect.is_windows() {
                    config.set_env("PATH", dialect.default_path());
                }
                config.set_working_dir(Some(dialect.root()));
            });
            if platform.os == "windows" && platform.os_version.is_none() {
                let span = exec.dockerfile().stages[index].from.span;
                exec.progress.warn_at(
                    &exec.dockerfile().source,
                    span,
                    "an image of nothing names no version of Windows, and Windows hosts look for one",
                    Some("name it with `--platform 'windows(10.0.20348.0)/amd64'` or the like".to_owned()),
                );
            }
            (image, None)
        }
        Base::Image(reference) => {
            let (image, origin) = find(exec, reference, &planned.platform, &title, false)
                .map_err(|error| error.with_hint(stage_that_was_meant(exec, index)))?;
            (image, Some(origin))
        }
        Base::Layout(layout) => (find_layout(exec, layout, &planned.platform, Some(&title))?, None),
    };
    let (own, wanted) = (image.platform(), &planned.platform);
    if !own.os.is_empty() && own.os != wanted.os {
        return Err(BuildError::user(format!("the base image is for {own}, and the stage is for {wanted}"))
            .with_hint(format!("give the stage the platform of its base: `FROM --platform={own} …`")));
    }
    let image = with_path(with_version(image, wanted), Dialect::of(wanted));
    let snapshot = Committed::new(image.diff_ids()).for_os(LayerOs::of(&wanted.os));
    let machine = match &planned.base {
        Base::Scratch | Base::Context(_) => wanted.clone(),
        _ if own.architecture.is_empty() => wanted.clone(),
        _ => own,
    };
    Ok(Start { image, snapshot, scope: StageScope::default(), origin, steps: Vec::new(), machine })
}

/// What to do where an image is not found whose name is one of a stage, or nearly.
fn stage_that_was_meant(exec: &Execution<'_>, index: usize) -> Option<String> {
    let (file, stages) = (exec.dockerfile(), &exec.dockerfile().stages);
    let name = &stages[index].from.image.value;
    if let Some(later) = exec.plan.later_stage(name, index) {
        let line = file.source.line(stages[later].span.start);
        return Some(format!(
            "the stage `{name}` is defined on line {line}, and FROM knows only the stages before it: move it up"
        ));
    }
    let earlier = stages[..index].iter().filter_map(|stage| stage.from.name.as_ref());
    let near = nearest(name, earlier.map(|n| n.value.as_str()))?;
    Some(format!("did you mean the stage `{near}`?"))
}

/// A base that names no version of Windows is of the one that was asked for: Windows hosts look for one.
fn with_version(image: Image, wanted: &Platform) -> Image {
    let own = image.platform();
    if own.os != "windows" || own.os_version.is_some() || wanted.os_version.is_none() {
        return image;
    }
    let named = Platform { os_version: wanted.os_version.clone(), ..own };
    image.with_config(|config| config.set_platform(&named))
}

/// A base that sets no PATH gets the usual one, as with BuildKit: `ENV PATH=/opt/bin:$PATH` would hide all
/// programs. On Windows that is left to whoever runs the image.
fn with_path(image: Image, dialect: Dialect) -> Image {
    if dialect.is_windows() || image.config().env().iter().any(|(name, _)| name == "PATH") {
        return image;
    }
    image.with_config(|config| config.set_env("PATH", dialect.default_path()))
}

/// The files that `COPY --from=name` means when `name` is no stage.
pub(crate) fn source_image(
    exec: &Execution<'_>,
    name: &str,
    platform: &Platform,
) -> Result<Source, BuildError> {
    if let Some(layout) = name.strip_prefix("oci-layout://") {
        let image = find_layout(exec, layout, platform, None)?;
        return Ok(Source { snapshot: files_of(&image), origin: None });
    }
    if name == "scratch" {
        // As with BuildKit: nothing, which a mount may be wanted of.
        let os = LayerOs::of(&platform.os);
        return Ok(Source { snapshot: Committed::scratch_of(os), origin: None });
    }
    let reference: Reference = name.parse().map_err(|e: orlop_store::reference::ReferenceError| {
        BuildError::user(format!("`{name}` is neither a stage nor an image: {e}")).with_hint(e.hint())
    })?;
    let title = match exec.several {
        true => format!("[{platform} context] {name}"),
        false => format!("[context] {name}"),
    };
    let (image, origin) = find(exec, &reference, platform, &title, true)?;
    Ok(Source { snapshot: files_of(&image), origin: Some(origin) })
}

/// The files of an image.
fn files_of(image: &Image) -> Committed {
    Committed::new(image.diff_ids()).for_os(LayerOs::of(&image.platform().os))
}

/// Looks an image up once in a build, and gives no file of it yet. Where it is for another machine that is noted, if
/// this is to `tell`.
fn find(
    exec: &Execution<'_>,
    reference: &Reference,
    platform: &Platform,
    title: &str,
    tell: bool,
) -> Result<(Image, Origin), BuildError> {
    // A short name may mean something else than what it looks like in full.
    let key = match exec.engine.registry.short_name(reference) {
        Ok(None) => reference.to_string(),
        _ => reference.familiar(),
    };
    let Found { image, reference, arrival } = once(exec, key, platform, Some(title), |task| {
        let Resolved { image, name, arrival } =
            crate::transfer::resolve(&exec.engine, reference, platform, exec.request.pull, task)?;
        // Of a FROM the rule speaks.
        if tell && !platform.same_machine(&image.platform()) {
            crate::transfer::note_platform(&name, &image, platform, task);
        }
        Ok(Found { image, reference: Some(name), arrival })
    })?;
    let base = image.layers().len();
    Ok((image.clone(), Origin { reference, image, base, arrival }))
}

/// The same for an image of a layout, whose files are here afterwards.
fn find_layout(
    exec: &Execution<'_>,
    layout: &str,
    platform: &Platform,
    title: Option<&str>,
) -> Result<Image, BuildError> {
    let found = once(exec, format!("oci-layout://{layout}"), platform, title, |_| {
        let image = crate::transfer::load_layout(&exec.engine, layout, platform)?;
        Ok(Found { image, reference: None, arrival: None })
    })?;
    Ok(found.image)
}

/// An image that the build has looked up.
#[derive(Clone)]
pub(crate) struct Found {
    image: Image,
    /// Its name at a registry.
    reference: Option<Reference>,
    /// What gives it that name here.
    arrival: Option<Arc<Arrival>>,
}

/// Gives the images that a build was made from, and of which it needed no files, their names here: their layers are
/// fetched when somebody needs them.
pub(super) fn settle(common: &Common<'_>) -> Result<(), BuildError> {
    let slots: Vec<_> = {
        let images = common.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.values().cloned().collect()
    };
    for slot in slots {
        let found = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(arrival) = found.as_ref().and_then(|found| found.arrival.as_ref()) else { continue };
        if !arrival.settle_as_known(&common.engine)? {
            let name = arrival.name().familiar();
            let text = format!(
                "`{name}` stays the image that is here in full: no file of the newer one, which this build stands \
                 on, was needed or fetched"
            );
            common.progress.advise(text, Some(format!("`orlop pull {name}` brings it")));
        }
    }
    Ok(())
}

/// Looks up what `name` is with `look`, or takes what this build has found by that name. With several platforms it
/// is shown once.
fn once(
    exec: &Execution<'_>,
    name: String,
    platform: &Platform,
    title: Option<&str>,
    look: impl FnOnce(&Task<'_>) -> Result<Found, BuildError>,
) -> Result<Found, BuildError> {
    let slot = {
        let mut images = exec.common.images.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(images.entry((name.clone(), platform.clone())).or_default())
    };
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let known = slot.clone();
    if exec.several
        && let Some(found) = &known
    {
        return Ok(found.clone());
    }
    exec.check_canceled()?;
    let task = exec.progress.start(title.map_or_else(|| format!("[context] {name}"), str::to_owned));
    let found = match known {
        Some(found) => found,
        None => slot.insert(look(&task)?).clone(),
    };
    task.finish(Outcome::Done, None, None);
    Ok(found)
}

/// Brings the layers of `snapshot` that are not here yet.
pub(crate) fn fetch(
    exec: &Execution<'_>,
    snapshot: &Committed,
    origin: impl FnOnce() -> Option<Origin>,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let span = exec.engine.trace().span("prepare", &[]);
    let missing = exec.engine.store.snapshots()?.missing(snapshot).map_err(orlop_store::Error::from)?;
    drop(span);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(origin) = origin() else {
        return Err(BuildError::internal("layers of this build are no longer in the store")
            .with_hint("something removed them while the build ran: build again".to_owned()));
    };
    let Some(reference) = &origin.reference else {
        return crate::transfer::fetch_layers(&exec.engine, &origin.image, None, task);
    };
    crate::transfer::fetch_layers_over(&exec.engine, &origin.image, (reference, origin.base), task)?;
    match &origin.arrival {
        Some(arrival) => arrival.settle(&exec.engine),
        None => Ok(()),
    }
}

impl Source {
    /// Whether all files are here.
    pub(crate) fn is_here(&self, exec: &Execution<'_>) -> Result<bool, BuildError> {
        let _span = exec.engine.trace().span("prepare", &[]);
        let snapshots = exec.engine.store.snapshots()?;
        Ok(snapshots.missing(&self.snapshot).map_err(orlop_store::Error::from)?.is_empty())
    }

    /// Brings the files, which is a task of its own where there is something to bring.
    pub(crate) fn fetch(&self, exec: &Execution<'_>, name: &str) -> Result<(), BuildError> {
        if self.is_here(exec)? {
            return Ok(());
        }
        let task = exec.progress.start(format!("[context] files of {name}"));
        fetch(exec, &self.snapshot, || self.origin.clone(), &task)?;
        task.finish(Outcome::Done, None, None);
        Ok(())
    }

    /// A read-only look at the files.
    pub(crate) fn view(&self, exec: &Execution<'_>, name: &str) -> Result<View, BuildError> {
        self.fetch(exec, name)?;
        let _span = exec.engine.trace().span("prepare", &[]);
        Ok(exec.engine.store.snapshots()?.view(&self.snapshot).map_err(orlop_store::Error::from)?)
    }
}
