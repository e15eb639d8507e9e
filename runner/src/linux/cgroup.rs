//! Control groups: what limits a job as a whole and counts what it uses.
//!
//! Version 2 where the host has controllers there, else version 1 with a directory in each hierarchy. Groups are
//! made below the caller's own, or beside it where version 2 forbids groups with both processes and children, and
//! carry the maker's identity in their names: whoever comes later can tell a living owner from a dead one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::{Confinement, Limits, RunError};

mod layout;
mod usage;

pub(super) use layout::{Layout, View};
pub(super) use usage::GroupUsage;

/// The controllers that limits and usage need. The last two only count.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "blkio"];

/// One directory of a job's group.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// By version 1's names.
    controllers: Vec<String>,
}

/// The group of one job, removed when dropped.
#[derive(Debug)]
pub(super) struct Group {
    version: Version,
    directories: Vec<Directory>,
    /// Controllers that were not to be had, and why.
    missing: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Group {
    /// Makes a group for one job, where the controllers for `limits` are to be had if possible. What cannot be had
    /// is remembered, not fatal: see [`limit`](Self::limit).
    pub(super) fn create(layout: &Layout, limits: &Limits) -> Self {
        let name = match Owner::current() {
            Ok(owner) => owner.group_name(),
            Err(error) => return Self::without(&format!("`/proc/self` cannot be read: {error}")),
        };
        if layout.has_v2_controllers() {
            return Self::create_v2(layout, &name, limits);
        }
        let mut group = Self { version: Version::V1, directories: Vec::new(), missing: Vec::new() };
        for controller in CONTROLLERS {
            if group.directories.iter().any(|directory| directory.controllers.iter().any(|c| c == controller))
            {
                continue;
            }
            let Some((own, controllers)) = layout.v1_directory(controller) else {
                let why = format!("this host has no control group controller `{controller}`");
                group.missing.push((controller.to_owned(), why));
                continue;
            };
            let path = own.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => group.directories.push(Directory { path, controllers }),
                Err(error) => {
                    let why = format!("`{}` cannot be made: {error}", path.display());
                    group.missing.push((controller.to_owned(), why));
                }
            }
        }
        group
    }

    /// The nearest parent that has all controllers asked for, else the nearest that can be used at all.
    fn create_v2(layout: &Layout, name: &str, limits: &Limits) -> Self {
        let asked = [
            ("memory", limits.memory.is_some()),
            ("pids", limits.pids.is_some()),
            ("cpu", limits.cpus.is_some() || limits.cpu_weight.is_some()),
        ];
        let mut best: Option<Self> = None;
        let mut last = "no control group that may have children is in sight".to_owned();
        for parent in layout.v2_parents() {
            match Self::create_v2_in(&parent, name) {
                Err(why) => last = why,
                Ok(group) => {
                    let complete =
                        asked.iter().all(|(name, asked)| !asked || group.directory(name).is_some());
                    if complete {
                        return group;
                    }
                    best.get_or_insert(group);
                }
            }
        }
        best.unwrap_or_else(|| Self::without(&last))
    }

    fn create_v2_in(parent: &Path, name: &str) -> Result<Self, String> {
        layout::enable_controllers(parent)?;
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?;
        let listed = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        // Processor time is counted without any controller.
        let (mut controllers, mut missing) = (vec!["cpuacct".to_owned()], Vec::new());
        for (controller, v2) in [("memory", "memory"), ("pids", "pids"), ("cpu", "cpu"), ("blkio", "io")] {
            if listed.split_whitespace().any(|listed| listed == v2) {
                controllers.push(controller.to_owned());
            } else {
                let why = format!("controller `{v2}` is not enabled for `{}`", parent.display());
                missing.push((controller.to_owned(), why));
            }
        }
        Ok(Self { version: Version::V2, directories: vec![Directory { path, controllers }], missing })
    }

    fn without(why: &str) -> Self {
        let missing = CONTROLLERS.iter().map(|name| ((*name).to_owned(), why.to_owned())).collect();
        Self { version: Version::V1, directories: Vec::new(), missing }
    }

    fn directory(&self, controller: &str) -> Option<&Path> {
        let has = |directory: &&Directory| directory.controllers.iter().any(|name| name == controller);
        self.directories.iter().find(has).map(|directory| directory.path.as_path())
    }

