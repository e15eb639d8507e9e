//! Files by handle and name on Windows, over [`orlop_store::nt`].
//!
//! Owners, permission bits and extended attributes of Linux do not exist here: a file that is looked at has those
//! that Docker gives what comes from Windows (0755, user 0), and setting them changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use orlop_store::nt;

use super::{Kind, Meta, NameList, Time, Xattrs, reparse};
use crate::dialect::Dialect;
use orlop_store::layer::windows::{CARRIER, Metadata, SecurityDescriptor};

impl Meta {
    fn new(stat: &nt::Stat) -> Self {
        let kind = match stat.kind {
            nt::Kind::File => Kind::File,
            nt::Kind::Directory => Kind::Directory,
            nt::Kind::Reparse { tag } if nt::tag::is_surrogate(tag) => Kind::Symlink,
            // A way to keep a file's own content: deduplicated, compressed, stored elsewhere.
            nt::Kind::Reparse { .. } if stat.is_dir_like() => Kind::Directory,
            nt::Kind::Reparse { .. } => Kind::File,
        };
        let time = |time: nt::FileTime| {
            let (seconds, nanoseconds) = time.unix();
            Time { seconds, nanoseconds }
        };
        let id = stat.id.to_le_bytes();
        let half =
            |at: usize| id.iter().skip(at).take(8).rev().fold(0u64, |out, byte| out << 8 | u64::from(*byte));
        Self {
            kind,
            mode: if kind == Kind::Symlink { 0o777 } else { 0o755 },
            uid: 0,
            gid: 0,
            size: stat.size,
            links: u64::from(stat.links),
            dev: stat.volume,
            // NTFS uses the lower half alone.
            ino: half(0) ^ half(8),
            rdev: 0,
            mtime: time(stat.times.written),
            ctime: time(stat.times.changed),
        }
    }
}

/// A directory, open.
#[derive(Clone, Debug)]
pub(crate) struct Dir(Arc<nt::Dir>);

