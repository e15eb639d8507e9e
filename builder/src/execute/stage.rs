//! One stage: its instructions in order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use orlop_store::image::MAX_CONFIG;
use orlop_store::snapshot::Committed;
use orlop_store::trace::Span as TraceSpan;
use orlop_store::{Image, Platform};

use super::Execution;
use super::metadata::{ESCAPE_HINT, last_created};
use crate::cache::Carried;
use crate::check::windows as check;
use crate::context::{NamedSource, SourceTree};
use crate::dialect::{Dialect, ImagePath, PathError};
use crate::dockerfile::suggest::nearest;
use crate::dockerfile::variables::{ExpandError, Expander, MAX_VALUE, expand, expand_words};
use crate::dockerfile::{ArgDecl, Instruction, Kind, Word, parse_onbuild};
use crate::error::{BuildError, ErrorKind};
use crate::event::Outcome;
use crate::plan::Base;
use crate::scope::StageScope;
use crate::source::{SourceFile, Span};

/// How many variables an image, and how many ARGs a stage, can have.
const MOST_VARIABLES: usize = 10_000;

/// Bytes that the configs of all stages of a build may have together.
const MOST_CONFIGS: u64 = 64 << 20;

/// The longest path, as Linux's `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// What a stage made.
#[derive(Clone, Debug)]
pub(crate) struct StageResult {
    pub(crate) image: Image,
    pub(crate) snapshot: Committed,
    pub(crate) scope: StageScope,
    /// Where its layers can be fetched from.
    pub(crate) origin: Option<super::from::Origin>,
    /// The steps that the image is made of.
    pub(crate) steps: Vec<Carried>,
    /// What the base's programs are for.
    pub(crate) machine: Platform,
}

/// What `--from` names.
pub(crate) enum Files<'e> {
    /// A directory with its rules.
    Tree(&'e SourceTree),
    /// What a stage or an image has in it.
    Snapshot {
        source: Box<super::from::Source>,
        /// The system that the files are of.
        dialect: Dialect,
        /// It is a stage's and may be another one at the next build.
        stage: bool,
    },
}

/// A stage in the making.
pub(crate) struct StageRun<'e, 'a> {
    pub(crate) exec: &'e Execution<'a>,
    pub(crate) index: usize,
    pub(crate) image: Image,
    pub(crate) snapshot: Committed,
    pub(crate) scope: StageScope,
    origin: Option<super::from::Origin>,
    /// The steps that the image is made of.
    pub(crate) steps: Vec<Carried>,
    /// What the base's programs are for.
    pub(crate) machine: Platform,
    /// A CMD stands in this very stage; else ENTRYPOINT drops the base's.
    cmd_set: bool,
    /// A trigger of the base is being run: places in it are none of this Dockerfile's, where its FROM is.
    pub(crate) trigger: bool,
    /// When the newest step was made, of the base where this stage has none.
    pub(crate) last_created: Option<String>,
    /// About how many bytes the image's config has.
    config_size: u64,
    /// The step that is being done, in a trace.
    pub(crate) span: TraceSpan,
    /// Steps begun, and steps in all, for titles.
    position: usize,
    total: usize,
}

/// Builds stage `index` from its FROM to its last instruction.
pub(crate) fn build(exec: &Execution<'_>, index: usize) -> Result<StageResult, BuildError> {
    let file = &exec.dockerfile().source;
    let stage = &exec.dockerfile().stages[index];
    let named = |scope: &StageScope| exec.several.then(|| exec.works_for(index, scope));
    let looked_up = exec.starts.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
    let base = looked_up.map_or_else(|| super::from::start(exec, index), Ok)?;
    let mut run = StageRun {
        exec,
        index,
        config_size: base.image.config_bytes().len() as u64,
        last_created: last_created(&base.image),
        image: base.image,
        snapshot: base.snapshot,
        scope: base.scope,
        origin: base.origin,
        steps: base.steps,
        machine: base.machine,
        cmd_set: false,
        trigger: false,
        span: TraceSpan::none(),
        position: 1,
        total: steps(exec, index),
    };
    run.count_config(run.config_size).map_err(|e| e.at(file, stage.from.span))?;
    if let Base::Context(context) = exec.plan.stages[index].base {
        // It is a step where an image is none, and counts as the first.
        run.position = 0;
        run.take_context(context).map_err(|e| e.at(file, stage.from.span).of_one(named(&run.scope)))?;
    }
    if exec.plan.stages[index].replaced {
        return Ok(run.finish());
    }
    run.triggers().map_err(|e| e.at(file, stage.from.span).of_one(named(&run.scope)))?;
    for instruction in &stage.instructions {
        exec.check_canceled()?;
        let done = run.check_variables(instruction).and_then(|()| run.dispatch(instruction));
        let done = done.and_then(|()| run.check_config_size());
        done.map_err(|e| e.at(file, instruction.span).of_one(named(&run.scope)))?;
    }
    Ok(run.finish())
}

