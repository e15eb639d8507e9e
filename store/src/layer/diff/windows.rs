//! Writing changes as a Windows layer: see [`windows`](crate::layer::windows) for the format.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;

use super::emit::Out;
use super::{Changes, Child, DiffError, What, io_error};
use crate::layer::node::{self, Meta};
use crate::layer::stack::{StackDir, push};
use crate::layer::tar::{Entry, Kind, Time, shown};
use crate::layer::windows::{self, CARRIER, Metadata, ROOTS, Top, check_name, fold, stream_of, to_windows};

/// Refuses names that Windows cannot have, and two that it cannot tell apart.
pub(super) fn check_names(dir: &[u8], children: &[Child], below: &StackDir<'_>) -> Result<(), DiffError> {
    let fail = |name: &[u8], why: String| {
        let mut path = dir.to_vec();
        push(&mut path, name);
        DiffError::NotForWindows { path: shown(&path), why }
    };
    let present = |child: &&Child| matches!(child.what, What::Present { .. });
    let mut seen: HashMap<Vec<u8>, &[u8]> = HashMap::new();
    let mut is_new = false;
    for child in children.iter().filter(present) {
        check_name(&child.name).map_err(|e| fail(&child.name, e.to_string()))?;
        if let Some(other) = seen.insert(fold(&child.name), &child.name) {
            return Err(fail(&child.name, format!("`{}` is the same name there", shown(other))));
        }
        is_new |= matches!(child.what, What::Present { old: None, changed: true, .. });
    }
    if !is_new {
        return Ok(());
    }
    let gone = |name: &[u8]| {
        children.iter().any(|child| child.name == name && matches!(child.what, What::Deleted { .. }))
    };
    for (name, _) in below.list().map_err(io_error("read", dir))? {
        if let Some(other) = seen.get(&fold(&name))
            && **other != name[..]
            && !gone(&name)
        {
            return Err(fail(other, format!("the layers below have it as `{}`", shown(&name))));
        }
    }
    Ok(())
}

impl Changes {
    /// Writes the layer: its parts first, then every directory before what is in it, and a file's streams right
    /// behind it. Of no changes nothing is written. To Windows a file is new with all its streams: those that an
    /// earlier layer has of it are none of the new one's.
    pub(super) fn write_windows<W: Write>(
        &self,
        root: BorrowedFd<'_>,
        out: &mut Out<W>,
    ) -> Result<(), DiffError> {
        let emitted = || self.nodes.iter().enumerate().skip(1).filter(|(_, node)| node.emit);
        if emitted().next().is_none() {
            return Ok(());
        }
        for top in ROOTS {
            let said = match top {
                Top::Files => carried(root, b".").map_err(io_error("read", b""))?,
                _ => Metadata::default(),
            };
            let metadata = said.for_directory();
            out.entry(&windows::write(top, b"", Kind::Directory, Time::default(), &metadata))?;
        }
        let mut streams: HashMap<(usize, &[u8]), Vec<usize>> = HashMap::new();
        let mut dirs: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for (i, node) in emitted() {
            if let What::Present { meta, .. } = node.what {
                dirs.insert(self.path(i), meta.is_dir());
                if let Some((file, _)) = stream_of(node.name) {
                    streams.entry((node.parent, file)).or_default().push(i);
                }
            }
        }
        for (&(parent, file), which) in &streams {
            let mut path = self.path(parent);
            push(&mut path, file);
            if let (false, Some(&first)) = (dirs.contains_key(&path), which.first()) {
                let why = format!("it is a stream of `{}`, which this step does not write", shown(&path));
                return Err(DiffError::NotForWindows { path: shown(&self.path(first)), why });
            }
        }
        let mut first_names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let mut dir: Option<(usize, OwnedFd)> = None;
        let mut buf = vec![0; 256 * 1024];
        for (i, node) in emitted() {
            let path = self.path(i);
            let What::Present { meta, .. } = node.what else {
                // With its file a stream goes as well.
                if stream_of(node.name).is_none() {
                    out.entry(&windows::whiteout(Top::Files, &path))?;
                }
                continue;
            };
            if stream_of(node.name).is_some() {
                continue;
            }
            if dir.as_ref().is_none_or(|(parent, _)| *parent != node.parent) {
                let parent = self.path(node.parent);
                dir = Some((node.parent, node::open_dir(root, &parent).map_err(io_error("open", &parent))?));
            }
            let Some((_, handle)) = &dir else { continue };
            let handle = handle.as_fd();
            if meta.links > 1 && !meta.is_dir() {
                if let Some(first) = first_names.get(&meta.id) {
                    out.entry(&windows::link(Top::Files, &path, first, meta.mtime))?;
                    continue;
                }
                first_names.insert(meta.id, path.clone());
            }
            let entry = describe(handle, node.name, &meta, &path, &dirs)?;
            out.entry(&entry)?;
            if entry.kind == Kind::File {
                let mut file = node::open_file(handle, node.name).map_err(io_error("read", &entry.path))?;
                out.content(&mut file, &entry, None, &mut buf)?;
            }
            for &stream in streams.get(&(node.parent, node.name)).into_iter().flatten() {
                self.write_stream(handle, stream, &path, out, &mut buf)?;
            }
        }
        Ok(())
    }

