//! The order in which the rules see a Dockerfile: its text, its FROMs, then stage by stage what each instruction
//! says with its variables expanded.

use std::collections::BTreeSet;
use std::sync::Arc;

use orlop_store::{Image, Platform};

use super::findings::{Findings, Warning};
use super::options::Options;
use super::reader::Reader;
use super::rules;
use super::scope::{Scope, Scopes};
use crate::context::Ignore;
use crate::dockerfile::variables::{ExpandError, Expander};
use crate::dockerfile::{Dockerfile, Instruction, Kind, parse_onbuild};
use crate::error::BuildError;
use crate::plan::{Base, Plan, PlannedStage};
use crate::scope::GlobalScope;
use crate::source::{SourceFile, Span};

/// Tells what is known of the images that stages stand on.
pub trait Bases {
    /// The image that a stage stands on which stands on one of a registry or of a layout. None where it cannot be
    /// looked at: checks do without it.
    fn image(&self, stage: &PlannedStage) -> Option<Image>;
}

/// A variable that the base image may set, if only it were known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsure {
    /// The variable's place.
    pub span: Span,
    /// Its name.
    pub name: String,
    /// The base that could not be looked at.
    pub base: Arc<Unseen>,
}

/// A base image that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unseen {
    /// How people call it.
    pub name: String,
    /// What brings it, where anything does.
    pub remedy: Option<String>,
}

impl Unseen {
    /// What the stage `planned` stands on, whose FROM names it with `word`.
    fn of(planned: &PlannedStage, word: &str) -> Self {
        let platform = &planned.platform;
        let name = match &planned.base {
            // With variables in it, or a named context in its place, it is another one.
            Base::Image(name) if word.parse().ok().as_ref() != Some(name) => name.familiar(),
            Base::Image(_) => word.to_owned(),
            _ => return Self { name: word.to_owned(), remedy: None },
        };
        let platform = match Platform::host().matches(platform) {
            true => String::new(),
            false => format!(" --platform {platform}"),
        };
        Self { remedy: Some(format!("with `orlop pull {name}{platform}` it can")), name }
    }
}

/// Runs the rules over a Dockerfile.
#[derive(Debug)]
pub struct Checker<'a> {
    dockerfile: &'a Dockerfile,
    findings: Findings,
    unsure: Vec<Unsure>,
}

impl<'a> Checker<'a> {
    /// Nothing has been looked at yet.
    pub fn new(dockerfile: &'a Dockerfile, options: Options) -> Self {
        Self { dockerfile, findings: Findings::new(options), unsure: Vec::new() }
    }

    /// What was found, in the order of the file.
    pub fn warnings(&self) -> Vec<Warning> {
        self.findings.sorted()
    }

    /// Variables that nothing could be said of.
    pub fn unsure(&self) -> &[Unsure] {
        &self.unsure
    }

    /// The error that the findings are where `error=true` says so.
    ///
    /// # Errors
    /// Names the rules.
    pub fn verdict(&self) -> Result<(), BuildError> {
        let rules: BTreeSet<_> = self.warnings().iter().map(|warning| warning.rule.name()).collect();
        if rules.is_empty() || !self.findings.options().error {
            return Ok(());
        }
        let names: Vec<_> = rules.iter().copied().collect();
        Err(BuildError::user(format!("lint violation found for rules: {}", names.join(", "))).with_hint(
            format!(
                "`error=true` makes a warning an error; leave a rule out with `# check=skip={};error=true`",
                names.join(",")
            ),
        ))
    }

    /// The rules that need the text alone. Where it is only a part, because the next line is an error, those that
    /// compare lines are left out.
    pub fn text(&mut self, whole: bool) {
        let file = self.dockerfile;
        let out = &mut self.findings;
        rules::no_empty_continuation(file, out);
        for instruction in &file.preamble {
            out.at(instruction.span, &instruction.comments);
            rules::invalid_definition_description(file, instruction, out);
        }
        for stage in &file.stages {
            out.at(stage.from.span, &stage.from.comments);
            rules::stage_name_casing(&stage.from, out);
            rules::from_as_casing(&stage.from, out);
            rules::invalid_stage_description(file, &stage.from, out);
            for instruction in &stage.instructions {
                out.at(instruction.span, &instruction.comments);
                rules::maintainer_deprecated(instruction, out);
                rules::invalid_definition_description(file, instruction, out);
            }
        }
        if whole {
            rules::reserved_stage_name(file, out);
            rules::duplicate_stage_name(file, out);
            rules::consistent_instruction_casing(file, out);
        }
    }

