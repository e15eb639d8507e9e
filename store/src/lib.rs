//! Content and snapshots: blobs under their digests, layers, copy-on-write snapshots, images as
//! values, and the facts about them. Knows nothing of Dockerfiles.

pub mod descriptor;
pub mod digest;
pub mod layer;
pub mod snapshot;
pub mod work;

pub use descriptor::{Descriptor, Platform, media_type};
pub use digest::{Digest, Digester, VerifiedReader};
pub use layer::{LayerError, Layers};
pub use snapshot::{Active, Committed, Diff, SnapshotDriver, SnapshotError, View};
pub use work::{Work, WorkDir, WorkError};
