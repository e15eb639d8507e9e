//! The conformance suite against this platform's runner.
//!
//! Not a libtest harness, because a user namespace can only be entered before there is a second thread: each part
//! is this program once more, with another role.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
compile_error!("this platform has no runner to test");
