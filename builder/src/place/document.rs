//! Manifests and indexes as what they are to a copy: bytes, and the content that they name.

use std::sync::Arc;

use orlop_store::image::MAX_MANIFEST;
use orlop_store::{Descriptor, Digest, media_type};
use serde::Deserialize;

use crate::error::BuildError;

/// An artifact's manifest of the OCI release candidate that had such.
const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// A manifest of whatever kind, or an index, whose digest was found right.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its media type, digest and size, and what the place says of it besides.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Manifests and indexes that it names.
    pub(super) manifests: Vec<Descriptor>,
    /// Other content that it names: config, layers, the blobs of an artifact.
    pub(super) blobs: Vec<Descriptor>,
    /// The config among them.
    pub(super) config: Option<Descriptor>,
    /// What it is about: a signature's image.
    pub(super) subject: Option<Descriptor>,
    /// What kind of artifact it says to be.
    pub(super) artifact_type: Option<String>,
}

/// The fields that name content (OCI image specification, "Image Manifest" and "Image Index").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads the bytes that `said` names; its media type is empty where that is not known.
    pub(super) fn read(said: &Descriptor, bytes: Vec<u8>) -> Result<Self, BuildError> {
        let digest = Digest::of(&bytes);
        let bad = |why: String| BuildError::user(format!("manifest {digest} is not valid: {why}"));
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(bad(format!("it has {} bytes, more than the {MAX_MANIFEST} allowed", bytes.len())));
        }
        // serde would take a list of the fields' values as well.
        if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'{') {
            return Err(bad("it is not a JSON object".to_owned()));
        }
        let fields: Fields = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if fields.schema_version == Some(1) || fields.fs_layers.is_some() {
            let hint = "push the image anew with a tool of today";
            return Err(
                bad("it is of Docker's schema 1, which is obsolete".to_owned()).with_hint(hint.to_owned())
            );
        }
        // CVE-2021-41190: another reader may see the other half.
        if fields.manifests.is_some() && (fields.config.is_some() || fields.layers.is_some()) {
            return Err(bad("it is an image and an index at once".to_owned()));
        }
        let own = fields.media_type.filter(|t| !t.is_empty());
        let own = own.or_else(|| Some(said.media_type.clone()).filter(|t| !t.is_empty()));
        let media_type = own.unwrap_or_else(|| {
            let index = fields.manifests.is_some();
            if index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST }.to_owned()
        });
        let config = fields.config.clone();
        let mut manifests = Vec::new();
        let mut blobs: Vec<Descriptor> = Vec::new();
        for entry in fields.manifests.into_iter().flatten() {
            // A cache of BuildKit's is an index that names layers.
            if is_document(&entry.media_type) { manifests.push(entry) } else { blobs.push(entry) }
        }
        let others = fields.layers.into_iter().chain(fields.blobs).flatten();
        blobs.extend(fields.config.into_iter().chain(others));
        // Layers that no registry keeps stay where they are; their URLs go along.
        blobs.retain(|blob| !blob.is_foreign());
        let descriptor = Descriptor { media_type, digest, size: bytes.len() as u64, ..said.clone() };
        let (subject, artifact_type) = (fields.subject, fields.artifact_type);
        Ok(Self { descriptor, bytes: bytes.into(), manifests, blobs, config, subject, artifact_type })
    }

    /// Whether it is an index.
    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.descriptor.media_type)
    }

    /// Whether it is the manifest of an image, and of no other artifact.
    pub fn is_image(&self) -> bool {
        let config = self.config.as_ref().map(|config| config.media_type.as_str());
        matches!(self.descriptor.media_type.as_str(), media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST)
            && matches!(config, Some("" | media_type::OCI_CONFIG | media_type::DOCKER_CONFIG))
    }
}

/// Whether an entry of an index is itself a manifest or index.
fn is_document(media_type: &str) -> bool {
    media_type.is_empty()
        || media_type::is_index(media_type)
        || media_type == ARTIFACT_MANIFEST
        || media_type.contains(".manifest.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Document, String> {
        let said = Descriptor::of("", text.as_bytes());
        Document::read(&said, text.as_bytes().to_vec()).map_err(|e| e.to_string())
    }

    fn descriptor(kind: &str, rest: &str) -> String {
        let digest = Digest::of(kind.as_bytes());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1{rest}}}"#)
    }

    #[test]
    fn everything_that_a_manifest_names_is_found() {
        let layer = descriptor(media_type::OCI_LAYER, "");
        let foreign = descriptor(media_type::OCI_FOREIGN_LAYER, r#","urls":["https://x/y"]"#);
        let config = descriptor("application/vnd.cncf.helm.config.v1+json", r#","data":"e30=""#);
        let found = read(&format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{layer},{foreign}],"subject":{layer},"x":1}}"#
        ));
        let found = found.unwrap();
        assert_eq!((found.blobs.len(), found.manifests.len()), (2, 0), "the foreign one stays");
        assert!(found.subject.is_some());
        let artifact = read(&format!(r#"{{"mediaType":"{ARTIFACT_MANIFEST}","blobs":[{layer}]}}"#)).unwrap();
        assert_eq!((artifact.descriptor.media_type.as_str(), artifact.blobs.len()), (ARTIFACT_MANIFEST, 1));
        let manifest = descriptor(media_type::OCI_MANIFEST, "");
        let index = read(&format!(r#"{{"schemaVersion":2,"manifests":[{manifest},{layer}]}}"#)).unwrap();
        assert!(index.is_index());
        assert_eq!((index.manifests.len(), index.blobs.len()), (1, 1), "a cache of BuildKit's");
    }

    #[test]
    fn what_is_refused() {
        let layer = descriptor(media_type::OCI_LAYER, "");
        for (text, why) in [
            ("[]".to_owned(), "not a JSON object"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
            (format!(r#"{{"manifests":[],"layers":[{layer}]}}"#), "at once"),
            (r#"{"layers":[{"digest":"sha256:../../../etc/passwd","size":1}]}"#.to_owned(), "not a digest"),
            (r#"{"layers":[{"digest":"sha512:00","size":1}]}"#.to_owned(), "not a digest"),
            (format!("{}{}", r#"{"layers":"#, "[".repeat(10_000)), "column"),
            (" ".repeat(5 << 20), "bytes"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
