//! Images of several platforms on their way out under one name.

use orlop_store::images::index_entry;
use orlop_store::{Descriptor, ExportOptions, Image, Index, ManifestKind, Named, Platform, Store};

use crate::error::BuildError;

/// Images of several platforms that go by one name.
#[derive(Clone, Debug)]
pub struct Several {
    /// Each with what it is for.
    pub images: Vec<(Platform, Image)>,
    /// The index that they came in; none for images that were built here.
    pub index: Option<Index>,
}

impl Several {
    /// All that a name of the store stands for; none where that is one image, or not all of it is here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stored(store: &Store, named: &Named) -> Result<Option<Self>, BuildError> {
        let Some(digest) = named.index.filter(|digest| store.blobs().contains(digest)) else {
            return Ok(None);
        };
        let members = store.images().members(&digest)?;
        if !members.complete || members.here.is_empty() {
            return Ok(None);
        }
        let images = members
            .here
            .into_iter()
            .map(|member| Ok((member.platform, store.images().load(&member.target)?)))
            .collect::<Result<_, orlop_store::Error>>()?;
        let index = Some(store.images().index(&digest)?).filter(|index| !index.is_draft());
        Ok(Some(Self { images, index }))
    }

    /// The index over manifests: the one that the images came in, where that names the same.
    pub(crate) fn index_over(&self, entries: Vec<Descriptor>) -> Index {
        let same = |index: &Index| {
            index.manifests.iter().map(|entry| &entry.digest).eq(entries.iter().map(|entry| &entry.digest))
        };
        match &self.index {
            Some(index) if same(index) => index.clone(),
            _ => Index::make(entries),
        }
    }

    /// The index, and the images with the manifests that it names, every blob of them in the store.
    ///
    /// # Errors
    /// When a layer is not in the store.
    pub fn packed(&self, store: &Store, options: &ExportOptions) -> Result<(Index, Vec<Image>), BuildError> {
        let options = ExportOptions { kind: Some(ManifestKind::Oci), ..*options };
        let (mut entries, mut images) = (Vec::new(), Vec::new());
        for (platform, image) in &self.images {
            let manifest = store.export(image, &options)?;
            entries.push(index_entry(&manifest, platform));
            images.push(Image::from_parts(&image.config_bytes(), Some(manifest))?);
        }
        Ok((self.index_over(entries), images))
    }
}
