//! The step cache: what a step depended on, and what came of it.
//!
//! A record never says that its layer is still there: whoever finds one asks
//! [`Layers::contains`](crate::layer::Layers::contains), and takes the step for unknown when it is not.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};

use rusqlite::{OptionalExtension, Row, Statement, Transaction};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Digester};
use crate::error::{Error, Result};
use crate::facts::{Facts, digest, digest_or_none, now};
use crate::layer::{chain_id, chain_over};
use crate::spool::Spool;
use crate::work::Work;

/// How often a use is written down, in milliseconds: collectors count in hours.
const USE_GRAIN: i64 = 60_000;
/// Most records kept of one stage of a Dockerfile, which may have many steps and be in many projects.
const KEPT_OF_A_SCOPE: i64 = 10_000;
/// Most of them whose parts are kept, which may be large.
const PARTS_OF_A_SCOPE: i64 = 1_000;
/// Every how many-th record makes room: there are more than that for a while.
const TRIMMED: u8 = 64;

/// The identity of a step: the digest of the parts that its result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey(Digest);

/// One thing that a step's result depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyPart {
    /// What sort of thing: `parent`, `instruction`, `arg`, `file`, …
    pub kind: Cow<'static, str>,
    /// Which one: the argument's name, the file's path; empty where there is one of the sort alone.
    pub name: String,
    /// What it is: the text, or the digest of the content.
    pub value: String,
}

impl KeyPart {
    /// A part.
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self { kind: kind.into(), name: name.into(), value: value.into() }
    }
}

/// A list of parts, which may be long: a COPY has one a file. It is made only as it is gone through.
pub trait Parts {
    /// Hands over kind, name and value of each, in order.
    ///
    /// # Errors
    /// When they can not be read from where they are.
    fn each(&self, take: &mut dyn FnMut(&str, &str, &str)) -> io::Result<()>;
}

impl<T: AsRef<[KeyPart]> + ?Sized> Parts for T {
    fn each(&self, take: &mut dyn FnMut(&str, &str, &str)) -> io::Result<()> {
        self.as_ref().iter().for_each(|part| take(&part.kind, &part.name, &part.value));
        Ok(())
    }
}

/// A key in the making.
struct KeyDigester(Digester);

impl KeyDigester {
    fn new() -> Self {
        let mut digester = Digester::new();
        digester.update(b"orlop step 1\n");
        Self(digester)
    }

    fn update(&mut self, kind: &str, name: &str, value: &str) {
        for text in [kind, name, value] {
            // With lengths, so that no two lists run together into the same bytes.
            self.0.update(&(text.len() as u64).to_le_bytes());
            self.0.update(text.as_bytes());
        }
    }

    fn finish(self) -> StepKey {
        StepKey(self.0.finish())
    }
}

impl StepKey {
    /// The key of a list of parts. Their order counts.
    pub fn of(parts: &(impl AsRef<[KeyPart]> + ?Sized)) -> Self {
        let mut key = KeyDigester::new();
        parts.as_ref().iter().for_each(|part| key.update(&part.kind, &part.name, &part.value));
        key.finish()
    }

    /// The same of parts that are made as they are gone through.
    ///
    /// # Errors
    /// When they can not be read from where they are.
    pub fn of_parts(parts: &(impl Parts + ?Sized)) -> io::Result<Self> {
        let mut key = KeyDigester::new();
        parts.each(&mut |kind, name, value| key.update(kind, name, value))?;
        Ok(key.finish())
    }

