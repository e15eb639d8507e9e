use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::{Dockerfile, Word};
use crate::source::Span;

/// `LegacyKeyValueFormat`: `ENV name value` without `=`.
pub(in crate::check) fn legacy_key_value_format(
    file: &Dockerfile,
    keyword: &Word,
    pairs: &[(Word, Word)],
    out: &mut Findings,
) {
    // Only one pair can be written like that.
    let [(name, value)] = pairs else { return };
    let gap = file.source.slice(Span::new(name.span.end, value.span.start));
    let continued = [file.directives.escape, '\r', '\n'];
    if gap.is_empty() || gap.trim_start_matches(continued).starts_with('=') {
        return;
    }
    let word = &keyword.value;
    let message =
        format!("\"{word} key=value\" should be used instead of legacy \"{word} key value\" format");
    let quote = value.value.contains(char::is_whitespace) && !value.value.starts_with(['"', '\'']);
    let hint = match quote {
        true => format!("write `{word} {}=\"{}\"`", name.value, value.value),
        false => format!("write `{word} {}={}`", name.value, value.value),
    };
    out.add(Rule::LegacyKeyValueFormat, name.span.to(value.span), message, hint);
}
