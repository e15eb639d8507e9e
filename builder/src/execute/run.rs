//! RUN: from the instruction to a job.

use std::sync::PoisonError;
use std::time::Duration;

use orlop_runner::{
    Confinement, Exit, HostEntry, Hostname, Network, OutputSink, RunReport, RunSpec, Security, Stream, Usage,
};
use orlop_store::snapshot::Active;
use orlop_store::steps::KeyPart;
use orlop_store::trace::Span;

use super::entitlement;
use super::history::MARK;
use super::mounts::JobMount;
use super::stage::StageRun;
use super::step::StepSpec;
use crate::dialect::{Dialect, account};
use crate::dockerfile::{Instruction, Invocation, Run};
use crate::error::{BuildError, FailedStep};
use crate::event::Task;
use crate::request::Engine;

mod foreign;
mod windows;

pub use foreign::check_machine;

/// Where a heredoc with a `#!` line is put for the time of its step.
const SCRIPT_DIR: &str = "/dev/pipes";
/// How much of a failed step's output is shown again, in bytes.
const TAIL: usize = 4096;

/// What a RUN starts.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    args: Vec<String>,
    /// Text that follows the words of a Windows command line as it is.
    tail: Option<String>,
    /// A file that is there for the time of the step: where, and what is in it.
    script: Option<(String, String)>,
    /// The command as people read it.
    shown: String,
}

/// Everything about a RUN that its result depends on, besides the files below it.
struct Job {
    command: Command,
    /// The image's variables.
    env: Vec<(String, String)>,
    /// The ARGs that are visible; none of them is among `env`.
    args: Vec<(String, String)>,
    /// The ARGs and what they are just now, as history shows them.
    declared: Vec<String>,
    network: Network,
    /// Without the usual confinement.
    insecure: bool,
    /// `BUILDKIT_SANDBOX_HOSTNAME`.
    hostname: Option<Hostname>,
    mounts: Vec<JobMount>,
    /// The image's USER, as text.
    user: String,
    cwd: String,
    dialect: Dialect,
    /// What of the command is for the machine's registry.
    registry: Vec<String>,
}

impl Job {
    fn key_parts(&self, hosts: &[HostEntry]) -> Vec<KeyPart> {
        let mut parts = vec![KeyPart::new("instruction", "", "RUN")];
        let words = self.command.args.iter().enumerate();
        parts.extend(words.map(|(i, word)| KeyPart::new("argument", i.to_string(), word)));
        parts.extend(self.command.tail.iter().map(|tail| KeyPart::new("text", "", tail)));
        if let Some((name, content)) = &self.command.script {
            parts.push(KeyPart::new("script", name, content));
        }
        let name = |name: &str| self.dialect.canonical_variable(name);
        parts.extend(self.env.iter().map(|(n, v)| KeyPart::new("env", name(n), v)));
        // A proxy that the Dockerfile declares is meant to count; the others reach the job only.
        parts.extend(self.args.iter().map(|(n, v)| KeyPart::new("arg", name(n), v)));
        parts.push(KeyPart::new("user", "", &self.user));
        parts.push(KeyPart::new("workdir", "", &self.cwd));
        parts.push(KeyPart::new("network", "", format!("{:?}", self.network)));
        parts.extend(self.hostname.iter().map(|name| KeyPart::new("host name", "", name.as_str())));
        if self.insecure {
            parts.push(KeyPart::new("security", "", "insecure"));
        }
        parts.extend(hosts.iter().map(|h| KeyPart::new("host", &h.name, format!("{:?}", h.address))));
        parts.extend(self.mounts.iter().flat_map(JobMount::key_parts));
        parts
    }

    /// How history shows it: with the ARGs it could see, as Docker does.
    fn created_by(&self) -> String {
        let command = match self.dialect {
            Dialect::Linux => self.command.args.join(" "),
            Dialect::Windows => self.command.shown.clone(),
        };
        match self.declared.len() {
            0 => format!("RUN {command}{MARK}"),
            n => format!("RUN |{n} {} {command}{MARK}", self.declared.join(" ")),
        }
    }
}

