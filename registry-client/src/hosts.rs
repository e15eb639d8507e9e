//! Where a repository is to be asked for, and how: plain HTTP or HTTPS, mirrors, remapped and blocked
//! registries, certificates. The text of `registries.conf` (containers-registries.conf(5), version 2)
//! comes from the caller; of certs.d only the directories' names do.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Error;
use crate::registry::Repository;

/// What is known about hosts before the first request.
#[derive(Clone, Debug, Default)]
pub struct HostsConfig {
    /// Hosts (`host` or `host:port`) that may be spoken to by plain HTTP, or by HTTPS with a
    /// certificate that nobody vouches for. Loopback addresses need no entry for plain HTTP.
    pub insecure: Vec<String>,
    /// Mirrors, remapped and blocked registries.
    pub registries: RegistriesConf,
    /// Directories such as `/etc/containers/certs.d`, with a directory `host:port` in them (on Windows
    /// `hostport`, as Docker has it) that holds `*.crt` (authorities), and `*.cert` with `*.key` (our own).
    /// The first that has one is used.
    pub certs_dirs: Vec<PathBuf>,
    /// More authorities, PEM, for every host: what `SSL_CERT_FILE` names, for instance.
    pub extra_ca: Vec<Vec<u8>>,
    /// Hosts (`host`, or `host:port` for one port of it) that layers which a registry does not keep may be fetched
    /// from. An image names the URL of such a layer, so whoever makes an image could have us ask any host: only
    /// these are asked. [`FOREIGN_LAYER_HOSTS`] are those of Microsoft's own base images.
    pub foreign: Vec<String>,
}

/// Hosts that the foreign layers of Microsoft's base images name.
pub const FOREIGN_LAYER_HOSTS: &[&str] = &["go.microsoft.com", "mcr.microsoft.com"];

/// The part of `registries.conf` that we follow.
#[derive(Clone, Debug, Default)]
pub struct RegistriesConf {
    registries: Vec<RegistryEntry>,
    search: Vec<String>,
    aliases: Vec<(String, String)>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryEntry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorEntry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<RegistryEntry>,
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    aliases: std::collections::BTreeMap<String, String>,
}

/// One place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host` or `host:port` as configured or written; what credentials are looked up by.
    pub(crate) registry: String,
    /// The repository's name there.
    pub(crate) name: String,
    /// Plain HTTP and unverified HTTPS are allowed.
    pub(crate) insecure: bool,
}

impl RegistriesConf {
    /// Adds the text of one more file; what it says of a prefix replaces what earlier files said.
    /// `name` is for error messages.
    ///
    /// # Errors
    /// When the text is no TOML or not of version 2.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let bad = |what: String| Error::Config { name: name.to_owned(), what };
        let file: File = toml::from_str(text).map_err(|e| bad(e.to_string().trim().replace('\n', " ")))?;
        for mut entry in file.registry {
            if entry.prefix.is_empty() {
                entry.prefix = entry.location.clone();
            }
            if entry.prefix.is_empty() {
                return Err(bad("a `[[registry]]` needs a `prefix` or a `location`".into()));
            }
            self.registries.retain(|r| r.prefix != entry.prefix);
            self.registries.push(entry);
        }
        if let Some(search) = file.unqualified_search_registries {
            self.search = search;
        }
        for (short, full) in file.aliases {
            self.aliases.retain(|(s, _)| *s != short);
            self.aliases.push((short, full));
        }
        Ok(())
    }

    /// `unqualified-search-registries`, for names without a registry.
    pub fn search_registries(&self) -> &[String] {
        &self.search
    }

    /// What a short name stands for by `[aliases]`.
    pub fn alias(&self, short: &str) -> Option<&str> {
        self.aliases.iter().find(|(s, _)| s == short).map(|(_, full)| full.as_str())
    }

    /// The entry with the longest prefix that matches, and how much of `name` it stands for.
    fn find(&self, name: &str) -> Option<(&RegistryEntry, usize)> {
        self.registries
            .iter()
            .filter_map(|r| Some((r, prefix_length(&r.prefix, name)?)))
            .max_by_key(|(r, matched)| (*matched, !r.prefix.starts_with("*.")))
    }
}

/// How many bytes of `name` the prefix stands for, if it does.
fn prefix_length(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next()?;
        let bare = host.rsplit_once(':').map_or(host, |(h, _)| h);
        return (host.ends_with(domain) || bare.ends_with(domain)).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(prefix.len())
}

