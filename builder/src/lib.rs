//! The build language, the plan, the cache keys and the execution.

pub mod dockerfile;
pub mod source;
