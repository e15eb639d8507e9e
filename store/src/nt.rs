//! Files and directories of Windows relative to handles, name by name.
//!
//! What others left in a directory is hostile: junctions and symbolic links that lead elsewhere, names that
//! mean a device (`con`), names that end in a dot, paths of any length, access control lists that shut us
//! out. So nothing here takes a path apart from [`Dir::open`]. Every other call takes a handle and *one* name,
//! which goes to the kernel as it is (`NtCreateFile` with a root directory): no name means anything but
//! itself, and length is no matter. A reparse point is opened as itself and never followed. Where this process
//! has the privileges to back up and to restore, they are used, so that no list of access rights stops a walk.
//!
//! | claim | how sure |
//! |---|---|
//! | names, depth, case, times, attributes, ids, renaming, removal, listing | tested under Wine 8 |
//! | reparse points, alternate streams, security descriptors, POSIX removal, block clones | from Microsoft's documentation; Wine has none of them |
//!
//! Wine keeps an alternate stream `a:b` as a file of that name beside `a`. [`Dir::list`] does not list it,
//! [`Dir::streams`] does, and what removes `a` removes it.

mod call;
mod dir;
mod list;
mod name;
mod privilege;
mod remove;
mod security;
mod stat;
mod stream;
mod time;
mod volume;

#[cfg(test)]
pub(crate) mod tests;

pub use dir::{Dir, Share};
pub use list::Entry;
pub use name::{MAX_NAME, check as check_name};
pub(crate) use privilege::user_sid;
pub use privilege::{Privileges, privileges};
pub use stat::{Attributes, FileId, Kind, Stat, Times};
pub use stream::Stream;
pub use time::FileTime;
pub use volume::Volume;
pub(crate) use volume::{prepare_to_share, share_extents};

/// Attribute bits, as in the documentation of `FILE_ATTRIBUTE_*`.
pub mod attribute {
    /// May not be written.
    pub const READ_ONLY: u32 = 0x1;
    /// Not shown by default.
    pub const HIDDEN: u32 = 0x2;
    /// Belongs to the system.
    pub const SYSTEM: u32 = 0x4;
    /// A directory.
    pub const DIRECTORY: u32 = 0x10;
    /// To be archived.
    pub const ARCHIVE: u32 = 0x20;
    /// Nothing else.
    pub const NORMAL: u32 = 0x80;
    /// Has holes.
    pub const SPARSE: u32 = 0x200;
    /// Means something else than itself: a link, a mount point, …
    pub const REPARSE: u32 = 0x400;
    /// Compressed by the file system.
    pub const COMPRESSED: u32 = 0x800;
    /// Checksummed by the file system.
    pub const INTEGRITY: u32 = 0x8000;
}

/// Tags of reparse points.
pub mod tag {
    /// A junction, or the mount point of a volume.
    pub const MOUNT_POINT: u32 = 0xA000_0003;
    /// A symbolic link.
    pub const SYMLINK: u32 = 0xA000_000C;

    /// Whether the tag says that the name stands for another one. All others (deduplicated, compressed, stored
    /// elsewhere) are ways to keep a file's own content.
    pub fn is_surrogate(tag: u32) -> bool {
        tag & 0x2000_0000 != 0
    }
}

/// Whether `error` says that somebody else holds the file: open without sharing, locked, mapped, or deleted and
/// still open. In the tree of a step that ended it means that something survived it.
pub fn is_held(error: &std::io::Error) -> bool {
    // Sharing violation, lock violation, delete pending, user-mapped section.
    matches!(error.raw_os_error(), Some(32 | 33 | 303 | 1224))
}

/// Whether `error` says that this system or this volume has no such operation.
pub fn is_unsupported(error: &std::io::Error) -> bool {
    // Invalid function, not supported, invalid parameter, call not implemented.
    matches!(error.raw_os_error(), Some(1 | 50 | 87 | 120 | 124))
}

/// Whether an open file still has a name, and is not being removed.
pub(crate) fn is_linked(file: &std::fs::File) -> std::io::Result<bool> {
    use call::Fields;
    use std::os::windows::io::AsHandle;
    let standard = call::query(file.as_handle(), stat::class::STANDARD, 24)?;
    let standard = standard.bytes();
    Ok(standard.u32_at(16) > 0 && standard.at::<1>(20) == [0])
}

/// Locks a file, with others or alone; says whether that could be had at once. Its content can be read meanwhile.
pub(crate) fn lock(file: &std::fs::File, exclusive: bool) -> std::io::Result<bool> {
    use std::os::windows::io::AsHandle;
    call::lock(file.as_handle(), exclusive)
}

/// Lets go of it.
pub(crate) fn unlock(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::windows::io::AsHandle;
    call::unlock(file.as_handle())
}

/// Whether opening `path` failed because its file was removed while somebody has it open. Before Windows 10 1809 the
/// name stays taken until then, and the system says nothing else of it than "access denied".
pub(crate) fn is_going(path: &std::path::Path, error: &std::io::Error) -> bool {
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    error.raw_os_error() == Some(303)
        || (denied(error) && std::fs::symlink_metadata(path).is_err_and(|e| denied(&e)))
}

/// Volume and number of an open file.
pub(crate) fn identity(file: &std::fs::File) -> std::io::Result<(u64, FileId)> {
    use std::os::windows::io::AsHandle;
    stat::identity(file.as_handle())
}

/// What an open file is like.
///
/// # Errors
/// When the system does not say.
pub fn stat(file: &std::fs::File) -> std::io::Result<Stat> {
    use std::os::windows::io::AsHandle;
    Stat::of(file.as_handle())
}

/// How long is waited for others to close what is to be renamed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
/// The pause between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Renames the file or directory at `from` to `to` on the same volume, where nothing has that name yet; says
/// whether it did. Waits for a few seconds where somebody else has it open.
///
/// # Errors
/// When the system says no.
pub fn rename_new(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<bool> {
    let (from_dir, from_name) = split(from)?;
    let (to_dir, to_name) = split(to)?;
    let begun = std::time::Instant::now();
    loop {
        match from_dir.rename(&from_name, &to_dir, &to_name, false) {
            Ok(()) => return Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
            // A directory cannot be renamed while anybody has a file of it open, and scanners and indexers look at
            // everything that is new.
            Err(e)
                if (is_held(&e) || e.kind() == std::io::ErrorKind::PermissionDenied)
                    && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            Err(e) => return Err(e),
        }
    }
}

/// The open directory that a path is in, and its name there.
///
/// # Errors
/// When there is none.
pub fn split(path: &std::path::Path) -> std::io::Result<(Dir, std::ffi::OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((Dir::open(parent)?, name.to_owned())),
        _ => Err(std::io::ErrorKind::InvalidFilename.into()),
    }
}
