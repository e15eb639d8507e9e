//! Repositories as contexts, and what git is given of this machine wherever a build fetches one.

use std::path::Path;

use orlop_builder::Engine;
use orlop_builder::context::fetch::Fetched;
use orlop_builder::context::git::{self, GitAccess, GitReference, GitSettings};
use orlop_builder::event::Progress;
use orlop_builder::request::{BuildRequest, SshAgent};

use crate::diagnostics::Failure;
use crate::system::places;
use crate::{config, env};

/// The build argument that keeps `.git` in the context, as BuildKit has it.
const KEEP: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Variables, the ssh servers that the user knows, and the authorities whom the user trusts.
pub(super) fn settings() -> Result<GitSettings, Failure> {
    let known_hosts = places::home().map(|home| home.join(".ssh").join("known_hosts"));
    Ok(GitSettings {
        variables: env::for_git(),
        known_hosts: known_hosts.into_iter().collect(),
        authorities: config::authority_files()?,
    })
}

/// The repository that the context is, if it is one. A directory of that name comes first.
pub(super) fn repository(context: &Path) -> Result<Option<GitReference>, Failure> {
    let Some(reference) = context.to_str().filter(|_| !context.is_dir()).and_then(GitReference::parse) else {
        return Ok(None);
    };
    let wrong = |error: git::GitReferenceError| Failure::usage(error.to_string()).with_hint(error.hint());
    reference.map(Some).map_err(wrong)
}

/// Fetches the repository that is the context.
pub(super) fn load(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    reference: GitReference,
    request: &BuildRequest,
) -> Result<Fetched, Failure> {
    let reference = match request.build_args.iter().rev().find(|(name, _)| name == KEEP) {
        Some((_, value)) if !value.is_empty() => {
            let keep = orlop_builder::boolean(value).ok_or_else(|| {
                Failure::usage(format!("`--build-arg {KEEP}={value}`: neither true nor false"))
                    .with_hint(format!("write `{KEEP}=1`"))
            })?;
            if keep { reference.with_git_dir(true) } else { reference }
        }
        _ => reference,
    };
    let mut ssh = request.ssh.clone();
    // As buildx: who names a repository by ssh means the agent that runs.
    if ssh.is_empty()
        && reference.is_ssh()
        && let Some(socket) = env::SSH_AUTH_SOCK.get()
    {
        ssh.push(SshAgent { id: "default".to_owned(), socket: socket.into() });
    }
    let access = GitAccess { settings: &request.git, secrets: &request.secrets, ssh: &ssh };
    Ok(git::load(engine, progress, &reference, access, "context")?)
}
