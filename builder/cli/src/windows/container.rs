//! What `orlop run` would need of the system.

use orlop_runner::{Account, RunSpec};

use crate::diagnostics::Failure;

/// Whether images can be run here at all: an image's command expects its files at `C:\\`, which a job cannot
/// show to it.
pub(crate) fn check() -> Result<(), Failure> {
    Err(Failure::user(
        "images are built on Windows, not run: a job cannot show a program the image as its `C:\\`",
    )
    .with_hint("try a command in a RUN step, or push the image to where Windows containers run".to_owned()))
}

/// Whom the command runs as.
pub(crate) fn set_user(spec: &mut RunSpec, user: &str) -> Result<(), Failure> {
    spec.windows.account = match user.to_ascii_lowercase().as_str() {
        "" | "containeradministrator" => Account::Administrator,
        "containeruser" => Account::User,
        _ => {
            return Err(Failure::user(format!("there is no user `{user}` here"))
                .with_hint("one of `ContainerAdministrator`, `ContainerUser`".to_owned()));
        }
    };
    Ok(())
}
