//! What git is given of this machine, where a build fetches a repository.

use orlop_builder::context::git::GitSettings;

use crate::diagnostics::Failure;
use crate::system::places;
use crate::{config, env};

/// Variables, the ssh servers that the user knows, and the authorities whom the user trusts.
pub(super) fn settings() -> Result<GitSettings, Failure> {
    let known_hosts = places::home().map(|home| home.join(".ssh").join("known_hosts"));
    Ok(GitSettings {
        variables: env::for_git(),
        known_hosts: known_hosts.into_iter().collect(),
        authorities: config::authority_files()?,
    })
}
