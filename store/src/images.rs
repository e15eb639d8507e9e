//! The images of a store and their names.
//!
//! An image is here when its config is here: its manifest and its layers may still be where it came from, and
//! are fetched when something needs them.

mod members;

use std::collections::{BTreeMap, HashSet};

pub use members::{Member, Members};
use rusqlite::{OptionalExtension, Transaction};

use crate::blob::Blobs;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::facts::{Facts, digest, digest_or_none, now};
use crate::image::{Image, Index, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::layer::Layers;
use crate::platform::Platform;
use crate::reference::{Reference, image_id_prefix};

/// How often a use is written down, in milliseconds.
const USE_GRAIN: i64 = 60_000;

/// What the store knows of an image without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Digest of the config.
    pub id: Digest,
    /// Digest of the manifest that it came with or was last written with.
    pub manifest: Option<Digest>,
    /// What it is for.
    pub platform: String,
    /// When it came here, in milliseconds since 1970.
    pub added: i64,
    /// Its names, sorted; those of an index that it is in among them.
    pub names: Vec<Reference>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Digest of the config.
    pub id: Digest,
    /// Digest of the manifest under this name.
    pub manifest: Option<Digest>,
    /// Digest of the index that the name stood for where it was fetched from, or of one that was built here
    /// ([`Images::members`]). The image is then one of several.
    pub index: Option<Digest>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<Reference>,
    /// Images that are gone altogether; their content goes with the next collection.
    pub deleted: Vec<Digest>,
}

/// The images of a store.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) blobs: &'a Blobs,
    pub(crate) layers: &'a Layers,
}

