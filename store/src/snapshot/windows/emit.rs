//! Writing changes as a Windows layer: see [`windows`](crate::layer::windows) for the format.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::changes::{Changes, Node};
use super::table::{RowKind, row_kind};
use super::walk::{Opened, Seen, split};
use super::{fail, link, security, unfit};
use crate::digest::{BackgroundDigester, Digest, Digester, FileDigester};
use crate::layer::DiffError;
use crate::layer::tar::{Entry, Kind, Time, Writer};
use crate::layer::timeless::Timeless;
use crate::layer::windows::{self, Attributes, Metadata, ROOTS, Top};
use crate::nt::{Dir, FileId, FileTime, Share, check_name};
use crate::snapshot::{Diff, SnapshotError};

/// Attributes that a layer has.
const KEPT: u32 = Attributes::SETTABLE.0 | Attributes::DIRECTORY.0 | Attributes::REPARSE_POINT.0;

/// Hashes what passes.
struct Tee<W> {
    digester: BackgroundDigester,
    inner: W,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.digester.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The archive, and what is in it but for times.
struct Out<W: Write> {
    tar: Writer<Tee<W>>,
    timeless: Timeless,
    buf: Vec<u8>,
}

fn tar(error: impl Into<DiffError>) -> SnapshotError {
    SnapshotError::Diff(error.into())
}

impl<W: Write> Out<W> {
    fn entry(&mut self, entry: &Entry) -> Result<(), SnapshotError> {
        self.tar.entry(entry).map_err(tar)?;
        self.timeless.entry(entry).map_err(tar)
    }

    /// All of `file`, which has `size` bytes; their digest.
    fn content(&mut self, file: &mut impl Read, size: u64, path: &str) -> Result<Digest, SnapshotError> {
        let (mut digester, mut for_timeless) = (Digester::new(), FileDigester::new());
        loop {
            let n = match file.read(&mut self.buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(fail("read", path))?,
            };
            digester.update(&self.buf[..n]);
            for_timeless.update(&self.buf[..n]);
            if (n == 0 && digester.size() < size) || digester.size() > size {
                return Err(SnapshotError::Diff(DiffError::Changed { path: path.to_owned() }));
            }
            if n == 0 {
                self.timeless.content(size, &for_timeless.finish()).map_err(tar)?;
                return Ok(digester.finish());
            }
            self.tar.content(&self.buf[..n]).map_err(tar)?;
        }
    }
}

impl Changes {
    /// Writes the layer: its parts first, then every directory before what is in it, and a file's streams right
    /// behind it. Of no changes nothing is written. Completes the table.
    pub(crate) fn write(&mut self, root: &Dir, sink: impl Write) -> Result<Diff, SnapshotError> {
        let tee = Tee { digester: BackgroundDigester::new(), inner: sink };
        let mut out = Out { tar: Writer::new(tee), timeless: Timeless::new(), buf: vec![0; 256 << 10] };
        if !self.is_empty() {
            self.write_all(root, &mut out)?;
        }
        let entries = out.tar.entries();
        let Tee { digester, mut inner } = out.tar.finish().map_err(tar)?;
        inner.flush().map_err(fail("write the layer of", ""))?;
        let content_id = out.timeless.finish().map_err(tar)?;
        let size = digester.size();
        Ok(Diff { diff_id: digester.finish(), size, content_id, entries })
    }

