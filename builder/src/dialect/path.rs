//! Paths of an image, free of the way in which its system writes them.

use std::path::PathBuf;

/// A path from the root of an image: clean, without `.` and `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ImagePath {
    parts: Vec<String>,
    directory: bool,
}

impl ImagePath {
    /// The parts of a path, joined and cleaned: those of the text, after those of the base where it is relative.
    pub(super) fn joined<'a>(parts: impl Iterator<Item = &'a str>, directory: bool) -> Self {
        let mut clean: Vec<String> = Vec::new();
        for part in parts {
            match part {
                "" | "." => {}
                ".." => drop(clean.pop()),
                part => clean.push(part.to_owned()),
            }
        }
        Self { directory: directory || clean.is_empty(), parts: clean }
    }

    /// `text` from `base`, both with `/`.
    pub(super) fn slashed(base: &str, text: &str) -> Self {
        let base = if text.starts_with('/') { "" } else { base };
        let directory = matches!(text.rsplit('/').next(), None | Some("" | "." | ".."));
        Self::joined(base.split('/').chain(text.split('/')), directory)
    }

    /// The names from the root on.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Whether it is written so that it can only be a directory: with a separator at its end, or `.` or `..`.
    pub fn is_directory(&self) -> bool {
        self.directory
    }

    /// Relative to a directory that has the image's files.
    pub fn below_root(&self) -> PathBuf {
        self.parts.iter().collect()
    }

    /// With `/`, from `/`, and with one at its end where it [is a directory](Self::is_directory).
    pub fn with_slashes(&self) -> String {
        let end = if self.directory && !self.parts.is_empty() { "/" } else { "" };
        format!("/{}{end}", self.parts.join("/"))
    }
}

/// A path that an image of this system cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {fault}")]
pub struct PathError {
    /// The path as it was given.
    pub path: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

/// What is wrong with a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// `D:\x`.
    #[error("is on drive `{0}:`, and an image has only `C:`")]
    OtherDrive(char),
    /// `C:x`, often what is left of `C:\x` when the backslash is the escape character.
    #[error("has no `\\` after the drive, so it has no fixed place")]
    DriveRelative {
        /// What comes after the colon.
        rest: String,
    },
    /// `\\server\share`, `\\?\C:\x`, `\\.\device`.
    #[error("is on the network or a device, and an image has only `C:`")]
    Network,
    /// A name with a character that Windows has no place for.
    #[error("holds {0:?}, which no name on Windows can")]
    Character(char),
    /// `file:stream`.
    #[error("holds `:`, which on Windows names a stream of a file and no file")]
    Stream,
    /// `nul`, `com1.txt`.
    #[error("holds `{0}`, which is a device on Windows whatever the directory")]
    Device(String),
    /// `a.`, `b `.
    #[error("holds `{0}`: Windows drops the dot or space at its end")]
    End(String),
    /// Longer than 255 units.
    #[error("holds a name of {0} characters: Windows takes 255")]
    TooLong(usize),
    /// Bytes of Linux that are no text.
    #[error("is not UTF-8")]
    Encoding,
    /// A path that must be absolute and is not.
    #[error("is not absolute")]
    Relative,
    /// The root, where only a directory in it can be meant.
    #[error("is the root of the image")]
    Root,
}

impl PathError {
    pub(super) fn new(path: &str, fault: PathFault) -> Self {
        Self { path: path.to_owned(), fault }
    }

    /// What to type instead, in a Dockerfile with that escape character.
    pub fn hint_in(&self, escape: char) -> Option<String> {
        match &self.fault {
            PathFault::DriveRelative { rest } if escape != '\\' && !rest.is_empty() => {
                Some(format!(r"write `C:\{rest}`"))
            }
            PathFault::Relative | PathFault::Character('"') if self.path.starts_with('[') => {
                Some(r#"in a JSON array each `\` is written twice: `["C:\\data"]`"#.to_owned())
            }
            PathFault::Character('"') => Some(
                r#"a name with blanks is written as JSON: `["source", "C:\\Program Files\\app"]`"#.to_owned(),
            ),
            _ => self.hint(),
        }
    }

    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        match &self.fault {
            PathFault::OtherDrive(_) | PathFault::Network => {
                Some(r"write a path on `C:`, such as `C:\app`".to_owned())
            }
            PathFault::DriveRelative { rest } if rest.is_empty() => {
                Some(r"write `C:\` for the root: `C:` alone is whatever directory is current".to_owned())
            }
            PathFault::DriveRelative { .. } => Some(
                "a single `\\` is the escape character: begin the Dockerfile with ``# escape=` ``, or write `/` \
                 or `\\\\` between the names"
                    .to_owned(),
            ),
            PathFault::Relative => Some(format!(r"write `C:\{}`", self.path)),
            PathFault::Root => Some(r"name a directory, such as `C:\data`".to_owned()),
            PathFault::Stream
            | PathFault::Character(_)
            | PathFault::Device(_)
            | PathFault::End(_)
            | PathFault::Encoding
            | PathFault::TooLong(_) => Some("choose another name".to_owned()),
        }
    }
}
