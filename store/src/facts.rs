//! The one database file of a store. It holds facts only: what it says of content can be made again from the
//! content or is safe to lose.
//!
//! Several processes write to it at once. Every write is one short `BEGIN IMMEDIATE` transaction (a deferred
//! one that turns into a write fails at once when another writes, whatever the timeout).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lock::{Lock, PATIENCE};

/// Version of the tables, kept in `user_version`.
pub(crate) const VERSION: i64 = 1;
/// How long is waited for other writers.
const BUSY: Duration = Duration::from_secs(30);
/// The pause between two tries where SQLite does not wait by itself.
const PAUSE: Duration = Duration::from_millis(10);

const TABLES: &str = "
CREATE TABLE images(
    id TEXT PRIMARY KEY, manifest TEXT, platform TEXT NOT NULL, layers TEXT NOT NULL,
    added INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE names(
    name TEXT PRIMARY KEY, image TEXT NOT NULL, manifest TEXT, list TEXT, set_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_image ON names(image);
CREATE TABLE layer_blobs(
    blob TEXT PRIMARY KEY, diff_id TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    recipe TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX layer_blobs_diff_id ON layer_blobs(diff_id);
CREATE TABLE sources(
    blob TEXT NOT NULL, repository TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY(blob, repository)
) WITHOUT ROWID;
CREATE TABLE steps(
    key TEXT PRIMARY KEY, scope TEXT NOT NULL, description TEXT NOT NULL, parts TEXT NOT NULL,
    parent TEXT NOT NULL, layer TEXT, created INTEGER NOT NULL, duration INTEGER NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX steps_scope ON steps(scope, created);
CREATE INDEX steps_layer ON steps(layer);
CREATE TABLE results(
    parent TEXT NOT NULL, content TEXT NOT NULL, layer TEXT NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY(parent, content)
) WITHOUT ROWID;
CREATE TABLE files(
    device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL, PRIMARY KEY(device, inode)
) WITHOUT ROWID;
";

/// What stores of the first days do not have yet; to those who do not know it it means nothing.
const PARTS: &str =
    "CREATE TABLE IF NOT EXISTS parts(key TEXT PRIMARY KEY, parts BLOB NOT NULL) WITHOUT ROWID;";

/// The open database.
#[derive(Debug)]
pub(crate) struct Facts {
    path: PathBuf,
    connection: Mutex<Connection>,
    set_aside: Option<PathBuf>,
}

impl Facts {
    /// Opens `path`, made where missing. A damaged file is put aside under another name and begun anew.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for the tables of another version.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match Self::connect(path) {
            Err(Error::Facts { source, .. }) if is_damage(&source) => {}
            other => return other.map(|connection| Self::new(path, connection, None)),
        }
        let _lock = Lock::exclusive("the store's database", &path.with_extension("lock"), PATIENCE)?;
        // Somebody else may have seen to it in the meantime.
        match Self::connect(path) {
            Err(Error::Facts { source, .. }) if is_damage(&source) => {}
            other => return other.map(|connection| Self::new(path, connection, None)),
        }
        let names = salvage(path);
        let aside = set_aside(path)?;
        let facts = Self::new(path, Self::connect(path)?, Some(aside));
        facts.write("keep names", |tx| {
            for (name, image, manifest, list) in &names {
                tx.execute(
                    "INSERT OR IGNORE INTO names(name, image, manifest, list, set_at) VALUES (?, ?, ?, ?, ?)",
                    (name, image, manifest, list, now()),
                )?;
            }
            Ok(())
        })?;
        Ok(facts)
    }

    fn new(path: &Path, connection: Connection, set_aside: Option<PathBuf>) -> Self {
        Self { path: path.to_owned(), connection: Mutex::new(connection), set_aside }
    }

    fn connect(path: &Path) -> Result<Connection> {
        let fail = |action| {
            let path = path.to_owned();
            move |source| Error::Facts { action, path, source }
        };
        let mut connection = Connection::open(path).map_err(fail("open the store's facts"))?;
        let begun = std::time::Instant::now();
        let version = loop {
            match setup(&mut connection, path) {
                // Who changes the kind of the log of a new database is not made to wait by SQLite, but refused.
                Err(e)
                    if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY =>
                {
                    std::thread::sleep(PAUSE);
                }
                other => break other.map_err(fail("read the store's facts"))?,
            }
        };
        if version != VERSION {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
                found: format!("version {version} of the facts"),
                known: format!("version {VERSION}"),
            });
        }
        Ok(connection)
    }

    /// Where a damaged database was put when this one was opened.
    pub(crate) fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic of another thread rolled its transaction back; the connection is fine.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Facts { action, path, source }
    }

    /// Reads.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        query(&self.lock()).map_err(self.fail(action))
    }

    /// Writes, all or nothing.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let run = |connection: &mut Connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let out = change(&tx)?;
            tx.commit()?;
            Ok(out)
        };
        run(&mut connection).map_err(self.fail(action))
    }

    /// Whether the file is sound, by SQLite's own check.
    pub(crate) fn check(&self) -> Result<bool> {
        let answer =
            self.read("check", |c| c.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
        match answer {
            Ok(text) => Ok(text == "ok"),
            Err(Error::Facts { source, .. }) if is_damage(&source) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn setup(connection: &mut Connection, path: &Path) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY)?;
    let mode = if on_network(path) { "DELETE" } else { "WAL" };
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;")?;
    let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let found = version(connection)?;
    if found != 0 {
        // Reads the schema, so that a damaged one is found now.
        let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'parts'";
        let has_parts = connection.query_row(query, [], |row| row.get::<_, i64>(0))? > 0;
        if found == VERSION && !has_parts {
            connection.execute_batch(PARTS)?;
        }
        return Ok(found);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have made the tables while this one waited.
    if version(&tx)? == 0 {
        tx.execute_batch(TABLES)?;
        tx.execute_batch(PARTS)?;
        tx.pragma_update(None, "user_version", VERSION)?;
    }
    let found = version(&tx)?;
    tx.commit()?;
    Ok(found)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

type Name = (String, String, Option<String>, Option<String>);

/// The names that can still be read from a damaged database: the one thing in it that content cannot tell.
fn salvage(path: &Path) -> Vec<Name> {
    let read = || -> rusqlite::Result<Vec<Name>> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let mut query = connection.prepare("SELECT name, image, manifest, list FROM names")?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
        // Up to the first that cannot be read.
        Ok(rows.map_while(|row| row.ok()).collect())
    };
    read().unwrap_or_default()
}

fn set_aside(path: &Path) -> Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{}", now()));
    std::fs::rename(path, &aside).map_err(Error::io("set aside", path))?;
    for suffix in ["-wal", "-shm"] {
        let mut side = path.as_os_str().to_owned();
        side.push(suffix);
        match std::fs::remove_file(&side) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &side)(e)),
            _ => {}
        }
    }
    Ok(aside)
}

