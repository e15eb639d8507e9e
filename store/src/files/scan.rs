//! Many files asked for one after another, by several threads: a scan of a build context.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rusqlite::Connection;

use super::{FileStat, Files, find};
use crate::digest::FileDigest;

/// So many files are asked for before it is worth while to have the database open a second time, for all of them in
/// one transaction.
const FEW: usize = 200;
/// How often the database is open at most.
const READERS: usize = 4;
/// Digests that are written together.
const TOGETHER: usize = 1000;

/// Looks up files, and remembers what it is told when there is enough of it, and at the end.
#[derive(Debug)]
pub struct FileScan<'a> {
    files: Files<'a>,
    asked: AtomicUsize,
    /// Each thread has its own, as far as they go: to wait for another thread costs more than to ask.
    reading: [Mutex<Reading>; READERS],
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    files: Vec<(FileStat, FileDigest)>,
    /// When the first of them was told.
    since: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Reading {
    /// In a transaction, where that keeps nobody from writing.
    snapshot: Option<Connection>,
    used: Vec<FileStat>,
}

impl<'a> FileScan<'a> {
    pub(super) fn new(files: Files<'a>) -> Self {
        Self { files, asked: AtomicUsize::new(0), reading: Default::default(), learned: Mutex::default() }
    }

    /// The digest of the content of a file, where it is known. A database that cannot be asked knows nothing.
    pub fn get(&self, file: &FileStat) -> Option<FileDigest> {
        if self.asked.fetch_add(1, Ordering::Relaxed) < FEW {
            return self.files.get(&[*file]).ok()?.pop().flatten();
        }
        let mut reading = lock(&self.reading[reader()]);
        let Reading { snapshot, used } = &mut *reading;
        if snapshot.is_none() {
            *snapshot = Some(open(self.files.facts.path()).ok()?);
        }
        let (digest, is_stale) = find(snapshot.as_ref()?, file).ok()?;
        if is_stale {
            used.push(*file);
            if used.len() >= TOGETHER {
                let _ = self.files.note_use(&std::mem::take(used));
            }
        }
        digest
    }

    /// Remembers a digest, unless the file was changed shortly before.
    pub fn put(&self, file: &FileStat, digest: FileDigest) {
        let mut learned = lock(&self.learned);
        learned.since.get_or_insert_with(SystemTime::now);
        learned.files.push((*file, digest));
        if learned.files.len() >= TOGETHER {
            let all = std::mem::take(&mut *learned);
            drop(learned);
            self.write(&all);
        }
    }

    fn write(&self, Learned { files, since }: &Learned) {
        if let Some(since) = since {
            // Whoever forgets reads a file once more, and nothing else is lost.
            let _ = self.files.put(files, *since);
        }
    }
}

impl FileScan<'_> {
    /// Ends a scan: writes down what it learned, and looks at the database anew when it is asked again.
    pub fn flush(&self) {
        self.write(&std::mem::take(&mut *lock(&self.learned)));
        self.asked.store(0, Ordering::Relaxed);
        for reading in &self.reading {
            let Reading { used, .. } = std::mem::take(&mut *lock(reading));
            if !used.is_empty() {
                let _ = self.files.note_use(&used);
            }
        }
    }
}

impl Drop for FileScan<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of the readers is this thread's.
fn reader() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| number % READERS)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(1))?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    // Where the database has no log, who reads keeps others from writing, and itself.
    if mode == "wal" {
        connection.execute_batch("BEGIN DEFERRED")?;
    }
    Ok(connection)
}
