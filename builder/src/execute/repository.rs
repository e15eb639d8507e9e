//! ADD of git repositories. The step's key is the commit, so it is found out first; the files are fetched when the
//! step has to be made, and not before.

use orlop_store::work::WorkDir;

use super::copy::{CopyRequest, RemoteTree, Source};
use super::files::Words;
use super::once::Once;
use super::stage::StageRun;
use crate::context::git::{GitAccess, GitReference, GitRepository, Phases, Resolved};
use crate::dockerfile::Add;
use crate::error::BuildError;
use crate::event::{Outcome, Task};

/// What names of repositories meant when they were first met, in ADD or as a context's: one build sees one commit,
/// whatever is pushed meanwhile.
pub(crate) type Commits = Once<Resolved>;

/// A repository among the sources of an ADD.
pub(crate) struct Repository {
    /// Its number among the sources.
    word: usize,
    reference: GitReference,
    resolved: Resolved,
}

/// Whether a source of ADD is a git repository.
pub(crate) fn is_git(source: &str) -> bool {
    GitReference::parse_url(source).is_some()
}

impl StageRun<'_, '_> {
    /// Finds out the commits of the repositories among the sources, and puts what is known of them in their place.
    pub(crate) fn find_repositories(
        &self,
        add: &Add,
        words: &Words<'_>,
        request: &mut CopyRequest,
        checksum: Option<&str>,
    ) -> Result<Vec<Repository>, BuildError> {
        let file = &self.exec.dockerfile().source;
        let mut out = Vec::new();
        for (word, source) in request.sources.iter_mut().enumerate() {
            let Source::Path(text) = source else { continue };
            let Some(reference) = GitReference::parse_url(text) else { continue };
            let place = |error| words.at(word, file, error);
            let mut reference = reference.map_err(|e| place(e.into()))?;
            if let (Some(flag), Some(query)) = (add.keep_git_dir, reference.keep_git_dir())
                && flag != query
            {
                return Err(place(
                    BuildError::user("`--keep-git-dir` and the URL's query do not agree about it")
                        .with_hint("leave one of them out".to_owned()),
                ));
            }
            if let Some(flag) = add.keep_git_dir {
                reference = reference.with_git_dir(flag);
            }
            if let Some(checksum) = checksum {
                let wrong = |error: BuildError| match &add.checksum {
                    Some(word) => error.at(file, word.span),
                    None => error,
                };
                reference = reference.with_checksum(checksum).map_err(|e| wrong(e.into()))?;
            }
            let resolved = self.commit_of(&reference).map_err(place)?;
            *source = Source::Tree(RemoteTree { key: reference.key(&resolved), path: None });
            out.push(Repository { word, reference, resolved });
        }
        Ok(out)
    }

    /// The commit that a repository's name means in this build.
    fn commit_of(&self, reference: &GitReference) -> Result<Resolved, BuildError> {
        self.exec.common.commits.get(&reference.question(), || {
            if let Some(resolved) = reference.pinned() {
                return Ok(resolved);
            }
            let dir = self.place("git-refs")?;
            let cancel = self.exec.engine.cancel;
            let repository = GitRepository::new(reference, dir.path(), self.access(), cancel, &|_| ())?;
            let task = self.exec.progress.start(format!("[{}] git {reference}", self.name()));
            let span = self.exec.engine.trace().span("fetch", &[]);
            let resolved = repository.resolve()?;
            drop(span);
            let name = resolved.name().map(|name| format!("{name} is ")).unwrap_or_default();
            task.note(format!("{name}commit {}", resolved.commit()));
            task.finish(Outcome::Done, None, None);
            Ok(resolved)
        })
    }

    /// Fetches the repositories. The files are gone when what is returned is.
    pub(crate) fn fetch_repositories(
        &self,
        repositories: &[Repository],
        words: &Words<'_>,
        request: &mut CopyRequest,
        task: &Task<'_>,
    ) -> Result<Vec<WorkDir>, BuildError> {
        let mut held = Vec::new();
        for Repository { word, reference, resolved } in repositories {
            let dir = self.place("git")?;
            let told = Phases::of(task);
            let progress = |line: &str| told.tell(line);
            let cancel = self.exec.engine.cancel;
            let _span = self.exec.engine.trace().span("fetch", &[]);
            let checkout = GitRepository::new(reference, dir.path(), self.access(), cancel, &progress)
                .and_then(|repository| repository.fetch(resolved))
                .map_err(|error| words.at(*word, &self.exec.dockerfile().source, error))?;
            if let Some(Source::Tree(tree)) = request.sources.get_mut(*word) {
                tree.path = Some(checkout.dir);
            }
            held.push(dir);
        }
        Ok(held)
    }

    fn place(&self, kind: &str) -> Result<WorkDir, BuildError> {
        Ok(self.exec.engine.store.work().create(kind).map_err(orlop_store::Error::from)?)
    }

    fn access(&self) -> GitAccess<'_> {
        let request = self.exec.request;
        GitAccess { settings: &request.git, secrets: &request.secrets, ssh: &request.ssh }
    }
}
