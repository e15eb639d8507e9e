//! An image as a value: its config, its layers and, where it came from a registry, its manifest as it came.
//!
//! ```
//! use orlop_store::image::{Image, History};
//! let empty = Image::scratch(&"linux/amd64".parse().unwrap());
//! let image = empty.with_config(|config| config.set_env("PATH", "/bin"));
//! assert_eq!(image.config().env(), [("PATH".to_owned(), "/bin".to_owned())]);
//! assert_ne!(image.id(), empty.id());
//! ```

mod config;
mod manifest;
pub mod validate;

use std::sync::Arc;

pub use config::{Config, Healthcheck, History};
pub use manifest::{Index, Manifest, ManifestKind};

use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::snapshot::{Committed, LayerOs};

/// The largest image config that is read, in bytes.
pub const MAX_CONFIG: u64 = 8 << 20;
/// The largest manifest or index that is read, in bytes.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The blob that a registry or an archive has of it, where there is one.
    pub blob: Option<Descriptor>,
    /// Bytes of the uncompressed tar, where known.
    pub size: Option<u64>,
}

impl ImageLayer {
    /// A layer of which no blob is known.
    pub fn new(diff_id: Digest, size: Option<u64>) -> Self {
        Self { diff_id, blob: None, size }
    }
}

/// An image. Never edited: what changes it makes a new one, with another [`Image::id`].
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    config: Config,
    /// The config's bytes as they came, while nothing was changed.
    raw: Option<Arc<[u8]>>,
    manifest: Option<Manifest>,
    layers: Vec<ImageLayer>,
}

impl Image {
    /// The image of no layers.
    pub fn scratch(platform: &Platform) -> Self {
        Self { config: Config::scratch(platform), raw: None, manifest: None, layers: Vec::new() }
    }

    /// Takes the image out of a place that gets another one next.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let nothing = Self { config: Config::nothing(), raw: None, manifest: None, layers: Vec::new() };
        std::mem::replace(self, nothing)
    }

    /// An image from the bytes of its config and, where it has one, its manifest.
    ///
    /// # Errors
    /// When either is malformed, too large, or they contradict each other.
    pub fn from_parts(config: &[u8], manifest: Option<Manifest>) -> Result<Self> {
        let digest = Digest::of(config);
        let what = format!("image config {digest}");
        if let Some(manifest) = &manifest
            && manifest.config.digest != digest
        {
            return Err(Error::invalid(what, format!("the manifest names {}", manifest.config.digest)));
        }
        let parsed = Config::parse(config)?;
        let diff_ids = parsed.diff_ids();
        if let Some(manifest) = &manifest
            && manifest.layers.len() != diff_ids.len()
        {
            let why = format!(
                "it has {} diff IDs, and its manifest has {} layers",
                diff_ids.len(),
                manifest.layers.len()
            );
            return Err(Error::invalid(what, why));
        }
        let blob = |i: usize| manifest.as_ref().and_then(|m| m.layers.get(i)).cloned();
        let layers = diff_ids
            .into_iter()
            .enumerate()
            .map(|(i, diff_id)| ImageLayer { diff_id, blob: blob(i), size: None })
            .collect();
        Ok(Self { config: parsed, raw: Some(config.into()), manifest, layers })
    }

    /// The image's ID: the digest of its config.
    pub fn id(&self) -> Digest {
        match &self.raw {
            Some(raw) => Digest::of(raw),
            None => Digest::of(&self.config.to_bytes()),
        }
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The config's bytes: as they came while nothing was changed, else with sorted keys.
    pub fn config_bytes(&self) -> Vec<u8> {
        match &self.raw {
            Some(raw) => raw.to_vec(),
            None => self.config.to_bytes(),
        }
    }

    /// The manifest as it came; none for an image that was changed or made here.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Layers, bottom first.
    pub fn layers(&self) -> &[ImageLayer] {
        &self.layers
    }

    /// Diff IDs, bottom first.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|l| l.diff_id).collect()
    }

    /// What the image is for.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// Which system's layers it has.
    pub fn layer_os(&self) -> LayerOs {
        LayerOs::of(&self.config.platform().os)
    }

    /// Its file system.
    pub fn committed(&self) -> Committed {
        Committed::new(self.diff_ids()).for_os(self.layer_os())
    }

    /// The image with one layer more. A `created` of `history` becomes the image's.
    #[must_use]
    pub fn append_layer(&self, layer: ImageLayer, history: History) -> Self {
        self.clone().into_changed(|image| {
            image.config.push_layer(&layer.diff_id, History { empty_layer: false, ..history });
            image.layers.push(layer);
        })
    }

    /// The image with one entry of history more that has no layer.
    #[must_use]
    pub fn append_history(self, history: History) -> Self {
        self.into_changed(|image| image.config.push_history(History { empty_layer: true, ..history }))
    }

    /// The image with a changed config. The same image, ID and manifest included, when `change` changes
    /// nothing.
    #[must_use]
    pub fn with_config(&self, change: impl FnOnce(&mut Config)) -> Self {
        self.clone().into_configured(change)
    }

    /// [`Image::with_config`] of an image that nobody else needs: nothing of it is copied.
    #[must_use]
    pub fn into_configured(self, change: impl FnOnce(&mut Config)) -> Self {
        if self.raw.is_none() && self.manifest.is_none() {
            return self.into_changed(|image| change(&mut image.config));
        }
        let mut config = self.config.clone();
        change(&mut config);
        if config == self.config {
            return self;
        }
        self.into_changed(|image| {
            config.mend_history();
            image.config = config;
        })
    }

    /// Another image. Once changed, an image's history fits its layers, and stays so.
    fn into_changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        if self.raw.take().is_some() {
            self.config.mend_history();
        }
        self.manifest = None;
        change(&mut self);
        self
    }

    /// The image with `blob` known as layer `index`'s blob; without a manifest, as that named another.
    #[must_use]
    pub fn with_blob(&self, index: usize, blob: Descriptor) -> Self {
        let mut out = self.clone();
        if let Some(layer) = out.layers.get_mut(index)
            && layer.blob.as_ref() != Some(&blob)
        {
            layer.blob = Some(blob);
            out.manifest = None;
        }
        out
    }

    /// The image without the manifest that it came with, to be written in another form.
    #[must_use]
    pub fn without_manifest(&self) -> Self {
        Self { manifest: None, ..self.clone() }
    }

    /// The descriptor of the config in a manifest of `kind`.
    pub fn config_descriptor(&self, kind: ManifestKind) -> Descriptor {
        let media_type = match kind {
            ManifestKind::Oci => media_type::OCI_CONFIG,
            ManifestKind::Docker => media_type::DOCKER_CONFIG,
        };
        Descriptor::of(media_type, &self.config_bytes())
    }

    /// A manifest of `kind` over `layers`, one blob for each layer, bottom first. Media types of layers are
    /// translated to those of `kind`.
    ///
    /// # Errors
    /// When the number of blobs is not that of layers, or Docker's manifests cannot say what a blob is (zstd).
    pub fn make_manifest(&self, kind: ManifestKind, layers: &[Descriptor]) -> Result<Manifest> {
        if layers.len() != self.layers.len() {
            let why = format!("{} blobs for {} layers", layers.len(), self.layers.len());
            return Err(Error::invalid(format!("manifest of image {}", self.id().short()), why));
        }
        Manifest::make(kind, self.config_descriptor(kind), layers)
    }
}

#[cfg(test)]
mod tests;
