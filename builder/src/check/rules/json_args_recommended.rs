use crate::check::Rule;
use crate::check::walk::Walk;
use crate::dockerfile::{ShellOrExec, Word};

/// `JSONArgsRecommended`: CMD or ENTRYPOINT as text for a shell, which does not pass signals on. Whoever set a SHELL
/// means it.
pub(in crate::check) fn json_args_recommended(keyword: &Word, command: &ShellOrExec, walk: &mut Walk<'_>) {
    let ShellOrExec::Shell(text) = command else { return };
    if walk.scope.shell_set {
        return;
    }
    let word = &keyword.value;
    let message =
        format!("JSON arguments recommended for {word} to prevent unintended behavior related to OS signals");
    // A command that needs a shell is told how to keep it.
    let plain = !text
        .value
        .contains(['$', '`', '"', '\'', '\\', '|', '&', ';', '<', '>', '(', ')', '*', '?', '~', '#', '=']);
    let words: Vec<_> = text.value.split_whitespace().collect();
    let hint = match serde_json::to_string(&words) {
        Ok(json) if plain && !words.is_empty() => {
            format!("write `{word} {}`", json.replace("\",\"", "\", \""))
        }
        _ => format!("write `{word} [\"program\", \"argument\"]`, or say that a shell is meant with SHELL"),
    };
    let span = if text.span.start == text.span.end { keyword.span } else { text.span };
    walk.findings.add(Rule::JsonArgsRecommended, span, message, hint);
}
