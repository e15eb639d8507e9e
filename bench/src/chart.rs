//! Pictures that the README can show.

mod bars;
mod plots;

pub(crate) use bars::bars;
pub(crate) use plots::plots;
