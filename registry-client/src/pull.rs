//! From a registry to here: manifests and what an index offers.

mod blob;
mod platform;

use std::sync::Arc;

use orlop_store::{Digest, media_type};
use reqwest::Method;
use serde::Deserialize;

pub use self::blob::BlobReader;
pub use self::platform::select_platform;

use crate::auth::Scopes;
use crate::client::{Client, Core};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::registry::{ManifestHead, ManifestResponse, Repository, TagOrDigest};
use crate::transport::Response;

/// The longest manifest that is read (distribution specification: registries should take 4 MiB).
pub const MANIFEST_CAP: usize = 4 << 20;

/// Everything that we read, and schema 1, whose registries answer an error for it that says less.
pub(crate) const ACCEPTED: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.docker.distribution.manifest.v2+json, application/json;q=0.5, */*;q=0.1"
);

impl Client {
    /// Fetches a manifest or index and verifies it against the digest asked for and the digest that
    /// the registry announced.
    ///
    /// # Errors
    /// When there is none, when it is no manifest that we read (schema 1 among them), or when its
    /// digest is wrong.
    pub fn manifest(&self, repo: &Repository, which: &TagOrDigest) -> Result<ManifestResponse, Error> {
        let core = Arc::clone(&self.core);
        let (repo, which) = (repo.clone(), which.clone());
        self.run(async move { core.manifest(&repo, &which).await })
    }
}

/// What HEAD says of a manifest, where it says all of it.
pub(crate) async fn head(
    core: &Core,
    place: Endpoint,
    which: &TagOrDigest,
) -> Result<Option<ManifestHead>, Error> {
    let response = request(core, &place, which, Method::HEAD).await?;
    let kind = response.text("content-type").map(bare_type).filter(|t| is_telling(t));
    let digest = response.text("docker-content-digest").and_then(|d| d.parse::<Digest>().ok());
    Ok(match (kind, digest, response.length()) {
        (Some(media_type), Some(digest), Some(size)) if which_is(which, digest) => {
            Some(ManifestHead { media_type, digest, size })
        }
        _ => None,
    })
}

fn which_is(which: &TagOrDigest, digest: Digest) -> bool {
    !matches!(which, TagOrDigest::Digest(asked) if *asked != digest)
}

pub(crate) async fn request(
    core: &Core,
    place: &Endpoint,
    which: &TagOrDigest,
    method: Method,
) -> Result<Response, Error> {
    let path = format!("{}/manifests/{}", place.name, which.path()?);
    core.ask_document(place, Scopes::pull(&place.name), method, &path).await
}

impl Core {
    pub(crate) async fn manifest(
        &self,
        repo: &Repository,
        which: &TagOrDigest,
    ) -> Result<ManifestResponse, Error> {
        self.manifest_as(repo, which, media_type_of).await
    }

    /// The same with another idea of what may be read.
    pub(crate) async fn manifest_as(
        &self,
        repo: &Repository,
        which: &TagOrDigest,
        reads: Reads,
    ) -> Result<ManifestResponse, Error> {
        let places = self.manifest_places(repo, which)?;
        let (manifest, at) = self.on_places(&places, |place| self.manifest_at(place, which, reads)).await?;
        self.found(repo, &places, at, &manifest.bytes);
        Ok(manifest)
    }

    async fn manifest_at(
        &self,
        place: Endpoint,
        which: &TagOrDigest,
        reads: Reads,
    ) -> Result<ManifestResponse, Error> {
        match self.manifest_once(&place, which, reads).await {
            // A byte that fell over on the way will hardly do so twice.
            Err(Error::Digest { .. }) => self.manifest_once(&place, which, reads).await,
            other => other,
        }
    }

    pub(crate) async fn manifest_once(
        &self,
        place: &Endpoint,
        which: &TagOrDigest,
        reads: Reads,
    ) -> Result<ManifestResponse, Error> {
        let response = request(self, place, which, Method::GET).await?;
        let (url, status) = (response.shown().to_owned(), response.status());
        let announced = response.text("docker-content-digest").and_then(|d| d.parse::<Digest>().ok());
        let content_type = response.text("content-type").map(bare_type);
        let bytes = response.bytes(MANIFEST_CAP).await?;
        let found = Digest::of(&bytes);
        let asked = match which {
            TagOrDigest::Digest(digest) => Some(*digest),
            TagOrDigest::Tag(_) => None,
        };
        let name = match which {
            TagOrDigest::Digest(digest) => format!("{}/{}@{digest}", place.registry, place.name),
            TagOrDigest::Tag(tag) => format!("{}/{}:{tag}", place.registry, place.name),
        };
        let kind = reads(content_type.as_deref(), &bytes);
        // A signed schema 1 manifest has another digest than its bytes, and is refused anyway.
        if !matches!(kind, Err(Shape::SchemaOne))
            && let Some(expected) = [asked, announced].into_iter().flatten().find(|e| *e != found)
        {
            return Err(Error::Digest { url, expected, found });
        }
        let media_type =
            kind.map_err(|shape| Error::Manifest { name, what: format!("{shape} (GET {url}: {status})") })?;
        Ok(ManifestResponse { media_type, digest: found, bytes })
    }
}

/// A media type without its parameters, in lower case.
fn bare_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_known(media_type: &str) -> bool {
    media_type::is_index(media_type)
        || matches!(media_type, media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST)
}

/// Whether what a document is announced as says what it is, and not only that it is JSON. Docker's schema 1 does not
/// count, as that is not read.
fn is_telling(media_type: &str) -> bool {
    media_type.contains("/vnd.")
        && !media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

/// Tells the media type of a document from what it was announced as and its bytes, or why it is not read.
pub(crate) type Reads = fn(Option<&str>, &[u8]) -> Result<String, Shape>;

/// Why a document is no manifest that we read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shape {
    #[error(
        "the registry has it in Docker's schema 1 only, which is obsolete; push it again with a newer tool"
    )]
    SchemaOne,
    #[error("the registry sent no JSON where a manifest was asked for")]
    NotJson,
    #[error("the registry sent nothing where a manifest was asked for")]
    Empty,
    #[error("neither an image manifest nor an index")]
    Neither,
    #[error("an image manifest and an index in one document")]
    Both,
    #[error("its `mediaType` `{0}` is not that of an image manifest or index")]
    Foreign(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: Option<serde_json::Value>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// What a document is: by its own word, checked against its shape, then by the registry's word, then
/// by its shape alone. A document that is two things at once is refused, because another program may
/// read the other half (CVE-2021-41190).
pub(crate) fn media_type_of(content_type: Option<&str>, bytes: &[u8]) -> Result<String, Shape> {
    let (outline, index, image) = outline(bytes)?;
    let fits = |t: &str| is_known(t) && (if media_type::is_index(t) { !image } else { !index });
    if let Some(own) = outline.media_type.as_deref().filter(|t| !t.is_empty()) {
        return match fits(own) {
            true => Ok(own.to_owned()),
            false => Err(Shape::Foreign(own.chars().take(100).collect())),
        };
    }
    match content_type {
        Some(t) if fits(t) => Ok(t.to_owned()),
        _ if index => Ok(media_type::OCI_INDEX.to_owned()),
        _ if image => Ok(media_type::OCI_MANIFEST.to_owned()),
        _ => Err(Shape::Neither),
    }
}

/// The same for who passes a document on and need not know its type.
pub(crate) fn any_media_type(content_type: Option<&str>, bytes: &[u8]) -> Result<String, Shape> {
    let (outline, index, image) = outline(bytes)?;
    let own = outline.media_type.filter(|t| !t.is_empty());
    let said = content_type.filter(|t| is_telling(t)).map(str::to_owned);
    match own.or(said) {
        // What claims to be the one and has the fields of the other is read differently by different programs.
        Some(t) if is_known(&t) && (if media_type::is_index(&t) { image } else { index }) => {
            Err(Shape::Foreign(t.chars().take(100).collect()))
        }
        Some(t) => Ok(t),
        None if index => Ok(media_type::OCI_INDEX.to_owned()),
        None if image => Ok(media_type::OCI_MANIFEST.to_owned()),
        None => Err(Shape::Neither),
    }
}

/// What a document has of the fields that tell what it is: itself, whether it is an index, whether it is an image.
fn outline(bytes: &[u8]) -> Result<(Outline, bool, bool), Shape> {
    if bytes.is_empty() {
        return Err(Shape::Empty);
    }
    let outline: Outline = serde_json::from_slice(bytes).map_err(|_| Shape::NotJson)?;
    let version_one = outline.schema_version.as_ref().is_some_and(|v| v.as_u64() == Some(1));
    if version_one || outline.fs_layers.is_some() {
        return Err(Shape::SchemaOne);
    }
    let index = outline.manifests.is_some();
    let image = outline.layers.is_some() || outline.config.is_some();
    if index && image {
        return Err(Shape::Both);
    }
    Ok((outline, index, image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_by_word_and_by_shape() {
        let image = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        let docker = br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{},"layers":[]}"#;
        let get = |t: Option<&str>, b: &[u8]| media_type_of(t, b);
        assert_eq!(get(None, image).unwrap(), media_type::OCI_MANIFEST);
        assert_eq!(get(Some("text/plain"), index).unwrap(), media_type::OCI_INDEX);
        assert_eq!(get(Some(media_type::DOCKER_LIST), index).unwrap(), media_type::DOCKER_LIST);
        assert_eq!(get(Some(media_type::OCI_INDEX), image).unwrap(), media_type::OCI_MANIFEST);
        assert_eq!(get(Some(media_type::OCI_MANIFEST), docker).unwrap(), media_type::DOCKER_MANIFEST);
        assert_eq!(
            bare_type(" Application/VND.oci.image.index.v1+json ; charset=utf-8"),
            media_type::OCI_INDEX
        );
    }

    #[test]
    fn documents_that_are_refused() {
        let get = |b: &str| media_type_of(None, b.as_bytes()).unwrap_err();
        assert_eq!(get(r#"{"schemaVersion":1,"fsLayers":[]}"#), Shape::SchemaOne);
        assert_eq!(get(r#"{"manifests":[],"layers":[]}"#), Shape::Both);
        assert_eq!(get("<html>"), Shape::NotJson);
        assert_eq!(get(""), Shape::Empty);
        assert_eq!(get("{}"), Shape::Neither);
        let lie = format!(r#"{{"mediaType":"{}","layers":[]}}"#, media_type::OCI_INDEX);
        assert!(matches!(get(&lie), Shape::Foreign(_)));
        assert!(matches!(get(r#"{"mediaType":"x/y","layers":[]}"#), Shape::Foreign(_)));
        assert_eq!(any_media_type(None, br#"{"mediaType":"x/y","blobs":[]}"#).unwrap(), "x/y");
        assert!(matches!(any_media_type(None, lie.as_bytes()), Err(Shape::Foreign(_))));
        assert_eq!(any_media_type(None, br#"{"schemaVersion":1,"fsLayers":[]}"#), Err(Shape::SchemaOne));
        let deep = "[".repeat(100_000);
        assert_eq!(get(&deep), Shape::NotJson);
    }
}
