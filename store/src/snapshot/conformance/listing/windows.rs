use std::collections::BTreeMap;
use std::path::Path;

use super::Listing;
use crate::nt::{self, Dir, Share};
use crate::snapshot::windows::walk;

impl Listing {
    /// The tree at `path`; `identity` says whether to look which names are one file.
    pub(in crate::snapshot::conformance) fn of(path: &Path, identity: bool) -> Self {
        let root = Dir::open(path).unwrap();
        let mut out = BTreeMap::new();
        let mut groups: BTreeMap<nt::FileId, String> = BTreeMap::new();
        let mut dirs = walk::Opened::new(&root);
        for seen in walk::walk(&root).unwrap() {
            let dir = dirs.at(walk::split(&seen.path).0).unwrap();
            if seen.path.is_empty() {
                continue;
            }
            let stat = seen.stat;
            let mut line = format!("{:?} {:#x}", stat.kind, stat.attributes);
            // Of a directory in which nothing is in the layer the time is not kept.
            if !stat.is_dir() {
                let links = dir.stat(&seen.name).unwrap().unwrap().links;
                line += &format!(" {:?} links={links}", stat.times.written.unix());
            }
            if stat.is_file() {
                let mut file = dir.file(&seen.name, Share::All).unwrap();
                let (size, digest) = walk::digest(&mut file).unwrap();
                line += &format!(" {size} bytes {}", digest.short());
                if identity {
                    // The same file as the one first seen with this number.
                    let first = groups.entry(stat.id).or_insert_with(|| seen.path.clone());
                    line += &format!(" same as {first}");
                }
            }
            for stream in dir.streams(&seen.name).unwrap() {
                let mut file = dir.stream(&seen.name, &stream.name, Share::All).unwrap();
                let (size, digest) = walk::digest(&mut file).unwrap();
                line += &format!(" :{} {size} bytes {}", stream.name.display(), digest.short());
            }
            out.insert(seen.path, line);
        }
        Self(out)
    }
}