impl StageRun<'_, '_> {
    pub(crate) fn run(&mut self, instruction: &Instruction, run: &Run) -> Result<(), BuildError> {
        let dialect = self.dialect();
        let leave = entitlement::of(self.exec, dialect, run)?;
        self.warn_of_devices(run);
        self.runs_here(instruction)?;
        if dialect.is_windows() {
            account(self.image.config().user().unwrap_or_default())
                .map_err(|e| self.meaningless(&e.to_string(), &e.hint(), instruction.span))?;
        }
        let registry = if dialect.is_windows() { self.look_through(instruction, run) } else { Vec::new() };
        let mut env = self.image.config().env();
        let args: Vec<_> =
            self.scope.visible(&env, dialect).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let value = |name: &str| self.scope.lookup(&env, dialect, name).unwrap_or_default();
        let declared = self.scope.names().map(|name| format!("{name}={}", value(name))).collect();
        env.retain(|(name, _)| !args.iter().any(|(arg, _)| dialect.same_variable(arg, name)));
        let mut job = Job {
            command: self.invocation(run)?,
            args,
            declared,
            network: leave.network,
            insecure: leave.insecure,
            hostname: self.hostname()?,
            mounts: self.job_mounts(run)?,
            user: self.image.config().user().unwrap_or_default().to_owned(),
            cwd: self.working_dir(instruction)?,
            env,
            dialect,
            registry,
        };
        let (text, created_by) = (instruction.original.clone(), job.created_by());
        let hosts = &self.exec.request.add_hosts;
        // What whole stages are mounted is known without a look at their files.
        let alias = self.alias(job.key_parts(hosts), true);
        if self.waits_for_files(&job.mounts)? && self.known_as(alias, &text, &created_by)? {
            return Ok(());
        }
        self.look_at_mounts(&mut job.mounts)?;
        let (parts, alias) = (job.key_parts(hosts), Some(alias));
        let spec = StepSpec { text, created_by, parts, runs: true, times_count: false, alias };
        self.step(spec, |stage, task| stage.in_snapshot(|active| stage.job(active, task, job)))
    }

    /// The host name that `--build-arg BUILDKIT_SANDBOX_HOSTNAME` gives all steps.
    fn hostname(&self) -> Result<Option<Hostname>, BuildError> {
        let given = self.exec.plan.globals.build_arg("BUILDKIT_SANDBOX_HOSTNAME");
        given
            .filter(|name| !name.is_empty())
            .map(|name| {
                let wrong = |e: orlop_runner::SpecError| {
                    BuildError::user(format!("`--build-arg BUILDKIT_SANDBOX_HOSTNAME={name}`: {e}"))
                        .with_hint(e.hint())
                };
                name.parse().map_err(wrong)
            })
            .transpose()
    }

    /// Refuses a RUN whose programs are not this machine's.
    fn runs_here(&self, instruction: &Instruction) -> Result<(), BuildError> {
        let (message, hint) = match (self.dialect(), Dialect::host()) {
            (Dialect::Windows, Dialect::Linux) => (
                "RUN in a Windows stage needs Windows",
                "make its files in a stage that runs here (`FROM --platform=$BUILDPLATFORM …`) and take them with \
                 `COPY --from=`, or build this Dockerfile with `orlop.exe` on Windows",
            ),
            (Dialect::Linux, Dialect::Windows) => (
                "RUN in a Linux stage needs Linux",
                "build this Dockerfile on Linux, or give the stage a Windows base",
            ),
            _ => return Ok(()),
        };
        Err(self.meaningless(message, hint, instruction.span))
    }

    /// The working directory of a job, in the way of the image.
    fn working_dir(&self, instruction: &Instruction) -> Result<String, BuildError> {
        let dialect = self.dialect();
        let dir = self.image.config().working_dir().filter(|d| !d.is_empty()).unwrap_or(dialect.root());
        match dialect {
            Dialect::Linux => Ok(dir.to_owned()),
            // That of a base image may be written in any way.
            Dialect::Windows => dialect
                .path("", dir)
                .map(|path| dialect.show(&path))
                .map_err(|e| self.bad_path(&e, instruction.span)),
        }
    }

    fn invocation(&self, run: &Run) -> Result<Command, BuildError> {
        if self.dialect().is_windows() {
            return windows::command(run, &self.shell_words()).map_err(|e| match run.heredocs.first() {
                Some(heredoc) => e.at(&self.exec.dockerfile().source, heredoc.span),
                None => e,
            });
        }
        let command = |args: Vec<String>| Command { shown: args.join(" "), tail: None, script: None, args };
        Ok(match run.invocation() {
            Invocation::Shell(text) => {
                let mut args = self.shell_words();
                args.push(text);
                command(args)
            }
            Invocation::Exec(args) => command(args),
            Invocation::Script { name, content } => {
                let path = format!("{SCRIPT_DIR}/{name}");
                let mut args = self.shell_words();
                args.push(path.clone());
                let shown = format!("{} <<{name}", args.join(" "));
                Command { shown, args, tail: None, script: Some((path, content)) }
            }
        })
    }

