//! From bytes to logical lines: directives, comments, continuations.

use std::ops::Range;
use std::sync::Arc;

use super::error::{ParseError, clip};
use super::instruction::{Directives, Warning, WarningKind, Word};
use crate::source::{SourceFile, Span, Spanned};

/// An instruction's line with its continuations joined, each byte traced back to the source.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The text; nothing is put in where lines are joined.
    pub(super) text: String,
    /// Where in `text` a piece starts, and where in the source.
    pieces: Vec<(usize, usize)>,
    /// From the first byte to the last in the source.
    pub(super) span: Span,
    /// The comment lines before, directives left out.
    pub(super) comments: Vec<String>,
}

impl Line {
    fn push(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.pieces.push((self.text.len(), at));
            self.text.push_str(text);
        }
        self.span.end = at + text.len();
    }

    /// The text of a range; empty where there is none.
    pub(super) fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// Where a range of the text stands in the source.
    pub(super) fn locate(&self, range: &Range<usize>) -> Span {
        let place = |at: usize| {
            let index = self.pieces.partition_point(|&(start, _)| start <= at).checked_sub(1)?;
            self.pieces.get(index).map(|&(start, source)| source + (at - start))
        };
        let start = place(range.start).unwrap_or(self.span.start);
        let end = if range.is_empty() { start } else { place(range.end - 1).map_or(start, |last| last + 1) };
        Span::new(start, end)
    }

    /// A range's text with its place.
    pub(super) fn word(&self, range: &Range<usize>) -> Word {
        Spanned::new(self.slice(range).to_owned(), self.locate(range))
    }
}

/// The reader of physical and logical lines.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    source: &'a Arc<SourceFile>,
    at: usize,
    /// The directives seen so far.
    pub(super) directives: Directives,
    seen: Vec<&'static str>,
    /// No further comment can be a directive.
    done: bool,
    /// The first line is `#!`: the directives that name a syntax or checks still count, `escape` does not.
    shebang: bool,
    /// Comment lines not yet given to an instruction.
    comments: Vec<String>,
    pub(super) warnings: Vec<Warning>,
    /// The instruction before, and the line that it ends on.
    pub(super) previous: Option<(&'static str, usize)>,
}

const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

impl<'a> Lines<'a> {
    pub(super) fn new(source: &'a Arc<SourceFile>) -> Self {
        let at = if source.text().starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self {
            source,
            at,
            directives: Directives::default(),
            seen: Vec::new(),
            done: false,
            shebang: false,
            comments: Vec::new(),
            warnings: Vec::new(),
            previous: None,
        }
    }

    /// The next physical line with its line break, and where it starts.
    pub(super) fn physical(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.source.text().get(self.at..).filter(|rest| !rest.is_empty())?;
        let line = rest.split_inclusive('\n').next()?;
        let start = self.at;
        self.at += line.len();
        Some((start, line))
    }

