//! What a shared cache says: which step gave which layer. It is read leniently, because what cannot be used is as good
//! as not there, and nothing in it is believed but the layer behind a key.

use std::collections::{HashMap, HashSet};

use orlop_store::{Descriptor, Digest, media_type};

use super::json;

/// The media type of the cache config, as BuildKit's.
pub(super) const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The annotation of a layer's descriptor with its diff ID, as containerd's.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The annotation of a layer's descriptor with its time, as BuildKit's.
const CREATED: &str = "buildkit/createdat";
/// The version of what orlop adds to the document.
const VERSION: u32 = 1;
/// Most records that are written. BuildKit reads a config of no more than a MiB.
pub(super) const MOST_WRITTEN: usize = 1000;
/// How long a record is kept that no build has used, in milliseconds.
const KEPT: i64 = 14 * DAY;
/// How exactly its last use is written down: a cache that nobody adds to stays the same, byte for byte.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// The largest layer that is believed to be one.
const LARGEST_LAYER: u64 = 1 << 42;

/// A layer of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
    /// The layer below it, which stands before it in the list; none where that is none of the cache's.
    pub(super) parent: Option<usize>,
}

/// The layer of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// None: it changed no file.
    Nothing,
    /// That layer, by its place in the list.
    Layer(usize),
    /// The layer of that diff ID, which the cache has not: enough for a step that is not looked into.
    Absent(Digest),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The step's key, or another digest that means it.
    pub(super) key: Digest,
    pub(super) made: Made,
    /// When it ran, in milliseconds since 1970.
    pub(super) created: i64,
    /// When a build last had it in its cache.
    pub(super) used: i64,
}

/// A cache, or one that an image carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) layers: Vec<Layer>,
    pub(super) records: Vec<Record>,
    /// Orlop wrote it.
    pub(super) ours: bool,
}

/// A document ready to be sent.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) config: Vec<u8>,
    pub(super) config_descriptor: Descriptor,
    pub(super) manifest: Vec<u8>,
    pub(super) media_type: &'static str,
}

impl Document {
    /// Reads a cache config. `descriptors` are those of the layers in the manifest or index that names it.
    ///
    /// # Errors
    /// When it is no cache config; why.
    pub(super) fn parse(config: &[u8], descriptors: &[Descriptor]) -> Result<Self, String> {
        let config: json::Config = serde_json::from_slice(config).map_err(|e| e.to_string())?;
        let by_digest: HashMap<Digest, &Descriptor> = descriptors.iter().map(|d| (d.digest, d)).collect();
        let layers = config.layers.iter().map(|layer| {
            let descriptor = by_digest.get(&layer.blob.parse().ok()?)?;
            let noted = layer.annotations.as_ref().map(|a| a.diff_id.as_str()).filter(|id| !id.is_empty());
            let diff_id = noted.or(descriptor.annotations.get(UNCOMPRESSED).map(String::as_str))?;
            Some((usable(descriptor)?, diff_id.parse().ok()?, layer.parent))
        });
        let mut out = Self::of(layers.collect(), &config.records);
        out.ours = config.orlop.is_some_and(|mark| mark.version == VERSION);
        Ok(out)
    }

    /// Reads the records that an image carries, whose layers are the image's own.
    ///
    /// # Errors
    /// When they are none; why.
    pub(super) fn inline(
        records: &[u8],
        diff_ids: &[Digest],
        descriptors: &[Descriptor],
    ) -> Result<Self, String> {
        if diff_ids.len() != descriptors.len() {
            return Err("the image's config and manifest do not have the same layers".to_owned());
        }
        let json::Records(records) = serde_json::from_slice(records).map_err(|e| e.to_string())?;
        let layers = diff_ids.iter().zip(descriptors).enumerate().map(|(index, (diff_id, blob))| {
            Some((usable(blob)?, *diff_id, i64::try_from(index).ok()?.saturating_sub(1)))
        });
        Ok(Self::of(layers.collect(), &records))
    }

