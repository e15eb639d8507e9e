//! What this machine can give to jobs, found out by trying: for `orlop info`.
#![expect(unsafe_code, reason = "tries settings on a job object that nothing runs in")]

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::time::Duration;

use windows_sys::Win32::System::Console::{COORD, HPCON};
use windows_sys::Win32::System::JobObjects::{CreateJobObjectW, IsProcessInJob};
use windows_sys::Win32::System::Threading::{
    DeleteProcThreadAttributeList, InitializeProcThreadAttributeList, PROC_THREAD_ATTRIBUTE_JOB_LIST,
    UpdateProcThreadAttribute,
};

use super::identity::{Calls, Failure, PREFIX, System, object, plan};
use super::job::{self, Job};
use super::library::function;
use super::limits::{self, Host};
use super::security::Sid;
use super::{mitigation, network};
use crate::{Confinement, HostReport, Limits};

/// Tries what a job needs, without starting one.
pub(crate) fn probe(calls: &dyn Calls) -> HostReport {
    let system = calls.system();
    let mut findings = vec![version(&system)];
    findings.extend(identity(calls, &system));
    findings.push(filters());
    findings.push(mitigation::offer(&system));
    match Scratch::new() {
        Ok(job) => findings.extend([job.nesting(), job.job_list()]),
        Err(failure) => {
            findings.push(Confinement::lesser("job", "a job object", "none", failure.to_string()))
        }
    }
    findings.extend(offered_limits());
    findings.push(pseudo_console(&system));
    HostReport { findings }
}

fn version(system: &System) -> Confinement {
    let asked = "Windows Server 2012 or Windows 8, or newer";
    match &system.wine {
        Some(_) => {
            let why =
                "Wine says yes to much that it does not do: what it was seen to do is in the lines below";
            Confinement::lesser("system", asked, system.to_string(), why)
        }
        None if system.version < (6, 2, 0) => {
            let why = "AppContainers and nested jobs came with Server 2012";
            Confinement::lesser("system", asked, system.to_string(), why)
        }
        None => Confinement { got: system.to_string(), ..Confinement::full("system", asked) },
    }
}

/// The identity that a job would get.
fn identity(calls: &dyn Calls, system: &System) -> Vec<Confinement> {
    let own = match calls.own_token() {
        Ok(own) => own,
        Err(failure) => {
            let asked = "the builder's own token";
            return vec![Confinement::lesser("restricted-token", asked, "unknown", failure.to_string())];
        }
    };
    let mut lines = Vec::new();
    let administrator = own.has_group(&Sid::administrators());
    let asked = "an administrator, for window stations, network filters and `NUL` in an AppContainer";
    lines.push(match administrator {
        true => Confinement { got: "yes".into(), ..Confinement::full("administrator", asked) },
        false => {
            let why = "start `orlop` from an elevated prompt to have both";
            Confinement::lesser("administrator", asked, "no", why)
        }
    });
    let name = format!("{PREFIX}probe.{}", std::process::id());
    let made = match &system.wine {
        Some(version) => Err(format!("Wine {version} has none")),
        None => calls.create_container(&name).map_err(|failure| failure.to_string()),
    };
    let contained = made.is_ok();
    let asked = "an AppContainer for each step (Server 2012)";
    lines.push(match made {
        Ok(_) => match calls.delete_container(&name) {
            Ok(()) => Confinement::full("app-container", asked),
            Err(failure) => {
                let got = "one that is not deleted afterwards";
                Confinement::lesser("app-container", asked, got, failure.to_string())
            }
        },
        Err(why) => Confinement::lesser("app-container", asked, "a restricted token", why),
    });
    let step = Sid::new(9, [1]);
    let plan = plan::token(&own, (!contained).then_some(&step), Vec::new());
    match calls.restrict(None, &plan) {
        Ok((_, got)) => lines.extend(plan::lines(&plan, &got, system)),
        Err(failure) => {
            let asked = "a token with less in it";
            lines.push(Confinement::lesser("restricted-token", asked, "none", failure.to_string()));
        }
    }
    lines
}

fn filters() -> Confinement {
    let asked = "Windows Filtering Platform, for network `none` without an AppContainer";
    match network::available() {
        Ok(()) => Confinement::full("network-filter", asked),
        Err(failure) if failure.code == 5 => {
            Confinement::lesser("network-filter", asked, "none", "it takes an administrator")
        }
        Err(failure) => Confinement::lesser("network-filter", asked, "none", failure.to_string()),
    }
}

fn pseudo_console(system: &System) -> Confinement {
    type Create = unsafe extern "system" fn(COORD, *mut c_void, *mut c_void, u32, *mut HPCON) -> i32;
    let asked = "a pseudo console, for steps with a terminal (Server 2019)";
    // SAFETY: only asked for, not called.
    match unsafe { function::<Create>("kernel32.dll", c"CreatePseudoConsole") } {
        Some(_) => Confinement::full("pseudo-console", asked),
        None => Confinement::lesser("pseudo-console", asked, "none", format!("{system} is older")),
    }
}

