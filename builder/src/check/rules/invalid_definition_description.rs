use crate::check::Rule;
use crate::check::findings::Findings;
use crate::check::options::Options;
use crate::dockerfile::{Dockerfile, From, Instruction, Kind};
use crate::source::Span;

/// `InvalidDefinitionDescription` (has to be asked for): a comment on the line before an ARG does not begin with a name
/// that it declares, so that `--call=outline` shows it nowhere.
pub(in crate::check) fn invalid_definition_description(
    file: &Dockerfile,
    instruction: &Instruction,
    out: &mut Findings,
) {
    if let Kind::Arg(args) = &instruction.kind {
        let names: Vec<_> = args.iter().map(|arg| arg.name.value.as_str()).collect();
        look(file, "ARG", &names, instruction.keyword.span, &instruction.comments, out);
    }
}

/// The same of a FROM that names a stage.
pub(in crate::check) fn invalid_stage_description(file: &Dockerfile, from: &From, out: &mut Findings) {
    if let Some(name) = &from.name {
        look(file, "FROM", &[&name.value], from.keyword.span, &from.comments, out);
    }
}

fn look(
    file: &Dockerfile,
    keyword: &str,
    names: &[&str],
    span: Span,
    comments: &[String],
    out: &mut Findings,
) {
    // A blank line between them says that the comment is about something else.
    let above = file.source.line(span.start).checked_sub(1).and_then(|line| file.source.line_text(line));
    if !above.is_some_and(|line| line.trim_start().starts_with('#')) {
        return;
    }
    let comment = comments.iter().rev().find(|comment| Options::in_comment(comment).is_none());
    let Some(first) = comment.and_then(|comment| comment.split(' ').next()) else { return };
    if names.contains(&first) {
        return;
    }
    let name = match names {
        [one] => one,
        _ => "<arg_key>",
    };
    let message = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    let hint = "begin the comment with the name, or put a blank line below it".to_owned();
    out.add(Rule::InvalidDefinitionDescription, span, message, hint);
}
