//! A running job as seen from outside: its output, its end, and what ends it early.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::init::Record;
use super::mounts::setup;
use super::syscall::{self, ChildUsage};
use super::terminal::RawTerminal;
use crate::{CancelToken, LimitHit, OutputSink, RunError, Stream, Subscription};

/// Time between SIGTERM and SIGKILL unless the job says otherwise.
const GRACE: Duration = Duration::from_secs(5);
/// How often the caller's terminal is asked for its size.
const SIZE_INTERVAL: Duration = Duration::from_millis(200);
/// After a kill the kernel needs a moment to take the tree down.
const FOREVER: Duration = Duration::from_secs(3600);

/// A job's first process. Dropping it kills and reaps the whole job.
#[derive(Debug)]
pub(super) struct Process {
    pid: i32,
    pidfd: OwnedFd,
    ended: Option<ChildUsage>,
}

impl Process {
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, ended: None }
    }

    fn kill(&self) {
        // It may have ended by itself meanwhile.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for the end; the kernel reports it when all others in the PID namespace are gone.
    fn reap(&mut self) -> ChildUsage {
        loop {
            if let Some(usage) = self.ended {
                return usage;
            }
            let nothing = ChildUsage { user: Duration::ZERO, system: Duration::ZERO, peak_memory: 0 };
            match syscall::wait(self.pid, true) {
                Ok(Some((_, _, usage))) => self.ended = Some(usage),
                Err(libc::EINTR) | Ok(None) => {}
                // Somebody else waited for it; the usage is theirs.
                Err(_) => self.ended = Some(nothing),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            self.reap();
        }
    }
}

/// Our ends of the job's pipes.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) status: OwnedFd,
    /// Bytes written here are signals for the job.
    pub(super) control: OwnedFd,
    pub(super) output: Output,
}

#[derive(Debug)]
pub(super) enum Output {
    Pipes { stdout: OwnedFd, stderr: OwnedFd },
    Terminal { ours: OwnedFd, keys: Option<File> },
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) records: Vec<Record>,
    pub(super) usage: ChildUsage,
    /// The limit that it was killed for.
    pub(super) limit_hit: Option<LimitHit>,
    pub(super) cancelled: bool,
}

/// What ends a job that does not end by itself.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) deadline: Option<Instant>,
    pub(super) grace: Option<Duration>,
    pub(super) processor: Option<Budget<'a>>,
}

/// Processor time that the job may use. The kernel kills nobody for it: it is asked, as often as it takes.
pub(super) struct Budget<'a> {
    limit: Duration,
    used: &'a dyn Fn() -> Option<Duration>,
    /// No job uses more in a second.
    processors: u32,
}

/// Less than the kernel's own clock tells apart.
const SHORTEST: Duration = Duration::from_millis(5);
/// Processors may come and go.
const LONGEST: Duration = Duration::from_secs(5);

impl<'a> Budget<'a> {
    pub(super) fn new(limit: Duration, used: &'a dyn Fn() -> Option<Duration>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        // What we may use can be less than what the job may.
        let listed = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let all = listed.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
        Self { limit, used, processors: u32::try_from(processors.max(all)).unwrap_or(u32::MAX) }
    }

    /// How long the job cannot have used it up; `None` when it has.
    fn wait(&self) -> Option<Duration> {
        let left = self.limit.checked_sub((self.used)().unwrap_or_default())?;
        (!left.is_zero()).then(|| (left / self.processors).clamp(SHORTEST, LONGEST))
    }
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("limit", &self.limit).field("processors", &self.processors).finish()
    }
}

/// Wakes the loop when the token is cancelled.
#[derive(Debug)]
struct Wake {
    event: Arc<OwnedFd>,
    _subscription: Subscription,
}

impl Wake {
    /// Forgets the wake-up, so that it does not count again.
    fn rest(&self) {
        let _ = rustix::io::read(&*self.event, &mut [0; 8]);
    }

