//! The checks, in the order of the table.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::time::{Duration, Instant};

use super::bench::{Bench, Tried};
use super::{attack, elsewhere, limits, planted};
use crate::windows::job;
use crate::{CancelToken, Mitigation, Network};

/// A check: its name, what has to be so, the names under which the runner reports that it is not, and the attack.
type Entry = (&'static str, &'static str, &'static [&'static str], fn(&Bench<'_>) -> Tried);

/// All of them.
pub(super) const ALL: &[Entry] = &[
    ("step", "a step runs and its exit code arrives", &[], step),
    (
        "privileges",
        "no privilege but `SeChangeNotifyPrivilege`",
        &["privileges", "restricted-token"],
        privileges,
    ),
    ("groups", "Administrators can only deny", &["deny-only-groups", "restricted-token"], groups),
    ("integrity", "low integrity", &["low-integrity"], integrity),
    ("own-identity", "an identity that no other step has", &["step-sid", "app-container"], own_identity),
    ("builder-process", "the builder's process cannot be opened", &["builder-access"], builder_process),
    (
        "builder-as-parent",
        "the builder cannot be named as a parent",
        &["builder-access", "parent-process"],
        builder_parent,
    ),
    (
        "other-as-parent",
        "no process outside the job can be named as a parent",
        &["parent-process"],
        |bench| bench.attack(&["reparent-any"]),
    ),
    ("escaped-process", "what leaves the job by another parent is ended", &[], |bench| escaped(bench, "own")),
    ("escaped-system", "also where it is a program of the system", &[], |bench| escaped(bench, "system")),
    ("other-step", "another step's process cannot be opened", &["process-access"], |bench| {
        bench.against(&["sleep", "30"], |pid| bench.attack(&["open-process", pid]))
    }),
    ("other-step-child", "nor a process that it started", &["process-access"], |bench| {
        bench.against(&["sleep-child", "30"], |pid| bench.attack(&["open-process", pid]))
    }),
    ("breakaway", "no process leaves the job by asking", &["no-breakaway"], |bench| {
        bench.attack(&["breakaway"])
    }),
    ("handles", "no handle of the builder's is inherited", &[], handles),
    ("left-behind", "what a step leaves running ends with it", &[], left_behind),
    ("builder-killed", "a step ends when its builder is killed", &["kill-on-close"], builder_killed),
    ("console-host", "the console's host is in the job", &["console-host"], console_host),
    ("write-outside", "nothing outside the root can be written", &["file-access"], write_outside),
    ("read-outside", "the user's own files cannot be read", &["file-access"], read_outside),
    ("network-none", "network `none` reaches nothing", &["network"], network_none),
    ("shared-memory", "another step's open shared memory is not found", &["named-objects"], |bench| {
        shared_memory(bench, "Local")
    }),
    ("shared-memory-global", "nor in the machine's directory", &["named-objects"], |bench| {
        shared_memory(bench, "Global")
    }),
    ("named-pipe", "another step's named pipe cannot be opened", &["step-sid", "app-container"], named_pipe),
    (
        "window-station",
        "another step's window station or desktop cannot be opened",
        &["window-station"],
        |bench| bench.against(&["station", "30"], |name| bench.attack(&["open-station", name])),
    ),
    ("registry", "the machine's registry cannot be written", &["registry"], |bench| {
        bench.attack(&["registry"])
    }),
    ("services", "no service can be made", &["services"], |bench| {
        elsewhere::started(bench, "create-service")
    }),
    ("wmi", "WMI starts no process that outlives the step", &["services"], |bench| {
        elsewhere::started(bench, "wmi")
    }),
    ("task-scheduler", "nor does the Task Scheduler", &["services"], |bench| {
        elsewhere::started(bench, "task-scheduler")
    }),
    ("planted-links", "links to the outside are not followed afterwards", &[], planted::links),
    ("hidden-stream", "a file's second stream is kept or refused", &[], planted::stream),
    ("strange-names", "names for `\\\\?\\` alone are kept or refused", &[], planted::names),
    ("second-job", "a root is one job's", &[], elsewhere::second_job),
    ("own-letter", "the root on a letter that only the step sees", &[], elsewhere::own_letter),
    (
        "letters",
        "no letter that a step defines is anybody else's",
        &["low-integrity", "step-sid", "app-container"],
        elsewhere::letters,
    ),
    (
        "dynamic-code-off",
        "the mitigation, where it is asked for, takes effect",
        &["process-mitigation"],
        dynamic_code,
    ),
    ("process-limit", "the number of processes is limited", &["process-limit"], limits::processes),
    ("memory-limit", "the job's memory is limited", &["memory-limit"], limits::memory),
    (
        "process-memory-limit",
        "each process's memory is limited",
        &["process-memory-limit"],
        limits::process_memory,
    ),
    ("cpu-limit", "processor time is rationed", &["cpu-limit"], limits::cpu),
    ("cpu-time-limit", "the job ends after so much processor time", &["cpu-time-limit"], limits::cpu_time),
    ("wall-limit", "the job ends after so much time", &[], limits::wall),
    ("cancel", "the job ends when it is cancelled", &[], cancel),
];

fn step(bench: &Bench<'_>) -> Tried {
    let spec = bench.spec(&["exit", "7"]);
    match spec.map(|spec| bench.attack_with(spec)) {
        Ok(Tried::Broken(seen)) if seen.starts_with("exit code 7") => Tried::Closed("exit code 7".into()),
        Ok(other) => other,
        Err(why) => Tried::Broken(why),
    }
}

/// A value of what the `token` role tells.
fn of_token(bench: &Bench<'_>, name: &str, good: impl FnOnce(&str) -> bool) -> Tried {
    match bench.attack(&["token"]) {
        Tried::Closed(text) => {
            let value = text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            match value {
                Some(value) if good(value) => Tried::Closed(format!("{name} {value}")),
                Some(value) => Tried::Open(format!("{name} {value}")),
                None => Tried::Broken(text),
            }
        }
        other => other,
    }
}

fn privileges(bench: &Bench<'_>) -> Tried {
    of_token(bench, "privileges", |value| matches!(value, "" | "SeChangeNotifyPrivilege"))
}

fn groups(bench: &Bench<'_>) -> Tried {
    let tried = of_token(bench, "groups", |value| value.split(',').all(|sid| sid != "S-1-5-32-544"));
    // Which groups the user has is nobody's business.
    match tried {
        Tried::Closed(_) => Tried::Closed("Administrators is not active".into()),
        Tried::Open(_) => Tried::Open("Administrators is active".into()),
        other => other,
    }
}

fn integrity(bench: &Bench<'_>) -> Tried {
    of_token(bench, "integrity", |value| {
        let level = value.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
        level.is_some_and(|level| level <= 0x1000)
    })
}

fn own_identity(bench: &Bench<'_>) -> Tried {
    match of_token(bench, "container", |value| value == "1") {
        Tried::Open(_) => of_token(bench, "restricting", |value| value != "0"),
        other => other,
    }
}

fn builder_process(bench: &Bench<'_>) -> Tried {
    bench.attack(&["open-process", &std::process::id().to_string()])
}

fn builder_parent(bench: &Bench<'_>) -> Tried {
    bench.attack(&["reparent", &std::process::id().to_string()])
}

/// A file that is open for writing, inheritable and not listed: nothing may arrive in it.
fn handles(bench: &Bench<'_>) -> Tried {
    let path = bench.work().join("handle.txt");
    let file = match File::options().write(true).create(true).truncate(true).share_mode(7).open(&path) {
        Ok(file) => file,
        Err(error) => return Tried::Broken(error.to_string()),
    };
    if let Err(failure) = super::super::identity::object::make_inheritable(file.as_raw_handle()) {
        return Tried::Broken(failure.to_string());
    }
    let tried = bench.attack(&["handle", &(file.as_raw_handle() as usize).to_string()]);
    drop(file);
    match (tried, fs::metadata(&path).map(|meta| meta.len())) {
        (Tried::Closed(seen), Ok(0)) => Tried::Closed(seen),
        (Tried::Closed(_), Ok(_)) => Tried::Open("an unlisted handle was inherited".into()),
        (Tried::Closed(_), Err(error)) => Tried::Broken(error.to_string()),
        (other, _) => other,
    }
}

fn console_host(bench: &Bench<'_>) -> Tried {
    if job::nested() {
        return bench.attack(&["conhost"]);
    }
    bench.against(&["sleep-child", "30"], |child| {
        match attack::hosts_from_outside(child.parse().unwrap_or(0)) {
            (true, seen) => Tried::Closed(seen),
            (false, seen) => Tried::Open(seen),
        }
    })
}

/// Whether the guard finds what left the job through a process that cannot be closed to the step.
fn escaped(bench: &Bench<'_>, program: &str) -> Tried {
    let mut spec = match bench.spec(&["escape", program]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    let mut told = None;
    let ended = bench.run(&mut spec, &CancelToken::new(), &mut |line| told = Some(line.to_owned()));
    let left = told.as_deref().map(str::parse::<u32>);
    match (left, ended) {
        (Some(Err(_)), Ok(_)) => Tried::Closed(told.unwrap_or_default()),
        (Some(Ok(pid)), _) if attack::alive(pid) => {
            Tried::Open("a process outside the job lives on after the step".into())
        }
        (Some(Ok(_)), Ok(_)) => Tried::Closed("a process left the job and was ended".into()),
        (_, Err(error)) => Tried::Broken(error.to_string()),
        (None, Ok(ended)) => Tried::Broken(format!("{}: {}", ended.report.exit, ended.text)),
    }
}

fn left_behind(bench: &Bench<'_>) -> Tried {
    let mut spec = match bench.spec(&["leave", "3"]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    let ended = match bench.run(&mut spec, &CancelToken::new(), &mut |_| {}) {
        Ok(ended) => ended,
        Err(error) => return Tried::Broken(error.to_string()),
    };
    let pids: Vec<u32> = ended.text.split("; ").filter_map(|line| line.parse().ok()).collect();
    let alive = pids.iter().filter(|pid| attack::alive(**pid)).count();
    match (pids.len(), alive) {
        (3, 0) => Tried::Closed("3 processes left behind, none is there".into()),
        (3, alive) => Tried::Open(format!("3 processes left behind, {alive} still there")),
        _ => Tried::Broken(ended.text),
    }
}

fn builder_killed(bench: &Bench<'_>) -> Tried {
    let mut builder = match bench.builder(40) {
        Ok(builder) => builder,
        Err(why) => return Tried::Broken(why),
    };
    let mut told = String::new();
    if let Some(output) = builder.stdout.take() {
        let _ = BufReader::new(output).read_line(&mut told);
    }
    let pid = told.trim().parse::<u32>();
    let started = pid.as_ref().is_ok_and(|pid| attack::alive(*pid));
    let killed = builder.kill();
    let _ = builder.wait();
    let Ok(pid) = pid else { return Tried::Broken("the other builder started no step".into()) };
    if !started || killed.is_err() {
        return Tried::Broken("the other builder's step was not there to begin with".into());
    }
    let start = Instant::now();
    while attack::alive(pid) {
        if start.elapsed() > Duration::from_secs(10) {
            return Tried::Open("the step lives on after 10 s".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Tried::Closed(format!("the step is gone after {} ms", start.elapsed().as_millis()))
}

fn write_outside(bench: &Bench<'_>) -> Tried {
    let path = bench.work().join("written.txt");
    let tried = bench.attack(&["write", &path.display().to_string()]);
    let arrived = path.exists();
    let _ = fs::remove_file(&path);
    match tried {
        Tried::Closed(_) if arrived => Tried::Open("the file is there".into()),
        other => other,
    }
}

fn read_outside(bench: &Bench<'_>) -> Tried {
    match attack::secret(bench.work()) {
        Ok(path) => bench.attack(&["read", &path.display().to_string()]),
        Err(error) => Tried::Broken(error.to_string()),
    }
}

fn network_none(bench: &Bench<'_>) -> Tried {
    let listener = match TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr().map(|at| (listener, at)))
    {
        Ok(listener) => listener,
        Err(error) => return Tried::Broken(error.to_string()),
    };
    match bench.spec(&["connect", &listener.1.to_string()]) {
        Ok(mut spec) => {
            spec.network = Network::None;
            bench.attack_with(spec)
        }
        Err(why) => Tried::Broken(why),
    }
}

fn shared_memory(bench: &Bench<'_>, place: &str) -> Tried {
    let name = format!("{place}\\orlop-self-test-{}", std::process::id());
    let tried = bench.against(&["section", &name, "30"], |name| bench.attack(&["open-section", name]));
    match tried {
        // Without `SeCreateGlobalPrivilege` the first step cannot even make it.
        Tried::Broken(seen) if seen.ends_with("no shared memory could be made: error 5") => {
            Tried::Closed(seen)
        }
        other => other,
    }
}

fn named_pipe(bench: &Bench<'_>) -> Tried {
    let name = format!("orlop-self-test-{}", std::process::id());
    match bench.against(&["pipe", &name, "30"], |name| bench.attack(&["open-pipe", name])) {
        // An AppContainer's pipes have a place of their own.
        Tried::Broken(seen) if seen.ends_with("no pipe could be made: error 5") => Tried::Closed(seen),
        other => other,
    }
}

fn dynamic_code(bench: &Bench<'_>) -> Tried {
    match bench.spec(&["dynamic-code"]) {
        Ok(mut spec) => {
            spec.windows.mitigations = vec![Mitigation::DynamicCodeOff];
            bench.attack_with(spec)
        }
        Err(why) => Tried::Broken(why),
    }
}

fn cancel(bench: &Bench<'_>) -> Tried {
    let mut spec = match bench.spec(&["sleep", "30"]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    let (stop, start) = (CancelToken::new(), Instant::now());
    let ended = bench.run(&mut spec, &stop, &mut |_| stop.kill());
    match ended {
        Ok(ended) if ended.report.cancelled && start.elapsed() < Duration::from_secs(15) => {
            Tried::Closed("the step ended at once".into())
        }
        Ok(ended) => Tried::Open(format!("it went on: {}", ended.report.exit)),
        Err(error) => Tried::Broken(error.to_string()),
    }
}
