//! The files of an image, walked in the order of their names, and as one tar.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;
use orlop_store::layer::tar::{Entry, Kind, Time, Writer};

use super::{Part, failed, unwritten};
use crate::error::BuildError;

/// One file of a tree.
pub(in crate::output) struct Node {
    /// Where it is inside the tree, without a leading slash.
    pub(in crate::output) relative: PathBuf,
    /// Where it can be read.
    pub(in crate::output) path: PathBuf,
    /// What it is.
    pub(in crate::output) kind: Kind,
    pub(in crate::output) metadata: std::fs::Metadata,
    /// Target of a symbolic link.
    pub(in crate::output) link: Vec<u8>,
    /// An earlier name of the same file.
    pub(in crate::output) same_as: Option<PathBuf>,
}

/// Visits everything below `root`, a directory before what is in it. Sockets are left out: they mean
/// nothing without their process.
pub(in crate::output) fn walk(
    cancel: &CancelToken,
    root: &Path,
    mut visit: impl FnMut(&Node) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let mut seen: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut stack = children(root, Path::new(""))?;
    while let Some(relative) = stack.pop() {
        if cancel.is_cancelled() {
            return Err(BuildError::interrupted());
        }
        let path = root.join(&relative);
        let metadata = std::fs::symlink_metadata(&path).map_err(|e| failed("look at", &path, e))?;
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_dir() => Kind::Directory,
            () if file_type.is_symlink() => Kind::Symlink,
            () if file_type.is_file() => Kind::File,
            () if file_type.is_char_device() => Kind::CharDevice,
            () if file_type.is_block_device() => Kind::BlockDevice,
            () if file_type.is_fifo() => Kind::Fifo,
            () => continue,
        };
        let link = match kind {
            Kind::Symlink => {
                std::fs::read_link(&path).map_err(|e| failed("read", &path, e))?.into_os_string().into_vec()
            }
            _ => Vec::new(),
        };
        let same_as = if kind != Kind::Directory && metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            let earlier = seen.get(&key).cloned();
            seen.entry(key).or_insert_with(|| relative.clone());
            earlier
        } else {
            None
        };
        if kind == Kind::Directory {
            stack.extend(children(root, &relative)?);
        }
        visit(&Node { relative, path, kind, metadata, link, same_as })?;
    }
    Ok(())
}

/// Paths of what is in a directory, the last name first.
fn children(root: &Path, relative: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let dir = root.join(relative);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(|e| failed("list", &dir, e))? {
        names.push(relative.join(entry.map_err(|e| failed("list", &dir, e))?.file_name()));
    }
    names.sort_unstable_by(|a, b| b.as_os_str().cmp(a.as_os_str()));
    Ok(names)
}

/// Extended attributes that are the file's own, not the overlay's.
pub(in crate::output) fn xattrs(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, BuildError> {
    let io = |error: rustix::io::Errno| failed("read the attributes of", path, error.into());
    let mut names = Vec::with_capacity(1024);
    loop {
        names.clear();
        match rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
            Ok(_) => break,
            Err(rustix::io::Errno::RANGE) if names.capacity() <= 1 << 16 => {
                names.reserve(names.capacity() * 2)
            }
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
            Err(error) => return Err(io(error)),
        }
    }
    let mut out = BTreeMap::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        // The label belongs to the host's policy; ours is a note of what Windows knows of a file.
        if overlay || name == b"security.selinux" || name.starts_with(b"user.orlop.") {
            continue;
        }
        // 64 KiB is the kernel's limit for a value.
        let mut value = Vec::with_capacity(64 << 10);
        let key = std::ffi::OsStr::from_bytes(name);
        match rustix::fs::lgetxattr(path, key, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => {
                out.insert(name.to_vec(), value);
            }
            Err(rustix::io::Errno::NODATA) => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(out)
}

/// Everything below `root` that is no directory.
pub(super) fn files(cancel: &CancelToken, root: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut out = Vec::new();
    walk(cancel, root, |node| {
        if node.kind != Kind::Directory {
            out.push(node.relative.clone());
        }
        Ok(())
    })?;
    Ok(out)
}

/// Adds the files of a part to a tar, its directories as far as they are new there.
pub(super) fn append(
    cancel: &CancelToken,
    part: &Part<'_>,
    tar: &mut Writer<impl Write>,
    is_new: &mut dyn FnMut(&Path) -> bool,
) -> Result<(), BuildError> {
    walk(cancel, part.root, |node| {
        let below = |path: &Path| Path::new(&part.prefix).join(path).into_os_string().into_vec();
        let mut path = below(&node.relative);
        if node.kind == Kind::Directory {
            path.push(b'/');
            if !is_new(&node.relative) {
                return Ok(());
            }
        }
        let (kind, link) = match &node.same_as {
            Some(earlier) => (Kind::HardLink, below(earlier)),
            None => (node.kind, node.link.clone()),
        };
        let entry = entry(node, path, kind, link)?;
        if kind == Kind::File {
            let file = File::open(&node.path).map_err(|e| failed("open", &node.path, e))?;
            tar.append(&entry, file).map_err(unwritten)
        } else {
            tar.entry(&entry).map_err(unwritten)
        }
    })
}

fn entry(node: &Node, path: Vec<u8>, kind: Kind, link: Vec<u8>) -> Result<Entry, BuildError> {
    let device = match kind {
        Kind::CharDevice | Kind::BlockDevice => {
            (rustix::fs::major(node.metadata.rdev()), rustix::fs::minor(node.metadata.rdev()))
        }
        _ => (0, 0),
    };
    Ok(Entry {
        path,
        kind,
        mode: node.metadata.mode() & 0o7777,
        uid: node.metadata.uid().into(),
        gid: node.metadata.gid().into(),
        mtime: Time {
            seconds: node.metadata.mtime(),
            nanoseconds: u32::try_from(node.metadata.mtime_nsec()).unwrap_or(0),
        },
        link,
        size: if kind == Kind::File { node.metadata.len() } else { 0 },
        device,
        xattrs: if kind == Kind::HardLink { BTreeMap::new() } else { xattrs(&node.path)? },
        windows: BTreeMap::new(),
    })
}
