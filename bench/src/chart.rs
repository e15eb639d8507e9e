//! Pictures that the README can show.

mod bars;

pub(crate) use bars::bars;
