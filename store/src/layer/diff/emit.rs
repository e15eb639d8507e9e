//! Writing changes as a layer's tar, and taking out of an upper directory what is no change.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};

use super::{Changes, DiffError, What, io_error, public_xattrs};
use crate::digest::{BackgroundDigester, Digest, FileDigest, FileDigester};
use crate::layer::node::{self, Meta};
use crate::layer::stack::push;
use crate::layer::tar::{Entry, Kind, TarError, Time, Writer, shown};
use crate::layer::timeless::Timeless;
use crate::snapshot::LayerOs;
use crate::write_behind::begin_all;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) diff_id: Digest,
    /// Bytes of the tar.
    pub(crate) size: u64,
    pub(crate) entries: u64,
    /// Digest of what is in it but for all times.
    pub(crate) content_id: Digest,
}

/// Hashes what passes, beside the reading and writing of it.
pub(crate) struct Tee<W> {
    digester: Option<BackgroundDigester>,
    inner: W,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        if let Some(digester) = &mut self.digester {
            digester.update(&bytes[..n]);
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Changes {
    /// Writes the layer's tar from the directory `root`, in which the changes were found.
    pub(crate) fn write(&self, root: BorrowedFd<'_>, sink: impl Write) -> Result<Written, DiffError> {
        let mut out = Out::new(sink);
        self.write_all(root, &mut out)?;
        Ok(out.finish()?.0)
    }

    /// Writes the layer's tar and nothing else.
    pub(crate) fn write_only(&self, root: BorrowedFd<'_>, sink: impl Write) -> Result<(), DiffError> {
        let mut out = Out { tar: Writer::new(Tee { digester: None, inner: sink }), timeless: None };
        self.write_all(root, &mut out)?;
        out.tar.finish()?;
        Ok(())
    }

    fn write_all<W: Write>(&self, root: BorrowedFd<'_>, out: &mut Out<W>) -> Result<(), DiffError> {
        if self.os == LayerOs::Windows {
            return self.write_windows(root, out);
        }
        let mut dir: Option<(usize, OwnedFd, Vec<u8>)> = None;
        let mut first_names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let mut buf = vec![0; 256 * 1024];
        for (i, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.emit) {
            if dir.as_ref().is_none_or(|(parent, ..)| *parent != node.parent) {
                let path = self.path(node.parent);
                let handle = node::open_dir(root, &path).map_err(io_error("open", &path))?;
                dir = Some((node.parent, handle, path));
            }
            let Some((_, handle, parent)) = &dir else {
                continue;
            };
            let mut path = parent.clone();
            let What::Present { meta, opaque, .. } = node.what else {
                push(&mut path, &[b".wh.", node.name].concat());
                out.entry(&whiteout(path))?;
                continue;
            };
            push(&mut path, node.name);
            let name = if i == 0 { b"." } else { node.name };
            let mut entry = describe(handle.as_fd(), name, &meta, path)
                .map_err(|(path, e)| io_error("read", &path)(e))?;
            if meta.links > 1 && !meta.is_dir() {
                if let Some(first) = first_names.get(&meta.id) {
                    entry.kind = Kind::HardLink;
                    entry.link.clone_from(first);
                    entry.size = 0;
                    entry.device = (0, 0);
                    entry.xattrs.clear();
                } else {
                    first_names.insert(meta.id, entry.path.clone());
                }
            }
            out.entry(&entry)?;
            if entry.kind == Kind::File {
                let fail = io_error("read", &entry.path);
                let mut file = node::open_file(handle.as_fd(), name).map_err(&fail)?;
                // It stays, and is synced soon.
                begin_all(&file, entry.size);
                out.content(&mut file, &entry, None, &mut buf)?;
            }
            if opaque {
                let mut path = self.path(i);
                push(&mut path, b".wh..wh..opq");
                out.entry(&whiteout(path))?;
            }
        }
        Ok(())
    }

    /// Takes everything out of the upper directory `root` that is not in the layer's tar, so that the tar can
    /// be made from it again, byte for byte.
    pub(crate) fn prune(&self, root: BorrowedFd<'_>) -> Result<(), DiffError> {
        let mut touched: BTreeMap<usize, Time> = BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let fail = |e: io::Error| io_error("remove", &self.path(i))(e);
            let open = |i| {
                let path = self.path(i);
                node::open_dir(root, &path).map_err(io_error("open", &path))
            };
            if let (What::Present { meta, opaque: false, .. }, Some(form)) = (node.what, self.form)
                && meta.is_dir()
                && (node.emit || i == 0)
            {
                let opaque = form.opaque().as_bytes();
                node::remove_xattr(open(i)?.as_fd(), b".", opaque).map_err(|e| fail(e.into()))?;
            }
            if let (What::Deleted { socket: true }, true, Some(form)) = (node.what, node.emit, self.form) {
                let parent = open(node.parent)?;
                rustix::fs::unlinkat(&parent, node.name, AtFlags::empty())
                    .map_err(io::Error::from)
                    .and_then(|()| node::make_whiteout(parent.as_fd(), node.name, form))
                    .map_err(fail)?;
                if let What::Present { meta, .. } = self.nodes.get(node.parent).what {
                    touched.insert(node.parent, meta.mtime);
                }
            }
            if let (What::Deleted { socket: false }, true, Some(form)) = (node.what, node.emit, self.form) {
                // What an opaque directory hid, and is now said by name.
                let parent = open(node.parent)?;
                if Meta::at(parent.as_fd(), node.name).map_err(fail)?.is_none() {
                    node::make_whiteout(parent.as_fd(), node.name, form).map_err(fail)?;
                    if let What::Present { meta, .. } = self.nodes.get(node.parent).what {
                        touched.insert(node.parent, meta.mtime);
                    }
                }
            }
            if node.emit || i == 0 {
                continue;
            }
            let is_dir = matches!(node.what, What::Present { meta, .. } if meta.is_dir());
            let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(open(node.parent)?, node.name, flags).map_err(|e| fail(e.into()))?;
            if let What::Present { meta, .. } = self.nodes.get(node.parent).what {
                touched.insert(node.parent, meta.mtime);
            }
        }
        for (i, mtime) in touched.into_iter().filter(|(i, _)| self.nodes.is_emitted(*i)) {
            let path = self.path(i);
            let dir = node::open_dir(root, &path).map_err(io_error("open", &path))?;
            node::set_time(dir.as_fd(), b".", mtime).map_err(io_error("set the time of", &path))?;
        }
        Ok(())
    }
}

/// The archive, and what is in it but for times.
pub(crate) struct Out<W: Write> {
    tar: Writer<Tee<W>>,
    timeless: Option<Timeless>,
}

impl<W: Write> Out<W> {
    /// Writes into `sink`, and hashes.
    pub(crate) fn new(sink: W) -> Self {
        let tee = Tee { digester: Some(BackgroundDigester::new()), inner: sink };
        Self { tar: Writer::new(tee), timeless: Some(Timeless::new()) }
    }

