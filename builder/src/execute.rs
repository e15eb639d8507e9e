//! The execution of a plan's steps.

pub mod copy;
