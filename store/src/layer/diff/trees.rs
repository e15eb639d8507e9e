//! Changes by comparing a tree with what it was copied from.
//!
//! A directory that was removed and made again can not be told from one that was emptied: where an overlay's
//! upper directory gives an opaque directory, this gives a whiteout for each name that is gone.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::{Child, What, same, same_dir};
use crate::layer::node::{self, Meta};
use crate::layer::stack::{Found, StackDir};
use crate::snapshot::LayerOs;

/// The nodes of `dir` and those that it has no more.
pub(super) fn children(dir: BorrowedFd<'_>, before: &StackDir<'_>, os: LayerOs) -> io::Result<Vec<Child>> {
    let mut out = Vec::new();
    let mut gone: std::collections::BTreeMap<Vec<u8>, Found> = before.list()?.into_iter().collect();
    for name in node::names(dir)? {
        let Some(meta) = Meta::at(dir, &name)? else {
            continue;
        };
        if meta.kind == FileType::Socket {
            // What had its name before is gone nevertheless.
            continue;
        }
        let mut child = Child {
            what: What::Present { meta, changed: true, opaque: false, old: None },
            lower: Vec::new(),
            name,
        };
        if let Some(found) = gone.remove(&child.name) {
            let old = (before.handle(&found), &found.meta);
            let changed = match (meta.is_dir(), found.meta.is_dir()) {
                (true, true) => !same_dir((dir, &meta), old, &child.name, os)?,
                (false, false) => !same((dir, &meta), old, &child.name, os)?,
                _ => true,
            };
            child.what = What::Present { meta, changed, opaque: false, old: Some(found.meta.id) };
            if meta.is_dir() && found.meta.is_dir() {
                child.lower = found.layers;
            }
        }
        out.push(child);
    }
    out.extend(
        gone.into_iter().filter(|(_, found)| found.meta.kind != FileType::Socket).map(|(name, _)| Child {
            name,
            what: What::Deleted { socket: false },
            lower: Vec::new(),
        }),
    );
    out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}
