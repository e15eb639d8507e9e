//! From a [`Selection`] to a layer's tar, where the store keeps layers so: each file is read once and none is made.
//!
//! What comes out is what [`apply`](super::apply) and a look at what it changed would give. A copy that is not plain
//! (it overwrites what is in the image, or unpacks an archive) is left to those.

mod feed;
mod files;
mod writer;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_store::layer::compose::{Composed, Composer};
use orlop_store::snapshot::SnapshotError;

use self::feed::Feed;
use self::files::{Files, Head};
use self::writer::Writer;
use super::apply::Owners;
use super::destination::NEW_DIRECTORY;
use super::error::{CopyError, CopyErrorKind};
use super::selection::{Entry, EntryKind, Group, Origin, Selection};
use crate::context::pattern::below_root;
use crate::context::tar::is_archive;
use crate::context::{Dir, Meta, Time, Xattrs, name_bytes};

/// How many directories of the image a copy may go into before it is not plain any more: each is kept open.
const MOST_THERE: usize = 2000;

/// Why a copy came to no layer.
#[derive(Debug)]
pub(crate) enum ComposeError {
    /// It is not allowed, or its sources cannot be read.
    Copy(CopyError),
    /// The layer cannot be written.
    Store(SnapshotError),
}

impl ComposeError {
    fn list(error: io::Error) -> Self {
        Self::Copy(CopyErrorKind::List(error).into())
    }
}

/// Writes a selection as a layer over the file system `root`, which is looked at and not changed. None where the
/// copy has to be applied to a snapshot.
pub(crate) fn compose(
    selection: &Selection,
    root: &Path,
    owners: &Owners<'_>,
    composer: Composer,
) -> Result<Option<Composed>, ComposeError> {
    let Some(plan) = Plan::of(selection, root, owners)? else { return Ok(None) };
    std::thread::scope(|scope| {
        let mut feed = Feed::new(scope, composer);
        let fits = plan.write(&mut feed)?;
        match feed.finish().map_err(ComposeError::Store)? {
            Some(composer) if fits => composer.finish().map_err(ComposeError::Store),
            _ => Ok(None),
        }
    })
}

/// What will be in the layer, as a tree of the image: directories that several things may have to do with, and files
/// that are sources themselves. Other files, and new directories of a copy that has one source, may be many: they stay
/// where the selection has them.
struct Plan<'a> {
    selection: &'a Selection,
    owner: Option<(u32, u32)>,
    /// The first is the root directory.
    nodes: Vec<Node>,
    /// The directory that the content of directories goes into.
    top: Place,
    there: usize,
    now: Time,
}

struct Node {
    parent: usize,
    what: What,
    /// By name, as far as the copy has to do with them.
    children: BTreeMap<OsString, usize>,
}

enum What {
    Directory(Directory),
    /// The one file of a group: its number.
    Leaf(usize),
}

/// A directory of the image, or one that is made.
struct Directory {
    there: Option<Dir>,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Option<Time>,
    xattrs: Xattrs,
    /// It is new, or something about it is.
    changed: bool,
    /// Something new is in it.
    touched: bool,
    /// Something that has no node is in it.
    filled: bool,
    emit: bool,
}

impl Directory {
    /// One of the image.
    fn there(dir: Dir, meta: &Meta, xattrs: Xattrs) -> Self {
        Self {
            there: Some(dir),
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: Some(meta.mtime),
            xattrs,
            changed: false,
            touched: false,
            filled: false,
            emit: false,
        }
    }

    /// One that is made as an entry says.
    fn of(entry: Entry, owner: Option<(u32, u32)>) -> Self {
        let Entry { mode, mtime, xattrs, .. } = entry;
        let (uid, gid) = owner.unwrap_or((entry.uid, entry.gid));
        Self { mode, uid, gid, mtime, xattrs, ..Self::new() }
    }

    /// One that is made.
    fn new() -> Self {
        Self {
            there: None,
            mode: NEW_DIRECTORY,
            uid: 0,
            gid: 0,
            mtime: None,
            xattrs: Xattrs::new(),
            changed: true,
            touched: false,
            filled: false,
            emit: false,
        }
    }
}

/// A directory on the way to be filled: its node, or a number that no node has.
type Place = usize;

/// What is in a directory that has no node.
static NOTHING: BTreeMap<OsString, usize> = BTreeMap::new();

