//! One job from its description to its report.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::CapabilitySet;

use super::cgroup::{Group, Layout};
use super::host::Host;
use super::init::{self, Payload, Plan, Record, Stage};
use super::mounts::{self, Step, Support, c_string, setup};
use super::stubs::Stubs;
use super::supervise::{Budget, End, Ending, Ends, Output, Process, supervise};
use super::syscall::{self, Side, StringArray};
use super::{failure, limits, seccomp};
use crate::{
    CancelToken, Capabilities, Capability, Confinement, Exit, LimitHit, Network, OutputSink, RunError,
    RunReport, RunSpec, SpecError, Stdin, Stream, Usage, User,
};

pub(super) fn run(
    spec: &RunSpec,
    sink: &mut dyn OutputSink,
    cancel: &CancelToken,
) -> Result<RunReport, RunError> {
    check(spec)?;
    let host = Host::read();
    let layout = Layout::read();
    let group = Group::create(&layout, &spec.limits);
    group.limit(&spec.limits)?;
    let mut stubs = Stubs::new(open_root(&spec.root)?);
    let (mut plan, ends, mut confinement) = prepare(spec, &host, &layout, &group, &mut stubs)?;
    confinement.extend(group.confinement(&spec.limits));
    confinement.extend(limits::confinement(&spec.limits, spec.network)?);
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    let started = Instant::now();
    let process = start(&mut plan, spec.network, &group)?;
    let steps: Vec<(String, String)> =
        plan.steps.iter().map(|step| (step.describe(), step.target())).collect();
    // Our copies of the job's ends; its pipes end when it does.
    drop(plan);
    let used = || group.cpu_time();
    let ending = Ending {
        deadline: spec.limits.wall.and_then(|wall| started.checked_add(wall)),
        grace: spec.limits.grace,
        processor: spec.limits.cpu_time.map(|limit| Budget::new(limit, &used)),
    };
    let end = supervise(process, ends, sink, cancel, &ending);
    let wall = started.elapsed();
    stubs.remove().map_err(|(path, source)| RunError::CleanUp { path, source })?;
    let end = end?;
    confinement.extend(skipped(&end, &steps));
    let counted = group.usage();
    let exit = exit(&end, spec, &host, &steps, sink)?;
    let limit_hit = if end.limit_hit.is_some() {
        end.limit_hit
    } else if counted.oom_kills > 0 {
        Some(LimitHit::Memory)
    } else {
        (counted.refused_processes > 0).then_some(LimitHit::Pids)
    };
    let usage = Usage {
        wall,
        user: counted.user.or(Some(end.usage.user)),
        system: counted.system.or(Some(end.usage.system)),
        peak_memory: counted.peak_memory.or(Some(end.usage.peak_memory)),
        io_read: counted.io_read,
        io_written: counted.io_written,
        peak_processes: counted.peak_processes.map(|count| count.saturating_sub(1)),
        processes_total: None,
        processes_left: None,
    };
    let cancelled = end.cancelled;
    let (events, view, notes) = (Vec::new(), None, Vec::new());
    Ok(RunReport { exit, limit_hit, cancelled, usage, confinement, events, view, notes })
}

/// What can be told from the description alone.
fn check(spec: &RunSpec) -> Result<(), SpecError> {
    crate::spec::absolute("the working directory", &spec.cwd)?;
    if spec.raw_tail.is_some() {
        return Err(SpecError::RawTail);
    }
    crate::spec::check(spec)
}

fn open_root(root: &Path) -> Result<OwnedFd, RunError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty())
        .map_err(|error| setup(format!("open the job's root `{}`", root.display()), error))
}

type Prepared = (Plan, Ends, Vec<Confinement>);

fn prepare(
    spec: &RunSpec,
    host: &Host,
    layout: &Layout,
    group: &Group,
    stubs: &mut Stubs,
) -> Result<Prepared, RunError> {
    let protect = spec.security.protect_system;
    let mut support = Support::new()?;
    let mut steps = Vec::new();
    let system = mounts::system_mounts(
        spec,
        &layout.view(),
        host.initial_user_namespace,
        stubs,
        &mut support,
        &mut steps,
    )?;
    mounts::asked_mounts(&spec.mounts, protect, stubs, &mut support, &mut steps)?;
    if protect {
        mounts::protections(&mut steps)?;
    }
    let root = mounts::root_tree(&spec.root, protect, spec.security.readonly_root)?;
    let mut confinement = vec![Confinement::full("namespaces", namespace_names(spec.network))];
    confinement.extend(system.confinement);
    let (payload, output) = payload(spec, host, system.terminal, &mut confinement)?;
    let (status_read, status_write) = pipe()?;
    let (control_read, control_write) = pipe()?;
    let mut plan = Plan {
        keep: Vec::new(),
        control: control_read,
        status: above_stdio(status_write)?,
        groups: group.joins().map_err(|error| setup("open the job's control group", error))?,
        cgroup_namespace: Path::new("/proc/self/ns/cgroup").exists(),
        hostname: spec.hostname.as_str().to_owned(),
        loopback: spec.network == Network::None,
        command_line: syscall::CommandLine::find(),
        support: support.tree,
        root,
        root_path: c_string("the root", spec.root.as_os_str().as_bytes())?,
        steps,
        payload,
    };
    plan.keep = init::sorted(plan_fds(&plan));
    let ends = Ends { status: status_read, control: control_write, output };
    Ok((plan, ends, confinement))
}

