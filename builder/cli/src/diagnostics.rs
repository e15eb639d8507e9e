//! From any error to what the user reads and the exit code that a script sees. This is the one place
//! that decides either.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the Dockerfile, a step, a registry or another input said no |
//! | 2 | the command line is wrong |
//! | 125 | orlop or the machine could not |
//! | 130 | interrupted |
//!
//! `orlop run` passes on the exit code of the command in the container.

mod excerpt;

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use orlop_builder::{BuildError, ErrorKind, Place};

use crate::env;
use crate::progress::clean;
use crate::system::console;

pub(crate) use excerpt::excerpt;

/// The exit code of a command that the user stopped.
pub(crate) const INTERRUPTED: u8 = 130;

/// Lines of a failed step's last output that are shown again.
const TAIL: usize = 30;

/// Who has to act; it alone decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An input said no.
    User,
    /// The command line is wrong.
    Usage,
    /// orlop or the machine could not.
    Internal,
    /// The user stopped it.
    Interrupted,
    /// The command in a container ended with this code, and said itself why.
    Exit(i32),
    /// Whoever read our output is gone. Nothing to say, nobody to say it to.
    BrokenPipe,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

/// What there is to say of a failure.
#[derive(Debug)]
struct Parts {
    kind: Kind,
    message: String,
    place: Option<Place>,
    causes: Vec<String>,
    hint: Option<String>,
    tail: Option<Vec<u8>>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (place, causes, hint, tail) = Default::default();
        Self(Box::new(Parts { kind, message: message.into(), place, causes, hint, tail }))
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// An input said no.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// orlop or the machine could not.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The user stopped it.
    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// The exit code of a container's command.
    pub(crate) fn exit(code: i32) -> Self {
        Self::new(Kind::Exit(code), "")
    }

    /// A file operation on a path that the user named.
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let mut failure = Self::new(Kind::User, format!("cannot {action} `{}`", path.display()));
        failure.0.causes.push(error.to_string());
        failure
    }

    /// Standard output could not be written to.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::BrokenPipe, "");
        }
        let mut failure = Self::new(Kind::Internal, "cannot write to standard output");
        failure.0.causes.push(error.to_string());
        failure
    }

    /// Adds what to type next.
    pub(crate) fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into().or(self.0.hint);
        self
    }

    /// Adds the causes of `error`, not `error` itself.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(missing) = cause.downcast_ref::<orlop_runner::Missing>() {
                // Side by side, and not each because of the next.
                self.0.causes.extend(missing.0.iter().map(ToString::to_string));
                return self;
            }
            let text = cause.to_string();
            // A wrapper that repeats its inside says it once.
            if text != self.0.message && self.0.causes.last() != Some(&text) {
                if is_broken_pipe(cause) {
                    self.0.kind = Kind::BrokenPipe;
                }
                self.0.causes.push(text);
            }
            source = cause.source();
        }
        self
    }

    /// Adds `error` itself as a cause.
    pub(crate) fn because_of(mut self, error: &dyn Error) -> Self {
        self.0.causes.push(error.to_string());
        self.because(error)
    }

    /// The code that the process ends with.
    pub(crate) fn code(&self) -> i32 {
        match self.0.kind {
            Kind::User => 1,
            Kind::Usage => 2,
            Kind::Internal => 125,
            Kind::Interrupted => INTERRUPTED.into(),
            Kind::Exit(code) => code,
            // As the shell shows a program that SIGPIPE ended.
            Kind::BrokenPipe => 141,
        }
    }

    /// Shows it on standard error, as the event `error` of `--progress=rawjson`.
    pub(crate) fn report_as_json(&self) {
        if matches!(self.0.kind, Kind::Exit(_) | Kind::BrokenPipe) {
            return;
        }
        let place = self.0.place.as_ref();
        let event = serde_json::json!({
            "event": "error",
            "message": self.0.message,
            "causes": self.0.causes,
            "hint": self.0.hint,
            "file": place.map(|place| place.file.name()),
            "line": place.map(|place| place.file.line(place.span.start)),
            "output": self.0.tail.as_deref().map(String::from_utf8_lossy),
            "exit_code": self.code(),
        });
        // Standard error gone: nobody listens.
        let _ = writeln!(io::stderr(), "{event}");
    }

    /// Shows it on standard error.
    pub(crate) fn report(&self) {
        let err = io::stderr();
        let colour = err.is_terminal() && env::NO_COLOR.get().is_none() && console::takes_escapes();
        // Standard error gone: nobody listens.
        let _ = err.lock().write_all(self.render(colour).as_bytes());
    }

    /// The text that [`Failure::report`] shows.
    fn render(&self, colour: bool) -> String {
        if matches!(self.0.kind, Kind::Exit(_) | Kind::BrokenPipe) {
            return String::new();
        }
        let mut out = String::new();
        if let Some(tail) = self.0.tail.as_deref().filter(|tail| !tail.is_empty()) {
            out.push_str(&tail_text(tail));
        }
        let word = if colour { "\x1b[1;31merror\x1b[0m" } else { "error" };
        out.push_str(&format!("{word}: {}\n", clean_lines(&self.0.message).replace('\n', "\n  ")));
        if let Some(place) = &self.0.place {
            out.push_str(&excerpt(place, colour));
        }
        for cause in &self.0.causes {
            out.push_str(&format!("Caused by: {}\n", clean_lines(cause).replace('\n', "\n  ")));
        }
        if let Some(hint) = &self.0.hint {
            let word = if colour { "\x1b[36mhint\x1b[0m" } else { "hint" };
            out.push_str(&format!("{word}: {}\n", clean_lines(hint).replace('\n', "\n  ")));
        }
        out
    }
}

