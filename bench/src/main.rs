//! Measures orlop beside buildah and Docker's BuildKit, on the same workloads, in the same run:
//!
//! ```text
//! bench/run --help
//! ```
//!
//! The first process ([`supervisor`]) installs what is missing, and starts itself again in namespaces of its
//! own, so that no mount, daemon or registry outlives it. In there [`comparison`] goes through rounds,
//! workloads, builders and cases, and [`growth`] through sizes. What counts is a ratio within one run.

#![cfg_attr(unix, expect(clippy::disallowed_methods, reason = "the bench starts programs"))]

#[cfg(unix)]
mod arguments;
#[cfg(unix)]
mod base;
#[cfg(unix)]
mod builder;
#[cfg(unix)]
mod case;
#[cfg(unix)]
mod chart;
#[cfg(unix)]
mod comparison;
#[cfg(unix)]
mod disk;
#[cfg(unix)]
mod floor;
#[cfg(unix)]
mod growth;
#[cfg(unix)]
mod image;
#[cfg(unix)]
mod interrupt;
#[cfg(unix)]
mod machine;
#[cfg(unix)]
mod measure;
#[cfg(unix)]
mod noise;
#[cfg(unix)]
mod peers;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod results;
#[cfg(unix)]
mod supervisor;
#[cfg(unix)]
mod table;
#[cfg(unix)]
mod workload;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    supervisor::run()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    use std::io::Write;
    // With standard error gone the exit code says it.
    let _ = writeln!(std::io::stderr(), "bench: the peers, which orlop is compared with, run on Linux alone");
    ExitCode::from(2)
}