/// How many steps a stage has, its FROM included.
pub(crate) fn steps(exec: &Execution<'_>, index: usize) -> usize {
    1 + exec.dockerfile().stages[index].instructions.iter().filter(|i| is_step(&i.kind)).count()
}

/// What to write instead of a word with a quote that has no end.
fn open_quote(word: &str, escape: char) -> String {
    if escape == '\\' && word.contains("\\\"") {
        return "`\\\"` is a quote of the text and ends nothing: begin the Dockerfile with ``# escape=` `` where a `\\` is meant"
            .to_owned();
    }
    if word.starts_with('[') {
        return "in a JSON array each `\\` is written twice, and words are in double quotes".to_owned();
    }
    "close it; where a name holds blanks, quotes do not join it: write all names as JSON, `[\"a b\", \"c d\"]`".to_owned()
}

/// Whether an instruction may change files, and so is counted and shown.
fn is_step(kind: &Kind) -> bool {
    matches!(kind, Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_))
}

impl StageRun<'_, '_> {
    fn finish(self) -> StageResult {
        let origin = self.origin();
        let StageRun { image, snapshot, scope, steps, machine, .. } = self;
        StageResult { image, snapshot, scope, origin, steps, machine }
    }

    /// Where the layers of the stage as far as it has come can be fetched from; none where all were made here.
    pub(crate) fn origin(&self) -> Option<super::from::Origin> {
        let (reference, base, arrival) = match &self.origin {
            Some(origin) => (origin.reference.clone(), origin.base, origin.arrival.clone()),
            None => (None, 0, None),
        };
        let elsewhere = |layer: &orlop_store::ImageLayer| layer.blob.is_some() || layer.size.is_none();
        let known = reference.is_some() || self.image.layers().iter().any(elsewhere);
        known.then(|| super::from::Origin { reference, image: self.image.clone(), base, arrival })
    }

    /// Runs the ONBUILD triggers of the base, image or stage, once, and removes them from this one.
    fn triggers(&mut self) -> Result<(), BuildError> {
        let triggers = self.image.config().on_build();
        if triggers.is_empty() {
            return Ok(());
        }
        self.image = self.image.with_config(|config| config.set_on_build(Vec::new()));
        for trigger in triggers {
            let wrong = |message: String| {
                BuildError::user(format!("ONBUILD trigger `{trigger}` of the base image: {message}"))
            };
            let escape = self.exec.dockerfile().directives.escape;
            let source = Arc::new(SourceFile::new("ONBUILD", trigger.as_str()));
            let instruction = parse_onbuild(&source, escape).map_err(|e| wrong(e.message.clone()))?;
            self.total += usize::from(is_step(&instruction.kind));
            self.trigger = true;
            let done = self.dispatch(&instruction);
            self.trigger = false;
            done.map_err(|mut e| {
                // Its place is in the trigger, not in this Dockerfile.
                e.place = None;
                e.message = format!("ONBUILD trigger `{trigger}` of the base image: {}", e.message);
                e
            })?;
        }
        Ok(())
    }

    /// What stands before a step's text: `[build 2/5]`, of several platforms `[linux/arm64 build 2/5]`.
    pub(crate) fn title(&mut self, text: &str) -> String {
        self.position += 1;
        self.titled(self.position, text)
    }

    fn titled(&self, position: usize, text: &str) -> String {
        format!("[{} {position}/{}] {text}", self.exec.label(self.index, &self.scope), self.total)
    }

