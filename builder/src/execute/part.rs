//! What a step's result depends on.

use std::io;

use orlop_store::steps::{KeyPart, Parts};

use super::copy::Selection;
use crate::error::BuildError;

/// One thing, or what is said of all the files of a copy.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    One(KeyPart),
    Files(&'a Selection),
}

impl From<KeyPart> for Part<'_> {
    fn from(part: KeyPart) -> Self {
        Self::One(part)
    }
}

/// All of it, in order.
#[derive(Debug)]
pub(crate) struct PartList<'a>(pub(crate) Vec<Part<'a>>);

impl Parts for PartList<'_> {
    fn each(&self, take: &mut dyn FnMut(&str, &str, &str)) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::One(part) => take(&part.kind, &part.name, &part.value),
                Part::Files(selection) => {
                    selection.each_key_part(&mut |path, what| take("file", path, what))?
                }
            }
        }
        Ok(())
    }
}

/// Where the files of a copy cannot be gone through a second time.
pub(crate) fn list_error(error: &io::Error) -> BuildError {
    BuildError::internal("cannot read the list of the files that are copied").because(error.to_string())
}
