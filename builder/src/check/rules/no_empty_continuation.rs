use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::{Dockerfile, WarningKind};
use crate::source::Span;

/// `NoEmptyContinuation`: a blank line in the middle of an instruction, once for each instruction. BuildKit's place for
/// it is the instruction's last line.
pub(in crate::check) fn no_empty_continuation(file: &Dockerfile, out: &mut Findings) {
    let mut instructions: Vec<_> = file.preamble.iter().map(|i| (i.span, &i.comments)).collect();
    for stage in &file.stages {
        instructions.push((stage.from.span, &stage.from.comments));
        instructions.extend(stage.instructions.iter().map(|i| (i.span, &i.comments)));
    }
    for warning in file.warnings.iter().filter(|warning| warning.kind == WarningKind::EmptyContinuation) {
        let at = warning.span.start;
        let inside = instructions.partition_point(|(span, _)| span.start <= at).checked_sub(1);
        if let Some((span, comments)) = inside.and_then(|index| instructions.get(index)) {
            out.at(*span, comments);
        }
        out.add_in(
            Rule::NoEmptyContinuation,
            warning.span,
            last_line(file, at),
            "Empty continuation line".to_owned(),
            "delete the blank line, or make it a comment with `#`".to_owned(),
        );
    }
}

/// The line that ends the instruction which the blank line at `at` is in.
fn last_line(file: &Dockerfile, at: usize) -> Span {
    let source = &file.source;
    let escape = file.directives.escape;
    let mut last = source.line(at);
    for line in last + 1..=source.line_count() {
        let Some(text) = source.line_text(line).map(str::trim_start) else { break };
        let end = text.trim_end_matches([' ', '\t']);
        last = line;
        let continues = end.strip_suffix(escape).is_some_and(|rest| !rest.ends_with(escape));
        if !(text.is_empty() || text.starts_with('#') || continues) {
            break;
        }
    }
    source.line_span(last).unwrap_or_default()
}
