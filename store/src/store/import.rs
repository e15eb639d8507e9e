//! Layers in: from a registry's or an archive's stream, or from a blob that is here.

use std::io::{self, Read};

use super::Store;
use super::ahead::read_ahead;
use crate::blob::BlobWriter;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::{Digest, Digester};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ImageLayer};
use crate::layer::compress::decompress;
use crate::layer::{LayerError, chain_id};
use crate::snapshot::LayerOs;

impl Store {
    /// Takes a layer of an image for `os` from a stream of its blob, in one pass: verified against `descriptor`, kept as a blob,
    /// inflated, unpacked over the chain `below` (bottom first), and verified against `diff_id`. What follows the
    /// archive in the stream is read and verified as well. Nothing is read when both forms are here already.
    ///
    /// Layers may be taken side by side and in any order. One that turns out to need something of those below it,
    /// which are not here yet, is kept as a blob alone: [`Store::ensure_layer`] unpacks it when they are.
    ///
    /// # Errors
    /// [`Error::Verify`] or a layer's error when the stream is not what it should be. Nothing half-made stays.
    pub fn import_layer(
        &self,
        os: LayerOs,
        descriptor: &Descriptor,
        diff_id: &Digest,
        below: &[Digest],
        reader: impl Read + Send,
    ) -> Result<ImageLayer> {
        self.hold_layer(below, diff_id, Some(&descriptor.digest))?;
        let done = |size| ImageLayer { diff_id: *diff_id, blob: Some(descriptor.clone()), size };
        // Whoever waits here finds the layer made.
        let _lock = self.work.lock(&format!("import-{}", diff_id.hex()))?;
        if self.blobs.contains(&descriptor.digest)
            && self.diff_id_of(&descriptor.digest)?.as_ref() == Some(diff_id)
            && let Some(facts) = self.layers.for_os(os).facts(below, diff_id)?
        {
            return Ok(done(Some(facts.size)));
        }
        let kept = Kept { reader, writer: self.blobs.writer()?, expected: Some(descriptor.clone()) };
        let what = format!("layer {}", descriptor.digest);
        let (unpacked, kept) = self.unpack(os, ("download", kept), diff_id, below, &what)?;
        let span = self.trace().span("verify", &[("blob", descriptor.digest.into())]);
        kept.writer.finish(&descriptor.media_type, Some(descriptor))?;
        drop(span);
        if unpacked.verified {
            self.note_layer_blob(descriptor, diff_id, "came")?;
        }
        Ok(done(Some(unpacked.size)))
    }

    /// Takes a layer from a stream of which only the diff ID is known (an archive of `docker save`). Its bytes are
    /// kept as a blob, whatever they are compressed with.
    ///
    /// # Errors
    /// As [`Store::import_layer`].
    pub fn import_unnamed_layer(
        &self,
        os: LayerOs,
        diff_id: &Digest,
        below: &[Digest],
        reader: impl Read + Send,
    ) -> Result<ImageLayer> {
        self.hold_layer(below, diff_id, None)?;
        let _lock = self.work.lock(&format!("import-{}", diff_id.hex()))?;
        if let Some(facts) = self.layers.for_os(os).facts(below, diff_id)? {
            return Ok(ImageLayer::new(*diff_id, Some(facts.size)));
        }
        let kept = Kept { reader, writer: self.blobs.writer()?, expected: None };
        let (Unpacked { size, verified }, kept) =
            self.unpack(os, ("read", kept), diff_id, below, &format!("layer {diff_id}"))?;
        if !verified {
            // Of an archive, the layers below come first.
            return Err(LayerError::NeedsBelow { diff_id: *diff_id }.into());
        }
        let mut descriptor = kept.writer.finish(media_type::OCI_LAYER, None)?;
        if descriptor.digest != *diff_id {
            descriptor.media_type = self.sniff(&descriptor)?.to_owned();
        }
        self.note_layer_blob(&descriptor, diff_id, "came")?;
        Ok(ImageLayer { diff_id: *diff_id, blob: Some(descriptor), size: Some(size) })
    }

