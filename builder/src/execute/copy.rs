//! COPY and ADD: what is copied is decided by [`select`] without a look at where it goes, so that
//! the [`Selection`] can be part of a step's key; [`apply`] then writes it into a snapshot.
//!
//! The rules are BuildKit's. Where its behaviour and the Dockerfile reference differ, the item says so.

mod apply;
mod chmod;
#[cfg(unix)]
mod compose;
mod content;
mod destination;
mod directory;
mod entries;
mod error;
mod select;
mod selection;
mod sources;
mod unpack;
mod walk;
mod windows;

use std::path::PathBuf;
use std::time::SystemTime;

use orlop_runner::Account;

use crate::dialect::Dialect;

pub use apply::{CopyStats, Owners, apply};
pub use chmod::{Chmod, ChmodError};
#[cfg(unix)]
pub(crate) use compose::{ComposeError, compose};
pub use directory::fill_directory;
pub(crate) use directory::make_directory;
pub use error::{CopyError, CopyErrorKind};
pub use select::select;
pub use selection::{Entry, EntryKind, Selection};

/// One COPY or ADD, every word expanded.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// Where from, in the order of the words. A [`CopyError`] counts its fault by this list.
    pub sources: Vec<Source>,
    /// Where to; relative to `workdir`, a directory where it ends with `/`.
    pub dest: String,
    /// The working directory of the step; empty is `/`.
    pub workdir: String,
    /// `--chown=user[:group]`, names or numbers.
    pub chown: Option<String>,
    /// `--chown` of a Windows image: the account that gets what is written; none is the administrators.
    pub account: Option<Account>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--exclude`, in order: patterns as in `.dockerignore`, relative to a source that is a directory,
    /// else on the name of the file.
    pub excludes: Vec<String>,
    /// `--parents`: the path of a source, after a `/./` in it, is kept.
    pub parents: bool,
    /// `--link`: the result does not depend on what the destination holds. Like BuildKit, has no effect
    /// together with `--chmod`.
    pub link: bool,
    /// What ADD does more than COPY; `None` for COPY.
    pub add: Option<AddOptions>,
    /// The system of the image that is copied into. Paths here have `/` whatever it is.
    pub dialect: Dialect,
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path or a pattern in the source tree.
    Path(String),
    /// A here-document.
    Inline {
        /// The name after `<<`.
        name: String,
        /// Its text, expanded or not as its quotes say.
        content: Vec<u8>,
    },
    /// A file from a URL, downloaded already.
    Remote(RemoteFile),
    /// The content of a directory from elsewhere: a git repository.
    Tree(RemoteTree),
}

/// A directory from elsewhere, known before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTree {
    /// What its content is decided by, for the step's key: a commit.
    pub key: String,
    /// Where it is on this machine, once it was fetched. Before that there is nothing to copy.
    pub path: Option<PathBuf>,
}

/// A file that ADD got from a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// The last component of the URL's path; [`RemoteFile::name_of`] finds it.
    pub name: String,
    /// Where its content is on this machine.
    pub path: PathBuf,
    /// `Last-Modified`, where the server gave it; else 1970.
    pub mtime: Option<SystemTime>,
}

impl RemoteFile {
    /// The name that a file from a URL with this path gets; the path is decoded.
    pub fn name_of(url_path: &str) -> String {
        match url_path.trim_end_matches('/').rsplit('/').next() {
            None | Some("" | "." | "..") => "__unnamed__".to_owned(),
            Some(name) if name.contains('\0') => "__unnamed__".to_owned(),
            Some(name) => name.to_owned(),
        }
    }
}

/// What ADD does more than COPY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// `--unpack`: whether archives are unpacked. By default those of the context are, those from a
    /// URL are not.
    pub unpack: Option<bool>,
}
#[cfg(test)]
mod tests;
