//! What this process may do on this host.

use std::fs;

use rustix::thread::CapabilitySet;

/// Facts read once per job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    /// Not in a user namespace of our own: kernel file systems can be mounted without asking what the host's show.
    pub(super) initial_user_namespace: bool,
    /// A user namespace with a single id usually forbids it.
    pub(super) may_set_groups: bool,
    pub(super) may_raise_limits: bool,
    pub(super) capabilities: CapabilitySet,
}

impl Host {
    pub(super) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let initial_user_namespace = is_whole(&text("/proc/self/uid_map"));
        let capabilities =
            rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
        Self {
            initial_user_namespace,
            may_set_groups: text("/proc/self/setgroups").trim() != "deny",
            may_raise_limits: initial_user_namespace && capabilities.contains(CapabilitySet::SYS_RESOURCE),
            capabilities,
        }
    }
}

/// Whether a uid_map maps every id to itself, as the first user namespace's does.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_namespace_is_known_by_its_map() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0       1000          1\n         1     100000      65536\n"));
        assert!(!is_whole(""));
    }
}
