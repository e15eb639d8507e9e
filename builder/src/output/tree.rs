//! The files of an image, walked in the order of their names, and as one tar.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;
use orlop_store::Platform;
use orlop_store::layer::tar::{Entry, Kind, Time, Writer};

use crate::error::BuildError;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{Node, walk, xattrs};
#[cfg(unix)]
use unix::{append, files};
#[cfg(windows)]
use windows::{append, files};

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

/// Writes the files of all parts as a tar, those of a part below its prefix.
pub(super) fn write_tar(cancel: &CancelToken, parts: &[Part<'_>], out: &File) -> Result<(), BuildError> {
    let mut tar = Writer::new(BufWriter::with_capacity(1 << 18, out));
    let mut directories = HashSet::new();
    for part in parts {
        if !part.prefix.is_empty() {
            tar.entry(&prefix_entry(&part.prefix)).map_err(unwritten)?;
        }
        // Of parts that go to one place the first says what a directory is like.
        let mut is_new =
            |path: &Path| parts.len() < 2 || directories.insert(Path::new(&part.prefix).join(path));
        append(cancel, part, &mut tar, &mut is_new)?;
    }
    let mut out = tar.finish().map_err(unwritten)?;
    out.flush().map_err(unwritten)
}

fn unwritten(error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::user("cannot write the tar").because(error)
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
