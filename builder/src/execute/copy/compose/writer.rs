//! The entries of a plan, one by one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use orlop_store::FileDigest;
use orlop_store::layer::tar::{self, Kind as TarKind};

use super::feed::{ContentError, Feed};
use super::{ComposeError, Directory, Plan};
use crate::context::{Dir, Kind, Time, Xattrs, file_meta, holes, name_bytes};
use crate::execute::copy::apply::still;
use crate::execute::copy::error::CopyErrorKind;
use crate::execute::copy::selection::{Entry, EntryKind, Group, Origin};

/// A file whose holes have together so many bytes is worth keeping as it is.
const HOLES: u64 = 1 << 20;

/// What its other names say of a file. There may be many.
struct Named {
    path: Box<[u8]>,
    mode: u32,
    owner: (u32, u32),
    mtime: tar::Time,
}

/// Writes the entries of a plan.
pub(super) struct Writer<'a> {
    plan: &'a Plan<'a>,
    /// Of what has several names the first in the layer, by its numbers.
    names: HashMap<(usize, usize), Named>,
    /// The directory that the last file came from: group, path and itself.
    source: Option<(usize, PathBuf, Dir)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(plan: &'a Plan<'a>) -> Self {
        Self { plan, names: HashMap::new(), source: None }
    }

    pub(super) fn directory(
        &mut self,
        dir: &Directory,
        path: &[u8],
        feed: &mut Feed<'_, '_>,
    ) -> Result<bool, ComposeError> {
        let mtime = if dir.touched { None } else { dir.mtime };
        let owner = (dir.uid, dir.gid);
        let mut out = new(&[path, b"/"].concat(), TarKind::Directory, dir.mode, owner, self.time(mtime));
        out.xattrs = attributes(&dir.xattrs);
        Ok(feed.entry(out, false))
    }

    pub(super) fn leaf(
        &mut self,
        (number, index): (usize, usize),
        entry: &Entry,
        path: &[u8],
        feed: &mut Feed<'_, '_>,
    ) -> Result<bool, ComposeError> {
        let Some(group) = self.plan.selection.groups.get(number) else { return Ok(false) };
        let at = |kind: CopyErrorKind| ComposeError::Copy(kind.of(group.word));
        if let EntryKind::HardLink { to, .. } = entry.kind {
            // It comes before its links in the list, and so it does in the layer.
            let Some(first) = self.names.get(&(number, to)) else { return Ok(false) };
            let link = first.path.to_vec();
            let mut out = new(path, TarKind::HardLink, first.mode, first.owner, first.mtime);
            out.link = link;
            return Ok(feed.entry(out, false));
        }
        let owner = self.plan.owner.unwrap_or((entry.uid, entry.gid));
        let mtime = self.time(entry.mtime);
        let mut out = new(path, TarKind::File, entry.mode, owner, mtime);
        out.xattrs = attributes(&entry.xattrs);
        let again = group.list.targets.binary_search(&index).is_ok();
        if again {
            self.names.insert((number, index), Named { path: path.into(), mode: entry.mode, owner, mtime });
        }
        let device = |rdev: u64| (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        match &entry.kind {
            EntryKind::File { size, digest } | EntryKind::HardLink { size, digest, .. } => {
                out.size = *size;
                let source = || group.source_path(entry);
                if let Origin::Inline(bytes) = &group.origin {
                    return feed.file(out, again, digest, &mut &bytes[..]).map_err(|e| at(e.of(&source())));
                }
                let mut file = self.open(number, group, entry).map_err(at)?;
                return self.file((group, entry), &mut file, (out, digest, again), feed).map_err(at);
            }
            EntryKind::Symlink { target } => {
                out.kind = TarKind::Symlink;
                out.mode = 0o777;
                out.link = name_bytes(target).to_vec();
            }
            EntryKind::Fifo => out.kind = TarKind::Fifo,
            EntryKind::CharDevice { rdev } => (out.kind, out.device) = (TarKind::CharDevice, device(*rdev)),
            EntryKind::BlockDevice { rdev } => (out.kind, out.device) = (TarKind::BlockDevice, device(*rdev)),
            EntryKind::Directory => return Ok(false),
        }
        Ok(feed.entry(out, again))
    }

    fn open(&mut self, number: usize, group: &Group, entry: &Entry) -> Result<File, CopyErrorKind> {
        let failed = || CopyErrorKind::io("open", group.source_path(entry));
        match &group.origin {
            Origin::File(_, dir, name) => dir.file(name).map_err(failed()),
            Origin::Remote(path) => File::open(path).map_err(failed()),
            Origin::Directory(_, top) => {
                let parent = entry.path.parent().unwrap_or(Path::new(""));
                let name = entry.path.file_name().unwrap_or_default();
                match &self.source {
                    Some((of, path, dir)) if *of == number && path == parent => {
                        dir.file(name).map_err(failed())
                    }
                    _ => {
                        let dir = top.descend(parent).map_err(failed())?;
                        let file = dir.file(name).map_err(failed())?;
                        self.source = Some((number, parent.to_owned(), dir));
                        Ok(file)
                    }
                }
            }
            Origin::Inline(_) | Origin::Unfetched(_) => {
                Err(CopyErrorKind::Changed { path: group.source_path(entry).display().to_string() })
            }
        }
    }

    /// Writes a file, and makes sure that it is what was selected.
    fn file(
        &self,
        (group, entry): (&Group, &Entry),
        file: &mut File,
        (out, digest, again): (tar::Entry, &FileDigest, bool),
        feed: &mut Feed<'_, '_>,
    ) -> Result<bool, CopyErrorKind> {
        let source = || group.source_path(entry);
        let before = file_meta(file).map_err(|e| CopyErrorKind::io("look at", source())(e))?;
        if before.kind == Kind::File && before.size != out.size {
            return Err(ContentError::Size.of(&source()));
        }
        // A layer's tar has no holes. Where a file takes less room than it is long, it may be compressed instead.
        let saved = before.size.saturating_sub(before.blocks.saturating_mul(512));
        if saved >= HOLES && holes(file, before.size).is_ok_and(|holes| holes >= HOLES) {
            return Ok(false);
        }
        let wanted = feed.file(out, again, digest, file).map_err(|e| e.of(&source()))?;
        still(group, entry, file, &before)?;
        Ok(wanted)
    }

    fn time(&self, time: Option<Time>) -> tar::Time {
        let Time { seconds, nanoseconds } = time.unwrap_or(self.plan.now);
        tar::Time { seconds, nanoseconds }
    }
}

/// An entry of a layer with nothing in it.
fn new(path: &[u8], kind: TarKind, mode: u32, owner: (u32, u32), mtime: tar::Time) -> tar::Entry {
    tar::Entry {
        path: path.to_vec(),
        kind,
        mode,
        uid: owner.0.into(),
        gid: owner.1.into(),
        mtime,
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: BTreeMap::new(),
    }
}

/// What a layer says of attributes.
fn attributes(xattrs: &Xattrs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    xattrs.iter().map(|(key, value)| (name_bytes(key).to_vec(), value.clone())).collect()
}
