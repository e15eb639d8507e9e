//! Importing: the tar stays a tar, with an index that makes it a file system, or is unpacked into a directory in
//! overlay form.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::Tee;
use crate::digest::Digest;
use crate::layer::apply::{self, Below, How};
use crate::layer::index::{Indexed, Indexer, Of, PATH, Refused, Stream};
use crate::layer::layers::{Layers, io_error};
use crate::layer::tar::{Kind, Reader, TarError};
use crate::layer::{Form, LayerError, LayerFacts, UnpackError, node, unsynced};
use crate::trace::Trace;

/// The index of so many entries is made in memory while the tar comes, at about 100 bytes each; that of more from
/// the tar once it is here. In tests few are many.
const MOST_AT_ONCE: u64 = if cfg!(test) { 1000 } else { 100_000 };

/// So many bytes of the names that hard links lead to are kept. What is linked beyond them is not found by an index that
/// is written as entries come, and so makes one in memory.
const MOST_LINKED: usize = 16 << 20;

impl Layers {
    /// Takes in a tar in the form that is best here.
    pub(super) fn take_in(
        &self,
        below: &[Digest],
        expected: Option<&Digest>,
        tar: impl Read + Send,
        keep: bool,
    ) -> Result<LayerFacts, LayerError> {
        match self.mounts() {
            Some(_) => self.keep_tar(below, expected, tar, keep),
            None => self.unpack(below, expected, tar, keep),
        }
    }

    /// Keeps the tar and indexes it on the way; unpacks it where that is not enough.
    fn keep_tar(
        &self,
        below: &[Digest],
        expected: Option<&Digest>,
        tar: impl Read + Send,
        keep: bool,
    ) -> Result<LayerFacts, LayerError> {
        let work = self.work.create("layer")?;
        let making = work.path().join("layer");
        std::fs::create_dir(&making).map_err(io_error("make", &making))?;
        let path = making.join(Form::Tar.name());
        let copy = File::create(&path).map_err(io_error("make", &path))?;
        let mut indexer = None;
        let (diff_id, size, fits) = std::thread::scope(|scope| {
            let mut reader = Reader::new(Tee::new(scope, tar, Some(copy)));
            let fits = match indexer.insert(Indexer::new(below.is_empty())).read(&mut reader, MOST_AT_ONCE) {
                Ok(true) => true,
                Ok(false) => {
                    indexer = None;
                    true
                }
                Err(Refused::NotHere(_)) => false,
                Err(refused) => return Err(refused_error(expected, &path, refused)),
            };
            reader.drain().map_err(|e| unpack_error(expected, UnpackError::Tar(e)))?;
            let read = reader.into_inner();
            // In a directory holes take no room, and none where a step changes such a file either.
            let fits = fits && !read.zeros.found;
            finish(read, expected).map(|(diff_id, size)| (diff_id, size, fits))
        })?;
        let of = Of { diff_id, tar_size: size };
        let indexed = match indexer {
            _ if !fits => None,
            Some(indexer) => write_index(self.work.trace(), &making, &of, |out| indexer.finish(out, &of))?,
            None => self.index(&making, &path, &of, below.is_empty(), true)?,
        };
        let Some(indexed) = indexed else {
            let tar = File::open(&path).map_err(io_error("open", &path))?;
            return self.unpack(below, Some(&diff_id), tar, keep);
        };
        let facts = LayerFacts {
            diff_id,
            size,
            entries: indexed.entries,
            made_here: false,
            root_entry: indexed.root_entry,
            missing_devices: indexed.missing_devices,
            missing_xattrs: indexed.missing_xattrs,
        };
        self.publish(&self.key(below, &diff_id, indexed.needs_below), &work, &facts)?;
        Ok(facts)
    }

    /// Makes a directory to stack of a layer whose tar is here: an index for it, or what it unpacks to.
    pub(in crate::layer) fn spread(&self, below: &[Digest], diff_id: &Digest) -> Result<(), LayerError> {
        let _one = self.work.lock(&format!("layer-{}", diff_id.hex()))?;
        if self.hold_directory(below, diff_id)?.is_some() {
            return Ok(());
        }
        if self.mounts().is_some() && self.add_index(below, diff_id)? {
            return Ok(());
        }
        let tar = self.tar(below, diff_id)?;
        self.unpack(below, Some(diff_id), tar, false).map(drop)
    }

    /// Adds an index to a layer that has its tar and none yet. False where there can be none.
    fn add_index(&self, below: &[Digest], diff_id: &Digest) -> Result<bool, LayerError> {
        let Some(hold) = self.hold(below, diff_id, Form::Tar)? else { return Ok(false) };
        if hold.form(Form::Index).is_some() {
            return Ok(false);
        }
        // It may have been changed by somebody else.
        let mut reader = Reader::new(self.tar(below, diff_id)?);
        reader.drain().map_err(|e| unpack_error(Some(diff_id), UnpackError::Tar(e)))?;
        let work = self.work.create("index")?;
        let tar = hold.used();
        let size = tar.metadata().map_err(io_error("look at", &tar))?.len();
        let of = Of { diff_id: *diff_id, tar_size: size };
        let Some(indexed) = self.index(work.path(), &tar, &of, below.is_empty(), false)? else {
            return Ok(false);
        };
        if hold.dir() != self.path(&self.key(below, diff_id, indexed.needs_below)) {
            return Ok(false);
        }
        self.add(work.path(), &hold, Form::Index)?;
        Ok(self.hold_directory(below, diff_id)?.is_some())
    }

