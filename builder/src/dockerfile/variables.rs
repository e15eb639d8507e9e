//! Quotes, escapes and variables: from a raw word to its value.
//!
//! The language is the one of BuildKit's `shell.Lex`, a small part of what a shell knows: `$x`, `${x}`,
//! `${x:-w}`, `${x-w}`, `${x:+w}`, `${x+w}`, `${x:?w}`, `${x?w}`, `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`,
//! `${x/p/r}`, `${x//p/r}`, where `w`, `p` and `r` may hold further variables. Single quotes keep everything;
//! double quotes keep all but variables and escaped `"`, `$` and escape characters; outside of quotes the
//! escape character keeps the next one. In a pattern `*` and `?` are wildcards and a backslash takes that away.
//!
//! One difference: in `${x//p/r}` a `$` that came out of a variable is text, where BuildKit takes it for the
//! number of a group that does not exist and drops it.

mod lexer;
mod pattern;

use std::collections::BTreeSet;

use self::lexer::Lexer;

/// Looks up the value of a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The most bytes that a word of an instruction may expand to: 1 MiB.
pub const MAX_WORD: usize = 1 << 20;

/// The most bytes that a file written in the Dockerfile may expand to: 16 MiB.
pub const MAX_FILE: usize = 16 << 20;

/// The most bytes that the value of an ENV or ARG may have: 128 KiB. Linux gives no process a longer one.
pub const MAX_VALUE: usize = 128 << 10;

/// The most bytes of values that one expansion may look at: `${x:+}` gives nothing, and reads all of `x`.
pub(super) const MAX_WORK: usize = 64 << 20;

/// How deep `${x:-${y:-…}}` may nest.
pub const MAX_DEPTH: usize = 100;

/// What a word expanded to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole as one text.
    pub text: String,
    /// The same split at white space that is neither quoted nor escaped; the values of variables split too.
    pub words: Vec<String>,
    /// The variables that were asked for and found.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and not found.
    pub unset: BTreeSet<String>,
    /// Where in the input each of `words` starts, in bytes.
    pub(super) starts: Vec<usize>,
}

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is open at the end.
    #[error("a {} quote has no end", if *.0 == '"' { "double" } else { "single" })]
    UnterminatedQuote(char),
    /// A `${` without `}`.
    #[error("`${{` has no matching `}}`")]
    MissingBrace,
    /// A `${x/p` without the second `/`.
    #[error("`${{name/pattern/replacement}}` lacks its second `/`")]
    MissingSlash,
    /// `${}` and the like.
    #[error("bad substitution: `${{` needs a name")]
    BadSubstitution,
    /// An operator that does not exist.
    #[error("unsupported modifier `{modifier}` in the substitution of `{name}`")]
    UnsupportedModifier {
        /// The variable.
        name: String,
        /// The operator.
        modifier: String,
    },
    /// `${x?w}` where `x` is not set, or `${x:?w}` where it is empty.
    #[error("`{name}`: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the Dockerfile says about it, or a default.
        message: String,
    },
    /// A pattern that is none.
    #[error("invalid pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Longer than [`MAX_WORD`] or [`MAX_FILE`].
    #[error("the text would be longer than {0} bytes once its variables are put in")]
    TooLong(usize),
    /// More than [`MAX_WORK`] for variables or a pattern.
    #[error("putting in the variables takes too much work: they are too long, or too many")]
    TooMuchWork,
}

impl ExpandError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnterminatedQuote(quote) => {
                Some(format!("close the quote, or put the escape character before the `{quote}`"))
            }
            Self::MissingBrace => Some("close it with `}`, or write `\\${` for the text itself".to_owned()),
            Self::MissingSlash => {
                Some("write `${name/pattern/}` to delete what the pattern matches".to_owned())
            }
            Self::BadSubstitution => Some("write `\\${` for the text itself".to_owned()),
            Self::UnsupportedModifier { .. } => {
                Some("these exist: `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`".to_owned())
            }
            Self::Required { name, .. } => Some(format!("give it a value: `--build-arg {name}=…`")),
            Self::Pattern { .. } => {
                Some("a backslash may stand before `*`, `?`, `\\`, `/` and `}`".to_owned())
            }
            Self::TooDeep | Self::TooMuchWork => None,
            Self::TooLong(_) => Some(
                "does a variable hold itself twice, as in `ENV a=$a$a`? Long text belongs into a file: COPY it".to_owned(),
            ),
        }
    }
}

/// How to expand: what becomes of quotes, escapes and variables without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expander {
    pub(super) escape: char,
    pub(super) quotes: Quotes,
    pub(super) raw_escapes: bool,
    pub(super) keep_unset: bool,
    pub(super) most: usize,
}

/// What becomes of quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// They quote and go away.
    Remove,
    /// They quote and stay.
    Keep,
    /// They are characters like any other.
    Ignore,
}

impl Expander {
    /// For the words of instructions: quotes and escapes go away, a variable without a value is empty.
    pub fn new(escape: char) -> Self {
        Self { escape, quotes: Quotes::Remove, raw_escapes: false, keep_unset: false, most: MAX_WORD }
    }

    /// For the content of a COPY's or ADD's heredoc: quotes are text, a backslash escapes whatever the escape
    /// directive says.
    pub fn heredoc() -> Self {
        Self { escape: '\\', quotes: Quotes::Ignore, raw_escapes: false, keep_unset: false, most: MAX_FILE }
    }

    /// Expands `word`.
    ///
    /// # Errors
    /// When quotes or braces do not match, for an unknown operator, a bad pattern, a required variable without
    /// value, and beyond [`MAX_DEPTH`], [`MAX_WORD`] and [`MAX_FILE`].
    pub fn expand(&self, word: &str, lookup: Lookup<'_>) -> Result<Expanded, ExpandError> {
        Lexer::new(*self, word, lookup).run()
    }
}

/// Expands `word` to one text, as for ENV, COPY, WORKDIR and the like.
///
/// # Errors
/// As [`Expander::expand`].
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, ExpandError> {
    Ok(Expander::new(escape).expand(word, lookup)?.text)
}

/// Expands `word` to any number of words, as for EXPOSE.
///
/// # Errors
/// As [`Expander::expand`].
pub fn expand_words(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, ExpandError> {
    Ok(Expander::new(escape).expand(word, lookup)?.words)
}

#[cfg(test)]
mod tests;
