//! Layers at rest: one layer in one or more forms, keyed by what it is.
//!
//! # On disk
//! ```text
//! layers/<hex of the diff ID>/          a layer that means the same over any chain
//! layers/chain-<hex of the chain ID>/   a layer that does not: it leaves out parent directories
//!                                       or hard-links into a lower layer
//!   layer.json    LayerFacts
//!   lock          held shared by whoever uses the layer, exclusively by whoever removes it
//!   fs/           form: a directory in overlay form (whiteouts are 0:0 devices, opaque directories
//!                 carry `trusted.overlay.opaque`, in a user namespace `user.overlay.opaque`)
//!   tar           form: the layer's own tar, byte for byte
//!   tree/         form, chain-keyed only: the whole file system up to this layer (copy driver)
//! ```
//! A directory appears under `layers/` by one rename, complete; a form that is added later by
//! another. Nothing in a form is ever changed.

pub mod tar;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::work::Work;

/// How an opaque directory is marked in overlay form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrForm {
    /// `trusted.overlay.*`: root of the first user namespace.
    Trusted,
    /// `user.overlay.*`: anybody; mounted with `userxattr`.
    User,
}

/// What becomes of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Files get the owners that the layer says.
    #[default]
    Keep,
    /// Files stay with whoever unpacks them: only one id is mapped.
    Ignore,
}

/// What a layer survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of any process. Loss of power may lose or damage the newest layers.
    Process,
    /// Loss of power too: everything is on the disk before the layer appears.
    #[default]
    Power,
}

/// What is known of a stored layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub size: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// Whether the `fs` form came from our own diff, so that the tar's bytes can be made from it again.
    pub made_here: bool,
    /// Whether the tar has an entry for the root directory itself.
    pub root_entry: bool,
    /// Device nodes that could not be made here (rootless) and are missing from the `fs` form.
    pub missing_devices: u64,
}

/// The name of a stored layer's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKey {
    /// By diff ID: means the same over any chain.
    Diff(Digest),
    /// By chain ID: made for one chain.
    Chain(Digest),
}

/// A layer as listed for garbage collection.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    /// Where it is.
    pub key: LayerKey,
    /// What it is.
    pub facts: LayerFacts,
    /// When it was stored.
    pub stored: std::time::SystemTime,
}

/// The OCI chain ID of the layers `diff_ids`, bottom first (OCI image specification, "Layer ChainID").
/// That of no layers is the digest of nothing.
pub fn chain_id(diff_ids: &[Digest]) -> Digest {
    let Some((first, rest)) = diff_ids.split_first() else {
        return Digest::of(b"");
    };
    rest.iter().fold(*first, |chain, diff_id| Digest::of(format!("{chain} {diff_id}").as_bytes()))
}

/// Why a layer could not be stored or had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The layer's archive is damaged or hostile.
    #[error("cannot read layer {diff_id}")]
    Tar {
        /// The layer.
        diff_id: Digest,
        /// Why.
        source: tar::TarError,
    },
    /// The archive has another digest than it should.
    #[error("layer {expected} unpacks to a tar with digest {found}")]
    WrongDiffId {
        /// What was asked for.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// The layer's bytes can not be made from what is stored; a blob may have them.
    #[error("the bytes of layer {diff_id} are not stored and cannot be made again")]
    NotReproducible {
        /// The layer.
        diff_id: Digest,
    },
    /// The layer is not stored.
    #[error("layer {diff_id} is not in the store")]
    Missing {
        /// The layer.
        diff_id: Digest,
    },
    /// Somebody uses the layer.
    #[error("layer `{path}` is in use")]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// The system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LayerError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

/// The layers of a store.
#[derive(Debug)]
pub struct Layers {}

impl Layers {
    /// Opens (and makes, where missing) the directory of layers.
    pub fn open(_dir: &Path, _work: &Work, _opaque: XattrForm) -> Result<Self, LayerError> {
        unimplemented!()
    }
    /// Sets what becomes of owners.
    pub fn with_ownership(self, _ownership: Ownership) -> Self {
        unimplemented!()
    }
    /// Sets what a layer survives.
    pub fn with_durability(self, _durability: Durability) -> Self {
        unimplemented!()
    }
    /// Whether the layer `diff_id` over the chain `below` is stored in a form that can be mounted.
    pub fn contains(&self, _below: &[Digest], _diff_id: &Digest) -> bool {
        unimplemented!()
    }
    /// What is known of the layer.
    pub fn facts(&self, _below: &[Digest], _diff_id: &Digest) -> Result<Option<LayerFacts>, LayerError> {
        unimplemented!()
    }
    /// The directory of the layer in overlay form.
    pub fn fs(&self, _below: &[Digest], _diff_id: &Digest) -> Option<PathBuf> {
        unimplemented!()
    }
    /// The exact bytes of the layer's uncompressed tar. End of file is only reported once the digest was
    /// found right.
    pub fn tar(&self, _below: &[Digest], _diff_id: &Digest) -> Result<Box<dyn Read + Send>, LayerError> {
        unimplemented!()
    }
    /// Unpacks the uncompressed tar of `diff_id` for use over `below` (bottom first) and verifies it.
    pub fn import(
        &self,
        _below: &[Digest],
        _diff_id: &Digest,
        _tar: impl Read,
    ) -> Result<LayerFacts, LayerError> {
        unimplemented!()
    }
    /// Stores an uncompressed tar whose diff ID is not known yet, and keeps its bytes (form `tar`).
    pub fn adopt(&self, _below: &[Digest], _tar: impl Read) -> Result<LayerFacts, LayerError> {
        unimplemented!()
    }
    /// Everything stored.
    pub fn list(&self) -> Result<Vec<StoredLayer>, LayerError> {
        unimplemented!()
    }
    /// Removes a layer that nobody uses.
    pub fn remove(&self, _key: &LayerKey) -> Result<(), LayerError> {
        unimplemented!()
    }
}
