//! Where COPY and ADD read from: a directory with its ignore rules, an unpacked archive, or the
//! file system of another stage.

pub mod archive;
pub mod decompress;
pub mod directory;
pub mod fetch;
pub mod git;
mod handle;
pub mod ignore;
pub mod named;
pub mod pattern;
mod pieces;
pub mod tar;

use orlop_store::FileDigest;

pub use directory::{ContextError, SourceTree};
#[cfg(unix)]
pub(crate) use handle::holes;
pub(crate) use handle::{
    Dir, Kind, Meta, NameList, Time, Xattrs, copy_fast, file_meta, name_bytes, os_string, write_metadata,
};
pub use ignore::{Ignore, IgnoreError};
pub use named::{ContextName, NamedContext, NamedSource};
pub(crate) use pattern::Inherited;
pub use tar::{ArchiveError, Unpacked};

/// What the system says of a file; as long as all of it is the same, so is the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of anything, nanoseconds since 1970.
    pub ctime_ns: i128,
}

/// Remembers the digests of files' contents, so that a file that did not change is not read.
///
/// The caller of [`put`](Self::put) has made sure that the file was not touched within the grain of
/// the file system's clock before it was read, so an implementation may believe what it is told.
pub trait DigestCache: Sync {
    /// The digest of the content of a file with exactly this stat, where known.
    fn get(&self, file: &FileStat) -> Option<FileDigest>;
    /// Remembers one.
    fn put(&self, file: &FileStat, digest: FileDigest);
}

/// Remembers nothing: every file is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl DigestCache for NoCache {
    fn get(&self, _: &FileStat) -> Option<FileDigest> {
        None
    }

    fn put(&self, _: &FileStat, _: FileDigest) {}
}
