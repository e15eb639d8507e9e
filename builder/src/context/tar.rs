//! Archives as contexts and as ADD's sources, unpacked without leaving the directory they are unpacked in.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use orlop_store::layer::tar::{Chunk, Entry, Kind as TarKind, Reader, TarError};

use super::decompress::decompress;
use super::handle::{Dir, Kind, Time, name_of};
use crate::dialect::{Dialect, PathFault, windows};

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive is damaged, or its compression is.
    #[error("cannot read the archive")]
    Read(#[from] TarError),
    /// An entry would leave the directory in which the archive is unpacked.
    #[error("`{entry}` in the archive leads out of the directory it is unpacked in")]
    Outside {
        /// The entry's path as the archive has it.
        entry: String,
    },
    /// A name that Windows cannot have.
    #[error("`{entry}` in the archive cannot be on Windows: it {fault}")]
    Name {
        /// The entry's path as the archive has it.
        entry: String,
        /// Why.
        fault: PathFault,
    },
    /// A file that a Windows image cannot have.
    #[error("`{entry}` in the archive cannot be on Windows: it is a device or a named pipe")]
    NotOnWindows {
        /// The entry's path as the archive has it.
        entry: String,
    },
    /// Two entries that Windows takes for one.
    #[error(
        "`{entry}` and `{other}` in the archive differ only by case, and on Windows that is the same file"
    )]
    SameName {
        /// The second.
        entry: String,
        /// The first.
        other: String,
    },
    /// A hard link to something that is not there.
    #[error("`{entry}` in the archive is a hard link to `{target}`, which is not there")]
    LinkTarget {
        /// The link.
        entry: String,
        /// What it should lead to.
        target: String,
    },
    /// More files than an archive may hold.
    #[error("the archive has more than {limit} entries")]
    TooMany {
        /// So many it may have.
        limit: u64,
    },
    /// More bytes than an archive may unpack to.
    #[error("the archive unpacks to more than {}: `{entry}` goes beyond", bytes(.limit))]
    TooLarge {
        /// The entry.
        entry: String,
        /// So many it may have.
        limit: u64,
    },
    /// An owner that no system has.
    #[error("`{entry}` in the archive belongs to {id}, which is too large")]
    Owner {
        /// The entry.
        entry: String,
        /// Its owner or group.
        id: u64,
    },
    /// The system said no.
    #[error("cannot {action} `{entry}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The entry, as a path below the directory in which the archive is unpacked.
        entry: String,
        /// Why.
        source: io::Error,
    },
}

impl ArchiveError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Outside { .. } => {
                Some("such an archive is made to do harm, or by accident with `..`".to_owned())
            }
            Self::TooMany { .. } | Self::TooLarge { .. } => {
                Some("a context holds what is copied from it: leave the rest out of the archive".to_owned())
            }
            Self::Name { .. } | Self::NotOnWindows { .. } | Self::SameName { .. } => Some(
                "make the archive again without it, or unpack it in a Linux stage and COPY from there"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, links and nodes.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Extended attributes that the file system does not take, or not from us.
    pub attributes_lost: u64,
}

/// Whom unpacked files belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whom the archive says.
    Archive,
    /// One and the same.
    All(u32, u32),
    /// Whoever unpacks.
    Ours,
}

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries of any kind.
    pub(crate) entries: u64,
    /// Bytes of content, holes of sparse files included.
    pub(crate) bytes: u64,
}

impl Limits {
    /// No limit but the disk.
    pub(crate) const NONE: Self = Self { entries: u64::MAX, bytes: u64::MAX };
}

/// Whether a stream is an archive: something that has an entry.
pub(crate) fn is_archive(stream: impl Read + Send) -> bool {
    decompress(stream).is_ok_and(|stream| matches!(Reader::new(stream).next_entry(), Ok(Some(_))))
}

