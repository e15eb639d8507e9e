//! The scanner behind [`super::Expander`].

use std::iter::Peekable;
use std::str::CharIndices;

use super::pattern;
use super::{ExpandError, Expanded, Expander, Lookup, MAX_DEPTH, MAX_WORK, Quotes};

pub(super) struct Lexer<'a> {
    expander: Expander,
    input: &'a str,
    chars: Peekable<CharIndices<'a>>,
    lookup: Lookup<'a>,
    depth: usize,
    raw_escapes: bool,
    /// Bytes of values and of work on them so far.
    work: usize,
    result: Expanded,
}

/// Text as it grows, whole and in words.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    starts: Vec<usize>,
    word: String,
    start: usize,
}

impl Output {
    /// Adds text that does not split.
    fn raw(&mut self, text: &str, at: usize) {
        if self.word.is_empty() {
            self.start = at;
        }
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn raw_char(&mut self, ch: char, at: usize) {
        self.raw(ch.encode_utf8(&mut [0; 4]), at);
    }

    /// Adds text that splits at white space.
    fn splitting(&mut self, text: &str, at: usize) {
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            self.raw(word, at);
            if word.len() < piece.len() {
                self.text.push_str(piece.get(word.len()..).unwrap_or_default());
                self.end_word();
            }
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.starts.push(self.start);
        }
    }
}