impl<'a> Plan<'a> {
    /// None where the copy is not plain, or wrong, which those say who do all of it.
    fn of(selection: &'a Selection, root: &Path, owners: &Owners<'_>) -> Result<Option<Self>, ComposeError> {
        let mut failed = None;
        let plan = Self::plain(selection, root, owners, &mut failed);
        failed.map_or(Ok(plan), |e| Err(ComposeError::list(e)))
    }

    fn plain(
        selection: &'a Selection,
        root: &Path,
        owners: &Owners<'_>,
        failed: &mut Option<io::Error>,
    ) -> Option<Self> {
        let owner = selection.chown.as_ref().map(|owner| owners(owner)).transpose().ok()?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Time {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        };
        let mut plan = Self { selection, owner, nodes: Vec::new(), top: 0, there: 0, now };
        let root = Dir::open(root).ok()?;
        let meta = root.meta().ok()?;
        let xattrs = root.xattrs(OsStr::new(".")).ok()?;
        plan.nodes.push(Node {
            parent: 0,
            what: What::Directory(Directory::there(root, &meta, xattrs)),
            children: BTreeMap::new(),
        });
        let mut files: Vec<usize> =
            selection.groups.iter().filter(|group| !group.is_directory()).map(|group| group.word).collect();
        files.dedup();
        let several = files.len() > 1;
        for (number, group) in selection.groups.iter().enumerate() {
            plan.group(number, group, several, failed)?;
        }
        plan.decide();
        Some(plan)
    }

    fn dir(&self, place: Place) -> Option<&Directory> {
        match &self.nodes.get(place)?.what {
            What::Directory(dir) => Some(dir),
            What::Leaf(_) => None,
        }
    }

    fn dir_mut(&mut self, place: Place) -> Option<&mut Directory> {
        match &mut self.nodes.get_mut(place)?.what {
            What::Directory(dir) => Some(dir),
            What::Leaf(_) => None,
        }
    }

    fn group(
        &mut self,
        number: usize,
        group: &Group,
        several: bool,
        failed: &mut Option<io::Error>,
    ) -> Option<()> {
        if group.unpack && could_be_archive(group) {
            return None;
        }
        // Access control lists change the mode that they are set with.
        let acl = |(key, _): &(OsString, Vec<u8>)| name_bytes(key).starts_with(b"system.");
        if group.list.has_acl || group.one.iter().any(|entry| entry.xattrs.iter().any(acl)) {
            return None;
        }
        let dest = &self.selection.dest;
        let path = below_root(dest);
        if matches!(group.origin, Origin::Directory(..)) {
            let place = self.make_dirs(&path)?;
            self.top = place;
            return self.tree(self.selection.of(group), place, failed);
        }
        if matches!(group.origin, Origin::Unfetched(_)) {
            return None;
        }
        group.one.as_ref()?;
        let (parent, name) = match dest.ends_with('/') {
            true => (path, group.name.clone()),
            false => {
                let (found, is_dir) = self.find(&path)?;
                if several && !is_dir {
                    return None;
                }
                match is_dir {
                    true => (path, group.name.clone()),
                    false => (found.parent()?.to_owned(), found.file_name()?.to_owned()),
                }
            }
        };
        let place = self.make_dirs(&parent)?;
        self.leaf(place, &name)?;
        self.add(place, &name, What::Leaf(number)).map(drop)
    }

    /// Where a path of the image leads, and whether it is a directory, in the image or by this copy.
    fn find(&self, path: &Path) -> Option<(PathBuf, bool)> {
        if self.selection.link {
            return Some((path.to_owned(), false));
        }
        let found = self.image()?.resolve(path, true, self.selection.dialect, &mut |_, _| true).ok()?;
        if let Some(meta) = found.meta {
            return Some((found.path, meta.is_dir()));
        }
        let mut at = Some(0);
        for name in names(&found.path) {
            at = at.and_then(|at| self.nodes.get(at)?.children.get(name).copied());
        }
        // What leads on from here is not looked at twice.
        match at.and_then(|at| self.nodes.get(at)) {
            None => Some((found.path, false)),
            Some(Node { what: What::Directory(_), .. }) => Some((found.path, true)),
            Some(_) => None,
        }
    }

    fn image(&self) -> Option<&Dir> {
        self.dir(0)?.there.as_ref()
    }