    fn why_missing(&self, controller: &str) -> String {
        self.missing
            .iter()
            .find(|(name, _)| name == controller)
            .map_or_else(|| format!("there is no controller `{controller}`"), |(_, why)| why.clone())
    }

    /// Sets what `limits` asks for.
    ///
    /// # Errors
    /// [`RunError::LimitUnavailable`] for the first limit that cannot be enforced.
    pub(super) fn limit(&self, limits: &Limits) -> Result<(), RunError> {
        const PERIOD: f64 = 100_000.0;
        let v1 = self.version == Version::V1;
        if let Some(bytes) = limits.memory {
            let (file, swap) = if v1 {
                ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            } else {
                ("memory.max", "memory.swap.max")
            };
            self.set("memory", "memory", file, &bytes.to_string())?;
            // Where the kernel does not count swap there is no such file, and nothing to be done about it.
            let with_swap = if v1 { bytes } else { 0 };
            self.set_if_there("memory", "memory", swap, &with_swap.to_string())?;
        }
        if let Some(cpus) = limits.cpus {
            let quota = (cpus * PERIOD).round().clamp(1000.0, 1e15) as u64;
            if v1 {
                self.set("cpus", "cpu", "cpu.cfs_period_us", &format!("{PERIOD}"))?;
                self.set("cpus", "cpu", "cpu.cfs_quota_us", &quota.to_string())?;
            } else {
                self.set("cpus", "cpu", "cpu.max", &format!("{quota} {PERIOD}"))?;
            }
        }
        if let Some(pids) = limits.pids {
            // One more, for the first process of the job, which is ours.
            self.set("pids", "pids", "pids.max", &pids.saturating_add(1).to_string())?;
        }
        if let Some(weight) = limits.cpu_weight {
            // Version 1 counts from 1024 instead of 100, and takes nothing below 2.
            let shares = (u64::from(weight) * 1024 / 100).max(2);
            let (file, value) = if v1 { ("cpu.shares", shares) } else { ("cpu.weight", u64::from(weight)) };
            self.set("cpu weight", "cpu", file, &value.to_string())?;
        }
        if limits.cpu_time.is_some() && self.cpu_time().is_none() {
            return Err(RunError::LimitUnavailable {
                what: "cpu time".to_owned(),
                why: self.why_missing("cpuacct"),
                hint: Some(hint(self.version)),
            });
        }
        Ok(())
    }

    fn set(&self, what: &str, controller: &str, file: &str, value: &str) -> Result<(), RunError> {
        let unavailable = |why: String| RunError::LimitUnavailable {
            what: what.to_owned(),
            why,
            hint: Some(hint(self.version)),
        };
        let Some(directory) = self.directory(controller) else {
            return Err(unavailable(self.why_missing(controller)));
        };
        let path = directory.join(file);
        fs::write(&path, value)
            .map_err(|error| unavailable(format!("cannot write `{value}` to `{}`: {error}", path.display())))
    }

    fn set_if_there(&self, what: &str, controller: &str, file: &str, value: &str) -> Result<(), RunError> {
        match self.directory(controller) {
            Some(directory) if directory.join(file).exists() => self.set(what, controller, file, value),
            _ => Ok(()),
        }
    }

