//! One job from its description to its report.

#[cfg(test)]
mod tests;

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::console::Guard;
use super::environment;
use super::events::Port;
use super::identity::{self, Calls, Failure, Prepared};
use super::job::{self, Job};
use super::keeper::Keepers;
use super::library::wide;
use super::limits::{self, Applied, Host};
use super::placements::Placements;
use super::private::Private;
use super::process::{self, Process, Start, Way};
use super::program::{self, Program, Refused};
use super::strangers::Machine;
use super::supervise::{End, Running};
use super::view::{self, View};
use super::{accounting, pipes};
use crate::{
    CancelToken, Confinement, Exit, Hostname, LimitHit, Missing, OutputSink, RunError, RunReport, RunSpec,
    SpecError, Stream, Usage,
};

pub(super) fn run(
    spec: &RunSpec,
    scratch: &Path,
    calls: &Arc<dyn Calls>,
    keepers: &Keepers,
    sink: &mut dyn OutputSink,
    cancel: &CancelToken,
) -> Result<RunReport, RunError> {
    check(spec)?;
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    let root = open_root(spec)?;
    let private = Private::new(scratch)
        .map_err(setup(format!("make a directory for temporary files in `{}`", scratch.display())))?;
    let mut placements = Placements::new(&root);
    placements.place(&spec.mounts)?;
    let view = View::new(spec, &root, private.path(), &mut placements)?;
    let outcome = match program::find(spec, &view.search(&root))? {
        Ok(program) => {
            let (root, private, placements, view, program) = (&*root, &private, &placements, &view, &program);
            Parts { spec, root, private, placements, view, program, calls, keepers }.start(sink, cancel)
        }
        Err(refused) => Ok(not_run(&refused, Vec::new(), sink)),
    };
    // Whatever came of it: the root is the caller's again, or an error says that it is not.
    let cleared = placements.remove();
    let mut report = outcome?;
    cleared?;
    let temporary = private.path().to_owned();
    if let Err(error) = private.remove() {
        report.notes.push(format!("`{}` cannot be removed: {error}", temporary.display()));
    }
    report.view.get_or_insert(view.told);
    Ok(report)
}

pub(super) fn setup(step: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let step = step.into();
    move |source| RunError::Setup { step, source, hint: None }
}

fn called(step: &str) -> impl FnOnce(Failure) -> RunError {
    move |failure| RunError::Setup {
        step: format!("{step} (`{}`)", failure.call),
        source: failure.to_io(),
        hint: None,
    }
}

/// What can be told from the description alone, and what no job on Windows can have.
fn check(spec: &RunSpec) -> Result<(), RunError> {
    crate::spec::check(spec)?;
    let zero = |what: &'static str, text: &std::ffi::OsStr| match text.encode_wide().any(|unit| unit == 0) {
        true => Err(SpecError::ZeroByte { what, text: text.to_string_lossy().into_owned() }),
        false => Ok(()),
    };
    spec.args.iter().chain(&spec.raw_tail).try_for_each(|arg| zero("an argument", arg))?;
    zero("the working directory", spec.cwd.as_os_str())?;
    for (name, value) in &spec.env {
        zero("an environment variable", name)?;
        zero("an environment variable", value)?;
    }
    let unsupported = |what: &str, why: &str, hint: Option<&str>| {
        Err(RunError::Unsupported { what: what.into(), why: why.into(), hint: hint.map(Into::into) })
    };
    if let Some(ulimit) = spec.ulimits.first() {
        return Err(RunError::LimitUnavailable {
            what: format!("`{}`", ulimit.kind.name()),
            why: "Windows has no ulimits".into(),
            hint: Some(
                "limit the job with `--memory`, `--process-memory`, `--pids-limit` or `--cpu-time`".into(),
            ),
        });
    }
    if spec.terminal.is_some() {
        return unsupported(
            "a terminal",
            "jobs on Windows have a console without a window",
            Some("leave out `-t`"),
        );
    }
    if !spec.add_hosts.is_empty() {
        return unsupported("`--add-host`", "all processes of the machine share one `hosts` file", None);
    }
    if spec.hostname != Hostname::default() {
        return unsupported("a host name of its own", "the machine has one name", None);
    }
    if spec.security.readonly_root {
        return unsupported(
            "a read-only root",
            "the step's access list is the stage's and is not changed",
            None,
        );
    }
    Ok(())
}

