//! What a job did, what it used, and what it was confined by.

use std::fmt;
use std::time::Duration;

/// How a job's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code, 0 to 255 (on Windows the whole 32 bits).
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it is exit code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The number a shell reports: the code, or 128 plus the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A limit of [`Limits`](crate::Limits) that the job ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitHit {
    /// The job was out of memory: the kernel killed a process of it (Linux), or refused it more (Windows).
    Memory,
    /// One process of the job was refused more memory than each may have.
    ProcessMemory,
    /// The job could not make another process.
    Pids,
    /// The job used up its processor time and was killed.
    CpuTime,
    /// The wall-clock limit passed and the job was killed.
    Wall,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitHit::Memory => "memory limit",
            LimitHit::ProcessMemory => "memory limit of one process",
            LimitHit::Pids => "process limit",
            LimitHit::CpuTime => "processor time limit",
            LimitHit::Wall => "time limit",
        })
    }
}

/// What the whole job used. `None` where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// From start to the end of the last process.
    pub wall: Duration,
    /// Processor time in user mode, of all processes.
    pub user: Option<Duration>,
    /// Processor time in the kernel, of all processes.
    pub system: Option<Duration>,
    /// Highest memory of the whole job in bytes, page cache included; without a cgroup that of its largest process.
    /// On Windows what its processes had committed.
    pub peak_memory: Option<u64>,
    /// Bytes read from block devices (on Windows by its processes' read calls).
    pub io_read: Option<u64>,
    /// Bytes written to block devices (on Windows by its processes' write calls).
    pub io_written: Option<u64>,
    /// Most processes and threads at one time.
    pub peak_processes: Option<u64>,
    /// Processes that were ever in the job.
    pub processes_total: Option<u64>,
    /// Processes that were still there when the first one had ended, and were killed.
    pub processes_left: Option<u64>,
}

impl Usage {
    /// Processor time, user and kernel together, where the system tells any of it.
    pub fn cpu(&self) -> Option<Duration> {
        match (self.user, self.system) {
            (None, None) => None,
            (user, system) => Some(user.unwrap_or_default().saturating_add(system.unwrap_or_default())),
        }
    }
}

/// Something that happened in a job, where the system tells (Windows).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct JobEvent {
    /// When, since the job's start.
    pub at: Duration,
    /// What.
    pub kind: JobEventKind,
}

/// What a [`JobEvent`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum JobEventKind {
    /// A process joined the job.
    ProcessStarted {
        /// Its id.
        pid: u32,
    },
    /// A process ended. Not promised for each: never counted to find out whether all have.
    ProcessEnded {
        /// Its id.
        pid: u32,
        /// Whether it crashed.
        abnormal: bool,
    },
    /// The job ran into a limit.
    LimitReached {
        /// Which.
        limit: LimitHit,
        /// The process that did, where the system tells.
        pid: Option<u32>,
    },
    /// No process was left.
    Empty,
    /// As many events as this came after those that a report keeps.
    Omitted {
        /// How many.
        count: u64,
    },
}

/// One protection: what was asked for, what the host gave, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Confinement {
    /// The protection, such as `pid namespace`, `cgroup memory`, `/sys`; on Windows a name that
    /// [`Isolation::allow`](crate::Isolation::allow) takes, such as `memory-limit`.
    pub what: String,
    /// What was asked for or would be usual.
    pub asked: String,
    /// What the job got.
    pub got: String,
    /// Why it is not what was asked for. `None` where it is.
    pub why: Option<String>,
}

impl Confinement {
    /// A protection given as asked for.
    pub fn full(what: impl Into<String>, asked: impl Into<String>) -> Self {
        let asked = asked.into();
        Self { what: what.into(), got: asked.clone(), asked, why: None }
    }

    /// A protection given otherwise than asked for.
    pub fn lesser(
        what: impl Into<String>,
        asked: impl Into<String>,
        got: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), asked: asked.into(), got: got.into(), why: Some(why.into()) }
    }

    /// Whether the host gave all of it.
    pub fn is_full(&self) -> bool {
        self.why.is_none()
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            None => write!(f, "{}: {}", self.what, self.got),
            Some(why) => write!(f, "{}: {} (asked for: {}), because {why}", self.what, self.got, self.asked),
        }
    }
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RunReport {
    /// How the first process ended. A job that was killed as a whole shows the signal that ended it.
    pub exit: Exit,
    /// The limit that the job ran into, if any; the job may have gone on after it.
    pub limit_hit: Option<LimitHit>,
    /// Whether the job was ended because its [`CancelToken`](crate::CancelToken) was cancelled.
    pub cancelled: bool,
    /// What it used.
    pub usage: Usage,
    /// What it was confined by.
    pub confinement: Vec<Confinement>,
    /// What happened in it, the first thousand or so; empty where the system does not tell.
    pub events: Vec<JobEvent>,
    /// How it saw its root, where that is not simply `/`.
    pub view: Option<String>,
    /// What whoever wrote the step should know: processes found outside the job, a limit close to which it came.
    pub notes: Vec<String>,
}

/// What a host can give, from [`Runner::probe`](crate::Runner::probe).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct HostReport {
    /// One line for each protection and each limit.
    pub findings: Vec<Confinement>,
}

impl HostReport {
    /// The lines where the host gives less than usual.
    pub fn lesser(&self) -> impl Iterator<Item = &Confinement> {
        self.findings.iter().filter(|finding| !finding.is_full())
    }
}
