//! Names of images: `docker.io/library/debian:12@sha256:…`, read and completed as Docker does
//! (the grammar and the normalisation of distribution/reference).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::digest::Digest;

/// The registry of names that say none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The older name of the same registry.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The folder of names that are one word.
const OFFICIAL: &str = "library";
/// The longest path of a repository, in bytes.
const MAX_PATH: usize = 255;
/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// A full name of an image: registry, repository, and a tag or a digest or both.
///
/// ```
/// use orlop_store::Reference;
/// let r: Reference = "debian".parse().unwrap();
/// assert_eq!(r.to_string(), "docker.io/library/debian:latest");
/// assert_eq!(r.familiar(), "debian:latest");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
    written: Written,
}

/// How a name was written. That is no part of what it names: `debian` and `docker.io/library/debian` are equal.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// With its registry.
    Full,
    /// Without: `debian`, `team/app`.
    Short,
    /// Without, and as `library/debian`.
    Library,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl PartialOrd for Written {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Written {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Written {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Text that is no name of an image.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an image name: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
    hint: Option<String>,
}

impl ReferenceError {
    /// What to write instead, where that can be guessed.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl Reference {
    /// Registry host and port, `docker.io` where the text named none.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository inside its registry, `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; none only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index that is meant, where the name pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository without tag and digest, `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether it was written without a registry, which is `docker.io` then unless configuration says
    /// otherwise. Equality takes no notice of it.
    pub fn is_short(&self) -> bool {
        !matches!(self.written, Written::Full)
    }

    /// The short name as it was written, without tag and digest: `debian`, `team/app`, `library/x`.
    pub fn short_name(&self) -> Option<&str> {
        match self.written {
            Written::Full => None,
            // What has a part more than was written is one word in the folder of such.
            Written::Short => Some(self.path.strip_prefix("library/").unwrap_or(&self.path)),
            Written::Library => Some(&self.path),
        }
    }

    /// The same tag and digest in another repository, which names its registry.
    ///
    /// # Errors
    /// When `repository` is none.
    pub fn in_repository(&self, repository: &str) -> Result<Self, ReferenceError> {
        let place: Self = repository.parse()?;
        let (tag, digest) = (self.tag.clone(), self.digest);
        Ok(Self { domain: place.domain, path: place.path, tag, digest, written: Written::Full })
    }

    /// The same name with the tag `tag` and no digest.
    ///
    /// # Errors
    /// When `tag` is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(refuse(tag, "a tag has up to 128 letters, digits, `_`, `.`, `-`", None));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name pinned to `digest`, its tag kept.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same name without its digest; `latest` where no tag is left.
    pub fn without_digest(&self) -> Self {
        let tag = self.tag.clone().or_else(|| Some("latest".to_owned()));
        Self { tag, digest: None, ..self.clone() }
    }

    /// The name as people write it: without `docker.io` and `library`.
    pub fn familiar(&self) -> String {
        let mut out = if self.domain == DEFAULT_DOMAIN {
            match self.path.strip_prefix("library/") {
                Some(one) if !one.contains('/') => one.to_owned(),
                _ => self.path.clone(),
            }
        } else {
            self.repository()
        };
        self.write_suffix(&mut out);
        out
    }

    fn write_suffix(&self, out: &mut String) {
        if let Some(tag) = &self.tag {
            out.push(':');
            out.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            out.push('@');
            out.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = self.repository();
        self.write_suffix(&mut out);
        f.write_str(&out)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(refuse(text, "it is empty", None));
        }
        if text == "scratch" {
            let hint = "`scratch` stands for no image at all, in `FROM` only";
            return Err(refuse(text, "it is a reserved word", Some(hint.to_owned())));
        }
        if is_image_id(text) {
            let hint = "an image ID may stand where an image is looked up, not where one is named";
            return Err(refuse(text, "64 hex digits are an image ID", Some(hint.to_owned())));
        }
        if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            return Err(refuse(text, "it is a URL", Some(format!("leave out the scheme: `{rest}`"))));
        }
        if text.strip_prefix("sha256:").is_some_and(is_image_id) {
            return Err(refuse(text, "it is a digest without a repository before it", None));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    refuse(text, "after `@` comes `sha256:` and 64 lower-case hex digits", None)
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let written = match remainder {
            _ if remainder.len() < rest.len() => Written::Full,
            _ if remainder.starts_with("library/") => Written::Library,
            _ => Written::Short,
        };
        // A port never gets here: what has a colon before its first slash is a domain.
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(refuse(text, "a tag has up to 128 letters, digits, `_`, `.`, `-`", None));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            let hint = format!("write `{}`", text.replacen(path, &path.to_ascii_lowercase(), 1));
            return Err(refuse(text, "the repository must be lower case", Some(hint)));
        }
        if !is_domain(&domain) {
            return Err(refuse(text, "what stands before the first `/` is no host name", None));
        }
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        if !path.split('/').all(is_component) {
            let why = "a repository is made of lower-case letters and digits, with single `.` or `_`, \
                       double `_` or dashes between them";
            return Err(refuse(text, why, None));
        }
        if path.len() > MAX_PATH {
            return Err(refuse(text, "the repository is longer than 255 characters", None));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { domain, path, tag, digest, written })
    }
}

fn refuse(text: &str, why: &'static str, hint: Option<String>) -> ReferenceError {
    let text = if text.chars().count() > 300 {
        text.chars().take(297).chain("...".chars()).collect()
    } else {
        text.to_owned()
    };
    ReferenceError { text, why, hint }
}

/// Splits off the registry: the first component is one when it is `localhost` or has a dot, a
/// colon or an upper-case letter in it.
fn split_domain(text: &str) -> (String, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first == LEGACY_DOMAIN => (DEFAULT_DOMAIN.to_owned(), rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first.to_owned(), rest)
        }
        _ => (DEFAULT_DOMAIN.to_owned(), text),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((address, rest)) => {
                if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                    return false;
                }
                return match rest.strip_prefix(':') {
                    Some(port) => is_port(port),
                    None => rest.is_empty(),
                };
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Letters and digits, with `.`, `_`, `__` or any number of dashes between them.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(|b| word(*b)) || !bytes.last().is_some_and(|b| word(*b)) {
        return false;
    }
    bytes
        .split(|b| word(*b))
        .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Whether `text` is a whole image ID without its algorithm: 64 lower-case hex digits.
pub fn is_image_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// The hex digits of an image ID or of the start of one, with or without `sha256:` before it; none
/// when `text` can only be a name. What is both (`cafe`) is a name first: look that up before.
pub fn image_id_prefix(text: &str) -> Option<&str> {
    let (hex, marked) = match text.strip_prefix("sha256:") {
        Some(hex) => (hex, true),
        None => (text, false),
    };
    let least = if marked { 1 } else { 2 };
    (hex.len() >= least && hex.len() <= 64 && is_hex(hex)).then_some(hex)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
