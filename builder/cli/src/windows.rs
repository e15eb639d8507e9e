//! What the program asks of Windows.

pub(crate) mod console;
pub(crate) mod container;
pub(crate) mod interrupt;
pub(crate) mod machine;
pub(crate) mod places;
pub(crate) mod roots;
pub(crate) mod startup;

pub(crate) use orlop_runner::windows::WindowsRunner as HostRunner;