    /// The directory to clone a process into, in version 2.
    pub(super) fn clone_into(&self) -> io::Result<Option<OwnedFd>> {
        match (self.version, self.directories.first()) {
            (Version::V2, Some(directory)) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(Some(rustix::fs::open(&directory.path, flags, Mode::empty())?))
            }
            _ => Ok(None),
        }
    }

    /// The files that a process writes `0` to in order to join, in version 1. Opened here, because the right to
    /// write is the opener's.
    pub(super) fn joins(&self) -> io::Result<Vec<OwnedFd>> {
        if self.version == Version::V2 {
            return Ok(Vec::new());
        }
        let open = |directory: &Directory| {
            let path = directory.path.join("cgroup.procs");
            Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
        };
        self.directories.iter().map(open).collect()
    }

    /// What the job has used so far, or in all.
    pub(super) fn usage(&self) -> GroupUsage {
        match self.version {
            Version::V1 => usage::read_v1(|controller| self.directory(controller)),
            Version::V2 => {
                self.directories.first().map_or_else(GroupUsage::default, |d| usage::read_v2(&d.path))
            }
        }
    }

    /// Processor time that the job has used so far, where it is counted.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        let usage = self.usage();
        Some(usage.user? + usage.system?)
    }

    /// A line for each controller that a limit or the accounting needs.
    pub(super) fn confinement(&self, limits: &Limits) -> Vec<Confinement> {
        let asked = |name: &str| match name {
            "memory" => limits.memory.map(|bytes| format!("{bytes} bytes")),
            "cpu" => {
                let cpus = limits.cpus.map(|cpus| format!("{cpus} cpus"));
                let weight = limits.cpu_weight.map(|weight| format!("weight {weight}"));
                let both: Vec<String> = cpus.into_iter().chain(weight).collect();
                (!both.is_empty()).then(|| both.join(", "))
            }
            "cpuacct" => limits.cpu_time.map(|time| format!("{} s of processor time", time.as_secs_f64())),
            "pids" => limits.pids.map(|pids| format!("{pids} processes")),
            _ => None,
        };
        let line = |name: &str| {
            let what = format!("cgroup {name}");
            let asked = asked(name).unwrap_or_else(|| "accounting".into());
            match self.directory(name) {
                Some(_) => Confinement::full(what, asked),
                None => Confinement::lesser(what, asked, "none", self.why_missing(name)),
            }
        };
        CONTROLLERS.iter().map(|name| line(name)).collect()
    }

    fn remove(&mut self) {
        for directory in self.directories.drain(..) {
            remove_directory(&directory.path);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}

fn hint(version: Version) -> String {
    match version {
        Version::V1 => "run as root, on a host that has this controller, or leave the limit out".into(),
        Version::V2 => {
            "run under `systemd-run --user --scope -p Delegate=yes`, or leave the limit out".into()
        }
    }
}

/// Removes a group whose processes are dead or dying: the kernel takes a moment to let go of the last one.
fn remove_directory(path: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(_) if Instant::now() > deadline => return false,
            Err(_) => {
                kill_all(path);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn kill_all(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let Ok(list) = fs::read_to_string(path.join("cgroup.procs")) else { return };
    for pid in list.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Who made a group: a process, named so that nobody else ever has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    /// Inode of the PID namespace, in which `pid` is a number.
    namespace: u64,
    pid: u32,
    /// In the kernel's ticks since boot.
    started: u64,
}

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Owner {
    fn current() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { namespace: Self::current_namespace()?, pid, started: start_time(pid)? })
    }

    fn current_namespace() -> io::Result<u64> {
        Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
    }

    fn group_name(self) -> String {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("orlop-{}-{}-{}-{count}", self.namespace, self.pid, self.started)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("orlop-")?.split('-');
        let owner = Self {
            namespace: parts.next()?.parse().ok()?,
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        };
        parts.next()?.parse::<u64>().ok()?;
        parts.next().is_none().then_some(owner)
    }

    fn is_alive(self) -> bool {
        start_time(self.pid).is_ok_and(|started| started == self.started)
    }
}

/// A process's start, field 22 of `/proc/PID/stat`.
fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let field = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)?.parse().ok());
    field.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Removes the groups of dead owners, and kills what is in them. Returns how many there were; version 1 has a
/// directory for each in every hierarchy.
pub(super) fn sweep(layout: &Layout) -> usize {
    let Ok(namespace) = Owner::current_namespace() else { return 0 };
    let mut removed = BTreeSet::new();
    for root in layout.roots() {
        // Groups are made wherever the command of then was; systemd nests no deeper than this.
        sweep_below(&root, namespace, 8, &mut removed);
    }
    removed.len()
}

fn sweep_below(directory: &Path, namespace: u64, depth: usize, removed: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if let Some(owner) = Owner::parse(&name) {
            if owner.namespace == namespace && !owner.is_alive() && remove_directory(&path) {
                removed.insert(name);
            }
        } else if depth > 0 {
            sweep_below(&path, namespace, depth - 1, removed);
        }
    }
}

#[cfg(test)]
mod tests;