    /// The media type of a layer's blob by its first bytes.
    fn sniff(&self, blob: &Descriptor) -> Result<&'static str> {
        let mut head = [0; 4];
        let file = self.blobs.file(&blob.digest)?;
        let n = file.take(4).read(&mut head).map_err(Error::io("read", self.blobs.path(&blob.digest)))?;
        Ok(match &head[..n] {
            [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => media_type::OCI_LAYER_ZSTD,
            _ => media_type::OCI_LAYER,
        })
    }

    /// Sees to it that a snapshot can be made of layer `index` of `image`, making it from its blob where only that is
    /// here, and those below it first where it needs them. False when a blob that is needed for that is not here:
    /// then it has to be fetched.
    ///
    /// # Errors
    /// When the blob is damaged or the layer cannot be made.
    pub fn ensure_layer(&self, image: &Image, index: usize) -> Result<bool> {
        let (diff_ids, os) = (image.diff_ids(), image.layer_os());
        let Some(layer) = image.layers().get(index) else {
            return Err(Error::invalid(
                format!("image {}", image.id().short()),
                format!("it has no layer {index}"),
            ));
        };
        let below = diff_ids.get(..index).unwrap_or_default();
        let from = layer.blob.as_ref().map(|d| d.digest);
        self.hold_layer(below, &layer.diff_id, from.as_ref())?;
        if self.has_layer(os, below, &layer.diff_id)? {
            return Ok(true);
        }
        let mut candidates: Vec<Descriptor> = layer.blob.iter().cloned().collect();
        candidates.extend(self.layer_blobs(&layer.diff_id)?.into_iter().map(|known| known.descriptor));
        let Some(blob) = candidates.into_iter().find(|d| self.blobs.contains(&d.digest)) else {
            return Ok(false);
        };
        if self.remake(os, &blob, &layer.diff_id, below)? {
            return Ok(true);
        }
        for lower in 0..index {
            if !self.ensure_layer(image, lower)? {
                return Ok(false);
            }
        }
        self.remake(os, &blob, &layer.diff_id, below)
    }

