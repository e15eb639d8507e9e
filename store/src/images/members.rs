//! Images of several platforms under one name: an index, and those of its images that are here.
//!
//! An index that came from elsewhere, or was sent there, names manifests. One that was built here names configs: a
//! layer that nobody pushes is not compressed, so there is no manifest that could be named; it is made when the
//! images leave. Such an index is never given to anybody else.

use crate::descriptor::{Descriptor, media_type};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::{Image, Index, MAX_CONFIG, MAX_MANIFEST, Manifest, ManifestKind};
use crate::platform::Platform;

use super::{Images, Named};

/// One image of an index that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the index says that it is for.
    pub platform: Platform,
    /// The image.
    pub target: Named,
}

/// The images of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that are here, in the index's order.
    pub here: Vec<Member>,
    /// Whether none of the index's images is elsewhere.
    pub complete: bool,
}

impl Index {
    /// Whether this is an index of images that were built here and have no manifests yet.
    pub fn is_draft(&self) -> bool {
        !self.manifests.is_empty() && self.manifests.iter().all(is_config)
    }
}

fn is_config(entry: &Descriptor) -> bool {
    matches!(entry.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG)
}

impl Images<'_> {
    /// Keeps the index of images that were built here, each for its platform. The images are kept by
    /// [`Images::put`]; their order counts, and the result is the same for the same images.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_draft<'i>(
        &self,
        images: impl IntoIterator<Item = (&'i Platform, &'i Image)>,
    ) -> Result<Digest> {
        let entry = |(platform, image): (&Platform, &Image)| Descriptor {
            platform: Some(platform.clone()),
            ..image.config_descriptor(ManifestKind::Oci)
        };
        self.put_index(&Index::make(images.into_iter().map(entry).collect()))
    }

    /// The images of the index `digest`.
    ///
    /// # Errors
    /// When the index is not in the store or damaged.
    pub fn members(&self, digest: &Digest) -> Result<Members> {
        let index = self.index(digest)?;
        let mut out = Members { here: Vec::new(), complete: true };
        for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
            // What was removed and is not collected yet is not here.
            let member = match self.member(digest, entry) {
                Some(target) if self.is_known(&target.id)? => Some(target),
                _ => None,
            };
            match member {
                Some(target) => {
                    // An entry that does not say has to be asked itself.
                    let platform = match &entry.platform {
                        Some(platform) => platform.clone(),
                        // A collector asks as well, and cannot hold what it reads.
                        None => Image::from_parts(&self.blobs.read_small(&target.id, MAX_CONFIG)?, None)?
                            .platform(),
                    };
                    out.here.push(Member { platform, target });
                }
                None => out.complete = false,
            }
        }
        Ok(out)
    }

    /// The image that an entry of an index names; none where it is not here or no image.
    fn member(&self, index: &Digest, entry: &Descriptor) -> Option<Named> {
        let target = if is_config(entry) {
            Named { id: entry.digest, manifest: None, index: Some(*index) }
        } else {
            if !self.blobs.contains(&entry.digest) || media_type::is_index(&entry.media_type) {
                return None;
            }
            let bytes = self.blobs.read_small(&entry.digest, MAX_MANIFEST).ok()?;
            let manifest = Manifest::parse(&bytes, &entry.media_type).ok()?;
            Named { id: manifest.config.digest, manifest: Some(entry.digest), index: Some(*index) }
        };
        self.blobs.contains(&target.id).then_some(target)
    }

    /// Of the images under one name the one that serves `platform` best; none where the name stands for no index,
    /// or nothing of it that is here serves.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn choose(&self, named: &Named, platform: &Platform) -> Result<Option<Named>> {
        let Some(index) = named.index.filter(|index| self.blobs.contains(index)) else { return Ok(None) };
        let here = self.members(&index)?.here;
        let ranked = here.into_iter().filter_map(|m| Some((platform.rank(&m.platform)?, m.target)));
        Ok(ranked.min_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, target)| target))
    }

    /// What the index itself stands for: its image for this machine, or where it has none the first that is here.
    pub(super) fn named_by_index(&self, index: &Digest) -> Result<Option<Named>> {
        let first = self.members(index)?.here.into_iter().next().map(|member| member.target);
        let Some(first) = first else { return Ok(None) };
        Ok(Some(self.choose(&first, &Platform::host())?.unwrap_or(first)))
    }

    /// The IDs of all images that a name reaches, also of such as are no longer listed. What cannot be read is not
    /// reached.
    pub(super) fn reached(&self, target: &Named) -> Vec<Digest> {
        let mut out = vec![target.id];
        let Some((digest, index)) = target.index.and_then(|digest| Some((digest, self.index(&digest).ok()?)))
        else {
            return out;
        };
        let members = index.manifests.iter().filter_map(|entry| self.member(&digest, entry));
        out.extend(members.map(|member| member.id).filter(|id| *id != target.id));
        out
    }

    /// Whether the image is one of the store's, and not only left over.
    fn is_known(&self, id: &Digest) -> Result<bool> {
        self.facts
            .read("look up the image", |c| {
                c.query_row("SELECT count(*) FROM images WHERE id = ?", [id.to_string()], |r| {
                    r.get::<_, i64>(0)
                })
            })
            .map(|n| n > 0)
    }
}
