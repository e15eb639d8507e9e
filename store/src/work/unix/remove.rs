//! Removing a tree that somebody else filled.
//!
//! Relative to handles, one name at a time: a symbolic link is removed, never followed, and a mount is never
//! entered. Neither the depth of the tree nor its names can make it fail: what lies too deep for the number of
//! open handles is first moved up.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// Handles held at once.
const DEPTH: usize = 96;

type Failure = (PathBuf, io::Error);

/// Removes `name` in `parent`: file or directory with everything in it. Nothing there is fine. The error
/// comes with the path below `parent` that could not be removed.
pub(in crate::work) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Failure> {
    let path = PathBuf::from(OsStr::from_bytes(name));
    let Ok(name) = CString::new(name) else {
        return Err((path, Errno::INVAL.into()));
    };
    match rustix::fs::unlinkat(parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) => {}
        Err(e) => return Err((path, e.into())),
    }
    let top = open(parent, &name).map_err(|e| (path.clone(), e.into()))?;
    let mut moved = 0u64;
    loop {
        let before = moved;
        // A handle is read from where the last reading stopped.
        rustix::fs::seek(&top, rustix::fs::SeekFrom::Start(0)).map_err(|e| (path.clone(), e.into()))?;
        empty(top.as_fd(), top.as_fd(), &path, 1, &mut moved)?;
        if moved == before {
            break;
        }
    }
    rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR).map_err(|e| (path, e.into()))
}

/// Opens the directory `name` without crossing a mount; a mount in the way is taken down.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let again = || rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve);
    match again() {
        Err(Errno::XDEV) => {
            use std::os::fd::AsRawFd;
            let path = Path::new("/proc/self/fd")
                .join(parent.as_raw_fd().to_string())
                .join(OsStr::from_bytes(name.to_bytes()));
            rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
            again()
        }
        // Not ours to read, but ours to own (no CAP_DAC_OVERRIDE here).
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            again()
        }
        other => other,
    }
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(dir, Mode::RWXU)?;
            rustix::fs::unlinkat(dir, name, flags)
        }
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn empty(
    dir: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
    moved: &mut u64,
) -> Result<(), Failure> {
    let mut subdirs: Vec<CString> = Vec::new();
    let mut buf = [MaybeUninit::uninit(); 16 * 1024];
    let mut list = RawDir::new(dir, &mut buf);
    while let Some(entry) = list.next() {
        let entry = entry.map_err(|e| (path.to_owned(), e.into()))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            subdirs.push(name.to_owned());
            continue;
        }
        let at = || path.join(OsStr::from_bytes(name.to_bytes()));
        match unlink(dir, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR) => subdirs.push(name.to_owned()),
            Err(Errno::BUSY) => {
                // A file that something is mounted on.
                use std::os::fd::AsRawFd;
                let mount = Path::new("/proc/self/fd")
                    .join(dir.as_raw_fd().to_string())
                    .join(OsStr::from_bytes(name.to_bytes()));
                rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                    .and_then(|()| unlink(dir, name, AtFlags::empty()))
                    .map_err(|e| (at(), e.into()))?;
            }
            Err(e) => return Err((at(), e.into())),
        }
    }
    for name in subdirs {
        let below = path.join(OsStr::from_bytes(name.to_bytes()));
        if depth >= DEPTH {
            *moved += 1;
            rustix::fs::renameat(dir, &name, top, format!(".orlop-deep-{moved}"))
                .map_err(|e| (below, e.into()))?;
            continue;
        }
        let sub = open(dir, &name).map_err(|e| (below.clone(), e.into()))?;
        empty(sub.as_fd(), top, &below, depth + 1, moved)?;
        drop(sub);
        unlink(dir, &name, AtFlags::REMOVEDIR).map_err(|e| (below, e.into()))?;
    }
    Ok(())
}
