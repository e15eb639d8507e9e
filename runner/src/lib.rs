//! One contained job: from a [`RunSpec`] to a [`RunReport`].
//!
//! A job is a tree of processes that is started, counted, limited, accounted and killed as one unit, over a
//! directory that becomes its root. The crate knows nothing of Dockerfiles, images or layers: it gets a directory,
//! a command and limits, and says what happened.
//!
//! [`Runner`] is the one trait; `linux::LinuxRunner` makes a job of namespaces and a cgroup, `windows::WindowsRunner`
//! one of a Job Object. What every runner has to do is written down as named checks in [`conformance`].
//!
//! ```no_run
//! # #[cfg(target_os = "linux")]
//! # fn main() -> Result<(), orlop_runner::RunError> {
//! use orlop_runner::{CancelToken, Exit, RunSpec, Runner, linux::LinuxRunner};
//!
//! let runner = LinuxRunner::new();
//! let spec = RunSpec::new("/var/tmp/rootfs", ["/bin/sh", "-c", "echo hello"]);
//! let mut collected = Vec::new();
//! let mut sink = |_stream, bytes: &[u8]| collected.extend_from_slice(bytes);
//! let report = runner.run(&spec, &mut sink, &CancelToken::new())?;
//! assert_eq!(report.exit, Exit::Code(0));
//! # Ok(())
//! # }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```

mod cancel;
mod capability;
pub mod conformance;
mod error;
pub mod foreign;
mod report;
mod spec;

#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(windows)]
pub mod windows;

pub use cancel::{CancelToken, Subscription};
pub use capability::{Capabilities, Capability};
pub use error::{Missing, RunError, SpecError};
pub use report::{Confinement, Exit, HostReport, JobEvent, JobEventKind, LimitHit, RunReport, Usage};
pub use spec::{
    Account, HostAddress, HostEntry, Hostname, Identity, Isolation, Limits, Mitigation, Mount, MountKind,
    Network, RunSpec, Security, Stdin, Terminal, Ulimit, UlimitKind, User, WindowsOptions,
};

/// Which of a job's two output streams some bytes came from.
///
/// With a [`Terminal`] the kernel mixes both, and everything arrives as [`Stream::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1 of the job.
    Stdout,
    /// File descriptor 2 of the job.
    Stderr,
}

/// Receives a job's output while it runs, in the order in which the runner read it.
///
/// Called on the thread that called [`Runner::run`], never concurrently. A sink that is slow slows the job down:
/// its pipe fills up and it waits. Any `FnMut(Stream, &[u8])` is a sink.
pub trait OutputSink {
    /// Takes the next bytes of one stream. Cuts may fall anywhere, also inside a character.
    fn output(&mut self, stream: Stream, bytes: &[u8]);
}

impl<F: FnMut(Stream, &[u8])> OutputSink for F {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self(stream, bytes);
    }
}

/// Runs jobs. One runner is shared by all threads of a build; each call of [`Runner::run`] is one job.
///
/// # Lifecycle of a job
/// 1. Everything is prepared and checked: what was asked for and cannot be had is a [`RunError`], before any
///    process exists. Nothing that was asked for is left out silently.
/// 2. The job starts, output goes to the sink. `run` blocks its thread until the job's last process is gone.
/// 3. The job ends: its first process exited (whatever it left behind is killed), a limit was hit, the token was
///    cancelled, or the calling process died. In each case the whole tree is gone, and mounts and limit groups
///    with it.
/// 4. What the runner created inside the root only to mount over it is removed, with the parents' times as they
///    were, whatever the outcome. Then the report is returned.
pub trait Runner: Send + Sync {
    /// What this host can give, found out by trying rather than by version numbers. Cheap enough for each command.
    fn probe(&self) -> HostReport;

    /// Runs one job to its end.
    ///
    /// A command that fails, is killed or cannot be found is not an error here but an [`Exit`]: 127 where there is
    /// no such command and 126 where it cannot be executed, with a line on stderr, as a shell does it.
    ///
    /// # Errors
    /// [`RunError`] when the job could not be set up as asked for; [`RunError::Cancelled`] when the token was
    /// cancelled before the job started.
    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<RunReport, RunError>;
}
