//! Content and snapshots: blobs under their digests, layers, copy-on-write snapshots, images as
//! values, and the facts about them. Knows nothing of Dockerfiles.

pub mod descriptor;
pub mod digest;
pub mod error;
pub mod layer;
pub mod reference;
pub mod snapshot;
pub mod work;

pub use descriptor::{Descriptor, Platform, media_type};
pub use digest::{Digest, Digester, VerifiedReader};
pub use error::{Error, ErrorKind, Result};
pub use reference::Reference;
