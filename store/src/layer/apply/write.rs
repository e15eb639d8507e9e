//! Writing single nodes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::place::Place;
use super::{Unpack, UnpackError, io_error};
use crate::layer::Ownership;
use crate::layer::node::{self, Xattrs};
use crate::layer::tar::{Chunk, Entry, Kind, Reader, shown};
use crate::snapshot::LayerOs;

/// Zeros of this length at a multiple of it are not written.
const PAGE: usize = 4096;

impl Unpack<'_> {
    pub(super) fn file<R: Read>(
        &mut self,
        entry: &Entry,
        place: &Place,
        name: &[u8],
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let fail = |e| io_error("write", &entry.path)(e);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&place.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| fail(e.into()))?;
        let mut file = std::fs::File::from(fd);
        let mut buf = vec![0; usize::try_from(entry.size).unwrap_or(usize::MAX).clamp(1, 256 * 1024)];
        let mut end = 0u64;
        loop {
            match reader.chunk(&mut buf)? {
                Chunk::Data(n) => {
                    write_sparsely(&mut file, &buf[..n], end).map_err(fail)?;
                    end += n as u64;
                }
                Chunk::Hole(n) => end += n,
                Chunk::End => break,
            }
        }
        rustix::fs::ftruncate(&file, end).map_err(|e| fail(e.into()))?;
        self.own(place.dir.as_fd(), name, entry)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(|e| fail(e.into()))?;
        self.set_xattrs(place.dir.as_fd(), name, &entry.xattrs, &entry.path)?;
        rustix::fs::futimens(&file, &node::timestamps(entry.mtime)).map_err(|e| fail(e.into()))
    }

    /// A symbolic link, a device or a pipe.
    pub(super) fn special(&mut self, entry: &Entry, place: &Place, name: &[u8]) -> Result<(), UnpackError> {
        let fail = |e: Errno| io_error("make", &entry.path)(e.into());
        let dir = place.dir.as_fd();
        let node = |kind, device| rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device);
        let made = match (entry.kind, node::device_number(entry.device)) {
            (Kind::Symlink, _) => rustix::fs::symlinkat(&entry.link[..], dir, name),
            (Kind::Fifo, _) => node(FileType::Fifo, 0),
            (Kind::BlockDevice, Some(device)) => node(FileType::BlockDevice, device),
            // In overlay form 0:0 would be a whiteout, and it is no device in any case.
            (_, None | Some(0)) => Err(Errno::PERM),
            (_, Some(device)) => node(FileType::CharacterDevice, device),
        };
        match made {
            Err(Errno::PERM) if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) => {
                self.applied.missing_devices += 1;
                return Ok(());
            }
            made => made.map_err(fail)?,
        }
        self.own(dir, name, entry)?;
        if entry.kind != Kind::Symlink {
            node::set_mode(dir, name, entry.mode).map_err(io_error("set the mode of", &entry.path))?;
        }
        self.set_xattrs(dir, name, &entry.xattrs, &entry.path)?;
        node::set_time(dir, name, entry.mtime).map_err(io_error("set the time of", &entry.path))
    }

    /// Sets the owner; the mode comes after it, because a new owner takes setuid away.
    pub(super) fn own(&self, dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        if self.how.ownership == Ownership::Ignore {
            return Ok(());
        }
        let id = |id| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(Errno::INVAL);
        let owned = id(entry.uid)
            .and_then(|uid| Ok((uid, id(entry.gid)?)))
            .and_then(|(uid, gid)| node::set_owner(dir, name, uid, gid));
        owned.map_err(|e| match e {
            Errno::INVAL | Errno::PERM | Errno::OVERFLOW => UnpackError::Owner {
                entry: shown(&entry.path),
                uid: entry.uid,
                gid: entry.gid,
                source: e.into(),
            },
            e => io_error("set the owner of", &entry.path)(e.into()),
        })
    }

    pub(super) fn set_xattrs(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        xattrs: &Xattrs,
        entry: &[u8],
    ) -> Result<(), UnpackError> {
        for (attribute, value) in xattrs.iter().filter(|(attribute, _)| node::is_of(attribute, self.how.os)) {
            match node::set_xattr(dir, name, attribute, value) {
                Ok(()) => {}
                // Docker goes on without it too; the facts of the layer say so.
                Err(Errno::OPNOTSUPP | Errno::PERM) => self.applied.missing_xattrs += 1,
                // What an image says of itself must be kept; our own note of it is kept where it fits.
                Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if self.how.os == LayerOs::Windows => {
                    self.applied.missing_xattrs += 1;
                }
                Err(e) => {
                    let source = io::Error::from(e);
                    return Err(io_error("set an extended attribute of", entry)(source));
                }
            }
        }
        Ok(())
    }
}

/// Writes `bytes` at `offset`, leaving out whole pages of zeros.
fn write_sparsely(file: &mut std::fs::File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let to_page = (PAGE - (offset % PAGE as u64) as usize) % PAGE;
    let (head, rest) = bytes.split_at(to_page.min(bytes.len()));
    let mut at = offset;
    let mut pending: Option<(u64, usize, usize)> = None;
    let mut position = 0;
    for piece in std::iter::once(head).chain(rest.chunks(PAGE)) {
        let is_hole = piece.len() == PAGE && piece.iter().all(|b| *b == 0);
        match (&mut pending, is_hole) {
            (Some((_, _, end)), false) => *end += piece.len(),
            (None, false) => pending = Some((at, position, position + piece.len())),
            (Some((start, from, to)), true) => {
                file.seek(SeekFrom::Start(*start))?;
                file.write_all(&bytes[*from..*to])?;
                pending = None;
            }
            (None, true) => {}
        }
        at += piece.len() as u64;
        position += piece.len();
    }
    if let Some((start, from, to)) = pending {
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&bytes[from..to])?;
    }
    Ok(())
}
