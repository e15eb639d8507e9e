//! Where an image goes: `-o`, `--push` and the store.

use std::path::PathBuf;

use orlop_store::Reference;
use orlop_store::layer::Compression;

/// One destination of a build, in BuildKit's words (`-o type=…,dest=…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The local store, under the build's tags: `type=image`, and what a build without `-o` does.
    Store {
        /// Further names.
        names: Vec<Reference>,
    },
    /// A registry: `type=registry`, `--push`, `type=image,push=true`.
    Registry {
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers are compressed that no registry gave us.
        compression: Compression,
    },
    /// An OCI archive or, with `tar=false`, an OCI layout directory: `type=oci`.
    Oci {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers are compressed.
        compression: Compression,
        /// `false`: a directory.
        tar: bool,
    },
    /// An archive for `docker load`: `type=docker`.
    Docker {
        /// Where to.
        dest: Destination,
        /// Names; the build's tags where empty.
        names: Vec<Reference>,
        /// How layers are compressed.
        compression: Compression,
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

/// A file, or standard output (`dest=-`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file or directory of this machine.
    Path(PathBuf),
    /// Standard output, which then carries nothing else.
    Stdout,
}
