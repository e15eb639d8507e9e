//! Finding the directory that an entry belongs in, and making it where nothing did.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode};

use super::{
    Dir, LINKS, MOST_IMPLIED, MOST_WALKED, TOO_MANY_IMPLIED, Unpack, UnpackError, impossible, io_error,
};
use crate::layer::node::{self, Meta, Xattrs};
use crate::layer::stack::{self, Found};
use crate::layer::tar::{Entry, Time};
use crate::layer::{Ownership, stack::push};

/// A directory of this layer.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: std::sync::Arc<OwnedFd>,
    /// Its path: names without links and dots.
    path: Vec<u8>,
}

impl Place {
    /// The path of `name` in it.
    pub(super) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        push(&mut path, name);
        path
    }
}

impl Unpack<'_> {
    /// The directory of the entry whose parent's names are `names`.
    pub(super) fn parent_of(&mut self, names: &[&[u8]], entry: &Entry) -> Result<Place, UnpackError> {
        let key = names.join(&b'/');
        if let Some((last, place)) = &self.parent
            && *last == key
        {
            return Ok(place.clone());
        }
        let fail = |e| io_error("find the place of", &entry.path)(e);
        let place = match self.existing(&key).map_err(fail)? {
            Some(dir) => Place { dir: dir.into(), path: key.clone() },
            None => {
                let real = self.resolve(names, entry)?;
                let dir = self.make(&real, entry)?;
                Place { dir: dir.into(), path: real.join(&b'/') }
            }
        };
        self.parent = Some((key, place.clone()));
        Ok(place)
    }

    /// Follows the links in `names` that this layer, or what shows through it, has; inside the root.
    fn resolve(&mut self, names: &[&[u8]], entry: &Entry) -> Result<Vec<Vec<u8>>, UnpackError> {
        let fail = |e| io_error("find the place of", &entry.path)(e);
        let mut todo: VecDeque<Vec<u8>> = names.iter().map(|n| n.to_vec()).collect();
        let mut real: Vec<Vec<u8>> = Vec::new();
        // Where `real` is in this layer, if it is.
        let mut here = Some(node::open_dir(self.root.as_fd(), b"").map_err(fail)?);
        let (mut links, mut walked) = (0, 0);
        // From how many names on the layers below have nothing.
        let mut nothing: Option<usize> = None;
        while let Some(name) = todo.pop_front() {
            walked += 1;
            if links > LINKS || walked > MOST_WALKED {
                return Err(impossible(entry, "too many symbolic links above it"));
            }
            nothing = nothing.filter(|from| real.len() >= *from);
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    real.pop();
                    here = self.existing(&real.join(&b'/')).map_err(fail)?;
                    continue;
                }
                _ => {}
            }
            let meta = match &here {
                Some(dir) => Meta::at(dir.as_fd(), &name).map_err(fail)?,
                None => None,
            };
            let mut target = None;
            match (&here, &meta) {
                (Some(dir), Some(meta)) if meta.kind == FileType::Symlink => {
                    let link = rustix::fs::readlinkat(dir, &name[..], Vec::new());
                    target = Some(link.map_err(|e| fail(e.into()))?.into_bytes());
                }
                (Some(dir), Some(meta)) if meta.is_dir() => {
                    let next = node::open_dir(dir.as_fd(), &name).map_err(fail)?;
                    here = Some(next);
                }
                (Some(dir), Some(meta)) => {
                    if !node::is_whiteout(dir.as_fd(), &name, meta, self.how.form).map_err(fail)? {
                        return Err(impossible(entry, "something above it is not a directory"));
                    }
                    here = None;
                }
                _ => {
                    here = None;
                    if nothing.is_none() {
                        let path = [&real[..], std::slice::from_ref(&name)].concat();
                        match self.shining_through(&path).map_err(fail)? {
                            Some((link, found)) if found.meta.kind == FileType::Symlink => {
                                self.applied.needs_below = true;
                                target = Some(link);
                            }
                            Some((_, found)) if found.meta.is_dir() => {}
                            _ => nothing = Some(path.len()),
                        }
                    }
                }
            }
            let Some(target) = target else {
                real.push(name);
                continue;
            };
            links += 1;
            if target.starts_with(b"/") {
                real.clear();
            }
            here = self.existing(&real.join(&b'/')).map_err(fail)?;
            for part in target.split(|b| *b == b'/').rev() {
                todo.push_front(part.to_vec());
            }
        }
        Ok(real)
    }

    /// The directory at a path without links, if this layer has it.
    fn existing(&self, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        match node::open_dir(self.root.as_fd(), path) {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            // A link in the way.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether this layer hides what those below have at `path`, or has something else there itself.
    fn hides(&self, path: &[Vec<u8>]) -> io::Result<bool> {
        let mut here = node::open_dir(self.root.as_fd(), b"")?;
        for (i, name) in path.iter().enumerate() {
            if node::is_opaque(here.as_fd(), self.how.form)? {
                return Ok(true);
            }
            match Meta::at(here.as_fd(), name)? {
                None => return Ok(false),
                Some(meta) if meta.is_dir() && i + 1 < path.len() => {
                    here = node::open_dir(here.as_fd(), name)?;
                }
                Some(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// What the layers below have at `path`, unless this layer hides it; with the target of a link.
    fn shining_through(&self, path: &[Vec<u8>]) -> io::Result<Option<(Vec<u8>, Found)>> {
        if self.hides(path)? {
            return Ok(None);
        }
        let Some(stack) = self.below.stack() else {
            return Ok(None);
        };
        let Some(found) = stack.find(path)? else {
            return Ok(None);
        };
        let mut link = Vec::new();
        if found.meta.kind == FileType::Symlink {
            let (dir, name) = self.below_dir(path)?;
            link = rustix::fs::readlinkat(dir.handle(&found), name, Vec::new())?.into_bytes();
        }
        Ok(Some((link, found)))
    }

    /// The merged directory below that holds the last name of `path`.
    fn below_dir<'p>(&self, path: &'p [Vec<u8>]) -> io::Result<(stack::StackDir<'_>, &'p [u8])> {
        let (name, parents) = path.split_last().ok_or(io::ErrorKind::NotFound)?;
        let stack = self.below.stack().ok_or(io::ErrorKind::NotFound)?;
        let layers = match parents {
            [] => stack.root()?,
            parents => stack.find(parents)?.ok_or(io::ErrorKind::NotFound)?.layers,
        };
        Ok((stack.dir(&layers, &parents.join(&b'/'))?, name))
    }

    /// The directory at a path without links, made where it is missing: as the layers below have it, or as
    /// root's with mode 0755.
    fn make(&mut self, real: &[Vec<u8>], entry: &Entry) -> Result<OwnedFd, UnpackError> {
        let fail = |e| io_error("make the directory of", &entry.path)(e);
        let mut here = node::open_dir(self.root.as_fd(), b"").map_err(fail)?;
        // Whether the layers below may have something there.
        let mut shines = true;
        for end in 1..=real.len() {
            let name = &real[end - 1];
            let mut opaque = false;
            match Meta::at(here.as_fd(), name).map_err(fail)? {
                Some(meta) if meta.is_dir() => {
                    here = node::open_dir(here.as_fd(), name).map_err(fail)?;
                    continue;
                }
                // `resolve` left nothing else in the way but a whiteout.
                Some(_) => {
                    opaque = true;
                    rustix::fs::unlinkat(&here, &name[..], AtFlags::empty()).map_err(|e| fail(e.into()))?;
                }
                None => {}
            }
            shines &= !opaque;
            let below = if shines { self.shining_through(&real[..end]).map_err(fail)? } else { None };
            let found = below.map(|(_, found)| found).filter(|found| found.meta.is_dir());
            shines &= found.is_some();
            self.implied += 1;
            if self.implied > MOST_IMPLIED.saturating_add(self.applied.entries) {
                return Err(impossible(entry, TOO_MANY_IMPLIED));
            }
            rustix::fs::mkdirat(&here, &name[..], Mode::RWXU).map_err(|e| fail(e.into()))?;
            let mut dir = Dir { mode: 0o755, mtime: Time::default(), xattrs: Xattrs::new(), implied: true };
            let (mut uid, mut gid) = (0, 0);
            if let Some(found) = found {
                let (parent, name) = self.below_dir(&real[..end]).map_err(fail)?;
                dir.mode = found.meta.mode;
                dir.mtime = found.meta.mtime;
                dir.xattrs = node::xattrs(parent.handle(&found), name).map_err(fail)?;
                (uid, gid) = (found.meta.uid, found.meta.gid);
            }
            if self.how.ownership == Ownership::Keep {
                node::set_owner(here.as_fd(), name, uid, gid).map_err(|e| fail(e.into()))?;
            }
            let made = node::open_dir(here.as_fd(), name).map_err(fail)?;
            if opaque {
                node::make_opaque(made.as_fd(), self.how.form).map_err(fail)?;
            }
            here = made;
            self.dirs.insert(real[..end].join(&b'/'), dir);
        }
        Ok(here)
    }

    /// The directory in this layer that has a hard link's target, and what that is. A target that only a
    /// lower layer has is copied into this one first.
    pub(super) fn link_target(
        &mut self,
        parents: &[&[u8]],
        name: &[u8],
        entry: &Entry,
    ) -> Result<Option<(OwnedFd, Meta)>, UnpackError> {
        let fail = |e| io_error("find the target of", &entry.path)(e);
        let mut path = self.resolve(parents, entry)?;
        if let Some(dir) = self.existing(&path.join(&b'/')).map_err(fail)?
            && let Some(meta) = Meta::at(dir.as_fd(), name).map_err(fail)?
        {
            let gone = node::is_whiteout(dir.as_fd(), name, &meta, self.how.form).map_err(fail)?;
            return Ok((!gone).then_some((dir, meta)));
        }
        path.push(name.to_vec());
        let Some((_, found)) = self.shining_through(&path).map_err(fail)? else {
            return Ok(None);
        };
        self.applied.needs_below = true;
        if found.meta.is_dir() {
            return Err(impossible(entry, "it is a hard link to a directory"));
        }
        let dir = self.make(&path[..path.len() - 1], entry)?;
        let (from, name) = self.below_dir(&path).map_err(fail)?;
        crate::layer::copy::node(from.handle(&found), dir.as_fd(), name, &found.meta, self.how.ownership)
            .map_err(io_error("copy the target of", &entry.path))?;
        let meta = Meta::at(dir.as_fd(), name).map_err(fail)?;
        Ok(meta.map(|meta| (dir, meta)))
    }
}