/// Unpacks an archive into a directory, over what is there: directories are merged, everything else is
/// replaced. A link on the way to an entry is followed as if the directory were the root of the file
/// system. Whiteouts are files like any others here. Into a Windows image goes what such an image can have: no
/// owners, no permission bits, no attributes of Linux.
pub(crate) fn unpack<R: Read>(
    reader: &mut Reader<R>,
    root: &Dir,
    owner: Owner,
    limits: Limits,
    dialect: Dialect,
) -> Result<Unpacked, ArchiveError> {
    let owner = if dialect.is_windows() { Owner::Ours } else { owner };
    let mut unpacker = Unpacker {
        root,
        owner,
        dialect,
        done: Unpacked::default(),
        times: Vec::new(),
        last: None,
        seen: HashMap::new(),
    };
    let (mut entries, mut bytes) = (0u64, 0u64);
    while let Some(entry) = reader.next_entry()? {
        // By what the headers say, so that nothing is written of what goes beyond.
        entries += 1;
        bytes = bytes.saturating_add(entry.size);
        if entries > limits.entries {
            return Err(ArchiveError::TooMany { limit: limits.entries });
        }
        if bytes > limits.bytes {
            return Err(ArchiveError::TooLarge { entry: shown(&entry.path), limit: limits.bytes });
        }
        unpacker.entry(&entry, reader)?;
    }
    // Last of all, because putting something into a directory changes its time; the inner ones first.
    while let Some((path, time)) = unpacker.times.pop() {
        let parent = path.parent().unwrap_or(Path::new(""));
        if let (Ok(dir), Some(name)) = (root.descend(parent), path.file_name()) {
            // A later entry may have put something else there.
            if dir.find(name).ok().flatten().is_some_and(|meta| meta.is_dir()) {
                dir.set_mtime(name, time).map_err(failed("set the time of", &path))?;
            }
        }
    }
    Ok(unpacker.done)
}

struct Unpacker<'a> {
    root: &'a Dir,
    owner: Owner,
    dialect: Dialect,
    done: Unpacked,
    times: Vec<(PathBuf, Time)>,
    /// What the archive has had so far, by folded path; of a Windows image only.
    seen: HashMap<String, PathBuf>,
    /// The directory of the last entry: as written, really, and open. Archives go from neighbour to
    /// neighbour.
    last: Option<(PathBuf, PathBuf, Dir)>,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let entry = path.display().to_string();
    move |source| ArchiveError::Io { action, entry, source }
}

/// A number of bytes for people: in GiB where it is a whole one.
pub(super) fn bytes(count: &u64) -> String {
    match count % (1 << 30) {
        0 => format!("{} GiB", count >> 30),
        _ => format!("{count} bytes"),
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The path of an entry below the directory: without slashes in front and dots.
fn inside(path: &[u8], dialect: Dialect) -> Result<PathBuf, ArchiveError> {
    let mut out = PathBuf::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                if !out.pop() {
                    return Err(ArchiveError::Outside { entry: shown(path) });
                }
            }
            name => {
                // What the machine or the image could not have must not get another meaning there.
                if dialect.is_windows() || cfg!(windows) {
                    let fault = match std::str::from_utf8(name) {
                        Ok(name) => windows::name_fault(name),
                        Err(_) => Some(PathFault::Encoding),
                    };
                    if let Some(fault) = fault {
                        return Err(ArchiveError::Name { entry: shown(path), fault });
                    }
                }
                let name = name_of(name)
                    .ok_or_else(|| ArchiveError::Name { entry: shown(path), fault: PathFault::Encoding })?;
                out.push(name);
            }
        }
    }
    Ok(out)
}

