//! Single nodes of a file system: what they are, by a handle on their directory and a name in it. A symbolic
//! link is never followed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::XattrForm;
use super::tar::Time;
use crate::snapshot::LayerOs;

/// Attributes by name.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What `lstat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Bytes of a file's content.
    pub(crate) size: u64,
    /// Number of a device.
    pub(crate) rdev: u64,
    /// Which file it is: device of the file system and inode.
    pub(crate) id: (u64, u64),
    pub(crate) links: u64,
}

impl Meta {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time {
                seconds: wide(stat.st_mtime),
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            rdev: stat.st_rdev,
            id: (stat.st_dev, stat.st_ino),
            links: wide(stat.st_nlink),
        }
    }

    /// The node `name` in `dir`; none where there is none.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Self>> {
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The node behind a handle.
    pub(crate) fn of_handle(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(fd)?))
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Major and minor number of a device, zeros for everything else.
    pub(crate) fn device(&self) -> (u32, u32) {
        match self.kind {
            FileType::CharacterDevice | FileType::BlockDevice => {
                (rustix::fs::major(self.rdev), rustix::fs::minor(self.rdev))
            }
            _ => (0, 0),
        }
    }
}

/// A field of `stat`, whose width depends on the processor.
fn wide<T: TryInto<U>, U: Default>(field: T) -> U {
    field.try_into().unwrap_or_default()
}

/// Opens the directory at `path` below `root`; an empty path is `root` itself. No link is followed.
pub(crate) fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Opens a directory by its path in the file system.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the file `name` in `dir` to read it; neither links are followed nor devices or pipes touched.
pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOATIME;
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        // Only the owner may leave the access time alone.
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags - OFlags::NOATIME, Mode::empty())?,
        other => other?,
    };
    Ok(fd.into())
}

/// The names in a directory, sorted by their bytes.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let mut buf = [std::mem::MaybeUninit::uninit(); 16 * 1024];
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut list = rustix::fs::RawDir::new(dir, &mut buf);
    while let Some(entry) = list.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            out.push(name.to_vec());
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// A path for the calls that know no handles: those on attributes.
fn path_of(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(OsStr::from_bytes(name))
}

/// All attributes of `name` in `dir` that may be seen. A file system without any has none.
pub(crate) fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Xattrs> {
    let path = path_of(dir, name);
    let mut out = Xattrs::new();
    let list = match grown(|buf| rustix::fs::llistxattr(&path, buf)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => return Ok(out),
        Err(e) => return Err(e.into()),
    };
    for attribute in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match grown(|buf| rustix::fs::lgetxattr(&path, attribute, buf)) {
            Ok(value) => drop(out.insert(attribute.to_vec(), value)),
            // Gone meanwhile, or of a kind that may be listed and not read.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(out)
}

/// Calls with a buffer that grows until it is large enough; attributes have at most 64 KiB.
fn grown(call: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; 256];
    loop {
        match call(&mut buf) {
            Ok(n) => {
                buf.truncate(n);
                return Ok(buf);
            }
            Err(Errno::RANGE) if buf.len() < 1 << 20 => buf.resize(buf.len() * 16, 0),
            Err(e) => return Err(e),
        }
    }
}

/// One attribute; none where it is not there.
pub(crate) fn xattr(dir: BorrowedFd<'_>, name: &[u8], attribute: &str) -> io::Result<Option<Vec<u8>>> {
    let path = path_of(dir, name);
    match grown(|buf| rustix::fs::lgetxattr(&path, attribute, buf)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Sets an attribute.
pub(crate) fn set_xattr(
    dir: BorrowedFd<'_>,
    name: &[u8],
    attribute: &[u8],
    value: &[u8],
) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path_of(dir, name), attribute, value, XattrFlags::empty())
}