    /// Stands, where results are given on, for any step over `parent` (a chain ID) whose changes, times aside, are
    /// `content`: it is no step's own key.
    pub fn of_result(parent: &Digest, content: &Digest) -> Self {
        Self(Digest::of(format!("orlop result 1\n{parent}\n{content}").as_bytes()))
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord<P = Vec<KeyPart>> {
    /// Its key, [`StepKey::of`] its parts.
    pub key: StepKey,
    /// What it depended on.
    pub parts: P,
    /// Which place in which Dockerfile: records of one scope are compared with each other by `explain`.
    pub scope: String,
    /// The instruction, for people.
    pub description: String,
    /// Chain ID of the file system that it stood on.
    pub parent: Digest,
    /// Diff ID of its layer; none when it changed no file.
    pub layer: Option<Digest>,
    /// When it ran, in milliseconds since 1970.
    pub created: i64,
    /// How long it took, in milliseconds.
    pub duration: u64,
}

impl<P> StepRecord<P> {
    /// Chain ID of the file system that it left.
    pub fn chain(&self) -> Digest {
        self.layer.map_or(self.parent, |layer| StepRecord::chain_over(&self.parent, &layer))
    }
}

impl StepRecord {
    /// Chain ID of `layer` over the file system with chain ID `parent`.
    pub(crate) fn chain_over(parent: &Digest, layer: &Digest) -> Digest {
        if *parent == chain_id(&[]) { *layer } else { chain_over(parent, layer) }
    }
}

/// What a record says that is enough to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// Diff ID of its layer; none when it changed no file.
    pub layer: Option<Digest>,
    /// When it ran, in milliseconds since 1970.
    pub created: i64,
}

/// The step cache of a store.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) session: &'a crate::session::Session,
}

/// Parts may be many: they are in a table of their own, so that a look-up has nothing to do with them. Records of
/// earlier versions have theirs with them.
const RECORDS: &str =
    "SELECT steps.key, scope, description, parent, layer, created, duration, steps.parts, parts.parts
    FROM steps LEFT JOIN parts ON parts.key = steps.key";

/// Where they are more than so many bytes they are in pieces, under the key with `/0`, `/1` and so on behind it, and
/// earlier versions know of none.
const PIECE: usize = 512 << 10;

/// Of a piece, or of parts in one, the step's key.
pub(crate) const PARTS_OWNER: &str = "substr(key, 1, instr(key || '/', '/') - 1)";

/// The pieces of a key: there is nothing between these two but what begins with the first.
const PIECES: &str = "key > ?1 || '/' AND key < ?1 || '0'";

/// How hard parts are compressed.
const LEVEL: i32 = 1;

/// The most that parts may come to, in bytes; what is more is damage.
const MAX_PARTS: u64 = 1 << 30;

