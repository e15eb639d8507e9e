//! Directories that steps keep between builds: `RUN --mount=type=cache`.
//!
//! ```text
//! caches/<hex of the digest of the id>.<n>/lock    held by whoever uses the directory
//! caches/<hex of the digest of the id>.<n>/data/   what the steps keep
//! ```
//! `n` is 0, or more where a private user found the lower numbers in use. `data` appears by one rename, with
//! its first content complete.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lock::unlock;

/// Who may use a cache directory at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Anybody.
    Shared,
    /// One; whoever finds it in use gets another.
    Private,
    /// One; the others wait.
    Locked,
}

/// How long one who shares a new cache lets another one fill it before looking again.
const TURN: std::time::Duration = std::time::Duration::from_millis(5);

/// The cache directories of a store.
#[derive(Clone, Debug)]
pub struct Caches {
    dir: PathBuf,
}

/// A cache directory in use, until dropped.
#[derive(Debug)]
pub struct Cache {
    data: PathBuf,
    _lock: File,
}

impl Cache {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.data
    }
}

impl Caches {
    /// The caches below `dir`, which is made when the first one is.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The directory of `id`, waiting for it where `sharing` says so. A new one is made by `fill`, which is
    /// given its path while nobody else sees it.
    ///
    /// # Errors
    /// When it cannot be made or locked, or `fill` fails.
    pub fn get<E: From<Error>>(
        &self,
        id: &str,
        sharing: Sharing,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Cache, E> {
        let name = Digest::of(id.as_bytes()).hex();
        let mut number = 0_u32;
        let (dir, lock) = loop {
            let dir = self.dir.join(format!("{name}.{number}"));
            crate::work::make_private(&dir).map_err(Error::io("create", &dir))?;
            let path = dir.join("lock");
            let lock = File::options().create(true).truncate(false).write(true).open(&path);
            let lock = lock.map_err(Error::io("open", &path))?;
            if sharing == Sharing::Locked {
                lock.lock().map_err(Error::io("lock", &path))?;
                break (dir, lock);
            }
            if sharing == Sharing::Shared {
                lock.lock_shared().map_err(Error::io("lock", &path))?;
                let data = dir.join("data");
                if data.exists() {
                    return Ok(Cache { data, _lock: lock });
                }
                // Others that share it may hold the lock for hours: it is never waited for alone.
                unlock(&lock).map_err(Error::io("unlock", &path))?;
            }
            match lock.try_lock() {
                Ok(()) => break (dir, lock),
                Err(TryLockError::WouldBlock) if sharing == Sharing::Shared => std::thread::sleep(TURN),
                Err(TryLockError::WouldBlock) => number += 1,
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e).into()),
            }
        };
        let data = dir.join("data");
        if !data.exists() {
            let new = dir.join("new");
            if new.exists() {
                std::fs::remove_dir_all(&new).map_err(Error::io("remove", &new))?;
            }
            std::fs::create_dir(&new).map_err(Error::io("create", &new))?;
            fill(&new)?;
            std::fs::rename(&new, &data).map_err(Error::io("rename", &new))?;
        }
        if sharing == Sharing::Shared {
            // From here on others may come in; nothing is lost when one does in between.
            if cfg!(windows) {
                // Both at once are possible there, and only one is wanted.
                unlock(&lock).map_err(Error::io("unlock", dir.join("lock")))?;
            }
            lock.lock_shared().map_err(Error::io("lock", dir.join("lock")))?;
        }
        Ok(Cache { data, _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(caches: &Caches, id: &str, sharing: Sharing) -> Cache {
        caches
            .get(id, sharing, |dir| std::fs::write(dir.join("first"), id).map_err(Error::io("write", dir)))
            .unwrap()
    }

    #[test]
    fn content_is_kept_by_id_and_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::open(&dir.path().join("caches"));
        let cache = get(&caches, "apt", Sharing::Shared);
        std::fs::write(cache.path().join("kept"), "x").unwrap();
        std::fs::remove_file(cache.path().join("first")).unwrap();
        let again = get(&caches, "apt", Sharing::Shared);
        assert_eq!(again.path(), cache.path());
        assert!(again.path().join("kept").exists() && !again.path().join("first").exists());
        assert_ne!(get(&caches, "../apt", Sharing::Shared).path(), cache.path());
    }

    #[test]
    fn users_that_share_do_not_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::open(dir.path());
        // All at once on a cache that is not there yet, each with the others still holding it.
        let (sent, got) = std::sync::mpsc::channel();
        let all = std::sync::Barrier::new(3);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let _held = get(&caches, "x", Sharing::Shared);
                    sent.send(()).unwrap();
                    all.wait();
                });
            }
            for _ in 0..3 {
                got.recv_timeout(std::time::Duration::from_secs(20)).expect("one waits for another");
            }
        });
    }

    #[test]
    fn a_private_user_gets_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::open(dir.path());
        let one = get(&caches, "x", Sharing::Private);
        let two = get(&caches, "x", Sharing::Private);
        assert_ne!(one.path(), two.path());
        drop(one);
        assert!(
            get(&caches, "x", Sharing::Private)
                .path()
                .ends_with(format!("{}.0/data", Digest::of(b"x").hex()))
        );
    }

    #[test]
    fn a_locked_user_waits() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::open(dir.path());
        let one = get(&caches, "x", Sharing::Locked);
        let (sent, got) = std::sync::mpsc::channel();
        std::thread::scope(|s| {
            s.spawn(|| {
                let _two = get(&caches, "x", Sharing::Locked);
                sent.send(()).unwrap();
            });
            assert!(got.recv_timeout(std::time::Duration::from_millis(100)).is_err());
            drop(one);
            got.recv().unwrap();
        });
    }
}
