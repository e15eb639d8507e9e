//! What every runner must do, as named checks.
//!
//! A runner's own test makes a [`Bench`] for each check (a fresh root, a fresh scratch directory) and calls [`run`].
//! All checks are run; the panic at the end names every one that failed. The *portable* checks start a program of the
//! suite's own, an [`Actor`]; the others are for systems like Unix, with the commands of a POSIX shell and BusyBox.

use std::ffi::OsString;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::{CancelToken, Exit, Isolation, Mount, RunError, RunReport, RunSpec, Runner, Stream};

mod ending;
mod files;
mod isolation;
mod limits;
mod portable;
mod process;

/// What one check runs against.
pub struct Bench {
    /// The runner.
    pub runner: Box<dyn Runner>,
    /// A fresh root that has `/bin/sh` and BusyBox's programs in `/bin`, `/tmp`, `/home/web`, and an `/etc` with
    /// `passwd` and `group` that know `root` and `web` (1000, with group 1001 and the supplementary group 29), but
    /// neither `/proc`, `/sys`, `/dev` nor `/etc/hosts`.
    pub root: PathBuf,
    /// A fresh directory on the host for what is mounted into jobs.
    pub scratch: PathBuf,
    /// Whether jobs can run as users other than 0: not so in a user namespace with a single id.
    pub many_ids: bool,
    /// How the suite's own program is started.
    pub actor: Actor,
    /// What the host cannot do and the checks accept to be missing.
    pub isolation: Isolation,
    /// Dropped last: whatever keeps the directories alive.
    pub keep: Box<dyn std::any::Any + Send + Sync>,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("root", &self.root).field("many_ids", &self.many_ids).finish()
    }
}

/// A program that does what its arguments say: `exit CODE`, `args …`, `say OUT ERR`, `cat`, `cwd`, `env NAME…`,
/// `flood LINES LINES`, `write PATH TEXT`, `read PATH`, `delayed MILLISECONDS PATH TEXT`, `burn MILLISECONDS`,
/// `allocate MIB`, `spawn COUNT` (children that live for a second, then 0, or 1 where one cannot be made), `leave COUNT
/// PATH CODE` and `hold COUNT PATH` (children that write to `PATH-NUMBER` for a minute; `ready` when all do).
#[derive(Debug)]
pub struct Actor {
    /// The program and what comes before the arguments, as the job has them.
    pub command: Vec<OsString>,
    /// What it needs to be mounted.
    pub mounts: Vec<Mount>,
}

/// Which checks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// All: the root has a POSIX shell.
    Unix,
    /// Those for any system.
    Portable,
}

/// What a job did, for checks to look at.
#[derive(Debug)]
struct Outcome {
    report: RunReport,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn sh(&self, script: &str) -> RunSpec {
        let mut spec = RunSpec::new(&self.root, ["/bin/sh", "-c", script]);
        spec.env = vec![("PATH".into(), "/bin".into())];
        spec
    }

    /// A job that runs the suite's own program.
    fn actor(&self, words: &[&str]) -> RunSpec {
        let args = self.actor.command.iter().cloned().chain(words.iter().map(OsString::from));
        let mut spec = RunSpec::new(&self.root, args);
        spec.env = Vec::new();
        spec.mounts.clone_from(&self.actor.mounts);
        spec.isolation = self.isolation.clone();
        spec
    }

    fn try_run(&self, spec: &RunSpec) -> Result<Outcome, RunError> {
        self.run_until(spec, &CancelToken::new(), |_| {})
    }

    /// Runs a job and shows what it has written to stdout so far to `watch`, at each piece.
    fn run_until(
        &self,
        spec: &RunSpec,
        cancel: &CancelToken,
        mut watch: impl FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut sink = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => {
                stdout.extend_from_slice(bytes);
                watch(&String::from_utf8_lossy(&stdout));
            }
            Stream::Stderr => stderr.extend_from_slice(bytes),
        };
        let report = self.runner.run(spec, &mut sink, cancel)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { report, stdout: text(stdout), stderr: text(stderr) })
    }

    #[track_caller]
    fn run(&self, spec: &RunSpec) -> Outcome {
        match self.try_run(spec) {
            Ok(outcome) => outcome,
            Err(error) => panic!("the job did not run: {}", describe(&error)),
        }
    }

    /// Runs a job that has to succeed without a word on stderr, and returns what it wrote.
    #[track_caller]
    fn output(&self, spec: &RunSpec) -> String {
        let outcome = self.run(spec);
        assert_eq!((outcome.report.exit, outcome.stderr.as_str()), (Exit::Code(0), ""), "{}", outcome.stdout);
        outcome.stdout
    }
}

fn describe(error: &RunError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    format!("{error}{source}{hint}")
}

/// A check and its name.
type Check = (&'static str, fn(&Bench));

/// The names of a suite's checks, in order.
pub fn names(suite: Suite) -> impl Iterator<Item = &'static str> {
    checks(suite).map(|(name, _)| name)
}

fn checks(suite: Suite) -> impl Iterator<Item = Check> {
    let unix: &[&[Check]] =
        &[process::CHECKS, ending::CHECKS, files::CHECKS, isolation::CHECKS, limits::CHECKS];
    let unix = if suite == Suite::Unix { unix } else { &[] };
    unix.iter().copied().chain([portable::CHECKS]).flatten().copied()
}

/// Runs all checks of `suite` whose name contains `filter` against runners that `bench` makes. Returns how many
/// were run.
///
/// # Panics
/// When a check fails: with all that failed, and why.
pub fn run(runner: &str, suite: Suite, filter: &str, bench: &dyn Fn() -> Bench) -> usize {
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, check) in checks(suite).filter(|(name, _)| name.contains(filter)) {
        count += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&bench())));
        if let Err(panic) = outcome {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked");
            failures.push(format!("{name}: {why}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{runner}: {} of {count} checks failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    count
}

/// Strings as arguments.
fn args<const N: usize>(list: [&str; N]) -> Vec<OsString> {
    list.map(OsString::from).to_vec()
}
