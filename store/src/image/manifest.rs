//! Manifests and indexes: read with care, passed through as they came, written with sorted keys.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::MAX_MANIFEST;
use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// Which family of media types a manifest is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ManifestKind {
    /// OCI image specification.
    #[default]
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// The manifest of one image: its bytes and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type.
    pub media_type: String,
    /// The config.
    pub config: Descriptor,
    /// Layers, bottom first.
    pub layers: Vec<Descriptor>,
    bytes: Arc<[u8]>,
}

/// A list of manifests for several platforms: an OCI index or a Docker manifest list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Media type.
    pub media_type: String,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    bytes: Arc<[u8]>,
}

/// What manifests and indexes look like, taken apart only as far as orlop has to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

fn parse(bytes: &[u8], said: &str) -> Result<(Document, String)> {
    let what = || format!("manifest {}", Digest::of(bytes));
    let size = bytes.len() as u64;
    if size > MAX_MANIFEST {
        return Err(Error::TooLarge { what: what(), size, limit: MAX_MANIFEST });
    }
    // serde would take a list of the fields' values as well.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'{') {
        return Err(Error::invalid(what(), "it is not a JSON object"));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|e| Error::invalid(what(), e))?;
    match document.schema_version {
        Some(2) => {}
        Some(1) => {
            let why =
                "it is of Docker's schema 1, which no registry should send any more; push the image anew";
            return Err(Error::invalid(what(), why));
        }
        Some(other) => return Err(Error::invalid(what(), format!("schemaVersion is {other}, not 2"))),
        None => return Err(Error::invalid(what(), "it has no schemaVersion")),
    }
    // A document that can be read as both means different images to different readers (CVE-2021-41190).
    if document.manifests.is_some() && (document.config.is_some() || document.layers.is_some()) {
        return Err(Error::invalid(what(), "it has both `manifests` and `config` or `layers`"));
    }
    let inside = document.media_type.clone().unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    let generic = ["", "application/json", "application/octet-stream", "text/plain"].contains(&said);
    if !inside.is_empty() && !generic && inside != said {
        return Err(Error::invalid(what(), format!("it was announced as `{said}` and says `{inside}`")));
    }
    let list = document.manifests.is_some();
    let media_type = match (inside.is_empty(), generic, list) {
        (false, _, _) => inside,
        (true, false, _) => said.to_owned(),
        (true, true, true) => media_type::OCI_INDEX.to_owned(),
        (true, true, false) => media_type::OCI_MANIFEST.to_owned(),
    };
    Ok((document, media_type))
}

impl Manifest {
    /// Reads a manifest. `said` is the media type that it was announced with, empty where none was.
    ///
    /// # Errors
    /// When it is malformed, too large, of another schema, or not an image's.
    pub fn parse(bytes: &[u8], said: &str) -> Result<Self> {
        let (document, media_type) = parse(bytes, said)?;
        let fail = |why: String| Err(Error::invalid(format!("manifest {}", Digest::of(bytes)), why));
        if ![media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&media_type.as_str()) {
            return fail(format!("`{media_type}` is not an image manifest"));
        }
        let Some(config) = document.config else {
            return fail("it has no `config`".to_owned());
        };
        if !["", media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&config.media_type.as_str()) {
            return fail(format!("its config is `{}`: an artifact, not an image", config.media_type));
        }
        // `null` is what Go writes for an image of no layers.
        let layers = document.layers.unwrap_or_default();
        Ok(Self { media_type, config, layers, bytes: bytes.into() })
    }

    /// Writes a manifest over `config` and `layers`.
    pub(super) fn make(kind: ManifestKind, config: Descriptor, layers: &[Descriptor]) -> Result<Self> {
        let layers = layers
            .iter()
            .map(|layer| {
                let media_type = layer_type(kind, &layer.media_type)?;
                // Where content may be had is true of foreign layers only.
                Ok(Descriptor { media_type: media_type.to_owned(), platform: None, ..layer.clone() })
            })
            .collect::<Result<Vec<_>>>()?;
        let media_type = match kind {
            ManifestKind::Oci => media_type::OCI_MANIFEST,
            ManifestKind::Docker => media_type::DOCKER_MANIFEST,
        };
        let value = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor_value(&config),
            "layers": layers.iter().map(descriptor_value).collect::<Vec<_>>(),
        });
        let bytes = value.to_string().into_bytes();
        Ok(Self { media_type: media_type.to_owned(), config, layers, bytes: bytes.into() })
    }

    /// The bytes as they came or were written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The manifest's descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.bytes)
    }

    /// Which family it is of.
    pub fn kind(&self) -> ManifestKind {
        if self.media_type == media_type::DOCKER_MANIFEST { ManifestKind::Docker } else { ManifestKind::Oci }
    }
}

