//! Layers that will be pushed are compressed while the steps after them still run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use orlop_runner::Subscription;
use orlop_store::{Compression, Digest, GrowingBlob};

use crate::output::Output;
use crate::request::Engine;

/// Smaller layers, in bytes, are compressed when they are sent: nothing is gained by having them earlier.
const WORTH_IT: u64 = 4 << 20;

/// A layer and those below it, bottom first.
type Chain = Vec<Digest>;

/// Takes layers that a build has made and that its image consists of. What is still being compressed when it is
/// dropped is given up.
#[derive(Debug)]
pub(super) struct Ahead {
    offer: Option<Sender<Chain>>,
    current: Arc<Current>,
    _until_cancelled: Subscription,
}

impl Ahead {
    /// Starts a thread that compresses what is [offered](Ahead::offer), where `outputs` have it pushed.
    pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, engine: &'s Engine<'_>, outputs: &[Output]) -> Self {
        let current = Arc::new(Current::default());
        let cancelled = Arc::clone(&current);
        let until_cancelled = engine.cancel.subscribe(move || cancelled.stop());
        let compression = outputs.iter().find_map(|output| match output {
            Output::Registry { packing, .. } => Some(packing.export(true).compression),
            _ => None,
        });
        let offer = compression.filter(|compression| *compression != Compression::None).map(|compression| {
            let (offer, offered) = channel();
            let current = Arc::clone(&current);
            scope.spawn(move || work(engine, &offered, compression, &current));
            offer
        });
        Self { offer, current, _until_cancelled: until_cancelled }
    }

    /// Takes the layer that `chain` ends with, of `size` bytes.
    pub(super) fn offer(&self, chain: &[Digest], size: u64) {
        if let Some(offer) = &self.offer
            && size >= WORTH_IT
        {
            // Nobody takes it where the build is ending: then the push does it.
            let _ = offer.send(chain.to_vec());
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.current.stop();
    }
}

/// What is being compressed, and whether it still is to be.
#[derive(Debug, Default)]
struct Current(Mutex<(Option<GrowingBlob>, bool)>);

impl Current {
    fn lock(&self) -> MutexGuard<'_, (Option<GrowingBlob>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut current = self.lock();
        current.1 = true;
        if let Some(growing) = &current.0 {
            growing.abandon();
        }
    }

    fn begin(&self, growing: GrowingBlob) {
        let mut current = self.lock();
        if current.1 {
            growing.abandon();
        }
        current.0 = Some(growing);
    }
}

fn work(engine: &Engine<'_>, offered: &Receiver<Chain>, compression: Compression, current: &Current) {
    engine.trace().thread("compress");
    for chain in offered {
        let Some((diff_id, below)) = chain.split_last() else { continue };
        if current.lock().1 {
            break;
        }
        // The registry may have what it had once.
        if !engine.store.made_before(diff_id, compression).is_ok_and(|made| made.is_none()) {
            continue;
        }
        // What goes wrong here goes wrong in the push as well, and is told there.
        let _ = engine.store.layer_blob_along(below, diff_id, compression, |growing| current.begin(growing));
        current.lock().0 = None;
    }
}
