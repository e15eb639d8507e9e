//! From a [`Selection`] to files in a snapshot.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use orlop_store::FileDigester;

use super::content;
use super::destination::{Destination, Names};
use super::error::{CopyError, CopyErrorKind};
use super::selection::{Entry, EntryKind, Group, Origin, Selection};
use crate::context::pattern::below_root;
use crate::context::{Dir, Kind, Meta, file_meta, write_metadata};

/// What a COPY did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Files, links and nodes written.
    pub files: u64,
    /// Directories written or given other metadata.
    pub directories: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Extended attributes that the destination does not take, or not from us.
    pub attributes_lost: u64,
}

/// Looks a `--chown` up in the image that is written to: `user[:group]` to numbers.
pub type Owners<'a> = dyn Fn(&str) -> Result<(u32, u32), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Writes a selection into the directory `root`, the file system of a step. Nothing outside is touched,
/// whatever links are in it. `owners` is asked once, and only for a `--chown`.
///
/// # Errors
/// When something is in the way at the destination, the owner is not known, a file is not any more what
/// was selected, or the system says no. What was written until then stays; the step is lost.
pub fn apply(selection: &Selection, root: &Path, owners: &Owners<'_>) -> Result<CopyStats, CopyError> {
    let owner = match &selection.chown {
        None => None,
        Some(owner) => {
            Some(owners(owner).map_err(|source| CopyErrorKind::Owner { owner: owner.clone(), source })?)
        }
    };
    let root = Dir::open(root).map_err(CopyErrorKind::io("open", root))?;
    let mut writer = Writer {
        to: Destination {
            time: None,
            root,
            owner,
            account: selection.account,
            link: selection.link,
            dialect: selection.dialect,
            lost: Cell::default(),
        },
        stats: CopyStats::default(),
    };
    // Files of several words can only be meant to go into a directory, and the reference wants that said by a
    // slash; BuildKit would write one over the other. Those of one pattern are written so, the last one stays: Dockerfiles with `COPY *.jar app.jar`
    // build on it.
    let mut files: Vec<usize> =
        selection.groups.iter().filter(|group| !group.is_directory()).map(|group| group.word).collect();
    files.dedup();
    let several = files.len() > 1;
    for group in &selection.groups {
        writer.group(selection, group, several).map_err(|kind| kind.of(group.word))?;
    }
    writer.stats.attributes_lost += writer.to.lost.get();
    Ok(writer.stats)
}

pub(super) struct Writer {
    pub(super) to: Destination,
    pub(super) stats: CopyStats,
}

/// A directory that is being filled.
struct Open {
    /// Its entry; `None` for the destination itself.
    entry: Option<Entry>,
    created: bool,
    to: Dir,
    /// What it is called there.
    name: OsString,
    names: Names,
}

impl Writer {
    fn group(&mut self, selection: &Selection, group: &Group, several: bool) -> Result<(), CopyErrorKind> {
        let dest = &selection.dest;
        if group.unpack && self.unpack(group, dest)? {
            return Ok(());
        }
        let path = below_root(dest);
        match &group.origin {
            Origin::Directory(_, from) => {
                let (path, to) = self.to.make_dirs(&path)?;
                self.tree((group, selection.of(group)), from, to, &path)
            }
            _ => {
                let Some(entry) = &group.one else { return Ok(()) };
                let (found, meta) = self.to.find(&path)?;
                let directory = dest.ends_with('/') || meta.is_some_and(|meta| meta.is_dir());
                if several && !directory {
                    return Err(CopyErrorKind::SeveralToOne { path: self.to.shown(&found) });
                }
                let (parent, name) = if directory {
                    (path, group.name.clone())
                } else {
                    let Some(name) = found.file_name() else {
                        return Err(CopyErrorKind::IsADirectory { path: self.to.shown(&found) });
                    };
                    (found.parent().unwrap_or(Path::new("")).to_owned(), name.to_owned())
                };
                let (parent, dir) = self.to.make_dirs(&parent)?;
                let path = parent.join(&name);
                let mut names = self.to.names(&dir, false, &path)?;
                self.single(group, entry, (&dir, &mut names, &name), &path)
            }
        }
    }

