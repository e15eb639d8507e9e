//! The ways in which an instruction's arguments split into words.
//!
//! All work on a range of a [`Line`] and give ranges of it, so that each word knows its place.

use std::ops::Range;

use super::line::Line;
use crate::source::Spanned;

/// White space that separates arguments: not all of Unicode's.
pub(super) fn is_blank(ch: char) -> bool {
    matches!(ch, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r')
}

/// The range without white space at its ends.
pub(super) fn trim(line: &Line, range: &Range<usize>) -> Range<usize> {
    let text = line.slice(range);
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// The first word of the range, and what follows the blanks after it.
pub(super) fn first(line: &Line, range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let text = line.slice(range);
    let end = text.find(is_blank).unwrap_or(text.len());
    let rest = text.get(end..).unwrap_or_default();
    let next = range.start + end + (rest.len() - rest.trim_start_matches(is_blank).len());
    (range.start..range.start + end, next..range.end.max(next))
}

/// Words between blanks; quotes mean nothing.
pub(super) fn blank_separated(line: &Line, range: &Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut rest = trim(line, range);
    while !rest.is_empty() {
        let (word, next) = first(line, &rest);
        words.push(word);
        rest = next;
    }
    words
}

/// Words between white space outside of quotes; quotes and escapes stay in them.
pub(super) fn quoted(line: &Line, range: &Range<usize>, escape: char) -> Vec<Range<usize>> {
    let text = line.slice(range);
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, ch)) = chars.next() {
        match quote {
            None if ch.is_whitespace() => {
                words.extend(start.take().map(|start| start..at));
                continue;
            }
            None if ch == '\'' || ch == '"' => quote = Some(ch),
            Some(open) if open == ch => quote = None,
            _ => {}
        }
        start.get_or_insert(at);
        // In single quotes nothing is escaped.
        if ch == escape && quote != Some('\'') && chars.next().is_none() {
            // At the very end it is nothing.
            end = at;
        }
    }
    words.extend(start.filter(|&start| start < end).map(|start| start..end));
    words.into_iter().map(|word| range.start + word.start..range.start + word.end).collect()
}

/// What a text that may be a JSON array is.
#[derive(Debug)]
pub(super) enum Json {
    /// An array of strings.
    Strings(Vec<Spanned<String>>),
    /// An array that holds something else.
    OtherValues,
    /// No JSON array at all.
    No,
}

/// Reads the range as a JSON array of strings.
pub(super) fn json(line: &Line, range: &Range<usize>) -> Json {
    let range = trim(line, range);
    let text = line.slice(&range);
    if !text.starts_with('[') {
        return Json::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Json::No };
    let mut places = string_places(text);
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        let serde_json::Value::String(string) = value else { return Json::OtherValues };
        let place = places.next().unwrap_or(0..0);
        let place = range.start + place.start..range.start + place.end;
        strings.push(Spanned::new(string, line.locate(&place)));
    }
    Json::Strings(strings)
}

/// A text that is no JSON array of strings, made one by writing each single backslash twice: what was meant by
/// `["C:\app\"]`.
pub(super) fn with_doubled_backslashes(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(ch) = chars.next() {
        out.push(ch);
        if ch == '\\' {
            out.push('\\');
            chars.next_if_eq(&'\\');
        }
    }
    (out != text && serde_json::from_str::<Vec<String>>(&out).is_ok()).then_some(out)
}

/// The ranges of the string literals, quotes included, of valid JSON without nested strings.
fn string_places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut bytes = text.bytes().enumerate();
    std::iter::from_fn(move || {
        let start = bytes.find(|&(_, byte)| byte == b'"')?.0;
        loop {
            match bytes.next()? {
                (_, b'\\') => {
                    bytes.next();
                }
                (end, b'"') => return Some(start..end + 1),
                _ => {}
            }
        }
    })
}

/// A `--flag` as written.
#[derive(Debug)]
pub(super) struct RawFlag {
    /// All of it, quotes and escapes undone.
    pub(super) text: String,
    /// Where it stands.
    pub(super) range: Range<usize>,
    /// The quote in it that has no end.
    pub(super) open: Option<char>,
}

/// The `--flags` at the start of the range, and the rest of it.
///
/// Quotes of either kind group, and a backslash (never the escape directive's character) escapes in and out
/// of them. Where that directive makes the backslash a plain character, here it escapes only quotes and
/// itself, so that `target=C:\cache` is what it says. `--` alone ends the flags.
pub(super) fn flags(line: &Line, range: &Range<usize>, escape: char) -> (Vec<RawFlag>, Range<usize>) {
    let mut found = Vec::new();
    let mut at = range.start;
    loop {
        let rest = line.slice(&(at..range.end));
        let word = rest.trim_start();
        at += rest.len() - word.len();
        if !word.starts_with("--") {
            return (found, at..range.end);
        }
        let mut text = String::new();
        let mut quote = None;
        let mut chars = word.char_indices().peekable();
        let end = loop {
            let Some((position, ch)) = chars.next() else { break word.len() };
            let next = chars.peek().map(|&(_, next)| next);
            match quote {
                None if ch.is_whitespace() => break position,
                None if ch == '\'' || ch == '"' => quote = Some(ch),
                Some(open) if open == ch => quote = None,
                _ if ch == '\\' && (escape == '\\' || matches!(next, Some('\\' | '"' | '\''))) => {
                    text.extend(chars.next().map(|(_, escaped)| escaped))
                }
                _ => text.push(ch),
            }
        };
        let flag = at..at + end;
        at = flag.end;
        if text == "--" {
            return (found, at..range.end);
        }
        found.push(RawFlag { text, range: flag, open: quote });
    }
}
