//! Repositories as contexts, and what git is given of this machine wherever a build fetches one.

use std::path::Path;

use orlop_builder::Engine;
use orlop_builder::context::fetch;
use orlop_builder::context::git::{self, GitAccess, GitContext, GitReference, GitSettings};
use orlop_builder::event::Progress;
use orlop_builder::request::{BuildRequest, ContextSource, SshAgent};

use super::context::{self, MAX_TEXT};
use crate::diagnostics::Failure;
use crate::system::places;
use crate::{config, env, file};

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

/// Fetches the repository and makes it the context of `request`, with the Dockerfile in it that `file` says.
pub(super) fn load(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    reference: GitReference,
    (file, ignorefile): (Option<&Path>, Option<&Path>),
    request: &mut BuildRequest,
) -> Result<GitContext, Failure> {
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
    let loaded = git::load(engine, progress, &reference, access, "context")?;
    request.dockerfile = match file {
        Some(path) if path == Path::new("-") => context::parse("-", context::stdin()?)?,
        Some(path) if context::is_url(path) => {
            let url = path.to_string_lossy();
            context::parse(&fetch::shown(&url), fetch::download_text(engine, progress, &url)?)?
        }
        // Of this machine, as with Docker.
        Some(path) if path.is_absolute() => {
            context::parse(&path.to_string_lossy(), file::read(path, MAX_TEXT)?)?
        }
        Some(path) => {
            let name = path.to_string_lossy();
            let bytes = loaded.read(&name, MAX_TEXT)?.ok_or_else(|| {
                let own = std::path::absolute(path).ok().filter(|own| own.is_file());
                Failure::user(format!("there is no `{name}` in `{reference}`"))
                    .with_hint(own.map(|own| format!("the file of this machine is `-f {}`", own.display())))
            })?;
            context::parse(&name, bytes)?
        }
        None => {
            let names = ["Dockerfile", "dockerfile", "Containerfile"];
            let found = names.iter().find_map(|name| match loaded.read(name, MAX_TEXT) {
                Ok(None) => None,
                Ok(Some(bytes)) => Some(Ok((*name, bytes))),
                Err(error) => Some(Err(error)),
            });
            let (name, bytes) = found.transpose()?.ok_or_else(|| {
                Failure::user(format!("there is no `Dockerfile` in `{reference}`")).with_hint(
                    "name the file with `-f FILE`, or the directory that it is in: `#REF:DIRECTORY`"
                        .to_owned(),
                )
            })?;
            context::parse(name, bytes)?
        }
    };
    request.ignore = match ignorefile {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = context::parse(&name, file::read(path, MAX_TEXT)?)?.text().to_owned();
            Some((text, name))
        }
    };
    request.context = ContextSource::Fetched(loaded.path().to_owned());
    Ok(loaded)
}