/// What a job of this host can be limited by: each limit is set on a job without processes and read back.
fn offered_limits() -> Vec<Confinement> {
    let all = Limits {
        memory: Some(1 << 30),
        process_memory: Some(1 << 30),
        cpus: Some(0.5),
        pids: Some(100),
        cpu_time: Some(Duration::from_secs(3600)),
        net_rate: Some(1 << 20),
        ..Limits::default()
    };
    // A job has either a cap or a weight.
    let weight = Limits { cpu_weight: Some(100), ..Limits::default() };
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let host = Host { processors, nested: job::nested() };
    let tried = |limits: &Limits| {
        let job = Job::new()?;
        limits::apply(&job, limits, host).map(|applied| applied.lines)
    };
    let both = tried(&all).and_then(|mut lines| {
        lines.extend(tried(&weight)?.into_iter().filter(|line| line.what == "cpu-weight"));
        Ok(lines)
    });
    both.unwrap_or_else(|failure| {
        vec![Confinement::lesser("job-limits", "limits of a job", "none", failure.to_string())]
    })
}

/// A job object that nothing runs in.
struct Scratch(OwnedHandle);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        // SAFETY: an unnamed job with the default security; the handle is ours.
        unsafe {
            let job = CreateJobObjectW(null(), null());
            if job.is_null() {
                return Err(Failure::last("CreateJobObjectW"));
            }
            Ok(Self(OwnedHandle::from_raw_handle(job)))
        }
    }

    /// Whether this process is in somebody's job: then a step's is nested in it.
    fn nesting(&self) -> Confinement {
        let mut inside = 0;
        // SAFETY: our own process, and any job at all.
        let asked_system =
            unsafe { IsProcessInJob(object::own_process().as_raw_handle(), null_mut(), &mut inside) };
        let asked = "a job of its own, nested in the caller's where there is one (Server 2012)";
        if asked_system == 0 {
            let failure = Failure::last("IsProcessInJob").to_string();
            return Confinement::lesser("job", asked, "unknown", failure);
        }
        let got = match inside {
            0 => "a job of its own; orlop itself is in none",
            _ => {
                "nested: orlop itself is in a job of its caller's, whose limits hold too; no limits of the user interface"
            }
        };
        Confinement { got: got.into(), ..Confinement::full("job", asked) }
    }

    /// Whether a process can be in the job from its birth.
    fn job_list(&self) -> Confinement {
        let asked = "processes are in the job from birth (Server 2016)";
        let mut size = 0;
        let job = self.0.as_raw_handle();
        // SAFETY: the list has the size that was asked for first; the job's handle lives until it is deleted.
        let given = unsafe {
            InitializeProcThreadAttributeList(null_mut(), 1, 0, &mut size);
            let mut list = vec![0usize; size.div_ceil(size_of::<usize>()).max(1)];
            let list = list.as_mut_ptr().cast();
            if InitializeProcThreadAttributeList(list, 1, 0, &mut size) == 0 {
                Err(Failure::last("InitializeProcThreadAttributeList"))
            } else {
                let value: *const c_void = (&raw const job).cast();
                let attribute = PROC_THREAD_ATTRIBUTE_JOB_LIST as usize;
                let size = size_of_val(&job);
                let given = UpdateProcThreadAttribute(list, 0, attribute, value, size, null_mut(), null());
                let failure = Failure::last("UpdateProcThreadAttribute");
                DeleteProcThreadAttributeList(list);
                if given == 0 { Err(failure) } else { Ok(()) }
            }
        };
        match given {
            Ok(()) => Confinement::full("job-list", asked),
            Err(failure) => Confinement {
                got: format!("started suspended, put into the job, then resumed ({failure})"),
                ..Confinement::full("job-list", asked)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::Windows;
    use super::*;

    #[test]
    fn each_finding_is_named_once_and_says_why_it_is_less() {
        let report = probe(&Windows);
        let mut names: Vec<&str> = report.findings.iter().map(|line| line.what.as_str()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        for name in ["system", "administrator", "app-container", "privileges", "job", "job-list"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(report.lesser().all(|line| line.why.as_ref().is_some_and(|why| !why.is_empty())));
    }

    #[test]
    fn wine_is_not_taken_for_windows() {
        let wine = crate::windows::library::wine_version().is_some();
        let report = probe(&Windows);
        let lesser: Vec<&str> = report.lesser().map(|line| line.what.as_str()).collect();
        for name in ["system", "app-container", "process-mitigation"] {
            assert_eq!(lesser.contains(&name), wine, "{name} in {lesser:?}");
        }
        let measured = ["step-sid", "low-integrity", "network-filter"];
        assert!(!wine || measured.iter().all(|name| lesser.contains(name)), "{lesser:?}");
    }
}
