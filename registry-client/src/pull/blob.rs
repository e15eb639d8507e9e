//! A blob as a stream that survives broken connections.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Buf;
use orlop_store::{Descriptor, Digest, Digester};
use reqwest::Method;
use reqwest::header::{HeaderValue, RANGE};
use url::Url;

use crate::auth::Scopes;
use crate::client::{Client, Core, is_worth_it, join};
use crate::error::{Error, TransportKind};
use crate::hosts::{Endpoint, Places};
use crate::mirrors::Failed;
use crate::pipe::{ChunkReader, Writer, pipe};
use crate::registry::Repository;
use crate::retry::{Attempts, got_on};
use crate::transport::{Request, Response};

/// Bytes that are fetched before the reader asks for them.
const AHEAD: usize = 2 << 20;
/// A transfer that never gets on for good ends after so many attempts, whatever trickles in between.
const ATTEMPTS: u32 = 200;

/// The content of a blob. End of file is only ever reported after size and digest were found right;
/// what is wrong comes as an [`io::Error`] with an [`Error`] inside.
#[derive(Debug)]
pub struct BlobReader(ChunkReader);

impl BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Client {
    /// Streams a blob, downloading ahead of the reader. A connection that breaks is taken up again
    /// where it was, by `Range` where the registry has it; failures that may pass are tried again.
    ///
    /// # Errors
    /// When configuration forbids the registry. What the registry says comes from reading.
    pub fn blob(&self, repo: &Repository, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        let places = self.core.blob_places(repo, descriptor.digest)?;
        let (writer, reader) = pipe(AHEAD);
        let (core, descriptor) = (Arc::clone(&self.core), descriptor.clone());
        let task = self.spawn(async move {
            let mut download = Download::new(core, descriptor, &writer);
            let end = download.run(&places).await;
            writer.finish(end);
        })?;
        Ok(BlobReader(ChunkReader::new(reader, task, self.clone())))
    }

    /// Whether the repository has the blob.
    ///
    /// # Errors
    /// When the registry cannot be asked; that it has none is no error.
    pub fn has_blob(&self, repo: &Repository, digest: Digest) -> Result<bool, Error> {
        let place = self.core.config.hosts.push_endpoint(repo)?;
        let core = Arc::clone(&self.core);
        self.run(async move {
            let path = format!("{}/blobs/{digest}", place.name);
            let send = || core.ask(&place, Scopes::pull(&place.name), Method::HEAD, &path);
            match core.retrying(u32::MAX, send).await {
                Ok(_) => Ok(true),
                Err(e) if e.is_not_found() => Ok(false),
                Err(e) => Err(e),
            }
        })
    }
}

struct Download<'a> {
    core: Arc<Core>,
    blob: Descriptor,
    out: &'a Writer<Error>,
    digester: Digester,
    /// The registry does not do `Range`: start over and skip what we have.
    whole_only: bool,
    last_url: String,
}

impl<'a> Download<'a> {
    fn new(core: Arc<Core>, blob: Descriptor, out: &'a Writer<Error>) -> Self {
        Self { core, blob, out, digester: Digester::new(), whole_only: false, last_url: String::new() }
    }

    async fn run(&mut self, places: &Places) -> Result<(), Error> {
        let mut failed = Failed::new(places);
        for (i, place) in places.list.iter().enumerate() {
            self.whole_only = false;
            match self.fetch(place, places.patience(i)).await {
                // Wrong bytes are with the reader already: it has to begin anew, and not here.
                Ok(()) => return self.verify().inspect_err(|e| drop(self.core.mirror_failed(place, e))),
                Err(e @ Error::Cancelled) => return Err(e),
                Err(e) => failed.add(&self.core, place, e),
            }
        }
        Err(failed.into_error())
    }

    async fn fetch(&mut self, place: &Endpoint, limit: u32) -> Result<(), Error> {
        let (mut attempts, mut all) = (Attempts::default(), 0);
        loop {
            let at = self.digester.size();
            let error = match self.once(place).await {
                Ok(()) => return Ok(()),
                Err(e) => e,
            };
            if got_on(self.digester.size() - at, self.blob.size, &error) {
                attempts.got_on();
            }
            all += 1;
            let may = attempts.failures < limit && all < ATTEMPTS && is_worth_it(limit, &error);
            match may.then(|| self.core.announce(&mut attempts, &error)).flatten() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// One request, passing on what comes beyond what we have.
    async fn once(&mut self, place: &Endpoint) -> Result<(), Error> {
        let at = self.digester.size();
        let size = self.blob.size;
        let mut from = if self.whole_only { 0 } else { at };
        if from > 0 && from == size {
            return Ok(());
        }
        let path = format!("{}/blobs/{}", place.name, self.blob.digest);
        let make = move |base: &Url| {
            let mut request = Request::new(Method::GET, join(base, &path)?);
            if from > 0 {
                let value = HeaderValue::from_str(&format!("bytes={from}-"));
                request.headers.insert(RANGE, value.map_err(|_| Error::Cancelled)?);
            }
            Ok(request)
        };
        let mut response = self.core.exchange(place, &Scopes::pull(&place.name), true, &make).await?;
        self.last_url = response.shown().to_owned();
        match response.status().as_u16() {
            200 => {
                from = 0;
                if let Some(found) = response.length().filter(|l| *l > size) {
                    return Err(self.wrong_size(found));
                }
            }
            206 => from = start_of(&response, from)?,
            416 if from > 0 => {
                response.drain().await;
                self.whole_only = true;
                return Box::pin(self.once(place)).await;
            }
            _ if response.status().is_success() => {
                return Err(response.protocol("not an answer to GET of a blob"));
            }
            _ => return Err(response.into_error().await),
        }
        if from > at {
            return Err(response.protocol("the answer starts behind the byte that was asked for"));
        }
        let mut skip = at - from;
        while let Some(mut chunk) = response.chunk().await? {
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            // At most the chunk's length, and so a usize.
            chunk.advance(skipped as usize);
            if chunk.is_empty() {
                continue;
            }
            let total = self.digester.size() + chunk.len() as u64;
            if total > size {
                return Err(self.wrong_size(total));
            }
            self.digester.update(&chunk);
            if !self.out.send(chunk).await {
                return Err(Error::Cancelled);
            }
        }
        let got = self.digester.size();
        if got == size {
            return Ok(());
        }
        if self.whole_only && got == at {
            return Err(self.wrong_size(got));
        }
        Err(Error::Transport {
            method: "GET".into(),
            url: self.last_url.clone(),
            kind: TransportKind::Broken,
            source: Some(format!("the answer ended after {got} of {size} bytes").into()),
        })
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::Size { url: self.last_url.clone(), expected: self.blob.size, found }
    }

    fn verify(&self) -> Result<(), Error> {
        let found = self.digester.clone().finish();
        match found == self.blob.digest {
            true => Ok(()),
            false => Err(Error::Digest { url: self.last_url.clone(), expected: self.blob.digest, found }),
        }
    }
}

/// Where the bytes of a 206 start: `Content-Range: bytes 100-199/200`.
fn start_of(response: &Response, asked: u64) -> Result<u64, Error> {
    let Some(range) = response.text("content-range") else {
        return match response.text("content-type") {
            Some(t) if t.starts_with("multipart/") => Err(response.protocol("several ranges for one")),
            _ => Ok(asked),
        };
    };
    range
        .trim()
        .strip_prefix("bytes")
        .and_then(|r| r.trim_start_matches([' ', '=']).split('-').next()?.trim().parse().ok())
        .ok_or_else(|| response.protocol(format!("`Content-Range: {range}` cannot be read")))
}
