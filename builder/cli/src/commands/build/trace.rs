//! `--trace FILE`: opened before anything is built, and no part of what is built from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_builder::context::NamedSource;
use orlop_builder::request::{BuildRequest, ContextSource};
use orlop_builder::trace::{PhaseTime, Recorder};
use orlop_store::trace::{Trace, TraceObserver};

use crate::diagnostics::Failure;
use crate::session::Session;

/// What is told of the build's time.
pub(super) struct Traced {
    recorder: Arc<Recorder>,
    file: Option<PathBuf>,
}

impl Traced {
    /// Begins, with the file where one is named. As with a redirection of the shell's, a file that is there is
    /// overwritten, links are followed, and a pipe or a device is written to as it is.
    pub(super) fn begin(file: Option<&Path>) -> Result<Self, Failure> {
        let opened = match file {
            Some(path) if path == Path::new("-") => {
                return Err(Failure::usage("`--trace -`: standard output carries the image's ID")
                    .with_hint("name a file: `--trace trace.json`".to_owned()));
            }
            Some(path) => {
                Some(File::create(path).map_err(|error| Failure::io("write the trace", path, &error))?)
            }
            None => None,
        };
        Ok(Self { recorder: Arc::new(Recorder::new(opened)), file: file.map(Path::to_owned) })
    }

    /// For those who are to tell.
    pub(super) fn trace(&self) -> Trace {
        Trace::to(Arc::clone(&self.recorder) as Arc<dyn TraceObserver>)
    }

    /// Takes the file out of every context that it is in: it changes while COPY reads it, and would be another one at
    /// each build.
    pub(super) fn keep_out(&self, request: &mut BuildRequest) {
        let Some(file) = self.file.as_ref().and_then(|file| file.canonicalize().ok()) else { return };
        if let ContextSource::Directory(dir) = &request.context {
            ignore(&file, dir, &mut request.ignore);
        }
        for context in &mut request.named_contexts {
            if let NamedSource::Directory { path, ignore: rules } = &mut context.source {
                ignore(&file, path, rules);
            }
        }
    }

    /// What was spent.
    pub(super) fn times(&self) -> Vec<PhaseTime> {
        self.recorder.times()
    }

    /// Ends the file. One that is not whole is no reason to fail: what was built is built.
    pub(super) fn finish(&self, session: &Session) {
        if let (Err(error), Some(file)) = (self.recorder.finish(), &self.file) {
            session.warn(&format!("the trace `{}` is not whole: {error}", file.display()));
        }
    }
}

/// Adds a line for `file` to the rules of the directory `dir`, where it is in there.
fn ignore(file: &Path, dir: &Path, rules: &mut Option<(String, String)>) {
    let Ok(dir) = dir.canonicalize() else { return };
    let Some(line) = file.strip_prefix(&dir).ok().and_then(pattern) else { return };
    match rules {
        Some((text, _)) => {
            text.push('\n');
            text.push_str(&line);
        }
        None => *rules = Some((line, "--trace".to_owned())),
    }
}

/// A line of an ignore file that matches this path, in a directory. None where it is no text.
fn pattern(path: &Path) -> Option<String> {
    let mut out = String::new();
    for part in path.iter() {
        out.push('/');
        for c in part.to_str()?.chars() {
            match c {
                // An exclamation mark that begins a line is none, with the `/` before it as well.
                '!' => out.push('?'),
                // There is nothing to write before them on Windows, and a line cannot hold or end with the others.
                '[' | ']' if cfg!(windows) => out.push('?'),
                c if c.is_whitespace() || c.is_control() => out.push('?'),
                '*' | '?' | '[' | ']' | '\\' => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use orlop_builder::context::Ignore;

    use super::*;

    #[test]
    fn a_path_is_matched_by_its_own_pattern() {
        for name in ["trace.json", "a b", "sub/x [1].json", "!x", "#x", "é", " x "] {
            let line = pattern(Path::new(name)).unwrap();
            assert!(Ignore::parse(&line).unwrap().matches(Path::new(name)), "{name}: {line}");
        }
        assert_eq!(pattern(Path::new("sub/trace.json")).unwrap(), "/sub/trace.json");
    }

    #[cfg(unix)]
    #[test]
    fn special_characters_mean_themselves() {
        for (name, other) in [("a*", "ab"), ("a?", "ab"), ("[ab]", "a"), ("a\\b", "ab")] {
            let ignore = Ignore::parse(&pattern(Path::new(name)).unwrap()).unwrap();
            assert!(ignore.matches(Path::new(name)) && !ignore.matches(Path::new(other)), "{name}");
        }
    }
}