/// Removes an attribute, if it is there.
pub(crate) fn remove_xattr(dir: BorrowedFd<'_>, name: &[u8], attribute: &[u8]) -> Result<(), Errno> {
    match rustix::fs::lremovexattr(path_of(dir, name), attribute) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// Whether an attribute is overlayfs's own bookkeeping, which belongs in no layer and must come from none: a
/// layer that could say `redirect` could show any directory as its own.
pub(crate) fn is_private(attribute: &[u8]) -> bool {
    attribute.starts_with(b"trusted.overlay.") || attribute.starts_with(b"user.overlay.")
}

/// Whether an attribute describes this machine rather than the file, or is our own bookkeeping.
pub(crate) fn is_local(attribute: &[u8]) -> bool {
    is_private(attribute) || attribute == b"security.selinux" || attribute.starts_with(b"user.orlop.")
}

/// Whether an attribute belongs to a file of a layer for `os`: of a Windows layer only what that says itself.
pub(crate) fn is_of(attribute: &[u8], os: LayerOs) -> bool {
    match os {
        LayerOs::Linux => !is_local(attribute),
        LayerOs::Windows => attribute == super::windows::CARRIER.as_bytes(),
    }
}

impl XattrForm {
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    fn origin(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.origin",
            Self::User => "user.overlay.origin",
        }
    }

    fn whiteout(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.whiteout",
            Self::User => "user.overlay.whiteout",
        }
    }
}

/// Whether the node says that what lower layers have by its name is deleted.
pub(crate) fn is_whiteout(
    dir: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    form: XattrForm,
) -> io::Result<bool> {
    Ok(match meta.kind {
        FileType::CharacterDevice => meta.rdev == 0,
        FileType::RegularFile if meta.size == 0 => xattr(dir, name, form.whiteout())?.is_some(),
        _ => false,
    })
}

/// The number of a device; none where the system has no bits for it. It would drop them, and 4096:0 be made 0:0.
pub(crate) fn device_number((major, minor): (u32, u32)) -> Option<u64> {
    (major < 1 << 12 && minor < 1 << 20).then(|| rustix::fs::makedev(major, minor))
}

/// Makes a whiteout: a 0:0 device, which needs no privilege, or where the file system refuses that (one that
/// is itself an overlay) an empty file with an attribute.
pub(crate) fn make_whiteout(dir: BorrowedFd<'_>, name: &[u8], form: XattrForm) -> io::Result<()> {
    match rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        other => return Ok(other?),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::RUSR)?;
    Ok(set_xattr(dir, name, form.whiteout().as_bytes(), b"y")?)
}

/// Whether a directory hides what lower layers have in it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, form: XattrForm) -> io::Result<bool> {
    Ok(xattr(dir, b".", form.opaque())?.as_deref() == Some(b"y"))
}

/// Makes a directory hide what lower layers have in it.
pub(crate) fn make_opaque(dir: BorrowedFd<'_>, form: XattrForm) -> io::Result<()> {
    Ok(set_xattr(dir, b".", form.opaque().as_bytes(), b"y")?)
}

/// Says that a directory has whiteouts. Where no other layer has the directory, overlayfs shows what is in it as it is,
/// whiteouts included, unless it seems to have been copied up: it has an origin, of which nothing is known here.
pub(crate) fn mark_whiteouts(dir: BorrowedFd<'_>, form: XattrForm) -> io::Result<()> {
    match set_xattr(dir, b".", form.origin().as_bytes(), b"") {
        // Where it cannot be set no overlay can be mounted either.
        Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Sets the time of the last change.
pub(crate) fn set_time(dir: BorrowedFd<'_>, name: &[u8], mtime: Time) -> io::Result<()> {
    Ok(rustix::fs::utimensat(dir, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Both times, the same.
pub(crate) fn timestamps(mtime: Time) -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    rustix::fs::Timestamps { last_access: time, last_modification: time }
}

/// Sets the permission bits of what is no symbolic link.
pub(crate) fn set_mode(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// Sets the owner. The greatest number is no id: to the kernel it means "leave as it is".
pub(crate) fn set_owner(dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<(), Errno> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Everything below `parent`, then itself; nothing there is fine.
pub(crate) fn remove(parent: &impl AsFd, name: &[u8]) -> io::Result<()> {
    crate::work::remove_tree(parent.as_fd(), name)
}
