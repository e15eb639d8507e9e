//! What a step changed, as a layer: found in the upper directory of an overlay (`diff/overlay.rs`) or by comparing
//! two trees (`diff/trees.rs`), and written as a tar whose bytes depend on nothing else.
//!
//! # What counts as a change
//! - A node that is new, gone, of another kind, or differs in mode, owner, extended attributes, time to the
//!   nanosecond, link target, device number, size or content. What was copied up and is the same again is no
//!   change.
//! - A directory whose time alone differs is none: every file made and removed in it does that. (containerd
//!   and BuildKit leave it out too.) If anything below it changed, it is in the layer, with its time: a layer
//!   names all parents of what it holds, and so means the same over any chain.
//! - The root directory is in the layer where its mode, owner or attributes changed.
//! - One file of several names is in the layer with all of them as soon as one of them changed.
//!
//! # Order
//! Depth first, names by their bytes, a whiteout in the place of the name that it hides, `.wh..wh..opq` first
//! in its directory. Of several names of a file the first has the content and the others link to it.

mod emit;
mod nodes;
mod overlay;
mod trees;
mod windows;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::node::{self, Meta, Xattrs};
use rustix::io::Errno;

pub use super::failure::DiffError;
use super::stack::{Stack, StackDir, push};
use super::tar::shown;
use super::{Ownership, XattrForm};
use crate::snapshot::LayerOs;

pub(crate) use emit::{Out, Remade, Written};
use nodes::Nodes;

pub(super) fn io_error(action: &'static str, path: &[u8]) -> impl Fn(io::Error) -> DiffError + use<> {
    let path = shown(if path.is_empty() { b"/" } else { path });
    move |source| DiffError::Io { action, path: path.clone(), source }
}

/// What the directory that is looked at is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upper {
    /// The upper directory of an overlay, or a layer's `fs` form.
    Overlay(XattrForm),
    /// A whole file system.
    Tree,
}

/// What it is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Against<'a> {
    /// The merged view of these layers, and what their root directory is like.
    Stack(&'a Stack, &'a Root),
    /// With nothing: everything there is belongs to the layer, the root directory where this says so.
    Nothing {
        /// Whether the layer has an entry for the root directory.
        root_entry: bool,
    },
}

/// What the root directory of a file system is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) xattrs: Xattrs,
}

