//! The program `git`, run so that nothing but what it was asked for happens: no configuration of the machine or the
//! user, no hooks, no questions, no transport that runs commands, its output bounded, and ended with all that it
//! started.

#![expect(clippy::disallowed_methods, reason = "repositories are fetched by the program `git`")]

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use orlop_runner::CancelToken;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::redact::redact;
use crate::error::BuildError;

/// The most that is read of an answer: the references of very large repositories take some 20 MiB.
const ANSWER: usize = 64 << 20;
/// The most that is kept of what git says besides.
const SAID: usize = 16 << 10;
/// How long git may say nothing. It tells its progress every second, and servers keep the line alive.
const SILENCE: Duration = Duration::from_secs(300);
/// How often is looked whether the build is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What is the same for every run of git for one repository.
pub(super) struct Git<'a> {
    /// All variables of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) cancel: &'a CancelToken,
    /// Told the last line of what git says, as it comes.
    pub(super) progress: &'a (dyn Fn(&str) + Sync),
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
    /// Runs `git` with `args` in `dir`.
    ///
    /// # Errors
    /// When there is no git, when it cannot be started, said nothing for long, or the build is to stop.
    pub(super) fn run<I, S>(&self, dir: &Path, args: I) -> Result<Ended, BuildError>
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
        self.watch(Running(child))
    }

    fn watch(&self, mut child: Running) -> Result<Ended, BuildError> {
        let (send, receive) = mpsc::channel();
        if let Some(out) = child.0.stdout.take() {
            read(out, send.clone(), Piece::Answer);
        }
        if let Some(err) = child.0.stderr.take() {
            read(err, send, Piece::Said);
        }
        let (mut answer, mut said) = (Vec::new(), Vec::new());
        let mut heard = Instant::now();
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(Piece::Answer(bytes)) => {
                    heard = Instant::now();
                    answer.extend_from_slice(&bytes);
                    if answer.len() > ANSWER {
                        return Err(BuildError::user(format!(
                            "the repository's server sent a list of more than {} MiB",
                            ANSWER >> 20
                        )));
                    }
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
            if heard.elapsed() > SILENCE {
                return Err(BuildError::user(format!(
                    "the repository's server said nothing for {} seconds",
                    SILENCE.as_secs()
                )));
            }
        }
        let status = child.wait(self.cancel)?;
        if status {
            return Ok(Ended::Well(answer));
        }
        Ok(Ended::Badly(redact(&String::from_utf8_lossy(&said))))
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

fn read(mut from: impl Read + Send + 'static, to: mpsc::Sender<Piece>, piece: fn(Vec<u8>) -> Piece) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.send(piece(buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    });
}

/// The last line that is not empty; progress is told by carriage returns.
fn last_line(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&said[said.len().saturating_sub(400)..]).into_owned();
    text.split(['\n', '\r'])
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
}