    /// The next instruction's line.
    pub(super) fn logical(&mut self) -> Result<Option<Line>, ParseError> {
        while let Some((start, raw)) = self.physical() {
            let trimmed = trim_break(raw);
            let text = trimmed.trim_start();
            let start = start + (trimmed.len() - text.len());
            if text.starts_with('#') {
                self.comment(text, start)?;
                continue;
            }
            self.done = true;
            if text.is_empty() {
                continue;
            }
            let mut line = Line {
                span: Span::new(start, start),
                comments: std::mem::take(&mut self.comments),
                ..Line::default()
            };
            if self.continued(&mut line, text, start) {
                self.continuations(&mut line);
            }
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Adds a physical line; whether the next one belongs to it.
    fn continued(&mut self, line: &mut Line, text: &str, start: usize) -> bool {
        let escape = self.directives.escape;
        let body = text.trim_end_matches([' ', '\t']);
        // A doubled escape character at the end is an escaped one and continues nothing.
        let rest = body.strip_suffix(escape).filter(|rest| !rest.ends_with(escape));
        let Some(rest) = rest else {
            line.push(text, start);
            return false;
        };
        line.push(rest, start);
        line.span.end = start + body.len();
        if body.len() < text.len() {
            self.warnings.push(Warning {
                span: Span::new(start + body.len(), start + text.len()),
                kind: WarningKind::SpaceAfterEscape,
                message: format!("white space after the line continuation `{escape}`"),
                hint: None,
            });
        }
        true
    }

    fn continuations(&mut self, line: &mut Line) {
        let mut blank = None;
        while let Some((start, raw)) = self.physical() {
            let text = trim_break(raw);
            let body = text.trim_start();
            if body.starts_with('#') {
                continue;
            }
            if body.is_empty() {
                blank.get_or_insert(Span::new(start, start + text.len()));
                continue;
            }
            if !self.continued(line, text, start) {
                break;
            }
        }
        if let Some(span) = blank {
            self.warnings.push(Warning {
                span,
                kind: WarningKind::EmptyContinuation,
                message: format!("empty continuation line in `{}`", clip(line.text.trim())),
                hint: None,
            });
        }
    }

    /// A comment at the outer level: a directive perhaps, else kept for the next instruction.
    fn comment(&mut self, text: &str, start: usize) -> Result<(), ParseError> {
        let body = text.strip_prefix('#').unwrap_or(text);
        if !self.done {
            if start == 0 && body.starts_with('!') {
                self.shebang = true;
                return Ok(());
            }
            if self.directive(body, start + 1)? {
                return Ok(());
            }
            self.done = true;
        }
        let comment = body.trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
        }
        Ok(())
    }

    /// Takes `body` as a directive; whether it is one.
    fn directive(&mut self, body: &str, start: usize) -> Result<bool, ParseError> {
        let Some((name, value)) = body.split_once('=') else { return Ok(false) };
        let name_at = start + (name.len() - name.trim_start().len());
        let name = name.trim();
        let value_at = start + body.len() - value.trim_start().len();
        let value = value.trim();
        let Some(known) = DIRECTIVES.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            return Ok(false);
        };
        if value.is_empty() || (self.shebang && known == "escape") {
            return Ok(false);
        }
        let span = Span::new(name_at, value_at + value.len());
        if self.seen.contains(&known) {
            return Err(self
                .error(span, format!("only one `{known}` parser directive can be used"))
                .with_hint("delete one of them"));
        }
        self.seen.push(known);
        match known {
            "escape" => {
                self.directives.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        return Err(self
                            .error(
                                Span::new(value_at, value_at + value.len()),
                                format!("invalid escape directive `{}`", clip(other)),
                            )
                            .with_hint("use `# escape=\\` or ``# escape=` ``"));
                    }
                };
            }
            "syntax" => {
                // Words after the first are arguments to a frontend that we do not run.
                let image = value.split(' ').next().unwrap_or_default();
                let span = Span::new(value_at, value_at + image.len());
                self.directives.syntax = Some(Spanned::new(image.to_owned(), span));
            }
            _ => {
                let span = Span::new(value_at, value_at + value.len());
                self.directives.check = Some(Spanned::new(value.to_owned(), span));
            }
        }
        Ok(true)
    }

    /// The length of the text.
    pub(super) fn text_len(&self) -> usize {
        self.source.text().len()
    }

    /// Fails where text that counts is in a line that was taken for a comment, and is no UTF-8.
    pub(super) fn check_encoding(&self, span: Span) -> Result<(), ParseError> {
        match self.source.has_replaced(span) {
            true => Err(self.error(span, "this line is not UTF-8").with_hint("save the file as UTF-8")),
            false => Ok(()),
        }
    }

    /// Remembers an instruction, so that an error in the next line can tell whether it was to go on.
    pub(super) fn read(&mut self, keyword: &'static str, span: Span) {
        self.previous = Some((keyword, self.source.lines_of(span).1));
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError { source_file: Arc::clone(self.source), span, message: message.into(), hint: None }
    }
}

/// A physical line without its break.
pub(super) fn trim_break(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}
