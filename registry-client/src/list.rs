//! Tags, referrers and deletion.

mod link;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_store::{Descriptor, Digest, media_type};
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use self::link::next_link;
use crate::auth::Scopes;
use crate::client::{Client, Core, join};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::pull::media_type_of;
use crate::push::subject::{Change, subject_of};
use crate::registry::{Repository, TagOrDigest};
use crate::transport::{Request, Response, authority, redact};

/// The longest page that is read.
const PAGE_CAP: usize = 16 << 20;
/// What registries without the API of referrers answer.
const NO_REFERRERS: [u16; 4] = [400, 404, 405, 501];
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
        let place = self.core.config.hosts.list_endpoint(repo)?;
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
        let place = self.core.config.hosts.list_endpoint(repo)?;
        let core = Arc::clone(&self.core);
        let kind = artifact_type.map(str::to_owned);
        self.run(async move {
            let query = kind.as_deref().map(|k| {
                let mut query = url::form_urlencoded::Serializer::new(String::from("?"));
                query.append_pair("artifactType", k).finish()
            });
            let path = format!("{}/referrers/{digest}{}", place.name, query.unwrap_or_default());
            let mut out = match core.own_referrers(&place, &path).await? {
                Some(list) => list,
                None => core.tagged_referrers(&place, digest).await?,
            };
            // A registry that does not filter says so by leaving a header out; filtering twice is free.
            out.retain(|d| kind.is_none() || d.artifact_type == kind);
            Ok(out)
        })
    }

    /// Deletes a manifest (distribution specification, "Deleting Manifests" and "Deleting Tags") by its digest, or a tag where the registry does that. A manifest that refers to another
    /// one goes from the list of its referrers too, where that is a tag.
    ///
    /// # Errors
    /// When there is none, or the registry has deletion switched off.
    pub fn delete(&self, repo: &Repository, which: &TagOrDigest) -> Result<(), Error> {
        let path = format!("manifests/{}", which.path()?);
        let TagOrDigest::Digest(digest) = which else { return self.delete_path(repo, path) };
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let (core, digest, here) = (Arc::clone(&self.core), *digest, place.clone());
        let read = async move { core.retrying(u32::MAX, || core.subject_at(&here, digest)).await };
        let subject = match self.run(read) {
            Ok(subject) => subject,
            Err(e) if e.is_temporary() => return Err(e),
            // What cannot be read can be deleted all the same, above all what is damaged.
            Err(
                Error::Status(_) | Error::Manifest { .. } | Error::Protocol { .. } | Error::Digest { .. },
            ) => None,
            Err(e) => return Err(e),
        };
        self.delete_path(repo, path)?;
        let Some(subject) = subject else { return Ok(()) };
        let core = Arc::clone(&self.core);
        self.run(async move { core.unlist(&place, subject, digest).await })
    }

    /// Deletes a blob (distribution specification, "Deleting Blobs").
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
                        if may_have_been_done(&e) {
                            before.store(true, Ordering::Relaxed);
                        }
                        Err(e)
                    }
                }
            };
            core.retrying(u32::MAX, send).await
        })
    }
}

/// Whether a request that failed in this way may have been carried out.
fn may_have_been_done(error: &Error) -> bool {
    match error {
        Error::Transport { .. } => true,
        Error::Status(e) => matches!(e.status, 500 | 502 | 504),
        _ => false,
    }
}

