//! Limits of the job: set, read back, and refused by name where the system does not have them.

use std::time::Duration;

use windows_sys::Win32::System::JobObjects::{
    JOB_OBJECT_LIMIT_ACTIVE_PROCESS, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_JOB_MEMORY,
    JOB_OBJECT_LIMIT_JOB_TIME, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
    JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, JOB_OBJECT_UILIMIT_DESKTOP, JOB_OBJECT_UILIMIT_DISPLAYSETTINGS,
    JOB_OBJECT_UILIMIT_EXITWINDOWS, JOB_OBJECT_UILIMIT_GLOBALATOMS, JOB_OBJECT_UILIMIT_HANDLES,
    JOB_OBJECT_UILIMIT_READCLIPBOARD, JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS, JOB_OBJECT_UILIMIT_WRITECLIPBOARD,
};

use super::identity::Failure;
use super::job::{Basics, CpuRate, JobCalls};
use crate::{Confinement, Limits};

/// All of them: what a job of orlop's has where it is nobody's inner job.
const UI: u32 = JOB_OBJECT_UILIMIT_DESKTOP
    | JOB_OBJECT_UILIMIT_DISPLAYSETTINGS
    | JOB_OBJECT_UILIMIT_EXITWINDOWS
    | JOB_OBJECT_UILIMIT_GLOBALATOMS
    | JOB_OBJECT_UILIMIT_HANDLES
    | JOB_OBJECT_UILIMIT_READCLIPBOARD
    | JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS
    | JOB_OBJECT_UILIMIT_WRITECLIPBOARD;

/// What of the host matters for limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host {
    /// Processors.
    pub(crate) processors: u32,
    /// Whether orlop itself is in somebody's job.
    pub(crate) nested: bool,
}

/// What orlop itself watches while the job runs, beside what the system enforces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// End the job when its processes have used that much, user and kernel.
    pub(crate) cpu_time: Option<Duration>,
    /// End the job when it has more processes: only where the system does not refuse to make them.
    pub(crate) processes: Option<u32>,
}

/// Limits in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// One line for each limit that was asked for, and those that every job has.
    pub(crate) lines: Vec<Confinement>,
    /// What is left to orlop.
    pub(crate) watch: Watch,
}

/// Sets what is asked for and reads it back. What cannot be had is a lesser line; whether that will do is the
/// caller's to say.
///
/// # Errors
/// Where the job cannot even be made to end with orlop: there is no job without that.
pub(crate) fn apply(job: &dyn JobCalls, limits: &Limits, host: Host) -> Result<Applied, Failure> {
    let mut applied = Applied::default();
    let wanted = basics(limits);
    let asked = Basics { flags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, ..Basics::default() };
    // First alone: a limit that the system refuses must not take this one with it.
    job.set_basics(&asked)?;
    let refused = if wanted.flags == asked.flags { None } else { job.set_basics(&wanted).err() };
    let got = job.basics();
    applied.lines.push(kill_on_close(&got));
    applied.lines.push(breakaway(&got));
    applied.lines.push(ui(job, host));
    let back = |name: &str, asked: String, flag: u32, value: &dyn Fn(&Basics) -> u64, wanted: u64| {
        let why = match (&refused, &got) {
            (Some(failure), _) | (None, Err(failure)) => failure.to_string(),
            (None, Ok(got)) if got.flags & flag != 0 && value(got) == wanted => {
                return Confinement::full(name, asked);
            }
            (None, Ok(got)) => format!("the system took it and reads back {}", value(got)),
        };
        Confinement::lesser(name, asked, "none", why)
    };
    if let Some(bytes) = limits.memory {
        let asked = format!("{bytes} bytes for the job");
        let line = back(
            "memory-limit",
            asked,
            JOB_OBJECT_LIMIT_JOB_MEMORY,
            &|got| got.job_memory,
            wanted.job_memory,
        );
        if line.is_full() {
            // Only a hint for the report, and only where the system has it.
            let _ = job.notify_memory(bytes / 20 * 19);
        }
        applied.lines.push(line);
    }
    if let Some(bytes) = limits.process_memory {
        let (asked, flag) = (format!("{bytes} bytes for each process"), JOB_OBJECT_LIMIT_PROCESS_MEMORY);
        let value = |got: &Basics| got.process_memory;
        applied.lines.push(back("process-memory-limit", asked, flag, &value, wanted.process_memory));
    }
    if let Some(count) = limits.pids {
        let (asked, flag) = (format!("{count} processes"), JOB_OBJECT_LIMIT_ACTIVE_PROCESS);
        let value = |got: &Basics| u64::from(got.processes);
        let mut line = back("process-limit", asked, flag, &value, u64::from(wanted.processes));
        if !line.is_full() {
            line.got = "the job is ended when it is seen with more".into();
            applied.watch.processes = Some(wanted.processes);
        }
        applied.lines.push(line);
    }
    if let Some(time) = limits.cpu_time {
        let (asked, flag) =
            (format!("{} s of processor time", time.as_secs_f64()), JOB_OBJECT_LIMIT_JOB_TIME);
        let value = |got: &Basics| got.user_time as u64;
        applied.lines.push(back("cpu-time-limit", asked, flag, &value, wanted.user_time as u64));
        // The system counts user time only, and kernel time is time as well.
        applied.watch.cpu_time = Some(time);
    }
    rates(job, limits, host, &mut applied.lines);
    Ok(applied)
}

