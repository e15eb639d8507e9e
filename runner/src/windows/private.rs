//! A directory of a job's own outside its root: for temporary files, gone with the job.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_DELETE_ON_CLOSE,
};

const PREFIX: &str = "orlop-step-";
const LOCK: &str = ".lock";

/// The directory. Dropping it removes it as far as possible; [`Private::remove`] says how far.
#[derive(Debug)]
pub(super) struct Private {
    path: PathBuf,
    /// The system removes it when this process dies: what has none is nobody's.
    _lock: File,
}

impl Private {
    /// Makes one below `scratch`.
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let scratch = super::view::plain(&scratch.canonicalize()?);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = scratch.join(format!("{PREFIX}{}-{number}", std::process::id()));
            let mut lock = path.clone().into_os_string();
            lock.push(LOCK);
            // First the lock: a directory without one is swept by others.
            let options = OpenOptions::new()
                .write(true)
                .create_new(true)
                .share_mode(0)
                .custom_flags(FILE_FLAG_DELETE_ON_CLOSE)
                .open(lock);
            let lock = match options {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                // A dead process's that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with everything in it; nothing is followed out of it.
    pub(super) fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What is left is swept by a later command.
        let _ = remove_tree(&self.path);
    }
}

/// Removes what dead processes left in `scratch`. Returns how many directories.
pub(super) fn sweep(scratch: &Path) -> usize {
    let Ok(entries) = fs::read_dir(scratch) else { return 0 };
    let stale = |name: &OsString| {
        let name = name.to_str()?;
        let ours = name.strip_prefix(PREFIX)?.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let lock = scratch.join(format!("{name}{LOCK}"));
        (ours && is_free(&lock)).then(|| scratch.join(name))
    };
    let stale: Vec<PathBuf> = entries.flatten().filter_map(|entry| stale(&entry.file_name())).collect();
    stale.iter().filter(|path| remove_tree(path).is_ok()).count()
}

/// Whether nobody has a lock. One that is left over from a machine that lost its power goes.
fn is_free(lock: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.access_mode(DELETE).share_mode(0).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    options.open(lock).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |_| true)
}

/// Removes a directory and everything in it, read-only files too. A link or junction is removed and not followed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Older systems do not delete what is read-only.
        Err(_) => make_writable(path),
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_writable(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let path = entry.path();
        if meta.file_attributes() & FILE_ATTRIBUTE_READONLY != 0 {
            let mut permissions = meta.permissions();
            #[expect(
                clippy::permissions_set_readonly_false,
                reason = "on Windows it is one attribute and no right"
            )]
            permissions.set_readonly(false);
            let _ = fs::set_permissions(&path, permissions);
        }
        if meta.is_dir() && meta.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT == 0 {
            make_writable(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_go_with_their_owner_and_are_swept_without_one() {
        let scratch = tempfile::tempdir().expect("a directory");
        let own = Private::new(scratch.path()).expect("a directory");
        let file = own.path().join("sub").join("file");
        fs::create_dir(own.path().join("sub")).and_then(|()| fs::write(&file, "x")).expect("write");
        let mut permissions = fs::metadata(&file).expect("there").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).expect("read-only");
        let left = scratch.path().join("orlop-step-1-2");
        fs::create_dir_all(left.join("x")).expect("mkdir");
        fs::create_dir(scratch.path().join("orlop-step-other")).expect("mkdir");
        let outage = scratch.path().join("orlop-step-3-4");
        fs::create_dir(&outage).expect("mkdir");
        fs::write(scratch.path().join("orlop-step-3-4.lock"), "").expect("write");
        assert_eq!(sweep(scratch.path()), 2, "the one without a lock, and the one whose lock is nobody's");
        assert!(own.path().is_dir() && !left.exists() && !outage.exists());
        own.remove().expect("removed");
        let names: Vec<OsString> =
            fs::read_dir(scratch.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["orlop-step-other"]);
    }
}
