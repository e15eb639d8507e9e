use std::collections::BTreeMap;

use crate::check::Rule;
use crate::check::walk::Walk;
use crate::dockerfile::Instruction;
use crate::source::Span;

/// The CMD, ENTRYPOINT and HEALTHCHECK that a stage has so far: where each stands, and its keyword.
#[derive(Clone, Debug, Default)]
pub(in crate::check) struct Once(BTreeMap<&'static str, (Span, Span)>);

/// `MultipleInstructionsDisallowed`: a second CMD, ENTRYPOINT or HEALTHCHECK in a stage. The one that is told of is the
/// earlier, which does nothing.
pub(in crate::check) fn multiple_instructions_disallowed(instruction: &Instruction, walk: &mut Walk<'_>) {
    let (word, home) = (&instruction.keyword, |span| walk.findings.home(span));
    let now = (home(word.span), home(instruction.span));
    let Some((span, place)) = walk.once.0.insert(instruction.kind.keyword(), now) else { return };
    let message = format!(
        "Multiple {} instructions should not be used in the same stage because only the last one will be used",
        word.value
    );
    walk.findings.add_in(
        Rule::MultipleInstructionsDisallowed,
        span,
        place,
        message,
        "delete this line: it does nothing".to_owned(),
    );
}
