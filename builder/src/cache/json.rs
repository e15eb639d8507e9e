//! The documents as JSON, in BuildKit's words: its cache config (package `cache/remotecache/v1`), and of manifests
//! and indexes what a cache needs.

use std::fmt;
use std::marker::PhantomData;

use orlop_store::{Descriptor, Digest};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Most records, and most layers, of one document.
pub(super) const MOST: usize = 20_000;

/// The cache config.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Config {
    #[serde(default, deserialize_with = "limited", skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<Layer>,
    #[serde(default, deserialize_with = "limited", skip_serializing_if = "Vec::is_empty")]
    pub(super) records: Vec<Record>,
    /// There where orlop wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) orlop: Option<Mark>,
}

/// Who wrote a config.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) version: u32,
}

/// A layer that records point to. Go leaves out what is zero.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Layer {
    #[serde(default)]
    pub(super) blob: String,
    /// The layer below it, -1 where that is none of these.
    #[serde(default)]
    pub(super) parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Annotations>,
}

/// What else is known of a layer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Annotations {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    #[serde(default, rename = "diffID", skip_serializing_if = "String::is_empty")]
    pub(super) diff_id: String,
    #[serde(default)]
    pub(super) size: i64,
}

/// What came of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    pub(super) digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Vec<Outcome>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) orlop: Option<Extra>,
}

/// A record's layer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    #[serde(default)]
    pub(super) layer: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) created_at: String,
}

/// What BuildKit's records have no word for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Extra {
    /// When a step ran that has no layer in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    /// The diff ID of the layer that it has all the same; none where it changed no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) absent: Option<String>,
    /// When a build last had it in its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<String>,
}

/// A manifest or an index, as far as a cache needs it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(super) manifests: Option<Vec<Descriptor>>,
}

/// Of an image's config what its inline cache needs.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(default)]
    pub(super) rootfs: RootFs,
    /// The records, as BASE64 of their JSON.
    #[serde(default, rename = "moby.buildkit.cache.v0")]
    pub(super) cache: Option<String>,
}

/// An image's layers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RootFs {
    #[serde(default)]
    pub(super) diff_ids: Vec<Digest>,
}

/// The records of an inline cache.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Records(#[serde(deserialize_with = "limited")] pub(super) Vec<Record>);

/// The same where a list may be missing.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    limited(deserializer).map(Some)
}

/// Reads a list that is no longer than [`MOST`]; `null` is an empty one, as Go writes it.
fn limited<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut out = Vec::new();
            while let Some(item) = items.next_element()? {
                if out.len() == MOST {
                    return Err(A::Error::custom(format_args!("a list has more than {MOST} elements")));
                }
                out.push(item);
            }
            Ok(out)
        }
    }

    deserializer.deserialize_any(Items(PhantomData))
}