impl Root {
    /// That of an empty file system.
    pub(crate) fn scratch() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, xattrs: Xattrs::new() }
    }

    /// That of the directory `dir`.
    pub(crate) fn of(dir: BorrowedFd<'_>, os: LayerOs) -> io::Result<Self> {
        let meta = Meta::of_handle(dir)?;
        let xattrs = public_xattrs(dir, b".", os)?;
        Ok(Self { mode: meta.mode, uid: meta.uid, gid: meta.gid, xattrs })
    }

    /// Makes the directory `dir` like it, but for attributes that can not be set here.
    pub(crate) fn put(&self, dir: BorrowedFd<'_>, ownership: Ownership) -> io::Result<()> {
        if ownership == Ownership::Keep {
            node::set_owner(dir, b".", self.uid, self.gid)?;
        }
        node::set_mode(dir, b".", self.mode)?;
        for (attribute, value) in &self.xattrs {
            match node::set_xattr(dir, b".", attribute, value) {
                Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSPC) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// The attributes that belong into a layer.
fn public_xattrs(dir: BorrowedFd<'_>, name: &[u8], os: LayerOs) -> io::Result<Xattrs> {
    let mut xattrs = node::xattrs(dir, name)?;
    xattrs.retain(|attribute, _| node::is_of(attribute, os));
    Ok(xattrs)
}

/// One node of a directory, compared.
#[derive(Debug)]
struct Child {
    name: Vec<u8>,
    what: What,
    /// For a directory: the layers to compare its content with.
    lower: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Gone; a whiteout, or a socket that has taken its name.
    Deleted { socket: bool },
    /// Bookkeeping that belongs in no layer: a socket, a whiteout of nothing.
    Junk,
    Present {
        meta: Meta,
        changed: bool,
        /// For a directory: hides what is below.
        opaque: bool,
        /// The same file in the compared layers.
        old: Option<(u64, u64)>,
    },
}

/// Changes, found and not yet written.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Depth first; the first is the root directory.
    nodes: Nodes,
    form: Option<XattrForm>,
    os: LayerOs,
}

/// Finds what `root` has in comparison. Nothing may write to it meanwhile.
pub(crate) fn find(
    root: BorrowedFd<'_>,
    upper: Upper,
    against: Against<'_>,
    os: LayerOs,
) -> Result<Changes, DiffError> {
    let at_root = |e| io_error("read", b"")(e);
    let meta = Meta::of_handle(root).map_err(at_root)?;
    let (changed, lower) = match against {
        Against::Stack(stack, before) => {
            (Root::of(root, os).map_err(at_root)? != *before, stack.root().map_err(at_root)?)
        }
        Against::Nothing { root_entry } => (root_entry, Vec::new()),
    };
    let opaque = match upper {
        Upper::Overlay(form) => node::is_opaque(root, form).map_err(at_root)?,
        Upper::Tree => false,
    };
    let mut nodes = Nodes::default();
    let what = What::Present { meta, changed, opaque, old: None };
    nodes.push(0, b"", what, changed).map_err(at_root)?;
    let lower = if opaque { Vec::new() } else { lower };
    let mut path = Vec::new();
    let mut todo = vec![(0, 0, list(root, (upper, against, os), &path, &lower)?.into_iter())];
    // A loop and not a recursion: how deep it goes is the step's choice.
    while let Some((parent, path_len, children)) = todo.last_mut() {
        let (parent, path_len) = (*parent, *path_len);
        path.truncate(path_len);
        let Some(child) = children.next() else {
            todo.pop();
            continue;
        };
        let is_dir = matches!(child.what, What::Present { meta, .. } if meta.is_dir());
        let emit = matches!(child.what, What::Deleted { .. } | What::Present { changed: true, .. });
        push(&mut path, &child.name);
        let number =
            nodes.push(parent, &child.name, child.what, emit).map_err(|e| io_error("keep", &path)(e))?;
        if is_dir {
            let children = list(root, (upper, against, os), &path, &child.lower)?;
            todo.push((number, path.len(), children.into_iter()));
        }
    }
    let form = match upper {
        Upper::Overlay(form) => Some(form),
        Upper::Tree => None,
    };
    let mut changes = Changes { nodes, form, os };
    changes.take_groups();
    changes.take_parents();
    Ok(changes)
}

fn list(
    root: BorrowedFd<'_>,
    (upper, against, os): (Upper, Against<'_>, LayerOs),
    path: &[u8],
    lower: &[usize],
) -> Result<Vec<Child>, DiffError> {
    let fail = |e| io_error("read", path)(e);
    let dir = node::open_dir(root, path).map_err(fail)?;
    let below = match against {
        Against::Stack(stack, _) => stack.dir(lower, path),
        Against::Nothing { .. } => Ok(StackDir::empty()),
    };
    let below = below.map_err(fail)?;
    let found = match (upper, against) {
        (Upper::Overlay(form), Against::Stack(..)) => overlay::children(dir.as_fd(), form, &below, os),
        (Upper::Overlay(form), Against::Nothing { .. }) => overlay::everything(dir.as_fd(), form),
        (Upper::Tree, _) => trees::children(dir.as_fd(), &below, os),
    };
    let found = found.map_err(fail)?;
    if os == LayerOs::Windows {
        windows::check_names(path, &found, &below)?;
    }
    Ok(found)
}

impl Changes {
    /// One file of several names: all of them, as soon as one changed, or where they were not one file before.
    fn take_groups(&mut self) {
        let mut old_of: HashMap<(u64, u64), Option<(u64, u64)>> = HashMap::new();
        let mut changed = HashSet::new();
        let linked = |what: &What| match what {
            What::Present { meta, old, .. } if meta.links > 1 && !meta.is_dir() => Some((meta.id, *old)),
            _ => None,
        };
        for node in self.nodes.iter() {
            if let Some((id, old)) = linked(&node.what)
                && (node.emit || *old_of.entry(id).or_insert(old) != old)
            {
                changed.insert(id);
            }
        }
        if changed.is_empty() {
            return;
        }
        for number in 0..self.nodes.len() {
            if linked(&self.nodes.get(number).what).is_some_and(|(id, _)| changed.contains(&id)) {
                self.nodes.emit(number);
            }
        }
    }

    /// All directories above what changed, but for the root.
    fn take_parents(&mut self) {
        for number in (1..self.nodes.len()).rev() {
            let parent = self.nodes.parent(number);
            if self.nodes.is_emitted(number) && parent != 0 {
                self.nodes.emit(parent);
            }
        }
    }

    /// Whether the layer has an entry for the root directory.
    pub(crate) fn root_entry(&self) -> bool {
        self.nodes.is_emitted(0)
    }

    fn path(&self, mut node: usize) -> Vec<u8> {
        let mut names = Vec::new();
        while node != 0 {
            names.push(self.nodes.get(node).name);
            node = self.nodes.parent(node);
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// Whether two nodes that are no directories are the same in all that a layer says of them.
fn same(
    (dir, meta): (BorrowedFd<'_>, &Meta),
    (old_dir, old): (BorrowedFd<'_>, &Meta),
    name: &[u8],
    os: LayerOs,
) -> io::Result<bool> {
    if meta.id == old.id {
        return Ok(true);
    }
    let described = |m: &Meta| (m.kind, owned(m, os), m.mtime, m.size, m.device());
    if described(meta) != described(old) || public_xattrs(dir, name, os)? != public_xattrs(old_dir, name, os)?
    {
        return Ok(false);
    }
    match meta.kind {
        rustix::fs::FileType::RegularFile => {
            same_content(&mut node::open_file(dir, name)?, &mut node::open_file(old_dir, name)?)
        }
        rustix::fs::FileType::Symlink => Ok(rustix::fs::readlinkat(dir, name, Vec::new())?
            == rustix::fs::readlinkat(old_dir, name, Vec::new())?),
        _ => Ok(true),
    }
}

/// Whether two directories are the same but for their time and what is in them.
fn same_dir(
    (dir, meta): (BorrowedFd<'_>, &Meta),
    (old_dir, old): (BorrowedFd<'_>, &Meta),
    name: &[u8],
    os: LayerOs,
) -> io::Result<bool> {
    Ok(owned(meta, os) == owned(old, os)
        && public_xattrs(dir, name, os)? == public_xattrs(old_dir, name, os)?)
}

/// Mode, owner and group, where the layer's system has such things.
fn owned(meta: &Meta, os: LayerOs) -> Option<(u32, u32, u32)> {
    (os == LayerOs::Linux).then_some((meta.mode, meta.uid, meta.gid))
}

fn same_content(one: &mut impl io::Read, other: &mut impl io::Read) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; 128 * 1024], vec![0; 128 * 1024]);
    loop {
        let n = fill(one, &mut a)?;
        if n != fill(other, &mut b)? || a[..n] != b[..n] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl io::Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
