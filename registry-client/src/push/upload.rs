//! The course of one upload: a single PUT, and what follows when that does not do.

use std::sync::Arc;

use orlop_store::Descriptor;
use reqwest::Method;
use url::Url;

use super::body::{Extent, Part};
use super::session::{Session, received};
use super::{Progress, Source, check_digest, shown};
use crate::auth::Scopes;
use crate::client::Client;
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::retry::{Attempts, got_on};
use crate::transport::{Request, Response};

/// The size of a chunk for registries that refuse the whole.
const CHUNK: u64 = 16 << 20;
/// No chunk gets smaller than this, unless it is the last.
const LEAST_CHUNK: u64 = 64 << 10;
/// Attempts in all, whatever trickles in between.
const ATTEMPTS: u32 = 100;

/// How the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One PUT.
    Whole,
    /// PATCH from where the registry is to the end, then an empty PUT: resumes a broken upload.
    Rest,
    /// PATCH by PATCH, then an empty PUT.
    Chunks(u64),
}

/// One blob on its way.
pub(super) struct Upload<'a> {
    client: &'a Client,
    place: &'a Endpoint,
    blob: &'a Descriptor,
    source: Source<'a>,
    progress: Progress<'a>,
    way: Way,
    /// Sessions that the registry had forgotten, and uploads that it found damaged.
    lost: u32,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        client: &'a Client,
        place: &'a Endpoint,
        blob: &'a Descriptor,
        source: Source<'a>,
        progress: Progress<'a>,
    ) -> Self {
        Self { client, place, blob, source, progress, way: Way::Whole, lost: 0 }
    }

    pub(super) fn run(self, session: Option<Session>) -> Result<(), Error> {
        let client = self.client;
        self.attempts(session).map_err(|e| client.masked(e))
    }

    fn attempts(mut self, mut session: Option<Session>) -> Result<(), Error> {
        let (mut attempts, mut furthest) = (Attempts::default(), 0u64);
        for _ in 0..ATTEMPTS {
            let mut now = match session.take() {
                Some(session) => session,
                None => self.start()?,
            };
            let error = match self.once(&mut now) {
                Ok(()) => return Ok(()),
                Err(e) => e,
            };
            if let Some(next) = self.other_way(&error, now.offset) {
                self.way = next;
                continue;
            }
            if got_on(now.offset.saturating_sub(furthest), self.blob.size, &error) {
                furthest = now.offset;
                attempts.got_on();
            }
            let Some(wait) = self.client.core.announce(&mut attempts, &error) else {
                return Err(error);
            };
            self.client.pause(wait)?;
            // The answer may have been lost after the registry had it all.
            if self.exists() {
                return Ok(());
            }
            session = self.resume(&now);
        }
        Err(Error::Protocol {
            method: "PUT".into(),
            url: format!("{}/{}", self.place.registry, self.place.name),
            what: format!("no end to the upload of {} after {ATTEMPTS} attempts", self.blob.digest),
        })
    }

    /// What to try with a new session after a refusal that another way may get around.
    fn other_way(&mut self, error: &Error, offset: u64) -> Option<Way> {
        let e = match error {
            Error::Status(e) => e,
            // What it says cannot be: once more from the start.
            Error::Protocol { .. } if self.lost == 0 => {
                self.lost = 1;
                return Some(if self.way == Way::Rest { Way::Whole } else { self.way });
            }
            _ => return None,
        };
        match (e.status, e.code.as_deref(), self.way) {
            // Damaged on the way, or sessions that a restarted registry lost: once more from the start.
            (400, Some("DIGEST_INVALID"), _) | (404, Some("BLOB_UPLOAD_UNKNOWN"), _) if self.lost == 0 => {
                self.lost = 1;
                Some(if self.way == Way::Rest { Way::Whole } else { self.way })
            }
            (400, Some("DIGEST_INVALID" | "NAME_INVALID" | "SIZE_INVALID"), _) => None,
            (413, _, Way::Chunks(size)) if size > LEAST_CHUNK => {
                Some(Way::Chunks((size / 2).max(LEAST_CHUNK)))
            }
            (400 | 404 | 405 | 411 | 413 | 415 | 416 | 501, _, Way::Whole | Way::Rest) => {
                Some(Way::Chunks(CHUNK))
            }
            (400 | 404 | 416, _, Way::Chunks(_)) if offset > 0 && self.lost < 2 => {
                self.lost += 1;
                Some(self.way)
            }
            _ => None,
        }
    }

    fn once(&mut self, session: &mut Session) -> Result<(), Error> {
        if self.way == Way::Whole && session.offset == 0 {
            let part = self.part(0, self.blob.size, false);
            return self.committed(part.send(&Method::PUT, session.commit(self.blob.digest))?);
        }
        let mut stuck = 0;
        while session.offset < self.blob.size {
            let left = self.blob.size - session.offset;
            let length = match self.way {
                Way::Whole | Way::Rest => left,
                Way::Chunks(size) => left.min(size.max(session.min_chunk)),
            };
            let end = session.offset + length;
            let response =
                self.part(session.offset, length, true).send(&Method::PATCH, session.location.clone())?;
            match response.status().as_u16() {
                200..=299 => {
                    let told = received(&response);
                    let mut next = Session::of(&response, session.min_chunk).or_else(|e| {
                        // No new `Location`: the old one goes on.
                        if response.text("location").is_none() { Ok(session.clone()) } else { Err(e) }
                    })?;
                    self.drain(response);
                    // `0-0` after one byte is right, and after more bytes no news.
                    next.offset = told.filter(|n| *n > 0).unwrap_or(end);
                    stuck = if next.offset > session.offset { 0 } else { stuck + 1 };
                    if next.offset > end || stuck > 3 {
                        return Err(self.confused(session, next.offset));
                    }
                    *session = next;
                }
                416 if stuck == 0 => {
                    stuck += 1;
                    let error = self.error(response);
                    match self.status(session) {
                        Some(next) if next.offset <= self.blob.size => *session = next,
                        _ => return Err(error),
                    }
                }
                _ => return Err(self.error(response)),
            }
            (self.progress)(session.offset);
        }
        let (core, place) = (Arc::clone(&self.client.core), self.place.clone());
        let url = session.commit(self.blob.digest);
        let response = self.client.run(async move {
            let make = |_: &Url| Ok(Request::new(Method::PUT, url.clone()));
            core.exchange(&place, &Scopes::push(&place.name), true, &make).await
        })?;
        self.committed(response)
    }

    fn part(&self, start: u64, length: u64, ranged: bool) -> Part<'_> {
        let (client, place, blob) = (self.client, self.place, self.blob);
        let extent = Extent::Of { blob, start, length, ranged };
        Part { client, place, source: self.source, progress: self.progress, extent }
    }

    fn committed(&self, response: Response) -> Result<(), Error> {
        if !response.status().is_success() {
            return Err(self.error(response));
        }
        check_digest(&response, self.blob.digest)?;
        // The word of a registry is 201 (distribution specification, "Pushing blobs"). Something else in between
        // may say yes to anything.
        if response.status() != 201 && !self.exists() {
            let what = format!("{}, and yet the registry does not have the blob", response.status());
            return Err(response.protocol(what));
        }
        self.drain(response);
        (self.progress)(self.blob.size);
        Ok(())
    }

    fn confused(&self, session: &Session, offset: u64) -> Error {
        Error::Protocol {
            method: "PATCH".into(),
            url: shown(session),
            what: format!("the registry says that it has {offset} bytes of {}", self.blob.size),
        }
    }

    /// Where a broken upload may go on; nothing means from the start.
    fn resume(&mut self, session: &Session) -> Option<Session> {
        match self.status(session) {
            Some(next) if next.offset > 0 && next.offset <= self.blob.size => {
                if self.way == Way::Whole {
                    self.way = Way::Rest;
                }
                Some(next)
            }
            _ => {
                if self.way == Way::Rest {
                    self.way = Way::Whole;
                }
                None
            }
        }
    }

    fn start(&self) -> Result<Session, Error> {
        let (core, place) = (Arc::clone(&self.client.core), self.place.clone());
        self.client.run(async move { core.start(&place).await })
    }

    fn status(&self, session: &Session) -> Option<Session> {
        let (core, place, session) = (Arc::clone(&self.client.core), self.place.clone(), session.clone());
        self.client.run(async move { core.status(&place, &session).await }).ok().flatten()
    }

    fn exists(&self) -> bool {
        let (core, place, blob) = (Arc::clone(&self.client.core), self.place.clone(), self.blob.clone());
        self.client.run(async move { core.exists(&place, &blob, false).await }).unwrap_or(false)
    }

    fn error(&self, response: Response) -> Error {
        match self.client.run(async move { Ok(response.into_error().await) }) {
            Ok(e) | Err(e) => e,
        }
    }

    fn drain(&self, response: Response) {
        // What is left of the body is of no interest, only that the connection can be used again.
        let _done = self.client.run(async move {
            response.drain().await;
            Ok(())
        });
    }
}
