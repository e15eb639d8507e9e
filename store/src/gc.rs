//! Collection: what no image needs goes, the longest unused first, and never what somebody is working with.
//!
//! Images with a name are needed, with everything in them. All else (results of steps, images without a name,
//! blobs that were made for a push, layers of a pull that did not come to its end) is a cache, and goes by age and
//! size. What nothing is known of (manifests, configs and blobs that somebody wrote who was killed before he could
//! say what they are) is no cache, and goes at once. What living processes hold, and what came into the store since
//! the oldest of them began to write, stays.

mod inventory;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use inventory::{Inventory, Item, Kind};
use rusqlite::Transaction;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::facts::now;
use crate::layer::LayerError;
use crate::lock::{Lock, PATIENCE};
use crate::steps::PARTS_OWNER;
use crate::store::{Store, WORK};

/// How long others may be kept waiting at a time.
const LONGEST_HOLD: Duration = Duration::from_millis(200);
/// How long the lock is then left to others; more than they pause between two tries.
const BREATH: Duration = Duration::from_millis(60);
/// How long digests of context files are kept unused, in milliseconds.
const FILES_KEPT: i64 = 30 * 24 * 3600 * 1000;

/// What a collection leaves of what no image needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcPolicy {
    /// What was used within this time stays; none sets no limit of age.
    pub keep_for: Option<Duration>,
    /// At most so many bytes stay, the last used; none sets no limit of size.
    pub keep_bytes: Option<u64>,
    /// Nothing stays.
    pub all: bool,
}

impl Default for GcPolicy {
    /// What was used in the last fourteen days.
    fn default() -> Self {
        Self { keep_for: Some(Duration::from_secs(14 * 24 * 3600)), keep_bytes: None, all: false }
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs that are gone.
    pub blobs: u64,
    /// Layers that are gone.
    pub layers: u64,
    /// Images without a name that are gone.
    pub images: u64,
    /// Step records that are gone.
    pub steps: u64,
    /// Bytes of the blobs and layers that are gone.
    pub bytes: u64,
    /// Things that would have gone and are in use.
    pub in_use: u64,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images.
    pub images: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
    /// Layers.
    pub layers: u64,
    /// Bytes of the layers, as tars.
    pub layer_bytes: u64,
    /// Step records.
    pub steps: u64,
    /// Bytes of blobs and layers that no named image needs and nobody works with.
    pub reclaimable: u64,
}

impl Store {
    /// Collects.
    ///
    /// # Errors
    /// When the store cannot be read, or a file cannot be removed. What was removed before stays removed.
    pub fn gc(&self, policy: &GcPolicy) -> Result<GcReport> {
        self.work().sweep()?;
        let lock = self.gc_exclusive()?;
        let inventory = Inventory::take(self)?;
        drop(lock);
        let (victims, mut report) = choose(&inventory, policy);
        let removed = self.remove_items(&victims, &mut report)?;
        self.forget(&inventory, &removed, policy, &mut report)?;
        Ok(report)
    }

    /// How full the store is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let inventory = Inventory::take(self)?;
        let count = |table: &str| {
            let query = format!("SELECT count(*) FROM {table}");
            self.facts()
                .read("count", |c| c.query_row(&query, [], |r| r.get::<_, i64>(0)))
                .map(i64::unsigned_abs)
        };
        let mut usage = Usage { images: count("images")?, steps: count("steps")?, ..Usage::default() };
        for item in &inventory.items {
            match item.kind {
                Kind::Blob(_) => {
                    usage.blobs += 1;
                    usage.blob_bytes = usage.blob_bytes.saturating_add(item.bytes);
                }
                Kind::Layer(_) => {
                    usage.layers += 1;
                    usage.layer_bytes = usage.layer_bytes.saturating_add(item.bytes);
                }
            }
            if !item.needed && !item.in_use {
                usage.reclaimable = usage.reclaimable.saturating_add(item.bytes);
            }
        }
        Ok(usage)
    }

    fn gc_exclusive(&self) -> Result<Lock> {
        Lock::exclusive("the store", &self.gc_lock(), PATIENCE)
    }

    /// Removes `victims`, asking anew before each who holds what, and letting others in between.
    fn remove_items(&self, victims: &[&Item], report: &mut GcReport) -> Result<HashSet<Digest>> {
        let mut removed = HashSet::new();
        let mut rest = victims.iter().peekable();
        while rest.peek().is_some() {
            let lock = self.gc_exclusive()?;
            let begun = Instant::now();
            let in_use = self.session().in_use(&self.root().join(WORK))?;
            for item in rest.by_ref() {
                let gone =
                    if in_use.digests.contains(&item.digest()) { false } else { self.remove_item(item)? };
                if gone {
                    removed.insert(item.digest());
                    report.bytes = report.bytes.saturating_add(item.bytes);
                    match item.kind {
                        Kind::Blob(_) => report.blobs += 1,
                        Kind::Layer(_) => report.layers += 1,
                    }
                } else {
                    report.in_use += 1;
                }
                if begun.elapsed() > LONGEST_HOLD {
                    break;
                }
            }
            drop(lock);
            if rest.peek().is_some() {
                std::thread::sleep(BREATH);
            }
        }
        Ok(removed)
    }