    /// Does what is one step of the trace, whose title the next step will have.
    fn traced(
        &mut self,
        text: &str,
        act: impl FnOnce(&mut Self) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        self.span = self.exec.engine.trace().task(&self.titled(self.position + 1, text));
        let done = act(self);
        if let Err(error) = &done {
            let outcome =
                if error.kind == ErrorKind::Interrupted { Outcome::Canceled } else { Outcome::Failed };
            self.span.add("outcome", outcome.name());
        }
        self.span = TraceSpan::none();
        done
    }

    fn dispatch(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        match is_step(&instruction.kind) {
            true => self.traced(&instruction.original, |stage| stage.obey(instruction)),
            false => self.obey(instruction),
        }
    }

    fn obey(&mut self, instruction: &Instruction) -> Result<(), BuildError> {
        match &instruction.kind {
            Kind::Run(run) => self.run(instruction, run),
            Kind::Copy(copy) => self.copy(instruction, copy),
            Kind::Add(add) => self.add(instruction, add),
            Kind::Workdir(path) => self.workdir(instruction, path),
            Kind::Env(pairs) => self.env(pairs),
            Kind::Arg(args) => self.arg(args),
            Kind::User(user) => self.user(user),
            Kind::Cmd(command) => {
                self.cmd_set = true;
                self.cmd(command, instruction.span)
            }
            Kind::Entrypoint(command) => self.entrypoint(command, self.cmd_set),
            Kind::Label(pairs) => self.label(pairs),
            Kind::Expose(words) => self.expose(words),
            Kind::Volume(words) => self.volume(words),
            Kind::Stopsignal(word) => self.stopsignal(word),
            Kind::Shell(words) => self.shell(words),
            Kind::Healthcheck(check) => self.healthcheck(check),
            Kind::Onbuild(onbuild) => {
                self.onbuild(onbuild);
                Ok(())
            }
            Kind::Maintainer(word) => self.maintainer(word),
        }
    }

    /// `ARG`: no change to the image, only to what later instructions see.
    fn arg(&mut self, args: &[ArgDecl]) -> Result<(), BuildError> {
        let mut shown = Vec::new();
        for arg in args {
            let name = self.expand(&arg.name)?;
            // A default that nobody needs may ask for what is not there: `ARG V=${X:?needed}`.
            let given = self.exec.plan.globals.build_arg(&name).is_some();
            let default =
                arg.default.as_ref().filter(|_| !given).map(|word| self.expand_value(word)).transpose()?;
            let value = self.scope.declare(&self.exec.plan.globals, self.dialect(), &name, default);
            if self.trigger {
                self.exec.declared_by_trigger(name.clone());
            }
            shown.push(match value {
                Some(value) => format!("{name}={value}"),
                None => name,
            });
        }
        self.note(&format!("ARG {}", shown.join(" ")))
    }

