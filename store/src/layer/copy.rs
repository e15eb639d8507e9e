//! Copies of single nodes: by sharing blocks where the file system can, else inside the kernel, else by
//! reading and writing. Holes stay holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Ownership;
use super::node::{self, Meta};

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