    fn remove_item(&self, item: &Item) -> Result<bool> {
        match &item.kind {
            Kind::Blob(digest) => {
                let path = self.blobs().path(digest);
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path)(e)),
                    _ => Ok(true),
                }
            }
            Kind::Layer(key) => match self.layers().remove(key) {
                Ok(()) | Err(LayerError::Missing { .. }) => Ok(true),
                Err(LayerError::InUse { .. }) => Ok(false),
                Err(e) => Err(e.into()),
            },
        }
    }

    /// Takes out the facts of what is gone.
    fn forget(
        &self,
        inventory: &Inventory,
        removed: &HashSet<Digest>,
        policy: &GcPolicy,
        report: &mut GcReport,
    ) -> Result<()> {
        let since = policy.keep_for.map(before);
        let stale = if policy.all { i64::MAX } else { since.unwrap_or(i64::MIN) };
        let files = if policy.all { i64::MAX } else { now() - FILES_KEPT };
        let images: Vec<&Digest> = inventory
            .unnamed
            .iter()
            .filter(|image| image.content.iter().any(|d| removed.contains(d)))
            .map(|image| &image.id)
            .collect();
        let (images, steps) = self.facts().write("forget what was collected", |tx| {
            let mut forgotten = 0;
            for id in &images {
                // Somebody may have named it in the meantime.
                forgotten += tx.execute(
                    "DELETE FROM images WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM names WHERE image = ?1)",
                    [id.to_string()],
                )?;
            }
            let mut steps = tx.execute("DELETE FROM steps WHERE layer IS NULL AND used < ?", [stale])?;
            for digest in removed {
                let text = digest.to_string();
                steps += tx.execute("DELETE FROM steps WHERE layer = ?", [&text])?;
                tx.execute("DELETE FROM results WHERE layer = ?", [&text])?;
                tx.execute("DELETE FROM layer_blobs WHERE blob = ?", [&text])?;
            }
            tx.execute(&format!("DELETE FROM parts WHERE {PARTS_OWNER} NOT IN (SELECT key FROM steps)"), ())?;
            tx.execute("DELETE FROM files WHERE used < ?", [files])?;
            forget_sources(tx, &inventory.of_images)?;
            Ok((forgotten, steps))
        })?;
        report.images = images as u64;
        report.steps = steps as u64;
        Ok(())
    }
}

/// Takes out where blobs were that nobody has met for long. Of an image whose layers are still elsewhere that is all
/// there is to find them by.
fn forget_sources(tx: &Transaction<'_>, of_images: &HashSet<Digest>) -> rusqlite::Result<()> {
    let mut query = tx.prepare(
        "SELECT DISTINCT blob FROM sources WHERE blob NOT IN (SELECT blob FROM layer_blobs) AND seen < ?",
    )?;
    let since = now() - FILES_KEPT;
    let stale =
        query.query_map([since], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let is_needed = |blob: &str| blob.parse().is_ok_and(|digest: Digest| of_images.contains(&digest));
    for blob in stale.iter().filter(|blob| !is_needed(blob)) {
        tx.execute("DELETE FROM sources WHERE blob = ? AND seen < ?", (blob, since))?;
    }
    Ok(())
}

/// So long ago, in milliseconds since 1970.
fn before(age: Duration) -> i64 {
    now().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// What is to go, the longest unused first.
fn choose<'a>(inventory: &'a Inventory, policy: &GcPolicy) -> (Vec<&'a Item>, GcReport) {
    let mut report = GcReport::default();
    let mut spare: Vec<&Item> = inventory.items.iter().filter(|i| !i.needed).collect();
    spare.sort_by_key(|i| i.used);
    let mut left: u64 = spare.iter().map(|i| i.bytes).fold(0, u64::saturating_add);
    let oldest = policy.keep_for.map(before);
    let mut victims = Vec::new();
    for item in spare {
        let too_old = oldest.is_some_and(|oldest| item.used < oldest);
        let too_much = policy.keep_bytes.is_some_and(|keep| left > keep);
        if !(policy.all || too_old || too_much || item.unfinished) {
            continue;
        }
        if item.in_use {
            report.in_use += 1;
            continue;
        }
        left = left.saturating_sub(item.bytes);
        victims.push(item);
    }
    (victims, report)
}

impl Item {
    /// What sessions hold it by.
    fn digest(&self) -> Digest {
        match &self.kind {
            Kind::Blob(digest) => *digest,
            Kind::Layer(key) => *key.digest(),
        }
    }
}

#[cfg(test)]
mod tests;
