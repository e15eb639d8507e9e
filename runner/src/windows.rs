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
mod ending;
mod environment;
mod events;
mod identity;
mod job;
mod junction;
mod keeper;
mod library;
mod limits;
mod marks;
mod memory;
mod mitigation;
mod network;
mod pipes;
mod placements;
mod places;
mod private;
mod probe;
mod process;
mod program;
mod security;
pub mod selftest;
mod step;
mod strangers;
mod supervise;
mod times;
mod view;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{CancelToken, HostReport, OutputSink, RunError, RunReport, RunSpec, Runner};

/// Runs jobs in Job Objects, without any other program.
#[derive(Debug)]
pub struct WindowsRunner {
    scratch: PathBuf,
    calls: Arc<dyn identity::Calls>,
    keepers: keeper::Keepers,
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
        let keepers = keeper::Keepers::default();
        Self { scratch: scratch.into(), calls: Arc::new(identity::Windows), keepers }
    }

    /// The same with a second process, started with the first job, that ends what is left of the jobs when this
    /// process dies. `program` calls [`keep`] when it is given `arguments`. Without one the system alone ends them.
    #[must_use]
    pub fn with_keeper(self, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { keepers: keeper::Keepers::new(program, arguments), ..self }
    }

    /// What this system is, by name and number; as Wine plays it, where it is that.
    pub fn system(&self) -> String {
        self.calls.system().to_string()
    }

    /// Whether a job's root can be had on a drive letter of its own.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn letter(&self) -> Result<(), String> {
        identity::letter::session(self.calls.as_ref()).map(drop)
    }

    /// Removes what commands left behind that were killed: directories for temporary files and AppContainer
    /// profiles. Called once at the start of a command. Returns how many.
    pub fn sweep_stale(&self) -> usize {
        private::sweep(&self.scratch) + identity::sweep(self.calls.as_ref())
    }
}

impl Runner for WindowsRunner {
    fn probe(&self) -> HostReport {
        probe::probe(self.calls.as_ref())
    }

    fn run(
        &self,
        spec: &RunSpec,
        output: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<RunReport, RunError> {
        step::run(spec, &self.scratch, &self.calls, &self.keepers, output, cancel)
    }
}

/// What the second process does that [`WindowsRunner::with_keeper`] starts, until `input`, which is its standard input,
/// ends.
pub fn keep(input: &mut dyn io::Read) {
    keeper::serve(input);
}

/// The host's Windows directory and its `System32`.
fn directories() -> io::Result<(PathBuf, PathBuf)> {
    places::system()
}
