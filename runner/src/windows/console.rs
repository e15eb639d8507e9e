//! The guard: processes of a job that are not in it.
//!
//! On Server 2012 the console's host (`conhost.exe`) is started outside the job that its client is in; other ways
//! out are known (see `HOLES.md`). So while a job runs and once more after it, every process of the machine that
//! was not there before is looked at: whether its token carries the step's SID, or, without one, whether it
//! descends from a process of the job. Comparing two lists finds false strangers, since a process may be born
//! between the two: so each suspect is opened, asked whether it is in the job, and only then put into it or ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// A moment as the system counts it: 100 ns since 1601.
pub(crate) type Moment = u64;

/// How far two of the system's clocks may be apart.
const SLACK: Moment = 500_000;

/// A process in the system's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) threads: u32,
}

/// A suspect as it is when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// When it was made: its id alone may be another's by now.
    pub(crate) created: Moment,
    /// Whether it is in the job.
    pub(crate) inside: bool,
    /// Whether it has ended.
    pub(crate) ended: bool,
}

/// Whose a process outside the job is, by what it bears. Takes far longer to find out than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bears {
    /// The step's SID in its token, or where no token can have one another mark of the step.
    Ours,
    /// Nothing of the step's.
    Nothing,
    /// It is too young to say.
    TooYoung,
}

/// The calls: one open process is one value, so that what was asked and what is done concern the same process.
pub(crate) trait Processes: fmt::Debug {
    /// An open process.
    type Opened;
    /// All processes.
    fn list(&self) -> Vec<Listed>;
    /// The ids of those in the job.
    fn members(&self) -> Vec<u32>;
    /// Opens one; `None` where it is gone or is not ours to open.
    fn open(&self, pid: u32) -> Option<Self::Opened>;
    /// Asks it.
    fn ask(&self, process: &Self::Opened) -> Option<Asked>;
    /// Asks a process outside the job whose it is.
    fn bears(&self, process: &Self::Opened, created: Moment) -> Bears;
    /// Puts it into the job.
    fn adopt(&self, process: &Self::Opened) -> bool;
    /// Ends it and waits until it has.
    fn kill(&self, process: &Self::Opened) -> bool;
    /// Now.
    fn now(&self) -> Moment;
}

/// What is known of a process that was in the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    created: Moment,
    ended: Option<Moment>,
}

/// Watches one job.
#[derive(Debug)]
pub(crate) struct Guard<P: Processes> {
    processes: P,
    started: Moment,
    own: u32,
    members: BTreeMap<u32, Member>,
    /// Processes that were looked at and are none of this job's, by id and creation.
    others: BTreeMap<u32, Moment>,
    /// Whether the last look met a process that is too young to be told: it has to be looked at again.
    pub(crate) undecided: bool,
    /// What was found, for the report.
    pub(crate) notes: Vec<String>,
}

/// A stranger that could neither be put into the job nor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stray {
    /// Its name and id.
    pub(crate) what: String,
}

impl<P: Processes> Guard<P> {
    /// Begins before the job's first process runs. `own` is this process, which is nobody's stray.
    pub(crate) fn new(processes: P, own: u32) -> Self {
        let started = processes.now();
        Self {
            processes,
            started,
            own,
            members: BTreeMap::new(),
            others: BTreeMap::new(),
            undecided: false,
            notes: Vec::new(),
        }
    }

    /// A process came into the job.
    pub(crate) fn joined(&mut self, pid: u32) {
        let asked = self.processes.open(pid).and_then(|process| self.processes.ask(&process));
        let member = match asked {
            Some(asked) if asked.inside => Member { created: asked.created, ended: None },
            // The id is another's already: it lived somewhen between the start and now.
            Some(_) => Member { created: self.started, ended: Some(self.processes.now()) },
            // Not ours to ask, or gone: a message tells its end.
            None => Member { created: self.started, ended: None },
        };
        self.members.insert(pid, member);
    }

    /// For tests: one that counts as the job's, and began when this guard did.
    #[cfg(test)]
    pub(crate) fn member(&mut self, pid: u32) {
        self.members.insert(pid, Member { created: self.started, ended: None });
    }