    fn write_stream<W: Write>(
        &self,
        dir: BorrowedFd<'_>,
        i: usize,
        file: &[u8],
        out: &mut Out<W>,
        buf: &mut [u8],
    ) -> Result<(), DiffError> {
        let node = self.nodes.get(i);
        let (What::Present { meta, .. }, Some((_, name))) = (node.what, stream_of(node.name)) else {
            return Ok(());
        };
        if meta.kind != FileType::RegularFile {
            let why = "only a file can be a stream".to_owned();
            return Err(DiffError::NotForWindows { path: shown(&self.path(i)), why });
        }
        let entry = windows::stream(Top::Files, file, name, meta.size, meta.mtime);
        out.entry(&entry)?;
        let mut file = node::open_file(dir, node.name).map_err(io_error("read", &entry.path))?;
        out.content(&mut file, &entry, None, buf)
    }
}

/// What the layers said of a node, kept beside it; nothing where none did, as of everything new.
fn carried(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Metadata> {
    let value = node::xattr(dir, name, CARRIER)?;
    Ok(value.and_then(|value| Metadata::from_carrier(&value)).unwrap_or_default())
}

/// A node as the layer has it.
fn describe(
    dir: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    path: &[u8],
    dirs: &BTreeMap<Vec<u8>, bool>,
) -> Result<Entry, DiffError> {
    let fail = io_error("read", path);
    let (kind, size) = match meta.kind {
        FileType::RegularFile => (Kind::File, meta.size),
        FileType::Directory => (Kind::Directory, 0),
        FileType::Symlink => (Kind::Symlink, 0),
        _ => {
            let why = "Windows has no devices, pipes or sockets in its file system".to_owned();
            return Err(DiffError::NotForWindows { path: shown(path), why });
        }
    };
    let mut said = carried(dir, name).map_err(&fail)?;
    said.created.get_or_insert(meta.mtime);
    let mut link = Vec::new();
    let metadata = match kind {
        Kind::Directory => said.for_directory(),
        Kind::Symlink => {
            link = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|e| fail(e.into()))?.into_bytes();
            let to_directory = target(path, &link).and_then(|target| dirs.get(&target)).copied();
            link = to_windows(&link);
            said.for_link(to_directory.unwrap_or(false))
        }
        _ => said.for_file(),
    };
    Ok(Entry { link, size, ..windows::write(Top::Files, path, kind, meta.mtime, &metadata) })
}

/// The path that a link at `path` leads to, by its text alone.
fn target(path: &[u8], link: &[u8]) -> Option<Vec<u8>> {
    let mut names: Vec<&[u8]> = match link.first() {
        Some(b'/') => Vec::new(),
        _ => path.split(|b| *b == b'/').collect(),
    };
    names.pop();
    for name in link.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names.join(&b'/'))
}
