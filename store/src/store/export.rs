//! Layers out: the blob of a layer in the compression that somebody wants, and the manifest over them.

use std::io::{self, Read};

use rusqlite::OptionalExtension;

use super::Store;
use crate::blob::GrowingBlob;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::{Digest, Digester, VerifyError};
use crate::error::{Error, Result};
use crate::facts::{digest, now};
use crate::image::{Image, Manifest, ManifestKind};
use crate::layer::compress::{Compression, compress, decompress};
use crate::snapshot::LayerOs;

/// In which form an image leaves the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Family of media types; none keeps that of the manifest that the image came with.
    pub kind: Option<ManifestKind>,
    /// Compression of layers that have no blob yet.
    pub compression: Compression,
    /// Whether blobs of another compression are made anew, too.
    pub force: bool,
    /// Whether layers that are only known by their blob, and are not here, may be in the manifest: a registry may
    /// have them already.
    pub absent: bool,
    /// Whether layers that registries do not keep have to be here as well, to leave with the rest. Else they are
    /// only named, with their URLs.
    pub foreign: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { kind: None, compression: Compression::GZIP, force: false, absent: false, foreign: false }
    }
}

/// What is to be done before an image can leave the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// Nothing: it goes with the manifest that it came with.
    AsItCame(Box<Manifest>),
    /// For each layer, bottom first, the blob that it goes as; none where that has to be made
    /// ([`Store::layer_blob`]).
    Layers(Vec<Option<Descriptor>>),
}

/// A blob of a layer that passed through the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBlob {
    /// The blob; it may be gone.
    pub descriptor: Descriptor,
    /// How it was made: `came` from elsewhere, or the recipe of a compression.
    pub recipe: String,
}

impl Store {
    /// The manifest that `image` leaves the store with; every blob it names is in [`Store::blobs`], apart from
    /// those that [`ExportOptions::absent`] allows. The manifest that the image came with, byte for byte, when the
    /// options leave nothing to change.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a layer that is not here in any form.
    pub fn export(&self, image: &Image, options: &ExportOptions) -> Result<Manifest> {
        let layers = match self.plan_export(image, options)? {
            Export::AsItCame(manifest) => return Ok(*manifest),
            Export::Layers(layers) => layers,
        };
        let diff_ids = image.diff_ids();
        let made =
            layers.into_iter().zip(&diff_ids).enumerate().map(|(index, (layer, diff_id))| match layer {
                Some(blob) => Ok(blob),
                None => {
                    self.layer_blob(diff_ids.get(..index).unwrap_or_default(), diff_id, options.compression)
                }
            });
        let made = made.collect::<Result<Vec<_>>>()?;
        self.export_over(image, options, &made)
    }

