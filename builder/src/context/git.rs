//! Git repositories as build contexts and as sources of ADD: fetched by the program `git`, which has to be there
//! for this and for nothing else.
//!
//! [`GitReference::parse`] tells whether a text names a repository, and [`load`] fetches it for a build, into the store
//! and with progress. Within, `GitRepository` asks the server what commit is meant, and fetches that one.
//!
//! What comes from a repository is hostile. git runs with an environment of its own (see `environment.rs`), fetches
//! no more history than it must, and what is checked out is made the same on every machine and day: modes of git
//! and the commit's time. Credentials reach git by its environment, never by a command line, a file or a message.

mod checkout;
mod environment;
mod failure;
mod limits;
mod load;
mod program;
mod reference;
mod refs;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;

pub use load::load;
pub(crate) use load::{Phases, load_found};
use program::{Git, SILENCE};
pub use reference::{GitReference, GitReferenceError};
pub(crate) use refs::Resolved;

use crate::error::BuildError;
use crate::request::{Secret, SshAgent};

/// What git is given of the machine: values, because a library reads no environment.
#[derive(Clone, Debug, Default)]
pub struct GitSettings {
    /// Variables that it needs: `PATH`, those of proxies and certificates.
    pub variables: Vec<(OsString, OsString)>,
    /// Files of keys of ssh servers that the user knows (`~/.ssh/known_hosts`). A server with another key than
    /// there is refused; one that is not there is believed, as BuildKit does.
    pub known_hosts: Vec<PathBuf>,
    /// Files of certificates of authorities that are trusted as well as the system's.
    pub authorities: Vec<PathBuf>,
}

/// What git may use to be let in.
#[derive(Clone, Copy, Debug)]
pub struct GitAccess<'a> {
    /// Of the machine.
    pub settings: &'a GitSettings,
    /// `--secret`: those called `GIT_AUTH_HEADER` and `GIT_AUTH_TOKEN`, with `.HOST` behind or without.
    pub secrets: &'a [Secret],
    /// `--ssh`: the agent called `default`.
    pub ssh: &'a [SshAgent],
}

/// One repository, and a directory to work in.
pub(crate) struct GitRepository<'a> {
    reference: &'a GitReference,
    git: Git<'a>,
    dir: PathBuf,
}

impl std::fmt::Debug for GitRepository<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitRepository").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl<'a> GitRepository<'a> {
    /// Gets ready. `dir` is a directory of the caller's own, empty, in which everything happens and in which the
    /// checkout will be; `progress` is told what git says, line by line.
    ///
    /// # Errors
    /// When there is no git, or one that is too old; the directory cannot be used; a credential is none.
    pub(crate) fn new(
        reference: &'a GitReference,
        dir: &Path,
        access: GitAccess<'_>,
        cancel: &'a CancelToken,
        progress: &'a (dyn Fn(&str) + Sync),
    ) -> Result<Self, BuildError> {
        let environment = environment::of(reference, dir, access)?;
        let git = Git { environment, cancel, progress, silence: SILENCE };
        git.check(dir)?;
        Ok(Self { reference, git, dir: dir.to_owned() })
    }
}

impl From<GitReferenceError> for BuildError {
    fn from(error: GitReferenceError) -> Self {
        BuildError::user(error.to_string()).with_hint(error.hint())
    }
}
