//! The store read again from end to end. What is no longer what its name says is put into `quarantine/`, where
//! nothing finds it; whoever needs it then fetches or makes it anew.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use rayon::prelude::*;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, MAX_CONFIG};
use crate::images::{ImageRecord, Named};
use crate::layer::{Form, LayerError, LayerKey, chain_id};
use crate::lock::Lock;
use crate::snapshot::LayerOs;
use crate::store::Store;

/// The directory of what was found damaged.
pub const QUARANTINE: &str = "quarantine";

/// What was found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Blobs that were read.
    pub blobs: u64,
    /// Layers whose bytes were made again and compared.
    pub layers: u64,
    /// Layers whose bytes cannot be made again: they were unpacked from a tar that is checked as a blob.
    pub unpacked: u64,
    /// What is not what its name says.
    pub damaged: Vec<Damage>,
    /// Layers of images that are not here and that registries are known to have: nothing is wrong with that, they
    /// are fetched when somebody needs them.
    pub elsewhere: Vec<Elsewhere>,
    /// Images of which something is missing that cannot be fetched, and what.
    pub incomplete: Vec<(Digest, String)>,
    /// Whether the database of facts is sound.
    pub facts_sound: bool,
}

/// A layer that is where its image came from.
#[derive(Debug)]
pub struct Elsewhere {
    /// The image.
    pub image: Digest,
    /// Diff ID of the layer.
    pub layer: Digest,
    /// Repositories that had it, the last one seen first.
    pub sources: Vec<String>,
}

/// Something that is not what its name says.
#[derive(Debug)]
pub struct Damage {
    /// `blob` or `layer`.
    pub what: &'static str,
    /// Its digest, diff ID or chain ID.
    pub digest: Digest,
    /// How it is damaged.
    pub why: String,
    /// Where it was put; none when it could not be moved, and why is in `why`.
    pub moved_to: Option<PathBuf>,
    /// Repositories that had the blob, to fetch it from again.
    pub sources: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong: nothing is damaged, and of every image all is here or can be fetched.
    pub fn is_sound(&self) -> bool {
        !self.is_damaged() && self.incomplete.is_empty()
    }

    /// Whether something is not what its name says.
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty() || !self.facts_sound
    }
}