impl Steps<'_> {
    /// The record of `key`, if there is one. Its layer is then safe from collectors while this process lives,
    /// if it is still there.
    ///
    /// # Errors
    /// When the database says no.
    pub fn lookup(&self, key: &StepKey) -> Result<Option<StepResult>> {
        let found = self.facts.read("look up the step", |c| {
            let mut query =
                c.prepare_cached("SELECT parent, layer, created, used FROM steps WHERE key = ?")?;
            let row = |r: &Row<'_>| {
                Ok((digest(r, 0)?, digest_or_none(r, 1)?, r.get::<_, i64>(2)?, r.get::<_, i64>(3)?))
            };
            query.query_row([key.to_string()], row).optional()
        })?;
        let Some((parent, layer, created, used)) = found else { return Ok(None) };
        if let Some(layer) = layer {
            self.session.hold(&[layer, StepRecord::chain_over(&parent, &layer)])?;
        }
        if now() - used > USE_GRAIN {
            self.facts.write("note the use", |tx| {
                tx.execute("UPDATE steps SET used = ? WHERE key = ?", (now(), key.to_string())).map(drop)
            })?;
        }
        Ok(Some(StepResult { layer, created }))
    }

    /// Keeps a record, in the place of an earlier one of the same key.
    ///
    /// # Errors
    /// When the database says no.
    pub fn put(&self, record: &StepRecord<impl Parts>) -> Result<()> {
        let failed = || Error::io("keep the parts of a step in", "the step cache");
        let packed = packed(&record.parts, &self.session.work).map_err(failed())?;
        let mut left = packed.end();
        let mut packed = packed.into_reader().map_err(failed())?;
        let key = record.key.to_string();
        self.facts.write("keep the step", |tx| {
            remove_parts(tx, &key)?;
            let mut insert = tx.prepare("INSERT INTO parts(key, parts) VALUES (?, ?)")?;
            let in_one = left <= PIECE as u64;
            for number in 0.. {
                let mut piece = vec![0; left.min(PIECE as u64) as usize];
                packed
                    .read_exact(&mut piece)
                    .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
                left -= piece.len() as u64;
                insert.execute((if in_one { key.clone() } else { format!("{key}/{number}") }, piece))?;
                if left == 0 {
                    break;
                }
            }
            tx.execute(
                "INSERT OR REPLACE INTO steps(key, scope, description, parts, parent, layer, created, duration, used)
                 VALUES (?, ?, ?, '[]', ?, ?, ?, ?, ?)",
                (
                    &key,
                    &record.scope,
                    &record.description,
                    record.parent.to_string(),
                    record.layer.map(|d| d.to_string()),
                    record.created,
                    i64::try_from(record.duration).unwrap_or(i64::MAX),
                    now(),
                ),
            )?;
            match record.key.digest().as_bytes()[0] % TRIMMED {
                0 => trim(tx, &record.scope, KEPT_OF_A_SCOPE, PARTS_OF_A_SCOPE),
                _ => Ok(()),
            }
        })
    }

    /// Forgets a record, because its layer is gone.
    ///
    /// # Errors
    /// When the database says no.
    pub fn forget(&self, key: &StepKey) -> Result<()> {
        self.facts.write("forget the step", |tx| {
            remove_parts(tx, &key.to_string())?;
            tx.execute("DELETE FROM steps WHERE key = ?", [key.to_string()]).map(drop)
        })
    }

    /// The earlier record that a step with these `parts` is best compared with: of the same scope and another
    /// key, the one that differs in the fewest parts, and of those the newest.
    ///
    /// # Errors
    /// When the database says no.
    pub fn nearest(&self, scope: &str, parts: &[KeyPart]) -> Result<Option<StepRecord>> {
        let key = StepKey::of(parts);
        let ours: BTreeSet<&KeyPart> = parts.iter().collect();
        self.facts.read("look up earlier steps", |c| {
            let mut query = c.prepare(&format!(
                "{RECORDS} WHERE scope = ? AND steps.key <> ? AND (parts.parts NOT NULL OR steps.parts <> '[]'
                 OR EXISTS (SELECT 1 FROM parts WHERE key = steps.key || '/0'))
                 ORDER BY created DESC LIMIT 64"
            ))?;
            let mut pieces =
                c.prepare(&format!("SELECT parts FROM parts WHERE {PIECES} ORDER BY length(key), key"))?;
            // One at a time: each may be large.
            let mut nearest: Option<(usize, StepRecord)> = None;
            let mut rows = query.query((scope, key.to_string()))?;
            while let Some(row) = rows.next()? {
                let found = record(row, &mut pieces)?;
                let theirs: BTreeSet<&KeyPart> = found.parts.iter().collect();
                let differences = ours.symmetric_difference(&theirs).count();
                // Newest first: of equals the first stays.
                if nearest.as_ref().is_none_or(|(least, _)| differences < *least) {
                    nearest = Some((differences, found));
                }
            }
            Ok(nearest.map(|(_, record)| record))
        })
    }

    /// The layer that earlier came of a step over `parent` (a chain ID) whose changes, times aside, were
    /// `content`, and when. It is then safe from collectors while this process lives, if it is still there.
    ///
    /// # Errors
    /// When the database says no.
    pub fn content_result(&self, parent: &Digest, content: &Digest) -> Result<Option<(Digest, i64)>> {
        let found = self.facts.read("look up the result", |c| {
            c.query_row(
                "SELECT layer, created FROM results WHERE parent = ? AND content = ?",
                (parent.to_string(), content.to_string()),
                |r| Ok((digest(r, 0)?, r.get(1)?)),
            )
            .optional()
        })?;
        if let Some((layer, _)) = &found {
            self.session.hold(&[*layer])?;
        }
        Ok(found)
    }

    /// What the changes, times aside, were that gave `layer` over `parent` (a chain ID).
    ///
    /// # Errors
    /// When the database says no.
    pub fn content_of(&self, parent: &Digest, layer: &Digest) -> Result<Option<Digest>> {
        self.facts.read("look up the content", |c| {
            c.query_row(
                "SELECT content FROM results WHERE parent = ? AND layer = ? LIMIT 1",
                (parent.to_string(), layer.to_string()),
                |r| digest(r, 0),
            )
            .optional()
        })
    }

    /// Keeps that `layer` came of a step over `parent` whose changes, times aside, were `content`, at `created` in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// When the database says no.
    pub fn put_content_result(
        &self,
        parent: &Digest,
        content: &Digest,
        layer: &Digest,
        created: i64,
    ) -> Result<()> {
        self.facts.write("keep the result", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO results(parent, content, layer, created) VALUES (?, ?, ?, ?)",
                (parent.to_string(), content.to_string(), layer.to_string(), created),
            )
            .map(drop)
        })
    }
}

