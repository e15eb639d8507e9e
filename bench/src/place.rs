//! Where a run has its place on the machine.

use std::io;
use std::path::PathBuf;

use crate::measure::{Group, Hierarchies, Meter};

/// A run's own directory and control group, and what it measures.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A directory of its own.
    pub(crate) work: PathBuf,
    /// A control group of its own, by name.
    pub(crate) group: Option<(Hierarchies, String)>,
    /// The program to measure.
    pub(crate) orlop: PathBuf,
}

impl Place {
    /// Where figures are read: in a new control group of this name, where there are some.
    pub(crate) fn meter(&self, label: &str) -> io::Result<Meter> {
        match &self.group {
            Some((all, name)) => Group::new(all, name, label).map(Meter::Group),
            None => Ok(Meter::Processes),
        }
    }
}
