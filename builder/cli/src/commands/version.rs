//! `orlop version`.

use clap::Args;
use serde_json::json;

use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::table;

/// Show the version
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// `table` for one line, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Runs the command.
pub(crate) fn run(args: &VersionArgs) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    table::lines([match args.format {
        ListFormat::Table => format!("orlop {version}"),
        ListFormat::Json => json!({
            "Version": version,
            "Os": std::env::consts::OS,
            "Architecture": std::env::consts::ARCH,
        })
        .to_string(),
    }])
}