impl Store {
    /// Checks everything. Others may go on working with the store.
    ///
    /// # Errors
    /// When the store cannot be read at all. Damage is no error, it is reported.
    pub fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport { facts_sound: self.facts().check()?, ..CheckReport::default() };
        let blobs = self.blobs().list()?;
        let verdicts: Vec<_> =
            blobs.par_iter().map(|(digest, ..)| (*digest, self.check_blob(digest))).collect();
        for (digest, verdict) in verdicts {
            report.blobs += 1;
            if let Some(why) = verdict? {
                report.damaged.push(self.quarantine_blob(digest, why)?);
            }
        }
        let chains = self.chains()?;
        let layers = self.layers().list()?;
        let verdicts: Vec<_> = layers
            .par_iter()
            .map(|layer| {
                let below = match layer.key {
                    LayerKey::Diff(_) => Some(&[][..]),
                    LayerKey::Chain(id) | LayerKey::Windows(id) => {
                        chains.get(&id).map(|c| c.split_last().map_or(&[][..], |(_, b)| b))
                    }
                };
                let verdict = match (&layer.facts, below) {
                    (None, _) => Ok(Verdict::Damaged("what is known of it cannot be read".to_owned())),
                    // Made again from the layers' own directories, which are checked.
                    (Some(_), _) if layer.forms == [Form::Tree] => Ok(Verdict::Unpacked),
                    (Some(_), None) => Ok(Verdict::Unpacked),
                    (Some(facts), Some(below)) => {
                        let os = match layer.key {
                            LayerKey::Windows(_) => LayerOs::Windows,
                            _ => LayerOs::Linux,
                        };
                        self.check_layer(os, below, &facts.diff_id)
                    }
                };
                (layer, verdict)
            })
            .collect();
        for (layer, verdict) in verdicts {
            match verdict? {
                Verdict::Unpacked => report.unpacked += 1,
                Verdict::Sound => report.layers += 1,
                Verdict::Damaged(why) => {
                    report.layers += 1;
                    report.damaged.push(self.quarantine_layer(&layer.key, why)?);
                }
            }
        }
        self.find_incomplete(&mut report)?;
        Ok(report)
    }

    fn check_blob(&self, digest: &Digest) -> Result<Option<String>> {
        let run = || -> Result<()> {
            let mut reader = self.blobs().open_verified(digest)?;
            std::io::copy(&mut reader, &mut std::io::sink())
                .map_err(Error::stream(format!("blob {digest}")))?;
            Ok(())
        };
        verdict(run())
    }

    fn check_layer(&self, os: LayerOs, below: &[Digest], diff_id: &Digest) -> Result<Verdict> {
        let mut tar = match self.layers().for_os(os).tar(below, diff_id) {
            Ok(tar) => tar,
            Err(LayerError::NotReproducible { .. }) => return Ok(Verdict::Unpacked),
            // Collected in the meantime.
            Err(LayerError::Missing { .. }) => return Ok(Verdict::Sound),
            Err(e) => return Ok(Verdict::Damaged(e.to_string())),
        };
        let read = std::io::copy(&mut tar, &mut std::io::sink()).map(drop);
        Ok(match verdict(read.map_err(Error::stream(format!("layer {diff_id}"))))? {
            None => Verdict::Sound,
            Some(why) => Verdict::Damaged(why),
        })
    }

    fn quarantine_blob(&self, digest: Digest, why: String) -> Result<Damage> {
        let moved_to = self.quarantine_dir()?.join(digest.hex());
        let path = self.blobs().path(&digest);
        let sources = self.sources(&digest)?;
        std::fs::rename(&path, &moved_to).map_err(Error::io("put into quarantine", &path))?;
        Ok(Damage { what: "blob", digest, why, moved_to: Some(moved_to), sources })
    }

    fn quarantine_layer(&self, key: &LayerKey, why: String) -> Result<Damage> {
        let digest = *key.digest();
        let damage = |why, moved_to| Damage { what: "layer", digest, why, moved_to, sources: Vec::new() };
        self.layers().let_go();
        let path = self.layers().path(key);
        let target = self.quarantine_dir()?.join(format!("layer-{}", digest.hex()));
        // A layer that somebody stands on cannot be drawn away; the next check finds it again.
        let moved =
            Lock::exclusive("the layer", &self.layers().lock_path(key), Duration::ZERO).and_then(|_lock| {
                std::fs::rename(&path, &target).map_err(Error::io("put into quarantine", &path))
            });
        Ok(match moved {
            Ok(()) => damage(why, Some(target)),
            Err(e) => damage(format!("{why}; it stays where it is: {e}"), None),
        })
    }

    fn quarantine_dir(&self) -> Result<PathBuf> {
        let dir = self.root().join(QUARANTINE);
        std::fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        Ok(dir)
    }

    /// The chains of all images, by the chain ID of each of their layers.
    fn chains(&self) -> Result<HashMap<Digest, Vec<Digest>>> {
        let mut out = HashMap::new();
        for record in self.images().list()? {
            let Ok(bytes) = self.blobs().read_small(&record.id, MAX_CONFIG) else { continue };
            let Ok(image) = Image::from_parts(&bytes, None) else { continue };
            let diff_ids = image.diff_ids();
            for n in 1..=diff_ids.len() {
                let chain = diff_ids.get(..n).unwrap_or_default();
                out.insert(chain_id(chain), chain.to_vec());
            }
        }
        Ok(out)
    }

    fn find_incomplete(&self, report: &mut CheckReport) -> Result<()> {
        for record in self.images().list()? {
            let target = Named { id: record.id, manifest: record.manifest, index: None };
            let image = match self.images().load(&target) {
                Ok(image) => image,
                Err(e) => {
                    report.incomplete.push((record.id, e.to_string()));
                    continue;
                }
            };
            for layer in
                self.missing_layers(&image)?.into_iter().filter_map(|index| image.layers().get(index))
            {
                let sources = match &layer.blob {
                    Some(blob) => self.layer_sources(&record, blob)?,
                    None => Vec::new(),
                };
                let (image, layer) = (record.id, layer.diff_id);
                match sources.is_empty() {
                    true => report.incomplete.push((
                        image,
                        format!("layer {layer} is not here, and no registry is known to have it"),
                    )),
                    false => report.elsewhere.push(Elsewhere { image, layer, sources }),
                }
            }
        }
        Ok(())
    }

    /// Where a layer's blob should be: where it was met, where its manifest says, or where the image's name came from.
    fn layer_sources(&self, record: &ImageRecord, blob: &Descriptor) -> Result<Vec<String>> {
        let mut known = self.sources(&blob.digest)?;
        known.extend(blob.urls.iter().filter(|_| blob.is_foreign()).cloned());
        if !known.is_empty() {
            return Ok(known);
        }
        let mut out = Vec::new();
        for name in &record.names {
            if self.images().named(name)?.is_some_and(|named| named.manifest.is_some()) {
                out.push(name.repository());
            }
        }
        Ok(out)
    }
}

enum Verdict {
    Sound,
    Unpacked,
    Damaged(String),
}

/// Damage as text; none for sound content and for what was collected in the meantime.
fn verdict(result: Result<()>) -> Result<Option<String>> {
    match result {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        // A sector that cannot be read is damage as well.
        Err(e) => {
            let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
            Ok(Some(format!("{e}{source}")))
        }
    }
}

#[cfg(test)]
mod tests;
