//! What goes wrong in a COPY, and which of its words is at fault.

use std::io;

use crate::context::ArchiveError;
use crate::context::pattern::PatternError;
use crate::dialect::PathFault;

/// Why a COPY or ADD cannot be done.
#[derive(Debug)]
pub struct CopyError {
    /// The source at fault, counted from 0 in [`CopyRequest::sources`](super::CopyRequest::sources);
    /// `None` where no single one is.
    pub word: Option<usize>,
    /// What is wrong.
    pub kind: CopyErrorKind,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyErrorKind {
    /// A source is not there, or ignored.
    #[error("`{path}`: not found")]
    NotFound {
        /// The source as written.
        path: String,
        /// A name beside it that is much like it.
        similar: Option<String>,
        /// The line of the ignore file that excludes it, and its text.
        ignored: Option<(usize, String)>,
    },
    /// A source or an `--exclude` is no pattern.
    #[error("bad pattern")]
    Pattern(#[from] PatternError),
    /// A directory should go where something else is.
    #[error("cannot copy a directory to `{path}`, which is not a directory")]
    NotADirectory {
        /// The place in the image.
        path: String,
    },
    /// Several files should go where only one can.
    #[error("several sources need a directory as their destination, and `{path}` is none")]
    SeveralToOne {
        /// The destination as it was given.
        path: String,
    },
    /// A file should go where a directory is.
    #[error("cannot replace the directory `{path}` with a file")]
    IsADirectory {
        /// The place in the image.
        path: String,
    },
    /// `--chown` names somebody whom the image does not know.
    #[error("`--chown={owner}`")]
    Owner {
        /// The flag's value.
        owner: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name that a Windows image cannot have.
    #[error("`{path}` cannot be in a Windows image: it {fault}")]
    Name {
        /// The file, relative to the source tree.
        path: String,
        /// Why.
        fault: PathFault,
    },
    /// A file that a Windows image cannot have.
    #[error("`{path}` cannot be in a Windows image: it is {what}")]
    NotOnWindows {
        /// The file, relative to the source tree.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Two files that Windows takes for one.
    #[error("`{path}` and `{other}` differ only by case, and in a Windows image that is the same file")]
    SameName {
        /// The second, relative to the source tree.
        path: String,
        /// The first.
        other: String,
    },
    /// A file changed between the time it was looked at and the time it was copied.
    #[error("`{path}` changed while it was copied")]
    Changed {
        /// The file, relative to the source tree.
        path: String,
    },
    /// An archive that ADD should unpack.
    #[error("cannot unpack `{path}`")]
    Archive {
        /// The archive.
        path: String,
        /// Why.
        source: ArchiveError,
    },
    /// Directories in directories without end.
    #[error("`{path}` is nested deeper than {limit} directories")]
    TooDeep {
        /// Where it went too far.
        path: String,
        /// How far is far enough.
        limit: usize,
    },
    /// The list of the files cannot be written or read again.
    #[error("cannot keep the list of the files")]
    List(#[source] io::Error),
    /// The system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what: a path in the source tree or in the image.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl CopyErrorKind {
    pub(super) fn io(
        action: &'static str,
        path: impl AsRef<std::path::Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().display().to_string(), source }
    }

    pub(super) fn of(self, word: usize) -> CopyError {
        CopyError { word: Some(word), kind: self }
    }
}

impl std::fmt::Display for CopyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl From<CopyErrorKind> for CopyError {
    fn from(kind: CopyErrorKind) -> Self {
        Self { word: None, kind }
    }
}

impl CopyError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            CopyErrorKind::NotFound { ignored: Some((line, text)), .. } => {
                Some(format!("line {line} of the ignore file (`.dockerignore`) excludes it: `{text}`"))
            }
            CopyErrorKind::NotFound { similar: Some(similar), .. } => {
                Some(format!("did you mean `{similar}`?"))
            }
            CopyErrorKind::NotFound { path, .. } if path.starts_with("../") || path.contains("/../") => Some(
                "a path cannot leave the context; build with a directory further up as the context"
                    .to_owned(),
            ),
            CopyErrorKind::SeveralToOne { path } => {
                Some(format!("the destination must be a directory and end with `/`: `{path}/`"))
            }
            CopyErrorKind::IsADirectory { path } => {
                Some(format!("end the destination with `/` to copy into a directory, as in `{path}/`"))
            }
            CopyErrorKind::Name { .. } | CopyErrorKind::NotOnWindows { .. } => {
                Some("leave it out with `--exclude`, in `.dockerignore`, or give it another name".to_owned())
            }
            CopyErrorKind::SameName { path, .. } => {
                Some(format!("rename one of them, or leave it out: `{path}` in `.dockerignore`"))
            }
            CopyErrorKind::Changed { .. } => Some("build again when nothing writes to it".to_owned()),
            CopyErrorKind::Owner { .. } => Some("numbers always work: `--chown=1000:1000`".to_owned()),
            CopyErrorKind::Archive { source, .. } => source.hint(),
            _ => None,
        }
    }
}