impl Images<'_> {
    /// Keeps an image: its config, and its manifest if it has one. Its layers are kept by
    /// [`Store::import_layer`](crate::Store::import_layer) or a snapshot's commit.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, image: &Image) -> Result<Digest> {
        let row = self.put_content(image)?;
        self.facts.write("keep the image", |tx| row.insert(tx))?;
        Ok(row.id)
    }

    /// The same under a name, which stands for the image from the moment that it is one of the store's: whoever is
    /// killed on the way leaves the name where it was, and no image without one. `index` is what the image is in.
    ///
    /// # Errors
    /// As [`Images::put`], [`Images::put_index`] and [`Images::tag`].
    pub fn put_named(&self, image: &Image, name: &Reference, index: Option<&Index>) -> Result<Named> {
        let manifest = image.manifest().map(Manifest::digest);
        let digest = index.map(|index| index.descriptor().digest);
        fits(name, &Named { id: image.id(), manifest, index: digest })?;
        let index = index.map(|index| self.put_index(index)).transpose()?;
        let row = self.put_content(image)?;
        let target = Named { id: row.id, manifest: row.manifest, index };
        self.facts.write("keep the image", |tx| {
            row.insert(tx)?;
            set_name(tx, name, &target)
        })?;
        Ok(target)
    }

    /// Writes what an image is made of, apart from its layers; what is said of it is for the caller to write.
    fn put_content(&self, image: &Image) -> Result<Row> {
        self.layers.settle()?;
        let kind = image.manifest().map(Manifest::kind).unwrap_or_default();
        let config =
            self.blobs.put_bytes(&image.config_descriptor(kind).media_type, &image.config_bytes())?;
        let manifest = match image.manifest() {
            Some(manifest) => Some(self.blobs.put_bytes(&manifest.media_type, manifest.bytes())?.digest),
            None => None,
        };
        let blobs: Vec<&Option<Descriptor>> = image.layers().iter().map(|l| &l.blob).collect();
        // Strings and numbers alone: cannot fail.
        let layers = serde_json::to_string(&blobs).unwrap_or_default();
        Ok(Row { id: config.digest, manifest, platform: image.platform().to_string(), layers })
    }

    /// Keeps an index, so that it can be pushed again as it came.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_index(&self, index: &Index) -> Result<Digest> {
        Ok(self.blobs.put_bytes(&index.media_type, index.bytes())?.digest)
    }

    /// Makes `name` stand for `target`. What it stood for before stays, perhaps without a name.
    ///
    /// # Errors
    /// When the name has a digest other than that of the target's manifest or index, or the database says no.
    pub fn tag(&self, name: &Reference, target: &Named) -> Result<()> {
        fits(name, target)?;
        self.layers.settle()?;
        self.facts.write("set the name", |tx| set_name(tx, name, target))
    }

    /// What `name` stands for; none when nothing.
    ///
    /// # Errors
    /// When the database says no.
    pub fn named(&self, name: &Reference) -> Result<Option<Named>> {
        let exact = self.facts.read("look up the name", |c| {
            c.query_row("SELECT image, manifest, list FROM names WHERE name = ?", [name.to_string()], |r| {
                target(r)
            })
            .optional()
        })?;
        if exact.is_some() {
            return Ok(exact);
        }
        // A name that pins a digest is also found under the tag that it was fetched by, and without one.
        let Some(pinned) = name.digest() else { return Ok(None) };
        let prefix = name.repository();
        let all = self.names()?;
        Ok(all
            .into_iter()
            .find(|(n, t)| {
                n.repository() == prefix
                    && (t.manifest.as_ref() == Some(pinned) || t.index.as_ref() == Some(pinned))
            })
            .map(|(_, target)| target))
    }

    fn names(&self) -> Result<Vec<(Reference, Named)>> {
        let rows = self.facts.read("list names", |c| {
            let mut query = c.prepare("SELECT image, manifest, list, name FROM names ORDER BY name")?;
            let rows = query.query_map([], |r| Ok((r.get::<_, String>(3)?, target(r)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter().map(|(name, target)| Ok((name.parse()?, target))).collect()
    }

    /// Finds an image by name, or by its ID or the start of it. The digest of an index stands for its image for this
    /// machine.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Ambiguous`] for a start that several IDs have.
    pub fn resolve(&self, text: &str) -> Result<Named> {
        let reference = text.parse::<Reference>();
        if let Ok(name) = &reference
            && let Some(found) = self.named(name)?
        {
            return Ok(found);
        }
        let missing = || Error::NotFound { what: "image", name: text.to_owned() };
        let Some(prefix) = image_id_prefix(text) else {
            // What is neither is told as a bad name.
            reference?;
            return Err(missing());
        };
        let found = self.facts.read("look up the image", |c| {
            let mut query =
                c.prepare("SELECT id, manifest FROM images WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 5")?;
            let rows = query.query_map([format!("sha256:{prefix}")], |r| {
                Ok(Named { id: digest(r, 0)?, manifest: digest_or_none(r, 1)?, index: None })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut found = found;
        for index in self.indexes_with(prefix)? {
            found.extend(self.named_by_index(&index)?);
        }
        match found.as_slice() {
            [] => Err(missing()),
            [one] => Ok(one.clone()),
            several => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                candidates: several.iter().map(|n| n.index.unwrap_or(n.id)).collect(),
            }),
        }
    }

    /// The indexes of names whose digest begins so, and one without a name by its whole digest.
    fn indexes_with(&self, prefix: &str) -> Result<HashSet<Digest>> {
        let mut out: HashSet<Digest> = self.names()?.into_iter().filter_map(|(_, t)| t.index).collect();
        if let Ok(whole) = format!("sha256:{prefix}").parse::<Digest>()
            && self.blobs.contains(&whole)
            && self.index(&whole).is_ok()
        {
            out.insert(whole);
        }
        out.retain(|index| index.hex().starts_with(prefix));
        Ok(out)
    }

    /// Reads an image: config, manifest, and what is known of its layers' blobs.
    ///
    /// # Errors
    /// When its config or its manifest is not in the store or damaged.
    pub fn load(&self, target: &Named) -> Result<Image> {
        let hold: Vec<Digest> =
            [Some(target.id), target.manifest, target.index].into_iter().flatten().collect();
        self.blobs.hold(&hold)?;
        let config = self.blobs.read_small(&target.id, MAX_CONFIG)?;
        let manifest = match &target.manifest {
            Some(digest) => Some(Manifest::parse(&self.blobs.read_small(digest, MAX_MANIFEST)?, "")?),
            None => None,
        };
        let mut image = Image::from_parts(&config, manifest)?;
        if image.manifest().is_none() {
            for (index, blob) in self.known_blobs(&target.id)?.into_iter().enumerate() {
                if let Some(blob) = blob {
                    image = image.with_blob(index, blob);
                }
            }
        }
        self.blobs.hold(&image.diff_ids())?;
        self.facts.write("note the use", |tx| {
            tx.execute(
                "UPDATE images SET used = ?2 WHERE id = ?1 AND used < ?2 - ?3",
                (target.id.to_string(), now(), USE_GRAIN),
            )
            .map(drop)
        })?;
        Ok(image)
    }

    /// The blobs that an image without a manifest was put with: those of the image that it was built on.
    pub(crate) fn known_blobs(&self, id: &Digest) -> Result<Vec<Option<Descriptor>>> {
        let text = self.facts.read("look up layers", |c| {
            c.query_row("SELECT layers FROM images WHERE id = ?", [id.to_string()], |r| r.get::<_, String>(0))
                .optional()
        })?;
        Ok(text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default())
    }

    /// Finds and reads an image: [`Images::resolve`] and [`Images::load`] in one.
    ///
    /// # Errors
    /// As those two.
    pub fn get(&self, text: &str) -> Result<Image> {
        let named = self.resolve(text).map_err(|e| match e {
            // The hint of a name that is not found is the one that helps.
            Error::Reference(inner) if image_id_prefix(text).is_none() => Error::Reference(inner),
            other => other,
        })?;
        self.load(&named)
    }

    /// The index that was kept under `digest`.
    ///
    /// # Errors
    /// When it is not in the store.
    pub fn index(&self, digest: &Digest) -> Result<Index> {
        Index::parse(&self.blobs.read_small(digest, MAX_MANIFEST)?, "")
    }

    /// Every image, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub fn list(&self) -> Result<Vec<ImageRecord>> {
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for (name, target) in self.names()? {
            for id in self.reached(&target) {
                names.entry(id).or_default().push(name.clone());
            }
        }
        let mut images = self.facts.read("list images", |c| {
            let mut query =
                c.prepare("SELECT id, manifest, platform, added FROM images ORDER BY added DESC, id")?;
            let rows = query.query_map([], |r| {
                Ok(ImageRecord {
                    id: digest(r, 0)?,
                    manifest: digest_or_none(r, 1)?,
                    platform: r.get(2)?,
                    added: r.get(3)?,
                    names: Vec::new(),
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for image in &mut images {
            image.names = names.remove(&image.id).unwrap_or_default();
        }
        Ok(images)
    }

    /// Takes a name away; the image goes with its last name, and so do those that are in one index with it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such name.
    pub fn untag(&self, name: &Reference) -> Result<Removed> {
        self.untag_all(std::slice::from_ref(name), &[])?
            .ok_or_else(|| Error::NotFound { what: "image", name: name.familiar() })
    }

    /// Takes names away, and every image that no other name reaches; `also` are some more images. None
    /// where nothing was there.
    fn untag_all(&self, names: &[Reference], also: &[Digest]) -> Result<Option<Removed>> {
        self.facts.write("remove the name", |tx| {
            let mut removed = Removed::default();
            let mut reached: Vec<Digest> = also.to_vec();
            for name in names {
                let target = tx
                    .query_row(
                        "DELETE FROM names WHERE name = ? RETURNING image, manifest, list",
                        [name.to_string()],
                        target,
                    )
                    .optional()?;
                let Some(target) = target else { continue };
                removed.untagged.push(name.clone());
                reached.extend(self.reached(&target));
            }
            let mut left = HashSet::new();
            let mut query = tx.prepare("SELECT image, manifest, list FROM names")?;
            for target in query.query_map([], target)? {
                left.extend(self.reached(&target?));
            }
            for id in reached {
                if !left.contains(&id) && forget(tx, &id)? {
                    removed.deleted.push(id);
                }
            }
            Ok((!removed.untagged.is_empty() || !also.is_empty()).then_some(removed))
        })
    }

    /// Removes what `text` says: a name is taken away, and the image with its last name; an ID removes the
    /// image and its one name, or with `force` all its names.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::SeveralNames`] for an ID with several names, not forced.
    pub fn remove(&self, text: &str, force: bool) -> Result<Removed> {
        if let Ok(name) = text.parse::<Reference>()
            && self.named_exactly(&name)?
        {
            return self.untag(&name);
        }
        let found = self.resolve(text)?;
        // The digest of an index means all of it.
        let whole =
            found.index.filter(|index| image_id_prefix(text).is_some_and(|p| index.hex().starts_with(p)));
        let meant = |target: &Named| match whole {
            Some(index) => target.index == Some(index),
            None => self.reached(target).contains(&found.id),
        };
        let names: Vec<Reference> =
            self.names()?.into_iter().filter(|(_, t)| meant(t)).map(|(name, _)| name).collect();
        if names.len() > 1 && !force {
            let names = names.iter().map(Reference::familiar).collect();
            return Err(Error::SeveralNames { id: text.to_owned(), names });
        }
        let also = if whole.is_some() { self.reached(&found) } else { vec![found.id] };
        Ok(self.untag_all(&names, &also)?.unwrap_or_default())
    }

    fn named_exactly(&self, name: &Reference) -> Result<bool> {
        self.facts
            .read("look up the name", |c| {
                c.query_row("SELECT count(*) FROM names WHERE name = ?", [name.to_string()], |r| {
                    r.get::<_, i64>(0)
                })
            })
            .map(|n| n > 0)
    }
}

/// What the store says of an image.
struct Row {
    id: Digest,
    manifest: Option<Digest>,
    platform: String,
    layers: String,
}

impl Row {
    fn insert(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let (id, manifest) = (self.id.to_string(), self.manifest.map(|digest| digest.to_string()));
        tx.execute(
            "INSERT INTO images(id, manifest, platform, layers, added, used) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
             ON CONFLICT(id) DO UPDATE SET used = ?5, manifest = coalesce(excluded.manifest, manifest),
             layers = CASE WHEN excluded.manifest IS NULL THEN layers ELSE excluded.layers END",
            (id, manifest, &self.platform, &self.layers, now()),
        )
        .map(drop)
    }
}

/// A name with a digest stands for what has that digest.
fn fits(name: &Reference, target: &Named) -> Result<()> {
    match name.digest() {
        Some(pinned) if target.manifest.as_ref() != Some(pinned) && target.index.as_ref() != Some(pinned) => {
            Err(Error::invalid(
                format!("name `{}`", name.familiar()),
                "its digest is not that of the image; leave it out",
            ))
        }
        _ => Ok(()),
    }
}

fn set_name(tx: &Transaction<'_>, name: &Reference, target: &Named) -> rusqlite::Result<()> {
    let text = |d: Option<Digest>| d.map(|d| d.to_string());
    tx.execute(
        "INSERT OR REPLACE INTO names(name, image, manifest, list, set_at) VALUES (?, ?, ?, ?, ?)",
        (name.to_string(), target.id.to_string(), text(target.manifest), text(target.index), now()),
    )
    .map(drop)
}

fn target(row: &rusqlite::Row<'_>) -> rusqlite::Result<Named> {
    Ok(Named { id: digest(row, 0)?, manifest: digest_or_none(row, 1)?, index: digest_or_none(row, 2)? })
}

/// Takes the image out; false where it was not there.
fn forget(tx: &Transaction<'_>, id: &Digest) -> rusqlite::Result<bool> {
    tx.execute("DELETE FROM images WHERE id = ?", [id.to_string()]).map(|n| n > 0)
}

/// The entry of an index for an image.
pub fn index_entry(manifest: &Manifest, platform: &Platform) -> Descriptor {
    Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() }
}

/// Whether a descriptor names an index rather than a manifest.
pub fn names_index(descriptor: &Descriptor) -> bool {
    media_type::is_index(&descriptor.media_type)
}

#[cfg(test)]
mod tests;
