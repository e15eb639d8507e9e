//! Files by handle and name where a directory's descriptor is one: openat(2) and its family.

mod xattrs;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

#[cfg(target_os = "linux")]
use rustix::fs::ResolveFlags;
use rustix::fs::SeekFrom as Hole;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Kind, Meta, NameList, Time, Xattrs};

impl Time {
    fn both(self) -> Timestamps {
        let time = Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

impl Meta {
    // The types of `Stat`'s fields differ between architectures and C libraries.
    #[expect(clippy::unnecessary_cast, reason = "not unnecessary on every platform")]
    fn new(stat: &Stat) -> io::Result<Self> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown type of file"));
            }
        };
        Ok(Self {
            kind,
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            links: stat.st_nlink as u64,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            rdev: stat.st_rdev as u64,
            mtime: Time { seconds: stat.st_mtime as i64, nanoseconds: stat.st_mtime_nsec as u32 },
            ctime: Time { seconds: stat.st_ctime as i64, nanoseconds: stat.st_ctime_nsec as u32 },
        })
    }
}

/// A directory, open.
#[derive(Clone, Debug)]
pub(crate) struct Dir(Arc<OwnedFd>);

const PATH_FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a directory by a path of the host.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(Arc::new(rustix::fs::open(path, flags, Mode::empty())?)))
    }

    /// Opens a directory in this one, never through a link.
    pub(crate) fn dir(&self, name: &OsStr) -> io::Result<Self> {
        let fd = rustix::fs::openat(&*self.0, name, PATH_FLAGS | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self(Arc::new(fd)))
    }

    /// Opens the directory at a path below this one, never through a link.
    pub(crate) fn descend(&self, path: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if path.components().all(|component| matches!(component, Component::Normal(_))) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            // Where the kernel has no such call, a path is too long for one, or something is wrong with it: step by step.
            if let Ok(fd) =
                rustix::fs::openat2(&*self.0, path, PATH_FLAGS | OFlags::DIRECTORY, Mode::empty(), resolve)
            {
                return Ok(Self(Arc::new(fd)));
            }
        }
        let mut dir = self.clone();
        for component in path.components() {
            match component {
                Component::Normal(name) => dir = dir.dir(name)?,
                Component::CurDir => {}
                _ => return Err(Errno::INVAL.into()),
            }
        }
        Ok(dir)
    }

    /// Opens a regular file for reading, never through a link and without waiting on a pipe.
    pub(crate) fn file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(&*self.0, name, flags, Mode::empty())?);
        if file_meta(&file)?.kind != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Stat of an entry, links not followed.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Meta> {
        Meta::new(&rustix::fs::statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Stat of the directory itself.
    pub(crate) fn meta(&self) -> io::Result<Meta> {
        Meta::new(&rustix::fs::fstat(&*self.0)?)
    }

    /// The target of a symbolic link.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&*self.0, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// The names in the directory, sorted by byte.
    pub(crate) fn list(&self) -> io::Result<Vec<OsString>> {
        Ok(self.names()?.take(usize::MAX))
    }

    /// The same in few bytes.
    pub(crate) fn names(&self) -> io::Result<NameList> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.0, c".", flags, Mode::empty())?;
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(fd, &mut buffer);
        NameList::of(|add| {
            while let Some(entry) = entries.next() {
                let entry = entry?;
                match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    name => add(name)?,
                }
            }
            Ok(())
        })
    }

    /// A path by which the system's calls that know no handles reach an entry of this directory.
    fn proc_path(&self, name: &OsStr) -> PathBuf {
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        path.push(name);
        path
    }

    /// Extended attributes of a file or directory in this one that a copy keeps; empty where the
    /// file system has none.
    pub(crate) fn xattrs(&self, name: &OsStr) -> io::Result<Xattrs> {
        xattrs::read(&self.0, name, || self.proc_path(name))
    }

    /// Sets an extended attribute of an entry, links not followed.
    pub(crate) fn set_xattr(&self, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
        let path = self.proc_path(name);
        Ok(rustix::fs::lsetxattr(&path, key, value, rustix::fs::XattrFlags::empty())?)
    }

    /// What of the attributes of a closed file is left to set, and could not be: nothing, an open one has them all.
    pub(crate) fn describe(&self, _: &OsStr, _: &Xattrs) -> u64 {
        0
    }

    /// Makes a directory that only its owner may use so far.
    pub(crate) fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&*self.0, name, Mode::RWXU)?)
    }

    /// Makes a file that did not exist and that only its owner may read so far.
    pub(crate) fn make_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&*self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Makes a symbolic link.
    pub(crate) fn make_symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &*self.0, name)?)
    }

    /// Gives a file another name.
    pub(crate) fn make_hard_link(&self, from: (&Dir, &OsStr), name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&*from.0.0, from.1, &*self.0, name, AtFlags::empty())?)
    }

    /// Makes a device node or a named pipe.
    pub(crate) fn make_node(&self, name: &OsStr, kind: Kind, rdev: u64) -> io::Result<()> {
        let kind = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => return Err(Errno::INVAL.into()),
        };
        Ok(rustix::fs::mknodat(&*self.0, name, kind, Mode::RUSR | Mode::WUSR, rdev)?)
    }

    /// The same for a device by its two numbers.
    pub(crate) fn make_device(&self, name: &OsStr, kind: Kind, (major, minor): (u32, u32)) -> io::Result<()> {
        // The kernel has no bits for more, and would make another device: 0:0 of 4096:0.
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(Errno::INVAL.into());
        }
        self.make_node(name, kind, rustix::fs::makedev(major, minor))
    }

    /// Removes an entry with all that is in it.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&*self.0, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => return Ok(other?),
        }
        // Depth first with an own stack of names: a hostile tree is deeper than ours may be.
        let mut open = vec![(self.dir(name)?, name.to_owned())];
        while let Some((dir, _)) = open.last() {
            let mut deeper = None;
            for name in dir.list()? {
                match rustix::fs::unlinkat(&*dir.0, &name, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::ISDIR | Errno::PERM) => {
                        match rustix::fs::unlinkat(&*dir.0, &name, AtFlags::REMOVEDIR) {
                            Ok(()) => {}
                            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                                deeper = Some((dir.dir(&name)?, name));
                                break;
                            }
                            Err(e) => return Err(e.into()),
                        }
                    }
                    Err(e) => return Err(e.into()),
                }
            }
            if let Some(deeper) = deeper {
                open.push(deeper);
            } else if let Some((_, name)) = open.pop() {
                let parent = open.last().map_or(self, |(dir, _)| dir);
                rustix::fs::unlinkat(&*parent.0, &name, AtFlags::REMOVEDIR)?;
            }
        }
        Ok(())
    }

    /// Sets the owner of an entry, links not followed.
    pub(crate) fn set_owner(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = owner(uid, gid)?;
        Ok(rustix::fs::chownat(&*self.0, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets the permission bits of an entry that is no link.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        // fchmodat follows links, so the entry is pinned by a handle first; a handle by `O_PATH` is
        // reached by its name in /proc.
        let fd = rustix::fs::openat(&*self.0, name, PATH_FLAGS, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok(rustix::fs::chmod(&path, Mode::from_raw_mode(mode))?)
    }

    /// Sets the time of the last change of an entry, links not followed.
    pub(crate) fn set_mtime(&self, name: &OsStr, time: Time) -> io::Result<()> {
        Ok(rustix::fs::utimensat(&*self.0, name, &time.both(), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// A name or a path from the bytes of an archive.
#[expect(clippy::unnecessary_wraps, reason = "not every system takes every name")]
pub(crate) fn name_of(bytes: &[u8]) -> Option<OsString> {
    Some(OsString::from_vec(bytes.to_vec()))
}

/// What [`name_bytes`](super::name_bytes) gave the bytes of.
#[expect(clippy::unnecessary_wraps, reason = "not every system takes all bytes")]
pub(crate) fn os_string(bytes: &[u8]) -> Option<OsString> {
    Some(OsString::from_vec(bytes.to_vec()))
}

/// Stat of an open file.
pub(crate) fn file_meta(file: &File) -> io::Result<Meta> {
    Meta::new(&rustix::fs::fstat(file.as_fd())?)
}

/// Below this a copy is done by the kernel or not at all; files of less are just read and written.
const SMALL: u64 = 64 * 1024;

/// Copies all bytes more cheaply than by reading and writing them, where the file systems can: shared blocks,
/// copied by the kernel, holes left out. `None`, and both files where they were, where they cannot.
pub(crate) fn copy_fast(from: &mut File, to: &mut File, meta: &Meta) -> io::Result<Option<u64>> {
    if meta.size < SMALL {
        // Cheaper than to ask for something better; also right for files of /proc, which say 0.
        return Ok(None);
    }
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(Some(meta.size));
    }
    if meta.blocks.saturating_mul(512) < meta.size {
        return copy_sparse(from, to, meta.size).map(Some);
    }
    let mut copied = 0;
    loop {
        match rustix::fs::copy_file_range(&*from, None, &*to, None, 1 << 30) {
            Ok(0) if copied > 0 => return Ok(Some(copied)),
            Ok(n) if n > 0 => copied += n as u64,
            // Some file systems answer 0 for files that are not empty.
            Ok(_) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(e) if copied > 0 => return Err(e.into()),
            Err(_) => return Ok(None),
        }
    }
}

/// How many bytes of a file of that size are holes. It stands at its start afterwards.
pub(crate) fn holes(file: &mut File, size: u64) -> io::Result<u64> {
    let (mut at, mut holes) = (0, size);
    while let Some(data) = data_after(file, at, size)? {
        holes -= data.end - data.start;
        at = data.end;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(holes)
}

/// The first data of a file of that size at or behind `at`, up to the next hole.
fn data_after(file: &File, at: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    if at >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, Hole::Data(at)) {
        Ok(start) => start,
        // Only a hole is left.
        Err(Errno::NXIO) => return Ok(None),
        // The file system knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
        Err(e) => return Err(e.into()),
    };
    let end = rustix::fs::seek(file, Hole::Hole(start)).unwrap_or(size).min(size);
    Ok((start < end).then_some(start..end))
}

fn copy_sparse(from: &mut File, to: &mut File, size: u64) -> io::Result<u64> {
    let mut at = 0;
    while let Some(data) = data_after(from, at, size)? {
        from.seek(SeekFrom::Start(data.start))?;
        to.seek(SeekFrom::Start(data.start))?;
        io::copy(&mut from.take(data.end - data.start), to)?;
        at = data.end;
    }
    to.set_len(size)?;
    Ok(size)
}

/// Sets all that is said of an open file: owner first, because changing it takes set-user-ID bits and
/// capabilities away. Returns how many attributes could not be set.
pub(crate) fn write_metadata(
    file: &File,
    (uid, gid): (u32, u32),
    mode: u32,
    xattrs: &Xattrs,
    mtime: Option<Time>,
) -> io::Result<u64> {
    let (uid, gid) = owner(uid, gid)?;
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    let flags = rustix::fs::XattrFlags::empty();
    let set = |key: &OsString, value: &[u8]| rustix::fs::fsetxattr(file, key.as_os_str(), value, flags);
    let lost = xattrs.iter().filter(|(key, value)| set(key, value).is_err()).count();
    if let Some(time) = mtime {
        rustix::fs::futimens(file, &time.both())?;
    }
    Ok(lost as u64)
}

/// Ids as the kernel takes them. The greatest number means "leave as it is" there, and nobody has it.
fn owner(uid: u32, gid: u32) -> Result<(rustix::fs::Uid, rustix::fs::Gid), Errno> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid)))
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn the_greatest_number_is_no_id() {
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
            assert_eq!(owner(uid, gid).unwrap_err(), rustix::io::Errno::INVAL);
        }
        assert!(owner(u32::MAX - 1, 0).is_ok());
    }
}
