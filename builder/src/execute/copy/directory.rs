//! Directories that no COPY makes: that of WORKDIR, and the first content of a cache mount.

use std::cell::Cell;
use std::path::Path;

use orlop_runner::Account;

use super::destination::Destination;
use super::{CopyError, CopyErrorKind, CopyRequest, Source, apply, select};
use crate::context::pattern::below_root;
use crate::context::{Dir, NoCache, SourceTree, Time};
use crate::dialect::{Dialect, ImagePath};

/// Makes `path` and what is missing above it inside `root`, with mode 0755 and this owner, in a Windows image this
/// account's, and this time, or now. A directory that is there stays as it is. False where what is new could not be given to the account.
///
/// # Errors
/// When something that is no directory is in the way, or the system says no.
pub(crate) fn make_directory(
    root: &Path,
    path: &ImagePath,
    owner: (u32, u32),
    account: Option<Account>,
    dialect: Dialect,
    time: Option<Time>,
) -> Result<bool, CopyError> {
    let root = Dir::open(root).map_err(CopyErrorKind::io("open", root))?;
    let to =
        Destination { time, root, owner: Some(owner), account, link: false, dialect, lost: Cell::default() };
    to.make_dirs(&path.below_root())?;
    Ok(to.lost.get() == 0)
}

/// Gives the empty directory `dir` its first content, what is at a path of another file system, and its mode
/// and owner: where they are not said those of that path, else 0755 and root.
///
/// # Errors
/// When there is nothing at that path, or the system says no.
pub fn fill_directory(
    dir: &Path,
    from: Option<(&SourceTree, &str)>,
    mode: Option<u32>,
    owner: (Option<u32>, Option<u32>),
) -> Result<(), CopyError> {
    let mut own = (0o755, (0, 0));
    if let Some((tree, path)) = from {
        let request = CopyRequest {
            sources: vec![Source::Path(format!("{}/", path.trim_end_matches('/')))],
            dest: "/".to_owned(),
            dialect: tree.dialect(),
            ..CopyRequest::default()
        };
        let selection = select(&request, tree, &NoCache, None)?;
        let found = tree
            .dir()
            .resolve(&below_root(path), true, tree.dialect(), &mut |_, _| true)
            .map_err(CopyErrorKind::io("look at", path))?;
        if let Some(meta) = found.meta {
            own = (meta.mode, (meta.uid, meta.gid));
        }
        apply(&selection, dir, &|name| Err(format!("`{name}` is not looked up here").into()))?;
    }
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let name = dir.file_name().unwrap_or_default();
    let parent = Dir::open(parent).map_err(CopyErrorKind::io("open", parent))?;
    let (uid, gid) = (owner.0.unwrap_or(own.1.0), owner.1.unwrap_or(own.1.1));
    parent.set_owner(name, uid, gid).map_err(CopyErrorKind::io("set the owner of", dir))?;
    parent.set_mode(name, mode.unwrap_or(own.0)).map_err(CopyErrorKind::io("set the mode of", dir))?;
    Ok(())
}