fn plan_fds(plan: &Plan) -> impl Iterator<Item = &OwnedFd> {
    let fixed = [&plan.control, &plan.status, &plan.support, &plan.root];
    fixed
        .into_iter()
        .chain(&plan.groups)
        .chain(&plan.payload.stdio)
        .chain(plan.steps.iter().filter_map(Step::fd))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), RunError> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| setup("make a pipe", error))
}

/// The same file under a number that no standard descriptor has.
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, RunError> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(|error| setup("copy a descriptor", error))
}

fn stdin(stdin: &Stdin) -> Result<Option<OwnedFd>, RunError> {
    let failed = |error: io::Error| setup("use the job's standard input", error);
    match stdin {
        Stdin::Null => Ok(None),
        Stdin::Inherit => io::stdin().as_fd().try_clone_to_owned().map(Some).map_err(failed),
        Stdin::File(file) => file.try_clone().map(|file| Some(file.into())).map_err(failed),
    }
}

fn payload(
    spec: &RunSpec,
    host: &Host,
    terminal: Option<(OwnedFd, OwnedFd)>,
    confinement: &mut Vec<Confinement>,
) -> Result<(Payload, Output), RunError> {
    let input = stdin(&spec.stdin)?;
    let is_terminal = terminal.is_some();
    let (stdio, output) = match terminal {
        Some((ours, theirs)) => {
            let copy = || theirs.try_clone().map_err(|error| setup("copy a descriptor", error));
            ([copy()?, copy()?, copy()?], Output::Terminal { ours, keys: input.map(File::from) })
        }
        None => {
            let input = match input {
                Some(input) => input,
                None => File::open("/dev/null").map_err(|error| setup("open `/dev/null`", error))?.into(),
            };
            let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
            for pipe in [&their_stdout, &their_stderr] {
                // So that the user may open /dev/stdout. In a user namespace that does not have the user, the job
                // fails later and with a better message.
                let _ = std::os::unix::fs::fchown(pipe, Some(spec.user.uid), Some(spec.user.gid));
            }
            ([input, their_stdout, their_stderr], Output::Pipes { stdout, stderr })
        }
    };
    let [input, out, err] = stdio;
    let security = &spec.security;
    let filter = match (security.seccomp, seccomp::filter(security.capabilities)) {
        (true, Some(filter)) => {
            confinement.push(Confinement::full("seccomp", "Docker's default profile"));
            filter
        }
        (true, None) => {
            let why = "orlop has no table of this architecture's system calls";
            confinement.push(Confinement::lesser("seccomp", "Docker's default profile", "none", why));
            Vec::new()
        }
        (false, _) => Vec::new(),
    };
    let (keep, drop) = capabilities(security.capabilities, host, confinement);
    if !host.may_set_groups && spec.user.groups.iter().any(|group| *group != spec.user.gid) {
        let why = "this user namespace has a single id";
        confinement.push(Confinement::lesser("supplementary groups", "those of the user", "none", why));
    }
    let payload = Payload {
        stdio: [above_stdio(input)?, above_stdio(out)?, above_stdio(err)?],
        terminal: is_terminal,
        cwd: c_string("the working directory", spec.cwd.as_os_str().as_bytes())?,
        rlimits: limits::resource_limits(&spec.ulimits, spec.limits.process_memory, host.may_raise_limits)?,
        no_new_privileges: security.no_new_privileges,
        filter,
        drop,
        keep,
        ambient: if security.for_every_user { single(keep) } else { Vec::new() },
        uid: spec.user.uid,
        gid: spec.user.gid,
        groups: host.may_set_groups.then(|| groups(&spec.user)),
        programs: programs(spec)?,
        arguments: StringArray::new(strings("an argument", spec.args.iter().cloned())?),
        environment: StringArray::new(strings("an environment variable", environment(spec))?),
    };
    Ok((payload, output))
}

/// The primary group is among the supplementary ones, as with containerd: else a file that its group may *not* read
/// could be read by whoever gave up that group with setgid (CVE-2023-25173).
fn groups(user: &User) -> Vec<u32> {
    let others = user.groups.iter().copied().filter(|group| *group != user.gid);
    std::iter::once(user.gid).chain(others).collect()
}

