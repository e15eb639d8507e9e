//! What a stack of directories in overlay form shows, read by us: the merged view without a mount.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::XattrForm;
use super::node::{self, Meta};

/// Directories in overlay form on top of each other. The lowest may as well be a plain tree.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Top first.
    roots: Vec<OwnedFd>,
    form: XattrForm,
}

/// A node of the merged view.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) meta: Meta,
    /// Where it is: index of the layer, top first. For a directory, all that share in it.
    pub(crate) layers: Vec<usize>,
}

/// What a stack says of a name, to what is shown of it and to what lies below the stack.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) found: Found,
    /// It is a deletion: nothing is shown.
    pub(crate) whiteout: bool,
    /// Whatever is below the stack has no share in it.
    pub(crate) hides: bool,
}

impl Seen {
    /// What is shown of it.
    fn shown(self) -> Option<Found> {
        (!self.whiteout).then_some(self.found)
    }
}

impl Stack {
    /// The stack of the directories `roots`, top first.
    pub(crate) fn open(roots: &[PathBuf], form: XattrForm) -> Result<Self, (PathBuf, io::Error)> {
        let roots: Result<_, _> =
            roots.iter().map(|path| node::open_root(path).map_err(|e| (path.clone(), e))).collect();
        Ok(Self { roots: roots?, form })
    }

    /// The layers that share in the root directory.
    pub(crate) fn root(&self) -> io::Result<Vec<usize>> {
        let mut out = Vec::new();
        for (i, root) in self.roots.iter().enumerate() {
            out.push(i);
            if node::is_opaque(root.as_fd(), self.form)? {
                break;
            }
        }
        Ok(out)
    }

    /// Whether some layer's root directory is opaque.
    pub(crate) fn hides_all(&self) -> io::Result<bool> {
        for root in &self.roots {
            if node::is_opaque(root.as_fd(), self.form)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The directory at `path`, which the layers `layers` share in.
    pub(crate) fn dir(&self, layers: &[usize], path: &[u8]) -> io::Result<StackDir<'_>> {
        let handles: io::Result<_> =
            layers.iter().map(|&i| Ok((i, node::open_dir(self.roots[i].as_fd(), path)?))).collect();
        Ok(StackDir { handles: handles?, form: self.form, marker: std::marker::PhantomData })
    }

    /// The root directory of the topmost of the layers `layers`, which are those of a found directory.
    pub(crate) fn layer(&self, layers: &[usize]) -> BorrowedFd<'_> {
        let top = layers.first().expect("a directory is found in some layer");
        self.roots[*top].as_fd()
    }

    /// The node at `path`, a list of names that holds no link and no dots.
    pub(crate) fn find<T: AsRef<[u8]>>(&self, path: &[T]) -> io::Result<Option<Found>> {
        let mut dir = self.dir(&self.root()?, b"")?;
        for (i, name) in path.iter().enumerate() {
            let Some(found) = dir.find(name.as_ref())? else {
                return Ok(None);
            };
            if i + 1 == path.len() {
                return Ok(Some(found));
            }
            if !found.meta.is_dir() {
                return Ok(None);
            }
            dir = dir.enter(name.as_ref(), &found.layers)?;
        }
        Ok(None)
    }
}

/// Appends a name to a path.
pub(crate) fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// A directory of the merged view.
#[derive(Debug)]
pub(crate) struct StackDir<'a> {
    handles: Vec<(usize, OwnedFd)>,
    form: XattrForm,
    marker: std::marker::PhantomData<&'a Stack>,
}

impl StackDir<'_> {
    /// The directory of nothing.
    pub(crate) fn empty() -> Self {
        Self { handles: Vec::new(), form: XattrForm::User, marker: std::marker::PhantomData }
    }

    /// What the merged directory has by this name.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<Found>> {
        Ok(self.look(name)?.and_then(Seen::shown))
    }

    /// What the directories together say of this name.
    fn look(&self, name: &[u8]) -> io::Result<Option<Seen>> {
        let mut seen: Option<Seen> = None;
        for (layer, dir) in &self.handles {
            let Some(meta) = Meta::at(dir.as_fd(), name)? else {
                continue;
            };
            let whiteout = node::is_whiteout(dir.as_fd(), name, &meta, self.form)?;
            if whiteout || !meta.is_dir() {
                if let Some(dir) = &mut seen {
                    dir.hides = true;
                    break;
                }
                let found = Found { meta, layers: vec![*layer] };
                return Ok(Some(Seen { found, whiteout, hides: true }));
            }
            let dirs = seen.get_or_insert(Seen {
                found: Found { meta, layers: Vec::new() },
                whiteout: false,
                hides: false,
            });
            dirs.found.layers.push(*layer);
            if node::xattr(dir.as_fd(), name, self.form.opaque())?.as_deref() == Some(b"y") {
                dirs.hides = true;
                break;
            }
        }
        Ok(seen)
    }

    /// The directory `name` in this one, which the layers `layers` share in.
    fn enter(&self, name: &[u8], layers: &[usize]) -> io::Result<Self> {
        let shared = self.handles.iter().filter(|(layer, _)| layers.contains(layer));
        let handles: io::Result<_> =
            shared.map(|(layer, dir)| Ok((*layer, node::open_dir(dir.as_fd(), name)?))).collect();
        Ok(Self { handles: handles?, form: self.form, marker: std::marker::PhantomData })
    }

    /// The handle that has what was found.
    pub(crate) fn handle(&self, found: &Found) -> BorrowedFd<'_> {
        let top = found.layers.first();
        let (_, handle) = self
            .handles
            .iter()
            .find(|(layer, _)| Some(layer) == top)
            .expect("a node is found by one of the handles");
        handle.as_fd()
    }

    /// All names of the merged directory with what they are, sorted.
    pub(crate) fn list(&self) -> io::Result<Vec<(Vec<u8>, Found)>> {
        let all = self.list_all()?.into_iter();
        Ok(all.filter_map(|(name, seen)| Some((name, seen.shown()?))).collect())
    }

    /// The same, with what is only there to hide something.
    pub(crate) fn list_all(&self) -> io::Result<Vec<(Vec<u8>, Seen)>> {
        let mut all = BTreeSet::new();
        for (_, dir) in &self.handles {
            all.extend(node::names(dir.as_fd())?);
        }
        let mut out = Vec::with_capacity(all.len());
        for name in all {
            if let Some(seen) = self.look(&name)? {
                out.push((name, seen));
            }
        }
        Ok(out)
    }
}
