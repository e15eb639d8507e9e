//! The Dockerfile language: text to instructions with spans.
//!
//! ```
//! use std::sync::Arc;
//! use orlop_builder::dockerfile::{self, Kind};
//! use orlop_builder::source::SourceFile;
//!
//! let source = Arc::new(SourceFile::new("Dockerfile", "FROM debian AS build\nWORKDIR /src\n"));
//! let file = dockerfile::parse(source)?;
//! assert_eq!(file.stages[0].from.image.value, "debian");
//! assert!(matches!(&file.stages[0].instructions[0].kind, Kind::Workdir(path) if path.value == "/src"));
//! # Ok::<(), dockerfile::ParseError>(())
//! ```
//!
//! What is accepted, and what it means, is what BuildKit's `docker/dockerfile` accepts and does. On the way a
//! byte passes `line` (comments and continuations go), `statement` (keyword, flags, arguments), `grammar` (one
//! function for each keyword, with `flags`, `words`, `mount` and `heredoc`) and `parser` (stages). Values stay
//! as they are written; [`variables`] expands them when their turn comes.

mod duration;
mod error;
mod flags;
mod grammar;
mod heredoc;
mod instruction;
mod line;
mod mount;
mod parser;
mod ports;
mod statement;
pub(crate) mod suggest;
pub mod variables;
mod words;

pub use error::ParseError;
pub(crate) use grammar::KEYWORDS;
pub use heredoc::Heredoc;
pub use instruction::{
    Add, ArgDecl, Copy, Device, Directives, Dockerfile, From, Healthcheck, Instruction, Invocation, Kind,
    Onbuild, Run, RunNetwork, RunSecurity, ShellOrExec, Stage, Warning, WarningKind, Word,
};
pub(crate) use mount::last_part;
pub use mount::{Mount, MountError, MountFlag, MountKind, Sharing};
pub use parser::{parse, parse_onbuild, parse_part};
pub use ports::{ExposedPorts, PortError};

#[cfg(test)]
mod tests;
