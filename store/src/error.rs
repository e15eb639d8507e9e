//! What can go wrong in a store, said so that a person can act on it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::{Digest, VerifyError};
use crate::layer::{LayerError, UnpackError};
use crate::reference::ReferenceError;
use crate::snapshot::SnapshotError;
use crate::work::WorkError;

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is: who has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for is not here.
    NotFound,
    /// What the user gave (a name, an archive's path, an option) cannot be used.
    Input,
    /// Bytes from outside are not what they claim to be, or are malformed or beyond a limit.
    Content,
    /// The file system that holds the store is full, or the quota is used up.
    StorageFull,
    /// Another process holds what is needed.
    Busy,
    /// The store was made by a version that this one does not know.
    Format,
    /// What was asked for cannot be done on this machine.
    Unsupported,
    /// The operating system said no.
    System,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No space left.
    #[error("no space left to {action} `{}`", path.display())]
    StorageFull {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stream from outside (a download, an archive) could not be read to its end.
    #[error("cannot read {what}")]
    Stream {
        /// What was read.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Content that is not what its descriptor says.
    #[error("{what} is not what was asked for")]
    Verify {
        /// What was read or written.
        what: String,
        /// How it differs.
        source: VerifyError,
    },
    /// A document, an archive or a record with something wrong in it.
    #[error("{what} is not valid: {why}")]
    Invalid {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A document of outside that is larger than anything sensible.
    #[error("{what} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Which document.
        what: String,
        /// Its size in bytes, as far as it was read.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A name that is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No such image, blob or layer.
    #[error("there is no {what} `{name}` in the store")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// An ID prefix that several images share.
    #[error("`{prefix}` is the start of {} image IDs: {}", candidates.len(), list(candidates))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The images that it may mean.
        candidates: Vec<Digest>,
    },
    /// An image that cannot be removed by its ID, because several names share it.
    #[error("image `{id}` has {} names: `{}`", names.len(), names.join("`, `"))]
    SeveralNames {
        /// The ID that was given.
        id: String,
        /// The names.
        names: Vec<String>,
    },
    /// A lock was not to be had in time.
    #[error("{resource} is in use: `{}` is locked{}, after {} s of waiting", path.display(), by(*holder), waited.as_secs())]
    Locked {
        /// What the lock guards.
        resource: String,
        /// The lock file.
        path: PathBuf,
        /// Process that holds it, where known.
        holder: Option<u32>,
        /// How long was waited.
        waited: Duration,
    },
    /// A store of an unknown version.
    #[error("`{}` says {found}, and this orlop knows {known} only", path.display())]
    UnknownFormat {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What is known.
        known: String,
    },
    /// The database of facts refused something.
    #[error("cannot {action} in `{}`", path.display())]
    Facts {
        /// What was being done.
        action: &'static str,
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A layer could not be stored or had.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A snapshot could not be made.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Something that this machine or this store cannot do.
    #[error("{what} is not possible here: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
    },
}

/// SQLite's finer error code.
fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|e| e.extended_code)
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(Digest::short).collect::<Vec<_>>().join(", ")
}

