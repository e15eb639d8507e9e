//! Errors of the parser.

use std::sync::Arc;

use super::mount::MountError;
use super::variables::ExpandError;
use crate::error::BuildError;
use crate::source::{Location, SourceFile, Span};

/// A Dockerfile that is none: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The text.
    pub source_file: Arc<SourceFile>,
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to type instead.
    pub hint: Option<String>,
}

impl ParseError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// Line and column of the first wrong byte.
    pub fn location(&self) -> Location {
        self.source_file.location(self.span.start)
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl From<ParseError> for BuildError {
    fn from(error: ParseError) -> Self {
        Self::user(error.message).with_hint(error.hint).at(&error.source_file, error.span)
    }
}

impl From<ExpandError> for BuildError {
    fn from(error: ExpandError) -> Self {
        Self::user(error.to_string()).with_hint(error.hint())
    }
}

impl From<MountError<ExpandError>> for BuildError {
    fn from(error: MountError<ExpandError>) -> Self {
        let (message, hint) = (error.to_string(), error.hint());
        match error {
            MountError::Expand { source, .. } => {
                let hint = source.hint();
                Self::user(message).because(source).with_hint(hint)
            }
            MountError::Field { .. } => Self::user(message).with_hint(hint),
        }
    }
}

/// `text`, shortened so that a message stays readable.
pub(super) fn clip(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
