//! Runs steps for the checks and judges what they saw.
#![expect(clippy::disallowed_methods, reason = "a step is this program again")]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{Outcome, Roots, SelfTest};
use crate::{
    CancelToken, Confinement, Exit, Isolation, Network, RunError, RunReport, RunSpec, Runner, Stream,
};

/// The exit code of an attack that was refused.
pub(super) const CLOSED: i32 = 0;
/// The exit code of an attack that went through.
pub(super) const OPEN: i32 = 1;
/// The exit code of one for which this system lacks what would be attacked.
pub(super) const ABSENT: i32 = 3;

/// What an attack came to.
#[derive(Debug)]
pub(super) enum Tried {
    /// Refused, or kept.
    Closed(String),
    /// It went through.
    Open(String),
    /// It could not be had at all: a limit or a network that the runner refuses.
    Refused(Box<RunError>),
    /// This system has it not to give, and the runner says so; what the step saw, and why.
    Lacking(String, String),
    /// There is nothing here that could be tried.
    Absent(String),
    /// It could not be tried.
    Broken(String),
}

/// A step's end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) report: RunReport,
    pub(super) text: String,
}

/// The work directory and the runner of one check.
pub(super) struct Bench<'a> {
    test: &'a SelfTest,
    runner: &'a dyn Runner,
    cancel: &'a CancelToken,
    lines: std::sync::Mutex<Vec<Confinement>>,
    made: std::sync::Mutex<Vec<PathBuf>>,
}

impl Drop for Bench<'_> {
    /// A copy of this program for each step would be much at the end of all checks.
    fn drop(&mut self) {
        for root in self.made.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) {
            // The whole work directory is removed at last, and that says what cannot be.
            let _ = root.canonicalize().and_then(fs::remove_dir_all);
        }
    }
}

impl<'a> Bench<'a> {
    pub(super) fn new(test: &'a SelfTest, runner: &'a dyn Runner, cancel: &'a CancelToken) -> Self {
        Self { test, runner, cancel, lines: Default::default(), made: Default::default() }
    }

    /// The directory outside of every root.
    pub(super) fn work(&self) -> &Path {
        &self.test.work
    }

    /// A step over a root of its own that holds nothing but this program.
    pub(super) fn spec(&self, role: &[&str]) -> Result<RunSpec, String> {
        Ok(self.describe(self.root()?, role))
    }

    /// The same over a root that is there.
    pub(super) fn spec_over(&self, root: PathBuf, role: &[&str]) -> Result<RunSpec, String> {
        let program = root.join("self-test.exe");
        if !program.exists() {
            let copied = fs::copy(&self.test.program, program);
            copied.map_err(|error| format!("the root takes no program: {error}"))?;
        }
        Ok(self.describe(root, role))
    }

    /// Where roots come from that are read as a build reads them.
    pub(super) fn roots(&self) -> Option<&dyn Roots> {
        self.test.roots.as_deref()
    }

