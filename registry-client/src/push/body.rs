//! One request with a body that is read on the caller's thread while a task sends it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use orlop_store::Descriptor;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::pieces::{PIECE, Pieces};
use super::{Progress, Source};
use crate::auth::Scopes;
use crate::client::{Client, uploads};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::pipe::pipe;
use crate::transport::{Body, Request, Response, Route};

/// Bytes that wait for the network.
const AHEAD: usize = 1 << 20;
/// Attempts with one body, for redirects and new tokens; each costs reading the source again.
const REPEATS: usize = 4;

/// What is sent of a blob.
pub(super) struct Part<'a> {
    pub(super) client: &'a Client,
    pub(super) place: &'a Endpoint,
    pub(super) source: Source<'a>,
    pub(super) progress: Progress<'a>,
    pub(super) extent: Extent<'a>,
}

/// Which bytes of a blob are sent.
#[derive(Clone, Copy)]
pub(super) enum Extent<'a> {
    /// Some of a blob that is known.
    Of {
        blob: &'a Descriptor,
        start: u64,
        length: u64,
        /// Say which bytes these are, as PATCH wants it.
        ranged: bool,
    },
    /// All that the source gives: nobody knows yet how much that is.
    Unknown,
}

impl Extent<'_> {
    fn start(&self) -> u64 {
        if let Self::Of { start, .. } = self { *start } else { 0 }
    }

    fn length(&self) -> Option<u64> {
        if let Self::Of { length, .. } = self { Some(*length) } else { None }
    }

    /// The whole blob's size, for messages and to find out that there is more.
    fn size(&self) -> Option<u64> {
        if let Self::Of { blob, .. } = self { Some(blob.size) } else { None }
    }

    /// `Content-Range`, in the registries' way of writing it.
    fn range(&self) -> Option<String> {
        match self {
            Self::Of { start, length, ranged: true, .. } if *length > 0 => {
                Some(format!("{start}-{}", start + length - 1))
            }
            _ => None,
        }
    }

    /// The error of a source that cannot be read or is not what it should be.
    fn bad_source(&self, source: io::Error) -> Error {
        let digest = if let Self::Of { blob, .. } = self { Some(blob.digest) } else { None };
        Error::Source { digest, source }
    }
}

impl Part<'_> {
    /// Sends the part to `url`; any answer but a redirect or a demand for another token is handed back.
    pub(super) fn send(&self, method: &Method, url: Url) -> Result<Response, Error> {
        let first = url.clone();
        let mut url = url;
        for attempt in 1..=REPEATS {
            let (response, sent) = self.once(method, &url)?;
            match response.status().as_u16() {
                307 | 308 => match response.redirect(method)? {
                    Some((next, _)) => url = next,
                    None => return Ok(response),
                },
                401 if attempt < REPEATS => {
                    let (core, place) = (Arc::clone(&self.client.core), self.place.clone());
                    let (response, again) = self.client.run(async move {
                        let mut response = response;
                        if sent.is_some() {
                            response.set_login(core.auth.login(&place).await);
                        }
                        let base = core.base(&place).await?;
                        let own = response.url().origin() == base.origin();
                        let scopes = Scopes::push(&place.name);
                        let again = own
                            && core
                                .auth
                                .challenged(&core.transport, &place, &scopes, sent.as_ref(), &mut response)
                                .await?;
                        Ok((response, again))
                    })?;
                    if !again {
                        return Ok(response);
                    }
                }
                _ => return Ok(response),
            }
        }
        Err(Error::Transport {
            method: method.to_string(),
            url: crate::transport::shown(&first, &url),
            kind: crate::error::TransportKind::Redirect,
            source: None,
        })
    }

    fn once(&self, method: &Method, url: &Url) -> Result<(Response, Option<HeaderValue>), Error> {
        let mut source = self.open()?;
        let (writer, reader) = pipe::<io::Error>(AHEAD);
        let monitor = writer.monitor();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(range) = self.extent.range() {
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| Error::Cancelled)?);
        }
        let (core, place, url, method) =
            (Arc::clone(&self.client.core), self.place.clone(), url.clone(), method.clone());
        let length = self.extent.length();
        let (answer, receive) = std::sync::mpsc::sync_channel(1);
        let task = self.client.spawn(async move {
            let result = async {
                let base = core.base(&place).await?;
                let mut sent = None;
                if url.origin() == base.origin() {
                    sent = core.auth.header(&core.transport, &place, &Scopes::push(&place.name)).await?;
                }
                if let Some(value) = &sent {
                    headers.insert(AUTHORIZATION, value.clone());
                }
                let body = Body::Stream { reader, monitor, length };
                let asked =
                    Some(if url.origin() == base.origin() { url.clone() } else { uploads(&base, &place)? });
                let insecure = core.is_insecure(&place, &base, &url);
                let route = Route { registry: Some(place.host()), insecure, bulk: true };
                let request =
                    Request { headers, body, asked, keep_redirect: true, ..Request::new(method, url) };
                Ok((core.transport.send(request, &route).await?, sent))
            };
            let _gone = answer.send(result.await);
        })?;
        let stop = &self.client.stop;
        let fed = self.feed(&mut *source, |piece| writer.send_blocking(piece, stop));
        match fed {
            // Without an end, as what has gone so far may be a part.
            Ok(()) if stop.is_asked() => {
                task.abort();
                return Err(Error::Cancelled);
            }
            Ok(()) => writer.finish(Ok(())),
            Err(e) => {
                task.abort();
                return Err(self.extent.bad_source(e));
            }
        }
        self.client.wait(&receive).inspect_err(|_| task.abort())
    }

    /// The source, from the part's first byte.
    fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        let bad = |e| self.extent.bad_source(e);
        let mut source = (self.source)().map_err(bad)?;
        let start = self.extent.start();
        let skipped = io::copy(&mut (&mut source).take(start), &mut io::sink()).map_err(bad)?;
        if skipped < start {
            return Err(bad(short(skipped, self.extent.size())));
        }
        Ok(source)
    }

    /// Reads the part to its end, or until the other side wants no more (its answer says why).
    fn feed(&self, source: &mut dyn Read, mut put: impl FnMut(Bytes) -> bool) -> io::Result<()> {
        let pieces = Pieces::default();
        let mut at = self.extent.start();
        let end = self.extent.length().map(|length| at + length);
        while end.is_none_or(|end| at < end) {
            let want = end.map_or(PIECE as u64, |end| (end - at).min(PIECE as u64)) as usize;
            let mut piece = pieces.room(want);
            let mut filled = 0;
            while filled < want {
                match source.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            at += filled as u64;
            if filled < want && end.is_some() {
                return Err(short(at, self.extent.size()));
            }
            if end == Some(at) && self.extent.size() == end && source.read(&mut [0])? != 0 {
                // Found before the last piece goes, so that nothing is committed.
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("longer than the {at} bytes that its descriptor says"),
                ));
            }
            if filled > 0 && !put(pieces.filled(piece, filled)) {
                return Ok(());
            }
            (self.progress)(at);
            if filled < want {
                break;
            }
        }
        Ok(())
    }
}

fn short(got: u64, size: Option<u64>) -> io::Error {
    let of = size.map(|size| format!(" of {size}")).unwrap_or_default();
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("ended after {got}{of} bytes"))
}
