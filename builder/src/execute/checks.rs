//! What a build says of its Dockerfile before the first step: the rules of [`crate::check`].

use std::sync::{Mutex, PoisonError};

use orlop_store::Image;

use super::Execution;
use super::from;
use crate::check::{self, Bases, Checker, Options};
use crate::dockerfile::{Dockerfile, ParseError};
use crate::error::BuildError;
use crate::event::Progress;
use crate::plan::{self, Base, Plan, PlannedStage};
use crate::request::BuildRequest;

/// The rules at work, and who is told what they find: once, all of it together.
pub(super) struct Checks<'a> {
    dockerfile: &'a Dockerfile,
    checker: Checker<'a>,
}

impl<'a> Checks<'a> {
    /// Looks at the text. `fault` is the error that ended it early: what was found before that is told, then it is
    /// the build's.
    pub(super) fn begin(
        dockerfile: &'a Dockerfile,
        request: &BuildRequest,
        progress: &Progress<'_>,
        fault: Option<ParseError>,
    ) -> Result<Self, BuildError> {
        let options = Options::of(dockerfile, &request.build_args)?;
        for note in check::notes(dockerfile, &options) {
            match note.span {
                Some(span) => progress.warn_at(&dockerfile.source, span, &note.text, note.hint),
                None => progress.advise(note.text, note.hint),
            }
        }
        let mut checks = Self { dockerfile, checker: Checker::new(dockerfile, options) };
        checks.checker.text(fault.is_none());
        match fault {
            Some(error) => checks.told(progress, Err(error.into())),
            None => Ok(checks),
        }
    }

    /// Looks at the FROMs and plans the build.
    pub(super) fn plan(
        &mut self,
        request: &BuildRequest,
        progress: &Progress<'_>,
        platform: &orlop_store::Platform,
        plan: impl FnOnce() -> Result<Plan, BuildError>,
    ) -> Result<Plan, BuildError> {
        let globals =
            plan::global_scope(self.dockerfile, &request.build_args, request.target.as_deref(), platform);
        let planned = globals.and_then(|globals| {
            self.checker.froms(&globals);
            plan()
        });
        self.told(progress, planned)
    }

    /// Looks at the stages that the build needs, once the images below them are known, and tells all that was found.
    ///
    /// # Errors
    /// When a base cannot be had, and for findings where `error=true` says so. What else is wrong is left to the step
    /// that it is wrong in.
    pub(super) fn stages(mut self, exec: &Execution<'_>) -> Result<(), BuildError> {
        let found = look_up(exec);
        if found.is_ok() {
            let ignore = super::ignore_rules(exec.request.ignore.as_ref()).ok();
            // An instruction that cannot be what it says fails when its turn comes, and the steps before it stay.
            let _ = self.checker.stages(&exec.plan, false, exec, ignore.as_ref());
        }
        self.tell(exec.progress);
        found.and_then(|()| self.checker.verdict())
    }

    /// `result`, after telling what was found where it is an error.
    fn told<T>(&self, progress: &Progress<'_>, result: Result<T, BuildError>) -> Result<T, BuildError> {
        if result.is_err() {
            self.tell(progress);
        }
        result
    }

    fn tell(&self, progress: &Progress<'_>) {
        for warning in self.checker.warnings() {
            progress.warn_rule(&self.dockerfile.source, &warning);
        }
    }
}

/// Finds the images that the needed stages stand on: a config is all that is fetched. Each is kept for its stage.
fn look_up(exec: &Execution<'_>) -> Result<(), BuildError> {
    let stages = exec.plan.needed.iter().copied();
    let needed: Vec<_> = stages.filter(|&index| is_image(&exec.plan.stages[index].base)).collect();
    let failed = Mutex::new(None);
    crate::transfer::side_by_side(&needed, |&index| {
        exec.engine.trace().thread("transfer");
        match from::start(exec, index) {
            Ok(start) => {
                exec.starts.lock().unwrap_or_else(PoisonError::into_inner).insert(index, start);
                true
            }
            Err(error) => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                false
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn is_image(base: &Base) -> bool {
    match base {
        Base::Image(_) | Base::Layout(_) => true,
        Base::Scratch | Base::Stage(_) | Base::Unknown(_) | Base::Context(_) => false,
    }
}

impl Bases for Execution<'_> {
    fn image(&self, stage: &PlannedStage) -> Option<Image> {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(&stage.index).map(|start| start.image.clone())
    }
}
