//! Every rule of COPY, tried on real directories.

#[cfg(unix)]
mod composing;
#[cfg(unix)]
mod destination;
#[cfg(unix)]
mod selection;
#[cfg(unix)]
mod unpacking;
mod windows;

use std::collections::BTreeMap;
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::context::{Ignore, NoCache, SourceTree};

/// A context and an image, each a directory of its own.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["context", "image"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            #[cfg(unix)]
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir }
    }

    fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Makes things: `a/b` is a file with its path as content, `a/` a directory, `a -> b` a link.
    fn fill(&self, root: &Path, things: &[&str]) {
        for thing in things {
            if let Some((link, target)) = thing.split_once(" -> ") {
                fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
                #[cfg(unix)]
                symlink(target, root.join(link)).unwrap();
                #[cfg(windows)]
                panic!("no test on Windows makes the link {link} to {target}");
            } else if let Some(dir) = thing.strip_suffix('/') {
                fs::create_dir_all(root.join(dir)).unwrap();
            } else {
                fs::create_dir_all(root.join(thing).parent().unwrap()).unwrap();
                fs::write(root.join(thing), thing).unwrap();
            }
        }
    }

    fn in_context(self, things: &[&str]) -> Self {
        self.fill(&self.context(), things);
        self
    }

    fn in_image(self, things: &[&str]) -> Self {
        self.fill(&self.image(), things);
        self
    }

    fn select(&self, request: &CopyRequest) -> Result<Selection, CopyError> {
        self.select_ignoring(request, "")
    }

    fn select_ignoring(&self, request: &CopyRequest, ignore: &str) -> Result<Selection, CopyError> {
        let tree = SourceTree::context(&self.context(), Ignore::parse(ignore).unwrap()).unwrap();
        select(request, &tree, &NoCache, None)
    }

    fn copy(&self, request: &CopyRequest) -> Result<CopyStats, CopyError> {
        apply(&self.select(request)?, &self.image(), &no_names)
    }

    #[cfg(unix)]
    fn copied(&self, request: &CopyRequest) -> BTreeMap<String, String> {
        self.copy(request).unwrap();
        self.tree()
    }

    #[cfg(unix)]
    fn copied_ignoring(&self, request: &CopyRequest, ignore: &str) -> BTreeMap<String, String> {
        let selection = self.select_ignoring(request, ignore).unwrap();
        apply(&selection, &self.image(), &no_names).unwrap();
        self.tree()
    }

    /// What the image holds: files with their content, links with `-> target`, directories with `/`.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        let mut todo = vec![self.image()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name =
                    crate::context::pattern::slashed(path.strip_prefix(self.image()).unwrap()).into_owned();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    out.insert(name, "/".to_owned());
                    todo.push(path);
                } else if meta.is_symlink() {
                    out.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
                } else if meta.is_file() {
                    out.insert(name, fs::read_to_string(&path).unwrap());
                } else {
                    out.insert(name, "node".to_owned());
                }
            }
        }
        out
    }

    #[cfg(unix)]
    fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.image().join(path)).unwrap().mode() & 0o7777
    }

    #[cfg(unix)]
    fn owner(&self, path: &str) -> (u32, u32) {
        let meta = fs::symlink_metadata(self.image().join(path)).unwrap();
        (meta.uid(), meta.gid())
    }
}

fn no_names(owner: &str) -> Result<(u32, u32), Box<dyn std::error::Error + Send + Sync>> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
    Ok((user.parse()?, group.parse()?))
}

#[cfg(unix)]
fn copy(words: &[&str]) -> CopyRequest {
    let (dest, sources) = words.split_last().unwrap();
    CopyRequest {
        sources: sources.iter().map(|word| Source::Path((*word).to_owned())).collect(),
        dest: (*dest).to_owned(),
        ..CopyRequest::default()
    }
}

#[cfg(unix)]
fn tree<const N: usize>(things: [(&str, &str); N]) -> BTreeMap<String, String> {
    things.into_iter().map(|(path, what)| (path.to_owned(), what.to_owned())).collect()
}

#[cfg(unix)]
fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