    fn job(&self, active: &Active, task: &Task<'_>, job: Job) -> Result<Option<Usage>, BuildError> {
        let request = self.exec.request;
        let Engine { runner, cancel, .. } = self.exec.engine;
        let span = self.exec.engine.trace().span("prepare", &[]);
        check_machine(runner, active.path(), &self.machine, cancel)?;
        let mut spec = RunSpec::new(active.path(), &job.command.args);
        match job.dialect {
            Dialect::Linux => {
                spec.user = super::files::resolve_user(active.path(), &job.user)?;
                // That of a base may be missing, or a step before has removed it: BuildKit makes it anew.
                let path = job.dialect.path("", &job.cwd).map_err(|e| BuildError::user(e.to_string()))?;
                super::copy::make_directory(active.path(), &path, (0, 0), None, job.dialect, None)
                    .map_err(|e| super::files::workdir_error(&e, &job.cwd))?;
            }
            Dialect::Windows => {
                spec.windows.account =
                    account(&job.user).map_err(|e| BuildError::user(e.to_string()).with_hint(e.hint()))?;
                windows::own_system(active.path(), request.host_system_files)?;
            }
        }
        spec.raw_tail = job.command.tail.as_ref().map(Into::into);
        spec.cwd = job.cwd.into();
        spec.network = job.network;
        if let Some(hostname) = job.hostname {
            spec.hostname = hostname;
        }
        if job.insecure {
            spec.security = Security::insecure();
        }
        spec.add_hosts.clone_from(&request.add_hosts);
        spec.ulimits.clone_from(&request.ulimits);
        spec.limits = request.limits;
        spec.isolation.clone_from(&request.isolation);
        spec.windows.mitigations.clone_from(&request.mitigations);
        spec.windows.host_system_files = request.host_system_files;
        spec.windows.drive_letter = true;
        spec.shm_size = request.shm_size.unwrap_or(spec.shm_size);
        let mut variables = self.exec.plan.globals.proxies();
        let same = |a: &str, b: &str| job.dialect.same_variable(a, b);
        variables.retain(|(name, _)| !job.args.iter().chain(&job.env).any(|(n, _)| same(n, name)));
        variables.extend(job.args);
        // A config may hold lines that are no variables; they reach nobody, as with other builders.
        variables.extend(job.env.into_iter().filter(|(name, _)| !name.is_empty()));
        // On Windows the runner knows better where the system is.
        if !job.dialect.is_windows() && !variables.iter().any(|(n, _)| same(n, "PATH")) {
            variables.push(("PATH".to_owned(), job.dialect.default_path().to_owned()));
        }
        if let Some((path, content)) = &job.command.script {
            spec.mounts.push(orlop_runner::Mount::file(path, content.as_bytes(), 0o755, 0, 0));
        }
        let cache = job.mounts.iter().any(JobMount::is_cache);
        // Whatever the mounts stand on lives until the job has ended.
        let mut held = Vec::new();
        for mount in job.mounts {
            held.push(self.place_mount(mount, &mut spec.mounts, &mut variables)?);
        }
        if job.dialect.is_windows() {
            windows::into_the_root(active.path(), &mut variables, task)?;
        }
        spec.env = variables.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        let mut output = Collect { task, tail: Vec::new() };
        drop(span);
        let mut span = self.exec.engine.trace().span("run", &[]);
        let report =
            self.exec.engine.runner.run(&spec, &mut output, self.exec.engine.cancel).map_err(|e| {
                let hint = match &e {
                    orlop_runner::RunError::Unsupported { .. } if cache => Some(
                        "do without the cache mount: it only saves time, and nothing of it is in the image"
                            .to_owned(),
                    ),
                    e => e.hint(),
                };
                let error = match &e {
                    orlop_runner::RunError::Cancelled => BuildError::interrupted(),
                    orlop_runner::RunError::Spec(_)
                    | orlop_runner::RunError::LimitUnavailable { .. }
                    | orlop_runner::RunError::Unconfined { .. }
                    | orlop_runner::RunError::Unsupported { .. } => BuildError::user(e.to_string()),
                    _ => BuildError::internal(e.to_string()),
                };
                let error = error.with_hint(hint);
                match e {
                    orlop_runner::RunError::Unconfined { missing, .. } => error.because(missing),
                    e => match std::error::Error::source(&e).map(ToString::to_string) {
                        Some(source) => error.because(source),
                        None => error,
                    },
                }
            })?;
        used(&mut span, &report);
        drop(span);
        drop(held);
        task.job(&report);
        for note in report.view.iter().chain(&report.notes) {
            task.note(note.as_str());
        }
        for command in &job.registry {
            task.note(format!(
                "`{command}` is for a registry, and none is the step's: the image's hives are as they were"
            ));
        }
        for text in lesser(&report.confinement) {
            // The host is the same for every step: once is enough.
            if self.exec.common.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(text.what) {
                task.note(text.said);
            }
        }
        if report.cancelled {
            return Err(BuildError::interrupted());
        }
        let shown = &job.command.shown;
        if let Some(limit) = report.limit_hit
            && !report.exit.is_success()
        {
            let mut error = BuildError::user(format!("process `{shown}` hit the {limit}"));
            error.step = Some(Box::new(FailedStep { tail: output.tail, usage: report.usage }));
            let flag = match limit {
                orlop_runner::LimitHit::Memory => "--memory",
                orlop_runner::LimitHit::ProcessMemory => "--process-memory",
                orlop_runner::LimitHit::CpuTime => "--cpu-time",
                orlop_runner::LimitHit::Pids => "--pids-limit",
                orlop_runner::LimitHit::Wall => "--timeout",
            };
            return Err(error.with_hint(format!("give it more with `{flag}`")));
        }
        let mut error = match report.exit {
            Exit::Code(0) => return Ok(Some(report.usage)),
            Exit::Code(code) => BuildError::user(format!(
                "process `{shown}` did not complete successfully: exit code: {code}"
            )),
            Exit::Signal(signal) => {
                BuildError::user(format!("process `{shown}` was ended by signal {signal}"))
            }
        };
        if let (Exit::Code(code), true) = (report.exit, job.dialect.is_windows()) {
            let path = self.image.config().env();
            let path = path.iter().find(|(name, _)| same(name, "PATH")).map(|(_, value)| value.as_str());
            error = error.with_hint(windows::not_found(&job.command.args, code, &output.tail, path));
        }
        error.step = Some(Box::new(FailedStep { tail: output.tail, usage: report.usage }));
        Err(error)
    }
}

