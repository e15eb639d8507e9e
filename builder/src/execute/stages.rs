//! Stages side by side: each needed stage is a thread, and whoever needs its result waits for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use orlop_store::trace::Trace;

use crate::error::BuildError;

/// Where a stage stands.
#[derive(Debug)]
enum State<T> {
    /// Nobody has begun it.
    Waiting,
    /// A thread builds it.
    Running,
    /// It is there.
    Done(Arc<T>),
    /// It failed; the first failure of the build is the build's error.
    Failed,
}

#[derive(Debug)]
struct Table<T> {
    states: Vec<State<T>>,
    /// For each stage, the one that its thread waits for.
    waits_for: Vec<Option<usize>>,
}

/// The results of all stages of a build, as they come.
#[derive(Debug)]
pub(crate) struct Stages<T> {
    table: Mutex<Table<T>>,
    changed: Condvar,
    trace: Trace,
}

/// Why a stage's result is not to be had.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// It failed, and its own error tells why.
    Failed,
    /// Waiting for it would never end: the places of the stages that need each other.
    Circle(Vec<usize>),
}

impl<T> Stages<T> {
    /// No stage of `count` has begun.
    pub(crate) fn new(count: usize, trace: &Trace) -> Self {
        let states = (0..count).map(|_| State::Waiting).collect();
        let table = Mutex::new(Table { states, waits_for: vec![None; count] });
        Self { table, changed: Condvar::new(), trace: trace.clone() }
    }

    /// Builds `index` with `build`, unless somebody has begun it already.
    pub(crate) fn run(
        &self,
        index: usize,
        build: impl FnOnce() -> Result<T, BuildError>,
    ) -> Result<(), BuildError> {
        {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(table.states[index], State::Waiting) {
                return Ok(());
            }
            table.states[index] = State::Running;
        }
        // A stage that panics must not leave the others waiting.
        let guard = Settle { stages: self, index };
        let result = build();
        let outcome = match result {
            Ok(value) => {
                self.settle(index, State::Done(Arc::new(value)));
                Ok(())
            }
            Err(error) => Err(error),
        };
        drop(guard);
        outcome
    }

    fn settle(&self, index: usize, state: State<T>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.states[index] = state;
        self.changed.notify_all();
    }

    /// Waits for the result of `index`, in the thread that builds `waiter`. `start` is called once if
    /// nobody has begun it, and must build it.
    pub(crate) fn wait(
        &self,
        waiter: Option<usize>,
        index: usize,
        start: impl FnOnce(),
    ) -> Result<Arc<T>, Unavailable> {
        let mut start = Some(start);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &table.states[index] {
                State::Done(value) => return Ok(Arc::clone(value)),
                State::Failed => return Err(Unavailable::Failed),
                State::Waiting => {
                    if let Some(start) = start.take() {
                        drop(table);
                        start();
                        table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                }
                State::Running => {}
            }
            if let Some(waiter) = waiter {
                let mut path = vec![waiter, index];
                let mut next = index;
                while next != waiter {
                    match table.waits_for[next] {
                        Some(other) => {
                            path.push(other);
                            next = other;
                        }
                        None => break,
                    }
                }
                if next == waiter {
                    return Err(Unavailable::Circle(path));
                }
                table.waits_for[waiter] = Some(index);
            }
            let _span = self.trace.span("wait", &[]);
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
            if let Some(waiter) = waiter {
                table.waits_for[waiter] = None;
            }
        }
    }
}

/// Marks a stage as failed when it is dropped before the stage is done.
struct Settle<'a, T> {
    stages: &'a Stages<T>,
    index: usize,
}

impl<T> Drop for Settle<'_, T> {
    fn drop(&mut self) {
        let mut table = self.stages.table.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(table.states[self.index], State::Running) {
            table.states[self.index] = State::Failed;
            self.stages.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_gets_what_another_thread_builds() {
        let stages = Stages::<u32>::new(2, &Trace::none());
        std::thread::scope(|s| {
            s.spawn(|| stages.run(0, || Ok(7)).unwrap());
            assert_eq!(*stages.wait(Some(1), 0, || stages.run(0, || Ok(7)).unwrap()).unwrap(), 7);
        });
    }

    #[test]
    fn a_failure_wakes_the_waiters() {
        let stages = Stages::<u32>::new(2, &Trace::none());
        let (begun, may_wait) = std::sync::mpsc::channel();
        std::thread::scope(|s| {
            s.spawn(|| {
                let fail = || {
                    begun.send(()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    Err(BuildError::user("no"))
                };
                stages.run(0, fail).unwrap_err()
            });
            may_wait.recv().unwrap();
            assert!(matches!(stages.wait(Some(1), 0, || ()), Err(Unavailable::Failed)));
        });
    }

    #[test]
    fn two_stages_that_wait_for_each_other_are_told() {
        let stages = Stages::<u32>::new(2, &Trace::none());
        let circle = |own: usize, other: usize| {
            stages.run(own, || match stages.wait(Some(own), other, || ()) {
                Err(Unavailable::Circle(path)) => Err(BuildError::user(format!("circle {path:?}"))),
                Err(Unavailable::Failed) => Err(BuildError::user("the other failed")),
                Ok(value) => Ok(*value),
            })
        };
        std::thread::scope(|s| {
            let one = s.spawn(|| circle(0, 1).unwrap_err().to_string());
            let two = s.spawn(|| circle(1, 0).unwrap_err().to_string());
            let mut said = [one.join().unwrap(), two.join().unwrap()];
            said.sort();
            assert!(said[0].starts_with("circle"), "{said:?}");
        });
    }
}
