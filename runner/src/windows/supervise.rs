//! A running job as seen from outside: its output, its end, and what ends it early.
//!
//! The job ends when its first process does. Then it is terminated until it is empty, what may have left it is
//! looked for once more, and its pipes have to close: only then may anybody look at its root.

use std::collections::BTreeSet;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::console::{Guard, INTERVAL, Stray};
use super::ending;
use super::events::{Events, Message, Port};
use super::identity::{Failure, Prepared};
use super::job::{Job, JobCalls};
use super::limits::Watch;
use super::pipes;
use super::process::{Process, wait};
use super::strangers::Machine;
use crate::{CancelToken, JobEventKind, LimitHit, OutputSink, RunError, Stream};

/// How long a job may take to be empty once it is terminated, and its pipes to close after that.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the end of a job waits for processes of the machine that are too young to be told from the job's.
const GROWN: Duration = Duration::from_secs(3);
/// How long a job has to list no process to be empty although it counts one.
const UNLISTED: Duration = Duration::from_millis(500);
/// How often limits are looked at that the system does not enforce.
const WATCH: Duration = Duration::from_millis(25);
/// Nothing to wait for but events.
const LONG: Duration = Duration::from_secs(60);

/// What a job's threads tell.
#[derive(Debug)]
pub(super) enum Happened {
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// A stream has ended.
    Closed,
    /// Its completion port has a message.
    Message(Message),
    /// Its first process has ended.
    Ended,
    /// The token was cancelled.
    Cancelled,
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) code: u32,
    pub(super) cancelled: bool,
    pub(super) left: Option<u64>,
    pub(super) events: Events,
    pub(super) notes: Vec<String>,
}

/// A job whose first process is ready and has not run.
#[derive(Debug)]
pub(super) struct Running<'a> {
    pub(super) job: &'a Arc<Job>,
    pub(super) process: Process,
    pub(super) port: Port,
    pub(super) stdout: OwnedHandle,
    pub(super) stderr: OwnedHandle,
    pub(super) guard: Guard<Machine>,
    pub(super) watch: Watch,
    pub(super) wall: Option<Duration>,
    pub(super) started: Instant,
    pub(super) prepared: &'a Prepared,
}

fn failed(step: &str, failure: &Failure) -> RunError {
    RunError::Setup { step: step.into(), source: failure.to_io(), hint: None }
}