    fn single(
        &mut self,
        group: &Group,
        entry: &Entry,
        (dir, names, name): (&Dir, &mut Names, &OsStr),
        path: &Path,
    ) -> Result<(), CopyErrorKind> {
        match &group.origin {
            Origin::File(_, from, source) => {
                self.leaf(group, entry, (from, source), (dir, names, name), path)
            }
            Origin::Inline(bytes) => {
                let name = self.to.clear(dir, names, name, path)?;
                let mut file = dir.make_file(&name).map_err(self.to.io("create", path))?;
                file.write_all(bytes).map_err(self.to.io("write", path))?;
                self.stats.bytes += bytes.len() as u64;
                self.file_metadata(entry, &file, path)?;
                drop(file);
                self.stats.attributes_lost += dir.describe(&name, &entry.xattrs);
                Ok(())
            }
            Origin::Remote(source) => {
                let name = self.to.clear(dir, names, name, path)?;
                let file = dir.make_file(&name).map_err(self.to.io("create", path))?;
                let from = File::open(source).map_err(CopyErrorKind::io("open", source))?;
                self.fill(group, entry, from, file, path)?;
                self.stats.attributes_lost += dir.describe(&name, &entry.xattrs);
                Ok(())
            }
            Origin::Directory(..) | Origin::Unfetched(_) => Ok(()),
        }
    }

    /// Everything in a directory. Each directory's metadata is set when all is in it: it may not be
    /// writable after that, and its time is its own again.
    fn tree(
        &mut self,
        (group, entries): (&Group, impl Iterator<Item = io::Result<Entry>>),
        from: &Dir,
        to: Dir,
        path: &Path,
    ) -> Result<(), CopyErrorKind> {
        let names = self.to.names(&to, false, path)?;
        let mut open =
            vec![Open { entry: None, created: false, to: to.clone(), name: OsString::new(), names }];
        let mut at = PathBuf::new();
        // The source of the directory that is being filled, opened when it has a file.
        let mut source: Option<Dir> = None;
        // Where those are that others are links to.
        let mut targets: HashMap<usize, PathBuf> = HashMap::new();
        for (i, entry) in entries.enumerate() {
            let entry = entry.map_err(CopyErrorKind::List)?;
            if group.list.targets.binary_search(&i).is_ok() {
                targets.insert(i, entry.path.clone());
            }
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            while at != parent && open.len() > 1 {
                self.close(&mut open, path)?;
                at.pop();
                source = None;
            }
            let (Some(place), Some(name)) = (open.last_mut(), entry.path.file_name()) else { continue };
            let target = path.join(&entry.path);
            if entry.kind == EntryKind::Directory {
                let (to, name, created) = self.to.enter(&place.to, &mut place.names, name, &target)?;
                if entry.implied && !created {
                    // As BuildKit does for `--parents`.
                    place
                        .to
                        .set_mode(&name, entry.source_mode)
                        .map_err(self.to.io("set the mode of", &target))?;
                }
                let names = self.to.names(&to, created, &target)?;
                at.clone_from(&entry.path);
                open.push(Open { entry: Some(entry), created, to, name, names });
                source = None;
                continue;
            }
            if let EntryKind::HardLink { to: first, .. } = &entry.kind
                && let Some(first) = targets.get(first)
                && self.link(first, &to, (&place.to, &mut place.names, name), &target)?
            {
                continue;
            }
            let dest = place.to.clone();
            let dir = match source.take() {
                Some(dir) => dir,
                None => from.descend(parent).map_err(CopyErrorKind::io("open", group.source_path(&entry)))?,
            };
            self.leaf(group, &entry, (&dir, name), (&dest, &mut place.names, name), &target)?;
            source = Some(dir);
        }
        while open.len() > 1 {
            self.close(&mut open, path)?;
        }
        Ok(())
    }

    /// Leaves the innermost directory.
    fn close(&mut self, open: &mut Vec<Open>, path: &Path) -> Result<(), CopyErrorKind> {
        let Some(done) = open.pop() else { return Ok(()) };
        let (Some(parent), Some(entry)) = (open.last(), &done.entry) else { return Ok(()) };
        if entry.implied && !done.created {
            return Ok(());
        }
        let dir = parent.to.clone();
        self.stats.directories += 1;
        self.metadata(entry, &dir, &done.name, &path.join(&entry.path))
    }

    /// Gives an earlier file of the same copy another name. False where the file system cannot, or the earlier
    /// one may have gone by another name.
    fn link(
        &mut self,
        first: &Path,
        top: &Dir,
        (dir, names, name): (&Dir, &mut Names, &OsStr),
        path: &Path,
    ) -> Result<bool, CopyErrorKind> {
        if self.to.dialect.is_windows() {
            return Ok(false);
        }
        let Some(file) = first.file_name() else { return Ok(false) };
        let name = self.to.clear(dir, names, name, path)?;
        let parent = first.parent().unwrap_or(Path::new(""));
        let from = top.descend(parent).map_err(self.to.io("open", parent))?;
        if dir.make_hard_link((&from, file), &name).is_err() {
            return Ok(false);
        }
        self.stats.files += 1;
        Ok(true)
    }

