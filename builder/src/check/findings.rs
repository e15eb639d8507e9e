//! What the rules found.

use super::options::Options;
use super::rule::Rule;
use crate::redact::redact;
use crate::source::Span;

/// Something that a rule warns of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: Rule,
    /// What is meant: a word of the Dockerfile.
    pub span: Span,
    /// Where BuildKit says that it is: the instruction, all its lines.
    pub place: Span,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// The findings so far, and the instruction that is looked at.
#[derive(Debug)]
pub(super) struct Findings {
    options: Options,
    /// The instruction, and what its own comments say of checks.
    place: Span,
    own: Vec<Options>,
    /// The instruction came with the base image: its words are not in this file.
    foreign: bool,
    warnings: Vec<Warning>,
}

impl Findings {
    pub(super) fn new(options: Options) -> Self {
        Self { options, place: Span::default(), own: Vec::new(), foreign: false, warnings: Vec::new() }
    }

    /// What follows is about the instruction at `place`, which has these comments.
    pub(super) fn at(&mut self, place: Span, comments: &[String]) {
        self.place = place;
        self.foreign = false;
        self.own = comments.iter().filter_map(|comment| Options::in_comment(comment)).collect();
    }

    /// What follows is about a trigger of the base that the FROM at `place` names.
    pub(super) fn at_trigger(&mut self, place: Span, comments: &[String]) {
        self.at(place, comments);
        self.foreign = true;
    }

    /// Where a place in a trigger is: at the FROM.
    pub(super) fn home(&self, span: Span) -> Span {
        if self.foreign { self.place } else { span }
    }

    /// A finding at `span` in the instruction.
    pub(super) fn add(&mut self, rule: Rule, span: Span, message: String, hint: impl Into<Option<String>>) {
        let (span, place) = (self.home(span), self.place);
        self.add_in(rule, span, place, message, hint);
    }

    /// A finding elsewhere than in the instruction that shows it.
    pub(super) fn add_in(
        &mut self,
        rule: Rule,
        span: Span,
        place: Span,
        message: String,
        hint: impl Into<Option<String>>,
    ) {
        let asked =
            self.options.runs(rule) || self.own.iter().any(|own| rule.is_experimental() && own.runs(rule));
        if asked && !self.own.iter().any(|own| own.skips(rule)) {
            // Rules say words of the file again, and a URL in one may have a password.
            let (message, hint) = (redact(&message), hint.into().map(|hint| redact(&hint)));
            self.warnings.push(Warning { rule, span, place, message, hint });
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.warnings.len()
    }

    /// All of them, in the order of the file.
    pub(super) fn sorted(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        warnings.sort_by_key(|warning| (warning.place.start, warning.span.start));
        warnings
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }
}