impl Running<'_> {
    /// Runs it and follows it to its end. A cancelled job is ended at once: it has a console of its own, which
    /// nobody outside can send Ctrl-Break to, so that there is no way to ask.
    pub(super) fn supervise(
        mut self,
        sink: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<End, RunError> {
        let (to, from) = sync_channel(32);
        let events = Events::new(self.started);
        let copy = |handle: &OwnedHandle| {
            handle.try_clone().map_err(|source| RunError::Setup {
                step: "copy a handle".into(),
                source,
                hint: None,
            })
        };
        pipes::read(copy(&self.stdout)?, Stream::Stdout, to.clone());
        pipes::read(copy(&self.stderr)?, Stream::Stderr, to.clone());
        self.port.listen(to.clone());
        wait_for(&self.process, to.clone()).map_err(|source| RunError::Setup {
            step: "wait for the job's first process".into(),
            source,
            hint: None,
        })?;
        let wake = to.clone();
        // Where the channel is full the loop is awake and asks the token itself.
        let _subscription = cancel.subscribe(move || drop(wake.try_send(Happened::Cancelled)));
        drop(to);
        // With those that were started for this job.
        (self.prepared.claim_threads(&[], &mut BTreeSet::new()))
            .map_err(|failure| failed("close orlop's threads to the job", &failure))?;
        self.process.resume().map_err(|failure| failed("run the job's first process", &failure))?;
        let (job, prepared) = (Arc::clone(self.job), self.prepared);
        let mut follow = Follow { events, sink, open: 2, empty: false, ended: false, job, prepared };
        let cancelled = self.until_root_ends(&from, &mut follow, cancel)?;
        let code = self.process.code().map_err(|failure| failed("read the job's exit code", &failure))?;
        let left = self.job.ids().ok().map(|ids| self.guard.without_console(&ids) as u64);
        self.empty(&from, &mut follow)?;
        self.close(&from, &mut follow)?;
        let notes = std::mem::take(&mut self.guard.notes);
        Ok(End { code, cancelled, left, events: follow.events, notes })
    }

    /// Whether it was cancelled.
    fn until_root_ends(
        &mut self,
        from: &Receiver<Happened>,
        follow: &mut Follow<'_>,
        cancel: &CancelToken,
    ) -> Result<bool, RunError> {
        let deadline = self.wall.and_then(|wall| self.started.checked_add(wall));
        let mut look = Instant::now();
        let mut killed: Option<Instant> = None;
        let mut cancelled = false;
        let mut threads = BTreeSet::new();
        while !follow.ended {
            let now = Instant::now();
            if killed.is_none() {
                cancelled = cancel.is_cancelled();
                let limit = if deadline.is_some_and(|deadline| deadline <= now) {
                    Some(LimitHit::Wall)
                } else {
                    self.exceeded()
                };
                if let Some(limit) = limit.filter(|_| !cancelled) {
                    follow.events.hit(limit);
                }
                if cancelled || limit.is_some() {
                    killed = Some(now);
                }
            }
            if let Some(since) = killed {
                // Again at each turn: a process that is being made may have been missed.
                let _ = ending::turn(self.job, since);
                if since.elapsed() > DEADLINE {
                    return Err(RunError::Survived { what: "its first process cannot be ended".into() });
                }
            }
            if look <= now {
                // What cannot be had now is tried again, and an error at the end.
                let _ = self.guard.sweep(false);
                let _ = self.prepared.claim_threads(&self.job.ids().unwrap_or_default(), &mut threads);
                // Where there are many processes a look takes long: what happens meanwhile has to be taken too.
                look = Instant::now() + INTERVAL.max(now.elapsed() * 4);
            }
            let watched = self.watch.cpu_time.is_some() || self.watch.processes.is_some() || killed.is_some();
            let mut time = look.saturating_duration_since(now).min(if watched { WATCH } else { LONG });
            if let Some(deadline) = deadline.filter(|_| killed.is_none()) {
                time = time.min(deadline.saturating_duration_since(now));
            }
            follow.one(from, time, &mut self.guard);
        }
        Ok(cancelled)
    }

    /// A limit that only orlop watches.
    fn exceeded(&self) -> Option<LimitHit> {
        let Watch { cpu_time, processes } = self.watch;
        if cpu_time.is_none() && processes.is_none() {
            return None;
        }
        let counters = self.job.counters().ok()?;
        if cpu_time.is_some_and(|most| counters.user + counters.kernel >= most) {
            return Some(LimitHit::CpuTime);
        }
        processes.is_some_and(|most| counters.active > most).then_some(LimitHit::Pids)
    }

    /// Ends what the first process left behind, until nothing is there.
    fn empty(&mut self, from: &Receiver<Happened>, follow: &mut Follow<'_>) -> Result<(), RunError> {
        let since = Instant::now();
        loop {
            self.terminate(since, from, follow)?;
            let before = self.guard.notes.len();
            match self.guard.sweep(true) {
                Ok(()) if self.guard.undecided && since.elapsed() < GROWN => {
                    follow.one(from, WATCH, &mut self.guard);
                }
                Ok(()) if self.guard.notes.len() == before => return Ok(()),
                // What it ended may have had time to start another.
                Ok(()) => {}
                Err(strays) if since.elapsed() > DEADLINE => return Err(survived(&strays)),
                Err(_) => {
                    follow.one(from, WATCH, &mut self.guard);
                }
            }
        }
    }

    fn terminate(
        &mut self,
        since: Instant,
        from: &Receiver<Happened>,
        follow: &mut Follow<'_>,
    ) -> Result<(), RunError> {
        let mut unlisted = None;
        loop {
            let ended = ending::turn(self.job, since);
            let counters =
                self.job.counters().map_err(|failure| failed("ask whether the job is empty", &failure))?;
            if counters.active == 0 {
                return Ok(());
            }
            let ids =
                self.job.ids().map_err(|failure| failed("ask which processes the job has", &failure))?;
            // Wine goes on counting a process whose maker was ended before it had a thread. Real or not: what is in
            // the job is in its list, from before its first thread on.
            unlisted = if ids.is_empty() { unlisted.or(Some(Instant::now())) } else { None };
            if unlisted.is_some_and(|since| since.elapsed() > UNLISTED) {
                return Ok(());
            }
            if since.elapsed() > DEADLINE {
                let why = ended.err().map_or(String::new(), |failure| format!(" ({failure})"));
                let what = format!("cannot be ended{why}: {}", self.guard.told(&ids));
                return Err(RunError::Survived { what });
            }
            follow.one(from, Duration::from_millis(5), &mut self.guard);
        }
    }

    /// Reads what is in the pipes to its end. One that does not end is held by somebody who should be gone.
    fn close(&mut self, from: &Receiver<Happened>, follow: &mut Follow<'_>) -> Result<(), RunError> {
        let mut last = Instant::now();
        while follow.open > 0 {
            if follow.one(from, WATCH, &mut self.guard) {
                // From here on, so that a slow sink costs no time.
                last = Instant::now();
            } else if last.elapsed() > DEADLINE {
                let what = "its output is still held open by a process that is not in the job".into();
                return Err(RunError::Survived { what });
            }
        }
        // The last messages of the port are under way.
        let until = Instant::now() + Duration::from_millis(50);
        while !follow.empty && Instant::now() < until {
            follow.one(from, Duration::from_millis(5), &mut self.guard);
        }
        Ok(())
    }
}

