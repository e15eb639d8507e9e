//! Windows metadata beside files on a system that has no place for it: in one extended attribute.

use super::Metadata;
use super::metadata::Records;
use crate::layer::tar::{read_records, write_records};

/// The extended attribute in which an unpacked Windows layer keeps what Linux has no place for. It is nothing
/// of the image's: no Linux layer brings or gets it.
pub const CARRIER: &str = "user.orlop.windows";

impl Metadata {
    /// The value of [`CARRIER`]: the PAX records, as a tar has them. Empty where there is nothing to say.
    pub fn to_carrier(&self) -> Vec<u8> {
        write_records(&self.records())
    }

    /// What a value of [`CARRIER`] says; none where it was not written by us.
    pub fn from_carrier(value: &[u8]) -> Option<Self> {
        let records: Records = read_records(value)?;
        Self::parse(&records).ok()
    }
}
