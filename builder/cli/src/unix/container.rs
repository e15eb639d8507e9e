//! What `orlop run` needs of the system.

use orlop_runner::RunSpec;
use orlop_runner::linux::user;

use crate::diagnostics::Failure;

/// Whether images can be run here at all.
pub(crate) fn check() -> Result<(), Failure> {
    Ok(())
}

/// Whom the command runs as, by the names in the image.
pub(crate) fn set_user(spec: &mut RunSpec, user: &str) -> Result<(), Failure> {
    spec.user = user::resolve(&spec.root, user)
        .map_err(|error| Failure::user(error.to_string()).because(&error).with_hint(error.hint()))?;
    Ok(())
}
