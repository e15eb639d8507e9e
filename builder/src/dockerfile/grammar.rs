//! From a statement to an instruction: one function for each keyword.

use std::ops::Range;

use super::error::{ParseError, clip};
use super::flags::{Flags, Known, Takes};
use super::heredoc::Heredoc;
use super::instruction::{
    Add, ArgDecl, Copy, Device, Healthcheck, Kind, Run, RunNetwork, RunSecurity, ShellOrExec, WarningKind,
    Word,
};
use super::instruction::{Onbuild, Warning};
use super::line::{Line, Lines};
use super::mount::{self, Fault, MountFlag};
use super::statement::Statement;
use super::words::{self, Json};
use super::{duration, suggest};
use crate::source::{Span, Spanned};

/// Every keyword, for "did you mean".
pub(super) const KEYWORDS: [&str; 18] = [
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
const RUN: Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];
const COPY: Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Values),
];
const ADD: Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("checksum", Takes::Value),
    ("keep-git-dir", Takes::Bool),
    ("unpack", Takes::Bool),
    ("exclude", Takes::Values),
];
const HEALTHCHECK: Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// What a `FROM` says.
#[derive(Debug)]
pub(super) struct FromParts {
    pub(super) image: Word,
    pub(super) platform: Option<Word>,
    pub(super) name: Option<Word>,
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
        let name = match words.as_slice() {
            [_] => None,
            [_, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => Some(self.stage_name(name)?),
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
        Ok(FromParts { image, platform: flags.value("platform"), name })
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
        error.maybe_hint(suggest::did_you_mean(typed, KEYWORDS))
    }

    fn run(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(RUN)?;
        let mut mounts = Vec::new();
        for word in flags.values("mount") {
            let from = mount::from_field(&word.value).map_err(|fault| self.fault("--mount", &word, fault))?;
            let from = from.map(|from| Spanned::new(from, word.span));
            mounts.push(MountFlag { span: word.span, raw: word.value, from });
        }
        let network = match flags.value("network") {
            Some(word) => Some(self.one_of(
                "network",
                word,
                &[("default", RunNetwork::Default), ("none", RunNetwork::None), ("host", RunNetwork::Host)],
            )?),
            None => None,
        };
        let security = match flags.value("security") {
            Some(word) => Some(self.one_of(
                "security",
                word,
                &[("sandbox", RunSecurity::Sandbox), ("insecure", RunSecurity::Insecure)],
            )?),
            None => None,
        };
        let mut devices = Vec::new();
        for word in flags.values("device") {
            let device = device(&word.value).map_err(|fault| self.fault("--device", &word, fault))?;
            devices.push(Spanned::new(device, word.span));
        }
        let command = self.command(&self.statement.args.clone())?;
        match &command {
            ShellOrExec::Exec(arguments) if arguments.is_empty() => {
                return Err(self
                    .missing("RUN needs a command")
                    .with_hint("write `RUN [\"program\", \"argument\"]`"));
            }
            ShellOrExec::Shell(text) if text.value.is_empty() => {
                let span = self.line.locate(&self.statement.keyword);
                self.warn(span, WarningKind::EmptyRun, "RUN without a command".to_owned());
            }
            _ => {}
        }
        Ok(Kind::Run(Run { mounts, network, security, devices, command, heredocs }))
    }

    fn one_of<T: std::marker::Copy>(
        &self,
        flag: &str,
        word: Word,
        known: &[(&'static str, T)],
    ) -> Result<Spanned<T>, ParseError> {
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == word.value) {
            return Ok(Spanned::new(*value, word.span));
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let hint = suggest::did_you_mean(&word.value, names.iter().copied())
            .unwrap_or_else(|| format!("these exist: `{}`", names.join("`, `")));
        Err(self.error(word.span, format!("unknown {flag} mode `{}`", clip(&word.value))).with_hint(hint))
    }

    fn copy(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(COPY)?;
        let (sources, dest) = self.sources_and_dest(&heredocs)?;
        let from = flags.value("from");
        if let Some(from) = from.as_ref().filter(|from| mount::holds_variable(&from.value)) {
            return Err(self
                .error(from.span, format!("`--from={}` does not take variables", clip(&from.value)))
                .with_hint("name it in a stage of its own: `FROM … AS name`, then `--from=name`"));
        }
        Ok(Kind::Copy(Copy {
            from,
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.is_on("link"),
            parents: flags.is_on("parents"),
            exclude: flags.values("exclude").collect(),
            sources,
            dest,
            heredocs,
        }))
    }

    fn add(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(ADD)?;
        let (sources, dest) = self.sources_and_dest(&heredocs)?;
        Ok(Kind::Add(Add {
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.is_on("link"),
            exclude: flags.values("exclude").collect(),
            checksum: flags.value("checksum"),
            keep_git_dir: flags.on_or_off("keep-git-dir"),
            unpack: flags.on_or_off("unpack"),
            sources,
            dest,
            heredocs,
        }))
    }

    fn sources_and_dest(&mut self, heredocs: &[Heredoc]) -> Result<(Vec<Word>, Word), ParseError> {
        let keyword = &self.statement.name;
        let mut words = self.list()?;
        if words.len() < 2 {
            return Err(self
                .missing(format!("{keyword} needs at least one source and a destination"))
                .with_hint(format!("write `{keyword} source destination`")));
        }
        // A heredoc is one of the words; one whose delimiter holds white space is several, and then none.
        let places: Vec<Span> = heredocs.iter().map(|heredoc| heredoc.span).collect();
        let dest = words.pop().unwrap_or_default();
        if places.contains(&dest.span) {
            let message = format!("{keyword} cannot take a heredoc as its destination");
            return Err(self.error(dest.span, message).with_hint("write the destination after the heredoc"));
        }
        let all = words.len();
        words.retain(|word| !places.contains(&word.span));
        if all - words.len() != heredocs.len() {
            let message =
                format!("{keyword} takes a heredoc only as a source, its delimiter without white space");
            return Err(self.error(places.first().copied().unwrap_or(dest.span), message));
        }
        Ok((words, dest))
    }

    /// `name=value …`, or the old `name the rest`.
    fn pairs(&self) -> Result<Vec<(Word, Word)>, ParseError> {
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

    fn arg(&self) -> Result<Kind, ParseError> {
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

    fn healthcheck(&mut self) -> Result<Kind, ParseError> {
        let (kind, rest) = words::first(self.line, &self.statement.args);
        if kind.is_empty() {
            let error = self.missing("HEALTHCHECK needs `CMD` and a command, or `NONE`");
            return Err(error.with_hint("write `HEALTHCHECK CMD command`"));
        }
        let flags = self.flags(HEALTHCHECK)?;
        let kind_text = self.line.slice(&kind);
        if kind_text.eq_ignore_ascii_case("NONE") {
            if !rest.is_empty() {
                return Err(self.error(self.line.locate(&rest), "HEALTHCHECK NONE takes no arguments"));
            }
            return Ok(Kind::Healthcheck(Healthcheck::None));
        }
        if !kind_text.eq_ignore_ascii_case("CMD") {
            let message = format!("unknown type `{}` in HEALTHCHECK", clip(kind_text));
            return Err(self
                .error(self.line.locate(&kind), message)
                .with_hint("write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`"));
        }
        let interval = self.interval(&flags, "interval")?;
        let timeout = self.interval(&flags, "timeout")?;
        let start_period = self.interval(&flags, "start-period")?;
        let start_interval = self.interval(&flags, "start-interval")?;
        let retries = match flags.value("retries") {
            None => 0,
            Some(word) => {
                match word.value.parse::<i32>().ok().and_then(|retries| u32::try_from(retries).ok()) {
                    Some(retries) => retries,
                    None => {
                        let message = format!("`--retries={}` is no whole number from 0", clip(&word.value));
                        return Err(self.error(word.span, message));
                    }
                }
            }
        };
        let command = self.command(&rest)?;
        let empty = match &command {
            ShellOrExec::Shell(text) => text.value.is_empty(),
            ShellOrExec::Exec(arguments) => arguments.is_empty(),
        };
        if empty {
            return Err(self.missing("HEALTHCHECK CMD needs a command"));
        }
        Ok(Kind::Healthcheck(Healthcheck::Cmd {
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
            command,
        }))
    }

    fn interval(&self, flags: &Flags, name: &str) -> Result<u64, ParseError> {
        const LEAST: u64 = 1_000_000;
        let Some(word) = flags.value(name) else { return Ok(0) };
        let Some(nanoseconds) = duration::parse(&word.value) else {
            return Err(self
                .error(word.span, format!("`--{name}={}` is no duration", clip(&word.value)))
                .with_hint("write a number with its unit: `30s`, `1m30s`, `500ms`"));
        };
        match u64::try_from(nanoseconds) {
            Ok(0) => Ok(0),
            Ok(nanoseconds) if nanoseconds >= LEAST => Ok(nanoseconds),
            _ => Err(self.error(word.span, format!("`--{name}` cannot be less than 1ms"))),
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
            self.warn(self.line.locate(range), WarningKind::JsonFallback, message);
        }
    }

    fn warn(&mut self, span: Span, kind: WarningKind, message: String) {
        self.lines.warnings.push(Warning { span, kind, message });
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

/// `--device`: a name and `required`.
fn device(raw: &str) -> Result<Device, Fault> {
    let mut device = Device::default();
    for field in mount::csv_fields(raw)? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", value) => device.required = mount::flag("required", value)?,
            ("name", Some(value)) if device.name.is_empty() => value.clone_into(&mut device.name),
            // A device's own name holds `=` too: `vendor.com/class=name`.
            _ if device.name.is_empty() => device.name = field,
            _ => {
                return Err(Fault(
                    format!("unknown field `{}`", clip(key)),
                    suggest::did_you_mean(key, ["name", "required"]),
                ));
            }
        }
    }
    Ok(device)
}
