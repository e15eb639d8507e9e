//! What every snapshot driver must do, as one suite of named checks.
//!
//! A check gets a driver over an empty store, works on snapshots as a step would, and compares what it left
//! with what comes back: from a view, and from the layer's tar unpacked again into another store. When one
//! fails, the tree is dumped. Deviations that a driver cannot help are listed with it in [`Deviations`].

#[cfg(unix)]
mod changes;
#[cfg(unix)]
mod joined;
mod listing;
mod portable;
#[cfg(unix)]
mod special;
#[cfg(unix)]
mod windows;

use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use orlop_fixtures::windows_layer::{self, Place};

use super::{Active, Committed, Diff, LayerOs, SnapshotDriver};
use crate::layer::Layers;
use crate::layer::tar::{Entry, Reader};
use listing::Listing;

/// What a driver can not do, and why that is right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deviations {
    /// Real device nodes can not be made: rootless.
    #[cfg_attr(windows, expect(dead_code, reason = "only for checks of Unix"))]
    pub(crate) no_devices: bool,
    /// Only the caller's own id exists.
    #[cfg_attr(windows, expect(dead_code, reason = "only for checks of Unix"))]
    pub(crate) one_id: bool,
    /// Writing to one name of a lower file leaves the other names alone (overlayfs breaks hard links up).
    pub(crate) breaks_links: bool,
    /// A directory removed and made again is an opaque one.
    pub(crate) opaque: bool,
    /// As long as it is mounted, the old and the new name of a lower file show two inode numbers (overlayfs with
    /// `userxattr`, which can not note where a copied file came from).
    pub(crate) inodes_differ: bool,
}

/// A driver under test, and a way to unpack its layers elsewhere.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) driver: Box<dyn SnapshotDriver>,
    pub(crate) layers: Layers,
    /// Another store with its own driver.
    pub(crate) other: Box<dyn SnapshotDriver>,
    pub(crate) other_layers: Layers,
    pub(crate) deviations: Deviations,
    _dir: tempfile::TempDir,
}

impl Subject {
    /// A driver over an empty store below `dir`, made by `make`.
    pub(crate) fn new(
        dir: &Path,
        deviations: Deviations,
        make: impl Fn(&Path) -> (Layers, Box<dyn SnapshotDriver>),
    ) -> Self {
        let dir = tempfile::tempdir_in(dir).unwrap();
        let (layers, driver) = make(&dir.path().join("one"));
        let (other_layers, other) = make(&dir.path().join("other"));
        Self { driver, layers, other, other_layers, deviations, _dir: dir }
    }

    /// One step over `parent`.
    fn step(&self, parent: &Committed, work: impl FnOnce(&Path)) -> Step {
        let active = self.driver.prepare(parent).unwrap();
        work(active.path());
        let after = self.listing(active.path());
        let diff = self.driver.diff(&active).unwrap();
        self.finish(active, diff, after)
    }

    /// The empty file system of the images that this system runs.
    fn scratch(&self) -> Committed {
        Committed::scratch_of(if cfg!(windows) { LayerOs::Windows } else { LayerOs::Linux })
    }

    fn listing(&self, path: &Path) -> Listing {
        Listing::of(path, !self.deviations.inodes_differ)
    }

    fn finish(&self, active: Active, diff: Diff, after: Listing) -> Step {
        let parent = active.parent().clone();
        let committed = self.driver.commit(active, &diff).unwrap();
        let mut entries = BTreeMap::new();
        if committed != parent {
            let below = parent.layers();
            let mut tar = Vec::new();
            self.layers.tar(below, &diff.diff_id).unwrap().read_to_end(&mut tar).unwrap();
            assert_eq!(tar.len() as u64, diff.size);
            if parent.os() == LayerOs::Windows {
                let place = if below.is_empty() { Place::Base } else { Place::Upper };
                windows_layer::check(&windows_layer::read(&tar), place);
            }
            let mut reader = Reader::new(&tar[..]);
            while let Some(entry) = reader.next_entry().unwrap() {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                assert!(entries.insert(path, entry).is_none(), "every path is in a layer once");
            }
            assert_eq!(entries.len() as u64, diff.entries);
        }
        let step = Step { committed, diff, entries };
        self.check(&step.committed, &after);
        step
    }

    /// The snapshot looks as the step left it: here, and built from its layers' tars elsewhere.
    fn check(&self, snapshot: &Committed, after: &Listing) {
        assert_eq!(self.driver.missing(snapshot).unwrap(), [0; 0]);
        let view = self.driver.view(snapshot).unwrap();
        after.assert_same(&self.listing(view.path()), "a view of the committed snapshot");
        for (i, diff_id) in snapshot.layers().iter().enumerate() {
            let below = &snapshot.layers()[..i];
            let tar = self.layers.tar(below, diff_id).unwrap();
            self.other_layers.import(below, diff_id, tar).unwrap();
        }
        assert_eq!(self.other.missing(snapshot).unwrap(), [0; 0]);
        let other = self.other.view(snapshot).unwrap();
        after.assert_same(&self.listing(other.path()), "its layers, unpacked in another store");
    }
}

/// A step that was committed.
#[derive(Debug)]
struct Step {
    committed: Committed,
    diff: Diff,
    entries: BTreeMap<String, Entry>,
}

impl Step {
    /// The paths in the layer as they are in the tree, sorted.
    fn names(&self) -> Vec<String> {
        let names = self.entries.keys().map(|path| path.trim_end_matches('/'));
        let names = names.filter(|path| !cfg!(windows) || !matches!(*path, "Files" | "Hives"));
        names.map(|path| path.strip_prefix("Files/").unwrap_or(path).to_owned()).collect()
    }

    /// The entry of a path.
    fn entry(&self, path: &str) -> &Entry {
        let paths = [path.to_owned(), format!("{path}/"), format!("Files/{path}")];
        paths.iter().find_map(|path| self.entries.get(path)).unwrap_or_else(|| panic!("no `{path}`"))
    }

    /// The paths in the layer, sorted.
    #[cfg(unix)]
    fn paths(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }
}

#[cfg(unix)]
fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds);
    std::fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[cfg(windows)]
fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    use crate::nt;
    let (dir, name) = nt::split(path).unwrap();
    let written = nt::FileTime::from_unix(i64::try_from(seconds).unwrap(), nanoseconds);
    dir.set_basic(&name, nt::Times { written, ..nt::Times::default() }, 0).unwrap();
}

type Check = fn(&Subject);

/// Runs all checks, each on a driver of its own from `factory`.
pub(crate) fn run(name: &str, factory: impl Fn() -> Subject) {
    #[cfg(windows)]
    let checks = portable::CHECKS.iter();
    #[cfg(unix)]
    let checks = portable::CHECKS.iter().chain(changes::CHECKS).chain(special::CHECKS).chain(windows::CHECKS);
    for (check, function) in checks {
        let subject = factory();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| function(&subject))) {
            let failed = format!("check `{check}` of driver `{name}` failed\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), failed.as_bytes());
            resume_unwind(panic);
        }
    }
}

#[cfg(unix)]
mod runs;
