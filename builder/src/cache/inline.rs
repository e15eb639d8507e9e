//! A cache in the image itself: `type=inline`, as BuildKit writes it into an image's config.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_store::{Digest, Image};

use super::document::{Document, Made, Record};

/// A step that an image is made of, or that was needed for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Carried {
    /// The digests that mean it.
    pub(crate) keys: Vec<Digest>,
    /// Diff ID of its layer, if it has one.
    pub(crate) layer: Option<Digest>,
    /// The place of this layer in the image; none where the image has it not.
    pub(crate) place: Option<usize>,
    /// When it ran, in milliseconds since 1970.
    pub(crate) created: i64,
}

/// The image with the steps that it is made of in its config, and after them the `others` that were needed. `epoch` is the time of all, in seconds, where the image
/// is to be the same whenever it is built.
pub(crate) fn inline(image: &Image, steps: &[Carried], others: &[Carried], epoch: Option<i64>) -> Image {
    let record = |step: &Carried, key: &Digest| Record {
        key: *key,
        made: match (step.place, step.layer) {
            (Some(place), _) => Made::Layer(place),
            (None, Some(diff_id)) => Made::Absent(diff_id),
            (None, None) => Made::Nothing,
        },
        created: epoch.map_or(step.created, |seconds| seconds.saturating_mul(1000)),
        used: 0,
    };
    // A step that several stages have is told once.
    let mut seen = std::collections::HashSet::new();
    let records =
        steps.iter().chain(others).flat_map(|step| step.keys.iter().map(move |key| record(step, key)));
    let document = Document {
        records: records.filter(|record| seen.insert(record.key)).collect(),
        ..Document::default()
    };
    // Strings and numbers alone: cannot fail.
    let json = serde_json::to_vec(&document.json_records(false)).unwrap_or_default();
    image.with_config(|config| config.set_inline_cache(&STANDARD.encode(json)))
}
