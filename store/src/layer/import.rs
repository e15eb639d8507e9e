//! Putting layers into the store: made in `work/`, verified, synced, then renamed into place.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::layers::{Hold, Layers, io_error, read_facts};
use super::{Durability, Form, LayerError, LayerFacts, LayerKey};
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
        let known = || match self.hold(below, diff_id, Form::IMPORTED)? {
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

    /// Stores an uncompressed tar whose diff ID is not known yet, in the forms `fs` and `tar`; on Windows `tar`.
    ///
    /// # Errors
    /// As [`Layers::import`].
    pub fn adopt(&self, below: &[Digest], tar: impl Read) -> Result<LayerFacts, LayerError> {
        self.unpack(below, None, tar, true)
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
        let lock = if cfg!(windows) { self.lock_path(key) } else { making.join("lock") };
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(io_error("make", &lock))?;
        if self.durability == Durability::Power {
            let _span = self.work.trace().span("sync", &[]);
            platform::sync_all(&making).map_err(io_error("sync", &making))?;
        }
        let place = self.path(key);
        loop {
            match platform::rename_new(&making, &place) {
                Ok(true) => break,
                Ok(false) => {}
                Err(e) => return Err(io_error("make", &place)(e)),
            }
            // Somebody was first: what they lack is added.
            let Some(hold) = self.hold_key(key)? else {
                if self.lock_path(key).symlink_metadata().is_err() && place.symlink_metadata().is_ok() {
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
            let _span = self.work.trace().span("sync", &[]);
            platform::sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        }
        Ok(())
    }

    fn add(&self, making: &Path, hold: &Hold, form: Form) -> Result<(), LayerError> {
        let (from, to) = (making.join(form.name()), hold.dir().join(form.name()));
        if from.symlink_metadata().is_err() {
            return Ok(());
        }
        platform::rename_new(&from, &to).map(drop).map_err(io_error("make", &to))
    }
}
