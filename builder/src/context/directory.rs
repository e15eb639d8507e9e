//! A tree of files to copy from.

use std::io;
use std::path::{Path, PathBuf};

use super::handle::Dir;
use super::ignore::Ignore;
use crate::dialect::Dialect;

/// Where a COPY reads from: a directory of the host that it can never leave, by `..` or by links.
#[derive(Clone, Debug)]
pub struct SourceTree {
    root: Dir,
    path: PathBuf,
    ignore: Ignore,
    keeps_owners: bool,
    lasting: bool,
    dialect: Dialect,
}

/// Why a context cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the directory `{path}`")]
pub struct ContextError {
    /// Where it should be.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl ContextError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::NotFound => {
                Some("the last argument of `build` is a directory, often `.`".to_owned())
            }
            io::ErrorKind::NotADirectory => {
                Some("give the directory as the context and the Dockerfile by `-f`".to_owned())
            }
            _ => None,
        }
    }
}

impl SourceTree {
    /// A build context: files belong to nobody in particular and so to root in the image, and what
    /// `ignore` matches is not there. The Dockerfile and the ignore file themselves are read by path,
    /// not through this, and so may be ignored.
    ///
    /// # Errors
    /// When `path` is no directory that can be opened.
    pub fn context(path: &Path, ignore: Ignore) -> Result<Self, ContextError> {
        Self::open(path, ignore, false, Dialect::host())
    }

    /// The same of a directory that only this build has: what its files contain is not remembered.
    ///
    /// # Errors
    /// When `path` is no directory that can be opened.
    pub fn fetched(path: &Path, ignore: Ignore) -> Result<Self, ContextError> {
        Ok(Self { lasting: false, ..Self::context(path, ignore)? })
    }

    /// The file system of a stage or an image of that system: owners are kept and nothing is ignored.
    ///
    /// # Errors
    /// When `path` is no directory that can be opened.
    pub fn root(path: &Path, dialect: Dialect) -> Result<Self, ContextError> {
        Self::open(path, Ignore::nothing(), true, dialect)
    }

    fn open(path: &Path, ignore: Ignore, keeps_owners: bool, dialect: Dialect) -> Result<Self, ContextError> {
        let root = Dir::open(path).map_err(|source| ContextError { path: path.to_owned(), source })?;
        // The files of a mounted snapshot have no lasting identity.
        Ok(Self { root, path: path.to_owned(), ignore, keeps_owners, lasting: !keeps_owners, dialect })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is not there.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// Whether files keep their owners rather than belong to root.
    pub fn keeps_owners(&self) -> bool {
        self.keeps_owners
    }

    /// Whether its files can be known again by what the system says of them.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// The system whose rules its names follow: the machine's for a context, else the image's.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.root
    }
}
