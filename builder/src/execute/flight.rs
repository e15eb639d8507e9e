//! Steps that several stages or several platforms have in common: whoever comes to one first finds or makes it, and
//! the others wait for that and take it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_store::Digest;
use orlop_store::steps::StepKey;

/// What a step made or found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The new layer, if there is one.
    pub(crate) layer: Option<Digest>,
    /// When it was made, in milliseconds since 1970: the time that history says.
    pub(crate) created: i64,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Flight {
    /// Nobody has begun it.
    #[default]
    New,
    /// Somebody began it and did not finish: it failed, and with it the build.
    Failed,
    /// It is there, by the execution of that number.
    Done(Found, usize),
}

/// A step by its key; one that is to run anew is another than one that may be found.
type Which = (StepKey, bool);

/// The steps that one build came to. Whoever works on a step keeps it locked.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    table: Mutex<HashMap<Which, Arc<Mutex<Flight>>>>,
}

impl Flights {
    /// The step with that key, in a stage that is built without the cache or with it.
    pub(crate) fn of(&self, key: &StepKey, without_cache: bool) -> Arc<Mutex<Flight>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(table.entry((*key, without_cache)).or_default())
    }
}
