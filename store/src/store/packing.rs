//! The blobs of layers that threads of this process are making.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::blob::GrowingBlob;
use crate::digest::Digest;

/// A layer, and how it is compressed.
type Which = (Digest, String);

/// Those that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Packing(Mutex<HashMap<Which, GrowingBlob>>);

impl Packing {
    /// The blob of the layer that somebody is making.
    pub(super) fn find(&self, diff_id: &Digest, recipe: &str) -> Option<GrowingBlob> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(*diff_id, recipe.to_owned())).cloned()
    }

    /// Lets others find a blob, until the result is dropped.
    pub(super) fn note(&self, diff_id: &Digest, recipe: &str, growing: &GrowingBlob) -> Noted<'_> {
        let which = (*diff_id, recipe.to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(which.clone(), growing.clone());
        Noted { all: self, which }
    }
}

/// One that others find.
#[derive(Debug)]
pub(super) struct Noted<'a> {
    all: &'a Packing,
    which: Which,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.which);
    }
}