    /// The value of a variable here and now. The image's are not copied for it: there may be ten thousand.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let dialect = self.dialect();
        let value = self.image.config().variable(|other| dialect.same_variable(other, name));
        let of_image = value.map(|value| (name.to_owned(), value.to_owned()));
        self.scope.lookup(of_image.as_slice(), dialect, name)
    }

    /// The value that ENV or ARG gives: expanded, and no longer than a process can be given.
    pub(crate) fn expand_value(&self, word: &Word) -> Result<String, BuildError> {
        let value = self.expand(word)?;
        if value.len() <= MAX_VALUE {
            return Ok(value);
        }
        let message = format!(
            "the value would have {} bytes, and no process can be given more than {MAX_VALUE} in a variable",
            value.len()
        );
        let hint = match word.value.contains('$') {
            true => "does a variable hold itself twice, as in `ENV a=$a$a`?",
            false => "long text belongs into a file: COPY it",
        };
        Err(self.meaningless(&message, hint, word.span))
    }

    /// Fails where an instruction brings more variables than anybody means: each is looked for among all of them.
    fn check_variables(&self, instruction: &Instruction) -> Result<(), BuildError> {
        let (known, new) = match &instruction.kind {
            Kind::Env(pairs) => (self.image.config().variables(), pairs.len()),
            Kind::Arg(args) => (self.scope.names().count(), args.len()),
            _ => return Ok(()),
        };
        if known.max(new) < MOST_VARIABLES {
            return Ok(());
        }
        let message = format!("an image or stage cannot have more than {MOST_VARIABLES} variables");
        Err(BuildError::user(message).with_hint("put them into a file: COPY it".to_owned()))
    }

    /// Fails where the image's config has become larger than anybody reads.
    fn check_config_size(&mut self) -> Result<(), BuildError> {
        // The names of an entry's fields and its time.
        const ENTRY: u64 = 100;
        let said = self.image.config().last_created_by().map_or(0, str::len) as u64;
        // What ENV and LABEL say is in the config and in its history.
        let more = 2 * said + ENTRY;
        self.config_size += more;
        if self.config_size <= MAX_CONFIG {
            return self.count_config(more);
        }
        Err(BuildError::user(format!(
            "the image's config would be larger than the {MAX_CONFIG} bytes that are read of one"
        ))
        .with_hint("long text belongs into a file: COPY it".to_owned()))
    }

    /// Fails where the configs of all stages together are more than a machine should hold: each stage begins with a
    /// copy of its base's.
    fn count_config(&self, more: u64) -> Result<(), BuildError> {
        let before = self.exec.common.configs.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) <= MOST_CONFIGS {
            return Ok(());
        }
        Err(BuildError::user(format!(
            "the images of all stages would have configs of more than {MOST_CONFIGS} bytes together"
        ))
        .with_hint("long text belongs into a file: COPY it".to_owned()))
    }

    /// The language of the stage's image.
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::of(&self.exec.plan.stages[self.index].platform)
    }

    /// A path of an instruction from WORKDIR on.
    pub(crate) fn path(&self, text: &str, word: &Word) -> Result<ImagePath, BuildError> {
        // No program could name the file; and half a million directories in each other are slow to make.
        if text.len() > LONGEST_PATH {
            let message = format!("a path of {} bytes: no system takes more than {LONGEST_PATH}", text.len());
            return Err(self.meaningless(&message, "choose a shorter path", word.span));
        }
        let config = self.image.config();
        let path = self
            .dialect()
            .path(config.working_dir().unwrap_or_default(), text)
            .map_err(|e| self.bad_path(&e, word.span))?;
        self.warn_of_escapes(text, word);
        Ok(path)
    }

    /// A path that the image cannot have, at the place that names it.
    pub(crate) fn bad_path(&self, error: &PathError, span: Span) -> BuildError {
        let escape = self.exec.dockerfile().directives.escape;
        BuildError::user(error.to_string())
            .with_hint(error.hint_in(escape))
            .at(&self.exec.dockerfile().source, span)
    }

    /// Something to warn of at a place of the Dockerfile, or at FROM where the instruction came with the base.
    pub(crate) fn warn(&self, span: Span, text: &str, hint: &str) {
        let file = &self.exec.dockerfile().source;
        if !self.trigger {
            return self.exec.progress.warn_at(file, span, text, Some(hint.to_owned()));
        }
        let span = self.exec.dockerfile().stages[self.index].from.span;
        let text = format!("in an ONBUILD trigger of the base image: {text}");
        self.exec.progress.warn_at(file, span, &text, Some(hint.to_owned()));
    }

    /// Warns of a path of a Windows image whose backslashes were taken for the escape character: `sub\file`.
    pub(crate) fn warn_of_escapes(&self, value: &str, word: &Word) {
        let escapes = self.exec.dockerfile().directives.escape == '\\' && !word.value.starts_with('[');
        if self.dialect().is_windows()
            && escapes
            && check::single_backslash(&word.value)
            && !value.contains('\\')
        {
            let text =
                format!("`{}` is read as `{value}`: a single `\\` is the escape character", word.value);
            self.warn(word.span, &text, ESCAPE_HINT);
        }
    }

    /// Something that has no meaning in an image of this system, at the word that asks for it.
    pub(crate) fn meaningless(&self, message: &str, hint: &str, span: Span) -> BuildError {
        BuildError::user(message).with_hint(hint.to_owned()).at(&self.exec.dockerfile().source, span)
    }

    /// Expands a word to one text.
    pub(crate) fn expand(&self, word: &Word) -> Result<String, BuildError> {
        let escape = self.exec.dockerfile().directives.escape;
        expand(&word.value, escape, &|name| self.variable(name)).map_err(|e| self.bad_word(e, word))
    }

    /// Expands a word to any number of words.
    pub(crate) fn expand_many(&self, word: &Word) -> Result<Vec<String>, BuildError> {
        let escape = self.exec.dockerfile().directives.escape;
        expand_words(&word.value, escape, &|name| self.variable(name)).map_err(|e| self.bad_word(e, word))
    }

    /// Expands variables in text that is not the shell's and keeps its quotes.
    pub(crate) fn expand_text(&self, text: &str, span: Span) -> Result<String, BuildError> {
        Expander::heredoc()
            .expand(text, &|name| self.variable(name))
            .map(|expanded| expanded.text)
            .map_err(|e| BuildError::user(e.to_string()).at(&self.exec.dockerfile().source, span))
    }

    fn bad_word(&self, error: ExpandError, word: &Word) -> BuildError {
        let escape = self.exec.dockerfile().directives.escape;
        let hint = match error {
            ExpandError::UnterminatedQuote(_) => Some(open_quote(&word.value, escape)),
            _ => error.hint(),
        };
        BuildError::user(error.to_string()).with_hint(hint).at(&self.exec.dockerfile().source, word.span)
    }
}

