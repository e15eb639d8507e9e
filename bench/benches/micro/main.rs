//! The parts of a build, one by one and in memory where that can be: `cargo bench -p orlop-bench`, or
//! `cargo bench -p orlop-bench -- compress` for those whose name has that in it.

mod bytes;
mod input;
mod language;
mod layer;
mod scan;

fn main() {
    divan::main();
}
