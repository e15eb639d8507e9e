//! Unpacking a Windows layer's tar over a tree.
//!
//! The tar is hostile. Every path is walked name by name along handles; a link in the way, whoever planted it, is an
//! error and never followed. Names go to the kernel as they are, so `con` and `dot.` are files, and `a:b` is a
//! stream of `a` because the layer's format says so and nothing else. Whiteouts take what lower layers have,
//! wherever in the tar they stand.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::link::{self, Link};
use super::table::{Note, Notes};
use super::walk::{Opened, join, split};
use crate::digest::{Digest, Digester};
use crate::layer::tar::{Chunk, Entry, Reader, Time, shown};
use crate::layer::windows::{self, Attributes, Metadata, ReadKind, Top, fold};
use crate::layer::{Ownership, UnpackError};
use crate::nt::{self, Dir, FileTime, Kind, Times};

/// Unpacks all entries of `reader` over the tree `root`, of which `notes` tell what it cannot hold.
pub(crate) fn apply<R: Read>(
    reader: &mut Reader<R>,
    root: &Dir,
    notes: &mut Notes,
    ownership: Ownership,
) -> Result<(), UnpackError> {
    let mut unpack =
        Unpack { root, notes, ownership, made: BTreeMap::new(), dirs: BTreeMap::new(), way: Vec::new() };
    while let Some(entry) = reader.next_entry()? {
        let at = At { entry: &entry };
        let Some(read) = windows::read(&entry).map_err(|e| at.format(&e))? else {
            continue;
        };
        if read.top == Top::Files {
            unpack.entry(&at, read, reader)?;
        }
    }
    unpack.finish()
}

struct Unpack<'a> {
    root: &'a Dir,
    notes: &'a mut Notes,
    ownership: Ownership,
    /// What this layer has made, by folded path: its spelling where it is no directory.
    made: BTreeMap<Vec<u8>, Option<String>>,
    /// What its directories get once everything is in them.
    dirs: BTreeMap<String, (Metadata, Time)>,
    /// The last parent directory and those on the way to it: entries come directory by directory.
    way: Vec<(String, Dir)>,
}

/// The entry that is at work, for errors.
struct At<'a> {
    entry: &'a Entry,
}

impl At<'_> {
    fn impossible(&self, why: impl Into<String>) -> UnpackError {
        UnpackError::Impossible { entry: shown(&self.entry.path), why: why.into() }
    }

    fn format(&self, error: &windows::FormatError) -> UnpackError {
        let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        self.impossible(format!("{error}{why}"))
    }

    fn io(&self, action: &'static str) -> impl Fn(io::Error) -> UnpackError + use<> {
        let entry = shown(&self.entry.path);
        move |source| UnpackError::Io { action, entry: entry.clone(), source }
    }

    /// A path of names; their format was checked, and with it that they are text.
    fn path(&self, names: &[Vec<u8>]) -> Result<String, UnpackError> {
        String::from_utf8(names.join(&b'/')).map_err(|_| self.impossible("its name is no Unicode"))
    }
}