    /// The rules of FROM and its variables, for all stages.
    pub fn froms(&mut self, globals: &GlobalScope) {
        let file = self.dockerfile;
        let out = &mut self.findings;
        rules::invalid_default_arg_in_from(file, globals, out);
        for stage in &file.stages {
            out.at(stage.from.span, &stage.from.comments);
            rules::undefined_arg_in_from(file, &stage.from, globals, out);
            rules::redundant_target_platform(file, &stage.from, globals, out);
            rules::from_platform_flag_const_disallowed(file, &stage.from, globals, out);
        }
    }

    /// The rules of instructions, in the stages that the plan needs, or in all.
    ///
    /// # Errors
    /// When an instruction cannot be what it says: a build would fail there, and what follows is not looked at.
    pub fn stages(
        &mut self,
        plan: &Plan,
        all: bool,
        bases: &dyn Bases,
        ignore: Option<&Ignore>,
    ) -> Result<(), BuildError> {
        let walked = || plan.stages.iter().filter(|planned| all || plan.needed.contains(&planned.index));
        let mut scopes = Scopes::of(walked());
        let declared = declared_names(self.dockerfile);
        for planned in walked() {
            let stage = &self.dockerfile.stages[planned.index];
            self.findings.at(stage.from.span, &stage.from.comments);
            let platform = &planned.platform;
            let scope = match &planned.base {
                Base::Stage(parent) => scopes.take(*parent).map_or_else(|| scopes.on(None, platform), Ok),
                Base::Scratch | Base::Context(_) => scopes.on(Some(&Image::scratch(platform)), platform),
                Base::Image(_) | Base::Layout(_) | Base::Unknown(_) => {
                    let image = bases.image(planned);
                    if let Some(image) = &image {
                        rules::invalid_base_image_platform(&stage.from, image, platform, &mut self.findings);
                    }
                    scopes.on(image.as_ref(), platform)
                }
            };
            let mut scope = scope
                .map_err(|error| BuildError::from(error).at(&self.dockerfile.source, stage.from.span))?;
            if !scope.base_known && scope.unseen.is_none() {
                scope.unseen = Some(Arc::new(Unseen::of(planned, &stage.from.image.value)));
            }
            let mut walk = Walk {
                dockerfile: self.dockerfile,
                plan,
                ignore,
                escape: self.dockerfile.directives.escape,
                declared: &declared,
                scope: &mut scope,
                once: rules::Once::default(),
                findings: &mut self.findings,
                unsure: &mut self.unsure,
            };
            if !planned.replaced {
                walk.triggers(stage.from.span, &stage.from.comments)?;
            }
            // Where a named context stands in its place, nothing of it is built.
            for instruction in stage.instructions.iter().filter(|_| !planned.replaced) {
                walk.findings.at(instruction.span, &instruction.comments);
                walk.instruction(instruction)
                    .map_err(|error| error.at(&self.dockerfile.source, instruction.span))?;
            }
            scopes.keep(planned.index, scope);
        }
        Ok(())
    }
}

/// The names that ARGs and ENVs of stages declare.
fn declared_names(dockerfile: &Dockerfile) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        match &instruction.kind {
            Kind::Arg(args) => names.extend(args.iter().map(|arg| arg.name.value.as_str())),
            Kind::Env(pairs) => names.extend(pairs.iter().map(|(name, _)| name.value.as_str())),
            _ => {}
        }
    }
    names
}

/// One stage, seen by the rules.
pub(super) struct Walk<'w> {
    pub(super) dockerfile: &'w Dockerfile,
    pub(super) plan: &'w Plan,
    pub(super) ignore: Option<&'w Ignore>,
    escape: char,
    /// The names that an ARG or ENV in any stage declares.
    pub(super) declared: &'w BTreeSet<&'w str>,
    pub(super) scope: &'w mut Scope,
    pub(super) once: rules::Once,
    pub(super) findings: &'w mut Findings,
    pub(super) unsure: &'w mut Vec<Unsure>,
}

