//! Changes as overlayfs leaves them in its upper directory. Mounted as we do (`redirect_dir=nofollow`,
//! `metacopy=off`) that has whole files only, deletions as 0:0 devices, and replaced directories with an
//! attribute that says so.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;

use super::{Child, What, same, same_dir};
use crate::layer::XattrForm;
use crate::layer::node::{self, Meta};
use crate::layer::stack::StackDir;
use crate::snapshot::LayerOs;

/// The nodes of the upper directory `dir`, compared with what the layers below have in its place.
pub(super) fn children(
    dir: BorrowedFd<'_>,
    form: XattrForm,
    below: &StackDir<'_>,
    os: LayerOs,
) -> io::Result<Vec<Child>> {
    let mut out = Vec::new();
    for (name, what) in nodes(dir, form)? {
        let found = below.find(&name)?;
        let (what, lower) = match (what, found) {
            (What::Deleted { .. }, None) => (What::Junk, Vec::new()),
            (What::Present { meta, opaque, .. }, Some(found)) => {
                let old = (below.handle(&found), &found.meta);
                let both_dirs = meta.is_dir() && found.meta.is_dir();
                // Opaque over something that is no directory says nothing.
                let opaque = opaque && both_dirs;
                // Windows knows no such directory: what it hides is said name by name.
                let explicit = os == LayerOs::Windows;
                let changed = match (meta.is_dir(), found.meta.is_dir()) {
                    (true, true) => (opaque && !explicit) || !same_dir((dir, &meta), old, &name, os)?,
                    (false, false) => !same((dir, &meta), old, &name, os)?,
                    _ => true,
                };
                let opaque = opaque && !explicit;
                let lower = if both_dirs && !opaque { found.layers } else { Vec::new() };
                (What::Present { meta, changed, opaque, old: Some(found.meta.id) }, lower)
            }
            (What::Present { meta, changed, old, .. }, None) => {
                (What::Present { meta, changed, opaque: false, old }, Vec::new())
            }
            (what, _) => (what, Vec::new()),
        };
        out.push(Child { name, what, lower });
    }
    if os == LayerOs::Windows && node::is_opaque(dir, form)? {
        let here: Vec<_> = out.iter().map(|child| child.name.clone()).collect();
        let gone = below.list()?.into_iter().filter(|(name, _)| here.binary_search(name).is_err());
        out.extend(gone.map(|(name, _)| Child {
            name,
            what: What::Deleted { socket: false },
            lower: Vec::new(),
        }));
        out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(out)
}

/// The nodes of a directory of a layer at rest: all of them belong to it.
pub(super) fn everything(dir: BorrowedFd<'_>, form: XattrForm) -> io::Result<Vec<Child>> {
    let nodes = nodes(dir, form)?;
    Ok(nodes.into_iter().map(|(name, what)| Child { name, what, lower: Vec::new() }).collect())
}

/// The nodes of a directory, taken as new.
fn nodes(dir: BorrowedFd<'_>, form: XattrForm) -> io::Result<Vec<(Vec<u8>, What)>> {
    let mut out = Vec::new();
    for name in node::names(dir)? {
        let Some(meta) = Meta::at(dir, &name)? else {
            continue;
        };
        let what = match meta.kind {
            FileType::Socket => What::Deleted { socket: true },
            FileType::Directory => {
                let opaque = node::is_opaque(node::open_dir(dir, &name)?.as_fd(), form)?;
                What::Present { meta, changed: true, opaque, old: None }
            }
            _ if node::is_whiteout(dir, &name, &meta, form)? => What::Deleted { socket: false },
            _ => What::Present { meta, changed: true, opaque: false, old: None },
        };
        out.push((name, what));
    }
    Ok(out)
}