impl Dir {
    /// Opens a directory by a path of the host, which may be a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = match nt::Dir::open(path) {
            // What is not there stays so; a link is followed, as the user who named it means.
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                nt::Dir::open(&path.canonicalize().map_err(|_| e)?)
            }
            other => other,
        };
        Ok(Self(Arc::new(dir?)))
    }

    /// Opens a directory in this one, never through a link.
    pub(crate) fn dir(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(Arc::new(self.0.dir(name)?)))
    }

    /// Opens the directory at a path below this one, never through a link.
    pub(crate) fn descend(&self, path: &Path) -> io::Result<Self> {
        let mut dir = self.clone();
        for component in path.components() {
            match component {
                Component::Normal(name) => dir = dir.dir(name)?,
                Component::CurDir => {}
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(dir)
    }

    /// Opens a regular file for reading, never through a link.
    pub(crate) fn file(&self, name: &OsStr) -> io::Result<File> {
        self.0.file(name, nt::Share::All)
    }

    /// Stat of an entry, links not followed.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Meta> {
        self.0.stat(name)?.map(|stat| Meta::new(&stat)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Stat of the directory itself.
    pub(crate) fn meta(&self) -> io::Result<Meta> {
        Ok(Meta::new(&self.0.stat_self()?))
    }

    /// The target of a symbolic link or junction.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let data = self.0.reparse(name)?;
        let target = reparse::target(&data)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "a reparse point that is no link"))?;
        Ok(OsString::from_wide(&target))
    }

    /// The names in the directory, sorted as Linux does, by the bytes of their UTF-8.
    pub(crate) fn list(&self) -> io::Result<Vec<OsString>> {
        Ok(self.names()?.take(usize::MAX))
    }

    /// The same in few bytes.
    pub(crate) fn names(&self) -> io::Result<NameList> {
        let names = self.0.list()?;
        NameList::of(|add| names.iter().try_for_each(|entry| add(entry.name.as_encoded_bytes())))
    }

    /// Extended attributes of Linux: there are none.
    pub(crate) fn xattrs(&self, _: &OsStr) -> io::Result<Xattrs> {
        Ok(Vec::new())
    }

    /// There is no place for an attribute of Linux: the caller counts it as lost. What the store keeps in one, a
    /// security descriptor, is set as itself, and lost where the system says yes and keeps another.
    pub(crate) fn set_xattr(&self, name: &OsStr, key: &OsStr, value: &[u8]) -> io::Result<()> {
        let lost = || io::Error::from(io::ErrorKind::Unsupported);
        let said = (key == CARRIER).then(|| Metadata::from_carrier(value)).flatten();
        let wanted = said.and_then(|said| said.security).ok_or_else(lost)?;
        self.0.set_security(name, wanted.as_bytes())?;
        let kept = SecurityDescriptor::parse(&self.0.security(name)?).map_err(io::Error::other)?;
        let (wanted_list, kept_list) = (wanted.dacl().unwrap_or_default(), kept.dacl().unwrap_or_default());
        let holds = wanted_list.iter().all(|one| {
            kept_list
                .iter()
                .any(|other| (&one.who, one.mask, one.kind) == (&other.who, other.mask, other.kind))
        });
        if holds && kept.owner() == wanted.owner() { Ok(()) } else { Err(lost()) }
    }

    /// What of the attributes of a closed file is left to set, and could not be.
    pub(crate) fn describe(&self, name: &OsStr, xattrs: &Xattrs) -> u64 {
        xattrs
            .iter()
            .filter(|(key, value)| key == CARRIER && self.set_xattr(name, key, value).is_err())
            .count() as u64
    }

    /// Makes a directory with the rights that this one hands down.
    pub(crate) fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        self.0.make_dir(name).map(drop)
    }

    /// Makes a file that did not exist.
    pub(crate) fn make_file(&self, name: &OsStr) -> io::Result<File> {
        self.0.make_file(name)
    }

    /// Makes a symbolic link: one to a directory where its target is one now, else one to a file.
    pub(crate) fn make_symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        let units: Vec<u16> = target.encode_wide().collect();
        let data = reparse::symlink(&units).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let found = self.resolve(Path::new(target), true, Dialect::Windows, &mut |_, _| true);
        match found.is_ok_and(|found| found.meta.is_some_and(|meta| meta.is_dir())) {
            true => drop(self.0.make_dir(name)?),
            false => drop(self.0.make_file(name)?),
        }
        self.0.set_reparse(name, &data).inspect_err(|_| drop(self.0.remove_one(name)))
    }

    /// Gives a file another name.
    pub(crate) fn make_hard_link(&self, from: (&Dir, &OsStr), name: &OsStr) -> io::Result<()> {
        from.0.0.link(from.1, &self.0, name)
    }

    /// Device nodes and named pipes are no files here.
    pub(crate) fn make_node(&self, _: &OsStr, _: Kind, _: u64) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "Windows has no device nodes and no named pipes as files",
        ))
    }

    /// As [`make_node`](Self::make_node).
    pub(crate) fn make_device(&self, name: &OsStr, kind: Kind, _: (u32, u32)) -> io::Result<()> {
        self.make_node(name, kind, 0)
    }

    /// Removes an entry with all that is in it.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove(name).map_err(|(_, e)| e)
    }

    /// Files have no owner by number.
    pub(crate) fn set_owner(&self, _: &OsStr, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Files have no permission bits.
    pub(crate) fn set_mode(&self, _: &OsStr, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Sets the time of the last change of an entry, links not followed.
    pub(crate) fn set_mtime(&self, name: &OsStr, time: Time) -> io::Result<()> {
        let written = nt::FileTime::from_unix(time.seconds, time.nanoseconds);
        self.0.set_basic(name, nt::Times { written, ..nt::Times::default() }, 0)
    }
}

/// A name from the bytes of an archive; `None` where they are not UTF-8.
pub(crate) fn name_of(bytes: &[u8]) -> Option<OsString> {
    std::str::from_utf8(bytes).ok().map(OsString::from)
}

/// What [`name_bytes`](super::name_bytes) gave the bytes of.
pub(crate) fn os_string(bytes: &[u8]) -> Option<OsString> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (text, other) = match std::str::from_utf8(rest) {
            Ok(text) => (text, &[][..]),
            Err(e) => (std::str::from_utf8(&rest[..e.valid_up_to()]).ok()?, &rest[e.valid_up_to()..]),
        };
        units.extend(text.encode_utf16());
        rest = match other {
            // Half of a pair, which is no text.
            &[0xed, one @ 0xa0..=0xbf, two @ 0x80..=0xbf, ref rest @ ..] => {
                units.push(0xd000 | u16::from(one & 0x3f) << 6 | u16::from(two & 0x3f));
                rest
            }
            [] => other,
            _ => return None,
        };
    }
    Some(OsString::from_wide(&units))
}

/// Stat of an open file.
pub(crate) fn file_meta(file: &File) -> io::Result<Meta> {
    Ok(Meta::new(&nt::stat(file)?))
}

/// Nothing here is cheaper than to read and write.
#[expect(clippy::unnecessary_wraps, reason = "other systems have something, and it can fail")]
pub(crate) fn copy_fast(_: &mut File, _: &mut File, _: &Meta) -> io::Result<Option<u64>> {
    Ok(None)
}

/// Sets what there is to set of an open file, its time. Returns how many attributes are lost.
pub(crate) fn write_metadata(
    file: &File,
    _: (u32, u32),
    _: u32,
    xattrs: &Xattrs,
    mtime: Option<Time>,
) -> io::Result<u64> {
    if let Some(time) = mtime {
        let part = Duration::from_nanos(time.nanoseconds.into());
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        // Nothing before 1601 and after what the system counts has a time here.
        let moment = match time.seconds >= 0 {
            true => UNIX_EPOCH.checked_add(whole),
            false => UNIX_EPOCH.checked_sub(whole),
        };
        if let Some(moment) = moment.and_then(|moment| moment.checked_add(part)) {
            file.set_modified(moment)?;
        }
    }
    // The descriptor comes when the file is closed.
    Ok(xattrs.iter().filter(|(key, _)| key != CARRIER).count() as u64)
}
