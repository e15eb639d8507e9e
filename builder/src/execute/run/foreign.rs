//! Before a RUN of another processor's programs: whether they run here.

use std::path::Path;

use orlop_runner::{CancelToken, RunError, Runner, foreign};
use orlop_store::Platform;

use crate::error::BuildError;

/// Fails where programs for `platform` cannot run over `root` on this machine, with what is missing. It is tried and
/// not guessed; for this machine's own processor nothing is done.
///
/// # Errors
/// When they cannot; or the attempt could not be made.
pub fn check_machine(
    runner: &dyn Runner,
    root: &Path,
    platform: &Platform,
    cancel: &CancelToken,
) -> Result<(), BuildError> {
    let host = Platform::host();
    // Of another system it is the runner that refuses it; an image that does not say has to be tried by whoever
    // runs it.
    if platform.os != host.os
        || platform.architecture.is_empty()
        || platform.architecture == host.architecture
    {
        return Ok(());
    }
    match foreign::cannot_run(runner, root, &platform.architecture, cancel) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(BuildError::user(format!("this machine cannot run {platform} programs"))
            .because(reason.why)
            .with_hint(reason.hint)),
        Err(RunError::Cancelled) => Err(BuildError::interrupted()),
        Err(error) => {
            let hint = error.hint();
            Err(BuildError::internal(format!(
                "cannot find out whether this machine runs {platform} programs"
            ))
            .because(error)
            .with_hint(hint))
        }
    }
}