impl Core {
    /// The list that the registry keeps of what refers to a manifest; nothing where it does not do that.
    async fn own_referrers(&self, place: &Endpoint, path: &str) -> Result<Option<Vec<Descriptor>>, Error> {
        let (mut out, mut pages) = (Vec::new(), 0);
        let read = |bytes: &[u8]| {
            let index: Referrers = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
            out.extend(index.manifests.unwrap_or_default());
            pages += 1;
            Ok(())
        };
        let no_api = |status: u16| NO_REFERRERS.contains(&status);
        match self.pages(place, path, read).await {
            Ok(()) => Ok(Some(out)),
            // Half a list is none, and no other one stands for it.
            Err(e) if pages > 0 => Err(e),
            // Some answer everything that they do not know with a page for people.
            Err(e) if matches!(e, Error::Protocol { .. }) || e.status().is_some_and(no_api) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The list that clients keep at the registry itself, under a tag.
    async fn tagged_referrers(&self, place: &Endpoint, subject: Digest) -> Result<Vec<Descriptor>, Error> {
        let tag = TagOrDigest::Tag(format!("sha256-{}", subject.hex()));
        let send = || self.manifest_once(place, &tag, media_type_of);
        match self.retrying(u32::MAX, send).await {
            Ok(list) if media_type::is_index(&list.media_type) => {
                let index: Referrers = serde_json::from_slice(&list.bytes).map_err(|e| Error::Manifest {
                    name: format!("{}/{}:{tag}", place.registry, place.name),
                    what: e.to_string(),
                })?;
                Ok(index.manifests.unwrap_or_default())
            }
            Ok(_) => Ok(Vec::new()),
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// What the manifest refers to.
    async fn subject_at(&self, place: &Endpoint, digest: Digest) -> Result<Option<Digest>, Error> {
        let manifest = self.manifest_once(place, &digest.into(), crate::pull::any_media_type).await?;
        Ok(subject_of(&manifest.media_type, &manifest.bytes).map(|(subject, _)| subject))
    }

    /// Takes a manifest off the list of what refers to `subject`, where the registry has none of its own.
    async fn unlist(&self, place: &Endpoint, subject: Digest, digest: Digest) -> Result<(), Error> {
        let path = format!("{}/referrers/{subject}", place.name);
        match self.own_referrers(place, &path).await? {
            Some(_) => Ok(()),
            None => self.change_referrers(place, subject, &Change::Remove(digest)).await,
        }
    }

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
        let mut elsewhere = None;
        let no_end = |url: &Url, what: &str| Error::Protocol {
            method: "GET".into(),
            url: redact(url),
            what: format!("the list has no end: {what}"),
        };
        for _ in 0..PAGES {
            if !seen.insert(url.clone()) {
                return Err(match elsewhere {
                    None => no_end(&url, "this page comes a second time"),
                    // Not the list's fault, it may be that it goes on there.
                    Some(other) => Error::Protocol {
                        method: "GET".into(),
                        url: redact(&url),
                        what: format!(
                            "its next page is said to be at `{other}`, which is another server and is not asked; \
                             here that page is the same again"
                        ),
                    },
                });
            }
            let make = |_: &Url| Ok(Request::new(Method::GET, url.clone()));
            let scopes = Scopes::pull(&place.name);
            let send = || async {
                let response = self.exchange(place, &scopes, false, &make).await?.success().await?;
                let shown = response.shown().to_owned();
                let (status, next) = (response.status(), next_page(&response));
                Ok((response.bytes(PAGE_CAP).await?, next, shown, status))
            };
            let (bytes, next, shown, status) = self.retrying(u32::MAX, send).await?;
            read(&bytes).map_err(|e| Error::Protocol {
                method: "GET".into(),
                url: shown,
                what: format!("{status}: the answer is no list: {e}"),
            })?;
            let next = next?;
            let Some(mut next) = next else { return Ok(()) };
            if next.origin() != base.origin() {
                // A registry behind a proxy may not know its own name; nobody else has a say in what its list is.
                elsewhere = Some(authority(&next));
                let path = next.path().to_owned();
                let query = next.query().map(str::to_owned);
                next = join(&base, &path)?;
                next.set_query(query.as_deref());
            }
            url = next;
        }
        Err(no_end(&url, &format!("{PAGES} pages were read")))
    }
}

/// Where the next page is. A `Link` that cannot be understood is an error: without it the list would seem to be whole.
fn next_page(response: &Response) -> Result<Option<Url>, Error> {
    for value in response.headers().get_all("link") {
        let text = String::from_utf8_lossy(value.as_bytes());
        let shown = || format!("`Link: {}`", response.quoted(&text));
        let Some(target) = next_link(&text).map_err(|what| {
            response.protocol(format!("{} cannot be read, and the list may go on there: {what}", shown()))
        })?
        else {
            continue;
        };
        let url = response.url().join(&target).ok();
        return match url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            Some(url) => Ok(Some(url)),
            None => Err(response.protocol(format!("the list goes on at what is no HTTP URL: {}", shown()))),
        };
    }
    Ok(None)
}
