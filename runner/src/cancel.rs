//! [`CancelToken`]: how a Ctrl-C, a failed sibling step or a time limit reaches a running job.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const RUNNING: u8 = 0;
const STOPPING: u8 = 1;
const KILLING: u8 = 2;

type Callback = Arc<dyn Fn() + Send + Sync>;

/// A flag that many threads share and that wakes whoever waits for it.
///
/// Clones are the same token. There is no way back: a cancelled token stays cancelled.
#[derive(Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: AtomicU8,
    next: AtomicU64,
    callbacks: Mutex<Vec<(u64, Callback)>>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks jobs to end: they get SIGTERM, some time to tidy up, then SIGKILL.
    pub fn cancel(&self) {
        self.raise(STOPPING);
    }

    /// Ends jobs at once, without grace: a second Ctrl-C.
    pub fn kill(&self) {
        self.raise(KILLING);
    }

    /// Whether [`cancel`](Self::cancel) or [`kill`](Self::kill) was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) != RUNNING
    }

    /// Whether [`kill`](Self::kill) was called.
    pub fn is_killed(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) == KILLING
    }

    /// Calls `callback` at each cancellation, and at once when it has already happened, until the returned
    /// subscription is dropped. The callback runs on the cancelling thread and must not block.
    #[must_use = "the callback is forgotten when the subscription is dropped"]
    pub fn subscribe(&self, callback: impl Fn() + Send + Sync + 'static) -> Subscription {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let callback: Callback = Arc::new(callback);
        self.callbacks().push((id, Arc::clone(&callback)));
        if self.is_cancelled() {
            callback();
        }
        Subscription { token: self.clone(), id }
    }

    fn raise(&self, state: u8) {
        self.shared.state.fetch_max(state, Ordering::AcqRel);
        // Called outside the lock, so that a callback may drop subscriptions or cancel again.
        let callbacks: Vec<Callback> =
            self.callbacks().iter().map(|(_, callback)| Arc::clone(callback)).collect();
        for callback in callbacks {
            callback();
        }
    }

    fn callbacks(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Callback)>> {
        self.shared.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// Keeps a callback of [`CancelToken::subscribe`] alive.
#[derive(Debug)]
pub struct Subscription {
    token: CancelToken,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.token.callbacks().retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn subscribers_hear_of_early_and_late_cancellation_until_dropped() {
        let token = CancelToken::new();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = |token: &CancelToken| {
            let heard = Arc::clone(&heard);
            token.subscribe(move || {
                heard.fetch_add(1, Ordering::Relaxed);
            })
        };
        let early = count(&token);
        let dropped = count(&token);
        drop(dropped);
        token.clone().cancel();
        assert_eq!(heard.load(Ordering::Relaxed), 1);
        let _late = count(&token);
        assert_eq!(heard.load(Ordering::Relaxed), 2);
        drop(early);
        token.kill();
        assert_eq!(heard.load(Ordering::Relaxed), 3);
        assert!(token.is_cancelled() && token.is_killed());
        token.cancel();
        assert!(token.is_killed(), "cancel does not take a kill back");
    }
}
