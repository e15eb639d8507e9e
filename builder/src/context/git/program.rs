//! The program `git`, run so that nothing but what it was asked for happens: no configuration of the machine or the
//! user, no hooks, no questions, no transport that runs commands, its output bounded, and ended with all that it
//! started.

#![expect(clippy::disallowed_methods, reason = "repositories are fetched by the program `git`")]

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use orlop_runner::CancelToken;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use crate::context::pieces::{self, LOOK, WAITING};
use crate::error::BuildError;
use crate::redact::redact;

/// The most that is read of an answer: the references of very large repositories take some 20 MiB.
const ANSWER: usize = 64 << 20;
/// The most that is kept of what git says besides.
const SAID: usize = 16 << 10;
/// How long git may say nothing. It tells its progress every second, and servers keep the line alive.
pub(super) const SILENCE: Duration = Duration::from_secs(300);
/// The first version that takes its configuration from the environment, which all our protection is built on.
const OLDEST: (u32, u32) = (2, 31);

/// What is the same for every run of git for one repository.
pub(super) struct Git<'a> {
    /// All variables of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) cancel: &'a CancelToken,
    /// Told the last line of what git says, as it comes.
    pub(super) progress: &'a (dyn Fn(&str) + Sync),
    /// How long it may say nothing: [`SILENCE`].
    pub(super) silence: Duration,
}

/// How a run ended.
pub(super) enum Ended {
    /// As it should, and what it wrote to standard output.
    Well(Vec<u8>),
    /// As it should not, and what it said.
    Badly(String),
}

/// What arrives from the two readers.
enum Piece {
    Answer(Vec<u8>),
    Said(Vec<u8>),
}

impl Git<'_> {
    /// Refuses a git that would not do as it is told.
    ///
    /// # Errors
    /// When it is too old, and as [`run`](Self::run).
    pub(super) fn check(&self, dir: &Path) -> Result<(), BuildError> {
        let said = match self.run(dir, ["version"])? {
            Ended::Well(said) => String::from_utf8_lossy(&said).into_owned(),
            Ended::Badly(said) => said,
        };
        match version(&said) {
            Some(version) if version < OLDEST => {
                let said = said.trim();
                Err(BuildError::user(format!("this git is too old: `{}`", said.escape_debug()))
                    .with_hint(format!("install git {}.{} or later", OLDEST.0, OLDEST.1)))
            }
            // One that says it in other words is no older.
            _ => Ok(()),
        }
    }

    /// Runs `git` with `args` in `dir`.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), and when it answers too much.
    pub(super) fn run<I, S>(&self, dir: &Path, args: I) -> Result<Ended, BuildError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut answer = Vec::new();
        let failed = self.stream(dir, args, &mut |bytes| {
            answer.extend_from_slice(bytes);
            match answer.len() > ANSWER {
                true => Err(BuildError::user(format!(
                    "the repository's server sent a list of more than {} MiB",
                    ANSWER >> 20
                ))),
                false => Ok(()),
            }
        })?;
        Ok(failed.map_or(Ended::Well(answer), Ended::Badly))
    }

    /// Runs `git` with `args` in `dir`, and hands on its answer as it comes. Gives what it said where it failed.
    ///
    /// # Errors
    /// When there is no git, when it cannot be started, said nothing for long, or the build is to stop; and what
    /// `answer` says, which ends it.
    pub(super) fn stream<I, S>(
        &self,
        dir: &Path,
        args: I,
        answer: &mut dyn FnMut(&[u8]) -> Result<(), BuildError>,
    ) -> Result<Option<String>, BuildError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        if self.cancel.is_cancelled() {
            return Err(BuildError::interrupted());
        }
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        system::lead(&mut command);
        let child = command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                BuildError::user("the program `git` is not there").with_hint(system::INSTALL.to_owned())
            }
            _ => BuildError::internal("cannot run `git`").because(e),
        })?;
        self.watch(Running(child), answer)
    }

    fn watch(
        &self,
        mut child: Running,
        answer: &mut dyn FnMut(&[u8]) -> Result<(), BuildError>,
    ) -> Result<Option<String>, BuildError> {
        let (send, receive) = mpsc::sync_channel(WAITING);
        // A pipe that breaks has come to its end.
        if let Some(out) = child.0.stdout.take() {
            pieces::send(out, send.clone(), |bytes| Piece::Answer(bytes.unwrap_or_default()));
        }
        if let Some(err) = child.0.stderr.take() {
            pieces::send(err, send, |bytes| Piece::Said(bytes.unwrap_or_default()));
        }
        let mut said = Vec::new();
        let mut heard = Instant::now();
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(Piece::Answer(bytes)) => {
                    heard = Instant::now();
                    answer(&bytes)?;
                }
                Ok(Piece::Said(bytes)) => {
                    heard = Instant::now();
                    said.extend_from_slice(&bytes);
                    if said.len() > 2 * SAID {
                        said.drain(..said.len() - SAID);
                    }
                    if let Some(line) = last_line(&said) {
                        (self.progress)(&redact(&line));
                    }
                }
                // Both ends are closed: whatever held them is gone.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.cancel.is_cancelled() {
                return Err(BuildError::interrupted());
            }
            if heard.elapsed() > self.silence {
                return Err(BuildError::user(format!(
                    "the repository's server said nothing for {} seconds",
                    self.silence.as_secs()
                )));
            }
        }
        let done = child.wait(self.cancel)?;
        Ok((!done).then(|| redact(&String::from_utf8_lossy(&said))))
    }
}