impl Walk<'_> {
    /// The triggers of the base are instructions of this stage, before its own.
    fn triggers(&mut self, from: Span, comments: &[String]) -> Result<(), BuildError> {
        for trigger in std::mem::take(&mut self.scope.on_build) {
            let source = Arc::new(SourceFile::new("ONBUILD", trigger.as_str()));
            // A base that holds no instruction is the build's to tell.
            let Ok(instruction) = parse_onbuild(&source, self.escape) else { continue };
            self.findings.at_trigger(from, comments);
            self.instruction(&instruction).map_err(|mut error| {
                error.place = None;
                error.message = format!("ONBUILD trigger `{trigger}` of the base image: {}", error.message);
                error.at(&self.dockerfile.source, from)
            })?;
        }
        Ok(())
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        let (keyword, plan) = (&instruction.keyword, self.plan);
        match &instruction.kind {
            Kind::Env(pairs) => {
                rules::legacy_key_value_format(self.dockerfile, keyword, pairs, self.findings);
                self.env(pairs)?;
            }
            Kind::Label(pairs) => {
                rules::legacy_key_value_format(self.dockerfile, keyword, pairs, self.findings);
                for (name, value) in pairs {
                    self.word(name)?;
                    self.word(value)?;
                }
            }
            Kind::Arg(args) => {
                for arg in args {
                    self.arg(&plan.globals, arg)?;
                }
            }
            Kind::Copy(copy) => {
                self.words(copy.chown.iter().chain(&copy.chmod).chain(&copy.exclude))?;
                let sources = self.words(&copy.sources)?;
                self.word(&copy.dest)?;
                self.heredocs(&copy.heredocs)?;
                if copy.from.is_none() {
                    rules::copy_ignored_file("Copy", &copy.sources, &sources, self);
                }
            }
            Kind::Add(add) => {
                self.words(add.chown.iter().chain(&add.chmod).chain(&add.checksum).chain(&add.exclude))?;
                let sources = self.words(&add.sources)?;
                self.word(&add.dest)?;
                self.heredocs(&add.heredocs)?;
                rules::copy_ignored_file("Add", &add.sources, &sources, self);
            }
            Kind::Run(run) => {
                for mount in &run.mounts {
                    self.mount(mount)?;
                }
            }
            Kind::Workdir(word) => {
                let path = self.word(word)?;
                rules::workdir_relative_path(&path, word.span, self);
            }
            Kind::User(word) | Kind::Stopsignal(word) => drop(self.word(word)?),
            Kind::Volume(words) => drop(self.words(words)?),
            Kind::Expose(words) => rules::expose(words, self)?,
            Kind::Cmd(command) => {
                rules::multiple_instructions_disallowed(instruction, self);
                rules::json_args_recommended(keyword, command, self);
            }
            Kind::Entrypoint(command) => {
                rules::multiple_instructions_disallowed(instruction, self);
                rules::json_args_recommended(keyword, command, self);
            }
            Kind::Healthcheck(_) => rules::multiple_instructions_disallowed(instruction, self),
            Kind::Shell(words) => self.scope.shell_set = !words.is_empty(),
            Kind::Onbuild(onbuild) => self.scope.on_build.push(onbuild.trigger.value.clone()),
            Kind::Maintainer(_) => {}
        }
        Ok(())
    }

    fn words<'i>(
        &mut self,
        words: impl IntoIterator<Item = &'i crate::dockerfile::Word>,
    ) -> Result<Vec<String>, BuildError> {
        words.into_iter().map(|word| self.word(word)).collect()
    }

    fn heredocs(&mut self, heredocs: &[crate::dockerfile::Heredoc]) -> Result<(), BuildError> {
        for heredoc in heredocs.iter().filter(|heredoc| heredoc.expand) {
            self.text(&heredoc.text(), heredoc.content_span, Expander::heredoc())?;
        }
        Ok(())
    }
}

impl Reader for Walk<'_> {
    fn scope(&mut self) -> &mut Scope {
        self.scope
    }

    fn escape(&self) -> char {
        self.escape
    }

    /// Warns of variables that nothing declares.
    fn expand(&mut self, text: &str, span: Span, expander: Expander) -> Result<String, ExpandError> {
        let expanded = self.scope.expand(text, expander)?;
        for name in &expanded.unset {
            let unsure = rules::undefined_var(name, span, self);
            if let (Some(span), Some(base)) = (unsure, &self.scope.unseen) {
                self.unsure.push(Unsure { span, name: name.clone(), base: Arc::clone(base) });
            }
        }
        Ok(expanded.text)
    }

    fn at(&self, error: BuildError, span: Span) -> BuildError {
        error.at(&self.dockerfile.source, self.findings.home(span))
    }

    fn named(&mut self, instruction: &str, name: &str, span: Span) {
        rules::secrets_used_in_arg_or_env(instruction, name, span, self.findings);
    }
}
