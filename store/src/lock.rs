//! Advisory locks between processes, which end with their owner however it dies.
//!
//! A lock is a lock of the operating system on an open file; the file itself means nothing and may lie about
//! for ever. Whoever holds one exclusively writes its process number into it, for the message of those who
//! wait in vain.

#[cfg(unix)]
use std::fs::TryLockError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long is waited for a lock that is never held for long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A held lock, let go when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    exclusive: bool,
}

impl Lock {
    /// Takes the lock file `path` (made where missing) for one owner alone, waiting up to `patience`.
    ///
    /// # Errors
    /// [`Error::Locked`], which names `resource`, the path and the holder, when it stays taken.
    pub fn exclusive(resource: &str, path: &Path, patience: Duration) -> Result<Self> {
        let mut lock = Self::take(resource, path, patience, true)?;
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            write!(file, "{}", std::process::id())
        };
        // Only a courtesy to others: the lock holds on a full disk too.
        let _ = note(&mut lock.file);
        Ok(lock)
    }

    /// Takes the lock file `path` together with any number of other shared holders.
    ///
    /// # Errors
    /// As [`Lock::exclusive`].
    pub fn shared(resource: &str, path: &Path, patience: Duration) -> Result<Self> {
        Self::take(resource, path, patience, false)
    }

    fn take(resource: &str, path: &Path, patience: Duration, exclusive: bool) -> Result<Self> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
            let file = match opened {
                Err(e) if is_going(path, &e) && begun.elapsed() < patience => {
                    std::thread::sleep(LONGEST_PAUSE);
                    continue;
                }
                other => other.map_err(Error::io("open lock", path))?,
            };
            match try_lock(&file, exclusive).map_err(Error::io("lock", path))? {
                // Whoever held it before may have removed the file: then this is a lock on nothing.
                true if is_linked(&file, path) => {
                    return Ok(Self { file, path: path.to_owned(), exclusive });
                }
                true => continue,
                false => {}
            }
            if begun.elapsed() >= patience {
                return Err(Error::Locked {
                    resource: resource.to_owned(),
                    path: path.to_owned(),
                    holder: holder(&file),
                    waited: begun.elapsed(),
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Removes the lock file and lets go. Only for an exclusive lock: others that wait for it find the file
    /// gone and begin anew.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> Result<()> {
        debug_assert!(self.exclusive, "a shared lock's file belongs to others too");
        std::fs::remove_file(&self.path).map_err(Error::io("remove lock", &self.path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            let _ = self.file.set_len(0);
        }
        // Closing lets go as well, unless a child process inherited the file in the meantime.
        let _ = let_go(&self.file);
    }
}

/// Lets go of what was locked. Wine says of the second of the standard library's two calls, which finds nothing to
/// let go any more, another error than Windows.
pub(crate) fn unlock(file: &File) -> std::io::Result<()> {
    match file.unlock() {
        Err(e) if cfg!(windows) && matches!(e.raw_os_error(), Some(33 | 158)) => Ok(()),
        other => other,
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(unix)]
fn try_lock(file: &File, exclusive: bool) -> std::io::Result<bool> {
    match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// The standard library's locks keep everybody else on Windows from reading who holds them.
#[cfg(windows)]
fn try_lock(file: &File, exclusive: bool) -> std::io::Result<bool> {
    crate::nt::lock(file, exclusive)
}

#[cfg(unix)]
fn let_go(file: &File) -> std::io::Result<()> {
    file.unlock()
}

#[cfg(windows)]
fn let_go(file: &File) -> std::io::Result<()> {
    crate::nt::unlock(file)
}

#[cfg(unix)]
fn is_going(_: &Path, _: &std::io::Error) -> bool {
    false
}

#[cfg(windows)]
fn is_going(path: &Path, error: &std::io::Error) -> bool {
    crate::nt::is_going(path, error)
}

#[cfg(unix)]
fn is_linked(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    open.nlink() > 0 && open.ino() == named.ino() && open.dev() == named.dev()
}

#[cfg(windows)]
fn is_linked(file: &File, path: &Path) -> bool {
    use std::fs::OpenOptions as Options;
    use std::os::windows::fs::OpenOptionsExt;
    let named = Options::new().access_mode(0).open(path);
    let same = named.and_then(|named| Ok(crate::nt::identity(&named)? == crate::nt::identity(file)?));
    crate::nt::is_linked(file).unwrap_or(false) && same.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_stays_taken_says_what_where_and_who() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = Lock::exclusive("the thing", &path, PATIENCE).unwrap();
        let error = Lock::shared("the thing", &path, Duration::from_millis(20)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the thing is in use"), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains(&format!("by process {}", std::process::id())), "{text}");
        drop(held);
        let one = Lock::shared("the thing", &path, Duration::ZERO).unwrap();
        let _two = Lock::shared("the thing", &path, Duration::ZERO).unwrap();
        assert!(matches!(Lock::exclusive("x", &path, Duration::ZERO), Err(Error::Locked { .. })));
        drop(one);
    }

    #[test]
    fn many_takers_and_removers_never_hold_it_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..50 {
                        let lock = Lock::exclusive("x", &path, PATIENCE).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        if round % 3 == 0 {
                            lock.remove().unwrap();
                        }
                    }
                });
            }
        });
    }
}
