//! The conformance suite against this platform's runner.
//!
//! Not a libtest harness: each part is this program once more, with another role, and a job of the portable checks is
//! one too.

mod actor;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(windows)]
fn main() -> std::process::ExitCode {
    windows::main()
}

#[cfg(not(any(target_os = "linux", windows)))]
compile_error!("this platform has no runner to test");
