//! An upload session: where the next bytes go, and how many are there.

use orlop_store::Digest;
use reqwest::Method;
use url::Url;

use crate::auth::Scopes;
use crate::client::{Core, join};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::transport::{Request, Response};

/// Where an upload stands, as the registry last said.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// For the next request; its query belongs to the registry and is kept as it is.
    pub(crate) location: Url,
    /// Bytes that the registry has.
    pub(crate) offset: u64,
    /// The least that a chunk but the last may hold (`OCI-Chunk-Min-Length`).
    pub(crate) min_chunk: u64,
}

impl Session {
    /// Reads an answer to POST, PATCH or GET of an upload; `before` is the smallest chunk known so far.
    pub(crate) fn of(response: &Response, before: u64) -> Result<Self, Error> {
        let location = location(response)?.ok_or_else(|| {
            response.protocol("the registry did not say where to upload to (no `Location`)")
        })?;
        let min = response.text("oci-chunk-min-length").and_then(|t| t.trim().parse().ok());
        Ok(Self { location, offset: 0, min_chunk: min.unwrap_or(before) })
    }

    /// The URL that ends the upload.
    pub(crate) fn commit(&self, digest: Digest) -> Url {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        url
    }
}

/// `Location`, absolute, relative to the host or to the request. A registry behind a proxy that ends
/// TLS often says `http` for itself: that stays HTTPS.
fn location(response: &Response) -> Result<Option<Url>, Error> {
    let Some(text) = response.text("location").map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    let asked = response.url();
    let mut url = asked.join(text).map_err(|_| response.protocol("its `Location` is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(response.protocol("its `Location` is no HTTP URL"));
    }
    if asked.scheme() == "https" && url.scheme() == "http" && url.host() == asked.host() {
        let port = url.port();
        let same = port == asked.port() || port.is_none();
        if same && url.set_scheme("https").is_ok() && port.is_none() {
            // Cannot fail for a URL with a host.
            let _ = url.set_port(asked.port());
        }
    }
    if !response.may_lead_to(&url) {
        return Err(response.plain_http("its `Location` leads", &url));
    }
    url.set_fragment(None);
    // Neither can fail for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(Some(url))
}

/// How many bytes `Range: 0-99` says are there. `0-0` is what registries say of an empty upload.
pub(crate) fn received(response: &Response) -> Option<u64> {
    let text = response.text("range")?.trim();
    let text = text.strip_prefix("bytes").map_or(text, |t| t.trim_start_matches([' ', '=']));
    let (start, end) = text.split_once('-')?;
    let end: u64 = end.split('/').next()?.trim().parse().ok()?;
    (start.trim() == "0").then(|| if end == 0 { 0 } else { end.saturating_add(1) })
}

impl Core {
    /// Begins an upload.
    pub(crate) async fn start(&self, place: &Endpoint) -> Result<Session, Error> {
        let path = format!("{}/blobs/uploads/", place.name);
        let send = || async {
            let response = self.ask(place, Scopes::push(&place.name), Method::POST, &path).await?;
            let session = match (Session::of(&response, 0), response.text("docker-upload-uuid")) {
                (Ok(session), _) => session,
                (Err(_), Some(id))
                    if id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_=.".contains(&c)) =>
                {
                    let base = self.base(place).await?;
                    Session { location: join(&base, &format!("{path}{id}"))?, offset: 0, min_chunk: 0 }
                }
                (Err(e), _) => return Err(e),
            };
            response.drain().await;
            Ok(session)
        };
        self.retrying(u32::MAX, send).await
    }

    /// Asks how far an upload came; nothing when the registry does not know it any more.
    pub(crate) async fn status(&self, place: &Endpoint, session: &Session) -> Result<Option<Session>, Error> {
        let make = |_: &Url| Ok(Request::new(Method::GET, session.location.clone()));
        let response = self.exchange(place, &Scopes::push(&place.name), false, &make).await?;
        if !response.status().is_success() {
            let error = response.into_error().await;
            return if error.is_temporary() { Err(error) } else { Ok(None) };
        }
        let location = location(&response)?.unwrap_or_else(|| session.location.clone());
        let offset = received(&response);
        response.drain().await;
        Ok(offset.map(|offset| Session { location, offset, min_chunk: session.min_chunk }))
    }
}
