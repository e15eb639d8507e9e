//! What a build finds out once: whoever asks again, for another stage or another platform, hears the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BuildError;

/// Answers by what was asked.
pub(crate) struct Once<T>(Mutex<HashMap<String, Arc<Mutex<Option<T>>>>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    /// The answer to `question`, found by `find` where it is not known. Who asks the same meanwhile waits for it, and
    /// whoever asks something else does not. What could not be found out is asked again.
    ///
    /// # Errors
    /// Those of `find`.
    pub(crate) fn get(
        &self,
        question: &str,
        find: impl FnOnce() -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let slot = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(table.entry(question.to_owned()).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(known) => Ok(known.clone()),
            None => Ok(slot.insert(find()?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_who_ask_at_once_ask_once() {
        let (table, asked) = (Once::default(), AtomicUsize::new(0));
        let find = || {
            thread::sleep(Duration::from_millis(50));
            Ok(asked.fetch_add(1, Ordering::SeqCst))
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(table.get("a", find).unwrap(), 0));
            }
        });
        assert_eq!(table.get("b", find).unwrap(), 1);
        assert_eq!(asked.into_inner(), 2);
    }

    #[test]
    fn what_failed_is_asked_again() {
        let table = Once::default();
        assert!(table.get("a", || Err(BuildError::user("no"))).is_err());
        assert_eq!(table.get("a", || Ok(7)).unwrap(), 7);
        assert_eq!(table.get("a", || panic!("it is known")).unwrap(), 7);
    }
}
