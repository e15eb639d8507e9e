//! Files by handle and name. No path is ever given to the system as a whole: a walk that was begun
//! inside a directory stays inside, whatever is renamed or linked meanwhile.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::FileStat;
use crate::dialect::{Dialect, windows as names};

#[cfg(any(windows, test))]
mod reparse;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Dir, copy_fast, file_meta, holes, name_of, os_string, write_metadata};
#[cfg(windows)]
pub(crate) use windows::{Dir, copy_fast, file_meta, name_of, os_string, write_metadata};

/// A moment: seconds since 1970 and nanoseconds after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    /// Seconds; negative before 1970.
    pub(crate) seconds: i64,
    /// Nanoseconds, below 10⁹.
    pub(crate) nanoseconds: u32,
}

impl Time {
    pub(crate) fn nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
    Socket,
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// 512-byte units that are really stored; fewer than the size says in a sparse file.
    #[cfg(unix)]
    pub(crate) blocks: u64,
    pub(crate) links: u64,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) rdev: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
}

impl Meta {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// The identity under which a content's digest is remembered.
    pub(crate) fn file_stat(&self) -> FileStat {
        FileStat {
            dev: self.dev,
            ino: self.ino,
            size: self.size,
            mtime_ns: self.mtime.nanos(),
            ctime_ns: self.ctime.nanos(),
        }
    }
}

/// Extended attributes: names and values.
pub(crate) type Xattrs = Vec<(OsString, Vec<u8>)>;

/// Where a path leads within a root.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The real path below the root, free of links and dots; empty for the root.
    pub(crate) path: PathBuf,
    /// The last directory on the way that exists. For a path that exists and is no directory, or
    /// whose last link was not to be followed, the one that holds it; for a directory, itself.
    pub(crate) dir: Dir,
    /// What the path leads to; `None` where nothing is there.
    pub(crate) meta: Option<Meta>,
    /// The last components of `path` that `dir` does not have: those to create, or the one name of
    /// a file in `dir`.
    pub(crate) rest: Vec<OsString>,
}

/// As many links as Linux follows in one path, and then some for the links of the root's own.
const MAX_LINKS: usize = 255;

impl Dir {
    /// The same, `None` where there is no such entry.
    pub(crate) fn find(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match self.stat(name) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The real name of an entry that `name` means to an image of that system, `None` where there is none.
    /// Windows knows no case, and of several names that differ by nothing else the same one is meant first.
    pub(crate) fn spelled(&self, name: &OsStr, dialect: Dialect) -> io::Result<Option<(OsString, Meta)>> {
        let found = self.find(name)?;
        let there = || found.map(|meta| (name.to_owned(), meta));
        // A file system of Windows finds what is spelled otherwise by itself, and does not say how it is spelled.
        let settled = if cfg!(windows) { found.is_none() } else { found.is_some() };
        if settled || !dialect.is_windows() {
            return Ok(there());
        }
        let Some(text) = name.to_str() else { return Ok(there()) };
        let names = self.list()?;
        let same = |other: &&OsString| other.to_str().is_some_and(|other| names::same_name(other, text));
        // Not among the names in any case: a short name (`PROGRA~1`), which nothing in a build is called by.
        match names.iter().find(|other| *other == name).or_else(|| names.iter().find(same)) {
            Some(other) => Ok(self.find(other)?.map(|meta| (other.clone(), meta))),
            None => Ok(None),
        }
    }

    /// Follows `path` as a process would whose root directory this is: `..` and absolute links stop
    /// at it. `visit` sees the real path of every component that exists before it is used, and may
    /// hide it; a hidden component counts as missing.
    pub(crate) fn resolve(
        &self,
        path: &Path,
        follow_last: bool,
        dialect: Dialect,
        visit: &mut dyn FnMut(&Path, &Meta) -> bool,
    ) -> io::Result<Resolved> {
        let mut todo: Vec<OsString> = Vec::new();
        push_components(&mut todo, path);
        let mut stack: Vec<(Dir, OsString)> = Vec::new();
        let mut missing: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                // Of what does not exist, only the name can be taken back.
                if missing.pop().is_none() {
                    stack.pop();
                }
                continue;
            }
            let dir = stack.last().map_or(self, |(dir, _)| dir);
            if !missing.is_empty() {
                missing.push(name);
                continue;
            }
            let Some((name, meta)) = dir.spelled(&name, dialect)? else {
                missing.push(name);
                continue;
            };
            let real = real_path(&stack, Some(&name));
            if !visit(&real, &meta) {
                missing.push(name);
                continue;
            }
            match meta.kind {
                Kind::Directory => {
                    let next = dir.dir(&name)?;
                    stack.push((next, name));
                }
                Kind::Symlink if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(too_many_links());
                    }
                    let target = dir.read_link(&name)?;
                    if push_target(&mut todo, &target, dialect)? {
                        stack.clear();
                    }
                }
                _ if todo.is_empty() => {
                    let dir = dir.clone();
                    return Ok(Resolved { path: real, dir, meta: Some(meta), rest: vec![name] });
                }
                _ => return Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        let mut path = real_path(&stack, None);
        path.extend(&missing);
        let dir = stack.pop().map_or_else(|| self.clone(), |(dir, _)| dir);
        let meta = if missing.is_empty() { Some(dir.meta()?) } else { None };
        Ok(Resolved { path, dir, meta, rest: missing })
    }
}

