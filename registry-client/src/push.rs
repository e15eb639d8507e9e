//! From here to a registry: blobs by mount or upload, then manifests.

mod body;
mod growing;
mod pieces;
mod session;
pub(crate) mod subject;
mod upload;

use std::io::{self, Read};
use std::sync::Arc;

use orlop_store::{Descriptor, Digest};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use url::Url;

use self::session::Session;
use self::subject::Change;
use crate::auth::Scopes;
use crate::client::{Client, Core, join};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::pull::{self, MANIFEST_CAP};
use crate::registry::{PushOutcome, Repository, TagOrDigest};
use crate::transport::{Body, Request, Response, redact};

/// Opens the content of a blob from its start; called again for each new attempt.
pub type Source<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>;
/// Told how many bytes of the blob the registry has so far; falls back when an attempt starts over.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Repositories that are asked for a mount, at most.
const MOUNTS: usize = 4;

impl Client {
    /// Brings a blob into a repository: nothing is sent when it is there, or when the registry has it
    /// in one of `mount_from` (names on the same registry). Otherwise it goes by one PUT; broken
    /// uploads are resumed or begun anew, and a registry that refuses the PUT gets it in chunks.
    ///
    /// `source` and `progress` are called on this thread only.
    ///
    /// # Errors
    /// When the registry refuses, cannot be reached, or the source is not what `descriptor` says.
    pub fn push_blob(
        &self,
        repo: &Repository,
        descriptor: &Descriptor,
        source: Source<'_>,
        mount_from: &[&str],
        progress: Progress<'_>,
    ) -> Result<PushOutcome, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let (core, blob, here) = (Arc::clone(&self.core), descriptor.clone(), place.clone());
        let candidates: Vec<String> = mount_from
            .iter()
            .filter(|from| **from != repo.name() && Repository::new(repo.registry(), **from).is_ok())
            .take(MOUNTS)
            .map(|from| (*from).to_owned())
            .collect();
        let prepared = self.run(async move {
            if core.exists(&here, &blob, true).await? {
                return Ok(Prepared::Done(PushOutcome::Existed));
            }
            core.mount(&here, &blob, &candidates).await
        })?;
        let session = match prepared {
            Prepared::Done(outcome) => {
                progress(descriptor.size);
                return Ok(outcome);
            }
            Prepared::Session(session) => session,
        };
        upload::Upload::new(self, &place, descriptor, source, progress).run(session)?;
        Ok(PushOutcome::Uploaded)
    }

    /// Uploads a manifest or index under a tag or its digest. What it names must be there. One that refers to
    /// another manifest by `subject` is put into the list of its referrers where the registry does not do that.
    ///
    /// # Errors
    /// When the registry refuses it or cannot be reached, or `which` is another digest.
    pub fn push_manifest(
        &self,
        repo: &Repository,
        which: &TagOrDigest,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let digest = Digest::of(bytes);
        if let TagOrDigest::Digest(asked) = which
            && *asked != digest
        {
            let url = format!("{repo}@{asked}");
            return Err(Error::Digest { url, expected: *asked, found: digest });
        }
        let kind = HeaderValue::from_str(media_type)
            .map_err(|_| Error::Config { name: media_type.to_owned(), what: "not a media type".into() })?;
        let path = format!("{}/manifests/{}", place.name, which.path()?);
        let referrer = subject::subject_of(media_type, bytes);
        let (core, bytes) = (Arc::clone(&self.core), bytes::Bytes::copy_from_slice(bytes));
        let which = which.clone();
        self.run(async move {
            let make = |base: &Url| {
                let mut request =
                    Request::new(Method::PUT, join(base, &path)?).header(CONTENT_TYPE, kind.clone());
                request.body = Body::Bytes(bytes.clone());
                Ok(request)
            };
            let scopes = Scopes::push(&place.name);
            let send = || async {
                let response = core.exchange(&place, &scopes, false, &make).await?.success().await?;
                check_digest(&response, digest)?;
                // 201 is the registry's word (distribution specification, "Pushing manifests"); something in between
                // may say yes to anything.
                if response.status() != 201 && !core.has_manifest(&place, &which, digest).await? {
                    let what =
                        format!("{}, and yet the registry does not have the manifest", response.status());
                    return Err(response.protocol(what));
                }
                let listed = response.text("oci-subject").is_some();
                response.drain().await;
                Ok(listed)
            };
            let listed = match core.retrying(u32::MAX, send).await {
                // Damaged on the way, it stands under the tag now: what is sent again takes its place.
                Err(Error::Protocol { .. }) => core.retrying(u32::MAX, send).await?,
                Err(e) if is_linked_anew(&e) => {
                    tokio::time::sleep(core.config.retries.base).await;
                    core.retrying(u32::MAX, send).await?
                }
                end => end?,
            };
            if let Some((subject, descriptor)) = referrer.filter(|_| !listed) {
                core.change_referrers(&place, subject, &Change::Add(descriptor)).await?;
            }
            Ok(digest)
        })
    }
}

