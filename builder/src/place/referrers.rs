//! What refers to an image: manifests with a `subject` (distribution specification 1.1, "Listing Referrers"), and the
//! tags that cosign makes of an image's digest.

use std::collections::BTreeSet;

use orlop_registry_client::TagOrDigest;
use orlop_store::{Descriptor, Digest, Index, media_type};

use super::copy::{Registry, Tagged, Work, each};
use super::document::Document;
use crate::error::BuildError;

/// Endings of cosign's tags: signatures, attestations, SBOMs.
const ENDINGS: [&str; 3] = ["sig", "att", "sbom"];
/// How far something refers to something that refers to the image.
const DEPTH: usize = 4;

/// The tag that stands for a digest: cosign's with an ending behind it, and that of registries without the API.
fn tag_of(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// Adds everything that refers to `root` or to a manifest below it, and what refers to that in turn. Gives the tags
/// that have to go along.
pub(super) fn gather(
    work: &mut Work<'_>,
    root: &Document,
    seen: &mut BTreeSet<Digest>,
    there: &mut BTreeSet<Digest>,
    has: &(dyn Fn(Digest) -> Result<bool, BuildError> + Sync),
) -> Result<Vec<Tagged>, BuildError> {
    let mut tags = Vec::new();
    // What is there already may still have signatures that are not.
    let mut subjects: Vec<Digest> = seen.iter().copied().collect();
    debug_assert!(subjects.contains(&root.descriptor.digest), "the root was seen first");
    for _ in 0..DEPTH {
        let found = each(&work.stop, &subjects, |subject| {
            work.check()?;
            let mut found: Vec<(Option<String>, Document)> =
                work.source.referrers(subject)?.into_iter().map(|document| (None, document)).collect();
            for ending in ENDINGS {
                let tag = format!("{}.{ending}", tag_of(subject));
                if let Some(document) = work.source.tagged(&tag)? {
                    found.push((Some(tag), document));
                }
            }
            Ok(found)
        })?;
        subjects = Vec::new();
        for (tag, document) in found.into_iter().flatten() {
            let digest = document.descriptor.digest;
            tags.extend(tag.map(|tag| (tag, digest)));
            if !seen.insert(digest) {
                continue;
            }
            work.count(document.descriptor.size)?;
            work.descend(document.clone(), seen, there, has)?;
            work.documents.push(document);
            subjects.push(digest);
        }
        if subjects.is_empty() {
            break;
        }
    }
    Ok(tags)
}

/// Sees to it that a registry lists those of `documents` that have a subject: one without the API has a tag instead,
/// which whoever pushes keeps ("Referrers Tag Schema").
pub(super) fn list<'d>(
    registry: &Registry<'_>,
    documents: impl Iterator<Item = &'d Document>,
) -> Result<(), BuildError> {
    let referring: Vec<(Digest, &Document)> =
        documents.filter_map(|document| Some((document.subject.as_ref()?.digest, document))).collect();
    let subjects: BTreeSet<Digest> = referring.iter().map(|(subject, _)| *subject).collect();
    for subject in subjects {
        let listed = registry.client.referrers(registry.repository, subject, None);
        let mut listed: Vec<Descriptor> = listed.map_err(|error| registry.failed(error))?;
        let before = listed.len();
        for (_, document) in referring.iter().filter(|(other, _)| *other == subject) {
            if !listed.iter().any(|entry| entry.digest == document.descriptor.digest) {
                listed.push(document.as_referrer());
            }
        }
        if listed.len() == before {
            continue;
        }
        let index = Index::make(listed);
        let tag = TagOrDigest::Tag(tag_of(&subject));
        let put =
            registry.client.push_manifest(registry.repository, &tag, media_type::OCI_INDEX, index.bytes());
        put.map_err(|error| registry.failed(error))?;
    }
    Ok(())
}
