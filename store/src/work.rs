//! The directory of things in the making.
//!
//! ```text
//! work/<kind>-<random>.lock   locked by its owner for as long as it lives
//! work/<kind>-<random>/       what the owner makes
//! ```
//! A directory is made after its lock and removed before it, so whatever has a lock file that nobody holds
//! has no living owner, however that died. Locks are advisory (`flock`), the kernel gives them up with the
//! last process that has the file open; they are never handed to a program that is executed.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use crate::trace::Trace;
use platform::Place;
pub(crate) use platform::make_private;

/// How the names begin of files without a name, on systems where they have one in truth.
const NAMELESS: &str = ".tmp";

/// How long one waits who finds a lock file that is being removed.
const GOING: std::time::Duration = std::time::Duration::from_millis(5);

/// The directory of things in the making. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Work {
    dir: Arc<Opened>,
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    place: Place,
    trace: Trace,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many things had no living owner and are gone.
    pub removed: u64,
    /// What has no living owner and could not be removed, and why.
    pub stuck: Vec<(PathBuf, io::Error)>,
}

/// Why something could not be made in `work/`, or not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct WorkError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl WorkError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        hint_of(&self.source, &self.path)
    }
}

/// What to do about `error`, met at `path`, where that is plain from the error alone.
pub(crate) fn hint_of(error: &io::Error, path: &Path) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
            "the file system of `{}` is full: free some space (`orlop store gc`) or choose another store with `--root`",
            path.display()
        )),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the store is on a read-only file system: choose another one with `--root`".to_owned())
        }
        _ => None,
    }
}

impl Work {
    /// Opens (and makes, where missing) the directory.
    ///
    /// # Errors
    /// When it can be neither made nor opened.
    pub fn open(dir: &Path) -> Result<Self, WorkError> {
        Self::open_traced(dir, Trace::none())
    }

    /// The same; `trace` is told what all those who make things here spend their time with.
    ///
    /// # Errors
    /// As [`Work::open`].
    pub fn open_traced(dir: &Path, trace: Trace) -> Result<Self, WorkError> {
        let fail = |action| move |source: io::Error| WorkError { action, path: dir.to_owned(), source };
        make_private(dir).map_err(fail("make"))?;
        let place = Place::open(dir).map_err(fail("open"))?;
        let path = std::path::absolute(dir).map_err(fail("find"))?;
        Ok(Self { dir: Arc::new(Opened { path, place, trace }) })
    }

    /// Who is told of what takes time.
    pub(crate) fn trace(&self) -> &Trace {
        &self.dir.trace
    }

    /// Where it is, absolute.
    #[cfg(windows)]
    pub(crate) fn path(&self) -> &Path {
        &self.dir.path
    }

    /// A new directory of the caller's own, mode 0700. `kind` says in its name what it is for.
    ///
    /// # Errors
    /// When it can not be made.
    pub fn create(&self, kind: &str) -> Result<WorkDir, WorkError> {
        let random = RandomState::new();
        for attempt in 0u32.. {
            let name = format!("{kind}-{:016x}", random.hash_one((std::process::id(), attempt)));
            let Some(lock) = self.try_lock_new(&format!("{name}.lock"))? else {
                continue;
            };
            let path = self.dir.path.join(&name);
            self.dir.place.make_dir(&name).map_err(|e| self.error("make", &name, e))?;
            return Ok(WorkDir { name, path, lock: Some(lock) });
        }
        Err(self.error("make", kind, io::ErrorKind::AlreadyExists.into()))
    }

    /// A new file that has no name (on Windows one that means nothing) and is gone when it is closed.
    ///
    /// # Errors
    /// When it can not be made.
    pub fn file(&self) -> Result<File, WorkError> {
        tempfile::tempfile_in(&self.dir.path).map_err(|e| self.error("make a file in", "", e))
    }

    /// A new, locked lock file; none where the name is taken, or was swept before it was locked.
    fn try_lock_new(&self, name: &str) -> Result<Option<WorkLock>, WorkError> {
        match self.dir.place.new_lock(name) {
            Ok(file) => self.try_lock(file, name),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(self.error("make", name, e)),
        }
    }

