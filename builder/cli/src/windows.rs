//! What the program asks of Windows.

pub(crate) mod console;
pub(crate) mod container;
pub(crate) mod interrupt;
pub(crate) mod machine;
pub(crate) mod places;
pub(crate) mod private;
pub(crate) mod roots;
pub(crate) mod startup;

pub(crate) use orlop_runner::windows::WindowsRunner as HostRunner;

/// The runner of this program, which is its own keeper.
pub(crate) fn runner() -> HostRunner {
    match std::env::current_exe() {
        Ok(program) => HostRunner::new().with_keeper(program, vec![machine::KEEPER.into()]),
        // Then the system alone ends what a killed orlop leaves.
        Err(_) => HostRunner::new(),
    }
}
