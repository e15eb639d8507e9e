//! Heredocs: files written in the Dockerfile itself.

use std::ops::Range;

use super::error::{ParseError, clip};
use super::instruction::{Invocation, Run, ShellOrExec};
use super::line::{Line, Lines, trim_break};
use super::variables::{ExpandError, Expanded, Expander, Lookup, MAX_FILE, Quotes};
use crate::source::Span;

/// A heredoc, `<<NAME` to the line `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes: for COPY and ADD also the name of the file.
    pub name: String,
    /// Where `<<NAME` stands.
    pub span: Span,
    /// The number before `<<`; 0 where there is none.
    pub fd: u32,
    /// The delimiter has no quotes: variables in the content of a COPY or ADD expand.
    pub expand: bool,
    /// `<<-`: leading tabs go away.
    pub chomp: bool,
    /// The lines, each with its line break, as written.
    pub content: String,
    /// Where they stand.
    pub content_span: Span,
}

impl Heredoc {
    /// The content, without the leading tabs of its lines where [`Self::chomp`] asks for that. What RUN's shell
    /// gets: variables in it are the shell's.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// The file that a COPY or ADD makes of it: [`Self::text`], expanded if [`Self::expand`] asks for that.
    ///
    /// # Errors
    /// As [`Expander::expand`].
    pub fn file(&self, lookup: Lookup<'_>) -> Result<Expanded, ExpandError> {
        let text = self.text();
        if self.expand {
            return Expander::heredoc().expand(&text, lookup);
        }
        Ok(Expanded { text, ..Expanded::default() })
    }
}

impl Run {
    /// The one heredoc that is the whole command, `RUN <<EOF`: a script.
    pub fn script(&self) -> Option<&Heredoc> {
        match &self.command {
            ShellOrExec::Shell(text) if is_heredoc(&text.value) => self.heredocs.first(),
            _ => None,
        }
    }

    /// What is to be started. A command that is nothing but a heredoc is a script for the shell, or for the
    /// interpreter of its `#!` line; other heredocs go to the shell together with the command.
    pub fn invocation(&self) -> Invocation {
        let text = match &self.command {
            ShellOrExec::Exec(arguments) => return Invocation::Exec(arguments.clone()),
            ShellOrExec::Shell(text) => &text.value,
        };
        match self.heredocs.first() {
            None => Invocation::Shell(text.clone()),
            Some(first) if is_heredoc(text) => {
                let content = first.text();
                if content.starts_with("#!") {
                    Invocation::Script { name: first.name.clone(), content }
                } else {
                    Invocation::Shell(content)
                }
            }
            Some(_) => {
                let mut full = text.clone();
                for heredoc in &self.heredocs {
                    full.push('\n');
                    full.push_str(&heredoc.content);
                    full.push_str(&heredoc.name);
                }
                Invocation::Shell(full)
            }
        }
    }
}

/// A heredoc's head: what stands on the instruction's line.
#[derive(Debug)]
pub(super) struct Opener {
    name: String,
    /// Where it stands in the line.
    pub(super) range: Range<usize>,
    fd: u32,
    expand: bool,
    chomp: bool,
}

/// Whether the whole of `text` is one heredoc's head.
fn is_heredoc(text: &str) -> bool {
    matches!(opener(text, 0), Ok(Some(_)))
}

/// Reads `word` as the head of a heredoc: `N<<-NAME`, the number, the dash and quotes of the name optional.
fn opener(word: &str, at: usize) -> Result<Option<Opener>, ExpandError> {
    let digits = word.len() - word.trim_start_matches(|ch: char| ch.is_ascii_digit()).len();
    let (fd, rest) = word.split_at(digits);
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let delimiter = rest.trim_start();
    if delimiter.is_empty() || delimiter.contains('<') {
        return Ok(None);
    }
    let lex = Expander {
        escape: '\\',
        quotes: Quotes::Remove,
        raw_escapes: false,
        keep_unset: true,
        most: MAX_FILE,
    };
    let nothing: Lookup<'_> = &|_| None;
    let plain = lex.expand(delimiter, nothing)?.words;
    let [name] = plain.as_slice() else { return Ok(None) };
    let quoted = Expander { quotes: Quotes::Keep, ..lex }.expand(delimiter, nothing)?.words;
    let count = |text: &str| text.chars().filter(|&ch| ch == '\'' || ch == '"').count();
    Ok(Some(Opener {
        // Quotes that are there in one reading and not in the other did quote.
        expand: quoted.iter().map(|word| count(word)).sum::<usize>() == count(name),
        name: name.clone(),
        range: at..at + word.len(),
        fd: fd.parse().unwrap_or(0),
        chomp,
    }))
}

/// The heads of the heredocs on an instruction's line.
///
/// A line whose quotes or braces do not match has none: what it means is up to the shell.
pub(super) fn openers(line: &Line, lines: &Lines<'_>) -> Result<Vec<Opener>, ParseError> {
    if !line.text.contains("<<") {
        return Ok(Vec::new());
    }
    let lex =
        Expander { escape: '\\', quotes: Quotes::Keep, raw_escapes: true, keep_unset: true, most: MAX_FILE };
    let Ok(found) = lex.expand(&line.text, &|_| None) else { return Ok(Vec::new()) };
    let mut openers = Vec::new();
    for (word, start) in found.words.iter().zip(found.starts) {
        let opener = opener(word, start).map_err(|error| {
            let span = line.locate(&(start..start + word.len()));
            lines.error(span, format!("`{}` is no heredoc: {error}", clip(word))).maybe_hint(error.hint())
        })?;
        openers.extend(opener);
    }
    Ok(openers)
}

/// Reads the content of the heredocs from the lines after the instruction's.
pub(super) fn contents(
    line: &mut Line,
    openers: Vec<Opener>,
    lines: &mut Lines<'_>,
) -> Result<Vec<Heredoc>, ParseError> {
    let mut heredocs = Vec::with_capacity(openers.len());
    for opener in openers {
        let span = line.locate(&opener.range);
        let mut content = String::new();
        let mut content_span = None;
        loop {
            let Some((start, raw)) = lines.physical() else {
                return Err(lines
                    .error(span, format!("unterminated heredoc: no line `{}` follows", clip(&opener.name)))
                    .with_hint(format!(
                        "end it with a line that is `{}` alone{}, or put quotes around `<<` if it is none",
                        clip(&opener.name),
                        if opener.chomp { " (tabs may stand before it)" } else { "" },
                    )));
            };
            let end = trim_break(raw);
            content_span.get_or_insert(Span::new(start, start)).end = start;
            lines.check_encoding(Span::new(start, start + raw.len()))?;
            line.span.end = start + end.len();
            let end = if opener.chomp { end.trim_start_matches('\t') } else { end };
            if end == opener.name {
                break;
            }
            content.push_str(raw);
        }
        heredocs.push(Heredoc {
            name: opener.name,
            span,
            fd: opener.fd,
            expand: opener.expand,
            chomp: opener.chomp,
            content,
            content_span: content_span.unwrap_or(span),
        });
    }
    Ok(heredocs)
}