impl Unpack<'_> {
    fn entry<R: Read>(
        &mut self,
        at: &At<'_>,
        read: windows::Read,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let path = at.path(&read.path)?;
        if path.is_empty() {
            match read.kind {
                ReadKind::Opaque => return self.hide_below(at, ""),
                _ => {
                    // What the root says is kept for those who read the layer's successors; on the disk it is the
                    // store's directory.
                    if read.metadata.security.is_some() {
                        let said = self.notes.said.keep(&read.metadata);
                        self.notes.set("", Note { said, ..Note::default() });
                    }
                    return Ok(());
                }
            }
        }
        match read.kind {
            ReadKind::Whiteout => return self.whiteout(at, &path),
            ReadKind::Opaque => return self.hide_below(at, &path),
            ReadKind::Stream { name, .. } => {
                let name = String::from_utf8(name).map_err(|_| at.impossible("its name is no Unicode"))?;
                return self.stream(at, &path, &name, reader);
            }
            _ => {}
        }
        let name = split(&path).1.to_owned();
        if read.kind == ReadKind::Directory {
            self.directory(at, &path, &name, read.metadata, read.mtime)?;
            self.made.insert(fold(path.as_bytes()), None);
            return Ok(());
        }
        // One of two files that Windows cannot tell apart would be lost.
        if let Some(Some(other)) = self.made.get(&fold(path.as_bytes()))
            && *other != path
        {
            return Err(at.impossible(format!("it is the same name as `{other}` of this layer to Windows")));
        }
        match read.kind {
            ReadKind::HardLink { target } => self.hard_link(at, &path, &name, &target)?,
            ReadKind::Link { target } => {
                self.clear(at, &path, &name)?;
                self.link(at, &path, &name, &target, &read.metadata, read.mtime)?;
            }
            _ => {
                self.clear(at, &path, &name)?;
                self.file(at, &path, &name, &read.metadata, read.mtime, reader)?;
            }
        }
        self.made.insert(fold(path.as_bytes()), Some(path));
        Ok(())
    }

    /// The directory that `path` is in, made where it is missing.
    fn parent(&mut self, at: &At<'_>, path: &str) -> Result<&Dir, UnpackError> {
        let names: Vec<&str> = split(path).0.split('/').filter(|name| !name.is_empty()).collect();
        let same = self.way.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.way.truncate(same);
        for (depth, name) in names.iter().enumerate().skip(same) {
            let parent = self.way.last().map_or(self.root, |(_, dir)| dir);
            let done = || names.get(..=depth).unwrap_or_default().join("/");
            let name = *name;
            let dir = match parent.stat(name.as_ref()).map_err(at.io("find the place of"))? {
                None => parent.make_dir(name.as_ref()).map_err(at.io("make the directory of"))?,
                Some(stat) => match stat.kind {
                    Kind::Directory => parent.dir(name.as_ref()).map_err(at.io("open the place of"))?,
                    Kind::File => return Err(at.impossible(format!("`{}` is not a directory", done()))),
                    Kind::Reparse { .. } => {
                        return Err(at.impossible(format!("`{}` is a link, which is not followed", done())));
                    }
                },
            };
            self.way.push((name.to_owned(), dir));
        }
        Ok(self.way.last().map_or(self.root, |(_, dir)| dir))
    }

    /// Removes what has the name of an entry.
    fn clear(&mut self, at: &At<'_>, path: &str, name: &str) -> Result<(), UnpackError> {
        let dir = self.parent(at, path)?;
        dir.remove(name.as_ref()).map_err(|(_, e)| at.io("replace")(e))?;
        self.forget(path);
        Ok(())
    }

    fn forget(&mut self, path: &str) {
        self.notes.forget(path);
        let (from, to) = (format!("{path}/"), format!("{path}0"));
        self.dirs.retain(|dir, _| dir != path && !(from.as_str()..to.as_str()).contains(&dir.as_str()));
        // The handles kept may be of it, spelled in any way, or of something below.
        let depth = path.split('/').count();
        let open: Vec<&str> = self.way.iter().take(depth).map(|(name, _)| name.as_str()).collect();
        if fold(open.join("/").as_bytes()) == fold(path.as_bytes()) {
            self.way.truncate(depth - 1);
        }
    }

    fn directory(
        &mut self,
        at: &At<'_>,
        path: &str,
        name: &str,
        metadata: Metadata,
        mtime: Time,
    ) -> Result<(), UnpackError> {
        let dir = self.parent(at, path)?;
        let there = dir.stat(name.as_ref()).map_err(at.io("look at"))?;
        match there.map(|stat| stat.kind) {
            Some(Kind::Directory) => {}
            Some(_) => {
                self.clear(at, path, name)?;
                self.parent(at, path)?.make_dir(name.as_ref()).map_err(at.io("make"))?;
            }
            None => drop(dir.make_dir(name.as_ref()).map_err(at.io("make"))?),
        }
        let mut note = self.notes.get(path);
        note.said = self.notes.said.keep(&metadata);
        self.notes.set(path, note);
        self.dirs.insert(path.to_owned(), (metadata, mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        at: &At<'_>,
        path: &str,
        name: &str,
        metadata: &Metadata,
        mtime: Time,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let ownership = self.ownership;
        let dir = self.parent(at, path)?;
        let mut file = dir.make_file(name.as_ref()).map_err(at.io("make"))?;
        let (_, content) = fill(&mut file, reader, at)?;
        drop(file);
        dress(dir, name, metadata, mtime, ownership).map_err(at.io("set what belongs to"))?;
        let said = self.notes.said.keep(metadata);
        self.notes.set(path, Note { content: Some(content), said, ..Note::default() });
        Ok(())
    }

    fn stream<R: Read>(
        &mut self,
        at: &At<'_>,
        path: &str,
        stream: &str,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let name = split(path).1;
        let dir = self.parent(at, path)?;
        let stat = dir.stat(name.as_ref()).map_err(at.io("look at"))?;
        let Some(stat) = stat.filter(|stat| !matches!(stat.kind, Kind::Reparse { .. })) else {
            return Err(at.impossible(format!("it is a stream of `{path}`, which is no file or directory")));
        };
        let mut file = dir.make_stream(name.as_ref(), stream.as_ref()).map_err(at.io("make"))?;
        let digest = fill(&mut file, reader, at)?;
        drop(file);
        // Writing a stream changes the file's own times.
        dir.set_basic(name.as_ref(), unchanged(stat.times), 0).map_err(at.io("set the time of"))?;
        let mut note = self.notes.get(path);
        note.streams.insert(stream.to_owned(), digest);
        self.notes.set(path, note);
        Ok(())
    }

    fn hard_link(
        &mut self,
        at: &At<'_>,
        path: &str,
        name: &str,
        target: &[Vec<u8>],
    ) -> Result<(), UnpackError> {
        let target = at.path(target)?;
        let missing = || at.impossible(format!("its target `{target}` is not there, or no file"));
        let target_name = split(&target).1;
        let from = self.parent(at, &target)?.try_clone().map_err(at.io("find the target of"))?;
        let stat = from.stat(target_name.as_ref()).map_err(at.io("find the target of"))?;
        let stat = stat.filter(nt::Stat::is_file).ok_or_else(missing)?;
        let dir = self.parent(at, path)?;
        if dir.stat(name.as_ref()).map_err(at.io("look at"))?.is_some_and(|there| there.id == stat.id) {
            return Ok(());
        }
        self.clear(at, path, name)?;
        // What was cleared may have been above the target.
        let dir = self.parent(at, path)?;
        from.link(target_name.as_ref(), dir, name.as_ref()).map_err(at.io("link"))?;
        let note = self.notes.get(&target);
        self.notes.set(path, note);
        Ok(())
    }

    fn link(
        &mut self,
        at: &At<'_>,
        path: &str,
        name: &str,
        target: &[u8],
        metadata: &Metadata,
        mtime: Time,
    ) -> Result<(), UnpackError> {
        let target = std::str::from_utf8(target).map_err(|_| at.impossible("its target is no Unicode"))?;
        let link = Link { mount_point: metadata.mount_point, target: target.to_owned() };
        let data = link::build(&link).ok_or_else(|| at.impossible("its target is too long"))?;
        let ownership = self.ownership;
        let says_directory = metadata.attributes.is_some_and(|a| a.contains(Attributes::DIRECTORY));
        let dir = self.parent(at, path)?;
        if metadata.mount_point || says_directory {
            drop(dir.make_dir(name.as_ref()).map_err(at.io("make"))?);
        } else {
            drop(dir.make_file(name.as_ref()).map_err(at.io("make"))?);
        }
        dir.set_reparse(name.as_ref(), &data).map_err(at.io("make the link"))?;
        dress(dir, name, metadata, mtime, ownership).map_err(at.io("set what belongs to"))?;
        let said = self.notes.said.keep(metadata);
        self.notes.set(path, Note { reparse: Some(Digest::of(&data)), said, ..Note::default() });
        Ok(())
    }

    /// Takes what lower layers have at `path`; what this layer has made there stays.
    fn whiteout(&mut self, at: &At<'_>, path: &str) -> Result<(), UnpackError> {
        let folded = fold(path.as_bytes());
        let (from, to) = ([&folded[..], b"/"].concat(), [&folded[..], b"0"].concat());
        let has_made = self.made.contains_key(&folded) || self.made.range(from..to).next().is_some();
        if has_made {
            return self.hide_below(at, path);
        }
        // Where there is no directory there is nothing to hide.
        let Some(dir) = self.existing(at, split(path).0)? else {
            return Ok(());
        };
        dir.remove(split(path).1.as_ref()).map_err(|(_, e)| at.io("remove what it hides:")(e))?;
        self.forget(path);
        Ok(())
    }

    /// The directory at `path`; none where there is something else, or nothing.
    fn existing(&self, at: &At<'_>, path: &str) -> Result<Option<Dir>, UnpackError> {
        let mut dir = self.root.try_clone().map_err(at.io("open the place of"))?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let stat = dir.stat(name.as_ref()).map_err(at.io("find the place of"))?;
            if stat.is_none_or(|stat| !stat.is_dir()) {
                return Ok(None);
            }
            dir = dir.dir(name.as_ref()).map_err(at.io("open the place of"))?;
        }
        Ok(Some(dir))
    }

    /// Takes what lower layers have in the directory `path`; what this layer has made stays.
    fn hide_below(&mut self, at: &At<'_>, path: &str) -> Result<(), UnpackError> {
        let mut todo = vec![path.to_owned()];
        while let Some(path) = todo.pop() {
            let Some(dir) = self.existing(at, &path)? else { continue };
            for entry in dir.list().map_err(at.io("list what it hides:"))? {
                let Some(name) = entry.name.to_str() else { continue };
                let below = join(&path, name);
                let folded = fold(below.as_bytes());
                let (from, to) = ([&folded[..], b"/"].concat(), [&folded[..], b"0"].concat());
                let is_made = self.made.contains_key(&folded);
                if is_made || self.made.range(from..to).next().is_some() {
                    if entry.stat.is_dir() {
                        todo.push(below);
                    }
                    continue;
                }
                dir.remove(&entry.name).map_err(|(_, e)| at.io("remove what it hides:")(e))?;
                self.forget(&below);
            }
        }
        Ok(())
    }

    /// Gives all directories what belongs to them, those inside first.
    fn finish(&mut self) -> Result<(), UnpackError> {
        self.way.clear();
        let mut dirs = Opened::new(self.root);
        for (path, (metadata, mtime)) in std::mem::take(&mut self.dirs).into_iter().rev() {
            let fail = |source| UnpackError::Io { action: "finish directory", entry: path.clone(), source };
            let (parent, name) = split(&path);
            // Spelled as the tree has it or not, it is the same directory.
            let dir = dirs.open(parent).map_err(fail)?;
            dress(dir, name, &metadata, mtime, self.ownership).map_err(fail)?;
        }
        Ok(())
    }
}

