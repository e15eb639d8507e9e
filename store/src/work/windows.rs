//! The directory by a handle, and names in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::nt::{Dir, Share};

/// An open directory.
#[derive(Debug)]
pub(super) struct Place(Dir);

/// Makes `dir` and its parents where they are missing. A new one is for its owner, the system and
/// administrators only: layers hold programs that must not be started by others.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return std::fs::create_dir_all(dir);
    };
    std::fs::create_dir_all(parent)?;
    // The parents are the caller's own, and may be links.
    let parent = Dir::open(&std::fs::canonicalize(parent)?)?;
    match parent.make_dir(name) {
        Ok(_) => parent.set_security(name, &private()?),
        // Another process was faster; or it is a file, which the next step finds.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Full access for the system, administrators and this user, inherited by all that is made in it, and nothing
/// inherited from above: `D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;` the user `)`.
fn private() -> io::Result<Vec<u8>> {
    const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
    let user = crate::nt::user_sid()?;
    let length = |bytes: usize| u8::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData);
    let mut list = Vec::new();
    for sid in [&SYSTEM[..], &ADMINISTRATORS, &user] {
        // Access allowed; inherited by files and directories; full access.
        list.extend([0, 3, length(8 + sid.len())?, 0, 0xFF, 0x01, 0x1F, 0x00]);
        list.extend(sid);
    }
    // Revision, control (self-relative, protected list, list present, and what is made below it says what it has
    // inherited), no owner, no group, no audit list.
    let mut out = vec![1, 0, 0x04, 0x94, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0];
    out.extend([2, 0, length(8 + list.len())?, 0, 3, 0, 0, 0]);
    out.extend(list);
    Ok(out)
}

impl Place {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Dir::open(&std::fs::canonicalize(path)?)?))
    }

    pub(super) fn make_dir(&self, name: &str) -> io::Result<()> {
        self.0.make_dir(OsStr::new(name)).map(drop)
    }

    /// A new file to lock; `AlreadyExists` where the name is taken.
    pub(super) fn new_lock(&self, name: &str) -> io::Result<File> {
        match self.0.make_file(OsStr::new(name)) {
            Err(e) if is_going(&e) => Err(io::ErrorKind::AlreadyExists.into()),
            other => other,
        }
    }

    /// A file to lock, made where it is missing; none where it is being removed just now.
    pub(super) fn lock_file(&self, name: &str) -> io::Result<Option<File>> {
        let name = OsStr::new(name);
        let made = match self.0.file_to_write(name, Share::All) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.0.make_file(name),
            other => other,
        };
        match made {
            Ok(file) => Ok(Some(file)),
            Err(e) if is_going(&e) || e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.0.list()?;
        Ok(entries.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect())
    }

    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        self.0.remove_one(OsStr::new(name))
    }

    /// Removes `name` with everything in it.
    pub(super) fn remove(&self, name: &str) -> Result<(), (PathBuf, io::Error)> {
        self.0.remove(OsStr::new(name))
    }
}

/// Before POSIX removal (Windows 10 1809) a file that was removed keeps its name until the last who has it open
/// closes it.
fn is_going(error: &io::Error) -> bool {
    error.raw_os_error() == Some(303)
}

/// Whether a file still has a name, and is not being removed.
pub(super) fn is_linked(file: &File) -> io::Result<bool> {
    crate::nt::is_linked(file)
}
