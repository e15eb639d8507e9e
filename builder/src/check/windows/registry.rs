//! The registry of Windows: a step cannot write the machine's, and an image's is in its hives.

use std::sync::LazyLock;

use regex::Regex;

use super::{Finding, Shell, command};

/// What writes to the registry of the machine, and what to write instead.
static RULES: LazyLock<Vec<(Regex, &'static str, &'static str)>> = LazyLock::new(|| {
    const ENV: &str = "write `ENV NAME=value` in the Dockerfile: that is where an image keeps variables";
    const HIVE: &str =
        "make the change where the image starts, in CMD or ENTRYPOINT, or take a base whose `Hives` have it";
    let rule = |pattern: &str, what, hint| Regex::new(pattern).ok().map(|regex| (regex, what, hint));
    [
        rule(r"(?i)\bsetx(?:\.exe)?\s+(?:/|[A-Za-z_])[^&|\r\n]*", "`setx` writes variables to the registry", ENV),
        rule(
            r"(?i)\[(?:System\.)?Environment\]::SetEnvironmentVariable\([^)]*['\x22](?:Machine|User)['\x22]\s*\)",
            "`SetEnvironmentVariable` for the machine or the user writes to the registry",
            ENV,
        ),
        rule(r"(?i)\breg(?:\.exe)?\s+(?:add|delete|import|copy|restore|load)\b[^&|\r\n]*", "`reg` writes to the registry", HIVE),
        rule(r"(?i)\bregedit(?:\.exe)?\s+/s\b[^&|\r\n]*", "`regedit` writes to the registry", HIVE),
        rule(
            r"(?i)\b(?:Set|New|Remove|Rename|Copy|Clear)-Item(?:Property)?\b[^;|\r\n]*?\b(?:HKLM|HKCU|HKCR|HKU|Registry:):?[^;|\r\n]*",
            "this cmdlet writes to the registry",
            HIVE,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// Commands in the text of a RUN on Windows that would write to the machine's registry.
pub fn registry(text: &str, shell: Shell) -> Vec<Finding> {
    let mut out: Vec<Finding> = RULES
        .iter()
        .flat_map(|(regex, what, hint)| {
            regex.find_iter(text).map(move |found| Finding {
                range: found.start()..found.start() + found.as_str().trim_end().len(),
                message: format!("{what}, and a step has none of its own: nothing of it gets into the image"),
                hint: (*hint).to_owned(),
            })
        })
        .collect();
    out.retain(|finding| !command::only_said(text, finding.range.start, shell));
    out.sort_by_key(|finding| finding.range.start);
    out
}
