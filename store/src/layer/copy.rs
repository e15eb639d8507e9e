//! Copies of single nodes, and of all that a stack of layers shows: by sharing blocks where the file system can, else
//! inside the kernel, else by reading and writing. Holes stay holes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::node::{self, Meta};
use super::stack::{Stack, push};
use super::{Ownership, XattrForm};

/// What a copy in overlay form is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over<'a> {
    pub(crate) form: XattrForm,
    /// What it will lie upon.
    pub(crate) below: &'a Stack,
}

/// Copies all that `stack` shows into the empty directory `to`. With `over` the copy is in overlay form: it hides
/// what the stack hides of what is below, and nothing is left out. The error names the path.
pub(crate) fn stack(
    stack: &Stack,
    to: &OwnedFd,
    ownership: Ownership,
    over: Option<Over<'_>>,
) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &[u8]| {
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        move |e: io::Error| (path.clone(), e)
    };
    // The first name of a file that has several, and how many more there must be.
    let mut linked: HashMap<(u64, u64), (Vec<u8>, u64)> = HashMap::new();
    let mut todo = vec![(Vec::new(), stack.root().map_err(at(b""))?, false)];
    let mut dirs = Vec::new();
    while let Some((path, layers, hides)) = todo.pop() {
        let from = stack.dir(&layers, &path).map_err(at(&path))?;
        let dir = node::open_dir(to.as_fd(), &path).map_err(at(&path))?;
        for (name, seen) in from.list_all().map_err(at(&path))? {
            let mut below = path.clone();
            push(&mut below, &name);
            let found = seen.found;
            if seen.whiteout {
                // One that hides nothing would be seen itself, in a directory that is of this layer alone.
                if let (false, Some(over)) = (hides, over)
                    && over
                        .below
                        .find(&below.split(|b| *b == b'/').collect::<Vec<_>>())
                        .map_err(at(&below))?
                        .is_some()
                {
                    node::make_whiteout(dir.as_fd(), &name, over.form).map_err(at(&below))?;
                }
                continue;
            }
            if found.meta.is_dir() {
                rustix::fs::mkdirat(&dir, &name[..], Mode::RWXU).map_err(|e| at(&below)(e.into()))?;
                todo.push((below, found.layers, hides || seen.hides));
                continue;
            }
            if over.is_some() && found.meta.kind == FileType::Socket {
                // It would have to hide what is below.
                return Err(at(&below)(Errno::OPNOTSUPP.into()));
            }
            if found.meta.links > 1 {
                if let Some((first, left)) = linked.get_mut(&found.meta.id) {
                    *left = left.saturating_sub(1);
                    rustix::fs::linkat(to, &first[..], &dir, &name[..], AtFlags::empty())
                        .map_err(|e| at(&below)(e.into()))?;
                    continue;
                }
                linked.insert(found.meta.id, (below.clone(), found.meta.links - 1));
            }
            let handle = from.handle(&found);
            node(handle, dir.as_fd(), &name, &found.meta, ownership)
                .and_then(|()| if over.is_some() { compare(handle, dir.as_fd(), &name) } else { Ok(()) })
                .map_err(at(&below))?;
        }
        dirs.push((path, layers, hides));
    }
    if over.is_some()
        && let Some((name, _)) = linked.values().find(|(_, left)| *left > 0)
    {
        // A name of it that is hidden counts in overlays.
        return Err(at(name)(Errno::MLINK.into()));
    }
    // A directory's own mode and time come when everything is in it. The root's are the caller's to set.
    for (path, layers, hides) in dirs.iter().rev().filter(|(path, ..)| !path.is_empty()) {
        let from = node::open_dir(stack.layer(layers), path).map_err(at(path))?;
        let meta = Meta::of_handle(from.as_fd()).map_err(at(path))?;
        let dir = node::open_dir(to.as_fd(), path).map_err(at(path))?;
        if let (true, Some(over)) = (*hides, over) {
            node::make_opaque(dir.as_fd(), over.form).map_err(at(path))?;
        }
        metadata(from.as_fd(), dir.as_fd(), b".", &meta, ownership)
            .and_then(|()| if over.is_some() { compare(from.as_fd(), dir.as_fd(), b".") } else { Ok(()) })
            .map_err(at(path))?;
    }
    Ok(())
}

/// Refuses a copy that has not all that its original has: file systems differ in what they can keep.
fn compare(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let of = |dir| {
        let meta = Meta::at(dir, name)?.ok_or(io::ErrorKind::NotFound)?;
        let mut xattrs = node::xattrs(dir, name)?;
        xattrs.retain(|attribute, _| !node::is_private(attribute));
        let Meta { kind, mode, uid, gid, mtime, size, rdev, .. } = meta;
        let size = if kind == FileType::Directory { 0 } else { size };
        Ok::<_, io::Error>(((kind, mode, uid, gid, mtime, size, rdev), xattrs))
    };
    if of(from)? == of(to)? { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
}

/// Copies `name`, which `meta` describes and which is no directory, from one directory into another, with
/// everything that belongs to it. A socket is left out.
pub(crate) fn node(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    ownership: Ownership,
) -> io::Result<()> {
    let make = |kind, device| rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, device);
    match meta.kind {
        FileType::RegularFile => {
            let source = node::open_file(from, name)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
            content(&source, &mut File::from(target), meta.size)?;
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&link, to, name)?;
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => make(meta.kind, meta.rdev)?,
        _ => return Ok(()),
    }
    metadata(from, to, name, meta, ownership)
}

/// Gives `name` in `to` the owner, mode, attributes and times of the one in `from`.
pub(crate) fn metadata(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    ownership: Ownership,
) -> io::Result<()> {
    if ownership == Ownership::Keep {
        node::set_owner(to, name, meta.uid, meta.gid)?;
    }
    if meta.kind != FileType::Symlink {
        node::set_mode(to, name, meta.mode)?;
    }
    for (attribute, value) in node::xattrs(from, name)? {
        if node::is_local(&attribute) && attribute != super::windows::CARRIER.as_bytes() {
            continue;
        }
        match node::set_xattr(to, name, &attribute, &value) {
            // Whoever may read such an attribute and not set it had no say in it either.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    node::set_time(to, name, meta.mtime)
}

/// Copies the content of a file of `size` bytes into a new one.
fn content(source: &File, target: &mut File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    if rustix::fs::ioctl_ficlone(&*target, source).is_ok() {
        return Ok(());
    }
    let mut at = 0u64;
    while at < size {
        // Files without holes, and file systems that know none, are one piece of data.
        let start = match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = match rustix::fs::seek(source, rustix::fs::SeekFrom::Hole(start)) {
            Ok(end) if end > start => end,
            _ => size,
        };
        piece(source, target, start, end.min(size))?;
        at = end;
    }
    target.set_len(size)
}

fn piece(mut source: &File, target: &mut File, start: u64, end: u64) -> io::Result<()> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let want = usize::try_from(end - from).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(source, Some(&mut from), target.as_fd(), Some(&mut to), want) {
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if from < end {
        source.seek(SeekFrom::Start(from))?;
        target.seek(SeekFrom::Start(from))?;
        let mut buf = vec![0; 256 * 1024];
        let mut left = source.take(end - from);
        loop {
            match left.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => target.write_all(&buf[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