fn survived(strays: &[Stray]) -> RunError {
    let names: Vec<&str> = strays.iter().map(|stray| stray.what.as_str()).collect();
    RunError::Survived { what: format!("{} left it and cannot be ended", names.join(", ")) }
}

/// What has been heard of the job so far.
struct Follow<'a> {
    events: Events,
    sink: &'a mut dyn OutputSink,
    open: u32,
    empty: bool,
    ended: bool,
    job: Arc<Job>,
    prepared: &'a Prepared,
}

impl Follow<'_> {
    /// Takes one thing that happened, waiting for it at most `time`. Whether there was one.
    fn one(&mut self, from: &Receiver<Happened>, time: Duration, guard: &mut Guard<Machine>) -> bool {
        match from.recv_timeout(time) {
            Ok(Happened::Output(stream, bytes)) => self.sink.output(stream, &bytes),
            Ok(Happened::Closed) => self.open = self.open.saturating_sub(1),
            Ok(Happened::Ended) => self.ended = true,
            Ok(Happened::Cancelled) => {}
            Ok(Happened::Message(message)) => match self.events.take(message) {
                Some(JobEventKind::ProcessStarted { pid }) => {
                    guard.joined(pid);
                    self.prepared.claim(pid, &|process| self.job.holds(process).unwrap_or(false));
                }
                Some(JobEventKind::ProcessEnded { pid, .. }) => guard.left(pid),
                Some(JobEventKind::Empty) => self.empty = true,
                _ => {}
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
        true
    }
}

/// Tells when a process has ended.
fn wait_for(process: &Process, to: SyncSender<Happened>) -> std::io::Result<()> {
    let process = process.as_handle().try_clone_to_owned()?;
    std::thread::spawn(move || {
        // Nothing else than its end can come of it, and the job always brings that about.
        while !wait(process.as_handle(), Some(LONG)).unwrap_or(true) {}
        let _ = to.send(Happened::Ended);
    });
    Ok(())
}