    fn describe(&self, root: PathBuf, role: &[&str]) -> RunSpec {
        let mut spec = RunSpec::new(root, self.command(role));
        spec.cwd = PathBuf::from(r"C:\");
        spec.env = Vec::new();
        spec.limits.wall = Some(Duration::from_secs(30));
        spec.limits.grace = Some(Duration::ZERO);
        spec
    }

    fn root(&self) -> Result<PathBuf, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = self.test.work.join(format!("root-{}-{number}", std::process::id()));
        let made = match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&root),
        };
        let made = made.and_then(|()| fs::copy(&self.test.program, root.join("self-test.exe")));
        self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(root.clone());
        made.map(|_| root).map_err(|error| format!("a root for the step could not be made: {error}"))
    }

    fn command(&self, role: &[&str]) -> Vec<OsString> {
        let program = OsString::from(r"C:\self-test.exe");
        let prefix = self.test.prefix.iter().cloned();
        std::iter::once(program).chain(prefix).chain(role.iter().map(OsString::from)).collect()
    }

    /// Runs a step to its end, accepting what this machine cannot confine; what that is is kept for the judgement.
    pub(super) fn run(
        &self,
        spec: &mut RunSpec,
        cancel: &CancelToken,
        line: &mut dyn FnMut(&str),
    ) -> Result<Ended, RunError> {
        loop {
            let (mut text, mut told) = (Vec::new(), 0);
            let mut sink = |_: Stream, bytes: &[u8]| {
                text.extend_from_slice(bytes);
                while let Some(end) = text[told..].iter().position(|&byte| byte == b'\n') {
                    line(String::from_utf8_lossy(&text[told..told + end]).trim_end());
                    told += end + 1;
                }
            };
            match self.runner.run(spec, &mut sink, cancel) {
                Ok(report) => {
                    self.keep(&report.confinement);
                    let text =
                        String::from_utf8_lossy(&text).trim().replace("\r\n", "; ").replace('\n', "; ");
                    return Ok(Ended { report, text });
                }
                Err(RunError::Unconfined { missing, .. })
                    if self.may_miss(&missing.0, &spec.isolation, spec.network) =>
                {
                    self.keep(&missing.0);
                    spec.isolation.allow.extend(missing.0.into_iter().map(|line| line.what));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a step is worth running without what is missing: not where that is what is to be tried.
    fn may_miss(&self, missing: &[Confinement], known: &Isolation, network: Network) -> bool {
        let limits = |name: &str| name.ends_with("-limit") || name == "network-rate";
        let wanted = |name: &str| limits(name) || (name == "network" && network == Network::None);
        missing.iter().all(|line| !wanted(&line.what)) && missing.iter().any(|line| !known.allows(&line.what))
    }

    fn keep(&self, lines: &[Confinement]) {
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(lines);
    }

    /// Runs an attack and reads its exit code.
    pub(super) fn attack(&self, role: &[&str]) -> Tried {
        match self.spec(role) {
            Ok(spec) => self.attack_with(spec),
            Err(why) => Tried::Broken(why),
        }
    }

    /// The same with a job that is described otherwise.
    pub(super) fn attack_with(&self, mut spec: RunSpec) -> Tried {
        match self.run(&mut spec, self.cancel, &mut |_| {}) {
            Ok(ended) => self.told(ended),
            Err(error) => failed(error),
        }
    }

    /// What a step that attacked says by its exit code.
    pub(super) fn told(&self, ended: Ended) -> Tried {
        match ended.report.exit {
            Exit::Code(CLOSED) => Tried::Closed(ended.text),
            Exit::Code(OPEN) => Tried::Open(ended.text),
            Exit::Code(ABSENT) => Tried::Absent(ended.text),
            exit => Tried::Broken(format!("{exit}: {}", ended.text)),
        }
    }

    /// Runs a step that tells something in its first line and stays, and an attack against what it told.
    pub(super) fn against(&self, victim: &[&str], attack: impl FnOnce(&str) -> Tried) -> Tried {
        let mut spec = match self.spec(victim) {
            Ok(spec) => spec,
            Err(why) => return Tried::Broken(why),
        };
        let (send, told) = mpsc::channel();
        let stop = CancelToken::new();
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| {
                let mut line = move |line: &str| drop(send.send(line.to_owned()));
                self.run(&mut spec, &stop, &mut line)
            });
            let tried = match told.recv_timeout(Duration::from_secs(25)) {
                Ok(line) => Some(attack(&line)),
                Err(_) => None,
            };
            stop.kill();
            match (tried, ended.join()) {
                (Some(tried), _) => tried,
                (None, Ok(Err(error))) => failed(error),
                (None, Ok(Ok(ended))) => {
                    Tried::Broken(format!("the other step: {}: {}", ended.report.exit, ended.text))
                }
                (None, Err(_)) => Tried::Broken("the other step could not be run".into()),
            }
        })
    }

    /// Starts a builder of its own that runs one step, for checks that kill it.
    pub(super) fn builder(&self, seconds: u32) -> Result<Child, String> {
        let root = self.root()?;
        let mut command = Command::new(&self.test.program);
        command.args(&self.test.prefix).arg("builder").arg(root).arg(seconds.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|error| format!("another builder could not be started: {error}"))
    }

    /// What an attack means, given what the runner said.
    pub(super) fn judge(&self, what: &[&str], tried: Tried) -> (Outcome, String, Option<String>) {
        let (outcome, seen, why) = self.judged(what, tried);
        let places = Places::of(&self.test.work);
        (outcome, places.taken_out_of(&seen), why.map(|why| places.taken_out_of(&why)))
    }

    fn judged(&self, what: &[&str], tried: Tried) -> (Outcome, String, Option<String>) {
        let lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let why = |lines: &[Confinement]| {
            let line = lines.iter().find(|line| !line.is_full() && what.contains(&line.what.as_str()))?;
            // Without the access lists that some reasons end with: they name the user.
            line.why.as_ref().map(|why| why.split(": O:").next().unwrap_or(why).to_owned())
        };
        match tried {
            Tried::Closed(seen) => (Outcome::Held, seen, None),
            Tried::Open(seen) => match why(&lines) {
                Some(why) => (Outcome::Unavailable, seen, Some(why)),
                None => (Outcome::Failed, seen, None),
            },
            Tried::Refused(error) => {
                let why = match &*error {
                    RunError::Unconfined { missing, .. } => why(&missing.0),
                    other => Some(other.to_string()),
                };
                (Outcome::Unavailable, "refused before the step".into(), why)
            }
            Tried::Lacking(seen, why) => (Outcome::Unavailable, seen, Some(why)),
            Tried::Absent(seen) => (Outcome::NotTried, seen, None),
            Tried::Broken(seen) => (Outcome::Failed, format!("could not be tried: {seen}"), None),
        }
    }
}