/// The last lines of a step, once more.
fn tail_text(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
    let mut out = String::from("last output of the step:\n");
    for line in shown {
        out.push_str(format!("  | {}", clean(line)).trim_end());
        out.push('\n');
    }
    out
}

/// A message of several lines, each without anything that moves the cursor.
fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let kind = match error.kind {
            ErrorKind::User => Kind::User,
            ErrorKind::Internal => Kind::Internal,
            ErrorKind::Interrupted => Kind::Interrupted,
        };
        let mut failure = Self::new(kind, error.message.clone()).because(&error);
        failure.0.place = error.place;
        failure.0.hint = error.hint;
        failure.0.tail = error.step.map(|step| step.tail);
        failure
    }
}

impl From<orlop_store::Error> for Failure {
    fn from(error: orlop_store::Error) -> Self {
        use orlop_store::ErrorKind as Store;
        let kind = match error.kind() {
            Store::NotFound | Store::Input | Store::Content => Kind::User,
            _ => Kind::Internal,
        };
        Self::new(kind, error.to_string()).with_hint(error.hint()).because(&error)
    }
}

impl From<orlop_registry_client::Error> for Failure {
    fn from(error: orlop_registry_client::Error) -> Self {
        let kind = if matches!(error, orlop_registry_client::Error::Cancelled) {
            Kind::Interrupted
        } else {
            Kind::User
        };
        Self::new(kind, error.to_string()).with_hint(error.hint()).because(&error)
    }
}

impl From<orlop_runner::RunError> for Failure {
    fn from(error: orlop_runner::RunError) -> Self {
        let kind = match &error {
            orlop_runner::RunError::Cancelled => Kind::Interrupted,
            orlop_runner::RunError::Spec(_)
            | orlop_runner::RunError::Unconfined { .. }
            | orlop_runner::RunError::Unsupported { .. } => Kind::User,
            _ => Kind::Internal,
        };
        Self::new(kind, error.to_string()).with_hint(error.hint()).because(&error)
    }
}

#[cfg(test)]
mod tests;
