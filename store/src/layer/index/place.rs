//! Finding the directory that an entry belongs in, as unpacking does (`apply/place.rs`), in the tree.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::tree::{DIRECTORY, LINK, Node, ROOT, Tree};
use super::{Indexer, NAME, PATH, Refused};
use crate::layer::apply::{LINKS, MOST_IMPLIED, MOST_WALKED, TOO_MANY_IMPLIED, impossible, io_error};
use crate::layer::tar::Entry;

/// Why a layer that leaves out parents cannot be had without those below it.
const PARENTS: &str = "it leaves out parent directories, which are as the layers below have them";

/// A path without links: directories that this layer has, then names that it does not have.
#[derive(Debug)]
struct Real {
    /// Directories, the root first, each with whether it or one above it is opaque.
    dirs: Vec<(u32, bool)>,
    missing: Vec<Vec<u8>>,
}

impl Real {
    fn root(tree: &Tree) -> Self {
        Self { dirs: vec![(ROOT, tree.node(ROOT).opaque)], missing: Vec::new() }
    }

    /// The deepest directory.
    fn deepest(&self) -> (u32, bool) {
        *self.dirs.last().expect("the root stays")
    }

    fn up(&mut self) {
        if self.missing.pop().is_none() && self.dirs.len() > 1 {
            self.dirs.pop();
        }
    }
}

impl Indexer {
    /// The directory of the entry whose parent's names are `names`.
    pub(super) fn parent_of(&mut self, names: &[&[u8]], entry: &Entry) -> Result<u32, Refused> {
        if let Some((last, place)) = &self.parent
            && is_joined(last, names)
        {
            return Ok(*place);
        }
        let place = match self.existing(names, entry)? {
            Some(dir) => dir,
            None => {
                let real = self.resolve(names, entry)?;
                self.make(real, entry)?
            }
        };
        self.parent = Some((names.join(&b'/'), place));
        Ok(place)
    }

    /// The directory of that path, if there is one and no link leads to it.
    fn existing(&self, names: &[&[u8]], entry: &Entry) -> Result<Option<u32>, Refused> {
        let length = names.iter().map(|name| name.len() + 1).sum::<usize>();
        // The length counts a slash too many, which the system's NUL makes up for.
        if length > PATH {
            return Err(io_error("find the place of", &entry.path)(Errno::NAMETOOLONG.into()).into());
        }
        let mut here = ROOT;
        for name in names {
            match self.tree.find(here, name) {
                Some(found) if self.tree.node(found).is_dir() => here = found,
                _ => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// Follows the links in `names` that this layer has; inside the root.
    fn resolve(&self, names: &[&[u8]], entry: &Entry) -> Result<Real, Refused> {
        let mut todo: VecDeque<&[u8]> = names.iter().copied().collect();
        let mut real = Real::root(&self.tree);
        let (mut links, mut walked) = (0, 0);
        while let Some(name) = todo.pop_front() {
            walked += 1;
            if links > LINKS || walked > MOST_WALKED {
                return Err(impossible(entry, "too many symbolic links above it").into());
            }
            match name {
                b"" | b"." => continue,
                b".." => {
                    real.up();
                    continue;
                }
                _ if !real.missing.is_empty() => {
                    // Where it began, the layers below were asked for.
                    real.missing.push(name.to_vec());
                    continue;
                }
                _ if name.len() > NAME => {
                    return Err(io_error("find the place of", &entry.path)(Errno::NAMETOOLONG.into()).into());
                }
                _ => {}
            }
            let (deepest, hidden) = real.deepest();
            let Some(found) = self.tree.find(deepest, name) else {
                if !self.below_is_empty && !self.hides(&real, name) {
                    return Err(Refused::NotHere(PARENTS));
                }
                real.missing.push(name.to_vec());
                continue;
            };
            let node = self.tree.node(found);
            match node.kind() {
                DIRECTORY => real.dirs.push((found, hidden | node.opaque)),
                LINK => {
                    links += 1;
                    let target = self.tree.target(node);
                    if target.starts_with(b"/") {
                        real = Real::root(&self.tree);
                    }
                    for part in target.split(|b| *b == b'/').rev() {
                        todo.push_front(part);
                    }
                }
                _ if node.is_whiteout() => real.missing.push(name.to_vec()),
                _ => return Err(impossible(entry, "something above it is not a directory").into()),
            }
        }
        Ok(real)
    }

    /// Whether this layer hides what those below have at `name` in `real`.
    fn hides(&self, real: &Real, name: &[u8]) -> bool {
        let (deepest, hidden) = real.deepest();
        let first = real.missing.first().map_or(name, Vec::as_slice);
        hidden || self.tree.find(deepest, first).is_some()
    }

    /// The directory at a path without links, made where it is missing: as root's with mode 0755.
    fn make(&mut self, real: Real, entry: &Entry) -> Result<u32, Refused> {
        let (mut here, mut hidden) = real.deepest();
        for name in &real.missing {
            if name.len() > NAME {
                return Err(io_error("make the directory of", &entry.path)(Errno::NAMETOOLONG.into()).into());
            }
            // `resolve` left nothing else in the way but a whiteout.
            let opaque = self.tree.find(here, name).is_some();
            hidden |= opaque;
            if !hidden && !self.below_is_empty {
                return Err(Refused::NotHere(PARENTS));
            }
            self.implied += 1;
            if self.implied > MOST_IMPLIED.saturating_add(self.found.entries) {
                return Err(impossible(entry, TOO_MANY_IMPLIED).into());
            }
            let node = Node { data: here, opaque, ..Node::new(DIRECTORY | 0o755) };
            let made = self.tree.add(node)?;
            self.tree.implied.insert(made);
            self.tree.put(here, name, made)?;
            here = made;
        }
        Ok(here)
    }

    /// A hard link's target: the directory that it is in, and itself.
    pub(super) fn link_target(
        &self,
        parents: &[&[u8]],
        name: &[u8],
        entry: &Entry,
    ) -> Result<Option<(u32, u32)>, Refused> {
        let real = self.resolve(parents, entry)?;
        if real.missing.is_empty() {
            if name.len() > NAME {
                return Err(io_error("find the target of", &entry.path)(Errno::NAMETOOLONG.into()).into());
            }
            let (dir, _) = real.deepest();
            if let Some(found) = self.tree.find(dir, name) {
                return Ok((!self.tree.node(found).is_whiteout()).then_some((dir, found)));
            }
        }
        if self.below_is_empty || self.hides(&real, name) {
            return Ok(None);
        }
        Err(Refused::NotHere("it links to a file of a layer below"))
    }
}

/// Whether `path` is these names with slashes between them.
fn is_joined(path: &[u8], names: &[&[u8]]) -> bool {
    let mut rest = Some(path);
    for (i, name) in names.iter().enumerate() {
        rest = rest.and_then(|rest| if i == 0 { Some(rest) } else { rest.strip_prefix(b"/") });
        rest = rest.and_then(|rest| rest.strip_prefix(*name));
    }
    rest == Some(b"")
}