    /// The directory at a path, made with all above it where it does not exist.
    fn make_dirs(&mut self, path: &Path) -> Option<Place> {
        let link = self.selection.link;
        let path = match link {
            true => path.to_owned(),
            false => {
                let found =
                    self.image()?.resolve(path, true, self.selection.dialect, &mut |_, _| true).ok()?;
                if found.meta.is_some_and(|meta| !meta.is_dir()) {
                    return None;
                }
                found.path
            }
        };
        let mut place = 0;
        for name in names(&path) {
            let (next, new) = self.enter(place, name)?;
            if new {
                let parent = self.dir(place)?;
                // What is made in such a directory has its group.
                if parent.there.is_some() && parent.mode & 0o2000 != 0 {
                    return None;
                }
            }
            if new || link {
                let (uid, gid) = self.owner.unwrap_or((0, 0));
                let dir = self.dir_mut(next)?;
                dir.changed |= (dir.uid, dir.gid, dir.mode) != (uid, gid, NEW_DIRECTORY);
                (dir.uid, dir.gid, dir.mode) = (uid, gid, NEW_DIRECTORY);
            }
            place = next;
        }
        Some(place)
    }

    /// The directory `name` in another, and whether it is new.
    fn enter(&mut self, place: Place, name: &OsStr) -> Option<(Place, bool)> {
        if let Some(&known) = self.nodes.get(place)?.children.get(name) {
            self.dir(known)?;
            return Some((known, false));
        }
        let mut found = None;
        if let Some(there) = &self.dir(place)?.there
            && let Some(meta) = there.find(name).ok()?
        {
            if !meta.is_dir() {
                return None;
            }
            found = Some((there.dir(name).ok()?, meta, there.xattrs(name).ok()?));
        }
        let new = found.is_none();
        let dir = match found {
            Some((there, meta, xattrs)) => {
                self.there += 1;
                if self.there > MOST_THERE {
                    return None;
                }
                Directory::there(there, &meta, xattrs)
            }
            None => {
                self.touch(place)?;
                Directory::new()
            }
        };
        Some((self.add(place, name, What::Directory(dir))?, new))
    }

    /// Something new comes into a directory.
    fn touch(&mut self, place: Place) -> Option<()> {
        let dir = self.dir_mut(place)?;
        let inherits = |(key, _): &(OsString, Vec<u8>)| key == "system.posix_acl_default";
        if dir.there.is_some() && dir.xattrs.iter().any(inherits) {
            return None;
        }
        dir.touched = true;
        Some(())
    }

    fn add(&mut self, place: Place, name: &OsStr, what: What) -> Option<usize> {
        is_plain(name)?;
        let number = self.nodes.len();
        self.nodes.push(Node { parent: place, what, children: BTreeMap::new() });
        match self.nodes.get_mut(place)?.children.insert(name.to_owned(), number) {
            None => Some(number),
            Some(_) => None,
        }
    }

    /// Whether there is nothing of that name in a directory yet.
    fn is_new(&self, place: Place, name: &OsStr) -> Option<bool> {
        if self.nodes.get(place)?.children.contains_key(name) {
            return Some(false);
        }
        Some(match &self.dir(place)?.there {
            Some(there) => there.find(name).ok()?.is_none(),
            None => true,
        })
    }

    /// Something that has no node comes into a directory. Whether the copy itself has something there is seen when it
    /// is written.
    fn leaf(&mut self, place: Place, name: &OsStr) -> Option<()> {
        is_plain(name)?;
        if let Some(there) = &self.dir(place)?.there
            && there.find(name).ok()?.is_some()
        {
            return None;
        }
        self.touch(place)?;
        self.dir_mut(place)?.filled = true;
        Some(())
    }

