//! Extended attributes of entries of a directory.

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "a system call that no safe wrapper exists for")
)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::context::handle::Xattrs;

/// Names that describe the machine or a layer's form, not the file.
fn foreign_xattr(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
    const NAMES: [&[u8]; 4] = [b"security.selinux", b"security.ima", b"security.evm", b"system.nfs4_acl"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// Those of an entry that a copy keeps, links not followed; `path` is a path to it, for what handles cannot do. Empty
/// where the file system has none.
pub(super) fn read(dir: &OwnedFd, name: &OsStr, path: impl FnOnce() -> PathBuf) -> io::Result<Xattrs> {
    // Most files have none, and no more is asked of them.
    if names_at(dir, name) == Some(0) {
        return Ok(Vec::new());
    }
    let path = path();
    let absent = |e: Errno| matches!(e, Errno::NOTSUP | Errno::NOSYS | Errno::NODATA);
    let names = match sized(|buffer| rustix::fs::llistxattr(&path, buffer)) {
        Ok(names) => names,
        Err(e) if absent(e) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut out = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !foreign_xattr(name)) {
        let name = OsStr::from_bytes(name);
        match sized(|buffer| rustix::fs::lgetxattr(&path, name, buffer)) {
            Ok(value) => out.push((name.to_owned(), value)),
            Err(e) if absent(e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// How many bytes the names of all attributes have, where the kernel tells that by a handle (listxattrat, since
/// Linux 6.13): a path through `/proc` costs three times as much.
#[cfg(target_os = "linux")]
fn names_at(dir: &OwnedFd, name: &OsStr) -> Option<usize> {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The same number on all architectures but MIPS, which has nothing there.
    const LISTXATTRAT: libc::c_long = 465;
    static IS_MISSING: AtomicBool = AtomicBool::new(false);

    if IS_MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let answer = rustix::path::Arg::into_with_c_str(name, |name| {
        // SAFETY: the name ends with a zero byte and outlives the call; with no room for an answer the kernel only
        // tells how long it is.
        let length = unsafe {
            libc::syscall(
                LISTXATTRAT,
                dir.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                std::ptr::null_mut::<u8>(),
                0_usize,
            )
        };
        usize::try_from(length)
            .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
    });
    // A filter on system calls that does not know this one may say so in its own way.
    if matches!(answer, Err(Errno::NOSYS | Errno::PERM)) {
        IS_MISSING.store(true, Ordering::Relaxed);
    }
    answer.ok()
}

#[cfg(not(target_os = "linux"))]
fn names_at(_: &OwnedFd, _: &OsStr) -> Option<usize> {
    None
}

/// Calls with ever more room until the answer fits. Linux stops at 64 KiB for each.
fn sized(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(got) => {
                buffer.truncate(got);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 16, 0),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn by_handle_as_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let open = OwnedFd::from(File::open(dir.path()).unwrap());
        let all = |name: &str| read(&open, OsStr::new(name), || dir.path().join(name)).unwrap();
        for name in ["none", "some", "many"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let set = |name: &str, key: &str| {
            let path = dir.path().join(name);
            rustix::fs::lsetxattr(path, key, b"\0\xff", rustix::fs::XattrFlags::empty()).unwrap();
        };
        set("some", "user.b");
        set("some", "user.a");
        set("some", "user.overlay.opaque");
        for n in 0..50 {
            set("many", &format!("user.a-name-of-some-length-{n:03}"));
        }
        std::os::unix::fs::symlink("some", dir.path().join("link")).unwrap();
        let value = || b"\0\xff".to_vec();
        assert_eq!(all("none"), []);
        assert_eq!(all("some"), [("user.a".into(), value()), ("user.b".into(), value())]);
        assert_eq!(all("many").len(), 50);
        assert_eq!(all("link"), []);
        let missing = read(&open, OsStr::new("missing"), || dir.path().join("missing"));
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
