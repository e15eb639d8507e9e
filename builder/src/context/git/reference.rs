//! How a git repository is named: the forms that BuildKit's Dockerfile frontend and `docker build` know.

mod form;
mod query;

use std::fmt;

use form::{Form, Parts, decoded, host_is_sane, split, split_short, url};

use super::refs::Resolved;
use crate::redact::redact_url;

/// A name of a repository, and of what is wanted of it.
///
/// | form | |
/// |---|---|
/// | `https://HOST/PATH.git`, `http://…` | only with `.git` at the end of the path |
/// | `ssh://[USER@]HOST[:PORT]/PATH`, `USER@HOST:PATH` | over ssh |
/// | `git://HOST/PATH` | git's own protocol, unencrypted |
/// | `github.com/USER/REPOSITORY` | short, for build contexts alone: to ADD it is a path |
///
/// After it `?key=value&…` (`ref`, `branch`, `tag`, `subdir`, `checksum` or `commit`, `keep-git-dir`,
/// `submodules`, `mtime`, `fetch-by-commit`), or `#REF:SUBDIR`, or both where they say the same.
#[derive(Clone, PartialEq, Eq)]
pub struct GitReference {
    /// What git is given, without user and password where those are credentials.
    pub(super) remote: String,
    /// `user:password` of an http URL, percent-decoded.
    pub(super) credentials: Option<(String, String)>,
    pub(super) transport: Transport,
    /// Branch, tag, full commit or a whole name (`refs/…`); the remote's HEAD where there is none.
    pub(super) name: Option<String>,
    pub(super) subdir: Option<String>,
    pub(super) checksum: Option<String>,
    pub(super) keep_git_dir: Option<bool>,
    pub(super) submodules: bool,
    pub(super) mtime: Mtime,
    pub(super) by_commit: bool,
}

/// How the repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    Ssh,
    Git,
}

/// The time that files of a checkout carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Mtime {
    /// The commit's own, so that the same commit makes the same files on any day.
    #[default]
    Commit,
    /// When they were checked out, as BuildKit does where nothing else is said.
    Checkout,
}

/// Why a text that names a git repository cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` {why}")]
pub struct GitReferenceError {
    shown: String,
    why: String,
    hint: Option<String>,
}

impl GitReferenceError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl fmt::Debug for GitReference {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitReference({self})")
    }
}

impl fmt::Display for GitReference {
    /// The name to show to people: never with credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.remote)?;
        match (&self.name, &self.subdir) {
            (None, None) => Ok(()),
            (name, None) => write!(f, "#{}", name.as_deref().unwrap_or_default()),
            (name, Some(subdir)) => write!(f, "#{}:{subdir}", name.as_deref().unwrap_or_default()),
        }
    }
}

impl GitReference {
    /// Reads a name. `None` where the text names no git repository: a path, another URL.
    pub fn parse(text: &str) -> Option<Result<Self, GitReferenceError>> {
        split_short(text).map_or_else(|| Self::parse_url(text), |parts| Some(Self::of(&parts)))
    }

    /// The same without the short form, which is a path to ADD.
    pub fn parse_url(text: &str) -> Option<Result<Self, GitReferenceError>> {
        split(text).map(|parts| Self::of(&parts))
    }

    fn of(parts: &Parts<'_>) -> Result<Self, GitReferenceError> {
        Self::read(parts).map_err(|complaint| GitReferenceError {
            shown: redact_url(parts.text).escape_debug().to_string(),
            why: complaint.why,
            hint: complaint.hint,
        })
    }

    /// Whether it is reached over ssh, so that an agent may be needed.
    pub fn is_ssh(&self) -> bool {
        self.transport == Transport::Ssh
    }

    /// The repository's address as git takes it, without credentials.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The directory below the repository's root that is wanted.
    pub fn subdir(&self) -> Option<&str> {
        self.subdir.as_deref()
    }

