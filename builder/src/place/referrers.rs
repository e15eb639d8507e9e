//! What refers to an image: manifests with a `subject` (distribution specification 1.1, "Listing Referrers"), and the
//! tags that cosign makes of an image's digest. A registry that keeps no list of the former has one kept by the client.

use std::collections::BTreeSet;

use orlop_store::Digest;

use super::copy::{DOCUMENTS, Tagged, Work, each};
use super::document::Document;
use crate::error::BuildError;

/// Endings of cosign's tags: signatures, attestations, SBOMs.
const ENDINGS: [&str; 3] = ["sig", "att", "sbom"];
/// How far something refers to something that refers to the image.
const DEPTH: usize = 4;

/// The tag that cosign makes of a digest, its ending left out.
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
                work.source.referrers(subject, work)?.into_iter().map(|document| (None, document)).collect();
            for ending in ENDINGS {
                let tag = format!("{}.{ending}", tag_of(subject));
                if let Some(document) = work.source.tagged(&tag)? {
                    work.count(document.descriptor.size)?;
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
            if work.documents.len() >= DOCUMENTS {
                return Err(work.too_many());
            }
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
