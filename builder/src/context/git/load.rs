//! A repository as a context: fetched into a directory that lives as long as the value, with a task that says how
//! far it is.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use orlop_runner::Stream;
use orlop_store::work::WorkDir;

use super::{Checkout, GitAccess, GitReference, GitRepository, Resolved};
use crate::context::Dir;
use crate::dialect::Dialect;
use crate::error::BuildError;
use crate::event::{Outcome, Progress, Task};
use crate::request::Engine;

/// A repository's files, gone with this value.
#[derive(Debug)]
pub struct GitContext {
    checkout: Checkout,
    _work: WorkDir,
}

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
) -> Result<GitContext, BuildError> {
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
) -> Result<GitContext, BuildError> {
    let work = engine.store.work().create("git").map_err(orlop_store::Error::from)?;
    let task = progress.start(format!("[{name}] load {reference}"));
    let phases = Phases::of(&task);
    let said = |line: &str| phases.tell(line);
    let repository = GitRepository::new(reference, work.path(), access, engine.cancel, &said)?;
    let checkout = find(&repository).and_then(|resolved| repository.fetch(&resolved))?;
    task.note(format!("commit {}", checkout.commit));
    let context = GitContext { checkout, _work: work };
    if context.is_file(".dockerignore")? {
        // Of a context that is no directory of this machine BuildKit has it so.
        task.note(
            "the `.dockerignore` in the repository leaves nothing out: `--ignorefile` names one that does",
        );
    }
    task.finish(Outcome::Done, None, None);
    Ok(context)
}

impl GitContext {
    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.checkout.dir
    }

    /// The content of a file, at most one byte more than `limit`, links followed as far as they stay in the
    /// repository. `None` where there is no such file.
    ///
    /// # Errors
    /// When it is something else than a file, or cannot be read.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, BuildError> {
        let failed = |e| BuildError::user(format!("cannot read `{name}` in the repository")).because(e);
        let found = Dir::open(self.path())
            .and_then(|root| root.resolve(Path::new(name), true, Dialect::host(), &mut |_, _| true))
            .map_err(failed)?;
        let (Some(meta), [file]) = (found.meta, found.rest.as_slice()) else { return Ok(None) };
        if meta.is_dir() {
            return Ok(None);
        }
        let mut out = Vec::new();
        let file = found.dir.file(file).map_err(failed)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut out).map_err(failed)?;
        Ok(Some(out))
    }

    fn is_file(&self, name: &str) -> Result<bool, BuildError> {
        let meta = Dir::open(self.path()).and_then(|root| root.find(OsStr::new(name)));
        let meta = meta.map_err(|e| BuildError::internal("cannot look into the repository").because(e))?;
        Ok(meta.is_some_and(|meta| !meta.is_dir()))
    }
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
