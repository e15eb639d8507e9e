//! A layer that is written as its tar by somebody who knows what is to be in it: no file is made for a file.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

use super::diff::Out;
use super::import::{refused_error, write_index};
use super::index::{Of, Refused, Stream};
use super::layers::{Layers, io_error};
use super::tar::Entry;
use super::{Form, LayerFacts, node};
use crate::digest::FileDigest;
use crate::snapshot::{Committed, Diff, SnapshotError};
use crate::work::WorkDir;
use crate::write_behind::WriteBehind;

const BUFFER: usize = 256 * 1024;

/// A layer in the making. Entries come as [`diff`](super::diff) orders them, parents before what is in them. Dropped,
/// nothing of it stays.
pub struct Composer {
    layers: Layers,
    parent: Committed,
    work: WorkDir,
    out: Out<BufWriter<WriteBehind>>,
    index: Stream,
    root_entry: bool,
    buf: Vec<u8>,
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("parent", &self.parent).finish_non_exhaustive()
    }
}

/// A layer that is written and not in the store yet.
#[derive(Debug)]
pub struct Composed {
    layers: Layers,
    parent: Committed,
    work: WorkDir,
    diff: Diff,
    root_entry: bool,
}

impl Composer {
    /// A layer over `parent`; none where layers are not mounted from their tars.
    pub(crate) fn start(layers: &Layers, parent: &Committed) -> Result<Option<Self>, SnapshotError> {
        let layers = layers.for_os(parent.os());
        if layers.mounts().is_none() {
            return Ok(None);
        }
        let work = layers.work.create("layer")?;
        let making = work.path().join("layer");
        std::fs::create_dir(&making).map_err(io_error("make", &making))?;
        let path = making.join(Form::Tar.name());
        let file = File::create(&path).map_err(io_error("make", &path))?;
        Ok(Some(Self {
            index: Stream::new(&layers.work),
            layers,
            parent: parent.clone(),
            work,
            out: Out::new(BufWriter::with_capacity(BUFFER, WriteBehind::new(file))),
            root_entry: false,
            buf: vec![0; BUFFER],
        }))
    }

    /// The next entry. A file that is not empty has its content from the reader, of which the digest is known. `again`
    /// where hard links to it follow. False where such a layer can only be kept in another way.
    ///
    /// # Errors
    /// [`DiffError::Changed`](super::DiffError::Changed) where `content` has not the size that the entry says; else when it can not be read or
    /// the tar not be written.
    pub fn entry(
        &mut self,
        entry: &Entry,
        content: Option<(&mut dyn Read, &FileDigest)>,
        again: bool,
    ) -> Result<bool, SnapshotError> {
        let mut kept;
        let mut entry = entry;
        if entry.xattrs.keys().any(|attribute| node::is_local(attribute)) {
            // What describes the machine, or is our own bookkeeping, is in no layer.
            kept = entry.clone();
            kept.xattrs.retain(|attribute, _| !node::is_local(attribute));
            entry = &kept;
        }
        self.root_entry |= entry.path == b"./";
        self.out.entry(entry)?;
        match self.index.entry(entry, Some(self.out.written()), again) {
            Ok(()) => {}
            Err(Refused::NotHere(_)) => return Ok(false),
            Err(refused) => return Err(refused_error(None, Path::new(""), refused).into()),
        }
        if let Some((mut content, digest)) = content {
            self.out.content(&mut content, entry, Some(digest), &mut self.buf)?;
        }
        Ok(true)
    }

    /// Ends the layer. None where it can only be kept in another way.
    ///
    /// # Errors
    /// When the tar or its index can not be written.
    pub fn finish(self) -> Result<Option<Composed>, SnapshotError> {
        let Self { layers, parent, work, out, index, root_entry, .. } = self;
        let (written, file) = out.finish()?;
        let making = work.path().join("layer");
        let tar = making.join(Form::Tar.name());
        file.into_inner().map_err(|e| io_error("write", &tar)(e.into_error()))?;
        let diff = Diff::from(written);
        let of = Of { diff_id: diff.diff_id, tar_size: diff.size };
        let indexed = write_index(layers.work.trace(), &making, &of, |out| index.finish(out, &of))?;
        Ok(indexed.map(|_| Composed { layers, parent, work, diff, root_entry }))
    }
}

impl Composed {
    /// What is in it.
    pub fn diff(&self) -> &Diff {
        &self.diff
    }

    /// Keeps it as the newest layer. Where nothing is in it the result is the parent itself.
    ///
    /// # Errors
    /// When it can not be stored; nothing of it is visible then.
    pub fn commit(self) -> Result<Committed, SnapshotError> {
        let Self { layers, parent, work, diff, root_entry } = self;
        if diff.is_empty() {
            return Ok(parent);
        }
        if !layers.contains(parent.layers(), &diff.diff_id) {
            let facts = LayerFacts {
                diff_id: diff.diff_id,
                size: diff.size,
                entries: diff.entries,
                made_here: true,
                root_entry,
                missing_devices: 0,
                missing_xattrs: 0,
            };
            layers.publish(&layers.key(parent.layers(), &diff.diff_id, false), &work, &facts)?;
        }
        Ok(parent.with(diff.diff_id))
    }
}
