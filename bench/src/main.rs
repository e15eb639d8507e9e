//! Times orlop against Debian's buildah on the same Dockerfiles, side by side:
//!
//! ```text
//! cargo run -p orlop-bench -- [--runs N] [--orlop PROGRAM] [steps|layers|ignored]…
//! ```
//!
//! Needs root and Debian's buildah and runc (`fixtures/packages test` installs them). Without
//! `--orlop` a release build is made and measured.
//!
//! Each round builds with the one, then with the other, so that what else the machine does falls on
//! both. What counts is the ratio of the medians; times are wall-clock seconds of the whole command.

#[cfg(unix)]
mod builder;
#[cfg(unix)]
mod comparison;
#[cfg(unix)]
mod workload;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    comparison::run()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    use std::io::Write;
    // With standard error gone the exit code says it.
    let _ = writeln!(std::io::stderr(), "bench: buildah, which orlop is compared with, runs on Linux alone");
    ExitCode::from(2)
}
