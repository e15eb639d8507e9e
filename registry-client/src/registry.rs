//! The nouns of the distribution protocol: a repository, and what is asked for in it.

use std::fmt;

use orlop_store::{Digest, Reference};

use crate::error::Error;

/// A repository: a registry's host and a name on it, such as `docker.io` and `library/debian`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    name: String,
}

impl Repository {
    /// `registry` is `host` or `host:port`, `name` the path on it. Nothing is added: `docker.io` and
    /// `library/` must already be there.
    ///
    /// # Errors
    /// When either could not be part of a URL as it stands.
    pub fn new(registry: impl Into<String>, name: impl Into<String>) -> Result<Self, Error> {
        let (registry, name) = (registry.into(), name.into());
        let bad = |what: &str| Error::Config { name: format!("{registry}/{name}"), what: what.to_owned() };
        let host_char = |c: u8| c.is_ascii_alphanumeric() || b".-:[]_".contains(&c);
        if registry.is_empty() || !registry.bytes().all(host_char) {
            return Err(bad("not a registry's host"));
        }
        let name_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
        let part = |p: &str| {
            p.bytes().all(name_char)
                && p.starts_with(|c: char| c.is_ascii_alphanumeric())
                && p.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if name.len() > 255 || !name.split('/').all(part) {
            return Err(bad("not a repository's name"));
        }
        Ok(Self { registry, name })
    }

    /// The repository that a name is in.
    ///
    /// # Errors
    /// As [`Repository::new`].
    pub fn of(reference: &Reference) -> Result<Self, Error> {
        Self::new(reference.domain(), reference.path())
    }

    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name on the registry.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// Which manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagOrDigest {
    /// By a tag, which may move.
    Tag(String),
    /// By its digest.
    Digest(Digest),
}

impl TagOrDigest {
    /// What a name stands for: its digest where it has one, else its tag, which is `latest` where none is said.
    pub fn of(reference: &Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }

    /// As the last part of a manifest's URL; a tag that could not be one is refused.
    pub(crate) fn path(&self) -> Result<String, Error> {
        match self {
            Self::Digest(digest) => Ok(digest.to_string()),
            Self::Tag(tag) => {
                let ok = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
                let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
                if !starts || tag.len() > 128 || !tag.bytes().all(ok) {
                    return Err(Error::Config { name: tag.clone(), what: "not a tag".into() });
                }
                Ok(tag.clone())
            }
        }
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

impl From<Digest> for TagOrDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A manifest or index as the registry sent it, byte for byte, its digest verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestResponse {
    /// What it is, by its own `mediaType`, by `Content-Type`, or by its shape.
    pub media_type: String,
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The document.
    pub bytes: Vec<u8>,
}

/// What is known of a manifest without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Uploaded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_place_in_a_url_are_refused() {
        for (registry, name) in [
            ("", "a"),
            ("h/x", "a"),
            ("h@x", "a"),
            ("h", ""),
            ("h", "a/../b"),
            ("h", "a//b"),
            ("h", "A"),
            ("h", "a?b"),
        ] {
            assert!(Repository::new(registry, name).is_err(), "{registry} {name}");
        }
        for (registry, name) in
            [("127.0.0.1:5000", "a/b__c/d-e"), ("[::1]:5", "x"), ("docker.io", "library/x")]
        {
            assert!(Repository::new(registry, name).is_ok(), "{registry} {name}");
        }
        for tag in ["", "../x", "a/b", ".a", "a b", &"x".repeat(129)] {
            assert!(TagOrDigest::Tag(tag.to_owned()).path().is_err(), "{tag}");
        }
    }
}
