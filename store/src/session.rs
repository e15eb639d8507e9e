//! What one process is doing with the store: a directory of its own in `work/` for half-made things, and the
//! list of content that must not be collected under its hands.
//!
//! The list is `work/session-<random>/uses`: a line `since <milliseconds since 1970>`, then one digest a line.
//! It counts for as long as its owner lives. Collectors spare what any living session names, and whatever came
//! into the store since the oldest one began. A collector's own session counts once it names something.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::facts::now;
use crate::lock::{Lock, PATIENCE};
use crate::trace::Trace;
use crate::work::{Work, WorkDir};

/// Kind of the work directories of sessions.
pub(crate) const KIND: &str = "session";
/// Name of the list of used content in a session's directory.
pub(crate) const USES: &str = "uses";
/// The clock of a file system may lag behind the clock of the machine by so many milliseconds.
const CLOCK_MARGIN: i64 = 2000;

/// One process's use of a store.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) work: Work,
    gc_lock: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    // Closed before the directory is removed.
    uses: File,
    dir: WorkDir,
    held: HashSet<Digest>,
}

impl Session {
    /// A session that has not begun. `gc_lock` is held exclusively by a collector while it decides and takes.
    pub(crate) fn new(work: Work, gc_lock: PathBuf) -> Self {
        Self { work, gc_lock, open: Mutex::default() }
    }

    /// Begins the session, if it did not begin yet. On a full disk it begins with the first write: a collector
    /// and those who only look must come in.
    pub(crate) fn begin(&self) -> Result<()> {
        match self.dir() {
            Err(e) if e.kind() == ErrorKind::StorageFull => Ok(()),
            other => other.map(drop),
        }
    }

    /// What the sessions of all processes use, dead ones included: sweep first. To be called with the collector's
    /// lock held, for an answer that stays true.
    pub(crate) fn in_use(&self, work: &Path) -> Result<InUse> {
        let own = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = own.as_ref().filter(|open| open.held.is_empty()).map(|open| open.dir.path().to_owned());
        drop(own);
        InUse::read(work, idle.as_deref())
    }

    /// Who is told of what takes time.
    pub(crate) fn trace(&self) -> &Trace {
        self.work.trace()
    }

    /// The session's directory for half-made things.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        self.with(|open, _| Ok(open.dir.path().to_owned()))
    }

    /// Keeps `digests` (of blobs, diff IDs, chain IDs) from being collected while this process lives. To be
    /// called before looking whether they are there.
    pub(crate) fn hold(&self, digests: &[Digest]) -> Result<()> {
        self.with(|open, gc_lock| {
            let new: Vec<Digest> = digests.iter().filter(|d| !open.held.contains(*d)).copied().collect();
            if new.is_empty() {
                return Ok(());
            }
            let _lock = Lock::shared("the store", gc_lock, PATIENCE)?;
            let lines: String = new.iter().map(|d| format!("{d}\n")).collect();
            open.uses.write_all(lines.as_bytes()).map_err(Error::io("write", open.dir.path().join(USES)))?;
            open.held.extend(new);
            Ok(())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Open, &Path) -> Result<T>) -> Result<T> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let _lock = Lock::shared("the store", &self.gc_lock, PATIENCE)?;
            let dir = self.work.create(KIND)?;
            let path = dir.path().join(USES);
            let mut uses = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(&path)
                .map_err(Error::io("make", &path))?;
            writeln!(uses, "since {}", now() - CLOCK_MARGIN).map_err(Error::io("write", &path))?;
            *slot = Some(Open { dir, uses, held: HashSet::new() });
        }
        let open = slot.as_mut().expect("was made just now where it was missing");
        act(open, &self.gc_lock)
    }
}

/// What sessions use.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    /// Content that is named.
    pub(crate) digests: HashSet<Digest>,
    /// When the oldest session began, in milliseconds since 1970.
    pub(crate) since: Option<i64>,
}

impl InUse {
    /// Reads the lists of all sessions but the one in the directory `except`.
    fn read(work: &Path, except: Option<&Path>) -> Result<Self> {
        let mut out = Self::default();
        for entry in std::fs::read_dir(work).map_err(Error::io("list", work))? {
            let entry = entry.map_err(Error::io("list", work))?;
            if !entry.file_name().to_string_lossy().starts_with(&format!("{KIND}-")) {
                continue;
            }
            if except.and_then(Path::file_name) == Some(&entry.file_name()) {
                continue;
            }
            let path = entry.path().join(USES);
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                // A lock file, or a session that ended just now.
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                Err(e) => return Err(Error::io("read", &path)(e)),
            };
            for line in text.lines() {
                if let Some(since) = line.strip_prefix("since ").and_then(|t| t.parse::<i64>().ok()) {
                    out.since = Some(out.since.map_or(since, |old| old.min(since)));
                } else if let Ok(digest) = line.parse() {
                    out.digests.insert(digest);
                }
            }
        }
        Ok(out)
    }
}