    /// What can be used of layers (each with the place of the one below it) and of records that point to them.
    fn of(layers: Vec<Option<(Descriptor, Digest, i64)>>, records: &[json::Record]) -> Self {
        let mut out = Self::default();
        let mut places: Vec<Option<usize>> = Vec::with_capacity(layers.len());
        for layer in layers {
            places.push(layer.map(|(blob, diff_id, parent)| {
                // Only of those before it: no circle comes of that, and ours are written so.
                let below = usize::try_from(parent).ok();
                let parent = below.and_then(|below| places.get(below).copied().flatten());
                out.layers.push(Layer { blob, diff_id, parent });
                out.layers.len() - 1
            }));
        }
        let place = |index: i64| places.get(usize::try_from(index).ok()?).copied().flatten();
        let mut seen = HashSet::new();
        for record in records {
            let Ok(key) = record.digest.parse::<Digest>() else { continue };
            let extra = record.orlop.as_ref();
            let used = extra.and_then(|extra| milliseconds(extra.used.as_deref()?)).unwrap_or(0);
            let mut layers = record.layers.iter().flatten();
            let made = layers
                .find_map(|made| Some((Made::Layer(place(made.layer)?), milliseconds(&made.created_at)?)));
            let bare = || {
                let (extra, created) = (extra?, milliseconds(extra?.created.as_deref()?)?);
                match &extra.absent {
                    None => Some((Made::Nothing, created)),
                    Some(diff_id) => Some((Made::Absent(diff_id.parse().ok()?), created)),
                }
            };
            let Some((made, created)) = made.or_else(bare) else { continue };
            if seen.insert(key) {
                out.records.push(Record { key, made, created, used });
            }
        }
        out
    }

    /// This one, which a build has made at `now`, with what `earlier` has besides: the records that were used last
    /// and not too long ago. The order is the same whatever order things came in.
    pub(super) fn with(&self, earlier: &Self, now: i64) -> Self {
        let known: HashMap<&Digest, &Record> = earlier.records.iter().map(|r| (&r.key, r)).collect();
        let mut ours: Vec<(&Self, Record)> = self
            .records
            .iter()
            .map(|record| {
                let known = known.get(&record.key);
                let used = known.map(|known| known.used);
                let used = used.filter(|used| (0..DAY).contains(&now.saturating_sub(*used))).unwrap_or(now);
                match (record.made, known) {
                    // Another build has put the layer there.
                    (Made::Absent(diff_id), Some(known)) if earlier.diff_id(known) == Some(diff_id) => {
                        (earlier, Record { used, ..(*known).clone() })
                    }
                    _ => (self, Record { used, ..record.clone() }),
                }
            })
            .collect();
        let own: HashSet<&Digest> = self.records.iter().map(|r| &r.key).collect();
        let mut others: Vec<&Record> = earlier
            .records
            .iter()
            .filter(|record| !own.contains(&record.key) && now.saturating_sub(record.used) < KEPT)
            .collect();
        others.sort_by_key(|record| (std::cmp::Reverse(record.used), record.key));
        ours.extend(others.into_iter().map(|record| (earlier, record.clone())));
        ours.truncate(MOST_WRITTEN);
        ours.sort_by_key(|(_, record)| record.key);
        let mut out = Self { ours: true, ..Self::default() };
        let mut places = HashMap::new();
        for (from, record) in ours {
            let made = match record.made {
                Made::Layer(layer) => match out.take(from, layer, &mut places) {
                    Some(layer) => Made::Layer(layer),
                    None => continue,
                },
                other => other,
            };
            out.records.push(Record { made, ..record });
        }
        out
    }

    /// The diff ID of a record's layer, if it has one.
    pub(super) fn diff_id(&self, record: &Record) -> Option<Digest> {
        match record.made {
            Made::Nothing => None,
            Made::Layer(at) => self.layers.get(at).map(|layer| layer.diff_id),
            Made::Absent(diff_id) => Some(diff_id),
        }
    }

    /// Takes a layer of another document, and those below it first.
    fn take(
        &mut self,
        from: &Self,
        layer: usize,
        places: &mut HashMap<(Digest, Option<usize>), usize>,
    ) -> Option<usize> {
        let mut chain = vec![from.layers.get(layer)?];
        // Each stands before the one that names it, so this comes to an end.
        while let Some(below) = chain.last().and_then(|layer| layer.parent).and_then(|at| from.layers.get(at))
        {
            chain.push(below);
        }
        let mut parent = None;
        for layer in chain.into_iter().rev() {
            let place = *places.entry((layer.blob.digest, parent)).or_insert_with(|| {
                self.layers.push(Layer { parent, ..layer.clone() });
                self.layers.len() - 1
            });
            parent = Some(place);
        }
        parent
    }