    fn try_lock(&self, file: File, name: &str) -> Result<Option<WorkLock>, WorkError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(self.error("lock", name, e)),
        }
        Ok(self.is_linked(&file, name)?.then(|| WorkLock { work: self.clone(), name: name.to_owned(), file }))
    }

    /// Whether a file that was just locked is still there: its last owner may have removed it meanwhile.
    fn is_linked(&self, file: &File, name: &str) -> Result<bool, WorkError> {
        platform::is_linked(file).map_err(|e| self.error("look at", name, e))
    }

    /// Waits for the lock `name` among all processes of this store.
    ///
    /// # Errors
    /// When the lock file can not be made or locked.
    pub fn lock(&self, name: &str) -> Result<WorkLock, WorkError> {
        let name = format!("{name}.lock");
        loop {
            let Some(file) = self.dir.place.lock_file(&name).map_err(|e| self.error("make", &name, e))?
            else {
                std::thread::sleep(GOING);
                continue;
            };
            if file.try_lock().is_err() {
                let _span = self.trace().span("wait", &[]);
                file.lock().map_err(|e| self.error("lock", &name, e))?;
            }
            if self.is_linked(&file, &name)? {
                return Ok(WorkLock { work: self.clone(), name, file });
            }
        }
    }

    /// Removes everything that has no living owner. What could not be removed is reported and tried again
    /// by the next sweep. Any number of processes may sweep at once.
    ///
    /// # Errors
    /// When the directory can not be read.
    pub fn sweep(&self) -> Result<Swept, WorkError> {
        let mut bases = std::collections::BTreeSet::new();
        for name in self.dir.place.names().map_err(|e| self.error("list", "", e))? {
            bases.insert(name.strip_suffix(".lock").unwrap_or(&name).to_owned());
        }
        let mut swept = Swept::default();
        for base in bases {
            let name = format!("{base}.lock");
            let file = match self.dir.place.lock_file(&name) {
                Ok(Some(file)) => file,
                // Its owner is removing it.
                Ok(None) => continue,
                Err(e) => {
                    swept.stuck.push((self.dir.path.join(&name), e));
                    continue;
                }
            };
            let Some(lock) = self.try_lock(file, &name)? else {
                continue;
            };
            match self.remove(&base) {
                Ok(()) => swept.removed += 1,
                Err(e) => {
                    lock.leave();
                    // Where files have names they cannot be removed while they are used, and need no help after that.
                    if !base.starts_with(NAMELESS) {
                        swept.stuck.push((e.path, e.source));
                    }
                }
            }
        }
        Ok(swept)
    }

    /// Removes the directory (or file) `name`, if there is one.
    fn remove(&self, name: &str) -> Result<(), WorkError> {
        self.dir.place.remove(name).map_err(|(below, source)| WorkError {
            action: "remove",
            path: self.dir.path.join(below),
            source,
        })
    }

    fn error(&self, action: &'static str, name: &str, source: io::Error) -> WorkError {
        WorkError { action, path: self.dir.path.join(name), source }
    }
}

/// A lock by name, held until dropped.
#[derive(Debug)]
pub struct WorkLock {
    work: Work,
    name: String,
    file: File,
}

impl WorkLock {
    /// Gives the lock up and leaves its file, as a mark for the next sweep.
    fn leave(mut self) {
        self.name.clear();
    }
}

impl Drop for WorkLock {
    fn drop(&mut self) {
        // Removed while still held: who waits for it sees that the file is gone, and makes a new one. A file
        // that can not be removed is an unlocked lock, which does no harm.
        if !self.name.is_empty() {
            let _ = self.work.dir.place.unlink(&self.name);
        }
        let _ = self.file.unlock();
    }
}

/// A directory of its owner's, removed when dropped.
#[derive(Debug)]
pub struct WorkDir {
    name: String,
    path: PathBuf,
    lock: Option<WorkLock>,
}

impl WorkDir {
    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now, and says why where that fails; then it is left to the next sweep.
    ///
    /// # Errors
    /// When something in it can not be removed.
    pub fn remove(mut self) -> Result<(), WorkError> {
        self.removed()
    }

    fn removed(&mut self) -> Result<(), WorkError> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        let _span = lock.work.trace().span("cleanup", &[]);
        match lock.work.remove(&self.name) {
            Ok(()) => Ok(()),
            Err(e) => {
                lock.leave();
                Err(e)
            }
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Nobody to tell; the next sweep tries again and reports.
        let _ = self.removed();
    }
}

/// Removes `name` below `parent` with everything in it; see `work/unix/remove.rs`.
#[cfg(unix)]
pub(crate) fn remove_tree(parent: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    platform::remove::tree(parent, name).map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests;
