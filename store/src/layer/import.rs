//! Putting layers into the store: made in `work/`, verified, synced, then renamed into place.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::apply::{self, Below, How, UnpackError};
use super::layers::{Hold, Layers, io_error, read_facts};
use super::tar::Reader;
use super::{Durability, Form, LayerError, LayerFacts, LayerKey, node};
use crate::digest::{Digest, Digester};
use crate::work::WorkDir;

/// Hashes what is read, and keeps it where that is wanted.
struct Tee<R> {
    inner: R,
    digester: Digester,
    copy: Option<File>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.digester.update(&buf[..n]);
        if let Some(copy) = &mut self.copy {
            copy.write_all(&buf[..n])?;
        }
        Ok(n)
    }
}

impl Layers {
    /// Unpacks the uncompressed tar of `diff_id` for use over the chain `below` (diff IDs, bottom first) and
    /// verifies it. Where the layer is there already, `tar` is not read. Any number of processes may import
    /// the same layer at once: one does, the others wait for it.
    ///
    /// The layers below need not be stored, unless the layer needs something of them.
    ///
    /// # Errors
    /// [`LayerError::NeedsBelow`] when it does: import those first, then this one again. Otherwise when the tar
    /// is damaged, hostile, or another one than `diff_id`; nothing of it is kept then.
    pub fn import(
        &self,
        below: &[Digest],
        diff_id: &Digest,
        tar: impl Read,
    ) -> Result<LayerFacts, LayerError> {
        let known = || match self.hold(below, diff_id, Form::Fs)? {
            Some(hold) => read_facts(hold.dir()),
            None => Ok(None),
        };
        if let Some(facts) = known()? {
            return Ok(facts);
        }
        let _one = self.work.lock(&format!("layer-{}", diff_id.hex()))?;
        if let Some(facts) = known()? {
            return Ok(facts);
        }
        self.unpack(below, Some(diff_id), tar, false)
    }

    /// Stores an uncompressed tar whose diff ID is not known yet, in the forms `fs` and `tar`.
    ///
    /// # Errors
    /// As [`Layers::import`].
    pub fn adopt(&self, below: &[Digest], tar: impl Read) -> Result<LayerFacts, LayerError> {
        self.unpack(below, None, tar, true)
    }

    fn unpack(
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
        node::set_mode(std::os::fd::AsFd::as_fd(&root), b".", 0o755).map_err(io_error("make", &fs))?;
        let mut reader = Reader::new(Tee { inner: tar, digester: Digester::new(), copy });
        let how = How { form: self.form, ownership: self.ownership };
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
        let key =
            if applied.needs_below { LayerKey::chain(below, &diff_id) } else { LayerKey::Diff(diff_id) };
        self.publish(&key, &work, &facts)?;
        Ok(facts)
    }

    /// Moves the forms in the directory `layer` of `work` into the store. Forms that it has already stay.
    pub(crate) fn publish(
        &self,
        key: &LayerKey,
        work: &WorkDir,
        facts: &LayerFacts,
    ) -> Result<(), LayerError> {
        let making = work.path().join("layer");
        let json = making.join("layer.json");
        let text = serde_json::to_vec_pretty(facts)
            .map_err(|source| LayerError::Facts { path: json.clone(), source })?;
        std::fs::write(&json, text).map_err(io_error("write", &json))?;
        let lock = making.join("lock");
        File::create(&lock).map_err(io_error("make", &lock))?;
        if self.durability == Durability::Power {
            let dir = node::open_root(&making).map_err(io_error("open", &making))?;
            rustix::fs::syncfs(&dir).map_err(|e| io_error("sync", &making)(e.into()))?;
        }
        let place = self.path(key);
        loop {
            match rename_new(&making, &place) {
                Ok(true) => break,
                Ok(false) => {}
                Err(e) => return Err(io_error("make", &place)(e)),
            }
            // Somebody was first: what they lack is added.
            let Some(hold) = self.hold_key(key)? else {
                if place.join("lock").symlink_metadata().is_err() && place.symlink_metadata().is_ok() {
                    // No lock, no layer: what no orlop has made is moved out of the way.
                    self.remove(key)?;
                }
                continue;
            };
            for form in Form::ALL {
                self.add(&making, &hold, form)?;
            }
            break;
        }
        if self.durability == Durability::Power {
            let dir = node::open_root(&self.dir).map_err(io_error("open", &self.dir))?;
            rustix::fs::fsync(&dir).map_err(|e| io_error("sync", &self.dir)(e.into()))?;
        }
        Ok(())
    }

    fn add(&self, making: &Path, hold: &Hold, form: Form) -> Result<(), LayerError> {
        let (from, to) = (making.join(form.name()), hold.dir().join(form.name()));
        if from.symlink_metadata().is_err() {
            return Ok(());
        }
        rename_new(&from, &to).map(drop).map_err(io_error("make", &to))
    }
}

/// Renames where nothing has the new name yet; says whether it did.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