/// A descriptor with sorted keys.
pub(crate) fn descriptor_value(descriptor: &Descriptor) -> Value {
    // Only strings, numbers and maps with string keys: cannot fail.
    serde_json::to_value(descriptor).unwrap_or(Value::Object(Map::new()))
}

/// The media type of a layer of type `media_type` in a manifest of `kind`.
fn layer_type(kind: ManifestKind, media_type: &str) -> Result<&str> {
    use media_type::*;
    Ok(match (kind, media_type) {
        (ManifestKind::Oci, DOCKER_LAYER_GZIP) => OCI_LAYER_GZIP,
        (ManifestKind::Oci, DOCKER_LAYER) => OCI_LAYER,
        (ManifestKind::Docker, OCI_LAYER_GZIP) => DOCKER_LAYER_GZIP,
        (ManifestKind::Docker, OCI_LAYER) => DOCKER_LAYER,
        (ManifestKind::Oci, DOCKER_FOREIGN_LAYER_GZIP) => OCI_FOREIGN_LAYER_GZIP,
        (ManifestKind::Oci, DOCKER_FOREIGN_LAYER) => OCI_FOREIGN_LAYER,
        (ManifestKind::Docker, OCI_FOREIGN_LAYER_GZIP) => DOCKER_FOREIGN_LAYER_GZIP,
        (ManifestKind::Docker, OCI_FOREIGN_LAYER) => DOCKER_FOREIGN_LAYER,
        (ManifestKind::Docker, OCI_LAYER_ZSTD | OCI_FOREIGN_LAYER_ZSTD) => {
            return Err(Error::Unsupported {
                what: "a zstd layer in a Docker manifest".to_owned(),
                why: "Docker's media types have no zstd; use OCI ones, or gzip".to_owned(),
            });
        }
        (_, other) => other,
    })
}

impl Index {
    /// Reads an index or manifest list. `said` is the media type that it was announced with, empty where none
    /// was.
    ///
    /// # Errors
    /// When it is malformed, too large, or no index.
    pub fn parse(bytes: &[u8], said: &str) -> Result<Self> {
        let (document, media_type) = parse(bytes, said)?;
        let fail = |why: String| Err(Error::invalid(format!("index {}", Digest::of(bytes)), why));
        if !media_type::is_index(&media_type) {
            return fail(format!("`{media_type}` is not an index"));
        }
        if document.layers.is_some() || document.config.is_some() {
            return fail("it has the fields of a manifest".to_owned());
        }
        Ok(Self { media_type, manifests: document.manifests.unwrap_or_default(), bytes: bytes.into() })
    }

    /// Writes an OCI index over `manifests`.
    pub fn make(manifests: Vec<Descriptor>) -> Self {
        let value = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": manifests.iter().map(descriptor_value).collect::<Vec<_>>(),
        });
        let bytes = value.to_string().into_bytes();
        Self { media_type: media_type::OCI_INDEX.to_owned(), manifests, bytes: bytes.into() }
    }

    /// The bytes as they came or were written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The index's descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.bytes)
    }

    /// The manifest that serves `platform` best ([`Platform::rank`]), of equals the first; of a list that names no
    /// platforms, the only one.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let ranked = self.manifests.iter().filter_map(|d| Some((platform.rank(d.platform.as_ref()?)?, d)));
        if let Some((_, found)) = ranked.min_by(|(one, _), (other, _)| one.cmp(other)) {
            return Some(found);
        }
        match self.manifests.as_slice() {
            [one] if one.platform.is_none() => Some(one),
            _ => None,
        }
    }

    /// The platforms that it has, for a message; attestations (`unknown/unknown`) left out.
    pub fn platforms(&self) -> Vec<Platform> {
        self.manifests.iter().filter_map(|d| d.platform.clone()).filter(|p| p.os != "unknown").collect()
    }
}
