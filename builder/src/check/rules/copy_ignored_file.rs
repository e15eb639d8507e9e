use super::quoted;
use crate::check::Rule;
use crate::check::walk::Walk;
use crate::context::Ignore;
use crate::context::pattern::clean;
use crate::dockerfile::Word;
use crate::execute::is_remote;

/// `CopyIgnoredFile`: COPY or ADD names a file of the context that the ignore file leaves out. Where a `!` line may take
/// back in something at or below it, nothing can be said.
pub(in crate::check) fn copy_ignored_file(
    verb: &str,
    words: &[Word],
    sources: &[String],
    walk: &mut Walk<'_>,
) {
    let Some(ignore) = walk.ignore.filter(|ignore| !ignore.is_empty()) else { return };
    for (word, source) in words.iter().zip(sources) {
        if is_remote(source) {
            continue;
        }
        let path = clean(source);
        let Some(line) = excluded(ignore, path.trim_start_matches('/')) else { continue };
        let message =
            format!("Attempting to {verb} file {} that is excluded by .dockerignore", quoted(&path));
        let hint = format!(
            "line {line} of the ignore file, `{}`, excludes it: delete that line, or add `!{}` below it",
            ignore.line(line).trim(),
            path.trim_start_matches('/')
        );
        walk.findings.add(Rule::CopyIgnoredFile, word.span, message, hint);
    }
}

/// The line that excludes `path`, which is relative; the context itself is `.` or nothing.
fn excluded(ignore: &Ignore, path: &str) -> Option<usize> {
    if matches!(path, "" | ".") {
        // Only what excludes all of it excludes the context.
        let whole = ignore
            .patterns()
            .find(|(text, exception, _)| !exception && matches!(*text, "*" | "**" | "**/*"))?;
        return (!ignore.patterns().any(|(_, exception, _)| exception)).then_some(whole.2);
    }
    let verdict = ignore.verdict(std::path::Path::new(path));
    let line = verdict.line()?;
    let exceptions = ignore.patterns().filter(|(_, exception, _)| *exception);
    (!exceptions.into_iter().any(|(text, ..)| may_concern(text, path))).then_some(line)
}

/// Whether an exception may match `path` or something below it. One with wildcards may match whatever is below its
/// names without any.
fn may_concern(exception: &str, path: &str) -> bool {
    let names: Vec<_> = exception.split('/').collect();
    let plain = names.iter().position(|name| name.contains(['*', '?', '['])).unwrap_or(names.len());
    let prefix = names[..plain].join("/");
    at_or_below(&prefix, path) || (plain < names.len() && at_or_below(path, &prefix))
}

fn at_or_below(path: &str, base: &str) -> bool {
    base.is_empty() || path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
