//! The confinement of a job, tried on the machine at hand: for `orlop info --self-test`.
//!
//! Each check starts this program again as a step of a real job, in a role that attacks one thing, and tells by the
//! effect whether it held. Nothing is taken from what a call returned to the builder. Where a thing is open that the
//! runner's own report says cannot be closed here, the check is [`Outcome::Unavailable`] with that reason; where the
//! report says that it is closed and it is not, it is [`Outcome::Failed`], and we want to know.
//!
//! The table is made to be sent: it holds no path, no name and no identity of the machine.

mod attack;
mod bench;
mod checks;
mod elsewhere;
mod limits;
mod planted;
mod roots;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::{CancelToken, Runner};

use bench::Bench;
pub use roots::{Root, Roots};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The attack was refused, or the limit kept.
    Held,
    /// It went through although the runner says that it cannot, or could not be tried.
    Failed,
    /// It went through, and the runner says so before each step: this system has nothing against it.
    Unavailable,
    /// This system has nothing that could be tried, or nothing to try it with: it says neither yes nor no.
    NotTried,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::Failed => "FAILED",
            Self::Unavailable => "unavailable",
            Self::NotTried => "not tried",
        })
    }
}

/// One confinement, tried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What has to be so.
    pub asked: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What the attacking step saw.
    pub seen: String,
    /// Why it is not so, where the runner knew.
    pub why: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:<11} {}", self.name, self.outcome, self.asked)?;
        write!(f, "{:34} seen: {}", "", self.seen)?;
        match &self.why {
            Some(why) => write!(f, "\n{:34} why:  {why}", ""),
            None => Ok(()),
        }
    }
}

/// What the self-test needs.
#[derive(Debug, Clone)]
pub struct SelfTest {
    /// This program's own executable.
    pub program: PathBuf,
    /// Arguments that lead to [`child`].
    pub prefix: Vec<OsString>,
    /// An empty directory for the steps' roots, on the volume that is to be tried.
    pub work: PathBuf,
    /// Only checks whose name holds this text.
    pub filter: Option<String>,
    /// Roots that are read as a build reads them; without any, the checks that need them say so.
    pub roots: Option<Arc<dyn Roots>>,
}

impl SelfTest {
    /// Runs the checks one after the other, and tells each as soon as it is over.
    pub fn run(&self, runner: &dyn Runner, cancel: &CancelToken, told: &mut dyn FnMut(&Check)) -> Vec<Check> {
        let mut done = Vec::new();
        for (name, asked, what, try_it) in checks::ALL {
            let wanted = self.filter.as_ref().is_none_or(|text| name.contains(text.as_str()));
            if !wanted || cancel.is_cancelled() {
                continue;
            }
            let bench = Bench::new(self, runner, cancel);
            let (outcome, seen, why) = bench.judge(what, try_it(&bench));
            let check = Check { name, asked, outcome, seen, why };
            told(&check);
            done.push(check);
        }
        done
    }

    /// The names of all checks, with what each asks.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        checks::ALL.iter().map(|(name, asked, ..)| (*name, *asked))
    }
}

/// What this program does when a check starts it again. `args` are those after [`SelfTest::prefix`]; the result is the
/// process's exit code.
pub fn child(args: &[OsString], runner: &dyn Runner, output: &mut dyn Write) -> i32 {
    let _ = ROLE.set(args.len());
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["builder", root, seconds] => bench::builder(Path::new(root), seconds, runner, output),
        _ => attack::run(&words, output),
    }
}

/// How many of this process's arguments are its role.
static ROLE: OnceLock<usize> = OnceLock::new();

/// This process's own arguments that led to its role, for what it starts in turn.
fn lead() -> impl Iterator<Item = OsString> {
    let all = std::env::args_os();
    let count = all.len().saturating_sub(1 + ROLE.get().copied().unwrap_or(0));
    all.skip(1).take(count)
}
