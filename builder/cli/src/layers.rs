//! What is to be said of an image's layers one by one.

use orlop_store::{Image, Store};

/// Bytes of each layer's tar, bottom first, where that is known without fetching it.
pub(crate) fn sizes(store: &Store, image: &Image) -> Vec<Option<u64>> {
    let diff_ids = image.diff_ids();
    let known = |(index, layer): (usize, &orlop_store::ImageLayer)| {
        let below = diff_ids.get(..index).unwrap_or_default();
        // Only for show: a layer that cannot be looked at has no size to show.
        let stored = || store.layer_facts(below, &layer.diff_id).ok().flatten().map(|facts| facts.size);
        layer.size.or_else(stored)
    };
    image.layers().iter().enumerate().map(known).collect()
}

/// Whether every layer can be mounted without asking a registry.
pub(crate) fn are_here(store: &Store, image: &Image) -> Result<bool, orlop_store::Error> {
    for index in 0..image.layers().len() {
        if !store.ensure_layer(image, index)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Bytes of an image, as far as they are known: its layers' tars, else their blobs.
pub(crate) fn total(store: &Store, image: &Image) -> u64 {
    let sizes = sizes(store, image);
    let each = image.layers().iter().zip(sizes);
    each.map(|(layer, size)| size.or(layer.blob.as_ref().map(|blob| blob.size)).unwrap_or(0))
        .fold(0, u64::saturating_add)
}

/// What made each layer, bottom first, by the image's history without the mark that BuildKit's has at the end of a
/// step; empty where that does not say.
pub(crate) fn created_by(image: &Image) -> Vec<String> {
    let history = image.config().history();
    let mut made = history
        .into_iter()
        .filter(|entry| !entry.empty_layer)
        .map(|entry| entry.created_by.unwrap_or_default().trim_end_matches(" # buildkit").to_owned());
    image.layers().iter().map(|_| made.next().unwrap_or_default()).collect()
}
