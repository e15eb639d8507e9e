//! Everything in a store, with who needs it and when it was last used.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::error::Result;
use crate::facts::{digest, digest_or_none, millis};
use crate::image::{Image, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::layer::{Form, LayerKey, chain_id};
use crate::steps::StepRecord;
use crate::store::{Store, WORK};

/// One thing that takes room.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    /// Last use, in milliseconds since 1970.
    pub(super) used: i64,
    /// Whether a named image needs it.
    pub(super) needed: bool,
    /// Whether a living process works with it.
    pub(super) in_use: bool,
    /// Whether it is what somebody left who did not come to the end: nothing that the store knows of is made of it.
    pub(super) unfinished: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Blob(Digest),
    Layer(LayerKey),
}

/// An image without a name.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) id: Digest,
    /// Digests that, removed, take the image with them.
    pub(super) content: Vec<Digest>,
}

#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) items: Vec<Item>,
    pub(super) unnamed: Vec<Unnamed>,
    /// Everything that images are made of, whether it is here or still elsewhere.
    pub(super) of_images: HashSet<Digest>,
}

/// What something is needed for, by digest.
#[derive(Default)]
struct Needs {
    named: HashSet<Digest>,
    used: HashMap<Digest, i64>,
}

impl Needs {
    fn use_at(&mut self, digest: Digest, at: i64) {
        let last = self.used.entry(digest).or_insert(at);
        *last = (*last).max(at);
    }

    fn last_use(&self, digest: &Digest) -> i64 {
        self.used.get(digest).copied().unwrap_or(i64::MIN)
    }
}

/// A row of the images, with what it names.
struct Row {
    id: Digest,
    manifests: Vec<Digest>,
    used: i64,
    named: bool,
}

impl Inventory {
    /// Counts everything. Without the collector's lock the answer is a little old when it comes.
    pub(super) fn take(store: &Store) -> Result<Self> {
        let in_use = store.session().in_use(&store.root().join(WORK))?;
        let mut needs = Needs::default();
        let (mut unnamed, mut of_images) = (Vec::new(), HashSet::new());
        let mut rows = rows(store)?;
        // A name that stands for an index is one of all its images.
        let named: HashSet<Digest> =
            rows.iter().filter(|row| row.named).flat_map(|row| members(store, row)).collect();
        for row in &mut rows {
            row.named |= named.contains(&row.id);
        }
        let images: HashSet<Digest> = rows.iter().map(|row| row.id).collect();
        for row in rows {
            let content = content(store, &row);
            for digest in &content {
                if row.named {
                    needs.named.insert(*digest);
                }
                needs.use_at(*digest, row.used);
            }
            of_images.extend(&content);
            if !row.named {
                unnamed.push(Unnamed { id: row.id, content });
            }
        }
        step_uses(store, &mut needs)?;
        let held = |digest: &Digest, came: i64| {
            in_use.digests.contains(digest) || in_use.since.is_some_and(|since| came >= since)
        };
        let mut items = Vec::new();
        let mut made_of: HashMap<Digest, bool> = HashMap::new();
        for layer in store.layers().list()? {
            let key = *layer.key.digest();
            let last = millis(layer.used);
            // A whole file system is kept for the next step alone; it can be copied together again.
            let needed = needs.named.contains(&key) && layer.forms != [Form::Tree];
            let used = last.max(needs.last_use(&key));
            if let Some(facts) = &layer.facts {
                // The blob that a foreign layer came as has the only copy of its bytes.
                *made_of.entry(facts.diff_id).or_default() |= needed;
                needs.use_at(facts.diff_id, used);
            }
            let bytes = layer.facts.map_or(0, |facts| facts.size);
            items.push(Item {
                kind: Kind::Layer(layer.key),
                bytes,
                used,
                needed,
                in_use: held(&key, last),
                unfinished: false,
            });
        }
        let (came_as, layer_blobs) = layer_blobs(store)?;
        for (digest, bytes, changed) in store.blobs().list()? {
            let came = millis(changed);
            let diff_id = came_as.get(&digest);
            let needed = needs.named.contains(&digest)
                || diff_id.is_some_and(|d| made_of.get(d).copied().unwrap_or(false));
            let used = came.max(needs.last_use(&digest)).max(diff_id.map_or(i64::MIN, |d| needs.last_use(d)));
            let in_use = held(&digest, came);
            let known = needed || of_images.contains(&digest) || layer_blobs.contains(&digest);
            let unfinished = !known && !is_of_some(store, &images, &digest, bytes);
            items.push(Item { kind: Kind::Blob(digest), bytes, used, needed, in_use, unfinished });
        }
        Ok(Self { items, unnamed, of_images })
    }
}