/// The root as programs can name it.
fn open_root(spec: &RunSpec) -> Result<PathBuf, RunError> {
    let real = spec
        .root
        .canonicalize()
        .and_then(|root| if root.is_dir() { Ok(root) } else { Err(io::ErrorKind::NotADirectory.into()) })
        .map_err(setup(format!("open the job's root `{}`", spec.root.display())))?;
    let root = view::plain(&real);
    if !spec.windows.host_system_files && root.join(r"Windows\System32\ntdll.dll").exists() {
        return Err(RunError::Unsupported {
            what: "RUN on an image with its own `C:\\Windows`".into(),
            why: "its programs would run with the host's system files and not with the image's".into(),
            hint: Some(
                "accept the host's with `--host-system-files`, or start from a base without them".into(),
            ),
        });
    }
    Ok(root)
}

/// What a job is made of.
struct Parts<'a> {
    spec: &'a RunSpec,
    root: &'a Path,
    private: &'a Private,
    placements: &'a Placements,
    view: &'a View,
    program: &'a Program,
    calls: &'a Arc<dyn Calls>,
    keepers: &'a Keepers,
}

impl Parts<'_> {
    fn start(&self, sink: &mut dyn OutputSink, cancel: &CancelToken) -> Result<RunReport, RunError> {
        let mut lost = None;
        loop {
            match self.once(lost.take(), sink, cancel)? {
                Ok(report) => return Ok(report),
                // Everything anew: a job that has no letter can lose none.
                Err(why) => lost = Some(why),
            }
        }
    }

    /// Runs the job; or says why it has to be made without a letter, when nothing of it has run yet. `lost` is that
    /// of the time before.
    fn once(
        &self,
        lost: Option<String>,
        sink: &mut dyn OutputSink,
        cancel: &CancelToken,
    ) -> Result<Result<RunReport, String>, RunError> {
        let Self { spec, root, view, calls, .. } = self;
        let job = Arc::new(Job::new().map_err(called("make the job"))?);
        let port = Port::new(&job).map_err(called("listen to the job"))?;
        let host = Host { processors: view.processors, nested: job::nested() };
        let applied =
            limits::apply(job.as_ref(), &spec.limits, host).map_err(called("make the job end with orlop"))?;
        let mut lines = applied.lines.clone();
        let asked = identity::Asked {
            root,
            private: vec![self.private.path().to_owned()],
            shared: self.placements.writable.clone(),
            network: spec.network,
            account: spec.windows.account,
            mitigations: &spec.windows.mitigations,
            isolation: &spec.isolation,
            letter: spec.windows.drive_letter && lost.is_none(),
        };
        let mut prepared = confined(Prepared::new(&asked, Arc::clone(calls)), spec, &lines)?;
        prepared.letter = lost.map(Err).or(prepared.letter.take());
        let held = self.keepers.hold(&job, prepared.keeper());
        let stdin = pipes::stdin(&spec.stdin)?;
        let (stdout, their_stdout) = pipes::pipe().map_err(setup("make a pipe"))?;
        let (stderr, their_stderr) = pipes::pipe().map_err(setup("make a pipe"))?;
        // Not what is shared with others: their programs may run from there.
        let places = vec![root.to_path_buf(), self.private.path().to_owned()];
        let sid = Some(prepared.sid.clone());
        let machine = Machine { job: Arc::clone(&job), calls: Arc::clone(calls), sid, places };
        let guard = Guard::new(machine, std::process::id());
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let seen = view.seen(root, &prepared);
        let mut first = Start {
            program: wide(&self.program.path),
            line: self.program.line.clone(),
            environment: environment::block(&seen.environment),
            cwd: wide(&seen.cwd),
            stdio: [&stdin, &their_stdout, &their_stderr],
        };
        let started = process::start(&mut first, &job, &prepared);
        if let Some(why) = lost_letter(&prepared, &started) {
            // It must not start where nobody asked for.
            if let Ok((process, _)) = started {
                process.terminate();
            }
            return Ok(Err(why));
        }
        let (process, way) = match started {
            Ok(started) => started,
            Err(failure) if failure.call.starts_with("CreateProcess") => {
                let name = spec.args.first().cloned().unwrap_or_default();
                return match program::refusal(failure.code, &name) {
                    Some(refused) => Ok(Ok(not_run(&refused, lines, sink))),
                    None => Err(called("start the job's first process")(failure)),
                };
            }
            Err(failure) => return Err(called("put the job's first process into it")(failure)),
        };
        close([stdin, their_stdout, their_stderr]);
        lines.push(Confinement {
            got: way.told().into(),
            ..Confinement::full("job", "every process in it from birth")
        });
        lines.extend(confined(prepared.confirm(process.as_handle()), spec, &lines)?);
        let mut notes = prepared.notes.clone();
        if let Err(error) = &held {
            notes.push(format!("no process could be started that ends the job should orlop die: {error}"));
        }
        if prepared.container.is_some()
            && let Err(failure) = process.set_environment(&environment::block(&seen.environment))
        {
            notes.push(format!(
                "`%LOCALAPPDATA%` and `%TEMP%` are the AppContainer's and go with it: {failure}"
            ));
        }
        let started = Instant::now();
        let (Applied { watch, .. }, wall, prepared) = (applied, spec.limits.wall, &prepared);
        let running = Running {
            job: &job,
            process,
            port,
            stdout,
            stderr,
            guard,
            watch,
            wall,
            started,
            prepared,
            only_counted: false,
        };
        let mut end = running.supervise(sink, cancel)?;
        drop(held);
        end.notes.splice(0..0, notes);
        let report = report(spec, end, &job, started.elapsed(), lines);
        Ok(Ok(RunReport { view: Some(seen.told), ..report }))
    }
}

