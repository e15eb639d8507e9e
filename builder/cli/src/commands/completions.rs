//! `orlop completions`: a script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::diagnostics::Failure;

/// Write a completion script for a shell
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "orlop", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(|error| Failure::stdout(&error))
}
