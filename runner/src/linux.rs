//! Jobs on Linux: namespaces, a cgroup, capabilities and a seccomp filter, straight from this process.
//!
//! One RUN step passes through `job` (prepare, start, report), `init` (what the new processes do) and `supervise`
//! (output and end); the other files each hold one thing that these three need.

mod cgroup;
mod failure;
mod host;
mod init;
mod job;
mod limits;
mod mounts;
mod network;
mod probe;
pub mod rootless;
mod seccomp;
mod stubs;
mod supervise;
mod syscall;
mod terminal;
pub mod user;

use crate::{CancelToken, HostReport, OutputSink, RunError, RunReport, RunSpec, Runner};

pub use rootless::enter_mount_namespace;

/// Runs jobs by `clone3`, `pivot_root` and `execve`, without any other program.
///
/// Needs real root, or [`rootless::enter`] before. Call [`enter_mount_namespace`] once at the start of a command
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

impl Runner for LinuxRunner {
    fn probe(&self) -> HostReport {
        probe::probe()
    }

    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<RunReport, RunError> {
        job::run(spec, output, cancel)
    }
}

/// Removes what commands left behind that were killed: their control groups, and any process in them. Called once
/// at the start of a command. Returns how many groups were removed.
pub fn sweep_stale() -> usize {
    cgroup::sweep(&cgroup::Layout::read())
}
