//! What is allowed and most likely not meant: BuildKit's build checks, by their public names and with the same
//! verdicts.
//!
//! | where | what |
//! |---|---|
//! | `rules/` | one file for each rule, with its name |
//! | `rule.rs` | the names, and what each is about |
//! | `options.rs` | `# check=skip=…;error=true;experimental=…` |
//! | `findings.rs` | what was found so far, and what is not to be told |
//! | `walk.rs` | the order in which the rules see a Dockerfile |
//! | `reader.rs` | what ENV, ARG and mounts do with variables, here and in `--call=outline` |
//! | `scope.rs` | the variables of a stage, as far as they are known without building |
//! | `report.rs` | checks without a build |
//! | `windows.rs` | what steps on Windows warn of; these have no names and cannot be skipped |
//!
//! A build checks the stages that it needs, once it knows the images that they stand on; `--check` without a target
//! checks all of them, and does without an image that cannot be had.

mod findings;
mod options;
mod reader;
mod report;
mod rule;
mod rules;
mod scope;
mod walk;
pub mod windows;

pub use findings::Warning;
pub use options::{Options, OptionsError};
pub(crate) use reader::Reader;
pub(crate) use report::notes;
pub use report::{Note, Report, report};
pub use rule::Rule;
pub(crate) use scope::{Scope, Scopes};
pub use walk::{Bases, Checker, Unseen, Unsure};

#[cfg(test)]
mod tests;
