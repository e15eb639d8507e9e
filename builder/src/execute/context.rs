//! The build context and the named ones: opened when the first step asks for them.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::Execution;
use crate::check::windows as check;
use crate::context::fetch::{self, Fetched};
use crate::context::git::{self, GitAccess};
use crate::context::{Ignore, NamedSource, SourceTree};
use crate::dialect::Dialect;
use crate::dockerfile::Kind;
use crate::dockerfile::suggest::did_you_mean;
use crate::error::BuildError;
use crate::request::ContextSource;
use crate::source::SourceFile;

/// A context that is open.
pub(crate) struct Opened {
    tree: SourceTree,
    /// What it was fetched into, where it is no directory of the user's.
    _held: Option<Fetched>,
}

impl Execution<'_> {
    /// The build context, opened once.
    pub(crate) fn context(&self) -> Result<&SourceTree, &BuildError> {
        let opened = self.common.context.get_or_init(|| {
            let ignore = self.rules(self.request.ignore.as_ref())?;
            match &self.request.context {
                ContextSource::Directory(path) => opened(SourceTree::context(path, ignore), None),
                ContextSource::Fetched(path) => opened(SourceTree::fetched(path, ignore), None),
                // As with BuildKit: there is a context, and nothing in it.
                ContextSource::Empty => fetched(Fetched::empty(&self.engine)?),
            }
        });
        opened.as_ref().map(|opened| &opened.tree)
    }

    /// The files of a named context that is no image, opened once.
    pub(crate) fn named_context(&self, index: usize) -> Result<&SourceTree, &BuildError> {
        self.use_context(index);
        let opened = self.common.named[index].get_or_init(|| {
            let context = &self.plan.contexts[index];
            match &context.source {
                NamedSource::Directory { path, ignore } => {
                    let ignore = self.rules(ignore.as_ref())?;
                    opened(SourceTree::context(path, ignore), None)
                }
                NamedSource::Url(url) => {
                    let name = context.name.as_str();
                    fetched(fetch::download_file(&self.engine, self.progress, name, url)?)
                }
                NamedSource::Git(reference) => {
                    let request = self.request;
                    let access =
                        GitAccess { settings: &request.git, secrets: &request.secrets, ssh: &request.ssh };
                    let name = format!("context {}", context.name);
                    let commits = &self.common.commits;
                    let loaded = git::load_found(
                        &self.engine,
                        self.progress,
                        reference,
                        access,
                        &name,
                        |repository| commits.get(&reference.question(), || repository.resolve()),
                    )?;
                    fetched(loaded)
                }
                NamedSource::Image(_) | NamedSource::Layout(_) | NamedSource::Scratch => {
                    Err(BuildError::internal("a context that is an image has no directory"))
                }
            }
        });
        opened.as_ref().map(|opened| &opened.tree)
    }

    /// Notes that something is taken from a named context.
    pub(crate) fn use_context(&self, index: usize) {
        self.common.used.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
    }

    /// Reads the text of an ignore file, given with its name, and says what in it is most likely not meant.
    fn rules(&self, file: Option<&(String, String)>) -> Result<Ignore, BuildError> {
        if let Some((text, name)) = file {
            self.warn_of_separators(text, name);
        }
        ignore_rules(file)
    }

    /// `obj\bin` in an ignore file that was written on Windows: elsewhere it is `objbin`.
    fn warn_of_separators(&self, text: &str, name: &str) {
        if Dialect::host().is_windows() {
            return;
        }
        let file = SourceFile::new(name, text);
        let lines = (1..=file.line_count()).filter_map(|line| file.line_span(line));
        for span in lines.filter(|span| !file.slice(*span).starts_with('#')) {
            let line = file.slice(span).trim();
            if check::single_backslash(line) {
                let said =
                    format!("in `{line}` a `\\` separates nothing here, it escapes the next character");
                let hint = "write `/` between names: it separates on every system".to_owned();
                self.progress.warn_at(&file, span, &said, Some(hint));
            }
        }
    }

    /// `--build-context` names that nothing was taken from: a typing mistake more often than not.
    pub(super) fn warn_about_unused_contexts(executions: &[Self]) {
        let Some(first) = executions.first() else { return };
        let used = first.common.used.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = executions.iter().flat_map(|execution| {
            let stages = execution.plan.needed.iter();
            stages.filter_map(|&stage| execution.plan.stages[stage].context)
        });
        let used: BTreeSet<usize> = stages.chain(used.iter().copied()).collect();
        let unused = first.plan.contexts.iter().enumerate().filter(|(index, _)| !used.contains(index));
        for (_, context) in unused {
            let near = did_you_mean(context.name.as_str(), first.names());
            first.progress.advise(format!("nothing is taken from the context `{}`", context.name), near);
        }
    }

    /// All that a named context could stand for: stages, and what `FROM` and `--from` name.
    fn names(&self) -> impl Iterator<Item = &str> {
        let stages = self.plan.dockerfile.stages.iter();
        let from = stages.clone().flat_map(|s| s.from.name.iter().chain([&s.from.image]));
        let copied = stages.flat_map(|s| &s.instructions).filter_map(|i| match &i.kind {
            Kind::Copy(copy) => copy.from.as_ref(),
            _ => None,
        });
        from.chain(copied).map(|word| word.value.as_str())
    }
}

/// What an ignore file says, given as its text and its name; nothing where there is none.
pub(crate) fn ignore_rules(file: Option<&(String, String)>) -> Result<Ignore, BuildError> {
    let Some((text, name)) = file else { return Ok(Ignore::nothing()) };
    Ignore::parse(text).map_err(|e| {
        let line = e.line.checked_sub(1).and_then(|line| text.lines().nth(line));
        // Windows takes both, and only there is the backslash a separator.
        let separates = line.is_some_and(|line| line.ends_with('\\') || check::single_backslash(line));
        let hint = match separates {
            true => Some("write `/` between names: it separates on every system".to_owned()),
            false => e.hint(),
        };
        let place = line.map(|line| format!(", `{}`", line.trim())).unwrap_or_default();
        BuildError::user(format!("cannot read `{name}`: {e}{place}")).because(e.source).with_hint(hint)
    })
}

/// A context without rules.
fn fetched(files: Fetched) -> Result<Opened, BuildError> {
    opened(SourceTree::fetched(files.path(), Ignore::nothing()), Some(files))
}

fn opened(
    tree: Result<SourceTree, crate::context::ContextError>,
    held: Option<Fetched>,
) -> Result<Opened, BuildError> {
    let tree = tree.map_err(|e| {
        let hint = e.hint();
        BuildError::user(e.to_string()).with_hint(hint).because(e.source.to_string())
    })?;
    Ok(Opened { tree, _held: held })
}
