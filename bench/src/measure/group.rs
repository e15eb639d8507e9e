//! A control group around one builder: version 1 or 2, whichever has the memory controller.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where this machine keeps the groups that are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    version: Version,
    memory: PathBuf,
    cpu: PathBuf,
    /// All mounts, for what the peers make of the name in the others.
    all: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Hierarchies {
    /// As they are mounted, or nothing where there is no memory controller.
    pub(crate) fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let has_memory = |point: &Path| {
            fs::read_to_string(point.join("cgroup.controllers"))
                .is_ok_and(|c| c.split_whitespace().any(|w| w == "memory"))
        };
        Self::parse(&mounts, has_memory)
    }

    fn parse(mounts: &str, has_memory: impl Fn(&Path) -> bool) -> Option<Self> {
        let mut all = Vec::new();
        let (mut memory, mut cpu, mut two) = (None, None, None);
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let point = PathBuf::from(point);
            match kind {
                "cgroup" => {
                    let has = |name: &str| options.split(',').any(|o| o == name);
                    if has("memory") {
                        memory = Some(point.clone());
                    }
                    if has("cpuacct") {
                        cpu = Some(point.clone());
                    }
                    all.push(point);
                }
                "cgroup2" => {
                    if has_memory(&point) {
                        two = Some(point.clone());
                    }
                    all.push(point);
                }
                _ => {}
            }
        }
        match (memory, cpu, two) {
            (Some(memory), Some(cpu), _) => Some(Self { version: Version::One, memory, cpu, all }),
            (_, _, Some(point)) => {
                Some(Self { version: Version::Two, memory: point.clone(), cpu: point, all })
            }
            _ => None,
        }
    }

    /// Makes the group that all others of this run are in, with a place for the bench itself.
    pub(crate) fn make(&self, name: &str) -> io::Result<()> {
        for point in self.points() {
            let dir = point.join(name);
            create(&dir.join("bench"))?;
            if self.version == Version::Two {
                for dir in [point.clone(), dir] {
                    write(&dir.join("cgroup.subtree_control"), "+memory")?;
                }
            }
        }
        Ok(())
    }

    /// Removes the group and all below it, in every hierarchy. What still has a process stays.
    pub(crate) fn remove(&self, name: &str) {
        for point in &self.all {
            remove(&point.join(name));
        }
    }

    fn points(&self) -> Vec<PathBuf> {
        let mut points = vec![self.memory.clone(), self.cpu.clone()];
        points.dedup();
        points
    }
}

fn remove(dir: &Path) {
    for child in fs::read_dir(dir).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&child.path());
        }
    }
    // Busy ones are left.
    let _ = fs::remove_dir(dir);
}

/// One builder's group: the counters are those of the whole, programs start in its `clients`, and builders that
/// ask for a parent of their steps' groups get its `steps`.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    memory: PathBuf,
    cpu: PathBuf,
    home: Vec<PathBuf>,
    /// `/NAME/LABEL/steps`.
    pub(crate) steps: String,
    /// Version 2 forgets a peak for one open file, not for everybody.
    peak: Mutex<Option<File>>,
}

impl Group {
    /// Makes it.
    pub(crate) fn new(all: &Hierarchies, name: &str, label: &str) -> io::Result<Self> {
        let at = |point: &Path| point.join(name).join(label);
        for point in all.points() {
            let dir = at(&point);
            create(&dir.join("clients"))?;
            create(&dir.join("steps"))?;
            if all.version == Version::Two {
                write(&dir.join("cgroup.subtree_control"), "+memory")?;
            }
        }
        Ok(Self {
            version: all.version,
            memory: at(&all.memory),
            cpu: at(&all.cpu),
            home: all.points().into_iter().map(|point| point.join(name).join("bench/cgroup.procs")).collect(),
            steps: format!("/{name}/{label}/steps"),
            peak: Mutex::new(None),
        })
    }

    /// Puts this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        write(&self.memory.join("clients/cgroup.procs"), "0")?;
        if self.cpu != self.memory { write(&self.cpu.join("clients/cgroup.procs"), "0") } else { Ok(()) }
    }

    /// Takes this process out of it.
    pub(crate) fn leave(&self) -> io::Result<()> {
        self.home.iter().try_for_each(|procs| write(procs, "0"))
    }

    /// Seconds of user and system time since it was made.
    pub(crate) fn cpu(&self) -> io::Result<f64> {
        match self.version {
            Version::One => Ok(number(&self.cpu.join("cpuacct.usage"))?.unwrap_or(0) as f64 / 1e9),
            Version::Two => Ok(field(&fs::read_to_string(self.cpu.join("cpu.stat"))?, "usage_usec")
                .unwrap_or(0) as f64
                / 1e6),
        }
    }

    /// The processes in it, and in the groups below it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        list(&self.memory, &mut ids);
        ids
    }

    /// Starts the peak anew.
    pub(crate) fn forget_peak(&self) {
        match self.version {
            Version::One => {
                // Where the kernel does not know how, the peak is that since the group was made.
                let _ = write(&self.memory.join("memory.max_usage_in_bytes"), "0");
            }
            Version::Two => {
                let path = self.memory.join("memory.peak");
                let file = OpenOptions::new().read(true).write(true).open(&path).and_then(|mut file| {
                    file.write_all(b"reset\n")?;
                    Ok(file)
                });
                // From Linux 6.12 on; before, the peak is that since the group was made.
                *self.peak.lock().unwrap_or_else(PoisonError::into_inner) =
                    file.or_else(|_| File::open(path)).ok();
            }
        }
    }

    /// The most bytes, with the page cache.
    pub(crate) fn peak(&self) -> Option<u64> {
        match self.version {
            Version::One => number(&self.memory.join("memory.max_usage_in_bytes")).ok().flatten(),
            Version::Two => {
                let mut file = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
                let (mut text, file) = (String::new(), file.as_mut()?);
                file.rewind().ok()?;
                file.read_to_string(&mut text).ok()?;
                text.trim().parse().ok()
            }
        }
    }
}

fn list(dir: &Path, ids: &mut Vec<u32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    ids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in fs::read_dir(dir).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|t| t.is_dir()) {
            list(&child.path(), ids);
        }
    }
}

fn create(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot make `{}`: {e}", dir.display())))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write `{}`: {e}", path.display())))
}

fn number(path: &Path) -> io::Result<Option<u64>> {
    Ok(fs::read_to_string(path)?.trim().parse().ok())
}

/// The number behind a name in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_in_the_mounts() {
        let one = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = Hierarchies::parse(one, |_| false).unwrap();
        assert_eq!(found.version, Version::One);
        assert_eq!(found.cpu, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found.all.len(), 3);
        let two = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(Hierarchies::parse(two, |_| true).unwrap().points(), [Path::new("/sys/fs/cgroup")]);
        assert_eq!(Hierarchies::parse(two, |_| false), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(field("usage_usec_x 1\nusage_usec 4096\n", "usage_usec"), Some(4096));
        assert_eq!(field("usage_usec_x 1\n", "usage_usec"), None);
    }
}
