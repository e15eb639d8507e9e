//! ADD's archives.

use std::fs::File;

use orlop_store::layer::tar::{Reader, TarError};

use super::apply::Writer;
use super::error::CopyErrorKind;
use super::selection::{Group, Origin};
use crate::context::decompress::decompress;
use crate::context::pattern::below_root;
use crate::context::tar::{ArchiveError, Limits, Owner, is_archive, unpack};

/// A group's file, where it is one that could be an archive.
fn open(group: &Group) -> Result<Option<File>, CopyErrorKind> {
    let path = group.one.as_ref().map(|entry| group.source_path(entry)).unwrap_or_default();
    match (&group.origin, group.one.as_ref().map(|entry| &entry.kind)) {
        (Origin::File(_, dir, name), Some(super::EntryKind::File { .. })) => {
            dir.file(name).map(Some).map_err(CopyErrorKind::io("open", path))
        }
        (Origin::Remote(path), _) => File::open(path).map(Some).map_err(CopyErrorKind::io("open", path)),
        _ => Ok(None),
    }
}

impl Writer {
    /// Unpacks a group's archive into the destination, which is a directory for it. False where it is no
    /// archive and is to be copied.
    pub(super) fn unpack(&mut self, group: &Group, dest: &str) -> Result<bool, CopyErrorKind> {
        let (Some(probe), Some(entry)) = (open(group)?, &group.one) else { return Ok(false) };
        if !is_archive(probe) {
            return Ok(false);
        }
        let Some(mut file) = open(group)? else { return Ok(false) };
        let source = group.source_path(entry);
        let failed = |source_error: ArchiveError| CopyErrorKind::Archive {
            path: source.display().to_string(),
            source: source_error,
        };
        let before = crate::context::file_meta(&file).map_err(CopyErrorKind::io("look at", &source))?;
        let (_, dir) = self.to.make_dirs(&below_root(dest))?;
        let owner = self.to.owner.map_or(Owner::Archive, |(uid, gid)| Owner::All(uid, gid));
        let stream = decompress(&mut file).map_err(|e| failed(TarError::Read(e).into()))?;
        let done =
            unpack(&mut Reader::new(stream), &dir, owner, Limits::NONE, self.to.dialect).map_err(failed)?;
        super::apply::still(group, entry, &mut file, &before)?;
        self.stats.files += done.files;
        self.stats.directories += done.directories;
        self.stats.bytes += done.bytes;
        self.stats.attributes_lost += done.attributes_lost;
        Ok(true)
    }
}
