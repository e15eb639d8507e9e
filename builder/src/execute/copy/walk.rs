//! Everything in a directory that a COPY takes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::chmod::Chmod;
use super::content;
use super::error::CopyErrorKind;
use super::selection::{Entry, EntryKind};
use crate::context::pattern::{Inherited, PatternList};
use crate::context::{DigestCache, Dir, Kind, Meta, SourceTree, Xattrs};

/// Deeper trees than this are refused: each level costs an open directory.
const MAX_DEPTH: usize = 500;

/// What decides about the files of one source.
pub(super) struct Walker<'a> {
    pub(super) tree: &'a SourceTree,
    /// `--parents`: only what these match is taken, relative to the source.
    pub(super) includes: Option<PatternList>,
    /// `--exclude`: nothing that these match is taken, relative to the source.
    pub(super) excludes: &'a PatternList,
    pub(super) chmod: Option<&'a Chmod>,
    pub(super) cache: &'a dyn DigestCache,
}

/// A directory on the way.
struct Place<'a> {
    dir: &'a Dir,
    /// Path in the tree.
    real: &'a Path,
    /// Path below the source.
    path: &'a Path,
    ignore: Inherited,
    include: Inherited,
    exclude: Inherited,
    depth: usize,
}

/// An entry, and the identity of its content where it has several names.
type Found = (Entry, Option<(u64, u64)>);

impl Walker<'_> {
    /// Everything below `dir`, which is at `real` in the tree; directories come before what is in them,
    /// names in the order of their bytes.
    pub(super) fn walk(&self, dir: &Dir, real: &Path) -> Result<Vec<Entry>, CopyErrorKind> {
        let found = self.list(&Place {
            dir,
            real,
            path: Path::new(""),
            ignore: self.tree.ignore().inherited(real),
            include: Inherited::default(),
            exclude: Inherited::default(),
            depth: 0,
        })?;
        let mut first: HashMap<(u64, u64), usize> = HashMap::new();
        let mut entries = Vec::with_capacity(found.len());
        for (mut entry, identity) in found {
            if let (Some(identity), EntryKind::File { size, digest }) = (identity, &entry.kind) {
                let (size, digest) = (*size, *digest);
                match first.get(&identity) {
                    Some(to) => entry.kind = EntryKind::HardLink { to: *to, size, digest },
                    None => drop(first.insert(identity, entries.len())),
                }
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn list(&self, place: &Place<'_>) -> Result<Vec<Found>, CopyErrorKind> {
        if place.depth > MAX_DEPTH {
            let path = place.real.display().to_string();
            return Err(CopyErrorKind::TooDeep { path, limit: MAX_DEPTH });
        }
        let names = place.dir.list().map_err(CopyErrorKind::io("list", place.real))?;
        // Gathered first and looked through in order, so that of several errors always the same is told.
        let parts: Vec<_> = names.into_par_iter().map(|name| self.entry(place, name)).collect();
        let mut out = Vec::new();
        for part in parts {
            out.extend(part?);
        }
        Ok(out)
    }

    /// One name in a directory, with what is in it.
    fn entry(&self, place: &Place<'_>, name: OsString) -> Result<Vec<Found>, CopyErrorKind> {
        let (real, path) = (place.real.join(&name), place.path.join(&name));
        let ignore = self.tree.ignore();
        let (ignored, ignore_below) = if ignore.is_empty() {
            (false, Inherited::default())
        } else {
            let (verdict, below) = ignore.decide(&real.to_string_lossy(), &place.ignore);
            (verdict.is_match(), below)
        };
        if ignored && !ignore.may_hold_exceptions(&real) {
            return Ok(Vec::new());
        }
        let text = path.to_string_lossy();
        let (excluded, exclude_below) = self.excludes.decide(&text, &place.exclude);
        let (included, include_below) = match &self.includes {
            None => (true, Inherited::default()),
            Some(includes) => {
                let (verdict, below) = includes.decide(&text, &place.include);
                (verdict.is_match(), below)
            }
        };
        let taken = included && !excluded.is_match();
        let may_hold = (!excluded.is_match() || self.excludes.may_except_below(&text))
            && (included || self.includes.as_ref().is_none_or(|includes| includes.may_match_below(&text)));
        if !taken && !may_hold {
            return Ok(Vec::new());
        }
        let Some(meta) = place.dir.find(&name).map_err(CopyErrorKind::io("look at", &real))? else {
            return Ok(Vec::new());
        };
        if !meta.is_dir() {
            if ignored || !taken || meta.kind == Kind::Socket {
                return Ok(Vec::new());
            }
            let entry = self.describe(place.dir, &name, &real, path, &meta)?;
            let shared = meta.kind == Kind::File && meta.links > 1;
            return Ok(vec![(entry, shared.then_some((meta.dev, meta.ino)))]);
        }
        let dir = place.dir.dir(&name).map_err(CopyErrorKind::io("open", &real))?;
        let below = if may_hold {
            self.list(&Place {
                dir: &dir,
                real: &real,
                path: &path,
                ignore: ignore_below,
                include: include_below,
                exclude: exclude_below,
                depth: place.depth + 1,
            })?
        } else {
            Vec::new()
        };
        if (ignored || !taken) && below.is_empty() {
            return Ok(Vec::new());
        }
        let mut entry = self.describe(place.dir, &name, &real, path, &meta)?;
        entry.implied = !taken;
        let mut out = Vec::with_capacity(below.len() + 1);
        out.push((entry, None));
        out.extend(below);
        Ok(out)
    }

    /// An entry with all that it will be.
    pub(super) fn describe(
        &self,
        dir: &Dir,
        name: &OsString,
        real: &Path,
        path: PathBuf,
        meta: &Meta,
    ) -> Result<Entry, CopyErrorKind> {
        let (mut meta, mut xattrs) = (*meta, Xattrs::new());
        if matches!(meta.kind, Kind::File | Kind::Directory) {
            xattrs = dir.xattrs(name).map_err(CopyErrorKind::io("read the attributes of", real))?;
        }
        let mut stat = None;
        let kind = match meta.kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File => {
                // The files of a mounted snapshot have no lasting identity.
                let cache = (!self.tree.keeps_owners()).then_some(self.cache);
                let (digest, read) =
                    content::digest(dir, name, &meta, cache).map_err(CopyErrorKind::io("read", real))?;
                meta = read;
                stat = Some(meta.file_stat());
                EntryKind::File { size: meta.size, digest }
            }
            Kind::Symlink => EntryKind::Symlink {
                target: dir.read_link(name).map_err(CopyErrorKind::io("read the link", real))?,
            },
            Kind::CharDevice => EntryKind::CharDevice { rdev: meta.rdev },
            Kind::BlockDevice => EntryKind::BlockDevice { rdev: meta.rdev },
            // A socket that is named itself; the caller has left all others out.
            Kind::Fifo | Kind::Socket => EntryKind::Fifo,
        };
        let (uid, gid) = if self.tree.keeps_owners() { (meta.uid, meta.gid) } else { (0, 0) };
        let mode = match (self.chmod, meta.kind) {
            (None, _) | (_, Kind::Symlink) => meta.mode,
            (Some(chmod), kind) => chmod.apply(meta.mode, kind == Kind::Directory),
        };
        Ok(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            xattrs,
            implied: false,
            source_mode: meta.mode,
            mtime: Some(meta.mtime),
            stat,
        })
    }
}