    /// Writes something that is no directory.
    fn leaf(
        &mut self,
        group: &Group,
        entry: &Entry,
        (from, source): (&Dir, &OsStr),
        (dir, names, name): (&Dir, &mut Names, &OsStr),
        path: &Path,
    ) -> Result<(), CopyErrorKind> {
        let name = &*self.to.clear(dir, names, name, path)?;
        let node = |kind, rdev| dir.make_node(name, kind, rdev).map_err(self.to.io("create", path));
        match &entry.kind {
            EntryKind::File { .. } | EntryKind::HardLink { .. } => {
                let from = from.file(source).map_err(CopyErrorKind::io("open", group.source_path(entry)))?;
                let file = dir.make_file(name).map_err(self.to.io("create", path))?;
                self.fill(group, entry, from, file, path)?;
                self.stats.attributes_lost += dir.describe(name, &entry.xattrs);
                return Ok(());
            }
            EntryKind::Symlink { target } => {
                dir.make_symlink(target, name).map_err(self.to.io("create the link", path))?;
            }
            EntryKind::Fifo => node(Kind::Fifo, 0)?,
            EntryKind::CharDevice { rdev } => node(Kind::CharDevice, *rdev)?,
            EntryKind::BlockDevice { rdev } => node(Kind::BlockDevice, *rdev)?,
            EntryKind::Directory => {}
        }
        self.stats.files += 1;
        self.metadata(entry, dir, name, path)
    }

    /// Copies a file's bytes, makes sure that they are the selected ones, and then all that is said of it.
    fn fill(
        &mut self,
        group: &Group,
        entry: &Entry,
        mut from: File,
        mut to: File,
        path: &Path,
    ) -> Result<(), CopyErrorKind> {
        let source = group.source_path(entry);
        let before = file_meta(&from).map_err(CopyErrorKind::io("look at", &source))?;
        let bytes = content::copy(&mut from, &mut to, &before).map_err(self.to.io("write", path))?;
        still(group, entry, &mut from, &before)?;
        self.stats.bytes += bytes;
        self.file_metadata(entry, &to, path)
    }

    /// As [`metadata`](Self::metadata), by the open file.
    fn file_metadata(&mut self, entry: &Entry, file: &File, path: &Path) -> Result<(), CopyErrorKind> {
        let (uid, gid) = self.to.owner.unwrap_or((entry.uid, entry.gid));
        self.stats.files += 1;
        let lost = write_metadata(file, (uid, gid), entry.mode, &entry.xattrs, entry.mtime)
            .map_err(self.to.io("set the owner, mode and time of", path))?;
        self.stats.attributes_lost += lost;
        Ok(())
    }

    /// Owner first: changing it takes set-user-ID bits and capabilities away.
    fn metadata(&mut self, entry: &Entry, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), CopyErrorKind> {
        let (uid, gid) = self.to.owner.unwrap_or((entry.uid, entry.gid));
        dir.set_owner(name, uid, gid).map_err(self.to.io("set the owner of", path))?;
        if !matches!(entry.kind, EntryKind::Symlink { .. }) {
            dir.set_mode(name, entry.mode).map_err(self.to.io("set the mode of", path))?;
        }
        for (key, value) in &entry.xattrs {
            if dir.set_xattr(name, key, value).is_err() {
                // As BuildKit: not every file system takes every attribute, nor from everybody.
                self.stats.attributes_lost += 1;
            }
        }
        match entry.mtime {
            Some(time) => dir.set_mtime(name, time).map_err(self.to.io("set the time of", path)),
            None => Ok(()),
        }
    }
}

/// Makes sure that a file that was just read was what was selected: it has not been touched since, or it
/// still has the same content.
pub(super) fn still(
    group: &Group,
    entry: &Entry,
    file: &mut File,
    before: &Meta,
) -> Result<(), CopyErrorKind> {
    let source = group.source_path(entry);
    let look = |file: &File| file_meta(file).map_err(CopyErrorKind::io("look at", &source));
    let steady = look(file)?.file_stat() == before.file_stat();
    if steady && entry.stat == Some(before.file_stat()) {
        return Ok(());
    }
    let mut digester = FileDigester::new();
    io::Seek::rewind(file).map_err(CopyErrorKind::io("read", &source))?;
    io::copy(file, &mut digester).map_err(CopyErrorKind::io("read", &source))?;
    let found = digester.finish();
    let same = matches!(&entry.kind,
        EntryKind::File { digest, .. } | EntryKind::HardLink { digest, .. } if *digest == found);
    if same && look(file)?.file_stat() == before.file_stat() {
        return Ok(());
    }
    Err(CopyErrorKind::Changed { path: source.display().to_string() })
}
