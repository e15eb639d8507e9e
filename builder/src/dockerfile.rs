//! The Dockerfile language: text to instructions with spans.

mod heredoc;
mod instruction;
mod mount;

pub use heredoc::Heredoc;
pub use instruction::{
    Add, ArgDecl, Copy, Directives, Dockerfile, From, Healthcheck, Instruction, Invocation, Kind, Onbuild,
    Run, RunNetwork, RunSecurity, ShellOrExec, Stage, Warning, WarningKind, Word,
};
pub use mount::{Mount, MountFlag, MountKind, Sharing};