/// The limits that are set in one call.
fn basics(limits: &Limits) -> Basics {
    let mut basics = Basics { flags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, ..Basics::default() };
    let page = |bytes: u64| bytes.next_multiple_of(4096);
    if let Some(bytes) = limits.memory {
        basics.flags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
        basics.job_memory = page(bytes);
    }
    if let Some(bytes) = limits.process_memory {
        basics.flags |= JOB_OBJECT_LIMIT_PROCESS_MEMORY;
        basics.process_memory = page(bytes);
    }
    if let Some(count) = limits.pids {
        basics.flags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
        // One more for the console's host, which is in the job.
        basics.processes = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    }
    if let Some(time) = limits.cpu_time {
        basics.flags |= JOB_OBJECT_LIMIT_JOB_TIME;
        basics.user_time = i64::try_from(time.as_nanos() / 100).unwrap_or(i64::MAX).max(1);
    }
    basics
}

/// Never lesser: that the job ends with orlop is proved by its effect, since not every system reads the flag back.
fn kill_on_close(got: &Result<Basics, Failure>) -> Confinement {
    let asked = "the job ends with orlop";
    let reads = got.as_ref().is_ok_and(|got| got.flags & JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE != 0);
    let got = if reads { asked } else { "set, and not told by the system when asked" };
    Confinement { got: got.into(), ..Confinement::full("kill-on-close", asked) }
}

fn breakaway(got: &Result<Basics, Failure>) -> Confinement {
    let asked = "no process leaves the job";
    let flags = JOB_OBJECT_LIMIT_BREAKAWAY_OK | JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK;
    match got {
        Ok(got) if got.flags & flags == 0 => Confinement::full("no-breakaway", asked),
        Ok(got) => {
            let why = format!("the job's flags read back as {:#x}", got.flags);
            Confinement::lesser("no-breakaway", asked, "processes may leave", why)
        }
        Err(failure) => Confinement::lesser("no-breakaway", asked, "not known", failure.to_string()),
    }
}

fn ui(job: &dyn JobCalls, host: Host) -> Confinement {
    let (name, asked) = ("ui-limits", "no desktops, clipboard, atoms and settings of others");
    if host.nested {
        let got = "left off: orlop itself is in a job, and one with such limits cannot be in another";
        return Confinement { got: got.into(), ..Confinement::full(name, asked) };
    }
    let why = match job.set_ui(UI).and_then(|()| job.ui()) {
        Ok(UI) => return Confinement::full(name, asked),
        Ok(got) => format!("the system took {UI:#x} and reads back {got:#x}"),
        Err(failure) => failure.to_string(),
    };
    Confinement::lesser(name, asked, "none", why)
}

/// Those that newer systems have: processors since 2012, network since 2016.
fn rates(job: &dyn JobCalls, limits: &Limits, host: Host, lines: &mut Vec<Confinement>) {
    let share = if host.nested { " of what the job around orlop has" } else { "" };
    let set = |rate: CpuRate| match job.set_cpu_rate(rate).and_then(|()| job.cpu_rate()) {
        Ok(Some(got)) if got == rate => Ok(()),
        Ok(got) => Err(format!("the system took {rate:?} and reads back {got:?}")),
        Err(failure) => Err(failure.to_string()),
    };
    if let Some(cpus) = limits.cpus {
        let asked = format!("{cpus} of {} processors", host.processors);
        let rate = (cpus / f64::from(host.processors.max(1)) * 10_000.0).round().clamp(1.0, 10_000.0) as u32;
        lines.push(match rate {
            10_000 => Confinement {
                got: "no cap: there are no more".into(),
                ..Confinement::full("cpu-limit", asked)
            },
            _ => match set(CpuRate::HardCap(rate)) {
                Ok(()) => {
                    let got = format!("a hard cap of {}.{:02} %{share}", rate / 100, rate % 100);
                    Confinement { got, ..Confinement::full("cpu-limit", asked) }
                }
                Err(why) => Confinement::lesser("cpu-limit", asked, "none", why),
            },
        });
    }
    if let Some(weight) = limits.cpu_weight {
        let asked = format!("weight {weight}");
        let ninth = ninth(weight);
        let set = match limits.cpus {
            Some(_) => Err("a job has either a cap or a weight on this system".into()),
            None => set(CpuRate::Weight(ninth)),
        };
        lines.push(match set {
            Ok(()) => {
                let got = format!("{ninth} of 9, where 5 is usual{share}");
                Confinement { got, ..Confinement::full("cpu-weight", asked) }
            }
            Err(why) => Confinement::lesser("cpu-weight", asked, "none", why),
        });
    }
    if let Some(bytes) = limits.net_rate {
        let asked = format!("{bytes} bytes a second outgoing");
        lines.push(match job.set_net_rate(bytes).and_then(|()| job.net_rate()) {
            Ok(Some(got)) if got == bytes => Confinement::full("network-rate", asked),
            Ok(got) => {
                let why = format!("the system took it and reads back {}", got.unwrap_or(0));
                Confinement::lesser("network-rate", asked, "none", why)
            }
            Err(failure) => Confinement::lesser("network-rate", asked, "none", failure.to_string()),
        });
    }
}

/// 1 to 10,000 with 100 in the middle, as one of the nine weights that the system has: each a factor of about 3.
fn ninth(weight: u16) -> u32 {
    (5.0 + 2.0 * (f64::from(weight.max(1)) / 100.0).log10()).round().clamp(1.0, 9.0) as u32
}

#[cfg(test)]
pub(super) mod tests;
