//! Tags, referrers and deletion.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_store::{Descriptor, Digest, media_type};
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::auth::Scopes;
use crate::client::{Client, Core, join};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::pull::MANIFEST_CAP;
use crate::registry::{Repository, TagOrDigest};
use crate::transport::{Request, Response};

/// The longest page that is read.
const PAGE_CAP: usize = 16 << 20;
/// Pages that are read; a registry whose list never ends is not right.
const PAGES: usize = 10_000;

#[derive(Deserialize)]
struct TagPage {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Client {
    /// All tags of a repository, page by page, in the registry's order.
    ///
    /// # Errors
    /// When there is no such repository or the registry cannot be asked.
    pub fn tags(&self, repo: &Repository) -> Result<Vec<String>, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let core = Arc::clone(&self.core);
        self.run(async move {
            let mut out: Vec<String> = Vec::new();
            let path = format!("{}/tags/list", place.name);
            core.pages(&place, &path, |bytes| {
                let page: TagPage = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
                out.extend(page.tags.unwrap_or_default());
                Ok(())
            })
            .await?;
            let mut seen = HashSet::new();
            out.retain(|tag| seen.insert(tag.clone()));
            Ok(out)
        })
    }

    /// The manifests that refer to `digest` by their `subject` (signatures, SBOMs), of one artifact
    /// type or all. Registries without the API keep them under a tag (distribution specification 1.1,
    /// "Referrers Tag Schema"), which is read then.
    ///
    /// # Errors
    /// When the registry cannot be asked; that there are none is no error.
    pub fn referrers(
        &self,
        repo: &Repository,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let (core, repo) = (Arc::clone(&self.core), repo.clone());
        let kind = artifact_type.map(str::to_owned);
        self.run(async move {
            let mut out: Vec<Descriptor> = Vec::new();
            let query = kind.as_deref().map(|k| {
                let mut query = url::form_urlencoded::Serializer::new(String::from("?"));
                query.append_pair("artifactType", k).finish()
            });
            let path = format!("{}/referrers/{digest}{}", place.name, query.unwrap_or_default());
            let mut read = |bytes: &[u8]| {
                let index: Referrers = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
                out.extend(index.manifests.unwrap_or_default());
                Ok(())
            };
            match core.pages(&place, &path, &mut read).await {
                Ok(()) => {}
                Err(Error::Status(e)) if matches!(e.status, 400 | 404 | 405 | 501) => {
                    let tag = TagOrDigest::Tag(format!("sha256-{}", digest.hex()));
                    match core.manifest(&repo, &tag).await {
                        Ok(m) if media_type::is_index(&m.media_type) && m.bytes.len() <= MANIFEST_CAP => {
                            let index: Referrers = serde_json::from_slice(&m.bytes).map_err(|e| {
                                Error::Manifest { name: format!("{repo}:{tag}"), what: e.to_string() }
                            })?;
                            out = index.manifests.unwrap_or_default();
                        }
                        Ok(_) => {}
                        Err(e) if e.is_not_found() => {}
                        Err(e) => return Err(e),
                    }
                }
                Err(e) => return Err(e),
            }
            // A registry that does not filter says so by leaving a header out; filtering twice is free.
            out.retain(|d| kind.is_none() || d.artifact_type == kind);
            Ok(out)
        })
    }

    /// Deletes a manifest by its digest, or a tag where the registry does that.
    ///
    /// # Errors
    /// When there is none, or the registry has deletion switched off.
    pub fn delete(&self, repo: &Repository, which: &TagOrDigest) -> Result<(), Error> {
        let path = format!("manifests/{}", which.path()?);
        self.delete_path(repo, path)
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// When there is none, or the registry has deletion switched off.
    pub fn delete_blob(&self, repo: &Repository, digest: Digest) -> Result<(), Error> {
        self.delete_path(repo, format!("blobs/{digest}"))
    }

    fn delete_path(&self, repo: &Repository, path: String) -> Result<(), Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let core = Arc::clone(&self.core);
        self.run(async move {
            let path = format!("{}/{path}", place.name);
            let before = AtomicBool::new(false);
            let send = || async {
                match core.ask(&place, Scopes::delete(&place.name), Method::DELETE, &path).await {
                    Ok(response) => {
                        response.drain().await;
                        Ok(())
                    }
                    // An attempt whose answer was lost may have done it.
                    Err(e) if e.is_not_found() && before.load(Ordering::Relaxed) => Ok(()),
                    Err(e) => {
                        before.store(true, Ordering::Relaxed);
                        Err(e)
                    }
                }
            };
            core.retrying(u32::MAX, send).await
        })
    }
}

impl Core {
    /// Reads a list page by page, following `Link: <…>; rel="next"`.
    async fn pages(
        &self,
        place: &Endpoint,
        path: &str,
        mut read: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Error> {
        let base = self.retrying(u32::MAX, || self.base(place)).await?;
        let mut url = join(&base, path)?;
        let mut seen = HashSet::new();
        for _ in 0..PAGES {
            if !seen.insert(url.clone()) {
                break;
            }
            let make = |_: &Url| Ok(Request::new(Method::GET, url.clone()));
            let scopes = Scopes::pull(&place.name);
            let send = || async {
                let response = self.exchange(place, &scopes, false, &make).await?;
                if !response.status().is_success() {
                    return Err(response.into_error().await);
                }
                let shown = response.shown().to_owned();
                let next = next_page(&response);
                Ok((response.bytes(PAGE_CAP).await?, next, shown))
            };
            let (bytes, next, shown) = self.retrying(u32::MAX, send).await?;
            read(&bytes).map_err(|e| Error::Protocol {
                method: "GET".into(),
                url: shown,
                what: format!("the answer is no list: {e}"),
            })?;
            // Another host has no say in what this registry's list is.
            match next.filter(|n| n.origin() == base.origin()) {
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
        Err(Error::Protocol {
            method: "GET".into(),
            url: crate::transport::redact(&url),
            what: "the list has no end".into(),
        })
    }
}

/// The URL of `Link: <URL>; rel="next"`.
fn next_page(response: &Response) -> Option<Url> {
    let all = response.headers().get_all("link");
    all.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(",")).find_map(|link| {
        let (target, params) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = params.split(';').any(|p| {
            let p = p.trim().to_ascii_lowercase();
            p == "rel=next" || p == "rel=\"next\""
        });
        next.then(|| response.url().join(target).ok())?
    })
}
