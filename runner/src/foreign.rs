//! Programs of other processors: whether a job can run them, and why not.
//!
//! The kernel's list of interpreters (`binfmt_misc`) tells what was registered; whether it works in a root, whether
//! this processor runs its family's 32-bit code, and whether the kernel was built for that, only an attempt tells.
//! So the smallest program of that processor is run as a job, in the very root, before the step is.

mod binfmt;
mod program;

use std::path::Path;

use crate::{CancelToken, Exit, Mount, Network, RunError, RunSpec, Runner, Stream};

use program::program;

/// Where the attempt is put, in a file system that the job alone has.
const PROBE: &str = "/dev/.orlop-probe";

/// Why programs of a processor do not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotRun {
    /// What the kernel was told, and what is missing.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// Why programs for `architecture` (Go's name) do not run in a job over `root`; none where they do, and for a
/// processor that nobody knows here.
///
/// # Errors
/// When the job that tries it cannot be set up.
pub fn cannot_run(
    runner: &dyn Runner,
    root: &Path,
    architecture: &str,
    cancel: &CancelToken,
) -> Result<Option<CannotRun>, RunError> {
    let Some(program) = program(architecture) else { return Ok(None) };
    let mut spec = RunSpec::new(root, [PROBE]);
    spec.mounts.push(Mount::file(PROBE, program.as_slice(), 0o755, 0, 0));
    spec.network = Network::None;
    let report = runner.run(&spec, &mut |_: Stream, _: &[u8]| (), cancel)?;
    if report.cancelled {
        return Err(RunError::Cancelled);
    }
    Ok(match report.exit {
        Exit::Code(0) => None,
        exit => Some(binfmt::explain(Path::new(binfmt::DIRECTORY), root, architecture, &program, exit)),
    })
}
