//! What this host can give to jobs.

use std::io;

use super::cgroup::{Group, Layout};
use super::host::Host;
use super::mounts;
use super::seccomp;
use crate::{Capabilities, Confinement, HostReport, Limits};

/// Tries what a job needs, without starting one.
pub(super) fn probe() -> HostReport {
    let host = Host::read();
    let mut findings = Vec::new();
    let mut line = |what: &str, asked: &str, got: Result<(), (String, String)>| {
        findings.push(match got {
            Ok(()) => Confinement::full(what, asked),
            Err((got, why)) => Confinement::lesser(what, asked, got, why),
        });
    };
    line("user namespace", "the host's or one with a range of ids", user_namespace(&host));
    let mounts = mounts::tmpfs("a file system", &[], rustix::mount::MountAttrFlags::empty())
        .and_then(|tree| mounts::set_attributes(&tree))
        .map_err(|error| ("none".to_owned(), with_source(&error)));
    line("mounts", "detached trees with attributes (Linux 5.12)", mounts);
    let filter = match seccomp::filter(Capabilities::DOCKER_DEFAULT) {
        Some(_) => Ok(()),
        None => {
            Err(("none".to_owned(), "this architecture's system calls are not in orlop's table".to_owned()))
        }
    };
    line("seccomp", "Docker's default profile", filter);
    findings.extend(Group::create(&Layout::read(), &Limits::default()).confinement(&Limits::default()));
    HostReport { findings }
}

fn user_namespace(host: &Host) -> Result<(), (String, String)> {
    if host.initial_user_namespace || host.may_set_groups {
        return Ok(());
    }
    let why = "no subordinate ids: chown to other ids, and other users in the job, will fail";
    Err(("a single id".to_owned(), why.to_owned()))
}

fn with_source(error: &crate::RunError) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