impl HostsConfig {
    /// Whether a foreign layer may be fetched from this host.
    pub(crate) fn allows_foreign(&self, host: &str, port: Option<u16>) -> bool {
        let with_port = port.map(|port| format!("{host}:{port}"));
        self.foreign
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host) || Some(allowed) == with_port.as_ref())
    }

    /// Where to pull from, mirrors first, the registry itself last.
    pub(crate) fn pull_endpoints(&self, repo: &Repository, by_digest: bool) -> Result<Vec<Endpoint>, Error> {
        let full = repo.to_string();
        let mut out = Vec::new();
        if let Some((entry, matched)) = self.registries.find(&full) {
            for mirror in &entry.mirror {
                let use_it = match mirror.pull_from_mirror.as_deref() {
                    Some("digest-only") => by_digest,
                    Some("tag-only") => !by_digest,
                    _ => by_digest || !entry.mirror_by_digest_only,
                };
                if use_it {
                    out.push(self.relocated(&mirror.location, &full, matched, mirror.insecure)?);
                }
            }
        }
        out.push(self.push_endpoint(repo)?);
        Ok(out)
    }

    /// The registry itself.
    pub(crate) fn push_endpoint(&self, repo: &Repository) -> Result<Endpoint, Error> {
        let full = repo.to_string();
        let Some((entry, matched)) = self.registries.find(&full) else {
            return self.endpoint(repo.registry(), repo.name(), false);
        };
        if entry.blocked {
            return Err(Error::Blocked { registry: entry.prefix.clone() });
        }
        let location = if entry.location.is_empty() { &full[..matched] } else { &entry.location };
        self.relocated(location, &full, matched, entry.insecure)
    }

    fn relocated(
        &self,
        location: &str,
        full: &str,
        matched: usize,
        insecure: bool,
    ) -> Result<Endpoint, Error> {
        let new = format!("{location}{}", full.get(matched..).unwrap_or_default());
        let (registry, name) = new.split_once('/').ok_or_else(|| Error::Config {
            name: location.to_owned(),
            what: "leaves no repository name".into(),
        })?;
        // Checks that what configuration made of the name may stand in a URL.
        Repository::new(registry, name)?;
        self.endpoint(registry, name, insecure)
    }

    fn endpoint(&self, registry: &str, name: &str, insecure: bool) -> Result<Endpoint, Error> {
        let insecure = insecure || self.insecure.iter().any(|h| h == registry);
        Ok(Endpoint { registry: registry.to_owned(), name: name.to_owned(), insecure })
    }

    /// The registry alone, for requests that concern no repository.
    pub(crate) fn registry_endpoint(&self, registry: &str) -> Result<Endpoint, Error> {
        Repository::new(registry, "x")?;
        let entry = self.registries.find(registry).filter(|(e, _)| e.prefix == registry);
        if entry.is_some_and(|(e, _)| e.blocked) {
            return Err(Error::Blocked { registry: registry.to_owned() });
        }
        self.endpoint(registry, "", entry.is_some_and(|(e, _)| e.insecure))
    }
}

impl Endpoint {
    /// The host that answers for it: Docker Hub has another one than its name says.
    pub(crate) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        }
    }
}

/// Whether a URL's host is this machine itself, so that nobody can listen in on plain HTTP.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.split_once(']')).map_or_else(
        || host.rsplit_once(':').filter(|(h, _)| !h.contains(':')).map_or(host, |(h, _)| h),
        |(h, _)| h,
    );
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        Ok(ip) => ip.is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str, registry: &str, name: &str, by_digest: bool) -> Result<Vec<String>, Error> {
        let mut hosts = HostsConfig::default();
        hosts.registries.add("registries.conf", text)?;
        let repo = Repository::new(registry, name)?;
        let show = |e: Endpoint| format!("{}/{}{}", e.registry, e.name, if e.insecure { "!" } else { "" });
        Ok(hosts.pull_endpoints(&repo, by_digest)?.into_iter().map(show).collect())
    }

    #[test]
    fn mirrors_come_first_and_names_are_remapped() {
        let text = r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.local:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "digests.local"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "old.example/team"
            location = "new.example/group/team"
            [[registry]]
            prefix = "*.internal.example"
            insecure = true
        "#;
        let get = |r, n, d| places(text, r, n, d).unwrap();
        assert_eq!(
            get("docker.io", "library/x", false),
            ["mirror.local:5000/hub/library/x!", "docker.io/library/x"]
        );
        assert_eq!(get("docker.io", "library/x", true).len(), 3);
        assert_eq!(get("old.example", "team/x", false), ["new.example/group/team/x"]);
        assert_eq!(get("old.example", "teams/x", false), ["old.example/teams/x"]);
        assert_eq!(get("a.internal.example:5000", "x", false), ["a.internal.example:5000/x!"]);
    }

    #[test]
    fn blocked_and_bad_files_are_errors() {
        let blocked = "[[registry]]\nlocation = \"bad.example\"\nblocked = true\n";
        assert!(matches!(places(blocked, "bad.example", "x", false), Err(Error::Blocked { .. })));
        for text in ["[[registry]]\n", "registry = 1", "[[registry]]\nlocation = \"a b\"\n"] {
            assert!(places(text, "a b", "x", false).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_hosts() {
        for host in ["127.0.0.1:5000", "127.9.9.9", "localhost:1", "[::1]:5000", "::1", "x.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1:5000", "example.com", "localhost.example", "[fe80::1]:1", "127.0.0.1.example"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