    fn write_all<W: Write>(&mut self, root: &Dir, out: &mut Out<W>) -> Result<(), SnapshotError> {
        for top in ROOTS {
            let said = match (top, self.table.rows.get("")) {
                (Top::Files, Some(row)) => self.table.said.get(row.note.said),
                _ => Metadata::default(),
            };
            out.entry(&windows::write(top, b"", Kind::Directory, Time::default(), &said.for_directory()))?;
        }
        let mut first_names: HashMap<FileId, String> = HashMap::new();
        let mut dirs = Opened::new(root);
        for node in self.nodes.values().filter(|node| node.emit) {
            let path = node.path.as_bytes();
            let Some(seen) = &node.seen else {
                out.entry(&windows::whiteout(Top::Files, path))?;
                continue;
            };
            let dir = dirs.at(split(&node.path).0)?;
            let mtime = time(seen.stat.times.written);
            if row_kind(&seen.stat) == RowKind::File {
                if let Some(first) = first_names.get(&seen.stat.id) {
                    out.entry(&windows::link(Top::Files, path, first.as_bytes(), mtime))?;
                    let note = self.table.rows.get(first).map(|row| row.note.clone());
                    if let (Some(note), Some(row)) = (note, self.table.rows.get_mut(&node.path)) {
                        row.note = note;
                    }
                    continue;
                }
                first_names.insert(seen.stat.id, node.path.clone());
            }
            let said = self.table.rows.get(&node.path).and_then(|row| row.note.said);
            let metadata = describe(dir, node, seen, self.table.said.get(said))?;
            let said = self.table.said.keep(&metadata);
            let Some(row) = self.table.rows.get_mut(&node.path) else { continue };
            row.note.said = said;
            match row_kind(&seen.stat) {
                RowKind::Directory => {
                    out.entry(&windows::write(Top::Files, path, Kind::Directory, mtime, &metadata))?;
                }
                RowKind::Link => {
                    let (entry, data) = link_entry(dir, node, seen, mtime, metadata)?;
                    out.entry(&entry)?;
                    row.note.reparse = Some(data);
                    continue;
                }
                RowKind::File => {
                    let mut file = dir.file(&seen.name, Share::Read).map_err(fail("open", &node.path))?;
                    let entry = windows::write(Top::Files, path, Kind::File, mtime, &metadata);
                    out.entry(&Entry { size: seen.stat.size, ..entry })?;
                    row.note.content = Some(out.content(&mut file, seen.stat.size, &node.path)?);
                }
            }
            row.note.streams.clear();
            for stream in dir.streams(&seen.name).map_err(fail("read the streams of", &node.path))? {
                let Some(name) = stream.name.to_str().filter(|_| check_name(&stream.name).is_ok()) else {
                    return Err(unfit(&node.path, "one of its streams has a name that no layer can have"));
                };
                let mut file = dir
                    .stream(&seen.name, &stream.name, Share::Read)
                    .map_err(fail("open a stream of", &node.path))?;
                out.entry(&windows::stream(Top::Files, path, name.as_bytes(), stream.size, mtime))?;
                let digest = out.content(&mut file, stream.size, &node.path)?;
                row.note.streams.insert(name.to_owned(), (stream.size, digest));
            }
        }
        Ok(())
    }
}

/// What a layer says of something beyond its content.
fn describe(dir: &Dir, node: &Node, seen: &Seen, said: Metadata) -> Result<Metadata, SnapshotError> {
    let mut metadata = said;
    if node.own_security {
        let actual = dir.security(&seen.name).map_err(fail("read the security of", &node.path))?;
        if let Some(security) = security::for_layer(&actual) {
            metadata.security = Some(security);
            metadata.sddl = None;
        }
    }
    let mut attributes = Attributes(seen.stat.attributes & KEPT);
    if row_kind(&seen.stat) == RowKind::File {
        attributes = attributes.without(Attributes::REPARSE_POINT);
    }
    metadata.attributes = Some(attributes);
    metadata.created = Some(time(seen.stat.times.created));
    Ok(match row_kind(&seen.stat) {
        RowKind::Directory => metadata.for_directory(),
        RowKind::File => metadata.for_file(),
        RowKind::Link => metadata.for_link(seen.stat.is_dir_like()),
    })
}

/// The entry of a link as itself, and the digest of its data.
fn link_entry(
    dir: &Dir,
    node: &Node,
    seen: &Seen,
    mtime: Time,
    metadata: Metadata,
) -> Result<(Entry, Digest), SnapshotError> {
    let data = dir.reparse(&seen.name).map_err(fail("read the link", &node.path))?;
    let Some(link) = link::parse(&data) else {
        return Err(unfit(&node.path, "it is a reparse point that no layer can have"));
    };
    let metadata = Metadata { mount_point: link.mount_point, ..metadata };
    let entry = windows::write(Top::Files, node.path.as_bytes(), Kind::Symlink, mtime, &metadata);
    Ok((Entry { link: link.target.into_bytes(), ..entry }, Digest::of(&data)))
}

pub(super) fn time(time: FileTime) -> Time {
    let (seconds, nanoseconds) = time.unix();
    Time { seconds, nanoseconds }
}