fn by(holder: Option<u32>) -> String {
    holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

/// Whether `error` says that a disk or a quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Error {
    /// Turns the error of one file operation into one that names the operation and the path. To be
    /// used as `.map_err(Error::io("open", &path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.as_ref().to_owned();
            if is_full(&source) {
                Self::StorageFull { action, path, source }
            } else {
                Self::Io { action, path, source }
            }
        }
    }

    /// Turns the error of reading `what` from a stream into one that names it; a failed
    /// verification inside it is brought to light.
    pub fn stream(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let what = what.into();
            // An error of ours that went through an `io::Read` comes out as it was.
            match source.downcast::<Error>() {
                Ok(error) => error,
                Err(source) => match source.downcast::<VerifyError>() {
                    Ok(source) => Self::Verify { what, source },
                    Err(source) => Self::Stream { what, source },
                },
            }
        }
    }

    /// A document that is not valid.
    pub fn invalid(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), why: why.to_string() }
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Stream { .. } => ErrorKind::System,
            Self::StorageFull { .. } => ErrorKind::StorageFull,
            Self::Facts { source, .. } => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StorageFull,
                // The log's index, a small file beside it, found no room.
                _ if extended(source) == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => ErrorKind::StorageFull,
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                    ErrorKind::Busy
                }
                _ => ErrorKind::System,
            },
            Self::Layer(error) if full_within(error) => ErrorKind::StorageFull,
            Self::Snapshot(error) if full_within(error) => ErrorKind::StorageFull,
            Self::Layer(error) | Self::Snapshot(SnapshotError::Layer(error)) => match error {
                LayerError::Unpack { source: UnpackError::Io { .. }, .. } => ErrorKind::System,
                LayerError::Unpack { source: UnpackError::Owner { .. }, .. } => ErrorKind::Unsupported,
                LayerError::Unpack { .. } | LayerError::WrongDiffId { .. } => ErrorKind::Content,
                LayerError::Missing { .. }
                | LayerError::NeedsBelow { .. }
                | LayerError::NotReproducible { .. } => ErrorKind::NotFound,
                LayerError::InUse { .. } => ErrorKind::Busy,
                _ => ErrorKind::System,
            },
            Self::Snapshot(
                SnapshotError::Mount { .. }
                | SnapshotError::TooManyLayers { .. }
                | SnapshotError::Foreign { .. },
            ) => ErrorKind::Unsupported,
            Self::Snapshot(SnapshotError::Survived { .. }) => ErrorKind::Busy,
            Self::Snapshot(_) => ErrorKind::System,
            Self::Verify { .. } | Self::Invalid { .. } | Self::TooLarge { .. } => ErrorKind::Content,
            Self::Reference(_) | Self::Ambiguous { .. } | Self::SeveralNames { .. } => ErrorKind::Input,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Locked { .. } => ErrorKind::Busy,
            Self::UnknownFormat { .. } => ErrorKind::Format,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reference(error) => error.hint(),
            Self::NotFound { what: "image", name } => {
                Some(format!("list what is here with `orlop images`, or fetch it with `orlop pull {name}`"))
            }
            Self::Ambiguous { .. } => Some("give more digits of the ID, or a name".to_owned()),
            Self::SeveralNames { .. } => {
                Some("remove the names one by one, or all of them with `orlop rmi --force`".to_owned())
            }
            Self::Locked { .. } => {
                Some("wait for the other orlop to finish, or end it; a dead one leaves no lock".to_owned())
            }
            Self::UnknownFormat { .. } => {
                Some("use the orlop that made the store, or another store with `--root DIR`".to_owned())
            }
            Self::Verify { .. } => {
                Some("the content was damaged on its way or where it came from: fetch it again".to_owned())
            }
            Self::Layer(error) if !full_within(error) => error.hint(),
            Self::Snapshot(error) if !full_within(error) => error.hint(),
            _ if self.kind() == ErrorKind::StorageFull => Some(
                "make room with `orlop store gc`, or put the store elsewhere with `--root DIR`".to_owned(),
            ),
            _ if self.kind() == ErrorKind::Busy => {
                Some("another orlop is writing to this store: try again".to_owned())
            }
            Self::Io { source, action: "open", .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("a store is a directory: name another place with `--root DIR`".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the store belongs to another user: choose one of your own with `--root DIR`".to_owned())
            }
            _ => None,
        }
    }
}

impl From<WorkError> for Error {
    fn from(error: WorkError) -> Self {
        Self::io(error.action, error.path)(error.source)
    }
}

/// An error and all its causes.
pub(crate) fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| e.source())
}

/// Whether a full disk is somewhere among the causes.
fn full_within(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|e| e.downcast_ref::<io::Error>().is_some_and(is_full))
}

impl From<Error> for io::Error {
    /// For implementations of `Read` and `Write`; [`Error::stream`] unpacks it again.
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::StorageFull => io::ErrorKind::StorageFull,
            ErrorKind::Content | ErrorKind::Input => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_full_disk_is_told_apart_and_names_the_path() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("write", "/x/y")(full);
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.to_string(), "no space left to write `/x/y`");
        assert!(error.hint().unwrap().contains("store gc"));
        assert!(error.source().is_some());
        let quota = Error::io("write", "/x")(io::Error::from(io::ErrorKind::QuotaExceeded));
        assert_eq!(quota.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn errors_survive_a_trip_through_io() {
        let inner = Error::NotFound { what: "blob", name: "b".into() };
        let back = Error::stream("x")(io::Error::from(inner));
        assert!(matches!(back, Error::NotFound { what: "blob", .. }), "{back:?}");
        let d = Digest::of(b"");
        let verify = VerifyError::TooLong { digest: d, size: 0 };
        let error = Error::stream("layer 1")(io::Error::new(io::ErrorKind::InvalidData, verify));
        assert_eq!(error.kind(), ErrorKind::Content);
        assert_eq!(error.to_string(), "layer 1 is not what was asked for");
    }
}
