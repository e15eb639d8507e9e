//! Plain downloads, for `ADD https://…` and for contexts: no registry, and no credentials but those that the URL itself has.

use std::io::{self, Read};

use orlop_store::Descriptor;
use reqwest::Method;
use url::Url;

use crate::client::Client;
use crate::error::Error;
use crate::pipe::{ChunkReader, pipe};
use crate::transport::{Request, Response, Route, redact};

/// Bytes that are fetched before the reader asks for them.
const AHEAD: usize = 1 << 20;

/// What the server said about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadHead {
    /// Where it came from in the end, redirects followed; may hold secrets of a signed URL.
    pub url: String,
    /// `Content-Length`.
    pub size: Option<u64>,
    /// `Last-Modified`, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// `ETag`, as it is.
    pub etag: Option<String>,
    /// `Content-Type`, as it is.
    pub content_type: Option<String>,
    /// `Content-Disposition`, as it is.
    pub content_disposition: Option<String>,
}

impl DownloadHead {
    fn of(response: &Response) -> Self {
        let get = |name: &str| response.text(name).map(str::to_owned);
        Self {
            url: response.url().to_string(),
            size: response.length(),
            last_modified: response.text("last-modified").and_then(crate::retry::http_date),
            etag: get("etag"),
            content_type: get("content-type"),
            content_disposition: get("content-disposition"),
        }
    }
}

/// A file as it arrives. Nothing verifies it but its length.
#[derive(Debug)]
pub struct Download {
    head: DownloadHead,
    body: ChunkReader,
}

impl Download {
    /// What the server said about it.
    pub fn head(&self) -> &DownloadHead {
        &self.head
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.body.read(buf)
    }
}

impl Client {
    /// Fetches an `http` or `https` URL, redirects followed. A body beyond `cap` bytes is an error.
    /// Failures before the first byte are tried again; a body that breaks is not, because nothing
    /// says that the file is still the same.
    ///
    /// # Errors
    /// When the URL is not such, the server cannot be reached or says no.
    pub fn download(&self, url: &str, cap: Option<u64>) -> Result<Download, Error> {
        let mut response = self.plain(url)?;
        let head = DownloadHead::of(&response);
        let too_long =
            move |r: &Response| r.protocol(format!("longer than {} bytes", cap.unwrap_or(u64::MAX)));
        let cap = cap.unwrap_or(u64::MAX);
        if head.size.is_some_and(|size| size > cap) {
            return Err(too_long(&response));
        }
        let (writer, reader) = pipe(AHEAD);
        let task = self.spawn(async move {
            let mut got = 0u64;
            let end = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        got = got.saturating_add(chunk.len() as u64);
                        if got > cap {
                            break Err(too_long(&response));
                        }
                        if !writer.send(chunk).await {
                            break Err(Error::Cancelled);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(e) => break Err(e),
                }
            };
            writer.finish(end);
        })?;
        Ok(Download { head, body: ChunkReader::new(reader, task, self.clone()) })
    }

    /// Fetches a layer that its registry does not keep from one of its URLs, without any registry's credentials. The
    /// URL's host is one that [`HostsConfig::foreign`](crate::hosts::HostsConfig::foreign) allows; redirects of that
    /// host are followed to wherever they lead.
    /// Nothing verifies the bytes but that they are not more than the descriptor says.
    ///
    /// # Errors
    /// [`Error::ForeignHost`], or as for [`Client::download`].
    pub fn foreign_blob(&self, url: &str, descriptor: &Descriptor) -> Result<Download, Error> {
        let parsed = Url::parse(url).ok().filter(|u| u.username().is_empty() && u.password().is_none());
        let host = parsed.as_ref().and_then(|u| Some((u.host_str()?.to_owned(), u.port_or_known_default())));
        let Some((host, port)) = host else {
            return Err(Error::Config {
                name: format!("layer {}", descriptor.digest.short()),
                what: "one of its URLs is not such".into(),
            });
        };
        if !self.core.config.hosts.allows_foreign(&host, port) {
            return Err(Error::ForeignHost { digest: descriptor.digest, host });
        }
        self.download(url, Some(descriptor.size))
    }

    fn plain(&self, url: &str) -> Result<Response, Error> {
        let parsed = Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let url = parsed.ok_or_else(|| Error::Config {
            name: Url::parse(url).map_or_else(|_| "URL".to_owned(), |u| redact(&u)),
            what: "not an `http` or `https` URL".into(),
        })?;
        let core = std::sync::Arc::clone(&self.core);
        core.transport.secrets().add_url(url.as_str());
        self.run(async move {
            let send = || async {
                let route = Route { registry: None, insecure: false, bulk: true };
                let request = Request { downgrade: true, ..Request::new(Method::GET, url.clone()) };
                core.transport.send(request, &route).await?.success().await
            };
            core.retrying(u32::MAX, send).await
        })
    }
}
