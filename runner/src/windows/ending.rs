//! Ending the processes of a job.
//!
//! `TerminateJobObject` alone has two gaps under Wine. It misses a process that is just being made, so that it has to
//! be called until the job is empty. And a process that it meets before its first word to the system leaves a program
//! of the host that waits for an answer for ever, in no list of Windows and out of reach of its calls. So those that
//! have spoken are ended one by one, which leaves nobody who could make another, and the job as a whole only when
//! nobody is on the way. On Windows a process has its environment block when its maker gets the handle: there nobody
//! is ever found on the way, and the first turn ends the whole job.
#![expect(unsafe_code, reason = "opens and ends processes")]

use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess,
};

use super::identity::Failure;
use super::job::{Job, JobCalls};
use super::process::wait;
use super::{marks, strangers};

/// The exit code of what is ended from outside: what a shell shows for a killed command.
pub(super) const KILLED: u32 = 137;
/// How long those on the way are waited for. A machine under load takes a second for a few hundred of them.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long many are ended one by one: a machine under load may take longer for each than they for another.
const HASTE: Duration = Duration::from_secs(1);
/// How many processes are ended one by one even where they do not become fewer.
const FEW: usize = 40;
/// How long a job has to have nobody in the system's list to be empty although it counts somebody.
const UNLISTED: Duration = Duration::from_millis(500);

/// A job that is being ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    job: &'a Job,
    since: Instant,
    /// How many there were at the last turn.
    before: usize,
    unlisted: Option<Instant>,
    /// Whether those that are still counted cannot run. They may have handles of those that made them.
    pub(super) only_counted: bool,
    /// Why the last call to end the whole job did not, if it failed.
    pub(super) failed: Option<Failure>,
}

impl<'a> Ending<'a> {
    /// Nothing is done before the first turn.
    pub(super) fn new(job: &'a Job) -> Self {
        Self {
            job,
            since: Instant::now(),
            before: usize::MAX,
            unlisted: None,
            only_counted: false,
            failed: None,
        }
    }

    /// One turn, to be repeated until nobody is left. Returns the ids of those who are, or nothing when it is done.
    ///
    /// # Errors
    /// The job cannot be asked.
    pub(super) fn turn(&mut self) -> Result<Option<Vec<u32>>, Failure> {
        let ids = self.job.ids()?;
        let mut turn = Turn { on_the_way: 0, listed: true };
        let more = ids.len() > FEW && (ids.len() >= self.before || self.since.elapsed() > HASTE);
        self.before = ids.len();
        if more {
            // They make others faster than they can be ended one by one.
            self.failed = self.job.terminate(KILLED).err();
            turn.listed = self.is_listed();
        } else {
            turn = one_by_one(self.job, &ids);
            if turn.on_the_way == 0 || self.since.elapsed() > PATIENCE {
                self.failed = self.job.terminate(KILLED).err();
            }
        }
        if self.job.counters()?.active == 0 {
            return Ok(None);
        }
        // Wine goes on counting a process whose maker was ended before it had a thread, and some that are in no list
        // either. Real or not: what can run is in the system's list.
        self.unlisted = match turn.listed {
            true => None,
            false => self.unlisted.or(Some(Instant::now())),
        };
        if self.unlisted.is_some_and(|since| since.elapsed() > UNLISTED) {
            self.only_counted = true;
            return Ok(None);
        }
        self.job.ids().map(Some)
    }

    fn is_listed(&self) -> bool {
        let all = strangers::list();
        let ids = self.job.ids().unwrap_or_default();
        ids.iter().any(|pid| all.iter().any(|listed| listed.pid == *pid))
    }
}

#[derive(Debug)]
struct Turn {
    /// Those that have not spoken yet.
    on_the_way: usize,
    /// Whether there was anybody who can run.
    listed: bool,
}

/// Ends the processes that have spoken.
fn one_by_one(job: &Job, ids: &[u32]) -> Turn {
    let mut turn = Turn { on_the_way: 0, listed: false };
    let mut silent = Vec::new();
    let begun = Instant::now();
    for &pid in ids {
        if begun.elapsed() > HASTE {
            // Somebody is left, whom the next turn ends.
            return Turn { on_the_way: 1, listed: true };
        }
        let access = PROCESS_TERMINATE | PROCESS_QUERY_INFORMATION | PROCESS_SYNCHRONIZE;
        // SAFETY: plain values; the handle is ours.
        let process = unsafe {
            let process = OpenProcess(access, 0, pid);
            if process.is_null() {
                silent.push(pid);
                continue;
            }
            OwnedHandle::from_raw_handle(process)
        };
        // The id may be another's by now.
        if !job.holds(process.as_handle()).unwrap_or(false) {
            continue;
        }
        if marks::has_block(&process) {
            turn.listed = true;
            // SAFETY: an open process; it may have ended meanwhile.
            unsafe { TerminateProcess(process.as_raw_handle(), KILLED) };
        } else if !wait(process.as_handle(), Some(Duration::ZERO)).unwrap_or(true) {
            silent.push(pid);
        }
    }
    if !silent.is_empty() {
        let all = strangers::list();
        turn.on_the_way = silent.iter().filter(|pid| all.iter().any(|listed| listed.pid == **pid)).count();
        turn.listed |= turn.on_the_way > 0;
    }
    turn
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "starts what is ended")]

    use std::os::windows::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_job_is_ended_in_turns_and_nobody_outside_it() {
        let job = Job::new().expect("a job");
        let start = || {
            let mut command = Command::new("cmd");
            // Each waits for input that does not come, and has a console without a window.
            command.stdin(Stdio::piped()).stdout(Stdio::null()).creation_flags(0x0800_0000);
            command.spawn().expect("every Windows has it")
        };
        let (mut inside, mut outside): (Vec<_>, _) = ((0..4).map(|_| start()).collect(), start());
        inside.iter().try_for_each(|child| job.assign(child.as_handle())).expect("put into the job");
        let (since, mut ending) = (Instant::now(), Ending::new(&job));
        while let Some(left) = ending.turn().expect("it can be asked") {
            assert!(since.elapsed() < Duration::from_secs(20), "{left:?} are left");
        }
        assert_eq!(job.counters().expect("counters").active, 0);
        let codes: Vec<_> = inside.iter_mut().map(|child| child.wait().expect("ended").code()).collect();
        assert_eq!(codes, [Some(KILLED as i32); 4]);
        assert_eq!(outside.try_wait().expect("it is ours"), None);
        outside.kill().and_then(|()| outside.wait()).expect("ended");
    }
}
