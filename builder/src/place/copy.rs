//! One copy, from what a name means to the name at the other place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orlop_registry_client::{Client, PushOutcome, Repository, TagOrDigest};
use orlop_runner::CancelToken;
use orlop_store::{Descriptor, Digest, Platform};

use super::destination::{self, Destination, Passage};
use super::document::Document;
use super::source::Source;
use super::{Place, pick, pick_asked, referrers};
use crate::error::BuildError;
use crate::event::Task;
use crate::transfer::registry_error;

/// Blobs that are on their way at one time.
pub(super) const SIDE_BY_SIDE: usize = 6;
/// How deep indexes may stand in indexes.
const DEPTH: usize = 8;
/// Manifests of one copy, and their bytes, all of which are held until the last blob has gone.
pub(super) const DOCUMENTS: usize = 10_000;
const DOCUMENT_BYTES: u64 = 16 << 20;

/// Tells the repositories (`host/name`) that each of some blobs is known to be in.
pub type Known<'a> = dyn Fn(&[Digest]) -> BTreeMap<Digest, Vec<String>> + Sync + 'a;

/// How a copy is made.
#[derive(Clone, Copy)]
pub struct CopyOptions<'a> {
    /// Of an index only the image for this platform; all of it where none is given.
    pub platform: Option<&'a Platform>,
    /// Also what refers to the image: signatures, attestations, SBOMs.
    pub referrers: bool,
    /// The repositories (`host/name`) that each of some blobs is known to be in.
    pub known: &'a Known<'a>,
    /// Stops it.
    pub cancel: &'a CancelToken,
}

impl std::fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOptions").field("platform", &self.platform).finish_non_exhaustive()
    }
}

/// What came of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The manifest or index that the name stands for now.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Manifests and indexes that were written.
    pub manifests: usize,
    /// Blobs that were sent, and their bytes.
    pub sent: (usize, u64),
    /// Blobs that were there, or that the registry took from another of its repositories.
    pub there: usize,
    /// Blobs that the destination's repository has for certain now.
    pub blobs: Vec<Digest>,
}

/// Copies what `from` means to `to`.
///
/// # Errors
/// When something cannot be had, is not what its digest says, or cannot be written. Nothing has the name then that did
/// not have it before.
pub fn copy(
    client: &Client,
    from: &Place,
    to: &Place,
    options: &CopyOptions<'_>,
    task: &Task<'_>,
) -> Result<Copied, BuildError> {
    let source = Source::open(client, from, !matches!(to, Place::Registry(_)))?;
    let mut root = source.root()?;
    let host = Platform::host();
    let one = options.platform.or(match to {
        // Its format holds one platform.
        Place::DockerArchive { .. } => Some(&host),
        _ => None,
    });
    if let Some(platform) = one {
        root = match options.platform {
            Some(_) => pick_asked(&source, root, platform)?,
            None => pick(&source, root, platform)?,
        }
        .manifest;
    }
    // Before anything is written: a source that cannot be had leaves no trace.
    let stop = Stop { cancel: options.cancel.clone(), failed: Arc::default() };
    let mut work =
        Work { source: &source, options, stop, task, documents: Vec::new(), bytes: AtomicU64::new(0) };
    match Destination::open(client, to)? {
        Destination::Registry { client, repository, name } => {
            let registry = Registry { client, repository: &repository };
            let tag = destination::target(&name, root.descriptor.digest)?;
            work.send(&registry, root, &tag)
        }
        Destination::Layout { writer, name } => {
            let (tags, there) = work.gather(&root, &|_| Ok(false))?;
            debug_assert!(there.is_empty(), "a layout is asked for each blob");
            let blobs = work.content(&root);
            let done = each(&work.stop, &blobs, |blob| destination::store(&writer, &work.passage(blob)))?;
            let documents = work.documents.iter().chain([&root]);
            for document in documents {
                let bytes: &[u8] = &document.bytes;
                if !writer.has(&document.descriptor) {
                    writer.put(&document.descriptor, &mut &*bytes, &mut |_| ())?;
                }
            }
            writer.finish(work.entries(&root, name.as_deref(), &tags))?;
            let sent: Vec<u64> = done.iter().flatten().copied().collect();
            Ok(work.copied(&root, (sent.len(), sent.iter().sum()), done.len() - sent.len()))
        }
        Destination::Archive { mut writer, name } => {
            let (tags, _) = work.gather(&root, &|_| Ok(false))?;
            let blobs = work.content(&root);
            destination::append(&mut writer, &source, &blobs, (&work.stop, task))?;
            for document in work.documents.iter().chain([&root]) {
                writer.put(&document.descriptor, &mut &document.bytes[..])?;
            }
            writer.finish(work.entries(&root, name.as_deref(), &tags))?;
            let bytes = blobs.iter().map(|blob| blob.size).sum();
            Ok(work.copied(&root, (blobs.len(), bytes), 0))
        }
        Destination::Saved { writer, name } => {
            if options.referrers {
                return Err(BuildError::user(
                    "an archive for `docker load` cannot hold what refers to an image",
                )
                .with_hint("write an OCI archive: `oci-archive:FILE`".to_owned()));
            }
            let bytes = destination::save(*writer, name.as_ref(), &source, &root, (&work.stop, task))?;
            Ok(work.copied(&root, (root.blobs.len(), bytes), 0))
        }
    }
}

