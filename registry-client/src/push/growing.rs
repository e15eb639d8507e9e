//! A blob that is sent while it is being made: its digest and size are known when its last byte is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orlop_store::Descriptor;
use reqwest::Method;

use super::body::{Extent, Part};
use super::session::{Session, received};
use super::{Progress, Source, upload};
use crate::client::Client;
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::registry::{PushOutcome, Repository};

impl Client {
    /// Sends a blob from the first byte on that `source` gives, whose reads wait for the bytes that are still being
    /// made. When it has ended, `whole` says what the blob is, or waits until that is known.
    ///
    /// It goes by one PATCH without a length, then a PUT with the digest. Whatever goes wrong on the way, a
    /// registry or proxy that takes no such PATCH included, is left to what [`Client::push_blob`] does for a blob that
    /// is known: only then it is waited for.
    ///
    /// `source`, `whole` and `progress` are called on this thread only.
    ///
    /// # Errors
    /// As for [`Client::push_blob`].
    pub fn push_growing(
        &self,
        repo: &Repository,
        source: Source<'_>,
        whole: &dyn Fn() -> io::Result<Descriptor>,
        progress: Progress<'_>,
    ) -> Result<PushOutcome, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let session = self.send_growing(&place, source, progress)?;
        let blob = whole().map_err(|source| Error::Source { digest: None, source })?;
        let session = session.filter(|session| session.offset <= blob.size);
        upload::Upload::new(self, &place, &blob, source, progress).run(session)?;
        Ok(PushOutcome::Uploaded)
    }

    /// Sends all that there is; gives the session with as much as the registry then has, none where that is nothing.
    fn send_growing(
        &self,
        place: &Endpoint,
        source: Source<'_>,
        progress: Progress<'_>,
    ) -> Result<Option<Session>, Error> {
        let (core, there) = (Arc::clone(&self.core), place.clone());
        let session = self.run(async move { core.start(&there).await })?;
        let sent = AtomicU64::new(0);
        let count = |bytes| {
            sent.store(bytes, Ordering::Relaxed);
            progress(bytes);
        };
        let part = Part { client: self, place, source, progress: &count, extent: Extent::Unknown };
        match part.send(&Method::PATCH, session.location.clone()) {
            Ok(response) if response.status().is_success() => {
                let mut next = Session::of(&response, session.min_chunk).unwrap_or_else(|_| session.clone());
                next.offset = received(&response).filter(|n| *n > 0).unwrap_or_else(|| sent.into_inner());
                let _drained = self.run(async move {
                    response.drain().await;
                    Ok(())
                });
                return Ok(Some(next));
            }
            Err(e @ Error::Source { .. }) => return Err(e),
            Ok(_) | Err(_) => {}
        }
        let (core, there) = (Arc::clone(&self.core), place.clone());
        self.run(async move {
            match core.status(&there, &session).await {
                Ok(Some(left)) if left.offset > 0 => Ok(Some(left)),
                _ => {
                    core.cancel(&there, session).await;
                    Ok(None)
                }
            }
        })
    }
}
