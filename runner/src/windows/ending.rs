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
use super::marks;
use super::process::wait;

/// The exit code of what is ended from outside: what a shell shows for a killed command.
pub(super) const KILLED: u32 = 137;
/// How long those on the way are waited for. A machine under load takes a second for a few hundred of them.
const PATIENCE: Duration = Duration::from_secs(3);

/// One turn of ending a job, to be repeated until it is empty. `since` is when the first one was.
///
/// # Errors
/// The call that failed, where nothing was ended.
pub(super) fn turn(job: &Job, since: Instant) -> Result<(), Failure> {
    if since.elapsed() < PATIENCE && one_by_one(job) > 0 {
        return Ok(());
    }
    job.terminate(KILLED)
}

/// Ends the processes that have spoken. Returns how many have not.
fn one_by_one(job: &Job) -> usize {
    let mut on_the_way = 0;
    for pid in job.ids().unwrap_or_default() {
        let access = PROCESS_TERMINATE | PROCESS_QUERY_INFORMATION | PROCESS_SYNCHRONIZE;
        // SAFETY: plain values; the handle is ours.
        let process = unsafe {
            let process = OpenProcess(access, 0, pid);
            if process.is_null() {
                continue;
            }
            OwnedHandle::from_raw_handle(process)
        };
        // The id may be another's by now.
        if !job.holds(process.as_handle()).unwrap_or(false) {
            continue;
        }
        if marks::has_block(&process) {
            // SAFETY: an open process; it may have ended meanwhile.
            unsafe { TerminateProcess(process.as_raw_handle(), KILLED) };
        } else if !wait(process.as_handle(), Some(Duration::ZERO)).unwrap_or(true) {
            on_the_way += 1;
        }
    }
    on_the_way
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
        let since = Instant::now();
        while job.counters().expect("counters").active > 0 {
            assert!(since.elapsed() < Duration::from_secs(20), "{:?} are left", job.ids());
            turn(&job, since).expect("ended");
        }
        let codes: Vec<_> = inside.iter_mut().map(|child| child.wait().expect("ended").code()).collect();
        assert_eq!(codes, [Some(KILLED as i32); 4]);
        assert_eq!(outside.try_wait().expect("it is ours"), None);
        outside.kill().and_then(|()| outside.wait()).expect("ended");
    }
}
