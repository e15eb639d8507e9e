//! One measurement: wall time, CPU and memory of everything that takes part.

mod group;
mod processes;

pub(crate) use group::{Group, Hierarchies};

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::comparison::say;
use crate::interrupt;

/// How long one measurement may take: a peer that hangs ends with an error, not with the night.
const LIMIT: Duration = Duration::from_secs(1800);

/// How long to sleep between two looks at memory.
const GRAIN: Duration = Duration::from_millis(3);

/// What one measurement gives. CPU and memory are of everything together: daemon, client, steps.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of user and system time.
    pub(crate) cpu: f64,
    /// The most bytes of anonymous memory at one time.
    pub(crate) memory: u64,
    /// The most bytes with the page cache; only a control group tells.
    pub(crate) with_cache: Option<u64>,
}

impl Figures {
    /// Of two measurements that belong together, one after the other.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            memory: self.memory.max(next.memory),
            with_cache: self.with_cache.max(next.with_cache),
        }
    }
}

/// Where CPU and memory are read.
#[derive(Debug)]
pub(crate) enum Meter {
    /// A control group that everything is in.
    Group(Group),
    /// All processes of this process's namespace but itself and registries.
    Processes,
}

impl Meter {
    fn cpu(&self) -> io::Result<f64> {
        match self {
            Self::Group(group) => group.cpu(),
            Self::Processes => Ok(processes::cpu()),
        }
    }

    fn memory(&self) -> u64 {
        match self {
            Self::Group(group) => processes::memory(&group.processes()),
            Self::Processes => processes::memory(&processes::all()),
        }
    }

    /// Starts a program that is measured.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let name = command.get_program().to_owned();
        // A child is where its parent is: this process goes into the group for the moment.
        if let Self::Group(group) = self {
            group.enter()?;
        }
        let child = command.stdin(Stdio::null()).spawn();
        if let Self::Group(group) = self {
            group.leave()?;
        }
        child.map_err(|e| io::Error::new(e.kind(), format!("cannot start `{}`: {e}", name.display())))
    }

    /// Runs the commands one after the other; all their output goes to `log`.
    pub(crate) fn run(&self, commands: Vec<Command>, log: &Path) -> io::Result<Figures> {
        self.watched(log, |running| {
            let mut wall = 0.0;
            for command in commands {
                let start = Instant::now();
                self.all(vec![command], log, running)?;
                wall += start.elapsed().as_secs_f64();
            }
            Ok(wall)
        })
    }

    /// Runs the commands at the same time.
    pub(crate) fn run_together(&self, commands: Vec<Command>, log: &Path) -> io::Result<Figures> {
        self.watched(log, |running| {
            let start = Instant::now();
            self.all(commands, log, running)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }

    /// Starts all, and waits for all.
    fn all(&self, commands: Vec<Command>, log: &Path, running: &Running) -> io::Result<()> {
        let mut children = Vec::new();
        for mut command in commands {
            let file = OpenOptions::new().append(true).create(true).open(log)?;
            command.stdout(file.try_clone()?).stderr(file);
            let child = self.spawn(&mut command)?;
            running.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
            children.push((child, command));
        }
        let mut outcome = Ok(());
        for (mut child, command) in children {
            let status = child.wait()?;
            running.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != child.id());
            if !status.success() && outcome.is_ok() {
                interrupt::check()?;
                say(&format!("failed: {}", words(&command)));
                outcome = Err(io::Error::other(format!("{status}: {}", tail(log))));
            }
        }
        outcome
    }

    /// Figures of what `work` does, which gives the seconds that count. It ends what is running after a signal, and
    /// what takes too long.
    fn watched(&self, log: &Path, work: impl FnOnce(&Running) -> io::Result<f64>) -> io::Result<Figures> {
        File::create(log)?;
        let (peak, done, running) = (AtomicU64::new(0), AtomicBool::new(false), Running::default());
        let before = self.cpu()?;
        if let Self::Group(group) = self {
            group.forget_peak();
        }
        let wall = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                // This thread alone: on a busy machine it would look too seldom. Not everybody may.
                let _ = rustix::process::setpriority_process(None, -10);
                let start = Instant::now();
                while !done.load(Ordering::Relaxed) {
                    peak.fetch_max(self.memory(), Ordering::Relaxed);
                    if start.elapsed() > LIMIT || interrupt::asked() {
                        running.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|id| end(*id));
                    }
                    std::thread::sleep(GRAIN);
                }
            });
            let outcome = work(&running);
            done.store(true, Ordering::Relaxed);
            // A thread that panicked has nothing more to say.
            let _ = watch.join();
            outcome
        })?;
        Ok(Figures {
            wall,
            cpu: self.cpu()? - before,
            memory: peak.load(Ordering::Relaxed),
            with_cache: if let Self::Group(group) = self { group.peak() } else { None },
        })
    }
}

/// Processes that were started and not yet waited for.
type Running = Mutex<Vec<u32>>;

fn end(process: u32) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        // It may have ended in the meantime.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

/// A command without its environment.
fn words(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    format!("`{}`", words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" "))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_two_commands_are_one() {
        let one = Figures { wall: 1.0, cpu: 0.5, memory: 10, with_cache: Some(30) };
        let two = Figures { wall: 2.0, cpu: 0.5, memory: 7, with_cache: Some(40) };
        assert_eq!(one.then(two), Figures { wall: 3.0, cpu: 1.0, memory: 10, with_cache: Some(40) });
    }

    #[test]
    fn a_command_that_fails_is_told_with_what_it_said() {
        let work = orlop_fixtures::test_env::work_dir();
        let log = work.path().join("log");
        let mut command = orlop_fixtures::tool::tool("sh");
        command.args(["-c", "echo no room >&2; exit 3"]);
        let error = Meter::Processes.run(vec![command], &log).unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains("exit status: 3"), "{error}");
    }
}
