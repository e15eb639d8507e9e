//! The files of an image, walked in the order of their names, and as one tar.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;
use orlop_store::Platform;
use orlop_store::layer::tar::{Entry, Kind, Time};

use crate::error::BuildError;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix::files;
#[cfg(unix)]
pub(super) use unix::{Node, walk, write_tar, xattrs};
#[cfg(windows)]
use windows::files;
#[cfg(windows)]
pub(super) use windows::write_tar;

/// A file operation that failed.
pub(super) fn failed(action: &str, path: &Path, error: std::io::Error) -> BuildError {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let message = format!("cannot {action} `{}`", path.display());
    let out = if full { BuildError::internal(message) } else { BuildError::user(message) };
    out.because(error)
}

/// The files of one platform's image, and where they go.
#[derive(Debug)]
pub(super) struct Part<'v> {
    /// `linux_arm64`, or nothing.
    pub(super) prefix: String,
    /// What the files are of, for messages.
    platform: String,
    /// Where they are.
    pub(super) root: &'v Path,
}

impl<'v> Part<'v> {
    /// In a directory named after the platform where it is `split`.
    pub(super) fn new(platform: &Platform, split: bool, root: &'v Path) -> Self {
        let platform = platform.with_version();
        Self { prefix: if split { platform.replace('/', "_") } else { String::new() }, platform, root }
    }
}

/// Fails where parts that go to the same place have a file of the same name: which one is meant nobody knows.
pub(super) fn nothing_twice(cancel: &CancelToken, parts: &[Part<'_>]) -> Result<(), BuildError> {
    if parts.len() < 2 || parts.iter().any(|part| !part.prefix.is_empty()) {
        return Ok(());
    }
    let mut seen: HashMap<PathBuf, &str> = HashMap::new();
    for part in parts {
        for path in files(cancel, part.root)? {
            if let Some(other) = seen.insert(path.clone(), &part.platform) {
                return Err(BuildError::user(format!(
                    "`/{}` is in the image for {other} and in the one for {}",
                    path.display(),
                    part.platform
                ))
                .with_hint(
                    "leave out `platform-split=false`: each platform then has a directory".to_owned(),
                ));
            }
        }
    }
    Ok(())
}

/// The directory of a part in a tar.
fn prefix_entry(prefix: &str) -> Entry {
    Entry {
        path: format!("{prefix}/").into_bytes(),
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 0, nanoseconds: 0 },
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: BTreeMap::new(),
    }
}
