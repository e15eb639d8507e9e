//! The tar of an image's files on Windows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;
use orlop_store::layer::tar::{Entry, Kind, Time, Writer};

use super::{Part, failed, unwritten};
use crate::context::{Dir, Kind as FileKind, Meta, name_bytes};
use crate::error::BuildError;

/// Everything below `root` that is no directory.
pub(super) fn files(cancel: &CancelToken, root: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut out = Vec::new();
    walk(cancel, root, |_, _, path, meta| {
        if meta.kind != FileKind::Directory {
            out.push(path.to_owned());
        }
        Ok(())
    })?;
    Ok(out)
}

/// Visits everything below `root`, by handle and name, so that no link in it leads anywhere; a directory before what
/// is in it.
fn walk(
    cancel: &CancelToken,
    root: &Path,
    mut visit: impl FnMut(&Dir, &OsString, &Path, &Meta) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let top = Dir::open(root).map_err(|e| failed("open", root, e))?;
    // Directories to go through, the innermost last, each with the names that are left in it.
    let mut open: Vec<(Dir, PathBuf, Vec<OsString>)> =
        vec![(top.clone(), PathBuf::new(), names(&top, root)?)];
    while let Some((dir, path, left)) = open.last_mut() {
        if cancel.is_cancelled() {
            return Err(BuildError::interrupted());
        }
        let Some(name) = left.pop() else {
            open.pop();
            continue;
        };
        let path = path.join(&name);
        let meta = dir.stat(&name).map_err(|e| failed("look at", &path, e))?;
        visit(dir, &name, &path, &meta)?;
        if meta.kind == FileKind::Directory {
            let inner = dir.dir(&name).map_err(|e| failed("open", &path, e))?;
            let names = names(&inner, &path)?;
            open.push((inner, path, names));
        }
    }
    Ok(())
}

/// Adds the files of a part to a tar, its directories as far as they are new there.
pub(super) fn append(
    cancel: &CancelToken,
    part: &Part<'_>,
    tar: &mut Writer<impl Write>,
    is_new: &mut dyn FnMut(&Path) -> bool,
) -> Result<(), BuildError> {
    walk(cancel, part.root, |dir, name, path, meta| {
        let target = Path::new(&part.prefix).join(path);
        match meta.kind {
            FileKind::Directory => match is_new(path) {
                true => tar.entry(&entry(&target, Kind::Directory, meta, Vec::new())).map_err(unwritten),
                false => Ok(()),
            },
            FileKind::Symlink => {
                let link = dir.read_link(name).map_err(|e| failed("read", path, e))?;
                let link = link.to_string_lossy().into_owned().into_bytes();
                tar.entry(&entry(&target, Kind::Symlink, meta, link)).map_err(unwritten)
            }
            _ => {
                let file = dir.file(name).map_err(|e| failed("open", path, e))?;
                tar.append(&entry(&target, Kind::File, meta, Vec::new()), file).map_err(unwritten)
            }
        }
    })
}

/// The names in a directory, the first last.
fn names(dir: &Dir, path: &Path) -> Result<Vec<OsString>, BuildError> {
    let mut names = dir.list().map_err(|e| failed("list", path, e))?;
    names.reverse();
    Ok(names)
}

fn entry(path: &Path, kind: Kind, meta: &Meta, link: Vec<u8>) -> Entry {
    let parts: Vec<&[u8]> = path.iter().map(name_bytes).collect();
    let mut path = parts.join(&b'/');
    if kind == Kind::Directory {
        path.push(b'/');
    }
    Entry {
        path,
        kind,
        mode: if kind == Kind::File { 0o644 } else { meta.mode },
        uid: 0,
        gid: 0,
        mtime: Time { seconds: meta.mtime.seconds, nanoseconds: meta.mtime.nanoseconds },
        link,
        size: if kind == Kind::File { meta.size } else { 0 },
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: BTreeMap::new(),
    }
}
