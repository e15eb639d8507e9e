//! Checks without a build: `orlop build --check`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::findings::Warning;
use super::options::Options;
use super::walk::{Bases, Checker, Unseen};
use super::windows;
use crate::dockerfile::{self, Dockerfile, WarningKind};
use crate::error::BuildError;
use crate::plan::{self, Plan};
use crate::request::BuildRequest;
use crate::source::Span;

/// What is said of a Dockerfile and belongs to no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where, if anywhere.
    pub span: Option<Span>,
    /// One sentence.
    pub text: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What was looked at.
    pub dockerfile: Arc<Dockerfile>,
    /// What rules found, in the order of the file.
    pub warnings: Vec<Warning>,
    /// What else is to be said.
    pub notes: Vec<Note>,
    /// Why a build would fail, as far as that can be known; also that `error=true` makes it so.
    pub error: Option<BuildError>,
}

/// Looks at the Dockerfile of `request`: at all stages, or at those that the target needs where there is one.
pub fn report(request: &BuildRequest, bases: &dyn Bases) -> Report {
    let (dockerfile, fault) = dockerfile::parse_part(Arc::clone(&request.dockerfile));
    let dockerfile = Arc::new(dockerfile);
    let failed = |notes, error| Report {
        dockerfile: Arc::clone(&dockerfile),
        warnings: Vec::new(),
        notes,
        error: Some(error),
    };
    let options = match Options::of(&dockerfile, &request.build_args) {
        Ok(options) => options,
        Err(error) => return failed(Vec::new(), error),
    };
    let mut notes = notes(&dockerfile, &options);
    let mut checker = Checker::new(&dockerfile, options);
    checker.text(fault.is_none());
    let result = match fault {
        Some(fault) => Err(fault.into()),
        None => walk(&mut checker, &dockerfile, request, bases),
    };
    notes.extend(unsure(&checker));
    let warnings = checker.warnings();
    let error = result.and_then(|()| checker.verdict()).err();
    Report { dockerfile, warnings, notes, error }
}

fn walk(
    checker: &mut Checker<'_>,
    dockerfile: &Arc<Dockerfile>,
    request: &BuildRequest,
    bases: &dyn Bases,
) -> Result<(), BuildError> {
    let platform = request.first_platform();
    let target = request.target.as_deref();
    let globals = plan::global_scope(dockerfile, &request.build_args, target, &platform)?;
    checker.froms(&globals);
    let plan = Plan::of(request, dockerfile, &platform)?;
    let ignore = crate::execute::ignore_rules(request.ignore.as_ref())?;
    checker.stages(&plan, target.is_none(), bases, Some(&ignore))
}

/// What the parser and the options have to say.
pub(crate) fn notes(dockerfile: &Dockerfile, options: &Options) -> Vec<Note> {
    let mut notes = Vec::new();
    for (name, span, hint) in options.unknown_in(dockerfile) {
        let text = match span {
            Some(_) => format!("no check is called `{name}`"),
            None => format!("`--build-arg {}`: no check is called `{name}`", Options::BUILD_ARG),
        };
        notes.push(Note { span, text, hint });
    }
    // A blank line in an instruction is a rule's, and so may be skipped.
    for warning in dockerfile.warnings.iter().filter(|warning| warning.kind != WarningKind::EmptyContinuation)
    {
        let (span, text, hint) = (Some(warning.span), warning.message.clone(), warning.hint.clone());
        notes.push(Note { span, text, hint });
    }
    notes.extend(continued_paths(dockerfile));
    notes
}

/// `COPY x C:\dir\` in a file whose escape character is `\`: the next line belongs to it, which nobody means.
fn continued_paths(dockerfile: &Dockerfile) -> Vec<Note> {
    if dockerfile.directives.escape != '\\' {
        return Vec::new();
    }
    let spans: Vec<_> = dockerfile.stages.iter().flat_map(|s| &s.instructions).map(|i| i.span).collect();
    let found = windows::continued_paths(&dockerfile.source, &spans).into_iter();
    found
        .map(|(span, word)| Note {
            span: Some(span),
            text: format!("the `\\` at the end of `{word}` continues the line: the next one is part of it"),
            hint: Some(format!(
                "begin the Dockerfile with ``# escape=` ``, or write `{}`",
                word.trim_end_matches('\\').replace('\\', "/") + "/"
            )),
        })
        .collect()
}

/// Variables of which only the base image could tell, one note for each base.
fn unsure(checker: &Checker<'_>) -> Vec<Note> {
    let mut bases: BTreeMap<&Unseen, (Span, BTreeSet<&str>)> = BTreeMap::new();
    for unsure in checker.unsure() {
        let (_, names) = bases.entry(&unsure.base).or_insert_with(|| (unsure.span, BTreeSet::new()));
        names.insert(&unsure.name);
    }
    let notes = bases.into_iter().map(|(base, (span, names))| {
        let names: Vec<_> = names.into_iter().map(|name| format!("`${name}`")).collect();
        let text = format!(
            "the image `{}` cannot be looked at, so it is not known whether it sets {}",
            base.name,
            names.join(", ")
        );
        Note { span: Some(span), text, hint: base.remedy.clone() }
    });
    notes.collect()
}
