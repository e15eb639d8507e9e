//! Jobs on Linux: namespaces, a cgroup, capabilities and a seccomp filter, straight from this process.

/// Runs jobs by `clone3`, `pivot_root` and `execve`, without any other program.
///
/// Needs real root, or `rootless::enter` before. Call `enter_mount_namespace` once at the start of a command
/// that runs as real root, so that mounts made for jobs die with it.
#[derive(Debug, Default)]
pub struct LinuxRunner {
    _private: (),
}

impl LinuxRunner {
    /// A runner. Nothing is touched until it is used.
    pub fn new() -> Self {
        Self::default()
    }
}
