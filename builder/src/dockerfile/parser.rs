//! From lines to stages.

use std::sync::Arc;

use super::error::ParseError;
use super::grammar::{FromParts, Reader};
use super::heredoc::{self, Heredoc};
use super::instruction::{Dockerfile, From, Instruction, Kind, Stage};
use super::line::{Line, Lines};
use super::statement::Statement;
use crate::source::{SourceFile, Span};

/// What a logical line is.
enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// Parses a Dockerfile.
///
/// # Errors
/// With the first thing that is wrong, and where it is.
pub fn parse(source: Arc<SourceFile>) -> Result<Dockerfile, ParseError> {
    match parse_part(source) {
        (dockerfile, None) => Ok(dockerfile),
        (_, Some(error)) => Err(error),
    }
}

/// Parses a Dockerfile up to the first thing that is wrong: what stands before it, and the error.
pub fn parse_part(source: Arc<SourceFile>) -> (Dockerfile, Option<ParseError>) {
    let mut lines = Lines::new(&source);
    let (mut preamble, mut stages) = (Vec::new(), Vec::new());
    let error = read(&mut lines, &mut preamble, &mut stages).err();
    let Lines { directives, warnings, .. } = lines;
    (Dockerfile { directives, warnings, preamble, stages, source }, error)
}

fn read(
    lines: &mut Lines<'_>,
    preamble: &mut Vec<Instruction>,
    stages: &mut Vec<Stage>,
) -> Result<(), ParseError> {
    let mut any = false;
    while let Some(line) = lines.logical()? {
        any = true;
        match statement(lines, line)? {
            Parsed::From(from) => {
                let span = from.span;
                stages.push(Stage { from, instructions: Vec::new(), span });
            }
            Parsed::Instruction(instruction) => match (stages.last_mut(), &instruction.kind) {
                (None, Kind::Arg(_)) => preamble.push(instruction),
                (None, kind) => {
                    let message = format!("{} stands before the first FROM", kind.keyword());
                    return Err(lines
                        .error(instruction.keyword.span, message)
                        .with_hint("only ARG may stand there: begin with `FROM image`"));
                }
                (Some(stage), _) => {
                    stage.span.end = instruction.span.end;
                    stage.instructions.push(instruction);
                }
            },
        }
    }
    if stages.is_empty() {
        let end = lines.text_len();
        let message = if any { "there is no FROM" } else { "there are no instructions" };
        return Err(lines.error(Span::new(end, end), message).with_hint("begin with `FROM image`"));
    }
    Ok(())
}

/// Parses a trigger from a base image's config, which `source` holds as its only instruction. A config does not
/// say with which escape character it was written: `escape` is that of the Dockerfile that builds on it, by which
/// its variables are expanded too.
///
/// # Errors
/// When it is not exactly one instruction that may be a trigger.
pub fn parse_onbuild(source: &Arc<SourceFile>, escape: char) -> Result<Instruction, ParseError> {
    let mut lines = Lines::new(source);
    lines.directives.escape = escape;
    let Some(line) = lines.logical()? else {
        return Err(lines.error(Span::default(), "the ONBUILD trigger is empty"));
    };
    let instruction = match statement(&mut lines, line)? {
        Parsed::From(from) => return Err(lines.error(from.span, "FROM cannot be a trigger of ONBUILD")),
        Parsed::Instruction(instruction) => instruction,
    };
    if matches!(instruction.kind, Kind::Onbuild(_) | Kind::Maintainer(_)) {
        let message = format!("{} cannot be a trigger of ONBUILD", instruction.kind.keyword());
        return Err(lines.error(instruction.span, message));
    }
    if let Some(more) = lines.logical()? {
        return Err(lines.error(more.span, "an ONBUILD trigger is a single instruction"));
    }
    Ok(instruction)
}

fn statement(lines: &mut Lines<'_>, mut line: Line) -> Result<Parsed, ParseError> {
    let escape = lines.directives.escape;
    let outer = Statement::split(&line, &(0..line.text.len()), escape);
    if outer.range.is_empty() {
        return Err(lines
            .error(line.span, "a line continuation with nothing to continue")
            .with_hint("delete it"));
    }
    let original = line.slice(&outer.range).to_owned();
    let keyword = line.word(&outer.keyword);
    if outer.name == "FROM" {
        let FromParts { image, platform, name, alias } =
            Reader { lines: &mut *lines, line: &line, statement: &outer }.from()?;
        lines.read("FROM", line.span);
        return Ok(Parsed::From(From {
            span: line.span,
            keyword,
            original,
            image,
            platform,
            name,
            alias,
            comments: line.comments,
        }));
    }
    let inner = (outer.name == "ONBUILD").then(|| Statement::split(&line, &outer.args, escape));
    let heredocs = heredocs(lines, &mut line, inner.as_ref().unwrap_or(&outer))?;
    let mut reader = Reader { lines, line: &line, statement: &outer };
    let kind = match &inner {
        Some(inner) => reader.onbuild(inner, heredocs)?,
        None => reader.instruction(heredocs)?,
    };
    lines.read(kind.keyword(), line.span);
    Ok(Parsed::Instruction(Instruction { span: line.span, keyword, original, comments: line.comments, kind }))
}

fn heredocs(
    lines: &mut Lines<'_>,
    line: &mut Line,
    statement: &Statement,
) -> Result<Vec<Heredoc>, ParseError> {
    if !statement.takes_heredocs(line) {
        return Ok(Vec::new());
    }
    let openers = heredoc::openers(line, lines)?;
    heredoc::contents(line, openers, lines)
}