/// Whether shared memory between machines would be needed for a write-ahead log: it does not work there.
#[cfg(target_os = "linux")]
fn on_network(path: &Path) -> bool {
    const NETWORK: [i64; 9] = [
        0x6969,      // NFS
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x517B,      // SMB
        0x0102_1997, // 9P: shared folders of virtual machines
        0x00C3_6400, // Ceph
        0x6573_5546, // FUSE: sshfs and friends
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
    ];
    let dir = path.parent().unwrap_or(path);
    #[expect(clippy::unnecessary_cast, reason = "f_type has another width on other processors")]
    rustix::fs::statfs(dir).is_ok_and(|s| NETWORK.contains(&(s.f_type as i64 & 0xFFFF_FFFF)))
}

#[cfg(not(target_os = "linux"))]
fn on_network(path: &Path) -> bool {
    path.to_str().is_some_and(|p| p.starts_with(r"\\") && !p.starts_with(r"\\?\"))
}

/// Now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    millis(SystemTime::now())
}

/// `time` in milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// A digest in a column. One that is none is damage of the row alone, told as such.
pub(crate) fn digest(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    digest_or_none(row, column)?.ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(column, "digest".to_owned(), rusqlite::types::Type::Null)
    })
}

/// A digest, or none, in a column.
pub(crate) fn digest_or_none(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    text.parse().map(Some).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}

#[cfg(test)]
mod tests;