    /// Bytes of the archive so far.
    pub(crate) fn written(&self) -> u64 {
        self.tar.written()
    }

    /// Ends it; what was written into is given back.
    pub(crate) fn finish(self) -> Result<(Written, W), DiffError> {
        let entries = self.tar.entries();
        let Tee { digester, inner } = self.tar.finish()?;
        let content_id = self.timeless.unwrap_or_else(Timeless::new).finish()?;
        let digester = digester.unwrap_or_else(BackgroundDigester::new);
        let size = digester.size();
        Ok((Written { diff_id: digester.finish(), size, entries, content_id }, inner))
    }

    /// Writes an entry; the content of a file that has any must follow.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), DiffError> {
        self.tar.entry(entry)?;
        if let Some(timeless) = &mut self.timeless {
            timeless.entry(entry)?;
        }
        Ok(())
    }

    /// Writes the content of the file `entry`; `known` is its digest, where somebody vouches for it.
    pub(crate) fn content(
        &mut self,
        file: &mut impl Read,
        entry: &Entry,
        known: Option<&FileDigest>,
        buf: &mut [u8],
    ) -> Result<(), DiffError> {
        let fail = |e| io_error("read", &entry.path)(e);
        let mut digester = (self.timeless.is_some() && known.is_none()).then(FileDigester::new);
        let mut left = entry.size;
        loop {
            let n = match file.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(fail)?,
            };
            let Some(rest) = left.checked_sub(n as u64).filter(|_| n > 0 || left == 0) else {
                return Err(DiffError::Changed { path: shown(&entry.path) });
            };
            left = rest;
            if n == 0 {
                break;
            }
            self.tar.content(&buf[..n])?;
            if let Some(digester) = &mut digester {
                digester.update(&buf[..n]);
            }
        }
        let digest = known.copied().or_else(|| digester.map(FileDigester::finish));
        if let (Some(timeless), Some(digest)) = (&mut self.timeless, digest) {
            timeless.content(entry.size, &digest)?;
        }
        Ok(())
    }
}

fn whiteout(path: Vec<u8>) -> Entry {
    Entry {
        path,
        kind: Kind::File,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        link: Vec::new(),
        size: 0,
        device: (0, 0),
        xattrs: BTreeMap::new(),
        windows: Default::default(),
    }
}

/// A node as a tar has it.
fn describe(
    dir: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    mut path: Vec<u8>,
) -> Result<Entry, (Vec<u8>, io::Error)> {
    let kind = match meta.kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => return Err((path, io::ErrorKind::Unsupported.into())),
    };
    let found = public_xattrs(dir, name, LayerOs::Linux).and_then(|xattrs| {
        Ok((
            xattrs,
            match kind {
                Kind::Symlink => rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes(),
                _ => Vec::new(),
            },
        ))
    });
    let (xattrs, link) = match found {
        Ok(found) => found,
        Err(e) => return Err((path, e)),
    };
    if kind == Kind::Directory {
        if path.is_empty() {
            path.push(b'.');
        }
        path.push(b'/');
    }
    Ok(Entry {
        path,
        kind,
        mode: meta.mode,
        uid: meta.uid.into(),
        gid: meta.gid.into(),
        mtime: meta.mtime,
        link,
        size: if kind == Kind::File { meta.size } else { 0 },
        device: meta.device(),
        xattrs,
        windows: BTreeMap::new(),
    })
}

/// A tar that is made while it is read.
pub(crate) struct Remade {
    pipe: io::PipeReader,
    maker: Option<std::thread::JoinHandle<Result<(), DiffError>>>,
}

impl Remade {
    /// Starts to write all of the layer in `root`.
    pub(crate) fn start(root: OwnedFd, changes: Changes) -> io::Result<Self> {
        let (pipe, sink) = io::pipe()?;
        let maker = std::thread::Builder::new()
            .name("layer tar".to_owned())
            .spawn(move || changes.write_only(root.as_fd(), io::BufWriter::with_capacity(64 * 1024, sink)))?;
        Ok(Self { pipe, maker: Some(maker) })
    }
}

impl Read for Remade {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.pipe.read(buf)?;
        if n > 0 || buf.is_empty() {
            return Ok(n);
        }
        match self.maker.take().map(std::thread::JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(0),
            Some(Ok(Err(DiffError::Tar(TarError::Write(e))))) => Err(e),
            Some(Ok(Err(e))) => Err(io::Error::other(e)),
            Some(Err(_)) => Err(io::Error::other("the thread that makes the tar of a layer panicked")),
        }
    }
}