    /// The layers of `image`, by number, of which neither a form that a snapshot can be made of is here nor the blob
    /// that one can be made from. They are held from being collected from now on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn missing_layers(&self, image: &Image) -> Result<Vec<usize>> {
        let mut missing = self.layers_to_make(image)?;
        missing.retain(|index| {
            let blob = image.layers().get(*index).and_then(|layer| layer.blob.as_ref());
            !blob.is_some_and(|blob| self.blobs.contains(&blob.digest))
        });
        Ok(missing)
    }

    /// The layers of `image`, by number, that no snapshot can be made of as it is. What is known of the others was
    /// verified. They are held from being collected from now on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn layers_to_make(&self, image: &Image) -> Result<Vec<usize>> {
        let (diff_ids, os) = (image.diff_ids(), image.layer_os());
        let mut out = Vec::new();
        for (index, layer) in image.layers().iter().enumerate() {
            let below = diff_ids.get(..index).unwrap_or_default();
            self.hold_layer(below, &layer.diff_id, layer.blob.as_ref().map(|blob| &blob.digest))?;
            if !self.has_layer(os, below, &layer.diff_id)? {
                out.push(index);
            }
        }
        Ok(out)
    }

    /// Whether layer `index` of `image` is here without the bytes that it came with, and cannot leave the store again. So
    /// it is where the program was killed between the two.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn lacks_blob(&self, image: &Image, index: usize) -> Result<bool> {
        let diff_ids = image.diff_ids();
        let Some(layer) = image.layers().get(index) else { return Ok(false) };
        let Some(blob) = &layer.blob else { return Ok(false) };
        if self.blobs.contains(&blob.digest) {
            return Ok(false);
        }
        let others = self.layer_blobs(&layer.diff_id)?;
        if others.iter().any(|known| self.blobs.contains(&known.descriptor.digest)) {
            return Ok(false);
        }
        let below = diff_ids.get(..index).unwrap_or_default();
        Ok(self.layers.for_os(image.layer_os()).needs_blob(below, &layer.diff_id)?)
    }

    /// Makes a layer from its blob. False when it needs those below it, and they are not here.
    fn remake(&self, os: LayerOs, blob: &Descriptor, diff_id: &Digest, below: &[Digest]) -> Result<bool> {
        let _lock = self.work.lock(&format!("import-{}", diff_id.hex()))?;
        let reader = self.blobs.open_verified(&blob.digest)?;
        let (unpacked, _) =
            self.unpack(os, ("read", reader), diff_id, below, &format!("layer {}", blob.digest))?;
        if unpacked.verified {
            self.note_layer_blob(blob, diff_id, "came")?;
        }
        self.has_layer(os, below, diff_id)
    }

    /// Reads all of `reader`, ahead of what is made of it, and unpacks it unless the layer is here or needs others
    /// first. Gives `reader` back. `phase` is what the reading is called in a trace.
    fn unpack<R: Read + Send>(
        &self,
        os: LayerOs,
        (phase, reader): (&'static str, R),
        diff_id: &Digest,
        below: &[Digest],
        what: &str,
    ) -> Result<(Unpacked, R)> {
        let (result, (reader, error)) = read_ahead(self.trace(), (phase, *diff_id), reader, |ahead| {
            let result = self.unpack_stream(os, ahead, diff_id, below, what).and_then(|unpacked| {
                // Whatever comes after the last compressed byte belongs to the blob.
                io::copy(ahead, &mut io::sink()).map_err(Error::stream(what))?;
                Ok(unpacked)
            });
            if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Content) {
                // Bytes that cannot be unpacked are most often not the bytes that were asked for, and only the
                // digest of all of them tells. There are no more than the descriptor says.
                let _ = io::copy(ahead, &mut io::sink());
            }
            result
        });
        match (result, error) {
            (Ok(unpacked), _) => Ok((unpacked, reader)),
            // The error of the stream says more than what the archive's reader made of it.
            (Err(_), Some(error)) => Err(Error::stream(what)(error)),
            (Err(error), None) => Err(error),
        }
    }

    fn unpack_stream(
        &self,
        os: LayerOs,
        stream: &mut (impl Read + Send),
        diff_id: &Digest,
        below: &[Digest],
        what: &str,
    ) -> Result<Unpacked> {
        let mut span = self.trace().span("unpack", &[("layer", (*diff_id).into())]);
        let tar = decompress(stream).map_err(Error::stream(what))?;
        let mut tar = Counting { tar, count: 0 };
        match self.layers.for_os(os).import(below, diff_id, &mut tar) {
            Ok(facts) if tar.count > 0 => {
                span.add("bytes", facts.size);
                return Ok(Unpacked { size: facts.size, verified: true });
            }
            // The layer was here, and nothing was read.
            Ok(_) => {}
            Err(LayerError::NeedsBelow { .. }) => {
                io::copy(&mut tar, &mut io::sink()).map_err(Error::stream(what))?;
                return Ok(Unpacked { size: tar.count, verified: false });
            }
            Err(e) => return Err(e.into()),
        }
        drop(span);
        let _span = self.trace().span("verify", &[("layer", (*diff_id).into())]);
        let mut digester = Digester::new();
        io::copy(&mut tar, &mut digester).map_err(Error::stream(what))?;
        let size = digester.size();
        let found = digester.finish();
        if found != *diff_id {
            return Err(LayerError::WrongDiffId { expected: *diff_id, found }.into());
        }
        Ok(Unpacked { size, verified: true })
    }

    fn hold_layer(&self, below: &[Digest], diff_id: &Digest, blob: Option<&Digest>) -> Result<()> {
        let chain: Vec<Digest> = below.iter().copied().chain([*diff_id]).collect();
        let mut all = vec![*diff_id, chain_id(&chain)];
        all.extend(blob.copied());
        self.session.hold(&all)
    }
}

/// What was read.
struct Unpacked {
    /// Bytes of the tar.
    size: u64,
    /// Whether it was found to have the diff ID. One that waits for others is verified when they are here.
    verified: bool,
}

/// Counts what is read.
struct Counting<R> {
    tar: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.tar.read(buf)?;
        self.count = self.count.saturating_add(n as u64);
        Ok(n)
    }
}

/// Writes what is read to a blob, and verifies it there: hashed once.
struct Kept<R> {
    reader: R,
    writer: BlobWriter,
    /// What the content must be; none where that is only known by what it unpacks to.
    expected: Option<Descriptor>,
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.writer.append(&buffer[..count])?;
        let ends = count == 0 && !buffer.is_empty();
        if let Some(expected) = &self.expected {
            self.writer
                .verify(expected, ends)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
        Ok(count)
    }
}
