//! Windows layers on a system that is not Windows: `Files/x` is unpacked at `x`, the other parts are not, and
//! names that differ in case alone are one name, spelled as it was first.

use std::collections::HashMap;

use super::{Below, UnpackError, impossible, io_error};
use crate::layer::stack::push;
use crate::layer::tar::{Entry, Kind};
use crate::layer::windows::{self, CARRIER, FormatError, ReadKind, Top, fold, to_unix};

/// How names are spelled, directory by directory.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    /// By the directory's path: the names in it by what Windows compares.
    dirs: HashMap<Vec<u8>, HashMap<Vec<u8>, Vec<u8>>>,
}

impl Spelling {
    /// The entry as it is unpacked; none for what does not belong in a tree.
    pub(super) fn translate(
        &mut self,
        entry: &Entry,
        below: &Below<'_>,
    ) -> Result<Option<Entry>, UnpackError> {
        let wrong = |e: FormatError| {
            let why = std::error::Error::source(&e).map(|source| format!(": {source}")).unwrap_or_default();
            impossible(entry, format!("{e}{why}"))
        };
        let Some(read) = windows::read(entry).map_err(wrong)? else {
            return Ok(None);
        };
        if read.top != Top::Files {
            return Ok(None);
        }
        let mut spelled = |names: &[Vec<u8>]| {
            self.spell(names, below).map_err(io_error("find how the layers below spell", &entry.path))
        };
        let mut path = spelled(&read.path)?;
        let mut carried = read.metadata.to_carrier();
        let (mut link, mut size) = (Vec::new(), 0);
        let kind = match read.kind {
            ReadKind::Directory if path.is_empty() => {
                // Many a builder says nothing of the root, which then is as the base has it.
                if read.metadata.security.is_none() {
                    return Ok(None);
                }
                path.push(b'.');
                Kind::Directory
            }
            ReadKind::Directory => Kind::Directory,
            ReadKind::File { size: bytes } => {
                size = bytes;
                Kind::File
            }
            ReadKind::Stream { name, size: bytes } => {
                size = bytes;
                path = [&path[..], b":", &name].concat();
                Kind::File
            }
            ReadKind::HardLink { target } => {
                link = spelled(&target)?;
                Kind::HardLink
            }
            ReadKind::Link { target } => {
                link = to_unix(&target);
                // Links have no place for attributes of users.
                carried.clear();
                Kind::Symlink
            }
            ReadKind::Whiteout => {
                let at = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
                path.splice(at..at, *b".wh.");
                Kind::File
            }
            ReadKind::Opaque => {
                push(&mut path, b".wh..wh..opq");
                Kind::File
            }
        };
        let mut xattrs = std::collections::BTreeMap::new();
        if !carried.is_empty() && kind != Kind::HardLink {
            xattrs.insert(CARRIER.into(), carried);
        }
        Ok(Some(Entry {
            path,
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: read.mtime,
            link,
            size,
            device: (0, 0),
            xattrs,
            windows: windows::Records::new(),
        }))
    }

    /// The path of `names` as this layer and those below it spell it.
    fn spell(&mut self, names: &[Vec<u8>], below: &Below<'_>) -> std::io::Result<Vec<u8>> {
        let mut path: Vec<u8> = Vec::new();
        for name in names {
            if !self.dirs.contains_key(&path) {
                self.dirs.insert(path.clone(), spelled_below(&path, below)?);
            }
            let dir = self.dirs.entry(path.clone()).or_default();
            let spelled = dir.entry(fold(name)).or_insert_with(|| name.clone()).clone();
            push(&mut path, &spelled);
        }
        Ok(path)
    }
}

/// The names that the layers below have in the directory `path`.
fn spelled_below(path: &[u8], below: &Below<'_>) -> std::io::Result<HashMap<Vec<u8>, Vec<u8>>> {
    let Some(stack) = below.stack() else {
        return Ok(HashMap::new());
    };
    let layers = match path {
        b"" => stack.root()?,
        path => {
            let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
            match stack.find(&names)? {
                Some(found) if found.meta.is_dir() => found.layers,
                _ => return Ok(HashMap::new()),
            }
        }
    };
    let names = stack.dir(&layers, path)?.list()?;
    Ok(names.into_iter().map(|(name, _)| (fold(&name), name)).collect())
}
