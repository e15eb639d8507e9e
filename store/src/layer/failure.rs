//! Why a layer cannot be unpacked, or not be made.

use std::io;

use super::tar::TarError;

/// Why a layer can not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The archive is damaged.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry is meant for a place outside the root.
    #[error("entry `{entry}` climbs out of the root directory")]
    Climbs {
        /// Its path in the archive.
        entry: String,
    },
    /// The layer needs those below it, which are not there.
    #[error("it leaves out parent directories or links to a file of a layer below, which is not unpacked")]
    NeedsBelow,
    /// An entry that can not be put where it says.
    #[error("entry `{entry}` cannot be unpacked: {why}")]
    Impossible {
        /// Its path in the archive.
        entry: String,
        /// Why.
        why: String,
    },
    /// The owner of an entry does not exist here.
    #[error("entry `{entry}` belongs to {uid}:{gid}, which cannot be set here")]
    Owner {
        /// Its path in the archive.
        entry: String,
        /// Its owner.
        uid: u64,
        /// Its group.
        gid: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system said no.
    #[error("cannot {action} entry `{entry}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Path of the entry in the archive.
        entry: String,
        /// Why.
        source: io::Error,
    },
}

impl UnpackError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tar(e) => e.hint(),
            Self::Climbs { .. } => {
                Some("the layer may be an attack: do not use this image, or ask its author".to_owned())
            }
            Self::Owner { uid, gid, .. } if (*uid).max(*gid) >= u64::from(u32::MAX) => {
                Some("no system has that id: the layer is damaged, ask its author".to_owned())
            }
            Self::Owner { uid, gid, .. } => Some(format!(
                "rootless, only ids with a mapping exist: give the user at least {} subordinate ids in `/etc/subuid` and `/etc/subgid` (`usermod --add-subuids`), or run as root",
                (*uid).max(*gid).saturating_add(1).max(65536)
            )),
            Self::Io { source, entry, .. } => crate::work::hint_of(source, std::path::Path::new(entry)),
            Self::Impossible { .. } | Self::NeedsBelow => None,
        }
    }
}

/// Why changes could not be found or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The system said no.
    #[error("cannot {action} `{path}` of the snapshot")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Path in the snapshot.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file was written to while it was read.
    #[error("`{path}` changed while it was read into the layer")]
    Changed {
        /// Path in the snapshot.
        path: String,
    },
    /// Something that a Windows layer cannot have.
    #[error("`{path}` cannot be in a Windows image: {why}")]
    NotForWindows {
        /// Path in the snapshot.
        path: String,
        /// Why.
        why: String,
    },
    /// The tar can not be written.
    #[error(transparent)]
    Tar(#[from] TarError),
}

impl DiffError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, path, .. } => crate::work::hint_of(source, std::path::Path::new(path)),
            Self::Changed { .. } => {
                Some("a process of the step is still running, or the store is shared with something that writes to it".to_owned())
            }
            Self::NotForWindows { .. } => Some(
                "rename it, or leave it out of the copy with `--exclude` or `.dockerignore`".to_owned(),
            ),
            Self::Tar(e) => e.hint(),
        }
    }
}
