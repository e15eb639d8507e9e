//! Content and snapshots: blobs under their digests, layers, copy-on-write snapshots, images as
//! values, and the facts about them. Knows nothing of Dockerfiles.

pub mod blob;
pub mod caches;
pub mod check;
#[cfg(unix)]
mod context;
pub mod descriptor;
pub mod digest;
pub mod error;
mod facts;
pub mod files;
#[cfg(test)]
mod format_tree;
pub mod gc;
pub mod image;
pub mod images;
pub mod layer;
pub mod layout;
pub mod lock;
#[cfg(windows)]
pub mod nt;
pub mod platform;
mod read_ahead;
pub mod reference;
mod session;
pub mod snapshot;
mod spool;
pub mod steps;
pub mod store;
pub mod trace;
pub mod work;
mod write_behind;

pub use blob::{BlobSink, BlobSource, BlobWriter, Blobs, GrowingBlob};
pub use check::CheckReport;
pub use descriptor::{Descriptor, media_type};
pub use digest::{Digest, Digester, FileDigest, FileDigester, VerifiedReader};
pub use error::{Error, ErrorKind, Result};
pub use files::{FileStat, Files};
pub use gc::{GcPolicy, GcReport, Usage};
pub use image::{Config, History, Image, ImageLayer, Index, Manifest, ManifestKind};
pub use images::{ImageRecord, Images, Member, Named};
pub use layer::Durability;
pub use layer::compress::Compression;
pub use layer::{LayerError, Layers};
pub use layout::{ArchiveFormat, Content, LoadOptions, Loaded, NamedImage, SaveOptions};
pub use platform::Platform;
pub use reference::Reference;
pub use snapshot::{Active, Committed, Diff, LayerOs, SnapshotDriver, SnapshotError, View};
pub use steps::{KeyPart, Parts, StepKey, StepRecord, Steps};
pub use store::{Driver, Export, ExportOptions, Store, StoreOptions, note_sources, peek, peek_sources};
pub use work::{Work, WorkDir, WorkError};
