//! One measurement: wall time, CPU and memory of everything that takes part.

mod group;
mod processes;

pub(crate) use group::{Group, Hierarchies};

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::comparison::say;
use crate::interrupt;

/// How long one command may take: a peer that hangs ends with an error, not with the night.
const LIMIT: Duration = Duration::from_secs(1800);

/// What one measurement gives. CPU and memory are of everything together: daemon, client, steps.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of user and system time.
    pub(crate) cpu: f64,
    /// The most bytes at one time that are no page cache.
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
            Self::Group(group) => group.memory(),
            Self::Processes => processes::memory(),
        }
    }

    /// How long to sleep between two looks: reading a group's counters is cheap, each process's is not.
    fn grain(&self) -> Duration {
        match self {
            Self::Group(_) => Duration::from_millis(5),
            Self::Processes => Duration::from_millis(25),
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
        let file = File::create(log)?;
        let (peak, done, late) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let current = AtomicU64::new(0);
        let mut figures = Figures::default();
        let before = self.cpu()?;
        if let Self::Group(group) = self {
            group.forget_peak();
        }
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let start = Instant::now();
                while !done.load(Ordering::Relaxed) {
                    peak.fetch_max(self.memory(), Ordering::Relaxed);
                    if start.elapsed() > LIMIT || interrupt::asked() {
                        late.store(true, Ordering::Relaxed);
                        end(current.load(Ordering::Relaxed));
                    }
                    std::thread::sleep(self.grain());
                }
            });
            let outcome = commands.into_iter().try_for_each(|mut command| {
                command.stdout(file.try_clone()?).stderr(file.try_clone()?);
                let start = Instant::now();
                let mut child = self.spawn(&mut command)?;
                current.store(u64::from(child.id()), Ordering::Relaxed);
                let status = child.wait()?;
                current.store(0, Ordering::Relaxed);
                figures.wall += start.elapsed().as_secs_f64();
                if late.load(Ordering::Relaxed) {
                    interrupt::check()?;
                    return Err(io::Error::other(format!("{} took more than {LIMIT:?}", words(&command))));
                }
                if !status.success() {
                    say(&format!("failed: {}", words(&command)));
                    return Err(io::Error::other(format!("{status}: {}", tail(log))));
                }
                Ok(())
            });
            done.store(true, Ordering::Relaxed);
            // A thread that panicked has nothing more to say.
            let _ = watch.join();
            outcome
        })?;
        figures.cpu = self.cpu()? - before;
        figures.memory = peak.load(Ordering::Relaxed);
        if let Self::Group(group) = self {
            figures.with_cache = group.peak();
        }
        Ok(figures)
    }
}

fn end(process: u64) {
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
