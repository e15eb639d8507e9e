//! A logical line as keyword, flags and arguments.

use std::ops::Range;

use super::line::Line;
use super::words::{self, Json, RawFlag};

/// A line, or the trigger in an ONBUILD line, in its parts.
#[derive(Debug)]
pub(super) struct Statement {
    /// The keyword.
    pub(super) keyword: Range<usize>,
    /// The keyword in upper case.
    pub(super) name: String,
    /// The flags.
    pub(super) flags: Vec<RawFlag>,
    /// What follows, without white space at its ends.
    pub(super) args: Range<usize>,
    /// All of it.
    pub(super) range: Range<usize>,
}

impl Statement {
    pub(super) fn split(line: &Line, range: &Range<usize>, escape: char) -> Self {
        let range = words::trim(line, range);
        let (keyword, rest) = words::first(line, &range);
        let (flags, args) = words::flags(line, &rest, escape);
        let name = line.slice(&keyword).to_ascii_uppercase();
        Self { keyword, name, flags, args: words::trim(line, &args), range }
    }

    /// Whether heredocs may start on the line.
    pub(super) fn takes_heredocs(&self, line: &Line) -> bool {
        match self.name.as_str() {
            "RUN" | "COPY" | "ADD" => !matches!(words::json(line, &self.args), Json::Strings(_)),
            _ => false,
        }
    }
}
