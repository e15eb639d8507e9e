//! How an image is written: compression and annotations, in the store's words.

use orlop_store::layout::SaveOptions;
use orlop_store::{Compression as Codec, ExportOptions, Image, Manifest, ManifestKind, Platform};

use super::{Compression, Packing};
use crate::error::BuildError;
use crate::request::Engine;
use crate::transfer::Several;

impl Packing {
    fn codec(&self) -> Codec {
        match self.compression {
            Some(Compression::Uncompressed) => Codec::None,
            None | Some(Compression::Gzip(None)) => Codec::GZIP,
            Some(Compression::Gzip(Some(level))) => Codec::Gzip(level),
            Some(Compression::Zstd(None)) => Codec::ZSTD,
            Some(Compression::Zstd(Some(level))) => Codec::Zstd(level),
        }
    }

    /// For [`orlop_store::Store::export`].
    pub fn export(&self, absent: bool) -> ExportOptions {
        // Docker's own media types know no zstd.
        let kind = matches!(self.compression, Some(Compression::Zstd(_))).then_some(ManifestKind::Oci);
        ExportOptions { kind, compression: self.codec(), force: self.force, absent, foreign: self.foreign }
    }

    /// For [`orlop_store::Store::save`].
    pub(super) fn save(&self) -> SaveOptions {
        SaveOptions { compression: self.codec(), force: self.force }
    }
}

/// The image with a manifest that carries the annotations; the image itself where there are none.
pub(super) fn annotated(
    engine: &Engine<'_>,
    image: &Image,
    packing: &Packing,
    absent: bool,
) -> Result<Image, BuildError> {
    if packing.annotations.is_empty() {
        return Ok(image.clone());
    }
    let options = ExportOptions { kind: Some(ManifestKind::Oci), ..packing.export(absent) };
    let manifest = engine.store.export(image, &options)?;
    let mut document: serde_json::Value = serde_json::from_slice(manifest.bytes())
        .map_err(|error| BuildError::internal("a manifest of ours is no JSON").because(error))?;
    for (name, value) in &packing.annotations {
        document["annotations"][name] = value.as_str().into();
    }
    let manifest = Manifest::parse(document.to_string().as_bytes(), &manifest.media_type)?;
    Ok(Image::from_parts(&image.config_bytes(), Some(manifest))?)
}

/// The same of several images.
pub(super) fn annotated_all(
    engine: &Engine<'_>,
    several: &Several,
    packing: &Packing,
    absent: bool,
) -> Result<Several, BuildError> {
    let annotate = |(platform, image): &(Platform, Image)| {
        Ok((platform.clone(), annotated(engine, image, packing, absent)?))
    };
    let images = several.images.iter().map(annotate).collect::<Result<_, BuildError>>()?;
    Ok(Several { images, index: several.index.clone() })
}
