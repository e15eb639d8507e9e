//! How long each phase took.

use std::time::Duration;

/// Phases in which a thread does nothing but wait for what others do, and count.
const WAITING: [&str; 2] = ["wait", "pull"];

/// How long one phase took, by the clock: all the time in which at least one thread was at it.
///
/// A thread is at one phase at a time, the innermost of those that it is in. Several threads at the same phase count
/// once; threads at different phases count for each of them, so that all phases together may take longer than the
/// build where stages, downloads or uploads run side by side. What waits for another thread counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// The phase, as in a trace.
    pub phase: &'static str,
    /// How long.
    pub time: Duration,
}

/// The phases so far.
#[derive(Debug, Default)]
pub(super) struct Totals(Vec<Total>);

#[derive(Debug)]
struct Total {
    phase: &'static str,
    /// Threads that are at it, and since when there are some.
    threads: usize,
    since: Duration,
    time: Duration,
}

impl Totals {
    /// The place of a phase.
    pub(super) fn number(&mut self, phase: &'static str) -> usize {
        self.0.iter().position(|total| total.phase == phase).unwrap_or_else(|| {
            self.0.push(Total { phase, threads: 0, since: Duration::ZERO, time: Duration::ZERO });
            self.0.len() - 1
        })
    }

    /// A thread goes from one phase, or none, to another.
    pub(super) fn change(&mut self, from: Option<usize>, to: Option<usize>, now: Duration) {
        if from == to {
            return;
        }
        if let Some(total) = from.and_then(|from| self.0.get_mut(from)) {
            total.threads = total.threads.saturating_sub(1);
            if total.threads == 0 {
                total.time += now.saturating_sub(total.since);
            }
        }
        if let Some(total) = to.and_then(|to| self.0.get_mut(to)) {
            if total.threads == 0 {
                total.since = now;
            }
            total.threads += 1;
        }
    }

    /// What was spent until `now`, the most first.
    pub(super) fn times(&self, now: Duration) -> Vec<PhaseTime> {
        let time = |total: &Total| match total.threads {
            0 => total.time,
            _ => total.time + now.saturating_sub(total.since),
        };
        let counted = self.0.iter().filter(|total| !WAITING.contains(&total.phase));
        let mut times: Vec<_> =
            counted.map(|total| PhaseTime { phase: total.phase, time: time(total) }).collect();
        times.sort_by(|a, b| b.time.cmp(&a.time).then(a.phase.cmp(b.phase)));
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_overlaps_counts_once_for_a_phase_and_for_each_phase() {
        let mut totals = Totals::default();
        let (run, diff, wait) = (totals.number("run"), totals.number("diff"), totals.number("wait"));
        assert_eq!(totals.number("run"), run);
        // One thread runs from 0 to 10, another from 5 to 20; the first compares from 10 to 12.
        totals.change(None, Some(run), ms(0));
        totals.change(None, Some(run), ms(5));
        totals.change(Some(run), Some(diff), ms(10));
        totals.change(Some(diff), None, ms(12));
        totals.change(Some(run), Some(wait), ms(20));
        totals.change(Some(wait), Some(wait), ms(25));
        let expected = [PhaseTime { phase: "run", time: ms(20) }, PhaseTime { phase: "diff", time: ms(2) }];
        assert_eq!(totals.times(ms(99)), expected);
        // What goes on is counted as far as it is.
        totals.change(Some(wait), Some(diff), ms(30));
        assert_eq!(totals.times(ms(34))[1].time, ms(6));
    }
}