/// A repository that is copied to.
pub(super) struct Registry<'a> {
    pub(super) client: &'a Client,
    pub(super) repository: &'a Repository,
}

impl Registry<'_> {
    pub(super) fn failed(&self, error: orlop_registry_client::Error) -> BuildError {
        registry_error(format!("cannot copy to `{}`", self.repository), error)
    }

    pub(super) fn has(&self, digest: Digest) -> Result<bool, BuildError> {
        let found = self.client.pushed_document(self.repository, &TagOrDigest::Digest(digest));
        Ok(found.map_err(|error| self.failed(error))?.is_some())
    }

    pub(super) fn put(&self, document: &Document, which: &TagOrDigest) -> Result<(), BuildError> {
        let kind = &document.descriptor.media_type;
        let put = self.client.push_manifest(self.repository, which, kind, &document.bytes);
        put.map(drop).map_err(|error| self.failed(error))
    }
}

/// Tells everything that is on its way to end: the user said so, or something else failed.
#[derive(Clone)]
pub(super) struct Stop {
    cancel: CancelToken,
    failed: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        self.cancel.is_cancelled() || self.failed.load(Ordering::Acquire)
    }
}

/// A tag of its own that goes along, and the document that it stands for.
pub(super) type Tagged = (String, Digest);

/// What one copy has found out so far.
pub(super) struct Work<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) options: &'a CopyOptions<'a>,
    pub(super) stop: Stop,
    task: &'a Task<'a>,
    /// All manifests and indexes but the root.
    pub(super) documents: Vec<Document>,
    bytes: AtomicU64,
}

