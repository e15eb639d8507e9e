//! Importing as a tar, which is read to its end and not unpacked yet.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Tee;
use crate::digest::Digest;
use crate::layer::layers::{Layers, io_error};
use crate::layer::tar::{Chunk, Reader, TarError};
use crate::layer::{Form, LayerError, LayerFacts, LayerKey, UnpackError};

impl Layers {
    pub(super) fn take_in(
        &self,
        _below: &[Digest],
        expected: Option<&Digest>,
        tar: impl Read + Send,
        _keep: bool,
    ) -> Result<LayerFacts, LayerError> {
        let work = self.work.create("layer")?;
        let making = work.path().join("layer");
        std::fs::create_dir(&making).map_err(io_error("make", &making))?;
        let path = making.join(Form::Tar.name());
        let copy = File::create(&path).map_err(io_error("make", &path))?;
        let (entries, root_entry, digester) = std::thread::scope(|scope| {
            let mut reader = Reader::new(Tee::new(scope, tar, Some(copy)));
            let (entries, root_entry) = read_through(&mut reader)?;
            Ok((entries, root_entry, reader.into_inner().digester))
        })
        .map_err(|source| {
            let layer = match expected {
                Some(diff_id) => format!("layer {diff_id}"),
                None => "the new layer".to_owned(),
            };
            LayerError::Unpack { layer, source: UnpackError::Tar(source) }
        })?;
        let size = digester.size();
        let diff_id = digester.finish();
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(LayerError::WrongDiffId { expected: *expected, found: diff_id });
        }
        let facts = LayerFacts {
            diff_id,
            size,
            entries,
            made_here: false,
            root_entry,
            missing_devices: 0,
            missing_xattrs: 0,
        };
        self.publish(&LayerKey::Diff(diff_id), &work, &facts)?;
        Ok(facts)
    }
}

/// Reads all of the archive: how many entries it has, and whether one of them is the root.
fn read_through<R: Read>(reader: &mut Reader<R>) -> Result<(u64, bool), TarError> {
    let (mut entries, mut root_entry) = (0, false);
    let mut buf = vec![0; 64 << 10];
    while let Some(entry) = reader.next_entry()? {
        entries += 1;
        root_entry |= entry.path.split(|b| *b == b'/').all(|name| matches!(name, b"" | b"."));
        while !matches!(reader.chunk(&mut buf)?, Chunk::End) {}
    }
    reader.drain()?;
    Ok((entries, root_entry))
}

/// Syncs the files of a layer in the making. A `tree` is not synced file by file: it can be made again.
/// Here each layer is synced by itself.
pub(super) fn defer(_layer: &Path) -> Result<bool, LayerError> {
    Ok(false)
}

pub(super) fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::options().write(true).open(entry.path())?.sync_all()?;
        }
    }
    Ok(())
}

/// Directories cannot be synced on Windows; its file systems keep renames in order.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
pub(super) fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// Renames where nothing has the new name yet; says whether it did.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    crate::nt::rename_new(from, to)
}
