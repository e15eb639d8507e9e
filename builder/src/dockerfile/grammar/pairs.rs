//! ENV, LABEL and ARG: names and values.

use std::ops::Range;

use super::{NONE, Reader};
use crate::dockerfile::error::{ParseError, clip};
use crate::dockerfile::instruction::{ArgDecl, Kind, Word};
use crate::dockerfile::words;

impl Reader<'_, '_> {
    /// `name=value …`, or the old `name the rest`.
    pub(super) fn pairs(&self) -> Result<Vec<(Word, Word)>, ParseError> {
        self.flags(NONE)?;
        let keyword = &self.statement.name;
        let words = words::quoted(self.line, &self.statement.args, self.lines.directives.escape);
        let Some(head) = words.first() else {
            return Err(self
                .missing(format!("{keyword} needs a name and a value"))
                .with_hint(format!("write `{keyword} name=value`")));
        };
        if !self.line.slice(head).contains('=') {
            let (name, rest) = words::first(self.line, &self.statement.args);
            if rest.is_empty() {
                return Err(self
                    .wrong(format!("{keyword} needs a value for `{}`", clip(self.line.slice(&name))))
                    .with_hint(format!("write `{keyword} name=value`")));
            }
            return Ok(vec![(self.line.word(&name), self.line.word(&rest))]);
        }
        words.iter().map(|word| self.pair(word)).collect()
    }

    fn pair(&self, word: &Range<usize>) -> Result<(Word, Word), ParseError> {
        let keyword = &self.statement.name;
        let text = self.line.slice(word);
        let Some(equals) = text.find('=') else {
            return Err(self
                .error(self.line.locate(word), format!("`{}` has no `=`", clip(text)))
                .with_hint("put quotes around a value that holds white space"));
        };
        if equals == 0 {
            let span = self.line.locate(word);
            return Err(self.error(span, format!("a name of {keyword} cannot be blank")));
        }
        let at = word.start + equals;
        Ok((self.line.word(&(word.start..at)), self.line.word(&(at + 1..word.end))))
    }

    pub(super) fn arg(&self) -> Result<Kind, ParseError> {
        self.flags(NONE)?;
        let words = words::quoted(self.line, &self.statement.args, self.lines.directives.escape);
        if words.is_empty() {
            return Err(self.missing("ARG needs a name").with_hint("write `ARG name` or `ARG name=default`"));
        }
        let mut declarations = Vec::with_capacity(words.len());
        for word in words {
            let (name, default) = if self.line.slice(&word).contains('=') {
                let (name, default) = self.pair(&word)?;
                (name, Some(default))
            } else {
                (self.line.word(&word), None)
            };
            let doc = self.line.comments.iter().find_map(|comment| {
                comment.strip_prefix(name.value.as_str())?.strip_prefix(' ').map(str::to_owned)
            });
            declarations.push(ArgDecl { name, default, doc });
        }
        Ok(Kind::Arg(declarations))
    }
}
