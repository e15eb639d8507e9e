use super::quoted;
use crate::check::Rule;
use crate::check::walk::Walk;
use crate::dialect::Dialect;
use crate::source::Span;

/// `WorkdirRelativePath`: the first WORKDIR of a Dockerfile's own is relative, so that it depends on the base image.
pub(in crate::check) fn workdir_relative_path(path: &str, span: Span, walk: &mut Walk<'_>) {
    let first = !std::mem::replace(&mut walk.scope.workdir_set, true);
    if first && !is_absolute(walk.scope.dialect, path) {
        let message = format!(
            "Relative workdir {} can have unexpected results if the base image changes",
            quoted(path)
        );
        let root = walk.scope.dialect.root();
        walk.findings.add(
            Rule::WorkdirRelativePath,
            span,
            message,
            format!("write it in full: `{root}{path}`"),
        );
    }
}

fn is_absolute(dialect: Dialect, path: &str) -> bool {
    match dialect {
        Dialect::Linux => path.starts_with('/'),
        Dialect::Windows => {
            let below = match path.as_bytes() {
                [drive, b':', ..] if drive.is_ascii_alphabetic() => &path[2..],
                _ => path,
            };
            below.starts_with(['/', '\\'])
        }
    }
}