/// Times outside these are none that any file system keeps: 1970 is as good.
fn time(time: orlop_store::layer::tar::Time) -> Time {
    const LAST: i64 = i64::MAX / 1_000_000_000;
    match time.seconds {
        0..LAST => Time { seconds: time.seconds, nanoseconds: time.nanoseconds.min(999_999_999) },
        _ => Time::default(),
    }
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), ArchiveError> {
        let written = inside(&entry.path, self.dialect)?;
        if self.dialect.is_windows() {
            self.fits(entry, &written)?;
        }
        let Some(name) = written.file_name().map(OsStr::to_owned) else {
            // The directory itself was there before.
            return Ok(());
        };
        let parent = written.parent().unwrap_or(Path::new(""));
        let (real, dir) = self.parent(parent)?;
        let name = match dir.spelled(&name, self.dialect).map_err(failed("look at", &written))? {
            Some((there, _)) => there,
            None => name,
        };
        let path = real.join(&name);
        if entry.kind == TarKind::Directory {
            return self.directory(entry, &written, &dir, &name, path);
        }
        if dir.find(&name).map_err(failed("look at", &path))?.is_some() {
            dir.remove(&name).map_err(failed("replace", &path))?;
            self.last = None;
        }
        let node = |kind| dir.make_device(&name, kind, entry.device).map_err(failed("create", &path));
        match entry.kind {
            TarKind::File => {
                let mut file = dir.make_file(&name).map_err(failed("create", &path))?;
                self.content(reader, &mut file, &path)?;
            }
            TarKind::HardLink => self.hard_link(entry, &dir, &name, &path)?,
            TarKind::Symlink => {
                let target = name_of(&entry.link).ok_or_else(|| ArchiveError::Name {
                    entry: shown(&entry.path),
                    fault: PathFault::Encoding,
                })?;
                dir.make_symlink(&target, &name).map_err(failed("create the link", &path))?;
            }
            TarKind::Fifo => node(Kind::Fifo)?,
            TarKind::CharDevice => node(Kind::CharDevice)?,
            TarKind::BlockDevice => node(Kind::BlockDevice)?,
            TarKind::Directory => {}
        }
        self.done.files += 1;
        self.metadata(entry, &dir, &name, &path)?;
        dir.set_mtime(&name, time(entry.mtime)).map_err(failed("set the time of", &path))
    }

    /// Whether an entry can be in a Windows image.
    fn fits(&mut self, entry: &Entry, written: &Path) -> Result<(), ArchiveError> {
        if matches!(entry.kind, TarKind::Fifo | TarKind::CharDevice | TarKind::BlockDevice) {
            return Err(ArchiveError::NotOnWindows { entry: shown(&entry.path) });
        }
        // The directories on the way too: `A/x` and `a/y` cannot both be.
        for path in written.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let folded = windows::upper(&path.to_string_lossy());
            match self.seen.get(&folded) {
                Some(first) if first == path => break,
                Some(first) => {
                    let other = first.display().to_string();
                    return Err(ArchiveError::SameName { entry: path.display().to_string(), other });
                }
                None => drop(self.seen.insert(folded, path.to_owned())),
            }
        }
        Ok(())
    }

    /// The directory that an entry goes into, made where the archive has no entry for it.
    fn parent(&mut self, written: &Path) -> Result<(PathBuf, Dir), ArchiveError> {
        if let Some((_, real, dir)) = self.last.as_ref().filter(|(last, ..)| last == written) {
            return Ok((real.clone(), dir.clone()));
        }
        let found = self
            .root
            .resolve(written, true, self.dialect, &mut |_, _| true)
            .map_err(failed("look at", written))?;
        if found.meta.is_some_and(|meta| !meta.is_dir()) {
            return Err(failed("look into", written)(io::ErrorKind::NotADirectory.into()));
        }
        let mut dir = found.dir;
        if found.meta.is_none() {
            for name in &found.rest {
                dir.make_dir(name).map_err(failed("create the directory", written))?;
                match self.owner {
                    Owner::Archive => {
                        dir.set_owner(name, 0, 0).map_err(failed("set the owner of", written))?
                    }
                    Owner::All(..) | Owner::Ours => {}
                }
                dir.set_mode(name, 0o755).map_err(failed("set the mode of", written))?;
                dir = dir.dir(name).map_err(failed("open", written))?;
            }
        }
        self.last = Some((written.to_owned(), found.path.clone(), dir.clone()));
        Ok((found.path, dir))
    }

    fn directory(
        &mut self,
        entry: &Entry,
        written: &Path,
        dir: &Dir,
        name: &OsString,
        path: PathBuf,
    ) -> Result<(), ArchiveError> {
        let (mut dir, mut name, mut path) = (dir.clone(), name.clone(), path);
        if dir.find(&name).map_err(failed("look at", &path))?.is_some_and(|meta| meta.kind == Kind::Symlink) {
            // A link where the archive has a directory is followed: `lib -> usr/lib` in an image.
            let found = self
                .root
                .resolve(written, true, self.dialect, &mut |_, _| true)
                .map_err(failed("look at", written))?;
            let Some(last) = found.path.file_name().map(OsStr::to_owned) else { return Ok(()) };
            let parent = found.path.parent().unwrap_or(Path::new("")).to_owned();
            (path, dir) = self.parent(&parent)?;
            path.push(&last);
            name = last;
        }
        match dir.find(&name).map_err(failed("look at", &path))? {
            Some(meta) if meta.is_dir() => {}
            found => {
                if found.is_some() {
                    dir.remove(&name).map_err(failed("replace", &path))?;
                    self.last = None;
                }
                dir.make_dir(&name).map_err(failed("create the directory", &path))?;
            }
        }
        self.done.directories += 1;
        self.metadata(entry, &dir, &name, &path)?;
        self.times.push((path, time(entry.mtime)));
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), ArchiveError> {
        let missing = || ArchiveError::LinkTarget { entry: shown(&entry.path), target: shown(&entry.link) };
        let target = inside(&entry.link, self.dialect).map_err(|error| match error {
            ArchiveError::Outside { .. } => ArchiveError::Outside { entry: shown(&entry.path) },
            other => other,
        })?;
        let found = self
            .root
            .resolve(&target, false, self.dialect, &mut |_, _| true)
            .map_err(failed("look at", &target))?;
        match (found.meta, found.rest.first()) {
            (Some(meta), Some(file)) if !meta.is_dir() => {
                dir.make_hard_link((&found.dir, file), name).map_err(failed("create the link", path))
            }
            _ => Err(missing()),
        }
    }

    fn content<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        file: &mut File,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let mut buffer = vec![0; 128 * 1024];
        let (mut at, mut hole_at_end) = (0u64, false);
        loop {
            match reader.chunk(&mut buffer)? {
                Chunk::Data(n) => {
                    if hole_at_end {
                        file.seek(SeekFrom::Start(at)).map_err(failed("write", path))?;
                    }
                    file.write_all(buffer.get(..n).unwrap_or_default()).map_err(failed("write", path))?;
                    at = at.saturating_add(n as u64);
                    hole_at_end = false;
                }
                Chunk::Hole(n) => {
                    at = at.saturating_add(n);
                    hole_at_end = true;
                }
                Chunk::End => break,
            }
        }
        if hole_at_end {
            file.set_len(at).map_err(failed("write", path))?;
        }
        self.done.bytes = self.done.bytes.saturating_add(at);
        Ok(())
    }

    fn metadata(&mut self, entry: &Entry, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), ArchiveError> {
        let id = |id: u64| {
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| ArchiveError::Owner { entry: shown(&entry.path), id })
        };
        let owner = match self.owner {
            Owner::Archive => Some((id(entry.uid)?, id(entry.gid)?)),
            Owner::All(uid, gid) => Some((uid, gid)),
            Owner::Ours => None,
        };
        if let Some((uid, gid)) = owner {
            dir.set_owner(name, uid, gid).map_err(failed("set the owner of", path))?;
        }
        // A hard link to a link has no mode of its own either.
        let is_link = dir.stat(name).map_err(failed("look at", path))?.kind == Kind::Symlink;
        let mode = match (self.dialect, entry.kind) {
            (Dialect::Linux, _) => entry.mode & 0o7777,
            (Dialect::Windows, TarKind::Directory) => 0o755,
            (Dialect::Windows, _) => 0o644,
        };
        if !is_link {
            dir.set_mode(name, mode).map_err(failed("set the mode of", path))?;
        }
        if self.dialect.is_windows() {
            self.done.attributes_lost += entry.xattrs.len() as u64;
            return Ok(());
        }
        for (key, value) in &entry.xattrs {
            let set = name_of(key).is_some_and(|key| dir.set_xattr(name, &key, value).is_ok());
            if !set {
                self.done.attributes_lost += 1;
            }
        }
        Ok(())
    }
}