    fn tree(
        &mut self,
        entries: impl Iterator<Item = io::Result<Entry>>,
        top: Place,
        failed: &mut Option<io::Error>,
    ) -> Option<()> {
        let is_alone = self.selection.groups.len() == 1;
        // Those that are not of the plan have no place in it.
        let mut open: Vec<(PathBuf, Option<Place>)> = vec![(PathBuf::new(), Some(top))];
        let mut timed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| *failed = Some(e)).ok()?;
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            while open.len() > 1 && open.last()?.0 != parent {
                open.pop();
            }
            let place = open.last()?.1;
            let name = entry.path.file_name()?;
            if matches!(entry.kind, EntryKind::CharDevice { rdev: 0 }) {
                return None;
            }
            let is_dir = entry.kind == EntryKind::Directory;
            let place = match place {
                Some(place) if is_dir && !(is_alone && self.is_new(place, name)?) => place,
                _ => {
                    match place {
                        Some(place) => self.leaf(place, name)?,
                        None => is_plain(name)?,
                    }
                    if is_dir {
                        open.push((entry.path, None));
                    }
                    continue;
                }
            };
            let (next, new) = self.enter(place, name)?;
            let owner = self.owner.unwrap_or((entry.uid, entry.gid));
            let dir = self.dir_mut(next)?;
            let before = (dir.mode, dir.uid, dir.gid, dir.xattrs.clone());
            if entry.implied && !new {
                dir.mode = entry.source_mode;
            } else {
                dir.mode = entry.mode;
                (dir.uid, dir.gid) = owner;
                timed.push((next, entry.mtime));
                for (key, value) in &entry.xattrs {
                    dir.xattrs.retain(|(other, _)| other != key);
                    dir.xattrs.push((key.clone(), value.clone()));
                }
                dir.xattrs.sort_unstable();
            }
            dir.changed |= before != (dir.mode, dir.uid, dir.gid, dir.xattrs.clone());
            open.push((entry.path, Some(next)));
        }
        // Set when all is in it.
        for (place, mtime) in timed {
            let dir = self.dir_mut(place)?;
            (dir.mtime, dir.touched) = (mtime, mtime.is_none());
        }
        Some(())
    }

    /// Which directories are in the layer: what changed and all above it, but for the root.
    fn decide(&mut self) {
        for i in (1..self.nodes.len()).rev() {
            let emit = match &mut self.nodes[i].what {
                What::Directory(dir) => {
                    dir.emit |= dir.changed | dir.filled;
                    dir.emit
                }
                What::Leaf(_) => true,
            };
            let parent = self.nodes[i].parent;
            if let (true, What::Directory(dir)) = (emit && parent != 0, &mut self.nodes[parent].what) {
                dir.emit = true;
            }
        }
    }

    /// False where the layer cannot be kept so.
    fn write(&self, feed: &mut Feed<'_, '_>) -> Result<bool, ComposeError> {
        let Some(mut files) = Files::of(self)? else { return Ok(false) };
        let mut writer = Writer::new(self);
        let mut path: Vec<u8> = Vec::new();
        let mut open = vec![(self.nodes[0].children.iter().peekable(), 0, 0)];
        while let Some((children, place, length)) = open.last_mut() {
            path.truncate(*length);
            // By name, whatever gives it.
            let (child, file) = (children.peek(), files.first_in(*place));
            let order = match (&child, &file) {
                (None, None) => {
                    open.pop();
                    continue;
                }
                (Some((child, _)), Some(file)) => child.as_os_str().cmp(file),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            // Two things of one name: one would take the place of the other.
            if order.is_eq() {
                return Ok(false);
            }
            if order.is_gt() {
                let Some((name, head)) = files.take_from(*place) else { return Ok(false) };
                path.extend_from_slice(name_bytes(&name));
                let Head { group, index, entry, inside } = head;
                let fits = match inside {
                    None => writer.leaf((group, index), &entry, &path, feed)?,
                    Some(_) => writer.directory(&Directory::of(entry, self.owner), &path, feed)?,
                };
                if !fits || !files.go_on(self, group)? {
                    return Ok(false);
                }
                if let Some(inside) = inside {
                    path.push(b'/');
                    open.push((NOTHING.iter().peekable(), inside, path.len()));
                }
                continue;
            }
            let Some((name, &number)) = children.next() else { return Ok(false) };
            path.extend_from_slice(name_bytes(name));
            let node = &self.nodes[number];
            let fits = match &node.what {
                What::Directory(dir) if !dir.emit => true,
                What::Directory(dir) => writer.directory(dir, &path, feed)?,
                What::Leaf(group) => {
                    let one = self.selection.groups.get(*group).and_then(|group| group.one.as_ref());
                    let Some(entry) = one else { return Ok(false) };
                    writer.leaf((*group, 0), entry, &path, feed)?
                }
            };
            if !fits {
                return Ok(false);
            }
            if matches!(node.what, What::Directory(_)) {
                path.push(b'/');
                open.push((node.children.iter().peekable(), number, path.len()));
            }
        }
        // All of them belong somewhere.
        Ok(files.heads.is_empty())
    }
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// None where such a name means a deletion in a layer.
fn is_plain(name: &OsStr) -> Option<()> {
    (!name_bytes(name).starts_with(b".wh.")).then_some(())
}

/// Whether a group's file may be something to unpack.
fn could_be_archive(group: &Group) -> bool {
    let open = match &group.origin {
        Origin::File(_, dir, name) => dir.file(name),
        Origin::Remote(path) => File::open(path),
        _ => return false,
    };
    open.map_or(true, is_archive)
}
