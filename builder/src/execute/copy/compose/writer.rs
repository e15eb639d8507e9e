//! The entries of a plan, one by one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use orlop_store::FileDigest;
use orlop_store::layer::tar::{self, Kind as TarKind};

use super::feed::{ContentError, Feed};
use super::{ComposeError, Directory, Plan};
use crate::context::{Dir, Kind, Time, Xattrs, file_meta, name_bytes};
use crate::execute::copy::apply::still;
use crate::execute::copy::error::CopyErrorKind;
use crate::execute::copy::selection::{Entry, EntryKind, Group, Origin};

/// A file of so many bytes may have holes that are worth keeping.
const HOLE: u64 = 1 << 20;

/// Writes the entries of a plan.
pub(super) struct Writer<'a> {
    plan: &'a Plan<'a>,
    /// Of what has several names the first in the layer.
    names: HashMap<(usize, usize), tar::Entry>,
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
        let entry = tar::Entry {
            path: [path, b"/"].concat(),
            kind: TarKind::Directory,
            mode: dir.mode,
            uid: dir.uid.into(),
            gid: dir.gid.into(),
            mtime: self.time(mtime),
            link: Vec::new(),
            size: 0,
            device: (0, 0),
            xattrs: attributes(&dir.xattrs),
            windows: BTreeMap::new(),
        };
        Ok(feed.entry(entry, false))
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
            let link = tar::Entry { path: path.to_vec(), ..first.clone() };
            return Ok(feed.entry(link, false));
        }
        let (uid, gid) = self.plan.owner.unwrap_or((entry.uid, entry.gid));
        let mut out = tar::Entry {
            path: path.to_vec(),
            kind: TarKind::File,
            mode: entry.mode,
            uid: uid.into(),
            gid: gid.into(),
            mtime: self.time(entry.mtime),
            link: Vec::new(),
            size: 0,
            device: (0, 0),
            xattrs: attributes(&entry.xattrs),
            windows: BTreeMap::new(),
        };
        let again = group.list.targets.binary_search(&index).is_ok();
        if again {
            let (kind, link) = (TarKind::HardLink, path.to_vec());
            let link = tar::Entry { kind, link, xattrs: BTreeMap::new(), path: Vec::new(), ..out.clone() };
            self.names.insert((number, index), link);
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
        // A layer's tar has no holes.
        if before.size >= HOLE && before.blocks.saturating_mul(512) < before.size {
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

/// What a layer says of attributes.
fn attributes(xattrs: &Xattrs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    xattrs.iter().map(|(key, value)| (name_bytes(key).to_vec(), value.clone())).collect()
}
