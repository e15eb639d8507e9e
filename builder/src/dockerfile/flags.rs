//! The `--flags` of an instruction.

use super::error::{ParseError, clip};
use super::instruction::Word;
use super::line::{Line, Lines};
use super::words::RawFlag;
use crate::source::{Span, Spanned};

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `=true` or `=false`.
    Bool,
    /// One value, once.
    Value,
    /// One value, any number of times.
    Values,
}

/// The flags that an instruction knows, by name without dashes.
pub(super) type Known = &'static [(&'static str, Takes)];

/// The flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<(&'static str, Word, Span)>,
}

impl Flags {
    /// Checks the flags of `instruction`.
    pub(super) fn read(
        lines: &Lines<'_>,
        line: &Line,
        instruction: &str,
        raw: &[RawFlag],
        known: Known,
    ) -> Result<Self, ParseError> {
        let mut flags = Self::default();
        for flag in raw {
            let span = line.locate(&flag.range);
            if let Some(quote) = flag.open {
                return Err(lines
                    .error(span, format!("a `{quote}` in a flag of {instruction} has no end"))
                    .with_hint(format!("close it, or write `\\{quote}`")));
            }
            let text = flag.text.strip_prefix("--").unwrap_or(&flag.text);
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let Some(&(name, takes)) = known.iter().find(|(known, _)| *known == name) else {
                let message = format!("unknown flag `--{}` for {instruction}", clip(name));
                let error = lines.error(span, message).maybe_hint(known_flags(instruction, known));
                let near = super::suggest::did_you_mean(name, known.iter().map(|(known, _)| *known));
                return Err(error.maybe_hint(near.map(|hint| hint.replacen('`', "`--", 1))));
            };
            if takes != Takes::Values && flags.given.iter().any(|(given, ..)| *given == name) {
                return Err(lines.error(span, format!("flag `--{name}` is given twice")));
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true",
                (_, None) => {
                    return Err(lines
                        .error(span, format!("flag `--{name}` lacks its value"))
                        .with_hint(format!("write `--{name}=…`, without white space")));
                }
                (Takes::Bool, Some(value)) if !is_bool(value) => {
                    return Err(lines
                        .error(span, format!("flag `--{name}` is on or off, not `{}`", clip(value)))
                        .with_hint(format!("write `--{name}` or `--{name}=false`")));
                }
                (_, Some(value)) => value,
            };
            // Quotes and escapes take bytes of their own; then the whole flag is the best place there is.
            let exact = span.end - span.start == flag.text.len();
            let place =
                if exact { Span::new(span.end - value.len().min(flag.text.len()), span.end) } else { span };
            flags.given.push((name, Spanned::new(value.to_owned(), place), span));
        }
        Ok(flags)
    }

    /// The value of a flag; an empty one counts as none.
    pub(super) fn value(&self, name: &str) -> Option<Word> {
        self.values(name).find(|word| !word.value.is_empty())
    }

    /// All values of a flag, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = Word> {
        self.given.iter().filter(move |(given, ..)| *given == name).map(|(_, word, _)| word.clone())
    }

    /// Whether a flag is given and on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.on_or_off(name) == Some(true)
    }

    /// Whether a flag is on or off, if it is given.
    pub(super) fn on_or_off(&self, name: &str) -> Option<bool> {
        self.values(name).next().map(|word| word.value.eq_ignore_ascii_case("true"))
    }
}

fn is_bool(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

fn known_flags(instruction: &str, known: Known) -> Option<String> {
    if known.is_empty() {
        return Some(format!("{instruction} has no flags; put `--` before words that start with dashes"));
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("`--{name}`")).collect();
    Some(format!("{instruction} has {}", names.join(", ")))
}
