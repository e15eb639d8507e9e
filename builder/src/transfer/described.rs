//! What is said of documents of a registry that are no image's: which they are, and how they were asked for.

use std::fmt::Display;

use orlop_registry_client::{ManifestResponse, Repository, TagOrDigest};
use orlop_store::{Descriptor, Reference, media_type};
use serde::Deserialize;

use crate::error::BuildError;

/// The longest part of a foreign text that is shown.
const SHOWN: usize = 100;

/// How a manifest was asked for.
pub(crate) fn manifest_request(repository: &Repository, which: &TagOrDigest) -> String {
    format!("GET {}/v2/{}/manifests/{which}", repository.registry(), repository.name())
}

/// How a blob was asked for.
fn blob_request(repository: &Repository, blob: &Descriptor) -> String {
    format!("GET {}/v2/{}/blobs/{}", repository.registry(), repository.name(), blob.digest)
}

/// Of a manifest that cannot be read.
pub(super) fn malformed(
    reference: &Reference,
    repository: &Repository,
    which: &TagOrDigest,
    error: impl Display,
) -> BuildError {
    BuildError::user(format!("cannot pull `{}`", reference.familiar()))
        .because(format!("{}: {error}", manifest_request(repository, which)))
}

/// Of a config that cannot be read.
pub(super) fn malformed_config(
    reference: &Reference,
    repository: &Repository,
    config: &Descriptor,
    error: impl Display,
) -> BuildError {
    BuildError::user(format!("cannot pull `{}`", reference.familiar()))
        .because(format!("{}: {error}", blob_request(repository, config)))
}

/// The fields that tell what an artifact is (OCI image specification, "Guidelines for Artifact Usage").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    media_type: Option<String>,
}

/// An error where a manifest is an artifact's and no image's.
pub(super) fn refuse_artifact(reference: &Reference, answer: &ManifestResponse) -> Result<(), BuildError> {
    let Some(kind) = artifact(&answer.bytes) else { return Ok(()) };
    let name = reference.familiar();
    Err(BuildError::user(format!("`{name}` is an artifact of type `{kind}`, and no image"))
        .with_hint(format!("`orlop copy {name} oci:DIRECTORY` takes artifacts as they are")))
}

/// The type of the artifact that a manifest is of; none where it is an image's, or where it does not say.
fn artifact(manifest: &[u8]) -> Option<String> {
    let kind: Kind = serde_json::from_slice(manifest).ok()?;
    let config = kind.config?.media_type.filter(|text| !text.is_empty())?;
    if [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&config.as_str()) {
        return None;
    }
    let said = kind.artifact_type.filter(|text| !text.is_empty()).unwrap_or(config);
    Some(said.chars().filter(|c| !c.is_control()).take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_told_by_their_config() {
        let kind = |text: &str| artifact(text.as_bytes());
        let empty = "application/vnd.oci.empty.v1+json";
        let said = format!(r#"{{"artifactType":"a/b","config":{{"mediaType":"{empty}"}}}}"#);
        assert_eq!(kind(&said).as_deref(), Some("a/b"));
        assert_eq!(kind(&format!(r#"{{"config":{{"mediaType":"{empty}"}}}}"#)).as_deref(), Some(empty));
        let escape = r#"{"artifactType":"a\u001b[1m","config":{"mediaType":"x"}}"#;
        assert_eq!(kind(escape).as_deref(), Some("a[1m"));
        for image in [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG, ""] {
            // What an image says of itself besides makes it nothing else.
            let text = format!(r#"{{"artifactType":"a/b","config":{{"mediaType":"{image}"}}}}"#);
            assert_eq!(kind(&text), None, "{image}");
        }
        for other in ["", "[]", "{}", r#"{"artifactType":"a/b"}"#, r#"{"config":{}}"#] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
