//! The build language, the plan, the cache keys and the execution.

mod boolean;
pub mod cache;
pub mod check;
pub mod context;
pub mod dialect;
pub mod dockerfile;
mod error;
pub mod event;
pub mod execute;
pub mod outline;
pub mod output;
pub mod place;
pub mod plan;
mod redact;
pub mod request;
pub mod scope;
pub mod source;
pub mod trace;
pub mod transfer;

pub use boolean::boolean;
pub use dockerfile::suggest::nearest;
pub use error::{BuildError, ErrorKind, FailedStep, Place};
pub use execute::build;
pub use redact::masked;
pub use request::{BuildReport, BuildRequest, Engine};
