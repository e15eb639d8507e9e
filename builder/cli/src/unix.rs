//! What the program asks of a Unix system.

pub(crate) mod console;
pub(crate) mod container;
pub(crate) mod interrupt;
pub(crate) mod machine;
pub(crate) mod places;
pub(crate) mod private;
pub(crate) mod startup;

pub(crate) use orlop_runner::linux::LinuxRunner as HostRunner;

/// The runner of this program.
pub(crate) fn runner() -> HostRunner {
    HostRunner::new()
}
