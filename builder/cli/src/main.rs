//! The `orlop` program: flags, environment and files of configuration become values for the library;
//! its events become progress, its errors messages and exit codes.
//!
//! `main` → [`commands`] (one file a command) → [`session`] (store, registry client, runner, display)
//! → the library. [`startup`] comes before any thread; [`diagnostics`] is the end of every failure. What
//! only one system has is in `unix` or `windows`, under the same names: `system` is the one at hand.

mod clock;
mod commands;
mod config;
mod diagnostics;
mod env;
mod fields;
mod file;
mod global;
mod layers;
mod limits;
mod locked;
mod progress;
mod quantity;
mod remote;
mod session;
mod startup;
mod table;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

fn main() -> ExitCode {
    #[cfg(windows)]
    if let Some(code) = system::machine::as_step() {
        return u8::try_from(code).map_or_else(|_| exit(code), ExitCode::from);
    }
    // Not `parse`: that ends the process itself, and a pipe that closes early would panic it.
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, which may be gone, as may standard error.
            let _ = error.print();
            if let Some(hint) = commands::instead(&error) {
                let _ = writeln!(std::io::stderr(), "\nhint: {hint}");
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if cli.command.fails_in_json() {
                failure.report_as_json();
            } else {
                failure.report();
            }
            // Codes of Windows programs have 32 bits, which only the call itself takes.
            u8::try_from(failure.code()).map_or_else(|_| exit(failure.code()), ExitCode::from)
        }
    }
}

#[expect(clippy::exit, reason = "the code of a container's command that fits no byte")]
fn exit(code: i32) -> ExitCode {
    std::process::exit(code)
}