impl<'e> StageRun<'e, '_> {
    /// What `--from` means: a named context, else a stage, else an image.
    pub(crate) fn source_named(&self, name: &str) -> Result<Files<'e>, BuildError> {
        let exec = self.exec;
        let platform = &exec.plan.stages[self.index].platform;
        if let Some(context) = exec.plan.context_named(self.index, name) {
            let image = match &exec.plan.contexts[context].source {
                NamedSource::Image(reference) => reference.to_string(),
                NamedSource::Layout(layout) => format!("oci-layout://{layout}"),
                NamedSource::Scratch => "scratch".to_owned(),
                NamedSource::Directory { .. } | NamedSource::Url(_) | NamedSource::Git(_) => {
                    return exec.named_context(context).map(Files::Tree).map_err(BuildError::again);
                }
            };
            exec.use_context(context);
            let source = super::from::source_image(exec, &image, platform)?;
            let source = Box::new(source);
            return Ok(Files::Snapshot { source, dialect: self.dialect(), stage: false });
        }
        if let Some(stage) = exec.plan.source_stage(self.index, name)? {
            let result = exec.stage(self.index, stage)?;
            let source =
                super::from::Source { snapshot: result.snapshot.clone(), origin: result.origin.clone() };
            let dialect = Dialect::of(&exec.plan.stages[stage].platform);
            return Ok(Files::Snapshot { source: Box::new(source), dialect, stage: true });
        }
        let source = super::from::source_image(exec, name, platform).map_err(|error| {
            let stages = exec.dockerfile().stages.iter().filter_map(|s| s.from.name.as_ref());
            let stages = stages.map(|n| ("stage", n.value.as_str()));
            let contexts = exec.plan.contexts.iter().map(|c| ("context", c.name.as_str()));
            let names: Vec<_> = stages.chain(contexts).collect();
            let near = nearest(name, names.iter().map(|(_, name)| *name));
            let what = names.iter().find(|(_, name)| Some(*name) == near);
            error.with_hint(what.map(|(what, near)| format!("did you mean the {what} `{near}`?")))
        })?;
        Ok(Files::Snapshot { source: Box::new(source), dialect: self.dialect(), stage: false })
    }

    /// The files of a named context as the first layer of the stage: what `FROM` of a directory gives.
    fn take_context(&mut self, context: usize) -> Result<(), BuildError> {
        let exec = self.exec;
        let tree = exec.named_context(context).map_err(BuildError::again)?;
        let text = exec.dockerfile().stages[self.index].from.original.clone();
        let created_by = format!("FROM context {}", exec.plan.contexts[context].name);
        let title = text.clone();
        self.traced(&title, |stage| stage.copy_whole(tree, text, created_by))
    }
}