/// The images, once for each of their names; and what names stand for that outlived what was known of their images.
fn rows(store: &Store) -> Result<Vec<Row>> {
    store.facts().read("list images", |c| {
        let mut query = c.prepare(
            "SELECT i.id, i.manifest, i.used, n.name IS NOT NULL, n.manifest, n.list
             FROM images i LEFT JOIN names n ON n.image = i.id
             UNION ALL SELECT image, NULL, set_at, 1, manifest, list FROM names
             WHERE image NOT IN (SELECT id FROM images)",
        )?;
        let rows = query.query_map([], |r| {
            let manifests = [digest_or_none(r, 1)?, digest_or_none(r, 4)?, digest_or_none(r, 5)?];
            Ok(Row {
                id: digest(r, 0)?,
                manifests: manifests.into_iter().flatten().collect(),
                used: r.get(2)?,
                named: r.get(3)?,
            })
        })?;
        rows.collect()
    })
}

/// The images that are in one index with this one.
fn members(store: &Store, row: &Row) -> Vec<Digest> {
    let indexes = row.manifests.iter().filter_map(|digest| store.images().members(digest).ok());
    indexes.flat_map(|members| members.here.into_iter().map(|member| member.target.id)).collect()
}

/// Everything that an image is made of: config, manifests and indexes, blobs of layers, diff IDs, chain IDs; and of
/// an index the same of all its images. What cannot be read is passed over: an image that is damaged keeps nothing
/// else alive.
fn content(store: &Store, row: &Row) -> Vec<Digest> {
    let mut out = Vec::new();
    image_content(store, &row.id, &row.manifests, &mut out);
    for digest in &row.manifests {
        let Ok(members) = store.images().members(digest) else { continue };
        for member in members.here.into_iter().map(|member| member.target).filter(|m| m.id != row.id) {
            image_content(store, &member.id, member.manifest.as_slice(), &mut out);
        }
    }
    out
}

fn image_content(store: &Store, id: &Digest, manifests: &[Digest], out: &mut Vec<Digest>) {
    out.push(*id);
    out.extend(manifests);
    if let Ok(known) = store.images().known_blobs(id) {
        out.extend(known.into_iter().flatten().map(|d| d.digest));
    }
    if let Ok(bytes) = store.blobs().read_small(id, MAX_CONFIG)
        && let Ok(image) = Image::from_parts(&bytes, None)
    {
        let diff_ids = image.diff_ids();
        out.extend((1..=diff_ids.len()).map(|n| chain_id(diff_ids.get(..n).unwrap_or_default())));
        out.extend(diff_ids);
    }
    for digest in manifests {
        if let Ok(bytes) = store.blobs().read_small(digest, MAX_MANIFEST)
            && let Ok(manifest) = Manifest::parse(&bytes, "")
        {
            out.extend(manifest.layers.iter().map(|l| l.digest));
        }
    }
}

fn step_uses(store: &Store, needs: &mut Needs) -> Result<()> {
    let rows = store.facts().read("list steps", |c| {
        let mut query = c.prepare("SELECT parent, layer, used FROM steps WHERE layer IS NOT NULL")?;
        let rows = query.query_map([], |r| Ok((digest(r, 0)?, digest(r, 1)?, r.get::<_, i64>(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    for (parent, layer, used) in rows {
        needs.use_at(layer, used);
        needs.use_at(StepRecord::chain_over(&parent, &layer), used);
    }
    Ok(())
}

/// The diff IDs of blobs that came from elsewhere, and all blobs that are known to be layers.
fn layer_blobs(store: &Store) -> Result<(HashMap<Digest, Digest>, HashSet<Digest>)> {
    store.facts().read("list blobs of layers", |c| {
        let mut query = c.prepare("SELECT blob, diff_id, recipe = 'came' FROM layer_blobs")?;
        let rows = query.query_map([], |r| Ok((digest(r, 0)?, digest(r, 1)?, r.get::<_, bool>(2)?)))?;
        let (mut came, mut all) = (HashMap::new(), HashSet::new());
        for row in rows {
            let (blob, diff_id, came_from_elsewhere) = row?;
            all.insert(blob);
            if came_from_elsewhere {
                came.insert(blob, diff_id);
            }
        }
        Ok((came, all))
    })
}

/// Whether a blob that no image names says itself which of `images` it is of: a manifest that one was written with
/// on its way out, or an index that somebody may ask for by its digest.
fn is_of_some(store: &Store, images: &HashSet<Digest>, digest: &Digest, bytes: u64) -> bool {
    if bytes > MAX_MANIFEST {
        return false;
    }
    let Ok(content) = store.blobs().read_small(digest, MAX_MANIFEST) else { return false };
    if let Ok(manifest) = Manifest::parse(&content, "") {
        return images.contains(&manifest.config.digest);
    }
    store.images().members(digest).is_ok_and(|members| !members.here.is_empty())
}
