//! From a statement to an instruction: one function for each keyword.

mod commands;
mod copy;
mod healthcheck;
mod pairs;
mod run;

use std::ops::Range;

use super::error::{ParseError, clip};
use super::flags::{Flags, Known, Takes};
use super::heredoc::Heredoc;
use super::instruction::{Kind, Onbuild, ShellOrExec, Warning, WarningKind, Word};
use super::line::{Line, Lines};
use super::mount::Fault;
use super::statement::Statement;
use super::suggest;
use super::words::{self, Json};
use crate::source::{Span, Spanned};

/// Every keyword, for "did you mean".
pub(crate) const KEYWORDS: [&str; 18] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "WORKDIR",
    "USER",
    "CMD",
    "ENTRYPOINT",
    "LABEL",
    "EXPOSE",
    "VOLUME",
    "STOPSIGNAL",
    "SHELL",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

const NONE: Known = &[];
const FROM: Known = &[("platform", Takes::Value)];

/// What a `FROM` says.
#[derive(Debug)]
pub(super) struct FromParts {
    pub(super) image: Word,
    pub(super) platform: Option<Word>,
    pub(super) name: Option<Word>,
    pub(super) alias: Option<(Word, Word)>,
}

/// A statement and all that is needed to read it.
pub(super) struct Reader<'r, 's> {
    pub(super) lines: &'r mut Lines<'s>,
    pub(super) line: &'r Line,
    pub(super) statement: &'r Statement,
}