/// Names in a directory in few bytes each, sorted by these: one directory may have a million.
#[derive(Debug, Default)]
pub(crate) struct NameList {
    bytes: Vec<u8>,
    /// Where each begins and how long it is, the first last.
    places: Vec<(u32, u16)>,
}

impl NameList {
    /// Of those that `each` hands over.
    pub(crate) fn of(
        each: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let Self { mut bytes, mut places } = Self::default();
        each(&mut |name| {
            let place = u32::try_from(bytes.len()).ok().zip(u16::try_from(name.len()).ok());
            places.push(place.ok_or_else(|| io::Error::other("too many names"))?);
            bytes.extend_from_slice(name);
            Ok(())
        })?;
        let name = |(start, length): &(u32, u16)| &bytes[*start as usize..][..usize::from(*length)];
        places.sort_unstable_by(|a, b| name(b).cmp(name(a)));
        Ok(Self { bytes, places })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes the first, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<OsString> {
        let taken = self.places.split_off(self.places.len().saturating_sub(most)).into_iter().rev();
        taken
            .filter_map(|(start, length)| os_string(&self.bytes[start as usize..][..usize::from(length)]))
            .collect()
    }
}

/// A name as the bytes that a digest or an archive has of it.
pub(crate) fn name_bytes(name: &OsStr) -> &[u8] {
    // On Unix those of the name itself; on Windows its UTF-8, loose halves of a pair in the way of WTF-8.
    name.as_encoded_bytes()
}

fn too_many_links() -> io::Error {
    io::Error::other("too many symbolic links")
}

fn real_path(stack: &[(Dir, OsString)], last: Option<&OsString>) -> PathBuf {
    stack.iter().map(|(_, name)| name).chain(last).collect()
}

/// Puts the components of `path` on a stack of things to do, the first on top.
fn push_components(todo: &mut Vec<OsString>, path: &Path) {
    let new: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect();
    todo.extend(new.into_iter().rev());
}

/// Puts the components of a link's target on the stack; whether it is absolute.
fn push_target(todo: &mut Vec<OsString>, target: &OsStr, dialect: Dialect) -> io::Result<bool> {
    let text = match dialect {
        Dialect::Linux => {
            let path = Path::new(target);
            push_components(todo, path);
            return Ok(path.has_root());
        }
        Dialect::Windows => target.to_str().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?,
    };
    // A junction's target is a path of the object manager.
    let text = text.strip_prefix(r"\??\").or_else(|| text.strip_prefix(r"\\?\")).unwrap_or(text);
    let (rest, drive) = match text.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => (&text[2..], Some(drive.to_ascii_uppercase())),
        _ => (text, None),
    };
    if drive.is_some_and(|drive| drive != b'C') || text.starts_with(r"\\") {
        // Another volume or machine has nothing of the image.
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("a link leads to `{text}`")));
    }
    let parts: Vec<OsString> = rest
        .split(names::is_separator)
        .filter(|part| !part.is_empty() && *part != ".")
        .map(OsString::from)
        .collect();
    todo.extend(parts.into_iter().rev());
    Ok(drive.is_some() || rest.starts_with(names::is_separator))
}