/// Those that the command starts with, and those to drop from the bounding set one by one.
fn capabilities(
    asked: Capabilities,
    host: &Host,
    confinement: &mut Vec<Confinement>,
) -> (CapabilitySet, Vec<CapabilitySet>) {
    let kernel = |capability: Capability| CapabilitySet::from_bits_retain(1 << capability as u8);
    let has = |capability: &Capability| host.capabilities.contains(kernel(*capability));
    let keep =
        asked.iter().filter(has).fold(CapabilitySet::empty(), |set, capability| set | kernel(capability));
    let lacking: Vec<&str> = Capabilities::DOCKER_DEFAULT
        .iter()
        .filter(|c| asked.contains(*c) && !has(c))
        .map(Capability::name)
        .collect();
    if !lacking.is_empty() {
        let got = format!("all but {}", lacking.join(", "));
        let why = "orlop itself does not have them";
        confinement.push(Confinement::lesser("capabilities", "Docker's default", got, why));
    }
    // Newer kernels may know more than the table does; the highest that the kernel knows is found by asking.
    let known = (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number));
    let drop = known
        .take_while(|one| rustix::thread::capability_is_in_bounding_set(*one).is_ok())
        .filter(|one| !keep.contains(*one))
        .collect();
    (keep, drop)
}

/// A set one by one.
fn single(set: CapabilitySet) -> Vec<CapabilitySet> {
    (0..64)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .filter(|one| set.contains(*one))
        .collect()
}

fn environment(spec: &RunSpec) -> impl Iterator<Item = OsString> {
    let given = |wanted: &str| spec.env.iter().any(|(name, _)| name == wanted);
    let home = (!given("HOME")).then(|| ("HOME".into(), spec.user.home.clone().into_os_string()));
    let term = (spec.terminal.is_some() && !given("TERM")).then(|| ("TERM".into(), "xterm".into()));
    spec.env.iter().cloned().chain(home).chain(term).map(|(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    })
}

fn strings(what: &'static str, strings: impl Iterator<Item = OsString>) -> Result<Vec<CString>, SpecError> {
    strings.map(|text| c_string(what, &text.into_vec())).collect()
}

/// Where the command may be: itself, or its name in each directory of the job's own `PATH`.
fn programs(spec: &RunSpec) -> Result<Vec<CString>, SpecError> {
    let Some(program) = spec.args.first() else { return Err(SpecError::NoCommand) };
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("the command", program.as_bytes())?]);
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    let candidate = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        c_string("the command", Path::new(OsStr::from_bytes(directory)).join(program).as_os_str().as_bytes())
    };
    path.as_bytes().split(|byte| *byte == b':').map(candidate).collect()
}

fn start(plan: &mut Plan, network: Network, group: &Group) -> Result<Process, RunError> {
    let cgroup = group.clone_into().map_err(|error| setup("open the job's control group", error))?;
    let mut namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if network == Network::None {
        namespaces |= libc::CLONE_NEWNET;
    }
    // No signal may run a handler of this process in the child before it has closed what it inherited.
    let mask = syscall::set_signal_mask(u64::MAX);
    let side = syscall::clone_child(namespaces as u64, cgroup.as_ref().map(AsFd::as_fd));
    if matches!(side, Ok(Side::Child)) {
        plan.run_init();
    }
    syscall::set_signal_mask(mask);
    match side {
        Ok(Side::Parent { pid, pidfd }) => Ok(Process::new(pid, pidfd)),
        Ok(Side::Child) => syscall::exit(1),
        Err(errno) => Err(setup("make the job's namespaces", io::Error::from_raw_os_error(errno))),
    }
}

fn namespace_names(network: Network) -> &'static str {
    match network {
        Network::Host => "mount, pid, ipc, uts, cgroup",
        Network::None => "mount, pid, ipc, uts, cgroup, network",
    }
}

fn skipped(end: &End, steps: &[(String, String)]) -> Vec<Confinement> {
    let line = |record: &Record| {
        let (what, target) = steps.get(record.index as usize)?;
        let why = io::Error::from_raw_os_error(record.value).to_string();
        Some(Confinement::lesser(target.clone(), what.clone(), "less", why))
    };
    end.records.iter().filter(|record| record.stage == Stage::Skipped).filter_map(line).collect()
}

/// How the command ended, from what the job's first process told.
fn exit(
    end: &End,
    spec: &RunSpec,
    host: &Host,
    steps: &[(String, String)],
    sink: &mut dyn OutputSink,
) -> Result<Exit, RunError> {
    let Some(record) = end.records.iter().find(|record| record.stage != Stage::Skipped) else {
        // Killed before it could tell: by us, or for want of memory.
        return Ok(Exit::Signal(libc::SIGKILL));
    };
    match record.stage {
        Stage::Exited if libc::WIFSIGNALED(record.value) => Ok(Exit::Signal(libc::WTERMSIG(record.value))),
        Stage::Exited => Ok(Exit::Code(libc::WEXITSTATUS(record.value))),
        Stage::Exec => {
            let (code, message) = failure::exec(record, spec);
            sink.output(Stream::Stderr, message.as_bytes());
            Ok(Exit::Code(code))
        }
        _ => Err(failure::setup_error(record, spec, host, steps)),
    }
}