    /// A process of the job ended.
    pub(crate) fn left(&mut self, pid: u32) {
        let now = self.processes.now();
        if let Some(member) = self.members.get_mut(&pid) {
            member.ended.get_or_insert(now);
        }
    }

    /// Looks at all processes once. `finish` ends strays instead of putting them into the job.
    ///
    /// # Errors
    /// The strays that are still there.
    pub(crate) fn sweep(&mut self, finish: bool) -> Result<(), Vec<Stray>> {
        let mut strays = Vec::new();
        self.undecided = false;
        // A stray's own children are found in the next round.
        for _ in 0..8 {
            let mut more = false;
            // Asked first: an id that is another's by the time of the list is looked at in the next sweep, and
            // in the last one the job has no members.
            let inside: BTreeSet<u32> = self.processes.members().into_iter().collect();
            let known = |guard: &Self, pid| {
                inside.contains(&pid) && guard.members.get(&pid).is_some_and(|member| member.ended.is_none())
            };
            for listed in self.processes.list() {
                if listed.pid == self.own || listed.pid == 0 || known(self, listed.pid) {
                    continue;
                }
                match self.look(&listed, finish) {
                    Seen::Nothing => {}
                    Seen::Taken => more = true,
                    Seen::Stray(stray) => {
                        if !strays.contains(&stray) {
                            strays.push(stray);
                        }
                    }
                }
            }
            if !more {
                break;
            }
        }
        if strays.is_empty() { Ok(()) } else { Err(strays) }
    }

    fn look(&mut self, listed: &Listed, finish: bool) -> Seen {
        let Some(process) = self.processes.open(listed.pid) else { return Seen::Nothing };
        let Some(asked) = self.processes.ask(&process) else { return Seen::Nothing };
        if asked.ended || asked.created + SLACK < self.started {
            return Seen::Nothing;
        }
        if asked.inside {
            self.members.insert(listed.pid, Member { created: asked.created, ended: None });
            return Seen::Nothing;
        }
        if self.others.get(&listed.pid) == Some(&asked.created) {
            return Seen::Nothing;
        }
        let descends = self.members.get(&listed.parent).is_some_and(|parent| {
            let end = parent.ended.map_or(Moment::MAX, |end| end.saturating_add(SLACK));
            asked.created.saturating_add(SLACK) >= parent.created && asked.created <= end
        });
        if !descends {
            match self.processes.bears(&process, asked.created) {
                Bears::Ours => {}
                Bears::TooYoung => {
                    self.undecided = true;
                    return Seen::Nothing;
                }
                Bears::Nothing => {
                    self.others.insert(listed.pid, asked.created);
                    return Seen::Nothing;
                }
            }
        }
        let what = format!("`{}` (process {})", listed.name, listed.pid);
        if !finish && self.processes.adopt(&process) {
            self.members.insert(listed.pid, Member { created: asked.created, ended: None });
            self.note(format!("{what} was found outside the job and put into it"));
            return Seen::Taken;
        }
        if self.processes.kill(&process) {
            // Its children are the job's as well.
            let now = self.processes.now();
            self.members.insert(listed.pid, Member { created: asked.created, ended: Some(now) });
            self.note(format!("{what} was found outside the job and ended"));
            return Seen::Taken;
        }
        Seen::Stray(Stray { what })
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < 100 {
            self.notes.push(note);
        }
    }

    /// These processes as the system lists them, for a message.
    pub(crate) fn told(&self, ids: &[u32]) -> String {
        let list = self.processes.list();
        let one = |id: &u32| match list.iter().find(|listed| listed.pid == *id) {
            Some(listed) => format!("`{}` (process {id}, {} threads)", listed.name, listed.threads),
            None => format!("process {id}, which is not in the system's list"),
        };
        ids.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// How many of the processes with these ids are not just the console's host, which every job has.
    pub(crate) fn without_console(&self, ids: &[u32]) -> usize {
        let list = self.processes.list();
        let console = |pid: &&u32| {
            list.iter().any(|listed| listed.pid == **pid && listed.name.eq_ignore_ascii_case("conhost.exe"))
        };
        ids.len() - ids.iter().filter(console).count()
    }
}

enum Seen {
    Nothing,
    Taken,
    Stray(Stray),
}

/// How often the guard looks while a job runs.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
