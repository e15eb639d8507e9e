//! The disk: how much a store has, where old stores go, and whether it is fast now.
//!
//! ext4 looks at every inode that was deleted in the last minutes before it gives a new file one of them, so a
//! store that is deleted makes the next one slow. Stores with many files are therefore set aside until the end,
//! and before each case a probe waits until new files cost what they cost on a rested disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orlop_fixtures::tool::tool;

use crate::interrupt;

/// A store with fewer files is deleted at once.
const FEW: u64 = 2000;
/// Files that a probe makes: more would tell better, and all have to be deleted in the end.
const PROBE: usize = 500;
/// What a probe may take on a rested disk, in seconds.
const FAST: f64 = 0.02;

/// What a directory has on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// Blocks and inodes below `dir`, each inode once, and nothing that is mounted there.
pub(crate) fn usage(dir: &Path) -> Usage {
    let mut usage = Usage::default();
    let Ok(top) = fs::symlink_metadata(dir) else { return usage };
    let mut linked = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != top.dev() || (meta.nlink() > 1 && !meta.is_dir() && !linked.insert(meta.ino())) {
                continue;
            }
            usage.bytes += meta.blocks() * 512;
            usage.inodes += 1;
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    usage
}

/// Where stores are set aside, and what is known of the disk's speed.
#[derive(Debug)]
pub(crate) struct Disk {
    trash: PathBuf,
    limit: u64,
    patience: f64,
    fastest: f64,
    thrown: usize,
    lying: u64,
}

impl Disk {
    /// `limit` bytes may lie in the trash; a case waits at most `patience` seconds.
    pub(crate) fn new(work: &Path, limit: u64, patience: f64) -> io::Result<Self> {
        let trash = work.join("trash");
        fs::create_dir_all(&trash)?;
        Ok(Self { trash, limit, patience, fastest: FAST, thrown: 0, lying: 0 })
    }

    /// Takes a directory out of the way.
    pub(crate) fn discard(&mut self, dir: &Path) -> io::Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        let usage = usage(dir);
        if usage.inodes < FEW {
            return delete(dir);
        }
        self.thrown += 1;
        fs::rename(dir, self.trash.join(format!("store-{}", self.thrown)))?;
        self.lying += usage.bytes;
        if self.lying > self.limit { self.empty() } else { Ok(()) }
    }

    /// Deletes what was set aside.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        self.lying = 0;
        for entry in fs::read_dir(&self.trash)? {
            delete(&entry?.path())?;
        }
        Ok(())
    }

    /// Waits until everything is written and new files are cheap, or patience ends. Gives what a new file costs
    /// then, in times of what it costs on a rested disk, where that is much.
    pub(crate) fn rest(&mut self) -> io::Result<Option<f64>> {
        rustix::fs::sync();
        let start = Instant::now();
        loop {
            interrupt::check()?;
            let seconds = self.probe()?;
            self.fastest = self.fastest.min(seconds.max(FAST / 4.0));
            let slow = seconds / self.fastest.max(FAST / 2.0);
            if slow <= 2.0 {
                return Ok(None);
            }
            if start.elapsed().as_secs_f64() >= self.patience {
                return Ok(Some(slow));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Seconds for some hundred new files. They stay: deleted ones would be what makes a disk slow.
    fn probe(&mut self) -> io::Result<f64> {
        self.thrown += 1;
        let dir = self.trash.join(format!("probe-{}", self.thrown));
        let start = Instant::now();
        fs::create_dir(&dir)?;
        for n in 0..PROBE {
            let dir = dir.join(format!("{}", n / 100));
            if n % 100 == 0 {
                fs::create_dir(&dir)?;
            }
            File::create(dir.join(format!("{n}")))?;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Unmounts what a builder left in its store, wherever that store is seen.
pub(crate) fn unmount(store: &Path) {
    let (table, store) =
        (fs::read_to_string("/proc/self/mounts").unwrap_or_default(), store.display().to_string());
    for point in mounted(&table, &store) {
        // What is busy is seen when the store is set aside.
        let _ = tool("umount").arg("-l").arg(point).output();
    }
}

/// The mount points in a store, the last one first; a path in a root directory ends with the path in there.
fn mounted<'a>(table: &'a str, store: &str) -> Vec<&'a str> {
    let inside = format!("{store}/");
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<_> = points.filter(|point| point.contains(&inside)).collect();
    points.reverse();
    points
}

/// Deletes a directory and what is in it, and nothing that is mounted below.
pub(crate) fn delete(dir: &Path) -> io::Result<()> {
    let status = tool("rm").args(["-rf", "--one-file-system", "--"]).arg(dir).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("cannot delete `{}`", dir.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_counts_each_inode_once() {
        let work = orlop_fixtures::test_env::work_dir();
        let dir = work.path().join("dir");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("one"), vec![1; 8192]).unwrap();
        fs::hard_link(dir.join("one"), dir.join("two")).unwrap();
        File::create(dir.join("empty")).unwrap();
        let usage = usage(&dir);
        assert_eq!(usage.inodes, 2);
        assert!(usage.bytes >= 8192 && usage.bytes < 16384, "{usage:?}");
    }

    #[test]
    fn mounts_in_a_store_are_found_also_below_a_root() {
        let table = "a /w/s-1 t o 0 0\nb /w/s-1/overlay t o 0 0\nc /w/root/w/s-1/overlay/merged t o 0 0\nd /w/s-11/x t o 0 0\n";
        assert_eq!(mounted(table, "/w/s-1"), ["/w/root/w/s-1/overlay/merged", "/w/s-1/overlay"]);
    }

    #[test]
    fn a_small_store_is_deleted_and_a_large_one_set_aside() {
        let work = orlop_fixtures::test_env::work_dir();
        let mut disk = Disk::new(work.path(), 1 << 40, 0.0).unwrap();
        let store = work.path().join("store");
        for (files, left) in [(3, 0), (FEW, 1)] {
            fs::create_dir(&store).unwrap();
            for n in 0..files {
                File::create(store.join(n.to_string())).unwrap();
            }
            disk.discard(&store).unwrap();
            assert!(!store.exists());
            assert_eq!(fs::read_dir(work.path().join("trash")).unwrap().count(), left);
        }
        disk.empty().unwrap();
        assert_eq!(fs::read_dir(work.path().join("trash")).unwrap().count(), 0);
    }
}
