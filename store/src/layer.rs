//! Layers at rest: one layer in one or more forms, keyed by what it is.
//!
//! # On disk
//! ```text
//! layers/<hex of the diff ID>/          a layer that means the same over any chain
//! layers/chain-<hex of the chain ID>/   a layer that does not: it leaves out parent directories
//!                                       or hard-links into a lower layer
//! layers/windows-<hex of the chain ID>/ a layer of a Windows image on another system: names in it are spelled
//!                                       as the layers below spell them
//!   layer.json    LayerFacts
//!   unsynced      it may not be on the disk yet: which run of the system put it there
//!   lock          held shared by whoever uses the layer, exclusively by whoever removes it
//!   fs/           form: a directory in overlay form (whiteouts are 0:0 devices, opaque directories
//!                 carry `trusted.overlay.opaque`, in a user namespace `user.overlay.opaque`)
//!   tar           form: the layer's own tar, byte for byte
//!   index         form, beside a tar: an EROFS image of its names, whose content is in the tar; can be made again
//!   tree/         form, chain-keyed only: the whole file system up to this layer (copy driver)
//! ```
//! A directory appears under `layers/` by one rename, complete; a form that is added later by
//! another. Nothing in a form is ever changed.

#[cfg(unix)]
mod apply;
#[cfg(unix)]
pub mod compose;
pub mod compress;
#[cfg(unix)]
pub(crate) mod copy;
#[cfg(unix)]
pub mod diff;
mod failure;
mod import;
#[cfg(unix)]
pub(crate) mod index;
mod layers;
#[cfg(unix)]
pub(crate) mod mounts;
#[cfg(unix)]
pub(crate) mod node;
#[cfg(unix)]
pub(crate) mod stack;
pub mod tar;
pub(crate) mod timeless;
#[cfg(unix)]
mod unsynced;
pub mod windows;

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Digester};
use crate::work::WorkError;

pub use failure::{DiffError, UnpackError};
#[cfg(windows)]
pub(crate) use layers::rename;
pub use layers::{Hold, Layers};

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
    /// Loss of power too: everything is on the disk before an image is kept or named; what is not counts as absent
    /// afterwards.
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
    #[serde(default)]
    pub missing_devices: u64,
    /// Extended attributes that could not be set here and are missing from the `fs` form.
    #[serde(default)]
    pub missing_xattrs: u64,
}

/// The name of a stored layer's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKey {
    /// By diff ID: means the same over any chain.
    Diff(Digest),
    /// By chain ID: made for one chain.
    Chain(Digest),
    /// By chain ID: a layer of a Windows image, which is always made for one chain, because names that differ in
    /// case alone are one name. Not used on Windows itself, where such a layer is kept as its tar.
    Windows(Digest),
}

impl LayerKey {
    /// The digest in it.
    pub fn digest(&self) -> &Digest {
        let (Self::Diff(digest) | Self::Chain(digest) | Self::Windows(digest)) = self;
        digest
    }
}

/// A form that a layer is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A directory in overlay form.
    Fs,
    /// The layer's own tar.
    Tar,
    /// What makes the tar a file system that can be mounted.
    Index,
    /// The whole file system up to this layer.
    Tree,
}

impl Form {
    /// All, each after those that it needs.
    const ALL: [Self; 4] = [Self::Fs, Self::Tar, Self::Index, Self::Tree];

    /// The forms that a layer may be imported in: a directory, or its own tar, which is mounted or unpacked when
    /// a snapshot is made. On Windows always a tar.
    const IMPORTED: &[Self] = if cfg!(unix) { &[Self::Fs, Self::Tar] } else { &[Self::Tar] };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fs => "fs",
            Self::Tar => "tar",
            Self::Index => "index",
            Self::Tree => "tree",
        }
    }
}

/// A layer as listed for garbage collection.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    /// Where it is.
    pub key: LayerKey,
    /// Which forms it has.
    pub forms: Vec<Form>,
    /// What it is; none where that can not be read, so that nothing can use it either.
    pub facts: Option<LayerFacts>,
    /// When it was last used.
    pub used: SystemTime,
}

/// The OCI chain ID of the layers `diff_ids`, bottom first (OCI image specification, "Layer ChainID").
/// That of no layers is the digest of nothing.
pub fn chain_id(diff_ids: &[Digest]) -> Digest {
    let Some((first, rest)) = diff_ids.split_first() else {
        return Digest::of(b"");
    };
    rest.iter().fold(*first, |chain, diff_id| chain_over(&chain, diff_id))
}

/// The chain ID of the layer `diff_id` over layers, of which there are some, with chain ID `below`.
pub(crate) fn chain_over(below: &Digest, diff_id: &Digest) -> Digest {
    let mut digester = Digester::new();
    for part in [b"sha256:", &below.digits()[..], b" sha256:", &diff_id.digits()] {
        digester.update(part);
    }
    digester.finish()
}

/// Why a layer could not be stored or had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The layer's archive is damaged or hostile, or can not be unpacked here.
    #[error("cannot unpack {layer}")]
    Unpack {
        /// The layer.
        layer: String,
        /// Why.
        source: UnpackError,
    },
    /// The archive has another digest than it should.
    #[error("layer {expected} unpacks to a tar with digest {found}")]
    WrongDiffId {
        /// What was asked for.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// The layer can only be unpacked once those below it are.
    #[error("layer {diff_id} needs the layers below it, which are not unpacked")]
    NeedsBelow {
        /// The layer.
        diff_id: Digest,
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
    /// What is known of the layer can not be read.
    #[error("`{path}` is damaged")]
    Facts {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The layer's tar can not be made from its files.
    #[error("cannot make the tar of layer {diff_id}")]
    Remake {
        /// The layer.
        diff_id: Digest,
        /// Why.
        source: DiffError,
    },
    /// The layer can not be mounted from its tar.
    #[error("cannot mount `{path}`{}", crate::snapshot::said(.log))]
    Mount {
        /// Its index.
        path: PathBuf,
        /// What the kernel says about it, or nothing.
        log: String,
        /// Why.
        source: io::Error,
    },
    /// The store's layers are marked in the other form: what one hides the other does not see.
    #[error("the layers in `{path}` were made {}", if *.trusted {
        "by root of the machine, and cannot be read without CAP_SYS_ADMIN"
    } else {
        "without CAP_SYS_ADMIN, and root of the machine reads them otherwise"
    })]
    OtherMarks {
        /// The directory of layers.
        path: PathBuf,
        /// Whether they are marked by `trusted` attributes.
        trusted: bool,
    },
    /// Something in `work/` went wrong.
    #[error(transparent)]
    Work(#[from] WorkError),
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
        match self {
            Self::Unpack { source, .. } => source.hint(),
            Self::WrongDiffId { .. } => Some(
                "the image's config does not fit its layers: pull it again, or ask its author".to_owned(),
            ),
            Self::Facts { .. } => Some("run `orlop store check`".to_owned()),
            Self::Remake { source, .. } => source.hint(),
            Self::OtherMarks { .. } => {
                Some("use another store with `--root`, or run orlop as this one was made".to_owned())
            }
            Self::Work(e) => e.hint(),
            Self::Mount { .. } => Some(
                "mounting a layer from its tar needs root and Linux 6.12 with EROFS; unpacked layers work anywhere"
                    .to_owned(),
            ),
            Self::Io { source, path, .. } => crate::work::hint_of(source, path),
            Self::InUse { .. } => Some("wait until the builds that use it are done".to_owned()),
            Self::NeedsBelow { .. } | Self::NotReproducible { .. } | Self::Missing { .. } => None,
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
