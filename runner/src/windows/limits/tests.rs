use std::sync::Mutex;

use super::*;
use crate::windows::job::Counters;

/// What was set: basics, processor rate, network rate, UI limits, memory notification.
pub(in crate::windows) type State = (Basics, Option<CpuRate>, Option<u64>, u32, Option<u64>);

/// A job of a system that is not here: what it takes, what it reads back, what it refuses.
#[derive(Debug, Default)]
pub(in crate::windows) struct Recorded {
    /// Whether the basic limits read back as zero, as Wine's do.
    pub(in crate::windows) forgets: bool,
    /// Error of calls that came with a newer system.
    pub(in crate::windows) no_rates: Option<u32>,
    /// Error of the network rate alone.
    pub(in crate::windows) no_net: Option<u32>,
    /// Error of reading UI limits.
    pub(in crate::windows) no_ui: Option<u32>,
    /// Error of any basic limit beside kill on close.
    pub(in crate::windows) refuses: Option<u32>,
    /// What the counters say.
    pub(in crate::windows) counters: Counters,
    /// Error of the I/O counters; else those.
    pub(in crate::windows) io: Option<(u64, u64)>,
    /// Highest memory.
    pub(in crate::windows) peak: u64,
    pub(in crate::windows) state: Mutex<State>,
}

