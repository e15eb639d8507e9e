//! Putting layers into the store: made in `work/`, verified, renamed into place, and synced with others before an
//! image is kept or named ([`unsynced`](super::unsynced)); on Windows each before it gets its name.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

#[cfg(unix)]
pub(super) use unix::{refused_error, write_index};

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::PoisonError;
use std::thread::Scope;

use super::layers::{Hold, Layers, io_error, is_doubtful, read_facts};
use super::{Durability, Form, LayerError, LayerFacts, LayerKey};
use crate::digest::{BackgroundDigester, Digest};
use crate::read_ahead::ReadAhead;
use crate::work::WorkDir;
use crate::write_behind::WriteBehind;

/// Hashes what is read, and keeps it where that is wanted: in large pieces, however little is asked for at once.
struct Tee<'s, 'e, R> {
    inner: ReadAhead<'s, 'e, R>,
    piece: Vec<u8>,
    /// Bytes of the piece that were read.
    used: usize,
    digester: BackgroundDigester,
    copy: Option<WriteBehind>,
    zeros: Zeros,
}

impl<'s, 'e, R: Read + Send + 's> Tee<'s, 'e, R> {
    fn new(scope: &'s Scope<'s, 'e>, inner: R, copy: Option<File>) -> Self {
        Self {
            inner: ReadAhead::new(scope, inner),
            piece: Vec::new(),
            used: 0,
            digester: BackgroundDigester::new(),
            copy: copy.map(WriteBehind::new),
            zeros: Zeros::default(),
        }
    }
}

/// Looks for what had better be a hole.
#[derive(Debug, Default)]
struct Zeros {
    run: usize,
    found: bool,
}

/// So many zeros in a row, in bytes, take no room where a file may have holes.
const HOLE: usize = 1 << 20;

impl Zeros {
    fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(4096) {
            self.run = if piece.iter().all(|byte| *byte == 0) { self.run + piece.len() } else { 0 };
            self.found |= self.run >= HOLE;
        }
    }
}

impl<'s, R: Read + Send + 's> Read for Tee<'s, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() && !buf.is_empty() {
            self.used = 0;
            self.inner.next(&mut self.piece)?;
            self.digester.update(&self.piece);
            if let Some(copy) = &mut self.copy {
                copy.write_all(&self.piece)?;
                self.zeros.update(&self.piece);
            }
        }
        let n = (&self.piece[self.used..]).read(buf)?;
        self.used += n;
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
        tar: impl Read + Send,
    ) -> Result<LayerFacts, LayerError> {
        let known = || {
            for form in Form::IMPORTED {
                if let Some(hold) = self.hold(below, diff_id, *form)? {
                    return read_facts(hold.dir());
                }
            }
            Ok(None)
        };
        if let Some(facts) = known()? {
            return Ok(facts);
        }
        let _one = self.work.lock(&format!("layer-{}", diff_id.hex()))?;
        if let Some(facts) = known()? {
            return Ok(facts);
        }
        self.take_in(below, Some(diff_id), tar, false)
    }

    /// Stores an uncompressed tar whose diff ID is not known yet, in the forms `tar` and one that it can be looked at in.
    ///
    /// # Errors
    /// As [`Layers::import`].
    pub fn adopt(&self, below: &[Digest], tar: impl Read + Send) -> Result<LayerFacts, LayerError> {
        self.take_in(below, None, tar, true)
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
        let at_once = self.durability == Durability::Power && !platform::defer(&making)?;
        if at_once {
            let _span = self.work.trace().span("sync", &[]);
            platform::sync_all(&making).map_err(io_error("sync", &making))?;
        }
        let place = self.path(key);
        loop {
            match platform::rename_new(&making, &place) {
                Ok(true) => {
                    self.note_unsynced(&place);
                    self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
                    break;
                }
                Ok(false) => {}
                Err(e) => return Err(io_error("make", &place)(e)),
            }
            // Somebody was first: what they lack is added.
            let Some(hold) = self.hold_key(key)? else {
                let doubtful = is_doubtful(&place);
                if doubtful
                    || self.lock_path(key).symlink_metadata().is_err() && place.symlink_metadata().is_ok()
                {
                    // No lock, no layer: what no orlop has made is moved out of the way, and so is what may be
                    // incomplete.
                    self.remove(key)?;
                }
                continue;
            };
            for form in Form::ALL {
                self.add(&making, &hold, form)?;
            }
            break;
        }
        if at_once {
            let _span = self.work.trace().span("sync", &[]);
            platform::sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        }
        Ok(())
    }

    /// Has a new layer synced with the others.
    fn note_unsynced(&self, dir: &Path) {
        #[cfg(unix)]
        if self.durability == Durability::Power {
            self.unsynced.add(dir);
        }
        #[cfg(windows)]
        let _ = dir;
    }

    /// Adds a form to a layer that has it not; where it is not synced yet, with the others.
    fn add(&self, making: &Path, hold: &Hold, form: Form) -> Result<(), LayerError> {
        let (from, to) = (making.join(form.name()), hold.dir().join(form.name()));
        if from.symlink_metadata().is_err() || to.symlink_metadata().is_ok() {
            return Ok(());
        }
        if self.durability == Durability::Power {
            if platform::defer(hold.dir())? {
                self.note_unsynced(hold.dir());
            } else {
                platform::sync_all(making).map_err(io_error("sync", making))?;
            }
        }
        platform::rename_new(&from, &to).map(drop).map_err(io_error("make", &to))
    }
}