/// A child that is ended with all that it started, unless it was waited for.
struct Running(Child);

impl Running {
    /// Whether it succeeded. It has closed its output, so this is a matter of moments.
    fn wait(&mut self, cancel: &CancelToken) -> Result<bool, BuildError> {
        let lost = |e: io::Error| BuildError::internal("cannot wait for `git`").because(e);
        loop {
            if let Some(status) = self.0.try_wait().map_err(lost)? {
                return Ok(status.success());
            }
            if cancel.is_cancelled() {
                return Err(BuildError::interrupted());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        system::end(&mut self.0);
        // It was killed; nothing that it could say matters any more.
        drop(self.0.wait());
    }
}

/// Of `git version 2.39.5 (Apple Git-154)`, major and minor.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The last line that is not empty; progress is told by carriage returns.
fn last_line(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&said[said.len().saturating_sub(400)..]).into_owned();
    text.split(['\n', '\r'])
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Has git run a line of shell.
    fn shell(line: &str, silence: u64, cancel: &CancelToken) -> Result<Ended, BuildError> {
        let path = ("PATH".into(), "/usr/bin:/bin".into());
        let silence = Duration::from_millis(silence);
        let git = Git { environment: vec![path], cancel, progress: &|_| (), silence };
        git.run(Path::new("/"), ["-c", &format!("alias.x=!{line}"), "x"])
    }

    /// Waits until no process has this in its command line.
    fn all_gone(text: &str) {
        let line = |pid: std::ffi::OsString| std::fs::read(Path::new("/proc").join(pid).join("cmdline"));
        let start = Instant::now();
        while std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = line(entry.file_name()).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
        }) {
            assert!(start.elapsed() < Duration::from_secs(20), "`{text}` goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn what_it_says_is_told_apart() {
        let cancel = CancelToken::new();
        match shell("echo yes; echo no >&2", 60_000, &cancel) {
            Ok(Ended::Well(answer)) => assert_eq!(answer, b"yes\n"),
            _ => panic!("it should end well"),
        }
        match shell("echo fatal: https://u:p@h/ >&2; exit 3", 60_000, &cancel) {
            Ok(Ended::Badly(said)) => assert!(said.contains("fatal: https://xxxxx:xxxxx@h/"), "{said}"),
            _ => panic!("it should end badly"),
        }
    }

    #[test]
    fn who_says_nothing_is_ended_with_all_helpers() {
        let started = Instant::now();
        let error = shell("sleep 4711 & sleep 4711", 300, &CancelToken::new()).err().unwrap();
        assert!(error.to_string().contains("said nothing"), "{error}");
        let (cancel, now) = (CancelToken::new(), CancelToken::new());
        let other = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            other.cancel();
        });
        let error = shell("sleep 4711 & sleep 4711", 60_000, &cancel).err().unwrap();
        assert_eq!(error.kind, crate::error::ErrorKind::Interrupted);
        now.cancel();
        assert!(shell("sleep 4711", 60_000, &now).is_err());
        all_gone("sleep 4711");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn who_says_too_much_is_ended() {
        let error = shell("yes 4712", 60_000, &CancelToken::new()).err().unwrap();
        assert!(error.to_string().contains("more than 64 MiB"), "{error}");
        // Of what is no answer the end is kept.
        match shell("yes 4712 | head -c 2000000 >&2; echo the end >&2; exit 1", 60_000, &CancelToken::new()) {
            Ok(Ended::Badly(said)) => assert!(said.len() <= 2 * SAID && said.ends_with("the end\n")),
            _ => panic!("it should end badly"),
        }
        all_gone("yes 4712");
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version("git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version("git version 2.45.1.windows.1"), Some((2, 45)));
        assert_eq!(version("git version unknown"), None);
        assert!((2, 9) < OLDEST && (2, 100) > OLDEST && (3, 0) > OLDEST);
    }
}
