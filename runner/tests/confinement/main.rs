//! The self-test of a job's confinement, on the Windows or Wine at hand. Has no harness, because the steps that attack
//! are this program again.
//!
//! `cargo test -p orlop-runner --test confinement [NAME]` runs the checks whose names hold `NAME`.

#[cfg(windows)]
mod windows;

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    windows::main()
}

#[cfg(not(windows))]
fn main() {
    // What jobs on other systems have to hold is among the conformance checks.
}
