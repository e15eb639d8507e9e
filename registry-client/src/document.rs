//! Manifests of any kind, for whoever passes them on as they are: artifacts of whatever media type as well as images.

use std::sync::Arc;

use reqwest::Method;

use crate::auth::Scopes;
use crate::client::Client;
use crate::error::Error;
use crate::pull::{any_media_type, head};
use crate::registry::{ManifestHead, ManifestResponse, Repository, TagOrDigest};
use orlop_store::Digest;

impl Client {
    /// Fetches a manifest of whatever media type and verifies it as [`Client::manifest`] does.
    ///
    /// # Errors
    /// When there is none, when it is of Docker's schema 1, or when its digest is wrong.
    pub fn document(&self, repo: &Repository, which: &TagOrDigest) -> Result<ManifestResponse, Error> {
        let (core, repo, which) = (Arc::clone(&self.core), repo.clone(), which.clone());
        self.run(async move { core.manifest_as(&repo, &which, any_media_type).await })
    }

    /// What a tag points to, of whatever media type: one HEAD where the registry answers that in full, else as
    /// [`Client::document`].
    ///
    /// # Errors
    /// As for [`Client::document`].
    pub fn head_document(&self, repo: &Repository, which: &TagOrDigest) -> Result<ManifestHead, Error> {
        let (core, repo, which) = (Arc::clone(&self.core), repo.clone(), which.clone());
        self.run(async move {
            let places = core.manifest_places(&repo, &which)?;
            let answer = core.on_places(&places, |place| head(&core, place, &which));
            match answer.await {
                Ok((Some(head), _)) => return Ok(head),
                // What did not pass in several attempts hardly does in as many more.
                Err(e) if e.is_temporary() => return Err(e),
                // HEAD gives no reasons, and says nothing of schema 1.
                _ => {}
            }
            let whole = core.manifest_as(&repo, &which, any_media_type).await?;
            let size = whole.bytes.len() as u64;
            Ok(ManifestHead { media_type: whole.media_type, digest: whole.digest, size })
        })
    }

    /// The digest of what is there where a manifest is to be pushed to: one HEAD, of the registry itself and no
    /// mirror. None where there is nothing, where the registry does not say, or where it refuses the question, which may
    /// be for want of a login: the push will tell.
    ///
    /// # Errors
    /// When the registry cannot be reached, or when there is no token to be had for it.
    pub fn pushed_document(&self, repo: &Repository, which: &TagOrDigest) -> Result<Option<Digest>, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let core = Arc::clone(&self.core);
        let path = format!("{}/manifests/{}", place.name, which.path()?);
        let asked = which.clone();
        self.run(async move {
            let send = || core.ask_document(&place, Scopes::push(&place.name), Method::HEAD, &path);
            match core.retrying(u32::MAX, send).await {
                Ok(response) => {
                    let said = response.text("docker-content-digest").and_then(|d| d.parse::<Digest>().ok());
                    response.drain().await;
                    Ok(said.filter(|said| !matches!(asked, TagOrDigest::Digest(asked) if asked != *said)))
                }
                // HEAD may be refused where a push is not: that will tell.
                Err(Error::Status(_)) => Ok(None),
                Err(e) => Err(e),
            }
        })
    }
}