/// Why a job that was to have a letter has to be made again without.
fn lost_letter(prepared: &Prepared, started: &Result<(Process, Way), Failure>) -> Option<String> {
    prepared.letter()?;
    match started {
        Ok((process, _)) => prepared.confirm_letter(process.as_handle()).err(),
        Err(failure) => Some(format!("nothing starts there: {failure}")),
    }
}

/// Our copies of the job's ends: its pipes end when it does.
fn close(handles: [OwnedHandle; 3]) {
    drop(handles);
}

/// What is missing altogether, in one error, so that one hint names it all.
fn confined<T>(outcome: Result<T, RunError>, spec: &RunSpec, lines: &[Confinement]) -> Result<T, RunError> {
    let mut missing: Vec<Confinement> =
        lines.iter().filter(|line| !line.is_full() && !spec.isolation.allows(&line.what)).cloned().collect();
    let value = match outcome {
        Ok(value) => Some(value),
        Err(RunError::Unconfined { missing: more, .. }) => {
            missing.extend(more.0);
            None
        }
        Err(error) => return Err(error),
    };
    match value {
        Some(value) if missing.is_empty() => Ok(value),
        _ => Err(RunError::Unconfined { missing: Missing(missing), isolation: spec.isolation.clone() }),
    }
}

/// A command that could not be found or started.
fn not_run(refused: &Refused, confinement: Vec<Confinement>, sink: &mut dyn OutputSink) -> RunReport {
    sink.output(Stream::Stderr, refused.message.as_bytes());
    RunReport {
        exit: Exit::Code(refused.code),
        limit_hit: None,
        cancelled: false,
        usage: Usage::default(),
        confinement,
        events: Vec::new(),
        view: None,
        notes: Vec::new(),
    }
}

fn report(spec: &RunSpec, end: End, job: &Job, wall: Duration, confinement: Vec<Confinement>) -> RunReport {
    let usage = accounting::usage(job, wall, end.left);
    let mut notes = end.notes;
    if end.events.near_memory() && end.events.limit().is_none() {
        notes.push("it came within 5 % of its memory limit".into());
    }
    notes.extend(program::died(end.code));
    // The system ends a job for its user time without a word.
    let used_up = spec.limits.cpu_time.is_some_and(|most| usage.cpu().is_some_and(|used| used >= most));
    let limit_hit = end.events.limit().or(used_up.then_some(LimitHit::CpuTime));
    RunReport {
        exit: Exit::Code(end.code as i32),
        limit_hit: limit_hit.filter(|_| !end.cancelled),
        cancelled: end.cancelled,
        usage,
        confinement,
        events: end.events.into_kept(),
        view: None,
        notes,
    }
}