    fn new(cancel: &CancelToken) -> Result<Self, RunError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| setup("make an event descriptor", error))?;
        let event = Arc::new(event);
        let writer = Arc::clone(&event);
        let subscription = cancel.subscribe(move || {
            // Only fails when it is full, and then the reader is awake anyway.
            let _ = rustix::io::write(&*writer, &1u64.to_ne_bytes());
        });
        Ok(Self { event, _subscription: subscription })
    }
}

/// What can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Process,
    Cancel,
    Status,
    Output(usize),
    Keys,
    Terminal,
}

/// Follows the job to its end.
pub(super) fn supervise(
    mut process: Process,
    ends: Ends,
    sink: &mut dyn OutputSink,
    cancel: &CancelToken,
    ending: &Ending<'_>,
) -> Result<End, RunError> {
    let deadline = ending.deadline;
    let wake = Wake::new(cancel)?;
    let (mut pipes, mut terminal) = match ends.output {
        Output::Pipes { stdout, stderr } => {
            (vec![Pipe::new(stdout, Stream::Stdout)?, Pipe::new(stderr, Stream::Stderr)?], None)
        }
        Output::Terminal { ours, keys } => {
            let keyboard = ours.try_clone().map_err(|error| setup("copy a descriptor", error))?;
            (vec![Pipe::new(ours, Stream::Stdout)?], Some(Keyboard::new(keyboard, keys)))
        }
    };
    let mut status = Pipe::new(ends.status, Stream::Stdout)?;
    let mut records = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut kill_at = None;
    let (mut limit_hit, mut cancelled, mut killed) = (None, false, false);
    loop {
        let now = Instant::now();
        let past = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if cancel.is_cancelled() && !cancelled {
            cancelled = true;
            kill_at = now.checked_add(ending.grace.unwrap_or(GRACE));
            // Who is killed is not asked first: it could answer sooner than it dies.
            if !cancel.is_killed() {
                let _ = rustix::io::write(&ends.control, &[Signal::TERM.as_raw() as u8]);
            }
        }
        let spent = match &ending.processor {
            Some(budget) if !killed => Some(budget.wait()),
            _ => None,
        };
        let reached = match spent {
            _ if past(deadline) => Some(LimitHit::Wall),
            Some(None) => Some(LimitHit::CpuTime),
            _ => None,
        };
        if !killed && (reached.is_some() || past(kill_at) || cancel.is_killed()) {
            limit_hit = reached.filter(|_| !cancelled);
            killed = true;
            process.kill();
        }
        let next = if killed { None } else { deadline.into_iter().chain(kill_at).min() };
        let mut wait = next.map_or(FOREVER, |next| next.saturating_duration_since(now)).min(FOREVER);
        if let (Some(Some(sooner)), false) = (spent, killed) {
            wait = wait.min(sooner);
        }
        if let Some(terminal) = &mut terminal
            && terminal.follow_size()
        {
            wait = wait.min(SIZE_INTERVAL);
        }
        let mut ready = wait_for(&process, &wake, &status, &pipes, terminal.as_ref(), wait)?;
        // Its own last: what it wrote before its end is read first.
        ready.sort_by_key(|source| *source == Source::Process);
        for source in ready {
            match source {
                Source::Cancel => wake.rest(),
                Source::Status => status.read(&mut buffer, &mut |_, bytes| records.extend_from_slice(bytes)),
                Source::Output(index) => {
                    pipes[index].read(&mut buffer, &mut |stream, b| sink.output(stream, b))
                }
                Source::Keys | Source::Terminal => {
                    if let Some(terminal) = &mut terminal {
                        terminal.pass_keys();
                    }
                }
                Source::Process => {
                    let usage = process.reap();
                    // All writers are dead: what is in the pipes now is all there will ever be.
                    status.drain(&mut buffer, &mut |_, bytes| records.extend_from_slice(bytes));
                    for pipe in &mut pipes {
                        pipe.drain(&mut buffer, &mut |stream, bytes| sink.output(stream, bytes));
                    }
                    let records =
                        records.as_chunks().0.iter().copied().filter_map(Record::from_bytes).collect();
                    return Ok(End { records, usage, limit_hit, cancelled });
                }
            }
        }
    }
}

