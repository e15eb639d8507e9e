//! What is written for Windows and most likely not meant there: found in a build, where the dialect of the image is
//! known. They have no names of their own, and `# check=` does not reach them.

use std::ops::Range;

use crate::dialect::{Dialect, ImagePath, windows};

mod command;
mod escape;
mod registry;
mod variable;

pub use escape::{continued_paths, lost_backslash, single_backslash};
pub use registry::registry;
pub use variable::{Reference, refers_to, shell_variable};

/// Something to warn of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the text that was looked at, in bytes.
    pub range: Range<usize>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// The languages of shells that a hint is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `cmd`, and whatever else expands `%NAME%`.
    Cmd,
    /// PowerShell, either of them.
    PowerShell,
    /// A program without a shell, or a shell that is not known.
    None,
}

impl Shell {
    /// The shell that a command line of SHELL starts.
    pub fn of(words: &[String]) -> Self {
        let program = words.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit(windows::is_separator).next().unwrap_or_default().to_ascii_lowercase();
        match name.strip_suffix(".exe").unwrap_or(&name) {
            "cmd" => Self::Cmd,
            "powershell" | "pwsh" => Self::PowerShell,
            _ => Self::None,
        }
    }

    fn root(self) -> &'static str {
        match self {
            Self::PowerShell => "$env:ORLOP_ROOT",
            Self::Cmd | Self::None => "%ORLOP_ROOT%",
        }
    }
}

/// Paths of a drive in the text of a RUN on Windows. What runs sees the host's `C:`, so that such a path is the
/// image's only where it is one of the system's own.
pub fn literal_paths(text: &str, workdir: &str, shell: Shell) -> Vec<Finding> {
    let mut out = Vec::new();
    for range in paths_in(text) {
        let written = &text[range.clone()];
        if command::only_said(text, range.start, shell) {
            continue;
        }
        let drive = written.as_bytes()[0].to_ascii_uppercase();
        if drive != b'C' {
            let message =
                format!("`{written}` in RUN is on the host's drive `{}:`, not in the image", drive as char);
            let hint =
                format!("copy what is needed into the image with COPY, and name it below `{}`", shell.root());
            out.push(Finding { range, message, hint });
            continue;
        }
        // A wildcard at the end is a matter of the last name only.
        let plain: String =
            written.chars().map(|ch| if matches!(ch, '*' | '?') { '_' } else { ch }).collect();
        let Ok(path) = Dialect::Windows.path("", &plain) else { continue };
        if windows::is_system(&path) {
            if command::written(text, &range, shell) {
                let message = format!("`{written}` in RUN is the host's: nothing of it gets into the image");
                let hint = "files of the image's own `C:\\Windows` are brought with COPY or ADD".to_owned();
                out.push(Finding { range, message, hint });
            }
            continue;
        }
        let tail = written[2..].replace('/', r"\");
        let single = text[..range.start].ends_with('\'');
        let mut hint = match shell {
            Shell::None => "the program is not given a shell that could find the root".to_owned(),
            // In single quotes nothing is expanded.
            Shell::PowerShell if single => format!("write `({} + '{tail}')`", shell.root()),
            _ => format!("write `{}{tail}`", shell.root()),
        };
        if let Some(relative) = relative(&path, workdir) {
            let relative = if relative.is_empty() { ".".to_owned() } else { relative };
            let joint = if shell == Shell::None { ": write" } else { ", or" };
            hint.push_str(&format!("{joint} `{relative}` relative to WORKDIR"));
        } else if shell == Shell::None {
            hint.push_str(": write a path relative to WORKDIR, or use the shell form and `%ORLOP_ROOT%`");
        }
        let message = format!("`{written}` in RUN is the host's and not the image's");
        out.push(Finding { range, message, hint });
    }
    out
}

/// `path` from `workdir`, where it is in it; as the Dockerfile writes names, so the wildcards are gone.
fn relative(path: &ImagePath, workdir: &str) -> Option<String> {
    let base = Dialect::Windows.path("", workdir).ok()?;
    let (base, parts) = (base.parts(), path.parts());
    let inside = parts.len() >= base.len() && base.iter().zip(parts).all(|(a, b)| windows::same_name(a, b));
    let rest = parts.get(base.len()..).filter(|_| inside && !base.is_empty())?;
    (!rest.iter().any(|name| name.contains('_'))).then(|| rest.join(r"\"))
}

/// Where a text names `X:\…` or `X:/…`.
fn paths_in(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at + 2 < bytes.len() {
        let starts = bytes[at].is_ascii_alphabetic()
            && bytes[at + 1] == b':'
            && matches!(bytes[at + 2], b'\\' | b'/')
            // `https://x` and `HKLM:\x` are none.
            && !(at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'-' | b'/')))
            && !(bytes[at + 2] == b'/' && bytes.get(at + 3) == Some(&b'/'));
        if !starts {
            at += 1;
            continue;
        }
        // In quotes a path may hold blanks.
        let quote = at.checked_sub(1).map(|i| bytes[i]).filter(|byte| matches!(byte, b'"' | b'\''));
        let stop = |ch: char| match quote {
            Some(quote) => ch == char::from(quote),
            None => {
                ch.is_whitespace()
                    || matches!(ch, '"' | '\'' | ';' | '|' | '&' | '<' | '>' | ',' | ')' | '`' | '%' | '^')
            }
        };
        let rest = &text[at..];
        let end = rest.char_indices().skip(3).find(|&(_, ch)| stop(ch)).map_or(rest.len(), |(i, _)| i);
        out.push(at..at + end);
        at += end.max(1);
    }
    out
}

#[cfg(test)]
mod tests;