impl<'a> Work<'a> {
    fn passage(&'a self, blob: &'a Descriptor) -> Passage<'a> {
        Passage { source: self.source, blob, stop: &self.stop, task: self.task }
    }

    fn copied(&self, root: &Document, sent: (usize, u64), there: usize) -> Copied {
        let Descriptor { digest, media_type, .. } = root.descriptor.clone();
        let manifests = self.documents.len() + 1;
        Copied { digest, media_type, manifests, sent, there, blobs: Vec::new() }
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.stop.is_set() { Err(BuildError::interrupted()) } else { Ok(()) }
    }

    /// Finds all documents below `root`, and what refers to any of them where that is wanted. What `has` says is there
    /// is left out with all below it, and listed.
    fn gather(
        &mut self,
        root: &Document,
        has: &(dyn Fn(Digest) -> Result<bool, BuildError> + Sync),
    ) -> Result<(Vec<Tagged>, BTreeSet<Digest>), BuildError> {
        let mut there = BTreeSet::new();
        let mut seen = BTreeSet::from([root.descriptor.digest]);
        self.descend(root.clone(), &mut seen, &mut there, has)?;
        let mut tags = Vec::new();
        if self.options.referrers {
            tags = referrers::gather(self, root, &mut seen, &mut there, has)?;
        }
        Ok((tags, there))
    }

    /// Adds all documents below `top`, level by level.
    pub(super) fn descend(
        &mut self,
        top: Document,
        seen: &mut BTreeSet<Digest>,
        there: &mut BTreeSet<Digest>,
        has: &(dyn Fn(Digest) -> Result<bool, BuildError> + Sync),
    ) -> Result<(), BuildError> {
        let mut level = vec![top];
        for depth in 0.. {
            let named = level.iter().flat_map(|document| &document.manifests);
            let next: Vec<Descriptor> = named.filter(|entry| seen.insert(entry.digest)).cloned().collect();
            if next.is_empty() {
                return Ok(());
            }
            if depth >= DEPTH {
                return Err(BuildError::user(self.source.cannot())
                    .because("its indexes stand too deep in each other"));
            }
            if self.documents.len() + next.len() > DOCUMENTS {
                return Err(self.too_many());
            }
            self.count(next.iter().map(|entry| entry.size).sum())?;
            let found = each(&self.stop, &next, |entry| {
                self.check()?;
                if has(entry.digest)? {
                    return Ok(None);
                }
                self.source.document(entry).map(Some)
            })?;
            let gone = next.iter().zip(&found).filter(|(_, found)| found.is_none());
            there.extend(gone.map(|(entry, _)| entry.digest));
            level = found.into_iter().flatten().collect();
            self.documents.extend(level.iter().cloned());
        }
        Ok(())
    }

    pub(super) fn too_many(&self) -> BuildError {
        BuildError::user(self.source.cannot())
            .because(format!("it has more than the {DOCUMENTS} manifests allowed"))
    }

    /// Counts bytes of documents.
    pub(super) fn count(&self, bytes: u64) -> Result<(), BuildError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > DOCUMENT_BYTES {
            return Err(BuildError::user(self.source.cannot())
                .because(format!("its manifests have more than the {DOCUMENT_BYTES} bytes allowed")));
        }
        Ok(())
    }

    /// All blobs once, the largest first, so that no large one is begun when all others are done.
    fn content(&self, root: &Document) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        let all = self.documents.iter().chain([root]).flat_map(|document| &document.blobs);
        let mut out: Vec<Descriptor> = all.filter(|blob| seen.insert(blob.digest)).cloned().collect();
        out.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        out
    }

    /// The entries of a layout's index.
    fn entries(&self, root: &Document, name: Option<&str>, tags: &[Tagged]) -> Vec<Descriptor> {
        let mut out = vec![destination::entry(root, name)];
        let tag = |digest: Digest| tags.iter().find(|(_, d)| *d == digest).map(|(tag, _)| tag.as_str());
        for document in &self.documents {
            let tag = tag(document.descriptor.digest);
            if tag.is_some() || (self.options.referrers && document.subject.is_some()) {
                out.push(destination::entry(document, tag));
            }
        }
        out
    }

    fn send(
        &mut self,
        registry: &Registry<'_>,
        root: Document,
        target: &TagOrDigest,
    ) -> Result<Copied, BuildError> {
        let own = root.descriptor.digest;
        let found = registry.client.pushed_document(registry.repository, target);
        let found = found.map_err(|error| registry.failed(error))?;
        // A registry takes no manifest before it has all that it names.
        let named = found == Some(own);
        if named && !self.options.referrers {
            return Ok(Copied { manifests: 0, ..self.copied(&root, (0, 0), 0) });
        }
        let here = named || (matches!(target, TagOrDigest::Tag(_)) && registry.has(own)?);
        let (tags, mut done) = match here {
            // What is below it is there as well; what refers to it may not be.
            true if !self.options.referrers => (Vec::new(), BTreeSet::new()),
            _ => self.gather(&root, &|digest| registry.has(digest))?,
        };
        let blobs = if here { self.content_of_documents() } else { self.content(&root) };
        let known = (self.options.known)(&blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>());
        let neighbour = self.source.repository().filter(|r| r.registry() == registry.repository.registry());
        let prefix = format!("{}/", registry.repository.registry());
        // Repositories that turned out not to have what was thought to be there.
        let empty: Mutex<BTreeSet<&str>> = Mutex::default();
        let outcomes = each(&self.stop, &blobs, |blob| {
            self.check()?;
            let others = known.get(&blob.digest).into_iter().flatten();
            let mut others = others.filter_map(|place| place.strip_prefix(&prefix));
            let lately = {
                let empty = empty.lock().unwrap_or_else(PoisonError::into_inner);
                others.find(|name| !empty.contains(name) && *name != registry.repository.name())
            };
            let mut from: Vec<&str> = neighbour.map(Repository::name).into_iter().chain(lately).collect();
            from.dedup();
            let outcome =
                destination::push(registry.client, registry.repository, &self.passage(blob), &from)?;
            if outcome == PushOutcome::Uploaded {
                empty.lock().unwrap_or_else(PoisonError::into_inner).extend(lately);
            }
            Ok((outcome, blob.size))
        })?;
        if here {
            done.insert(own);
        }
        self.put_documents(registry, &root, &tags, &mut done)?;
        self.check()?;
        if !named {
            registry.put(&root, target)?;
        }
        let sent: Vec<u64> =
            outcomes.iter().filter(|(how, _)| *how == PushOutcome::Uploaded).map(|(_, size)| *size).collect();
        let copied = self.copied(&root, (sent.len(), sent.iter().sum()), outcomes.len() - sent.len());
        let blobs = blobs.iter().map(|blob| blob.digest).collect();
        Ok(Copied { manifests: copied.manifests - usize::from(named), blobs, ..copied })
    }

    /// The same without the root's own.
    fn content_of_documents(&self) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        let all = self.documents.iter().flat_map(|document| &document.blobs);
        all.filter(|blob| seen.insert(blob.digest)).cloned().collect()
    }

    /// Puts all documents but the root: each when everything is there that it names.
    fn put_documents(
        &self,
        registry: &Registry<'_>,
        root: &Document,
        tags: &[Tagged],
        done: &mut BTreeSet<Digest>,
    ) -> Result<(), BuildError> {
        let mut left: Vec<&Document> = self.documents.iter().collect();
        // What refers to the root may be an index that names it: then it goes by its digest before that.
        if !done.contains(&root.descriptor.digest)
            && left.iter().any(|d| d.manifests.iter().any(|m| m.digest == root.descriptor.digest))
        {
            left.push(root);
        }
        while !left.is_empty() {
            let (ready, rest): (Vec<&Document>, Vec<&Document>) =
                left.into_iter().partition(|d| d.manifests.iter().all(|m| done.contains(&m.digest)));
            if ready.is_empty() {
                // Digests cannot name each other in a circle.
                return Err(BuildError::internal("no manifest is ready to be sent"));
            }
            each(&self.stop, &ready, |document| {
                self.check()?;
                let digest = document.descriptor.digest;
                let mut tagged = tags.iter().filter(|(_, d)| *d == digest).peekable();
                if tagged.peek().is_none() {
                    return registry.put(document, &TagOrDigest::Digest(digest));
                }
                tagged.try_for_each(|(tag, _)| registry.put(document, &TagOrDigest::Tag(tag.clone())))
            })?;
            done.extend(ready.iter().map(|d| d.descriptor.digest));
            left = rest;
        }
        Ok(())
    }
}

/// Does `act` with each item, a few at a time, and gives what came of them in order; the first error ends it.
pub(super) fn each<T: Sync, R: Send>(
    stop: &Stop,
    items: &[T],
    act: impl Fn(&T) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::default();
    let failed: Mutex<Option<BuildError>> = Mutex::default();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            if failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                break;
            }
            match act(item) {
                Ok(result) => {
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
                }
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    stop.failed.store(true, Ordering::Release);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..SIDE_BY_SIDE.min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()),
    }
}