impl Recorded {
    fn fail(code: Option<u32>, call: &'static str) -> Result<(), Failure> {
        code.map_or(Ok(()), |code| Err(Failure { call, code }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }
}

const SET: &str = "SetInformationJobObject";
const QUERY: &str = "QueryInformationJobObject";

impl JobCalls for Recorded {
    fn set_basics(&self, basics: &Basics) -> Result<(), Failure> {
        if basics.flags != JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE {
            Self::fail(self.refuses, SET)?;
        }
        self.state().0 = *basics;
        Ok(())
    }
    fn basics(&self) -> Result<Basics, Failure> {
        Ok(if self.forgets { Basics::default() } else { self.state().0 })
    }
    fn set_cpu_rate(&self, rate: CpuRate) -> Result<(), Failure> {
        Self::fail(self.no_rates, SET)?;
        self.state().1 = Some(rate);
        Ok(())
    }
    fn cpu_rate(&self) -> Result<Option<CpuRate>, Failure> {
        Ok(self.state().1)
    }
    fn set_net_rate(&self, bytes: u64) -> Result<(), Failure> {
        Self::fail(self.no_net.or(self.no_rates), SET)?;
        self.state().2 = Some(bytes);
        Ok(())
    }
    fn net_rate(&self) -> Result<Option<u64>, Failure> {
        Ok(self.state().2)
    }
    fn notify_memory(&self, bytes: u64) -> Result<(), Failure> {
        Self::fail(self.no_rates, SET)?;
        self.state().4 = Some(bytes);
        Ok(())
    }
    fn set_ui(&self, restrictions: u32) -> Result<(), Failure> {
        self.state().3 = restrictions;
        Ok(())
    }
    fn ui(&self) -> Result<u32, Failure> {
        Self::fail(self.no_ui, QUERY)?;
        Ok(self.state().3)
    }
    fn counters(&self) -> Result<Counters, Failure> {
        Ok(self.counters)
    }
    fn peak_memory(&self) -> Result<u64, Failure> {
        Ok(self.peak)
    }
    fn io(&self) -> Result<(u64, u64), Failure> {
        self.io.ok_or(Failure { call: QUERY, code: 1 })
    }
    fn ids(&self) -> Result<Vec<u32>, Failure> {
        Ok(Vec::new())
    }
    fn terminate(&self, _code: u32) -> Result<(), Failure> {
        Ok(())
    }
}

fn wine() -> Recorded {
    Recorded { forgets: true, no_rates: Some(87), no_ui: Some(1), ..Recorded::default() }
}

fn all() -> Limits {
    Limits {
        memory: Some(64 << 20),
        process_memory: Some((32 << 20) + 1),
        cpus: Some(1.5),
        pids: Some(10),
        cpu_time: Some(Duration::from_secs(3)),
        net_rate: Some(1_000_000),
        ..Limits::default()
    }
}

const HOST: Host = Host { processors: 4, nested: false };

fn missing(applied: &Applied) -> Vec<&str> {
    applied.lines.iter().filter(|line| !line.is_full()).map(|line| line.what.as_str()).collect()
}

#[test]
fn a_new_server_gives_everything() {
    let job = Recorded::default();
    let applied = apply(&job, &all(), HOST).expect("there is a job");
    assert_eq!(missing(&applied), Vec::<&str>::new());
    let state = job.state();
    assert_eq!(
        state.0,
        Basics {
            flags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
                | JOB_OBJECT_LIMIT_JOB_MEMORY
                | JOB_OBJECT_LIMIT_PROCESS_MEMORY
                | JOB_OBJECT_LIMIT_ACTIVE_PROCESS
                | JOB_OBJECT_LIMIT_JOB_TIME,
            processes: 11,
            process_memory: (32 << 20) + 4096,
            job_memory: 64 << 20,
            user_time: 30_000_000,
        }
    );
    assert_eq!((state.1, state.2), (Some(CpuRate::HardCap(3750)), Some(1_000_000)));
    assert_eq!((state.3, state.4), (UI, Some((64 << 20) / 20 * 19)));
    assert_eq!(applied.watch, Watch { cpu_time: Some(Duration::from_secs(3)), processes: None });
}

#[test]
fn server_2012_has_no_network_rate() {
    let job = Recorded { no_net: Some(87), ..Recorded::default() };
    let applied = apply(&job, &all(), HOST).expect("there is a job");
    assert_eq!(missing(&applied), ["network-rate"]);
    let line = applied.lines.last().expect("the network's");
    assert_eq!(
        line.to_string(),
        "network-rate: none (asked for: 1000000 bytes a second outgoing), because `SetInformationJobObject`: error 87"
    );
}

#[test]
fn wine_says_yes_and_is_not_believed() {
    let applied = apply(&wine(), &all(), HOST).expect("there is a job");
    assert_eq!(
        missing(&applied),
        [
            "ui-limits",
            "memory-limit",
            "process-memory-limit",
            "process-limit",
            "cpu-time-limit",
            "cpu-limit",
            "network-rate"
        ]
    );
    // What can be watched is.
    assert_eq!(applied.watch.processes, Some(11));
    let kill = applied.lines.iter().find(|line| line.what == "kill-on-close").expect("always there");
    assert_eq!(kill.got, "set, and not told by the system when asked");
    assert!(apply(&wine(), &Limits::default(), HOST).is_ok_and(|applied| missing(&applied) == ["ui-limits"]));
}

#[test]
fn a_limit_that_is_refused_does_not_cost_kill_on_close() {
    let job = Recorded { refuses: Some(5), ..Recorded::default() };
    let applied = apply(&job, &all(), HOST).expect("there is a job");
    assert_eq!(job.state().0.flags, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE);
    assert_eq!(
        missing(&applied),
        ["memory-limit", "process-memory-limit", "process-limit", "cpu-time-limit"]
    );
}

#[test]
fn inside_another_job_there_are_no_ui_limits() {
    let job = Recorded { no_ui: Some(1), ..Recorded::default() };
    let applied = apply(&job, &all(), Host { nested: true, ..HOST }).expect("there is a job");
    assert_eq!((missing(&applied), job.state().3), (vec![], 0));
    let cap = applied.lines.iter().find(|line| line.what == "cpu-limit").expect("asked for");
    assert_eq!(cap.got, "a hard cap of 37.50 % of what the job around orlop has");
}

#[test]
fn weights_are_nine() {
    for (weight, expected) in [(1, 1), (10, 3), (50, 4), (100, 5), (200, 6), (1000, 7), (10_000, 9)] {
        assert_eq!(ninth(weight), expected, "{weight}");
    }
    let job = Recorded::default();
    let limits = Limits { cpu_weight: Some(1000), ..Limits::default() };
    assert!(apply(&job, &limits, HOST).is_ok_and(|applied| missing(&applied).is_empty()));
    assert_eq!(job.state().1, Some(CpuRate::Weight(7)));
    let both = Limits { cpu_weight: Some(1000), cpus: Some(1.0), ..Limits::default() };
    let applied = apply(&Recorded::default(), &both, HOST).expect("there is a job");
    assert_eq!(missing(&applied), ["cpu-weight"]);
    let more = Limits { cpus: Some(64.0), ..Limits::default() };
    let job = Recorded { no_rates: Some(87), ..Recorded::default() };
    assert!(apply(&job, &more, HOST).is_ok_and(|applied| missing(&applied).is_empty()), "no cap is needed");
}