/// Whether a registry may have found a blob of the manifest while the end of another upload of the same blob (a push
/// that was killed, a push of somebody else) was writing down once more that it is there. docker-registry 2.8 truncates
/// that file first, and says of a manifest that comes in between that its digest is invalid.
fn is_linked_anew(error: &Error) -> bool {
    error.status() == Some(400) && error.code() == Some("DIGEST_INVALID")
}

/// What the registry says it has taken in must be what was sent.
fn check_digest(response: &Response, expected: Digest) -> Result<(), Error> {
    let said = response.text("docker-content-digest").and_then(|d| d.parse::<Digest>().ok());
    match said {
        Some(found) if found != expected => {
            Err(response
                .protocol(format!("the registry says that it took in {found}, but {expected} was sent")))
        }
        _ => Ok(()),
    }
}

enum Prepared {
    Done(PushOutcome),
    Session(Option<Session>),
}

impl Core {
    /// Whether the blob is there. A registry that refuses HEAD (or this HEAD) is taken to have none:
    /// the upload will tell.
    pub(crate) async fn exists(
        &self,
        place: &Endpoint,
        blob: &Descriptor,
        patient: bool,
    ) -> Result<bool, Error> {
        let path = format!("{}/blobs/{}", place.name, blob.digest);
        let send = || self.ask(place, Scopes::push(&place.name), Method::HEAD, &path);
        match self.retrying(if patient { u32::MAX } else { 0 }, send).await {
            Ok(response) => {
                let other_size = response.length().is_some_and(|l| l != blob.size && l != 0);
                let other_digest = check_digest(&response, blob.digest).is_err();
                // Any other success is not what registries say (distribution specification, "Checking if content
                // exists").
                Ok(response.status() == 200 && !other_size && !other_digest)
            }
            Err(Error::Status(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether this is the manifest that the registry has.
    async fn has_manifest(
        &self,
        place: &Endpoint,
        which: &TagOrDigest,
        digest: Digest,
    ) -> Result<bool, Error> {
        match pull::request(self, place, which, Method::GET).await {
            Ok(response) => Ok(Digest::of(&response.bytes(MANIFEST_CAP).await?) == digest),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Asks the registry to take the blob from another of its repositories. A refusal may come with
    /// an upload session, which is then as good as any.
    async fn mount(&self, place: &Endpoint, blob: &Descriptor, from: &[String]) -> Result<Prepared, Error> {
        let mut session: Option<Session> = None;
        for from in from {
            let path = format!("{}/blobs/uploads/?mount={}&from={from}", place.name, blob.digest);
            let send = || async {
                match self.ask(place, Scopes::mount(&place.name, from), Method::POST, &path).await {
                    // A mount only saves time: a registry that stumbles over it is not asked again.
                    Err(Error::Status(e)) if !matches!(e.status, 429 | 503) => Ok(None),
                    other => other.map(Some),
                }
            };
            let response = match self.retrying(u32::MAX, send).await {
                Ok(Some(response)) => response,
                // No right to read the other repository, none of that name, no mounts at all.
                Ok(None) | Err(Error::Status(_) | Error::Auth { .. }) => continue,
                Err(e) => return Err(e),
            };
            if response.status() == 201 && check_digest(&response, blob.digest).is_ok() {
                if let Some(unused) = session.take() {
                    self.cancel(place, unused).await;
                }
                return Ok(Prepared::Done(PushOutcome::Mounted));
            }
            if response.status() == 202
                && let Ok(next) = Session::of(&response, 0)
            {
                response.drain().await;
                if let Some(unused) = session.replace(next) {
                    self.cancel(place, unused).await;
                }
            }
        }
        Ok(Prepared::Session(session))
    }

    /// Tells the registry that an upload will not go on. It would find out by itself in a week.
    async fn cancel(&self, place: &Endpoint, session: Session) {
        let make = |_: &Url| Ok(Request::new(Method::DELETE, session.location.clone()));
        if let Ok(response) = self.exchange(place, &Scopes::push(&place.name), false, &make).await {
            response.drain().await;
        }
    }
}

/// An upload URL fit to print.
fn shown(session: &Session) -> String {
    redact(&session.location)
}