/// What of a job's report belongs into a trace.
fn used(span: &mut Span, report: &RunReport) {
    match report.exit {
        Exit::Code(code) => span.add("exit code", u64::from(code.cast_unsigned())),
        Exit::Signal(signal) => span.add("signal", u64::from(signal.unsigned_abs())),
    }
    let usage = &report.usage;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let cpu =
        [("user microseconds", usage.user.map(micros)), ("system microseconds", usage.system.map(micros))];
    let memory = [("peak memory", usage.peak_memory), ("read", usage.io_read), ("written", usage.io_written)];
    for (name, number) in cpu.into_iter().chain(memory) {
        if let Some(number) = number {
            span.add(name, number);
        }
    }
}

/// What the host did not give, as one line.
struct Lesser {
    what: String,
    said: String,
}

/// What of a job's protection is less than asked for, all controllers of the cgroup as one.
fn lesser(confinement: &[Confinement]) -> Vec<Lesser> {
    let mut out: Vec<Lesser> = Vec::new();
    let mut cgroup: Option<(Confinement, Vec<&str>)> = None;
    for one in confinement.iter().filter(|c| !c.is_full()) {
        match (one.what.strip_prefix("cgroup "), &mut cgroup) {
            (Some(name), Some((first, names))) if first.got == one.got && first.asked == one.asked => {
                names.push(name);
            }
            (Some(name), none @ None) => *none = Some((one.clone(), vec![name])),
            _ => out.push(Lesser { what: one.what.clone(), said: one.to_string() }),
        }
    }
    if let Some((mut first, names)) = cgroup {
        first.what = format!("cgroup {}", names.join(", "));
        out.push(Lesser { said: first.to_string(), what: first.what });
    }
    out
}

/// Passes a job's output on and keeps its end.
struct Collect<'t, 'e> {
    task: &'t Task<'e>,
    tail: Vec<u8>,
}

impl OutputSink for Collect<'_, '_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.task.output(stream, bytes);
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL {
            let cut = self.tail.len() - TAIL;
            // Whole lines only, where there are lines.
            let cut = self.tail[cut..].iter().position(|&b| b == b'\n').map_or(cut, |n| cut + n + 1);
            self.tail.drain(..cut);
        }
    }
}