/// Writes the content of the entry that `reader` is at; its size and digest.
fn fill<R: Read>(file: &mut File, reader: &mut Reader<R>, at: &At<'_>) -> Result<(u64, Digest), UnpackError> {
    let fail = at.io("write");
    let mut buf = vec![0; usize::try_from(at.entry.size).unwrap_or(usize::MAX).clamp(1, 256 << 10)];
    let zeros = [0; 4096];
    let mut digester = Digester::new();
    loop {
        match reader.chunk(&mut buf)? {
            Chunk::Data(n) => {
                file.write_all(&buf[..n]).map_err(&fail)?;
                digester.update(&buf[..n]);
            }
            Chunk::Hole(n) => {
                let end = digester.size().saturating_add(n);
                let mut left = n;
                while left > 0 {
                    let part = left.min(zeros.len() as u64);
                    digester.update(&zeros[..usize::try_from(part).unwrap_or(0)]);
                    left -= part;
                }
                file.set_len(end).map_err(&fail)?;
                file.seek(SeekFrom::Start(end)).map_err(&fail)?;
            }
            Chunk::End => break,
        }
    }
    let size = digester.size();
    Ok((size, digester.finish()))
}

/// Gives `name` security, attributes and times.
fn dress(dir: &Dir, name: &str, metadata: &Metadata, mtime: Time, ownership: Ownership) -> io::Result<()> {
    if let Some(security) = metadata.security.as_ref().filter(|_| ownership == Ownership::Keep) {
        set_security(dir, name, security.as_bytes())?;
    }
    let created = metadata.created.unwrap_or(mtime);
    let times = Times {
        created: FileTime::from_unix(created.seconds, created.nanoseconds),
        written: FileTime::from_unix(mtime.seconds, mtime.nanoseconds),
        ..Times::default()
    };
    let attributes = metadata.attributes.unwrap_or_default().0 & Attributes::SETTABLE.0;
    dir.set_basic(name.as_ref(), times, if attributes == 0 { nt::attribute::NORMAL } else { attributes })
}

/// Another owner takes the privilege to restore. Who has not got it leaves files with their inherited rights: what
/// the layer says is in the table, and comes back in the layers above.
pub(super) fn set_security(dir: &Dir, name: &str, descriptor: &[u8]) -> io::Result<()> {
    if !nt::privileges().restore {
        return Ok(());
    }
    dir.set_security(name.as_ref(), descriptor)
}

/// The times to set again after something that changes them.
fn unchanged(times: Times) -> Times {
    Times { changed: FileTime(0), accessed: FileTime(0), ..times }
}
