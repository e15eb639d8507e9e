//! The files of an image, walked in the order of their names, and as one tar.

use std::path::Path;

use crate::error::BuildError;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{Node, walk, write_tar, xattrs};
#[cfg(windows)]
pub(super) use windows::write_tar;

/// A file operation that failed.
pub(super) fn failed(action: &str, path: &Path, error: std::io::Error) -> BuildError {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let message = format!("cannot {action} `{}`", path.display());
    let out = if full { BuildError::internal(message) } else { BuildError::user(message) };
    out.because(error)
}
