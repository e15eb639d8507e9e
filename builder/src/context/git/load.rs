//! A repository as a context, fetched with a task that says how far it is.

use std::sync::{Mutex, PoisonError};

use orlop_runner::Stream;

use super::{GitAccess, GitReference, GitRepository, Resolved};
use crate::context::fetch::{Fetched, note_rules};
use crate::error::BuildError;
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;

/// Fetches a repository as the context that messages call `name`.
///
/// # Errors
/// When there is no git, the server does not let us in, there is no such commit or directory, or the build is to
/// stop.
pub fn load(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    reference: &GitReference,
    access: GitAccess<'_>,
    name: &str,
) -> Result<Fetched, BuildError> {
    load_found(engine, progress, reference, access, name, |repository| repository.resolve())
}

/// The same of the commit that `find` finds.
///
/// # Errors
/// As of [`load`], and those of `find`.
pub(crate) fn load_found(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    reference: &GitReference,
    access: GitAccess<'_>,
    name: &str,
    find: impl FnOnce(&GitRepository<'_>) -> Result<Resolved, BuildError>,
) -> Result<Fetched, BuildError> {
    let work = engine.store.work().create("git").map_err(orlop_store::Error::from)?;
    let task = progress.start(format!("[{name}] load {reference}"));
    let span = engine.trace().span("fetch", &[]);
    let phases = Phases::of(&task);
    let said = |line: &str| phases.tell(line);
    let repository = GitRepository::new(reference, work.path(), access, engine.cancel, &said)?;
    let checkout = find(&repository).and_then(|resolved| repository.fetch(&resolved))?;
    task.note(format!("commit {}", checkout.commit));
    let context = Fetched::of(checkout.dir, work);
    note_rules(&task, context.path(), "repository");
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(context)
}

/// Passes on what git is about, once for each thing: it counts every percent.
pub(crate) struct Phases<'t, 'o> {
    task: &'t Task<'o>,
    last: Mutex<String>,
}

impl<'t, 'o> Phases<'t, 'o> {
    pub(crate) fn of(task: &'t Task<'o>) -> Self {
        Self { task, last: Mutex::default() }
    }

    /// Takes a line of git's.
    pub(crate) fn tell(&self, line: &str) {
        let about = about(line);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != about {
            self.task.output(Stream::Stderr, format!("{about}\n").as_bytes());
            about.clone_into(&mut last);
        }
    }
}

/// What a line is about, without how far that is.
fn about(line: &str) -> &str {
    let numbers = line.find(['%', '(']).or_else(|| line.find(", done.")).unwrap_or(line.len());
    match line[..numbers].rfind(": ") {
        // `remote: ` says who speaks, and nothing of what.
        Some(at) if at > "remote".len() && numbers < line.len() => &line[..at],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn how_far_it_is_is_left_out() {
        for (line, said) in [
            ("remote: Counting objects:  33% (1/3)", "remote: Counting objects"),
            ("remote: Enumerating objects: 10, done.", "remote: Enumerating objects"),
            ("remote: Total 10 (delta 0), reused 0", "remote: Total 10 (delta 0), reused 0"),
            ("Receiving objects: 100% (3/3), 1 MiB", "Receiving objects"),
            ("Submodule path 'x': checked out 'ab'", "Submodule path 'x': checked out 'ab'"),
            ("remote: Hello", "remote: Hello"),
            ("", ""),
        ] {
            assert_eq!(about(line), said);
        }
    }
}