    /// Writes the index of the file `tar` into the directory `dir`; none where the tar can not have one. Of `many` entries
    /// that are in order it is written as they come.
    fn index(
        &self,
        dir: &Path,
        tar: &Path,
        of: &Of,
        below_is_empty: bool,
        many: bool,
    ) -> Result<Option<Indexed>, LayerError> {
        let open = || {
            let file = File::open(tar).map_err(io_error("open", tar))?;
            Ok::<_, LayerError>(Reader::new(io::BufReader::with_capacity(256 * 1024, file)))
        };
        let refused = |refused| refused_error(Some(&of.diff_id), tar, refused);
        let tar_error = |e: TarError| refused(e.into());
        let _span = self.work.trace().span("index", &[("layer", of.diff_id.into())]);
        let whole = |most| {
            let mut indexer = Indexer::new(below_is_empty);
            match indexer.read(&mut open()?, most) {
                Ok(true) => Ok(Some(write_index(self.work.trace(), dir, of, |out| indexer.finish(out, of))?)),
                Ok(false) => Ok(None),
                Err(Refused::NotHere(_)) => Ok(Some(None)),
                Err(e) => Err(refused(e)),
            }
        };
        if let Some(done) = if many { None } else { whole(MOST_AT_ONCE)? } {
            return Ok(done);
        }
        let (mut linked, mut bytes) = (HashSet::new(), 0);
        let mut reader = open()?;
        while let Some(entry) = reader.next_entry().map_err(tar_error)? {
            // What is longer is no path that anything in order has.
            if entry.kind == Kind::HardLink && entry.link.len() < PATH && bytes <= MOST_LINKED {
                bytes += entry.link.len();
                linked.insert(entry.link);
            }
        }
        let mut stream = Stream::new(&self.work);
        let mut reader = open()?;
        let in_order = loop {
            let Some(entry) = reader.next_entry().map_err(tar_error)? else { break true };
            match stream.entry(&entry, reader.content_at(), linked.contains(&entry.path)) {
                Ok(()) => {}
                Err(Refused::NotHere(_)) => break false,
                Err(e) => return Err(refused(e)),
            }
        };
        if in_order
            && let Some(indexed) = write_index(self.work.trace(), dir, of, |out| stream.finish(out, of))?
        {
            return Ok(Some(indexed));
        }
        Ok(whole(u64::MAX)?.flatten())
    }

    /// Unpacks a tar.
    fn unpack(
        &self,
        below: &[Digest],
        expected: Option<&Digest>,
        tar: impl Read + Send,
        keep: bool,
    ) -> Result<LayerFacts, LayerError> {
        self.claim_marks()?;
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
        let (applied, diff_id, size) = std::thread::scope(|scope| {
            let mut reader = Reader::new(Tee::new(scope, tar, copy));
            let how = How { form: self.form, ownership: self.ownership, os: self.os };
            let applied = apply::apply(&mut reader, root, &Below::new(&open), how)
                .and_then(|applied| reader.drain().map(|()| applied).map_err(UnpackError::Tar));
            if let Some(e) = trouble.take() {
                return Err(e);
            }
            let applied = applied.map_err(|source| unpack_error(expected, source))?;
            let (diff_id, size) = finish(reader.into_inner(), expected)?;
            Ok((applied, diff_id, size))
        })?;
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

/// Writes the index of a tar into the directory `dir`; none where the tar can not have one.
pub(in crate::layer) fn write_index(
    trace: &Trace,
    dir: &Path,
    of: &Of,
    finish: impl FnOnce(&mut io::BufWriter<File>) -> Result<Indexed, Refused>,
) -> Result<Option<Indexed>, LayerError> {
    let _span = trace.span("index", &[("layer", of.diff_id.into())]);
    let path = dir.join(Form::Index.name());
    let file = File::create(&path).map_err(io_error("make", &path))?;
    let mut out = io::BufWriter::with_capacity(256 * 1024, file);
    let indexed = match finish(&mut out) {
        Ok(indexed) => indexed,
        Err(Refused::NotHere(_)) => return Ok(None),
        Err(refused) => return Err(refused_error(Some(&of.diff_id), &path, refused)),
    };
    io::Write::flush(&mut out).map_err(io_error("write", &path))?;
    Ok(Some(indexed))
}

/// Why there is no index of a layer.
pub(in crate::layer) fn refused_error(layer: Option<&Digest>, path: &Path, refused: Refused) -> LayerError {
    match refused {
        Refused::Unpack(error) => unpack_error(layer, error),
        Refused::Write(error) => io_error("write", path)(error),
        Refused::NotHere(why) => io_error("index", path)(io::Error::other(why)),
    }
}

fn unpack_error(layer: Option<&Digest>, source: UnpackError) -> LayerError {
    match (source, layer) {
        (UnpackError::NeedsBelow, Some(diff_id)) => LayerError::NeedsBelow { diff_id: *diff_id },
        (source, Some(diff_id)) => LayerError::Unpack { layer: format!("layer {diff_id}"), source },
        (source, None) => LayerError::Unpack { layer: "the new layer".to_owned(), source },
    }
}

/// Digest and size of all that was read, which must be those of what was asked for.
fn finish<R>(read: Tee<'_, '_, R>, expected: Option<&Digest>) -> Result<(Digest, u64), LayerError> {
    let size = read.digester.size();
    let diff_id = read.digester.finish();
    match expected.filter(|expected| **expected != diff_id) {
        Some(expected) => Err(LayerError::WrongDiffId { expected: *expected, found: diff_id }),
        None => Ok((diff_id, size)),
    }
}

/// Marks a layer as one that is synced later, with others. False where it has to be at once.
pub(super) fn defer(layer: &Path) -> Result<bool, LayerError> {
    unsynced::mark(layer)
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
