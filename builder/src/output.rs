//! Where an image goes: `-o`, `--push` and the store.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use orlop_store::Reference;

/// One destination of a build, in BuildKit's words (`-o type=…,dest=…`).
#[derive(Clone, Debug)]
pub enum Output {
    /// The local store, under the build's tags: `type=image`, and what a build without `-o` does.
    Store {
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
    },
    /// A registry: `type=registry`, `--push`, `type=image,push=true`.
    Registry {
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers and the manifest are written.
        packing: Packing,
    },
    /// An OCI archive or, with `tar=false`, an OCI layout directory: `type=oci`.
    Oci {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers and the manifest are written.
        packing: Packing,
        /// `false`: a directory.
        tar: bool,
    },
    /// An archive for `docker load`: `type=docker`.
    Docker {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers are written.
        packing: Packing,
    },
    /// The file system as a directory: `type=local`.
    Local {
        /// The directory; made where it is missing.
        dest: PathBuf,
    },
    /// The file system as one tar: `type=tar`.
    Tar {
        /// Where to.
        dest: Destination,
    },
}

/// A file, or a stream of the caller's.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A file or directory of this machine. It appears complete or not at all.
    Path(PathBuf),
    /// An open file, such as standard output.
    Open(Arc<File>),
}

/// How an image's layers and manifest are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// The form of layers that have no blob yet; gzip where none is named, which every reader takes.
    pub compression: Option<Compression>,
    /// Whether layers that came compressed in another way are compressed again.
    pub force: bool,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
}

/// The form of a layer's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// The tar as it is.
    Uncompressed,
    /// gzip at a level from 0 to 9, 6 where none is named.
    Gzip(Option<u8>),
    /// zstd at a level from 1 to 22, 3 where none is named.
    Zstd(Option<u8>),
}