fn wait_for(
    process: &Process,
    wake: &Wake,
    status: &Pipe,
    pipes: &[Pipe],
    terminal: Option<&Keyboard>,
    wait: Duration,
) -> Result<Vec<Source>, RunError> {
    let mut fds = vec![PollFd::new(&process.pidfd, PollFlags::IN), PollFd::new(&wake.event, PollFlags::IN)];
    let mut sources = vec![Source::Process, Source::Cancel];
    let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    if let Some(fd) = &status.fd {
        fds.push(PollFd::new(fd, PollFlags::IN));
        sources.push(Source::Status);
    }
    for (index, pipe) in pipes.iter().enumerate() {
        if let Some(fd) = &pipe.fd {
            fds.push(PollFd::new(fd, PollFlags::IN));
            sources.push(Source::Output(index));
        }
    }
    if let Some((fd, flags, source)) = terminal.and_then(Keyboard::interest) {
        fds.push(PollFd::from_borrowed_fd(fd, flags));
        sources.push(source);
    }
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(setup("wait for the job", error)),
    }
    let is_ready = |(fd, source): (&PollFd<'_>, &Source)| (!fd.revents().is_empty()).then_some(*source);
    Ok(fds.iter().zip(&sources).filter_map(is_ready).collect())
}

/// Our end of a pipe or terminal that the job writes to.
#[derive(Debug)]
struct Pipe {
    fd: Option<OwnedFd>,
    stream: Stream,
}

impl Pipe {
    fn new(fd: OwnedFd, stream: Stream) -> Result<Self, RunError> {
        rustix::io::ioctl_fionbio(&fd, true).map_err(|error| setup("prepare a pipe", error))?;
        Ok(Self { fd: Some(fd), stream })
    }

    /// One read; the end of the file closes it. A terminal whose other side is closed says EIO.
    fn read(&mut self, buffer: &mut [u8], take: &mut dyn FnMut(Stream, &[u8])) {
        let Some(fd) = &self.fd else { return };
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => self.fd = None,
            Ok(count) => take(self.stream, &buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.fd = None,
        }
    }

    fn drain(&mut self, buffer: &mut [u8], take: &mut dyn FnMut(Stream, &[u8])) {
        while let Some(fd) = &self.fd {
            match rustix::io::read(fd, &mut *buffer) {
                Ok(0) => self.fd = None,
                Ok(count) => take(self.stream, &buffer[..count]),
                Err(Errno::INTR) => {}
                Err(_) => self.fd = None,
            }
        }
    }
}

/// Carries what is typed to the job's terminal.
#[derive(Debug)]
struct Keyboard {
    job: OwnedFd,
    keys: Option<File>,
    raw: Option<RawTerminal>,
    pending: Vec<u8>,
}

/// Ctrl-D: what a terminal takes for the end of its input.
const END_OF_INPUT: u8 = 4;

impl Keyboard {
    fn new(job: OwnedFd, keys: Option<File>) -> Self {
        let raw = keys.as_ref().and_then(|keys| keys.try_clone().ok()).and_then(RawTerminal::new);
        Self { job, keys, raw, pending: Vec::new() }
    }

    /// Whether there is a size to follow.
    fn follow_size(&mut self) -> bool {
        if let Some(raw) = &mut self.raw {
            raw.follow_size(&self.job);
        }
        self.raw.is_some()
    }

    /// What to wait for: room on the job's side while something is pending, else keys.
    fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags, Source)> {
        if self.pending.is_empty() {
            self.keys.as_ref().map(|keys| (keys.as_fd(), PollFlags::IN, Source::Keys))
        } else {
            Some((self.job.as_fd(), PollFlags::OUT, Source::Terminal))
        }
    }

    fn pass_keys(&mut self) {
        if self.pending.is_empty() {
            let Some(keys) = &mut self.keys else { return };
            let mut buffer = [0; 1024];
            match keys.read(&mut buffer) {
                Ok(count) if count > 0 => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => {
                    self.keys = None;
                    self.pending.push(END_OF_INPUT);
                }
            }
        }
        match rustix::io::write(&self.job, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads any more.
            Err(_) => {
                self.pending.clear();
                self.keys = None;
            }
        }
    }
}
