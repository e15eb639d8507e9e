//! What a job used, as far as the system really tells.

use std::time::Duration;

use super::job::JobCalls;
use crate::Usage;

/// Reads the counters of a job that has ended. A zero that cannot be is not told: Wine counts processes and says
/// zero to everything else, and so does a system that does not keep a counter.
pub(crate) fn usage(job: &dyn JobCalls, wall: Duration, left: Option<u64>) -> Usage {
    let mut usage = Usage { wall, processes_left: left, ..Usage::default() };
    if let Ok(counters) = job.counters() {
        usage.processes_total = (counters.total > 0).then_some(u64::from(counters.total));
        if !(counters.user + counters.kernel).is_zero() {
            usage.user = Some(counters.user);
            usage.system = Some(counters.kernel);
        }
    }
    usage.peak_memory = job.peak_memory().ok().filter(|bytes| *bytes > 0);
    if let Ok((read, written)) = job.io() {
        usage.io_read = Some(read);
        usage.io_written = Some(written);
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::job::Counters;
    use crate::windows::limits::tests::Recorded;

    const WALL: Duration = Duration::from_secs(2);

    #[test]
    fn a_real_system_tells_everything() {
        let (user, kernel) = (Duration::from_millis(700), Duration::ZERO);
        let counters = Counters { user, kernel, total: 3, active: 0 };
        let job = Recorded { counters, io: Some((0, 5)), peak: 100 << 20, ..Recorded::default() };
        let usage = usage(&job, WALL, Some(1));
        assert_eq!((usage.user, usage.system), (Some(user), Some(kernel)));
        assert_eq!((usage.processes_total, usage.processes_left), (Some(3), Some(1)));
        assert_eq!((usage.peak_memory, usage.io_read, usage.io_written), (Some(100 << 20), Some(0), Some(5)));
    }

    #[test]
    fn zeros_of_wine_are_not_told() {
        let counters = Counters { total: 6, ..Counters::default() };
        let usage = usage(&Recorded { counters, ..Recorded::default() }, WALL, None);
        assert_eq!(usage, Usage { wall: WALL, processes_total: Some(6), ..Usage::default() });
    }
}
