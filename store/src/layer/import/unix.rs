//! Importing into a directory in overlay form.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::Tee;
use crate::digest::{Digest, Digester};
use crate::layer::apply::{self, Below, How};
use crate::layer::layers::{Layers, io_error};
use crate::layer::tar::Reader;
use crate::layer::{Form, LayerError, LayerFacts, UnpackError, node};

impl Layers {
    pub(super) fn unpack(
        &self,
        below: &[Digest],
        expected: Option<&Digest>,
        tar: impl Read,
        keep: bool,
    ) -> Result<LayerFacts, LayerError> {
        let work = self.work.create("layer")?;
        let making = work.path().join("layer");
        let fs = making.join(Form::Fs.name());
        std::fs::create_dir_all(&fs).map_err(io_error("make", &fs))?;
        let copy = match keep {
            true => {
                let path = making.join(Form::Tar.name());
                Some(File::create(&path).map_err(io_error("make", &path))?)
            }
            false => None,
        };
        let (held, trouble) = (RefCell::new(Vec::new()), RefCell::new(None));
        let open = || match self.holds(below, false).and_then(|holds| match holds {
            Ok(holds) => Ok(Some((self.stack(&holds)?, holds))),
            Err(_) => Ok(None),
        }) {
            Ok(opened) => opened.map(|(stack, holds)| {
                held.replace(holds);
                stack
            }),
            Err(e) => {
                trouble.replace(Some(e));
                None
            }
        };
        let root = node::open_root(&fs).map_err(io_error("open", &fs))?;
        node::set_mode(root.as_fd(), b".", 0o755).map_err(io_error("make", &fs))?;
        let mut reader = Reader::new(Tee { inner: tar, digester: Digester::new(), copy });
        let how = How { form: self.form, ownership: self.ownership, os: self.os };
        let applied = apply::apply(&mut reader, root, &Below::new(&open), how)
            .and_then(|applied| reader.drain().map(|()| applied).map_err(UnpackError::Tar));
        if let Some(e) = trouble.take() {
            return Err(e);
        }
        let applied = applied.map_err(|source| match (source, expected) {
            (UnpackError::NeedsBelow, Some(diff_id)) => LayerError::NeedsBelow { diff_id: *diff_id },
            (source, Some(diff_id)) => LayerError::Unpack { layer: format!("layer {diff_id}"), source },
            (source, None) => LayerError::Unpack { layer: "the new layer".to_owned(), source },
        })?;
        let digester = reader.into_inner().digester;
        let size = digester.size();
        let diff_id = digester.finish();
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(LayerError::WrongDiffId { expected: *expected, found: diff_id });
        }
        let facts = LayerFacts {
            diff_id,
            size,
            entries: applied.entries,
            made_here: false,
            root_entry: applied.root_entry,
            missing_devices: applied.missing_devices,
            missing_xattrs: applied.missing_xattrs,
        };
        self.publish(&self.key(below, &diff_id, applied.needs_below), &work, &facts)?;
        Ok(facts)
    }
}

/// Syncs everything on the file system of `dir`: one call for all files of a layer.
pub(super) fn sync_all(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(&node::open_root(dir)?)?)
}

/// Makes renames in `dir` lasting.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::fsync(&node::open_root(dir)?)?)
}

/// Renames where nothing has the new name yet; says whether it did.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