    /// The commit that it has to be, or its beginning.
    pub fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }

    /// What it says of keeping `.git`.
    pub fn keep_git_dir(&self) -> Option<bool> {
        self.keep_git_dir
    }

    /// The same, keeping `.git` or not.
    #[must_use]
    pub fn with_git_dir(mut self, keep: bool) -> Self {
        self.keep_git_dir = Some(keep);
        self
    }

    /// The same, accepted only where the commit's id begins with `checksum`.
    ///
    /// # Errors
    /// When that is no beginning of an id, or the name asks for another one.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, GitReferenceError> {
        let fail = |why: String| GitReferenceError {
            shown: checksum.escape_debug().to_string(),
            why,
            hint: Some(COMMIT.to_owned()),
        };
        let Some(checksum) = beginning(checksum) else {
            return Err(fail("is no commit of git".to_owned()));
        };
        if let Some(other) = self.checksum.as_ref().filter(|other| **other != checksum) {
            return Err(fail(format!("is asked for, and the URL's query asks for `{other}`")));
        }
        self.checksum = Some(checksum);
        self.one_commit().map_err(|complaint| GitReferenceError {
            shown: self.to_string(),
            why: complaint.why,
            hint: complaint.hint,
        })?;
        Ok(self)
    }

    /// A commit that is named, and one that it has to be, are one.
    fn one_commit(&self) -> Result<(), Complaint> {
        match (&self.name, &self.checksum) {
            (Some(name), Some(checksum)) if is_commit(name) && !name.starts_with(checksum.as_str()) => {
                Err(plain(format!("asks for two commits, `{name}` and `{checksum}`")))
            }
            _ => Ok(()),
        }
    }

    /// The commit, where it says itself which one it means, so that nobody has to be asked.
    pub(crate) fn pinned(&self) -> Option<Resolved> {
        match (&self.name, &self.checksum) {
            // A whole id that it has to be says which one, where nothing else does.
            (Some(id), _) | (None, Some(id)) if is_commit(id) => Some(Resolved::of(id, None)),
            (name, Some(id)) if self.by_commit && is_commit(id) => {
                // A name that says nothing else is a branch's.
                let name = name.as_ref().map(|name| match name.starts_with("refs/") {
                    true => name.clone(),
                    false => format!("refs/heads/{name}"),
                });
                Some(Resolved::of(id, name))
            }
            _ => None,
        }
    }

    /// What is asked of the server, and what the answer has to be: two references of which it is the same mean
    /// the same commit.
    pub(crate) fn question(&self) -> String {
        let or = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{} {} {} {}", self.remote, or(&self.name), or(&self.checksum), self.by_commit)
    }

    /// All that the content of a checkout is decided by.
    pub(crate) fn key(&self, resolved: &Resolved) -> String {
        let mut out = format!("commit {}", resolved.commit());
        if let Some(subdir) = &self.subdir {
            out += &format!(", directory {subdir}");
        }
        if !self.submodules {
            out += ", without submodules";
        }
        if self.mtime == Mtime::Checkout {
            out += ", with the time of its checkout";
        }
        if self.keeps_git_dir() {
            // All of this is in there.
            let name = resolved.name().unwrap_or("no name");
            out += &format!(", with .git of {} as {name} by {}", self.remote, resolved.object);
        }
        out
    }

    /// Whether `.git` is kept: only where the whole of the repository is wanted, as in BuildKit.
    pub(super) fn keeps_git_dir(&self) -> bool {
        self.keep_git_dir == Some(true) && self.subdir.is_none()
    }

    fn read(parts: &Parts<'_>) -> Result<Self, Complaint> {
        if parts.text.chars().any(|c| c.is_control()) {
            return Err(plain("has a control character in it"));
        }
        let (remote, credentials, transport) = match parts.form {
            Form::Scp { user, host, path } => {
                host_is_sane(host)?;
                if user.starts_with('-') || path.starts_with('-') {
                    return Err(plain("would be an option of ssh"));
                }
                (format!("{user}@{host}:{path}"), None, Transport::Ssh)
            }
            Form::Url { scheme, rest } => url(scheme, rest)?,
        };
        let mut out = Self {
            remote,
            credentials,
            transport,
            name: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            mtime: Mtime::default(),
            by_commit: false,
        };
        if let Some(fragment) = parts.fragment {
            // A URL's fragment is percent-encoded, what follows a path of ssh is not.
            let fragment = match parts.form {
                Form::Url { .. } => decoded(fragment).ok_or_else(|| plain("has no text after `#`"))?,
                Form::Scp { .. } => fragment.to_owned(),
            };
            let (name, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
            out.name = Some(name.to_owned()).filter(|name| !name.is_empty());
            out.subdir = Some(subdir.to_owned()).filter(|subdir| !subdir.is_empty());
        }
        out.query(parts.query.unwrap_or_default())?;
        if let Some(name) = &mut out.name {
            name_is_sane(name)?;
            if is_commit(name) {
                name.make_ascii_lowercase();
            }
        }
        out.subdir = out.subdir.take().map(|dir| below_root(&dir)).filter(|dir| !dir.is_empty());
        out.one_commit()?;
        if out.by_commit && !out.checksum.as_ref().or(out.name.as_ref()).is_some_and(|id| is_commit(id)) {
            return Err(plain("has `fetch-by-commit` and no whole commit to fetch")
                .hint("add `checksum=` with all 40 digits"));
        }
        Ok(out)
    }
}

/// The rules of `git check-ref-format`, as far as they keep a name from being something else.
fn name_is_sane(name: &str) -> Result<(), Complaint> {
    let strange = |c: char| c.is_control() || c == '\u{7f}' || " ~^:?*[\\".contains(c);
    if name.starts_with(['-', '/'])
        || name.ends_with(['/', '.'])
        || name.contains("..")
        || name.contains("@{")
    {
        return Err(plain(format!("asks for `{}`, which can be no branch or tag", name.escape_debug())));
    }
    if let Some(c) = name.chars().find(|&c| strange(c)) {
        return Err(plain(format!(
            "asks for `{}`, which can be no branch or tag: `{}` is not allowed in one",
            name.escape_debug(),
            c.escape_debug()
        )));
    }
    Ok(())
}

/// The path below the repository's root, `..` stopped at it.
fn below_root(dir: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in dir.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(out.pop()),
            part => out.push(part),
        }
    }
    out.join("/")
}

pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Whether it is the whole id of an object: SHA-1, or SHA-256 in a repository of that kind.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

/// What a commit's id looks like.
const COMMIT: &str = "a commit's id has 40 digits (0-9, a-f): `git rev-parse HEAD` prints it";

/// The id of a commit or its beginning, as git writes it; `None` where it can be none.
fn beginning(text: &str) -> Option<String> {
    (is_hex(text) && text.len() <= 64).then(|| text.to_ascii_lowercase())
}

/// What is wrong, and what to do about it.
struct Complaint {
    why: String,
    hint: Option<String>,
}

fn plain(why: impl Into<String>) -> Complaint {
    Complaint { why: why.into(), hint: None }
}

impl Complaint {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests;
