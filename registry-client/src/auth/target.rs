//! What a login is for: a registry, or a repository on one, as people write it.

use std::fmt;

use super::docker_config::{canonical, server_name};
use crate::error::Error;
use crate::registry::Repository;

/// A registry, or one repository on it, to log in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginTarget {
    registry: String,
    repository: String,
}

impl LoginTarget {
    /// Reads `HOST[:PORT]`, a URL of it as Docker's own files have them (`https://index.docker.io/v1/`), or
    /// `HOST[:PORT]/REPOSITORY`, as containers-auth.json(5) has keys. All names of Docker Hub are `docker.io`.
    ///
    /// # Errors
    /// When it could be no such thing: it has a tag, a user, a query.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // Before an `@` may stand a password, which is not shown.
        let name =
            text.rsplit_once('@').filter(|(before, _)| !before.contains('/') || before.contains("://"));
        let name = name.map_or(text, |(_, host)| host);
        let bad = |what: &str| Error::Config { name: name.to_owned(), what: what.to_owned() };
        let lower = text.to_ascii_lowercase();
        let is_url = lower.starts_with("https://") || lower.starts_with("http://");
        let bare = if is_url { text.split_once("://").map_or(text, |(_, rest)| rest) } else { text };
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = path.trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        if is_url && !path.is_empty() {
            return Err(bad("a URL names a registry, and no repository on it"));
        }
        if path.contains([':', '@']) {
            return Err(bad("a login is for a registry or a repository, not for a tag or digest"));
        }
        let registry = canonical(&host.to_ascii_lowercase()).to_owned();
        // Checks both for what may stand in a URL.
        Repository::new(registry.as_str(), if path.is_empty() { "x" } else { path })
            .map_err(|_| bad("not a registry's host, or a repository on it"))?;
        Ok(Self { registry, repository: path.to_owned() })
    }

    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's name; empty for the whole registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The key in a file of credentials, and the server's name for a helper.
    pub(crate) fn key(&self) -> String {
        match self.repository.as_str() {
            "" => server_name(&self.registry),
            name => format!("{}/{name}", self.registry),
        }
    }
}

impl fmt::Display for LoginTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        if self.repository.is_empty() { Ok(()) } else { write!(f, "/{}", self.repository) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_registries_and_repositories() {
        for (text, shown, key) in [
            ("r.example:5000", "r.example:5000", "r.example:5000"),
            ("R.Example", "r.example", "r.example"),
            ("https://r.example/", "r.example", "r.example"),
            ("http://127.0.0.1:5/v2/", "127.0.0.1:5", "127.0.0.1:5"),
            ("r.example/team/app", "r.example/team/app", "r.example/team/app"),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
            ("docker.io", "docker.io", "https://index.docker.io/v1/"),
            ("index.docker.io", "docker.io", "https://index.docker.io/v1/"),
            ("https://index.docker.io/v1/", "docker.io", "https://index.docker.io/v1/"),
            ("registry-1.docker.io", "docker.io", "https://index.docker.io/v1/"),
            ("index.docker.io/me/app", "docker.io/me/app", "docker.io/me/app"),
        ] {
            let target = LoginTarget::parse(text).unwrap();
            assert_eq!((target.to_string().as_str(), target.key().as_str()), (shown, key), "{text}");
        }
        for text in [
            "",
            "/",
            "https://",
            "r.example/app:1",
            "r.example/app@sha256:0",
            "u@r.example",
            "r.example/A",
            "https://r.example/app",
            "r.example?x",
            "r example",
            "ftp://r.example",
        ] {
            assert!(LoginTarget::parse(text).is_err(), "{text}");
        }
        for text in ["https://jo:hunter2@r.example", "jo:hunter2@r.example/app"] {
            let error = LoginTarget::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("r.example"), "{error}");
        }
    }
}