    /// What is to be done before `image` can leave the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan_export(&self, image: &Image, options: &ExportOptions) -> Result<Export> {
        let elsewhere = |blob: &Descriptor| blob.is_foreign() && !options.foreign;
        let present =
            |blob: &Descriptor| options.absent || elsewhere(blob) || self.blobs.contains(&blob.digest);
        // A layer that registries do not keep is what its URLs give, and nothing that we could make.
        let fits = |blob: &Descriptor| {
            !options.force || blob.is_foreign() || is_of(&blob.media_type, options.compression)
        };
        let hold: Vec<Digest> =
            image.layers().iter().filter_map(|l| l.blob.as_ref()).map(|b| b.digest).collect();
        self.session.hold(&hold)?;
        if let Some(manifest) = image.manifest()
            && options.kind.is_none_or(|kind| kind == manifest.kind())
            && manifest.layers.iter().all(|l| present(l) && fits(l))
        {
            self.blobs.put_bytes(&manifest.config.media_type, &image.config_bytes())?;
            self.blobs.put_bytes(&manifest.media_type, manifest.bytes())?;
            return Ok(Export::AsItCame(Box::new(manifest.clone())));
        }
        let diff_ids = image.diff_ids();
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (index, layer) in image.layers().iter().enumerate() {
            let below = diff_ids.get(..index).unwrap_or_default();
            layers.push(match &layer.blob {
                Some(blob) if elsewhere(blob) => Some(blob.clone()),
                Some(blob) if fits(blob) && self.blobs.contains(&blob.digest) => Some(blob.clone()),
                Some(blob)
                    if fits(blob)
                        && options.absent
                        && !self.layers.for_os(image.layer_os()).contains(below, &layer.diff_id) =>
                {
                    Some(blob.clone())
                }
                _ => self.usable_blob(&layer.diff_id, options.compression)?,
            });
        }
        Ok(Export::Layers(layers))
    }

    /// The manifest of `image` over blobs of its layers, bottom first. It and the config are in the store then.
    ///
    /// # Errors
    /// When they are not as many as the image has layers, or cannot be written.
    pub fn export_over(
        &self,
        image: &Image,
        options: &ExportOptions,
        layers: &[Descriptor],
    ) -> Result<Manifest> {
        let kind = options.kind.or(image.manifest().map(Manifest::kind)).unwrap_or_default();
        let manifest = image.make_manifest(kind, layers)?;
        self.blobs.put_bytes(&manifest.config.media_type, &image.config_bytes())?;
        self.blobs.put_bytes(&manifest.media_type, manifest.bytes())?;
        Ok(manifest)
    }

    /// The blob of the layer `diff_id` over `below` in the given compression: one that is here, else made from
    /// the layer's own bytes or from another blob of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the layer is not here in any form.
    pub fn layer_blob(
        &self,
        below: &[Digest],
        diff_id: &Digest,
        compression: Compression,
    ) -> Result<Descriptor> {
        self.layer_blob_along(below, diff_id, compression, drop)
    }

    /// The same; where it has to be made, `along` is given the blob as its first byte is about to be written, or as
    /// far as another thread has come with it. It is not to wait for the blob's end.
    ///
    /// # Errors
    /// As [`Store::layer_blob`], and when the blob is [abandoned](GrowingBlob::abandon).
    pub fn layer_blob_along(
        &self,
        below: &[Digest],
        diff_id: &Digest,
        compression: Compression,
        along: impl FnOnce(GrowingBlob),
    ) -> Result<Descriptor> {
        if let Some(found) = self.usable_blob(diff_id, compression)? {
            return Ok(found);
        }
        let recipe = compression.recipe();
        if let Some(growing) = self.packing.find(diff_id, &recipe) {
            along(growing.clone());
            // What its maker came to grief with is found out by whoever tries again.
            return growing.whole().or_else(|_| self.layer_blob(below, diff_id, compression));
        }
        let _lock = self.work.lock(&format!("compress-{}-{recipe}", diff_id.hex()))?;
        if let Some(found) = self.usable_blob(diff_id, compression)? {
            return Ok(found);
        }
        let what = format!("layer {diff_id}");
        let tar = self.layer_tar(below, diff_id)?;
        let values = [("layer", (*diff_id).into()), ("as", recipe.as_str().into())];
        let mut span = self.trace().span("compress", &values);
        let mut writer = self.blobs.writer()?;
        let growing = writer.growing()?;
        let _found_by_others = self.packing.note(diff_id, &recipe, &growing);
        along(growing);
        compress(tar, compression, &mut writer).map_err(Error::stream(what))?;
        let blob = writer.finish(media_type_of(compression), None)?;
        span.add("bytes", blob.size);
        self.note_layer_blob(&blob, diff_id, &recipe)?;
        Ok(blob)
    }

    /// A blob of the layer in the given compression that is here.
    fn usable_blob(&self, diff_id: &Digest, compression: Compression) -> Result<Option<Descriptor>> {
        let known = self.layer_blobs(diff_id)?;
        let hold: Vec<Digest> = known.iter().map(|k| k.descriptor.digest).chain([*diff_id]).collect();
        self.session.hold(&hold)?;
        let recipe = compression.recipe();
        let usable = |k: &KnownBlob| {
            is_of(&k.descriptor.media_type, compression)
                && (k.recipe == "came" || k.recipe == recipe)
                && self.blobs.contains(&k.descriptor.digest)
        };
        Ok(known.into_iter().find(usable).map(|known| known.descriptor))
    }

    /// What the blob of the layer in the given compression was when it was made the last time. It may be gone, and
    /// a registry may have it still.
    ///
    /// # Errors
    /// When the database says no.
    pub fn made_before(&self, diff_id: &Digest, compression: Compression) -> Result<Option<Descriptor>> {
        let recipe = compression.recipe();
        let known = self.layer_blobs(diff_id)?.into_iter().find(|known| known.recipe == recipe);
        Ok(known.map(|known| known.descriptor))
    }

    /// The uncompressed tar of the layer `diff_id` over `below`, from the layer or from a blob of it. End of file
    /// is only reported once the digest was found right.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the layer is not here in any form.
    pub fn layer_tar(&self, below: &[Digest], diff_id: &Digest) -> Result<Box<dyn Read + Send>> {
        // The bytes are the same whichever system's layer they are taken for.
        for os in [LayerOs::Linux, LayerOs::Windows] {
            if let Ok(tar) = self.layers.for_os(os).tar(below, diff_id) {
                return Ok(tar);
            }
        }
        for known in self.layer_blobs(diff_id)? {
            if self.blobs.contains(&known.descriptor.digest) {
                let what = format!("blob {}", known.descriptor.digest);
                let tar = decompress(self.blobs.open_verified(&known.descriptor.digest)?)
                    .map_err(Error::stream(what))?;
                return Ok(Box::new(DiffReader { tar, diff_id: *diff_id, digester: Some(Digester::new()) }));
            }
        }
        Err(Error::NotFound { what: "layer", name: diff_id.to_string() })
    }

    /// Blobs of the layer `diff_id` that passed through the store; those that came from elsewhere first.
    ///
    /// # Errors
    /// When the database says no.
    pub fn layer_blobs(&self, diff_id: &Digest) -> Result<Vec<KnownBlob>> {
        self.facts.read("look up blobs of the layer", |c| {
            let mut query = c.prepare_cached(
                "SELECT blob, media_type, size, recipe FROM layer_blobs WHERE diff_id = ? ORDER BY recipe <> 'came', blob",
            )?;
            let rows = query.query_map([diff_id.to_string()], |r| {
                let size = u64::try_from(r.get::<_, i64>(2)?).unwrap_or(0);
                Ok(KnownBlob { descriptor: Descriptor::new(r.get::<_, String>(1)?, digest(r, 0)?, size), recipe: r.get(3)? })
            })?;
            rows.collect()
        })
    }

    /// The diff ID of the layer that `blob` is, if it ever passed through the store.
    ///
    /// # Errors
    /// When the database says no.
    pub fn diff_id_of(&self, blob: &Digest) -> Result<Option<Digest>> {
        self.facts.read("look up the layer of the blob", |c| {
            c.query_row("SELECT diff_id FROM layer_blobs WHERE blob = ?", [blob.to_string()], |r| {
                digest(r, 0)
            })
            .optional()
        })
    }

    pub(super) fn note_layer_blob(&self, blob: &Descriptor, diff_id: &Digest, recipe: &str) -> Result<()> {
        self.facts.write("remember the blob of the layer", |tx| {
            tx.execute(
                "INSERT INTO layer_blobs(blob, diff_id, media_type, size, recipe) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT(blob) DO UPDATE SET diff_id = excluded.diff_id, size = excluded.size",
                (
                    blob.digest.to_string(),
                    diff_id.to_string(),
                    &blob.media_type,
                    i64::try_from(blob.size).unwrap_or(i64::MAX),
                    recipe,
                ),
            )
            .map(drop)
        })
    }

    /// Remembers that `repository` (`registry/path`) has `blob`, so that a push into another repository of that
    /// registry need not send it.
    ///
    /// # Errors
    /// When the database says no.
    pub fn note_source(&self, blob: &Digest, repository: &str) -> Result<()> {
        self.facts.write("remember where the blob is", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO sources(blob, repository, seen) VALUES (?, ?, ?)",
                (blob.to_string(), repository, now()),
            )
            .map(drop)
        })
    }

    /// Repositories that had `blob`, the last one seen first.
    ///
    /// # Errors
    /// When the database says no.
    pub fn sources(&self, blob: &Digest) -> Result<Vec<String>> {
        self.facts.read("look up where the blob is", |c| {
            let mut query = c.prepare_cached(
                "SELECT repository FROM sources WHERE blob = ? ORDER BY seen DESC LIMIT 16",
            )?;
            let rows = query.query_map([blob.to_string()], |r| r.get(0))?;
            rows.collect()
        })
    }
}

fn media_type_of(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip(_) => media_type::OCI_LAYER_GZIP,
        Compression::Zstd(_) => media_type::OCI_LAYER_ZSTD,
    }
}

/// Whether a blob of type `media_type` is compressed in this way, whatever its level.
fn is_of(media_type: &str, compression: Compression) -> bool {
    match compression {
        Compression::None => matches!(media_type, media_type::OCI_LAYER | media_type::DOCKER_LAYER),
        Compression::Gzip(_) => {
            matches!(media_type, media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP)
        }
        Compression::Zstd(_) => media_type == media_type::OCI_LAYER_ZSTD,
    }
}

/// Passes a tar through, and fails at its end when it is not that of the diff ID.
struct DiffReader<R> {
    tar: R,
    diff_id: Digest,
    digester: Option<Digester>,
}

impl<R: Read> Read for DiffReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(digester) = &mut self.digester else { return Ok(0) };
        let n = self.tar.read(buf)?;
        if n > 0 || buf.is_empty() {
            digester.update(&buf[..n]);
            return Ok(n);
        }
        let found = digester.clone().finish();
        if found != self.diff_id {
            let why = VerifyError::WrongDigest { expected: self.diff_id, found };
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.digester = None;
        Ok(0)
    }
}
