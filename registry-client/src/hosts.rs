//! Where a repository is to be asked for, and how: plain HTTP or HTTPS, mirrors, remapped and blocked
//! registries, certificates. The text of `registries.conf` (containers-registries.conf(5))
//! comes from the caller; of certs.d only the directories' names do.

mod names;
mod registries;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

pub use self::names::ShortName;
pub use self::registries::RegistriesConf;
use self::registries::{Pulls, RegistryEntry};
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
    /// More authorities for every host: what `SSL_CERT_FILE` names, for instance.
    pub extra_ca: Authorities,
    /// Hosts (`host`, or `host:port` for one port of it) that layers which a registry does not keep may be fetched
    /// from. An image names the URL of such a layer, so whoever makes an image could have us ask any host: it may
    /// name only these. Where these send us on to is theirs to say. [`FOREIGN_LAYER_HOSTS`] are those of Microsoft's
    /// own base images.
    pub foreign: Vec<String>,
}

/// Certificates of authorities, as files in PEM have them. They are read when a host is first spoken to by TLS: most
/// builds speak to none.
#[derive(Clone)]
pub struct Authorities(Arc<ReadAuthorities>);

/// The contents of all files, or what is wrong with one.
type ReadAuthorities = dyn Fn() -> Result<Vec<Vec<u8>>, String> + Send + Sync;

impl Authorities {
    /// What `read` gives.
    pub fn new(read: impl Fn() -> Result<Vec<Vec<u8>>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Those of one file.
    pub fn of(pem: Vec<u8>) -> Self {
        Self::new(move || Ok(vec![pem.clone()]))
    }

    pub(crate) fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        (self.0)()
    }
}

impl Default for Authorities {
    /// None.
    fn default() -> Self {
        Self::new(|| Ok(Vec::new()))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities(..)")
    }
}

/// Hosts that the foreign layers of Microsoft's base images name.
pub const FOREIGN_LAYER_HOSTS: &[&str] = &["go.microsoft.com", "mcr.microsoft.com"];

/// One place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host` or `host:port` as configured or written; what credentials are looked up by.
    pub(crate) registry: String,
    /// The repository's name there.
    pub(crate) name: String,
    /// Plain HTTP and unverified HTTPS are allowed.
    pub(crate) insecure: bool,
    /// It is no more than a mirror of the registry that was asked for.
    pub(crate) mirror: bool,
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A manifest by its tag.
    Tag,
    /// A manifest by its digest.
    Digest,
    /// A blob whose manifest was fetched earlier, nobody knows from where.
    Blob,
}

/// What [`Error::Blocked`] says.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    prefix: String,
    file: String,
}

impl From<&RegistryEntry> for Blocked {
    fn from(entry: &RegistryEntry) -> Self {
        Self { prefix: entry.prefix.clone(), file: entry.file.clone() }
    }
}

impl From<Blocked> for Error {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked { prefix: blocked.prefix, file: blocked.file }
    }
}

/// The places to try for one thing, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) list: Vec<Endpoint>,
    /// Why others are not tried.
    pub(crate) before: Vec<String>,
    /// The registry itself is forbidden, and stands at the end of the list that it would be in.
    pub(crate) blocked: Option<Blocked>,
}

impl Places {
    /// How many attempts the place of this number is worth. A mirror that is down is no reason to wait where another
    /// place comes next; mirrors may stand behind the registry too.
    pub(crate) fn patience(&self, at: usize) -> u32 {
        let last = at + 1 == self.list.len() && self.blocked.is_none();
        let mirror = self.list.get(at).is_some_and(|place| place.mirror);
        if last || !mirror { u32::MAX } else { 1 }
    }
}