    /// The documents as they are sent: an image manifest, or else an index over layers, which is what BuildKit wrote
    /// first and what not every registry takes.
    pub(super) fn write(&self, image_manifest: bool) -> Written {
        let created = self.times();
        let (mut descriptors, mut seen) = (Vec::new(), HashSet::new());
        for (layer, created) in self.layers.iter().zip(&created) {
            if !seen.insert(layer.blob.digest) {
                continue;
            }
            let mut descriptor = layer.blob.clone();
            descriptor.annotations = [(UNCOMPRESSED.to_owned(), layer.diff_id.to_string())].into();
            if let Some(created) = created {
                descriptor.annotations.insert(CREATED.to_owned(), time(*created));
            }
            descriptors.push(descriptor);
        }
        // Strings and numbers alone: cannot fail.
        let config = serde_json::to_vec(&self.json()).unwrap_or_default();
        let config_descriptor = Descriptor::of(CONFIG, &config);
        let (media_type, manifest) = match image_manifest {
            true => {
                let config = Some(config_descriptor.clone());
                (
                    media_type::OCI_MANIFEST,
                    json::Manifest { config, layers: Some(descriptors), ..Default::default() },
                )
            }
            false => {
                descriptors.push(config_descriptor.clone());
                (media_type::OCI_INDEX, json::Manifest { manifests: Some(descriptors), ..Default::default() })
            }
        };
        let manifest = json::Manifest { schema_version: 2, media_type: media_type.to_owned(), ..manifest };
        let manifest = serde_json::to_vec(&manifest).unwrap_or_default();
        Written { config, config_descriptor, manifest, media_type }
    }

    fn json(&self) -> json::Config {
        let layers = self.layers.iter().map(|layer| json::Layer {
            blob: layer.blob.digest.to_string(),
            parent: layer.parent.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1),
            annotations: Some(json::Annotations {
                media_type: layer.blob.media_type.clone(),
                diff_id: layer.diff_id.to_string(),
                size: i64::try_from(layer.blob.size).unwrap_or(i64::MAX),
            }),
        });
        json::Config {
            layers: layers.collect(),
            records: self.json_records(true),
            orlop: Some(json::Mark { version: VERSION }),
        }
    }

    /// The records as JSON; with the time of their last use where that is `told`.
    pub(super) fn json_records(&self, told: bool) -> Vec<json::Record> {
        let record = |record: &Record| {
            let used = told.then(|| time(record.used));
            let created = time(record.created);
            let bare = |absent| json::Extra { absent, created: Some(created.clone()), used: used.clone() };
            let (layers, extra) = match record.made {
                Made::Layer(layer) => {
                    let layer = i64::try_from(layer).unwrap_or(-1);
                    let extra =
                        used.clone().map(|used| json::Extra { used: Some(used), ..Default::default() });
                    (Some(vec![json::Outcome { layer, created_at: created.clone() }]), extra)
                }
                Made::Nothing => (None, Some(bare(None))),
                Made::Absent(diff_id) => (None, Some(bare(Some(diff_id.to_string())))),
            };
            json::Record { digest: record.key.to_string(), layers, orlop: extra }
        };
        self.records.iter().map(record).collect()
    }

    /// When each layer was made.
    fn times(&self) -> Vec<Option<i64>> {
        let mut out = vec![None; self.layers.len()];
        for record in &self.records {
            if let Made::Layer(layer) = record.made
                && let Some(time) = out.get_mut(layer)
            {
                *time = Some(record.created);
            }
        }
        out
    }
}

/// The part of a layer's descriptor that is believed: no URLs, and no type that is none of a layer.
fn usable(blob: &Descriptor) -> Option<Descriptor> {
    use media_type::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
    let blob = oci(Descriptor::new(&blob.media_type, blob.digest, blob.size));
    let layers = [OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD];
    (layers.contains(&blob.media_type.as_str()) && blob.size <= LARGEST_LAYER).then_some(blob)
}

/// A layer's descriptor with OCI's word for what it is.
pub(super) fn oci(blob: Descriptor) -> Descriptor {
    let media_type = match blob.media_type.as_str() {
        media_type::DOCKER_LAYER => media_type::OCI_LAYER,
        media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP,
        _ => return blob,
    };
    Descriptor { media_type: media_type.to_owned(), ..blob }
}

/// A time as RFC 3339 has it, in milliseconds since 1970; none for one before that.
fn milliseconds(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond()).filter(|time| *time >= 0)
}

/// The same back.
fn time(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