impl Reader<'_, '_> {
    /// Reads a `FROM`.
    pub(super) fn from(&self) -> Result<FromParts, ParseError> {
        let words = self.blank_separated();
        let (name, alias) = match words.as_slice() {
            [_] => (None, None),
            [_, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => {
                (Some(self.stage_name(name)?), Some((keyword.clone(), name.clone())))
            }
            [] => {
                return Err(self
                    .missing("FROM needs an image")
                    .with_hint("write `FROM image` or `FROM scratch`"));
            }
            _ => {
                return Err(self
                    .wrong("FROM takes one or three arguments")
                    .with_hint("write `FROM image` or `FROM image AS name`"));
            }
        };
        let flags = self.flags(FROM)?;
        let image = words.into_iter().next().unwrap_or_default();
        Ok(FromParts { image, platform: flags.value("platform"), name, alias })
    }

    fn stage_name(&self, word: &Word) -> Result<Word, ParseError> {
        let name = word.value.to_lowercase();
        let rest_valid =
            |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || matches!(ch, '-' | '_' | '.');
        if name.starts_with(|ch: char| ch.is_ascii_lowercase()) && name.chars().all(rest_valid) {
            return Ok(Spanned::new(name, word.span));
        }
        Err(self
            .error(word.span, format!("invalid stage name `{}`", clip(&word.value)))
            .with_hint("a stage name starts with a letter and holds letters, digits, `-`, `_` and `.`"))
    }

    /// Reads any other instruction; `heredocs` are those that its line opened.
    pub(super) fn instruction(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        match self.statement.name.as_str() {
            "RUN" => self.run(heredocs),
            "COPY" => self.copy(heredocs),
            "ADD" => self.add(heredocs),
            "ENV" => Ok(Kind::Env(self.pairs()?)),
            "LABEL" => Ok(Kind::Label(self.pairs()?)),
            "ARG" => self.arg(),
            "WORKDIR" => Ok(Kind::Workdir(self.text("WORKDIR needs a path")?)),
            "USER" => Ok(Kind::User(self.text("USER needs a user")?)),
            "STOPSIGNAL" => Ok(Kind::Stopsignal(self.text("STOPSIGNAL needs a signal")?)),
            "MAINTAINER" => Ok(Kind::Maintainer(self.text("MAINTAINER needs a name")?)),
            "CMD" => {
                self.flags(NONE)?;
                Ok(Kind::Cmd(self.command(&self.statement.args.clone())?))
            }
            "ENTRYPOINT" => {
                self.flags(NONE)?;
                Ok(Kind::Entrypoint(self.command(&self.statement.args.clone())?))
            }
            "EXPOSE" => {
                self.flags(NONE)?;
                let ports = self.blank_separated();
                if ports.is_empty() {
                    return Err(self.missing("EXPOSE needs a port").with_hint("write `EXPOSE 8080/tcp`"));
                }
                Ok(Kind::Expose(ports))
            }
            "VOLUME" => self.volume(),
            "SHELL" => self.shell(),
            "HEALTHCHECK" => self.healthcheck(),
            _ => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> ParseError {
        let typed = self.line.slice(&self.statement.keyword);
        let span = self.line.locate(&self.statement.keyword);
        let error = self.error(span, format!("unknown instruction `{}`", clip(typed)));
        error.maybe_hint(match commands::is_command(typed) {
            true => Some(self.continued_or_run(typed)),
            false => self.continued_pairs(typed).or_else(|| suggest::did_you_mean(typed, KEYWORDS)),
        })
    }

    /// For a command without RUN: most often the `\` at the end of the line before is missing.
    fn continued_or_run(&self, typed: &str) -> String {
        let typed = clip(typed);
        match self.lines.previous {
            Some(("RUN", line)) => format!(
                "does it belong to the RUN before? Then line {line} ends with `&& \\` or `\\`; else write `RUN {typed} …`"
            ),
            _ => format!("`{typed}` is a command: write `RUN {typed} …`"),
        }
    }

    fn continued_pairs(&self, typed: &str) -> Option<String> {
        let (keyword @ ("ENV" | "LABEL" | "ARG"), line) = self.lines.previous? else { return None };
        let pair = typed.contains('=');
        pair.then(|| format!("does it belong to the {keyword} before? Then line {line} ends with `\\`"))
    }

    fn volume(&mut self) -> Result<Kind, ParseError> {
        self.flags(NONE)?;
        let mut paths = self.list()?;
        if paths.is_empty() {
            return Err(self.missing("VOLUME needs a path"));
        }
        for path in &mut paths {
            path.value = path.value.trim().to_owned();
            if path.value.is_empty() {
                return Err(self.error(path.span, "a path of VOLUME cannot be empty"));
            }
        }
        Ok(Kind::Volume(paths))
    }

    fn shell(&mut self) -> Result<Kind, ParseError> {
        self.flags(NONE)?;
        let example = "write `SHELL [\"/bin/sh\", \"-c\"]`";
        match self.command(&self.statement.args.clone())? {
            ShellOrExec::Exec(arguments) if !arguments.is_empty() => Ok(Kind::Shell(arguments)),
            ShellOrExec::Shell(text) if !text.value.is_empty() => {
                Err(self.error(text.span, "SHELL needs a JSON array of strings").with_hint(example))
            }
            _ => Err(self.missing("SHELL needs at least one argument").with_hint(example)),
        }
    }

    /// Reads the trigger of an ONBUILD, which has been read as `inner` already.
    pub(super) fn onbuild(&mut self, inner: &Statement, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        self.flags(NONE)?;
        let trigger_span = self.line.locate(&inner.range);
        let keyword = inner.name.as_str();
        match keyword {
            "" => return Err(self.missing("ONBUILD needs an instruction")),
            "ONBUILD" | "FROM" | "MAINTAINER" => {
                return Err(self.error(trigger_span, format!("{keyword} cannot be a trigger of ONBUILD")));
            }
            _ => {}
        }
        let mut text = self.line.slice(&inner.range).to_owned();
        for heredoc in &heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        let kind = Reader { lines: self.lines, line: self.line, statement: inner }.instruction(heredocs)?;
        Ok(Kind::Onbuild(Onbuild { trigger: Spanned::new(text, trigger_span), keyword: kind.keyword() }))
    }

    // What the functions above have in common.

    fn flags(&self, known: Known) -> Result<Flags, ParseError> {
        Flags::read(self.lines, self.line, &self.statement.name, &self.statement.flags, known)
    }

    /// The arguments as one text.
    fn text(&self, missing: &str) -> Result<Word, ParseError> {
        self.flags(NONE)?;
        if self.statement.args.is_empty() {
            return Err(self.missing(missing));
        }
        Ok(self.line.word(&self.statement.args))
    }

    fn blank_separated(&self) -> Vec<Word> {
        let ranges = words::blank_separated(self.line, &self.statement.args);
        ranges.iter().map(|range| self.line.word(range)).collect()
    }

    /// The arguments as a JSON array, or between blanks.
    fn list(&mut self) -> Result<Vec<Word>, ParseError> {
        match words::json(self.line, &self.statement.args) {
            Json::Strings(strings) => Ok(strings),
            Json::OtherValues => Err(self.not_strings(&self.statement.args)),
            Json::No => {
                self.warn_if_json(&self.statement.args.clone());
                Ok(self.blank_separated())
            }
        }
    }

    /// A range as a JSON array, or as text for the shell.
    fn command(&mut self, range: &Range<usize>) -> Result<ShellOrExec, ParseError> {
        match words::json(self.line, range) {
            Json::Strings(strings) => {
                Ok(ShellOrExec::Exec(strings.into_iter().map(|string| string.value).collect()))
            }
            Json::OtherValues => Err(self.not_strings(range)),
            Json::No => {
                self.warn_if_json(range);
                Ok(ShellOrExec::Shell(self.line.word(range)))
            }
        }
    }

    fn not_strings(&self, range: &Range<usize>) -> ParseError {
        self.error(self.line.locate(range), "a JSON array here holds strings only")
            .with_hint("put double quotes around every element")
    }

    /// Warns of text that was meant as JSON: `['a', 'b']`, `["a" "b"]`.
    fn warn_if_json(&mut self, range: &Range<usize>) {
        let text = self.line.slice(range);
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if inner.is_some_and(|inner| inner.trim_start().starts_with(['"', '\''])) {
            let message = format!("`{}` is no JSON array and is taken as plain text", clip(text));
            let hint = match words::with_doubled_backslashes(text) {
                Some(json) => format!("in JSON each `\\` is written twice: `{}`", clip(&json)),
                None => "put double quotes around each word, and commas between them".to_owned(),
            };
            self.warn(self.line.locate(range), WarningKind::JsonFallback, message, Some(hint));
        }
    }

    fn warn(&mut self, span: Span, kind: WarningKind, message: String, hint: Option<String>) {
        self.lines.warnings.push(Warning { span, kind, message, hint });
    }

    fn fault(&self, flag: &str, word: &Word, Fault(message, hint): Fault) -> ParseError {
        self.error(word.span, format!("`{flag}={}`: {message}", clip(&word.value))).maybe_hint(hint)
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        self.lines.error(span, message)
    }

    /// An error that points at the keyword, for what is not there.
    fn missing(&self, message: impl Into<String>) -> ParseError {
        self.error(self.line.locate(&self.statement.keyword), message)
    }

    /// An error that points at the whole statement.
    fn wrong(&self, message: impl Into<String>) -> ParseError {
        self.error(self.line.locate(&self.statement.range), message)
    }
}
