//! Descriptors and media types: how one piece of content names another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// Media types of the OCI image specification and their Docker schema 2 twins.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker schema 2 manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker schema 2 manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, not compressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Docker layer that registries do not keep, gzip.
    pub const DOCKER_FOREIGN_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// Docker layer that registries do not keep, not compressed.
    pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    /// OCI layer that registries do not keep, not compressed.
    pub const OCI_FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    /// OCI layer that registries do not keep, gzip.
    pub const OCI_FOREIGN_LAYER_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    /// OCI layer that registries do not keep, zstd.
    pub const OCI_FOREIGN_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";

    /// Whether the type is that of a layer which may not be given on, and is not kept by registries.
    pub fn is_foreign(media_type: &str) -> bool {
        matches!(
            media_type,
            DOCKER_FOREIGN_LAYER_GZIP
                | DOCKER_FOREIGN_LAYER
                | OCI_FOREIGN_LAYER
                | OCI_FOREIGN_LAYER_GZIP
                | OCI_FOREIGN_LAYER_ZSTD
        )
    }

    /// Whether the type is an index or a manifest list.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_LIST)
    }
}

/// A pointer to content: its type, digest and size (OCI image specification, "Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type; empty where a foreign document left it out.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the bytes as transferred.
    pub digest: Digest,
    /// Size of the bytes as transferred.
    pub size: u64,
    /// Where else the content may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of a manifest that an index names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor with the three required fields only.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Whether an index names with this what somebody attests about one of its images, and no image: buildx writes such
    /// entries for the platform `unknown/unknown`.
    pub fn is_attestation(&self) -> bool {
        let unknown = |p: &Platform| p.os == "unknown" && p.architecture == "unknown";
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(unknown)
    }

    /// Whether this is a layer that registries do not keep, and that is had from its URLs: Windows base images of old
    /// have such. One without URLs is an ordinary layer that only says so.
    pub fn is_foreign(&self) -> bool {
        media_type::is_foreign(&self.media_type) && !self.urls.is_empty()
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}