impl HostsConfig {
    /// Whether a foreign layer may be fetched from this host.
    pub(crate) fn allows_foreign(&self, host: &str, port: Option<u16>) -> bool {
        let with_port = port.map(|port| format!("{host}:{port}"));
        self.foreign
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host) || Some(allowed) == with_port.as_ref())
    }

    /// Whether configuration allows plain HTTP, and any certificate, for the host of a URL that something led to.
    /// It is asked of each host by itself: that the one which led there may be insecure is no leave for another.
    pub(crate) fn is_insecure(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let port = url.port_or_known_default().unwrap_or_default();
        let with_port = format!("{host}:{port}");
        let names = if url.port().is_none() { vec![host, &with_port] } else { vec![with_port.as_str()] };
        names.iter().any(|name| {
            self.insecure.iter().any(|h| h.eq_ignore_ascii_case(name)) || self.registries.is_insecure(name)
        })
    }

    /// Where to pull from, mirrors first, the registry itself last.
    ///
    /// A blocked registry is not asked; its mirrors are, which is how a network that reaches nothing else is
    /// configured. A mirror that another entry blocks is not asked either.
    pub(crate) fn pull_endpoints(&self, repo: &Repository, by: By) -> Result<Places, Error> {
        let full = repo.to_string();
        let mut out = Places::default();
        let Some((entry, matched)) = self.registries.find(&full) else {
            out.list.push(self.endpoint(repo.registry(), repo.name(), false));
            return Ok(out);
        };
        let mut behind = Vec::new();
        for mirror in &entry.mirrors {
            let used = match (mirror.pulls, by) {
                (Pulls::All, _) | (Pulls::Digests, By::Digest | By::Blob) | (Pulls::Tags, By::Tag) => true,
                // Its image may have come by a tag from there; whatever comes has the right digest.
                (Pulls::Tags, By::Blob) => false,
                (Pulls::Digests, By::Tag) | (Pulls::Tags, By::Digest) => continue,
            };
            let mut place = self.relocated(&mirror.location, &full, matched, mirror.insecure)?;
            place.mirror = true;
            if let Some(blocked) = self.blocks(&place) {
                out.before.push(Error::from(blocked).to_string());
            } else if used {
                out.list.push(place);
            } else {
                behind.push(place);
            }
        }
        if entry.blocked {
            out.blocked = Some(entry.into());
        } else {
            let location = if entry.location.is_empty() { &full[..matched] } else { &entry.location };
            let place = self.relocated(location, &full, matched, entry.insecure)?;
            match self.blocks(&place) {
                None => out.list.push(place),
                blocked => out.blocked = blocked,
            }
        }
        out.list.append(&mut behind);
        Ok(out)
    }

    /// What blocks a place by its own name.
    fn blocks(&self, place: &Endpoint) -> Option<Blocked> {
        let (entry, _) = self.registries.find(&format!("{}/{}", place.registry, place.name))?;
        entry.blocked.then(|| entry.into())
    }

    /// Where lists are read from: the registry itself, where it really is.
    pub(crate) fn list_endpoint(&self, repo: &Repository) -> Result<Endpoint, Error> {
        let places = self.pull_endpoints(repo, By::Tag)?;
        match (places.list.into_iter().find(|place| !place.mirror), places.blocked) {
            (Some(place), _) => Ok(place),
            (None, blocked) => Err(blocked.map_or(Error::Cancelled, Error::from)),
        }
    }

    /// Where to push to: the registry that the name says. `location` and mirrors are for reading alone, as with
    /// podman.
    pub(crate) fn push_endpoint(&self, repo: &Repository) -> Result<Endpoint, Error> {
        let entry = self.registries.find(&repo.to_string()).map(|(entry, _)| entry);
        if let Some(entry) = entry.filter(|entry| entry.blocked) {
            return Err(Blocked::from(entry).into());
        }
        Ok(self.endpoint(repo.registry(), repo.name(), entry.is_some_and(|entry| entry.insecure)))
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
        // As with Docker's own names: `docker.io/x` is `docker.io/library/x`.
        let name = match registry {
            "docker.io" if !name.contains('/') => format!("library/{name}"),
            _ => name.to_owned(),
        };
        // Checks that what configuration made of the name may stand in a URL.
        Repository::new(registry, name.as_str())?;
        Ok(self.endpoint(registry, &name, insecure))
    }

    fn endpoint(&self, registry: &str, name: &str, insecure: bool) -> Endpoint {
        let insecure = insecure || self.insecure.iter().any(|h| h == registry);
        Endpoint { registry: registry.to_owned(), name: name.to_owned(), insecure, mirror: false }
    }

    /// The registry alone, for requests that concern no repository.
    pub(crate) fn registry_endpoint(&self, registry: &str) -> Result<Endpoint, Error> {
        Repository::new(registry, "x")?;
        let entry = self.registries.find(registry);
        if let Some((entry, _)) = entry.filter(|(e, _)| e.blocked) {
            return Err(Blocked::from(entry).into());
        }
        Ok(self.endpoint(registry, "", entry.is_some_and(|(e, _)| e.insecure)))
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

    fn hosts(text: &str) -> HostsConfig {
        let mut hosts = HostsConfig::default();
        hosts.registries.add("registries.conf", text).unwrap();
        hosts
    }

    fn shown(e: &Endpoint) -> String {
        format!("{}/{}{}", e.registry, e.name, if e.insecure { "!" } else { "" })
    }

    /// The places as text; a blocked registry as `-`.
    fn places(text: &str, name: &str, by: By) -> Vec<String> {
        let (registry, name) = name.split_once('/').unwrap();
        let found = hosts(text).pull_endpoints(&Repository::new(registry, name).unwrap(), by).unwrap();
        found.list.iter().map(shown).chain(found.blocked.map(|_| "-".to_owned())).collect()
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
            [[registry.mirror]]
            location = "tags.local"
            pull-from-mirror = "tag-only"
            [[registry]]
            prefix = "old.example/team"
            location = "new.example/group/team"
            [[registry]]
            prefix = "hub.example"
            location = "docker.io"
            [[registry]]
            prefix = "*.internal.example"
            insecure = true
            [[registry]]
            prefix = "*.moved.example"
            location = "new.example/moved"
        "#;
        for (name, by, want) in [
            (
                "docker.io/library/x",
                By::Tag,
                &["mirror.local:5000/hub/library/x!", "tags.local/library/x", "docker.io/library/x"][..],
            ),
            (
                "docker.io/library/x",
                By::Digest,
                &["mirror.local:5000/hub/library/x!", "digests.local/library/x", "docker.io/library/x"],
            ),
            (
                "docker.io/library/x",
                By::Blob,
                &[
                    "mirror.local:5000/hub/library/x!",
                    "digests.local/library/x",
                    "docker.io/library/x",
                    "tags.local/library/x",
                ],
            ),
            ("old.example/team/x", By::Tag, &["new.example/group/team/x"]),
            ("old.example/teams/x", By::Tag, &["old.example/teams/x"]),
            ("hub.example/x", By::Tag, &["docker.io/library/x"]),
            ("a.internal.example:5000/x", By::Tag, &["a.internal.example:5000/x!"]),
            ("a.moved.example/x", By::Tag, &["new.example/moved/x"]),
        ] {
            assert_eq!(places(text, name, by), want, "{name} {by:?}");
        }
        let digests = "[[registry]]\nlocation = \"a.io\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b.io\"";
        assert_eq!(places(digests, "a.io/x", By::Tag), ["a.io/x"]);
        assert_eq!(places(digests, "a.io/x", By::Digest), ["b.io/x", "a.io/x"]);
    }

    #[test]
    fn a_push_goes_where_the_name_says() {
        let hosts = hosts(
            "[[registry]]\nprefix = \"a.io\"\nlocation = \"b.io/team\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"c.io\"\n[[registry]]\nlocation = \"d.io\"\nblocked = true",
        );
        let repo = Repository::new("a.io", "x").unwrap();
        assert_eq!(shown(&hosts.push_endpoint(&repo).unwrap()), "a.io/x!");
        assert_eq!(shown(&hosts.list_endpoint(&repo).unwrap()), "b.io/team/x!");
        let repo = Repository::new("d.io", "x").unwrap();
        for place in [hosts.push_endpoint(&repo), hosts.list_endpoint(&repo)] {
            assert!(matches!(place, Err(Error::Blocked { .. })));
        }
    }

    #[test]
    fn a_registry_by_itself_is_what_its_table_says() {
        let hosts = hosts(
            "[[registry]]\nprefix = \"*.corp.io\"\ninsecure = true\n[[registry]]\nlocation = \"a.io/team\"\n\
             insecure = true\n[[registry]]\nlocation = \"b.io\"\nblocked = true",
        );
        for (registry, insecure) in [("r.corp.io:5000", true), ("corp.io", false), ("a.io", false)] {
            assert_eq!(hosts.registry_endpoint(registry).unwrap().insecure, insecure, "{registry}");
        }
        assert!(matches!(hosts.registry_endpoint("b.io"), Err(Error::Blocked { .. })));
    }

    #[test]
    fn each_host_is_insecure_by_its_own_name() {
        let mut hosts = hosts(
            "[[registry]]\nlocation = \"a.io:5000\"\ninsecure = true\n[[registry]]\nprefix = \"*.corp.io\"\n\
             insecure = true\n[[registry]]\nlocation = \"b.io/team\"\ninsecure = true\n[[registry]]\n\
             location = \"c.io\"\n[[registry.mirror]]\nlocation = \"m.io/c\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"safe.io\"\n[[registry]]\nprefix = \"d.io\"\n\
             location = \"real.io:81\"\ninsecure = true",
        );
        hosts.insecure = ["plain.io", "other.io:5001", "std.io:80"].map(str::to_owned).to_vec();
        for (url, insecure) in [
            ("http://a.io:5000/v2/", true),
            ("http://a.io/", false),
            ("http://a.io.evil:5000/", false),
            ("http://x.corp.io:99/", true),
            ("http://corp.io/", false),
            // One repository of it, or what is only behind it.
            ("http://b.io/team/x", false),
            ("http://c.io/", false),
            ("http://m.io/", true),
            ("http://safe.io/", false),
            ("http://d.io/", false),
            ("http://real.io:81/", true),
            ("http://plain.io/", true),
            ("https://plain.io/", true),
            ("http://plain.io:5000/", false),
            ("http://OTHER.io:5001/", true),
            ("http://other.io/", false),
            ("http://std.io/", true),
        ] {
            assert_eq!(hosts.is_insecure(&Url::parse(url).unwrap()), insecure, "{url}");
        }
    }

    #[test]
    fn blocked_registries_are_not_asked() {
        let text = "[[registry]]\nlocation = \"bad.io\"\nblocked = true\n[[registry]]\nlocation = \"kept.io\"\n\
                    blocked = true\n[[registry.mirror]]\nlocation = \"good.io\"\n[[registry.mirror]]\n\
                    location = \"bad.io/m\"\n[[registry]]\nprefix = \"moved.io\"\nlocation = \"bad.io/sub\"";
        assert_eq!(places(text, "bad.io/x", By::Tag), ["-"]);
        assert_eq!(places(text, "kept.io/x", By::Tag), ["good.io/x", "-"]);
        assert_eq!(places(text, "moved.io/x", By::Tag), ["-"]);
        assert_eq!(places(text, "good.io/x", By::Tag), ["good.io/x"]);
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