fn record(row: &Row<'_>, pieces: &mut Statement<'_>) -> rusqlite::Result<StepRecord> {
    let damaged = |column, e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, e)
    };
    let parts = match row.get::<_, Option<Vec<u8>>>(8)? {
        Some(bytes) => unpacked(&bytes).map_err(|e| damaged(8, e.into()))?,
        None => {
            let mut bytes = Vec::new();
            for piece in pieces.query_map([row.get::<_, String>(0)?], |row| row.get::<_, Vec<u8>>(0))? {
                bytes.append(&mut piece?);
            }
            match bytes.is_empty() {
                false => unpacked(&bytes).map_err(|e| damaged(8, e.into()))?,
                true => serde_json::from_str(&row.get::<_, String>(7)?).map_err(|e| damaged(7, e.into()))?,
            }
        }
    };
    Ok(StepRecord {
        key: StepKey(digest(row, 0)?),
        scope: row.get(1)?,
        description: row.get(2)?,
        parts,
        parent: digest(row, 3)?,
        layer: digest_or_none(row, 4)?,
        created: row.get(5)?,
        duration: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
    })
}

/// Leaves of a scope so many records, the last used, and so many that have their parts.
fn trim(tx: &Transaction<'_>, scope: &str, records: i64, parts: i64) -> rusqlite::Result<()> {
    let old = "SELECT key FROM steps WHERE scope = ?1 ORDER BY used DESC, created DESC LIMIT -1 OFFSET ?2";
    for (table, owner, limit) in [("parts", PARTS_OWNER, parts.min(records)), ("steps", "key", records)] {
        tx.execute(&format!("DELETE FROM {table} WHERE {owner} IN ({old})"), (scope, limit))?;
    }
    Ok(())
}

fn remove_parts(tx: &Transaction<'_>, key: &str) -> rusqlite::Result<()> {
    tx.execute(&format!("DELETE FROM parts WHERE key = ?1 OR ({PIECES})"), [key]).map(drop)
}

/// Parts as the database has them.
fn packed(parts: &(impl Parts + ?Sized), work: &Work) -> io::Result<Spool> {
    #[derive(Serialize)]
    struct Part<'a> {
        kind: &'a str,
        name: &'a str,
        value: &'a str,
    }
    let mut out = std::io::BufWriter::new(zstd::Encoder::new(Spool::new(work), LEVEL)?);
    let (mut before, mut failed) = ("[", None);
    parts.each(&mut |kind, name, value| {
        let written = out
            .write_all(before.as_bytes())
            .and_then(|()| Ok(serde_json::to_writer(&mut out, &Part { kind, name, value })?));
        before = ",";
        failed = failed.take().or(written.err());
    })?;
    failed.map_or(Ok(()), Err)?;
    out.write_all(if before == "[" { b"[]" } else { b"]" })?;
    out.flush()?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
}

fn unpacked(bytes: &[u8]) -> std::io::Result<Vec<KeyPart>> {
    let reader = std::io::BufReader::new(zstd::Decoder::with_buffer(bytes)?.take(MAX_PARTS));
    Ok(serde_json::from_reader(reader)?)
}

#[cfg(test)]
mod tests;
