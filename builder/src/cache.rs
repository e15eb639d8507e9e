//! A cache that builders share: what came of steps, with their layers, in a registry or a directory.
//!
//! `--cache-from` reads it and `--cache-to` writes it. The documents, and what is believed of them, are described in
//! `cache/CACHE.md`.

mod document;
mod existing;
mod export;
mod import;
mod inline;
mod json;
mod layout;
mod place;

use std::path::PathBuf;

use orlop_store::{Digest, Reference};

use crate::output::Packing;

pub(crate) use export::{Exported, Exports, exporting};
pub(crate) use import::Imports;
pub(crate) use inline::{Carried, inline};

/// One `--cache-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// `type=registry`: what is under that name, a cache or an image that carries one.
    Registry(Reference),
    /// `type=local`: an OCI layout.
    Local {
        /// Its directory.
        dir: PathBuf,
        /// Which of the manifests in it.
        which: LocalName,
    },
}

/// Which manifest of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalName {
    /// The one of that tag.
    Tag(String),
    /// The one of that digest.
    Digest(Digest),
}

/// One `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTarget {
    /// Where to.
    pub place: CachePlace,
    /// `mode`: the steps of which stages.
    pub mode: CacheMode,
    /// How layers are compressed.
    pub packing: Packing,
    /// `image-manifest`: the document is an image manifest, which every registry takes; else an index over layers.
    pub image_manifest: bool,
    /// `ignore-error`: the build succeeds although the cache could not be written.
    pub ignore_error: bool,
}

/// Where a cache is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// `type=registry`.
    Registry(Reference),
    /// `type=local`: an OCI layout.
    Local {
        /// Its directory.
        dir: PathBuf,
        /// The tag of the manifest in it.
        tag: String,
    },
    /// `type=inline`: the image's own config.
    Inline,
}

/// The steps of which stages a cache gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those that the image is made of.
    #[default]
    Min,
    /// Those of every stage.
    Max,
}

/// Where a `--cache-from` or `--cache-to` names no tag.
pub const DEFAULT_TAG: &str = "latest";

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
