//! The `orlop` program.
mod env;
mod progress;
mod quantity;
fn main() {}
