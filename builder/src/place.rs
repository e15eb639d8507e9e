//! Places where images are and can be copied to: repositories of registries, OCI layouts, archives.
//!
//! What is copied goes byte for byte, in one stream from the one place to the other: nothing is unpacked, nothing
//! changed, nothing kept on the way. A name at the destination is written last.

mod copy;
mod destination;
mod document;
mod pick;
mod referrers;
mod source;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use orlop_store::Reference;

pub use copy::{Copied, CopyOptions, Known, copy};
pub use document::Document;
pub use pick::{Picked, pick, pick_asked};
pub use source::Source;

use crate::transfer::split_layout;

/// A place, and what is meant there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `NAME` or `docker://NAME`: a name at a registry.
    Registry(Reference),
    /// `oci-layout://DIR[:TAG][@DIGEST]` or `oci:DIR[:TAG]`: an OCI layout's directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The tag or digest in it.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar of an OCI layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The tag or digest in it.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image's name in it.
        name: Option<Reference>,
    },
}

/// Text that is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place of images: {why}")]
pub struct PlaceError {
    text: String,
    why: String,
    hint: Option<String>,
}

impl PlaceError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// What other programs have, and what to do instead.
const FOREIGN: [(&str, &str); 6] = [
    ("dir:", "write an OCI layout: `oci-layout://DIR`"),
    ("containers-storage:", "write it with `podman save --format oci-archive`, and copy `oci-archive:FILE`"),
    ("docker-daemon:", "write it with `docker save`, and copy `docker-archive:FILE`"),
    ("ostree:", "copy from a registry, a layout or an archive"),
    ("sif:", "copy from a registry, a layout or an archive"),
    ("store:", "use `orlop push`, `orlop pull`, `orlop save` or `orlop load`"),
];

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let fail = |why: &str, hint: Option<&str>| PlaceError {
            text: text.to_owned(),
            why: why.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let filled = |path: &str| match path.is_empty() {
            true => Err(fail("its path is missing", None)),
            false => Ok(PathBuf::from(path)),
        };
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            let (path, name) = split_layout(layout);
            return Ok(Self::Layout { path: filled(path)?, name: name.map(str::to_owned) });
        }
        if let Some(layout) = text.strip_prefix("oci:") {
            let (path, name) = split(layout);
            return Ok(Self::Layout { path: filled(path)?, name: name.map(str::to_owned) });
        }
        if let Some(archive) = text.strip_prefix("oci-archive:") {
            let (path, name) = split(archive);
            return Ok(Self::OciArchive { path: filled(path)?, name: name.map(str::to_owned) });
        }
        if let Some(archive) = text.strip_prefix("docker-archive:") {
            let (path, name) = split(archive);
            let name = name.map(|name| name.parse::<Reference>());
            let name =
                name.transpose().map_err(|e| PlaceError { hint: e.hint(), ..fail(&e.to_string(), None) })?;
            return Ok(Self::DockerArchive { path: filled(path)?, name });
        }
        if let Some((_, hint)) = FOREIGN.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(fail("orlop copies between registries, OCI layouts and archives", Some(hint)));
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        match name.parse() {
            Ok(name) => Ok(Self::Registry(name)),
            Err(error) => {
                let hint = orlop_store::reference::ReferenceError::hint(&error);
                let places = "a file or directory is written `oci-layout://DIR`, `oci-archive:FILE` or \
                              `docker-archive:FILE`";
                let looks_like_path = text.starts_with(['.', '/', '~']);
                let hint = if looks_like_path { Some(places.to_owned()) } else { hint };
                Err(PlaceError { hint, ..fail(&error.to_string(), None) })
            }
        }
    }
}

/// A path and the name behind its first colon, as skopeo has it: names have colons of their own. A digest stands
/// behind `@`. The colon of `C:\images` belongs to the path.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((path, digest)) = text.rsplit_once('@')
        && digest.starts_with("sha256:")
    {
        return (split(path).0, Some(digest));
    }
    let drive = match text.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => 2,
        _ => 0,
    };
    let Some(at) = text.get(drive..).and_then(|rest| rest.find(':')) else { return (text, None) };
    let (path, name) = text.split_at(drive + at);
    (path, Some(&name[1..]).filter(|name| !name.is_empty()))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files = |kind: &str, path: &PathBuf, name: Option<String>| {
            write!(f, "{kind}{}", path.display())?;
            match name {
                Some(name) if name.starts_with("sha256:") => write!(f, "@{name}"),
                Some(name) => write!(f, ":{name}"),
                None => Ok(()),
            }
        };
        match self {
            Self::Registry(name) => f.write_str(&name.familiar()),
            Self::Layout { path, name } => files("oci-layout://", path, name.clone()),
            Self::OciArchive { path, name } => files("oci-archive:", path, name.clone()),
            Self::DockerArchive { path, name } => {
                files("docker-archive:", path, name.as_ref().map(Reference::familiar))
            }
        }
    }
}

#[cfg(test)]
mod tests;
