//! A cache in the image itself: `type=inline`, as BuildKit writes it into an image's config.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_store::{Digest, Image};

use super::document::{Document, Record};

/// A step that an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The digests that mean it.
    pub(crate) keys: Vec<Digest>,
    /// Its layer, by its place in the image.
    pub(crate) layer: Option<usize>,
    /// When it ran, in milliseconds since 1970.
    pub(crate) created: i64,
}

/// The image with the steps that it is made of in its config. `epoch` is the time of all, in seconds, where the image
/// is to be the same whenever it is built.
pub(crate) fn inline(image: &Image, steps: &[Carried], epoch: Option<i64>) -> Image {
    let record = |step: &Carried, key: &Digest| Record {
        key: *key,
        layer: step.layer,
        created: epoch.map_or(step.created, |seconds| seconds.saturating_mul(1000)),
        used: 0,
    };
    let records = steps.iter().flat_map(|step| step.keys.iter().map(move |key| record(step, key)));
    let document = Document { records: records.collect(), ..Document::default() };
    // Strings and numbers alone: cannot fail.
    let json = serde_json::to_vec(&document.json_records(false)).unwrap_or_default();
    image.with_config(|config| config.set_inline_cache(&STANDARD.encode(json)))
}