/// Directories of this machine that an error may name, and that are nobody's business.
struct Places(Vec<(String, &'static str)>);

impl Places {
    fn of(work: &Path) -> Self {
        let mut all = Vec::new();
        for (path, name) in [(work.to_path_buf(), "WORK"), (std::env::temp_dir(), "TEMP")] {
            let long = path.canonicalize().ok();
            let plain = long.as_deref().map(crate::windows::view::plain);
            for form in [long, plain, Some(path)].into_iter().flatten() {
                all.push((form.display().to_string().trim_end_matches('\\').to_owned(), name));
            }
        }
        Self(all)
    }

    fn taken_out_of(&self, text: &str) -> String {
        let taken = |text: String, (path, name): &(String, &str)| text.replace(path.as_str(), name);
        self.0.iter().fold(text.to_owned(), taken)
    }
}

fn failed(error: RunError) -> Tried {
    match error {
        RunError::Unconfined { .. } | RunError::LimitUnavailable { .. } | RunError::Unsupported { .. } => {
            Tried::Refused(Box::new(error))
        }
        error => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            Tried::Broken(format!("{error}{}", source.unwrap_or_default()))
        }
    }
}

/// A builder of its own: runs one step that tells its process id and waits.
pub(super) fn builder(root: &Path, seconds: &str, runner: &dyn Runner, output: &mut dyn Write) -> i32 {
    let Ok(program) = std::env::current_exe() else { return 2 };
    let test = SelfTest {
        program,
        prefix: super::lead().collect(),
        work: root.to_path_buf(),
        filter: None,
        roots: None,
    };
    let cancel = CancelToken::new();
    let bench = Bench::new(&test, runner, &cancel);
    let mut spec = bench.describe(root.to_path_buf(), &["sleep", seconds]);
    let ended = bench.run(&mut spec, &cancel, &mut |line| {
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    });
    i32::from(ended.is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_names_no_place_of_the_machine() {
        let work = tempfile::tempdir().expect("a directory");
        let places = Places::of(work.path());
        let long = work.path().canonicalize().expect("a path");
        for path in [work.path().to_owned(), crate::windows::view::plain(&long), long] {
            let text = format!("cannot open `{}`: error 5", path.join("root-1").display());
            assert_eq!(places.taken_out_of(&text), r"cannot open `WORK\root-1`: error 5");
        }
        let text = format!("in {}", std::env::temp_dir().join("x").display());
        assert_eq!(places.taken_out_of(&text), r"in TEMP\x");
    }
}
