//! Windows layers: how the files of a Windows image stand in a layer's tar, read and written.
//!
//! Pure: no file system is touched here, and everything works and is tested on any system. The drivers
//! put the pieces to use.
//!
//! # The format
//! The OCI image specification ("Image Layer Filesystem Changeset", "Platform-specific attributes") names the
//! PAX records; the rest is what Windows hosts write and accept.
//!
//! ```text
//! Files/…       the file system: `C:\app\x` is `Files/app/x`
//! Hives/…       registry hives and their deltas (`Hives/System_Delta`); never part of a snapshot's tree
//! UtilityVM/…   what base layers have for Hyper-V; never part of a snapshot's tree either
//! ```
//! | record | meaning |
//! |---|---|
//! | `MSWINDOWS.fileattr` | `FILE_ATTRIBUTE_*`, decimal |
//! | `MSWINDOWS.rawsd` | the self-relative security descriptor, base64 with padding |
//! | `MSWINDOWS.sd` | the same as SDDL text, by writers from before 2016; kept and not understood |
//! | `MSWINDOWS.mountpoint` | there: the symbolic link is a mount point (junction) |
//! | `MSWINDOWS.xattr.NAME` | an NTFS extended attribute, base64 with padding |
//! | `LIBARCHIVE.creationtime` | when the file was made, as PAX spells times |
//!
//! - A directory stands before what is in it, and no name ends with a slash: Windows hosts append to it.
//! - A deletion is an empty file `.wh.NAME`, one for every name: Windows hosts know no opaque directories.
//! - An alternate data stream is a file `NAME:STREAM` without records, right behind the entry of `NAME`.
//! - A hard link's target is the whole path in the tar, `Files/…` included.
//! - Names are compared without regard to case ([`fold`]).

mod carrier;
mod entry;
mod link;
mod metadata;
mod name;
pub mod security;

pub use carrier::CARRIER;
pub use entry::{ROOTS, Read, ReadKind, link, read, stream, whiteout, write};
pub use link::{to_unix, to_windows};
pub use metadata::{Attributes, Metadata, Records};
pub use name::{LayerPath, Top, check_name, fold, same_name, split, stream_of};
pub use security::SecurityDescriptor;

pub(crate) use metadata::forget_times;
pub(in crate::layer) use metadata::is_ours;

/// Why an entry of a Windows layer makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A record has a value that nobody writes.
    #[error("its record `{record}` is damaged: {why}")]
    Record {
        /// Name of the record.
        record: String,
        /// What is wrong.
        why: String,
    },
    /// A name that no Windows file can have, or that leads out of the layer.
    #[error("`{name}` is no name of a Windows file: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The security descriptor is damaged.
    #[error("its security descriptor is damaged")]
    Security(#[from] security::SecurityError),
}

#[cfg(test)]
mod tests;
