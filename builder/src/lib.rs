//! The build language, the plan, the cache keys and the execution.

pub mod context;
pub mod dockerfile;
pub mod execute;
pub mod source;
