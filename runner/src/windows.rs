//! Jobs on Windows: a Job Object, an identity with less in it, and a directory as root.
//!
//! One RUN step passes through `step` (check, prepare, start, report), `process` (creation) and `supervise` (output
//! and end); the other files each hold one thing that these three need. What a Job Object does not hold by itself,
//! and how each of its known holes is closed, is the table in `windows/HOLES.md`.
//!
//! # How sure
//! There is no real Windows where this was written. Every decision that depends on the system is made from answers
//! behind a seam ([`job::JobCalls`], `identity::Calls`, [`console::Processes`]) and tested with recorded ones;
//! whatever Wine can do is run under Wine; the rest rests on Microsoft's documentation and says so.

mod accounting;
mod command_line;
mod console;
mod desktop;
mod environment;
mod events;
mod identity;
mod job;
mod junction;
mod library;
mod limits;
mod mitigation;
mod network;
mod pipes;
mod placements;
mod private;
mod process;
mod program;
mod security;
mod step;
mod strangers;
mod supervise;
mod times;
mod view;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{CancelToken, HostReport, Limits, OutputSink, RunError, RunReport, RunSpec, Runner};

/// Runs jobs in Job Objects, without any other program.
#[derive(Debug)]
pub struct WindowsRunner {
    scratch: PathBuf,
    calls: Arc<dyn identity::Calls>,
}

impl Default for WindowsRunner {
    fn default() -> Self {
        Self::new()
    }
}

impl WindowsRunner {
    /// A runner whose jobs have their temporary files in the user's own temporary directory.
    pub fn new() -> Self {
        Self::with_scratch(std::env::temp_dir())
    }

    /// A runner whose jobs have their temporary files in directories of their own below `scratch`.
    pub fn with_scratch(scratch: impl Into<PathBuf>) -> Self {
        Self { scratch: scratch.into(), calls: Arc::new(identity::Windows) }
    }

    /// Removes what commands left behind that were killed. Called once at the start of a command. Returns how many
    /// directories were removed.
    pub fn sweep_stale(&self) -> usize {
        private::sweep(&self.scratch)
    }
}

impl Runner for WindowsRunner {
    fn probe(&self) -> HostReport {
        HostReport { findings: job_findings() }
    }

    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<RunReport, RunError> {
        step::run(spec, &self.scratch, &self.calls, output, cancel)
    }
}

/// What a job of this host can be limited by: each limit is set on a job without processes and read back.
fn job_findings() -> Vec<crate::Confinement> {
    let limits = Limits {
        memory: Some(1 << 30),
        process_memory: Some(1 << 30),
        cpus: Some(0.5),
        pids: Some(100),
        cpu_time: Some(std::time::Duration::from_secs(3600)),
        net_rate: Some(1 << 20),
        ..Limits::default()
    };
    let host = limits::Host { processors: processors(), nested: job::nested() };
    let tried = |limits: &Limits| {
        let job = job::Job::new()?;
        limits::apply(&job, limits, host).map(|applied| applied.lines)
    };
    let weight = Limits { cpu_weight: Some(100), ..Limits::default() };
    let both = tried(&limits).and_then(|mut lines| {
        lines.extend(tried(&weight)?.into_iter().filter(|line| line.what == "cpu-weight"));
        Ok(lines)
    });
    both.unwrap_or_else(|failure| {
        vec![crate::Confinement::lesser("job", "a Job Object", "none", failure.to_string())]
    })
}

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// The host's Windows directory and its `System32`.
fn directories() -> io::Result<(PathBuf, PathBuf)> {
    library::system_directories()
}
