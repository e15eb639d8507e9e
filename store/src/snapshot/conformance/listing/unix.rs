use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FileType;

use super::Listing;
use crate::Digest;
use crate::layer::node::{self, Meta};
use crate::layer::stack::push;

impl Listing {
    /// The tree at `path`; `identity` says whether to look which names are one file.
    pub(in crate::snapshot::conformance) fn of(path: &Path, identity: bool) -> Self {
        let root = node::open_root(path).unwrap();
        let mut out = BTreeMap::new();
        let mut groups: BTreeMap<(u64, u64), String> = BTreeMap::new();
        let mut todo = vec![Vec::new()];
        while let Some(path) = todo.pop() {
            let dir = node::open_dir(root.as_fd(), &path).unwrap();
            for name in node::names(dir.as_fd()).unwrap() {
                let mut below = path.clone();
                push(&mut below, &name);
                let meta = Meta::at(dir.as_fd(), &name).unwrap().unwrap();
                if meta.kind == FileType::Socket {
                    continue;
                }
                let shown = String::from_utf8_lossy(&below).into_owned();
                let mut line = format!(
                    "{:?} {:04o} {}:{} {:?}",
                    meta.kind,
                    meta.mode,
                    meta.uid,
                    meta.gid,
                    meta.device()
                );
                // Of a directory in which nothing is in the layer the time is not kept.
                if !meta.is_dir() {
                    line += &format!(" {}.{:09}", meta.mtime.seconds, meta.mtime.nanoseconds);
                    line += &format!(" links={}", meta.links);
                }
                let mut xattrs = node::xattrs(dir.as_fd(), &name).unwrap();
                xattrs.retain(|name, _| !node::is_local(name));
                for (name, value) in xattrs {
                    line += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
                }
                match meta.kind {
                    FileType::RegularFile => {
                        let mut digester = crate::Digester::new();
                        let mut file = node::open_file(dir.as_fd(), &name).unwrap();
                        if meta.size < 1 << 30 {
                            std::io::copy(&mut file, &mut digester).unwrap();
                        }
                        line += &format!(" {} bytes {}", meta.size, digester.finish().short());
                    }
                    FileType::Symlink => {
                        let link = rustix::fs::readlinkat(&dir, &name[..], Vec::new()).unwrap();
                        line += &format!(" -> {link:?}");
                    }
                    FileType::Directory => todo.push(below),
                    _ => {}
                }
                if identity && meta.links > 1 && !meta.is_dir() {
                    // The same file as the one first seen under this inode.
                    let first = groups.entry(meta.id).or_insert_with(|| shown.clone());
                    line += &format!(" same as {}", Digest::of(first.as_bytes()).short());
                }
                out.insert(shown, line);
            }
        }
        let meta = Meta::of_handle(root.as_fd()).unwrap();
        out.insert("/".to_owned(), format!("{:04o} {}:{}", meta.mode, meta.uid, meta.gid));
        Self(out)
    }
}
