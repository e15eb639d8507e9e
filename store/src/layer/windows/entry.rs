//! Entries of a Windows layer's tar: from the tar to files, and from files to the tar.

use std::collections::BTreeMap;

use super::name::{LayerPath, Top, split, stream_of};
use super::{FormatError, Metadata};
use crate::layer::tar::{Entry, Kind, Time, shown};

/// What a layer that we write begins with, in this order: the parts that every Windows host expects.
pub const ROOTS: [Top; 2] = [Top::Files, Top::Hives];

/// An entry of a Windows layer, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which part of the layer it is in.
    pub top: Top,
    /// Its names below that part: of a stream those of its file, of a whiteout those of what is hidden. Empty
    /// for the part itself.
    pub path: Vec<Vec<u8>>,
    /// What it is.
    pub kind: ReadKind,
    /// What it says beyond that.
    pub metadata: Metadata,
    /// Time of the last write.
    pub mtime: Time,
}

/// What an entry of a Windows layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// A directory.
    Directory,
    /// A file; its content follows.
    File {
        /// Bytes of its content.
        size: u64,
    },
    /// An alternate data stream of the file or directory that the path names; its content follows.
    Stream {
        /// Name of the stream.
        name: Vec<u8>,
        /// Bytes of its content.
        size: u64,
    },
    /// Another name of the file at these names below the same part.
    HardLink {
        /// Names of the file.
        target: Vec<Vec<u8>>,
    },
    /// A symbolic link, or where the metadata says so a mount point.
    Link {
        /// Where to, as Windows spells it: with backslashes.
        target: Vec<u8>,
    },
    /// What lower layers have by this name is gone.
    Whiteout,
    /// All that lower layers have in this directory is gone. No Windows host writes that.
    Opaque,
}

/// Understands an entry; none where it is nothing that Windows would look at.
///
/// # Errors
/// When its names or records make no sense, or it is of a kind that Windows does not have.
pub fn read(entry: &Entry) -> Result<Option<Read>, FormatError> {
    let LayerPath::In(top, mut path) = split(&entry.path)? else {
        return Ok(None);
    };
    let fail = |why| FormatError::Name { name: shown(&entry.path), why };
    let metadata = Metadata::parse(&entry.windows)?;
    let mtime = entry.mtime;
    if let Some(last) = path.last_mut()
        && let Some(hidden) = last.strip_prefix(b".wh.")
    {
        if hidden == b".wh..opq" {
            path.pop();
            return Ok(Some(Read { top, path, kind: ReadKind::Opaque, metadata, mtime }));
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(fail("a whiteout must name what it hides"));
        }
        *last = hidden.to_vec();
        return Ok(Some(Read { top, path, kind: ReadKind::Whiteout, metadata, mtime }));
    }
    let stream =
        path.last().and_then(|last| stream_of(last)).map(|(file, name)| (file.to_vec(), name.to_vec()));
    let kind = match (entry.kind, stream) {
        (Kind::File, Some((file, name))) => {
            if let Some(last) = path.last_mut() {
                *last = file;
            }
            ReadKind::Stream { name, size: entry.size }
        }
        (_, Some(_)) => return Err(fail("only a file can be a stream")),
        (Kind::File, None) => ReadKind::File { size: entry.size },
        (Kind::Directory, None) => ReadKind::Directory,
        (Kind::Symlink, None) => ReadKind::Link { target: backslashes(&entry.link) },
        (Kind::HardLink, None) => match split(&entry.link)? {
            LayerPath::In(of, target) if of == top && !target.is_empty() => ReadKind::HardLink { target },
            _ => return Err(fail("it is a hard link to another part of the layer")),
        },
        _ => return Err(fail("Windows has no devices or pipes in its file system")),
    };
    if path.is_empty() && kind != ReadKind::Directory {
        return Err(fail("a part of the layer can only be a directory"));
    }
    Ok(Some(Read { top, path, kind, metadata, mtime }))
}

/// The entry of a file, directory or link at `path`, names with slashes below the part; empty for the part
/// itself. A link's target is spelled as Windows does. Neither owner nor mode: Windows has none.
pub fn write(top: Top, path: &[u8], kind: Kind, mtime: Time, metadata: &Metadata) -> Entry {
    Entry {
        path: in_part(top, path),
        kind,
        mode: match kind {
            Kind::Directory => 0o755,
            _ => 0o644,
        },
        uid: 0,
        gid: 0,
        mtime,
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: metadata.records(),
    }
}

/// The entry of another name of the file at `target`, both with slashes below the part.
pub fn link(top: Top, path: &[u8], target: &[u8], mtime: Time) -> Entry {
    Entry { link: in_part(top, target), ..write(top, path, Kind::HardLink, mtime, &Metadata::default()) }
}

/// The entry of a stream of the file at `path`, to stand right behind that.
pub fn stream(top: Top, path: &[u8], name: &[u8], size: u64, mtime: Time) -> Entry {
    let path = [path, b":", name].concat();
    Entry { size, ..write(top, &path, Kind::File, mtime, &Metadata::default()) }
}

/// The entry that hides what lower layers have at `path`.
pub fn whiteout(top: Top, path: &[u8]) -> Entry {
    let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => path.split_at(slash + 1),
        None => (&b""[..], path),
    };
    let path = [parent, b".wh.", name].concat();
    Entry { mode: 0, ..write(top, &path, Kind::File, Time::default(), &Metadata::default()) }
}

fn in_part(top: Top, path: &[u8]) -> Vec<u8> {
    match path {
        b"" => top.name().into(),
        path => [top.name().as_bytes(), b"/", path].concat(),
    }
}

fn backslashes(target: &[u8]) -> Vec<u8> {
    target.iter().map(|b| if *b == b'/' { b'\\' } else { *b }).collect()
}
