//! `orlop version`.

use clap::Args;

use crate::diagnostics::Failure;
use crate::table;

/// Show the version
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {}

/// Runs the command.
pub(crate) fn run(_args: &VersionArgs) -> Result<(), Failure> {
    table::lines([concat!("orlop ", env!("CARGO_PKG_VERSION")).to_owned()])
}