impl<'a> Lexer<'a> {
    pub(super) fn new(expander: Expander, input: &'a str, lookup: Lookup<'a>) -> Self {
        Self {
            expander,
            input,
            chars: input.char_indices().peekable(),
            lookup,
            depth: 0,
            raw_escapes: expander.raw_escapes,
            work: 0,
            result: Expanded::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Expanded, ExpandError> {
        let output = self.until(None)?;
        self.result.text = output.text;
        self.result.words = output.words;
        self.result.starts = output.starts;
        Ok(self.result)
    }

    fn check_length(&self, length: usize) -> Result<(), ExpandError> {
        // What is written there without variables is as long as its author wants it.
        let most = self.expander.most.max(self.input.len());
        if length > most { Err(ExpandError::TooLong(most)) } else { Ok(()) }
    }

    fn work(&mut self, bytes: usize) -> Result<(), ExpandError> {
        self.work = self.work.saturating_add(bytes);
        if self.work > MAX_WORK { Err(ExpandError::TooMuchWork) } else { Ok(()) }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|&(_, ch)| ch)
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, ch)| ch)
    }

    fn position(&mut self) -> usize {
        self.chars.peek().map_or(self.input.len(), |&(at, _)| at)
    }

    /// The text up to `stop`, which is consumed, or up to the end.
    fn until(&mut self, stop: Option<char>) -> Result<Output, ExpandError> {
        let mut out = Output::default();
        loop {
            self.check_length(out.text.len())?;
            let at = self.position();
            let Some(ch) = self.peek() else {
                if stop.is_some() {
                    return Err(ExpandError::MissingBrace);
                }
                break;
            };
            if stop == Some(ch) {
                self.next();
                break;
            }
            let quotes = self.expander.quotes != Quotes::Ignore;
            match ch {
                '$' => {
                    let value = self.dollar()?;
                    out.splitting(&value, at);
                }
                '\'' if quotes => {
                    let text = self.single_quoted()?;
                    out.raw(&text, at);
                }
                '"' if quotes => {
                    let text = self.double_quoted()?;
                    out.raw(&text, at);
                }
                '<' => {
                    let text = self.possible_heredoc();
                    out.raw(&text, at);
                }
                _ if ch == self.expander.escape => {
                    self.next();
                    if self.raw_escapes {
                        out.raw_char(ch, at);
                    }
                    // At the very end an escape character is nothing.
                    if let Some(escaped) = self.next() {
                        out.raw_char(escaped, at);
                    }
                }
                _ => {
                    self.next();
                    out.splitting(ch.encode_utf8(&mut [0; 4]), at);
                }
            }
        }
        out.end_word();
        Ok(out)
    }

    /// A nested part of `${…}`.
    fn nested(&mut self, stop: char, raw_escapes: bool) -> Result<String, ExpandError> {
        if self.depth >= MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        self.depth += 1;
        let output = self.until(Some(stop));
        self.depth -= 1;
        self.raw_escapes = outer;
        Ok(output?.text)
    }

    /// `<<` and the white space after it belong to one word: a heredoc's delimiter may stand apart.
    fn possible_heredoc(&mut self) -> String {
        self.next();
        let mut text = String::from("<");
        if self.peek() == Some('<') {
            self.next();
            text.push('<');
            while let Some(space) = self.peek().filter(|ch| ch.is_whitespace()) {
                self.next();
                text.push(space);
            }
        }
        text
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.next();
        let keep = self.expander.quotes == Quotes::Keep;
        let mut text = String::from(if keep { "'" } else { "" });
        loop {
            match self.next() {
                None => return Err(ExpandError::UnterminatedQuote('\'')),
                Some('\'') => break,
                Some(ch) => text.push(ch),
            }
        }
        if keep {
            text.push('\'');
        }
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        self.next();
        let keep = self.expander.quotes == Quotes::Keep;
        let mut text = String::from(if keep { "\"" } else { "" });
        loop {
            self.check_length(text.len())?;
            match self.peek() {
                None => return Err(ExpandError::UnterminatedQuote('"')),
                Some('"') => {
                    self.next();
                    break;
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(ch) => {
                    self.next();
                    if ch == self.expander.escape {
                        match self.peek() {
                            None => continue,
                            Some(next) if matches!(next, '"' | '$') || next == self.expander.escape => {
                                if self.raw_escapes {
                                    text.push(ch);
                                }
                                self.next();
                                text.push(next);
                                continue;
                            }
                            Some(_) => {}
                        }
                    }
                    text.push(ch);
                }
            }
        }
        if keep {
            text.push('"');
        }
        Ok(text)
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name)? {
                None if self.expander.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(match self.get(&name)? {
                None if self.expander.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => match self.next() {
                Some(operator) => self.modified(&name, true, operator),
                None => Err(ExpandError::MissingBrace),
            },
            Some(operator @ ('+' | '-' | '?' | '#' | '%')) => self.modified(&name, false, operator),
            Some('/') => self.replaced(&name),
            Some(other) => Err(ExpandError::UnsupportedModifier { name, modifier: other.to_string() }),
            None => Err(ExpandError::MissingBrace),
        }
    }

    /// `${name:-word}` and its like, after the operator.
    fn modified(&mut self, name: &str, colon: bool, operator: char) -> Result<String, ExpandError> {
        let word = self.nested('}', matches!(operator, '#' | '%'))?;
        let modifier = if colon { format!(":{operator}") } else { operator.to_string() };
        let value = self.get(name)?;
        if value.is_none() && self.expander.keep_unset {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        // With a colon an empty value counts as none.
        let missing = value.as_ref().is_none_or(|value| colon && value.is_empty());
        let required = |fallback: &str| ExpandError::Required {
            name: name.to_owned(),
            message: if word.is_empty() { fallback.to_owned() } else { word.clone() },
        };
        match operator {
            '-' if missing => Ok(word),
            '+' => Ok(if missing { String::new() } else { word }),
            '?' if value.is_none() => Err(required("is not allowed to be unset")),
            '?' if missing => Err(required("is not allowed to be empty")),
            '-' | '?' => Ok(value.unwrap_or_default()),
            '#' | '%' => {
                let value = value.unwrap_or_default();
                self.work(word.len().saturating_mul(value.len()))?;
                let (pattern, longest) =
                    word.strip_prefix(operator).map_or((word.as_str(), false), |rest| (rest, true));
                if operator == '#' {
                    pattern::trim_prefix(pattern, &value, longest)
                } else {
                    pattern::trim_suffix(pattern, &value, longest)
                }
            }
            _ => Err(ExpandError::UnsupportedModifier { name: name.to_owned(), modifier }),
        }
    }

    /// `${name/pattern/replacement}`, after the first slash.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.nested('/', true).map_err(|error| match error {
            ExpandError::MissingBrace => ExpandError::MissingSlash,
            other => other,
        })?;
        let replacement = self.nested('}', true)?;
        match self.get(name)? {
            None if self.expander.keep_unset => Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => {
                let value = value.unwrap_or_default();
                self.work(pattern.len().saturating_mul(value.len()))?;
                pattern::replace(&pattern, &value, &replacement, all, self.expander.most)
            }
        }
    }

    /// A variable's name; digits alone, or one of the shell's special characters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(first) if first.is_numeric() => {
                while let Some(digit) = self.peek().filter(|ch| ch.is_numeric()) {
                    self.next();
                    name.push(digit);
                }
            }
            Some(special @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.next();
                name.push(special);
            }
            _ => {
                while let Some(ch) = self.peek().filter(|&ch| ch.is_alphanumeric() || ch == '_') {
                    self.next();
                    name.push(ch);
                }
            }
        }
        name
    }

    fn get(&mut self, name: &str) -> Result<Option<String>, ExpandError> {
        let value = (self.lookup)(name);
        self.work(name.len() + value.as_ref().map_or(0, String::len))?;
        let set = if value.is_some() { &mut self.result.used } else { &mut self.result.unset };
        if !set.contains(name) {
            set.insert(name.to_owned());
        }
        Ok(value)
    }
}
