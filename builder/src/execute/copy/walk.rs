//! Everything in a directory that a COPY takes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::chmod::Chmod;
use super::content;
use super::error::CopyErrorKind;
use super::selection::{Entry, EntryKind};
use crate::context::pattern::{Inherited, PatternList, slashed};
use crate::context::{DigestCache, Dir, Kind, Meta, SourceTree, Xattrs};

/// Deeper trees than this are refused: writing one keeps a directory open for each level.
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

/// A directory to look into.
struct Place {
    /// Path in the tree.
    real: PathBuf,
    /// Path below the source.
    path: PathBuf,
    ignore: Inherited,
    include: Inherited,
    exclude: Inherited,
}

/// One name in a directory.
struct Found {
    entry: Box<Entry>,
    /// The identity of a content that has several names.
    identity: Option<(u64, u64)>,
    /// A directory that is only there for what is in it.
    if_filled: bool,
    /// What is to be looked into.
    below: Option<Box<Place>>,
}

impl Walker<'_> {
    /// Everything below `dir`, which is at `real` in the tree; directories come before what is in them,
    /// names in the order of their bytes.
    pub(super) fn walk(&self, dir: &Dir, real: &Path) -> Result<Vec<Entry>, CopyErrorKind> {
        // Level by level, the directories of a level side by side: no recursion that a deep tree could
        // exhaust, and no directory stays open.
        let mut level = vec![Place {
            real: real.to_owned(),
            path: PathBuf::new(),
            ignore: self.tree.ignore().inherited(real),
            include: Inherited::default(),
            exclude: Inherited::default(),
        }];
        // By directory, in the order in which they were looked into; each entry with the number of its own.
        let mut lists: Vec<Vec<(Found, Option<usize>)>> = Vec::new();
        let mut depth = 0;
        while !level.is_empty() {
            if depth > MAX_DEPTH {
                let path = level[0].real.display().to_string();
                return Err(CopyErrorKind::TooDeep { path, limit: MAX_DEPTH });
            }
            let results: Vec<_> = level.par_iter().map(|place| self.list(dir, place)).collect();
            let mut next = Vec::new();
            let first_below = lists.len() + results.len();
            for found in results {
                let mut list = Vec::new();
                for mut found in found? {
                    let below = found.below.take().map(|place| {
                        next.push(*place);
                        first_below + next.len() - 1
                    });
                    list.push((found, below));
                }
                lists.push(list);
            }
            level = next;
            depth += 1;
        }
        Ok(name_links(flatten(lists)))
    }

    fn list(&self, top: &Dir, place: &Place) -> Result<Vec<Found>, CopyErrorKind> {
        let dir = top.descend(&place.path).map_err(CopyErrorKind::io("open", &place.real))?;
        let names = dir.list().map_err(CopyErrorKind::io("list", &place.real))?;
        // Gathered first and looked through in order, so that of several errors always the same is told.
        let found: Vec<_> = names.par_iter().map(|name| self.entry(&dir, place, name)).collect();
        found.into_iter().filter_map(Result::transpose).collect()
    }

    /// One name in a directory; `None` where it is not taken.
    fn entry(&self, dir: &Dir, place: &Place, name: &OsString) -> Result<Option<Found>, CopyErrorKind> {
        let (real, path) = (place.real.join(name), place.path.join(name));
        let ignore = self.tree.ignore();
        let (ignored, ignore_below) = if ignore.is_empty() {
            (false, Inherited::default())
        } else {
            let (verdict, below) = ignore.decide(&slashed(&real), &place.ignore);
            (verdict.is_match(), below)
        };
        if ignored && !ignore.may_hold_exceptions(&real) {
            return Ok(None);
        }
        let text = slashed(&path);
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
            return Ok(None);
        }
        let Some(meta) = dir.find(name).map_err(CopyErrorKind::io("look at", &real))? else {
            return Ok(None);
        };
        if !meta.is_dir() && (ignored || !taken || meta.kind == Kind::Socket) {
            return Ok(None);
        }
        let mut entry = self.describe(dir, name, &real, path.clone(), &meta)?;
        entry.implied = !taken;
        let shared = meta.kind == Kind::File && meta.links > 1;
        let below = (meta.is_dir() && may_hold).then(|| {
            Box::new(Place {
                real,
                path,
                ignore: ignore_below,
                include: include_below,
                exclude: exclude_below,
            })
        });
        Ok(Some(Found {
            entry: Box::new(entry),
            identity: shared.then_some((meta.dev, meta.ino)),
            if_filled: ignored || !taken,
            below,
        }))
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
                let cache = self.tree.is_lasting().then_some(self.cache);
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

/// Puts the content of each directory behind it, and leaves out those that hold nothing and are there
/// for nothing else.
fn flatten(mut lists: Vec<Vec<(Found, Option<usize>)>>) -> Vec<Found> {
    let mut out: Vec<Found> = Vec::new();
    let mut take = |i: usize| lists.get_mut(i).map(std::mem::take).unwrap_or_default().into_iter();
    let mut open = vec![(take(0), None)];
    while let Some((list, holder)) = open.last_mut() {
        if let Some((found, below)) = list.next() {
            out.push(found);
            if let Some(below) = below {
                let holder = out.len();
                open.push((take(below), Some(holder)));
            } else if out.last().is_some_and(|found| found.if_filled) {
                out.pop();
            }
        } else {
            if holder.is_some_and(|holder| holder == out.len())
                && out.last().is_some_and(|found| found.if_filled)
            {
                out.pop();
            }
            open.pop();
        }
    }
    out
}

/// The second and later names of a content become links to its first.
fn name_links(found: Vec<Found>) -> Vec<Entry> {
    let mut first: HashMap<(u64, u64), usize> = HashMap::new();
    let mut entries = Vec::with_capacity(found.len());
    for Found { mut entry, identity, .. } in found {
        if let (Some(identity), EntryKind::File { size, digest }) = (identity, &entry.kind) {
            let (size, digest) = (*size, *digest);
            match first.get(&identity) {
                Some(to) => entry.kind = EntryKind::HardLink { to: *to, size, digest },
                None => drop(first.insert(identity, entries.len())),
            }
        }
        entries.push(*entry);
    }
    entries
}
