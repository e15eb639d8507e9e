//! Docker's `config.json` and containers' `auth.json`: who has which password.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;

use super::Credential;
use crate::error::Error;

/// Base64 with or without its padding.
const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One file's content.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_empty")]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn null_is_empty<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// What a file says about a registry.
pub(crate) enum Found<'a> {
    Credential(Credential),
    /// Ask `docker-credential-NAME` for the server.
    Helper {
        name: &'a str,
        server: String,
    },
}

impl ConfigFile {
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|e| damaged(name, &e))
    }

    /// `.dockercfg`: what is `auths` elsewhere is the whole file.
    pub(crate) fn parse_legacy(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let auths = serde_json::from_slice(bytes).map_err(|e| damaged(name, &e))?;
        Ok(Self { auths, ..Self::default() })
    }

    /// Looks for `registry`, or the repository `registry/name`, most particular first: a helper for
    /// the registry, an entry of `auths` for the repository or a part of its path, the store.
    pub(crate) fn find(&self, registry: &str, name: &str, file: &str) -> Result<Vec<Found<'_>>, Error> {
        let mut out = Vec::new();
        let own = self.own_helper(registry);
        if let Some(name) = own.filter(|name| !name.is_empty()) {
            out.push(Found::Helper { name, server: server_name(registry) });
        }
        let mut path = name;
        loop {
            if let Some(found) = self.entry(registry, path, file)? {
                out.push(Found::Credential(found));
                return Ok(out);
            }
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        if let Some(name) = self.creds_store.as_deref().filter(|name| own.is_none() && !name.is_empty()) {
            out.push(Found::Helper { name, server: server_name(registry) });
        }
        Ok(out)
    }

    /// The helper that keeps the registry's login, if one does. An empty name in `credHelpers` says that none does.
    pub(crate) fn helper(&self, registry: &str) -> Option<&str> {
        let name = self.own_helper(registry).or(self.creds_store.as_deref());
        name.filter(|name| !name.is_empty())
    }

    fn own_helper(&self, registry: &str) -> Option<&str> {
        let same = |key: &str| names(key, registry, "");
        self.cred_helpers.iter().find(|(key, _)| same(key)).map(|(_, name)| name.as_str())
    }

    /// The helper for all registries, and those for some, with the registries.
    pub(crate) fn helpers(&self) -> (Option<&str>, Vec<(&str, &str)>) {
        let some = self.cred_helpers.iter().filter(|(_, name)| !name.is_empty());
        let some = some.map(|(key, name)| (key.as_str(), name.as_str())).collect();
        (self.creds_store.as_deref().filter(|name| !name.is_empty()), some)
    }

    /// Whether there is an entry for just this, whatever is in it.
    pub(crate) fn has(&self, registry: &str, path: &str) -> bool {
        self.auths.keys().any(|key| names(key, registry, path))
    }

    /// Whether there are entries at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.auths.is_empty()
    }

    fn entry(&self, registry: &str, path: &str, file: &str) -> Result<Option<Credential>, Error> {
        let exact = if path.is_empty() { registry.to_owned() } else { format!("{registry}/{path}") };
        let others = self.auths.iter().filter(|(key, _)| **key != exact && names(key, registry, path));
        for (key, entry) in self.auths.get_key_value(&exact).into_iter().chain(others) {
            let found = entry.credential().map_err(|what| Error::Config {
                name: file.to_owned(),
                what: format!("the entry for `{key}` {what}"),
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// serde_json's messages can quote what they found, and here that may be a password.
fn damaged(name: &str, e: &serde_json::Error) -> Error {
    Error::Config {
        name: name.to_owned(),
        what: format!("not a credentials file: line {}, column {}", e.line(), e.column()),
    }
}

/// Whether a key of a file stands for the registry, or for the repository `path` on it. Keys of old are URLs,
/// `https://index.docker.io/v1/` or `http://host:5000/v2`, whose path means nothing.
pub(crate) fn names(key: &str, registry: &str, path: &str) -> bool {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, rest) = url.unwrap_or(key).split_once('/').unwrap_or((url.unwrap_or(key), ""));
    let rest = if url.is_some() || matches!(rest, "v1/" | "v2/") { "" } else { rest };
    canonical(host) == canonical(registry) && rest == path
}

/// The one name of a registry: Docker Hub goes by several.
pub(crate) fn canonical(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

/// The name under which helpers keep a registry's credentials, and Docker's own files as well.
pub(crate) fn server_name(registry: &str) -> String {
    match canonical(registry) {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        other => other.to_owned(),
    }
}

impl AuthEntry {
    fn credential(&self) -> Result<Option<Credential>, &'static str> {
        let some = |s: &Option<String>| s.clone().filter(|s| !s.is_empty());
        if let Some(token) = some(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        let mut user = some(&self.username);
        let mut password = some(&self.password);
        if let Some(auth) = some(&self.auth) {
            let bytes = EITHER_PADDING.decode(auth.trim()).map_err(|_| "has an `auth` that is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not UTF-8")?;
            let (u, p) = text.split_once(':').ok_or("has an `auth` without a colon")?;
            user = Some(u.to_owned());
            // Docker's own files may end in NUL bytes.
            password = Some(p.trim_matches('\0').to_owned());
        }
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken { user: user.unwrap_or_default(), token }));
        }
        Ok(match (user, password) {
            (Some(user), Some(password)) if !user.is_empty() => Some(Credential::Basic { user, password }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str, name: &str) -> Vec<String> {
        let file = ConfigFile::parse("config.json", json.as_bytes()).unwrap();
        let show = |f: Found<'_>| match f {
            Found::Credential(Credential::Basic { user, password }) => format!("{user}:{password}"),
            Found::Credential(Credential::IdentityToken { user, token }) => format!("id {user} {token}"),
            Found::Credential(Credential::RegistryToken(t)) => format!("token {t}"),
            Found::Helper { name, server } => format!("helper {name} {server}"),
        };
        file.find(registry, name, "config.json").unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn entries_of_all_forms() {
        let json = r#"{"auths":{
            "127.0.0.1:5000":{"auth":"dTpwOnE="},
            "https://index.docker.io/v1/":{"auth":"aHViOmh1Yg=="},
            "quay.example/team":{"username":"t","password":"tp"},
            "quay.example":{"username":"q","password":"qp"},
            "https://old.example/v2/":{"auth":"bzpw"},
            "id.example":{"auth":"PHRva2VuPjo=","identitytoken":"idt"},
            "tok.example":{"registrytoken":"rt"},
            "empty.example":{}},
            "credsStore":"desktop","credHelpers":{"gcr.example":"gcloud"},"unknown":[1]}"#;
        for (registry, name, want) in [
            ("127.0.0.1:5000", "x", "u:p:q"),
            ("docker.io", "library/x", "hub:hub"),
            ("quay.example", "team/x/y", "t:tp"),
            ("quay.example", "teams", "q:qp"),
            ("old.example", "x", "o:p"),
            ("id.example", "x", "id <token> idt"),
            ("tok.example", "x", "token rt"),
            ("empty.example", "x", "helper desktop empty.example"),
            ("gcr.example", "x", "helper gcloud gcr.example"),
        ] {
            assert_eq!(find(json, registry, name).first().map(String::as_str), Some(want), "{registry}");
        }
        // The Hub has one login, whatever it is called.
        for hub in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            for key in [
                "docker.io",
                "https://index.docker.io/v1/",
                "index.docker.io/v1/",
                "https://registry-1.docker.io",
            ] {
                let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}},"other":{{}}}}}}"#);
                assert_eq!(find(&json, hub, "library/x"), ["u:p"], "{key} {hub}");
                let json = format!(r#"{{"credHelpers":{{"{key}":"hub"}},"credsStore":"all"}}"#);
                assert_eq!(find(&json, hub, "x"), ["helper hub https://index.docker.io/v1/"], "{key} {hub}");
            }
        }
        // An empty name keeps one registry's login out of the store.
        let json = r#"{"credHelpers":{"plain.example":""},"credsStore":"all"}"#;
        assert!(find(json, "plain.example", "x").is_empty());
        assert_eq!(find(json, "r.example", "x"), ["helper all r.example"]);
    }

    #[test]
    fn passwords_are_what_they_were_encoded_from() {
        for (auth, want) in [
            ("dTpwOnE6cg==", "u:p:q:r"),
            ("dTpwOnE6cg", "u:p:q:r"),
            ("dTpwAAA=", "u:p"),
            ("w7w6cMOkw58=", "\u{fc}:p\u{e4}\u{df}"),
            (" dTpw ", "u:p"),
        ] {
            let json = format!(r#"{{"auths":{{"r":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(find(&json, "r", "x"), [want], "{auth}");
        }
        for (auth, why) in [("dTpw!", "not base64"), ("dQ==", "without a colon"), ("dTr//w==", "not UTF-8")] {
            let json = format!(r#"{{"auths":{{"r":{{"auth":"{auth}"}}}}}}"#);
            let file = ConfigFile::parse("c", json.as_bytes()).unwrap();
            let e = file.find("r", "x", "c").err().unwrap().to_string();
            assert!(e.contains(why) && !e.contains(auth), "{e}");
        }
    }

    #[test]
    fn the_most_particular_entry_counts() {
        let json = r#"{"auths":{
            "r.example":{"auth":"aDpw"},"r.example/a":{"auth":"YTpw"},"r.example/a/b/c":{"auth":"YzpwAA=="},
            "r.example/a/b":{}}}"#;
        for (name, want) in
            [("x", "h:p"), ("ab", "h:p"), ("a", "a:p"), ("a/b", "a:p"), ("a/b/c", "c:p"), ("a/b/c/d", "c:p")]
        {
            assert_eq!(find(json, "r.example", name), [want], "{name}");
        }
    }

    #[test]
    fn the_file_before_config_json() {
        let old =
            br#"{"https://index.docker.io/v1/":{"auth":"dTpw","email":"e"},"r.example":{"auth":"cjpw"}}"#;
        let file = ConfigFile::parse_legacy(".dockercfg", old).unwrap();
        for (registry, user) in [("docker.io", "u"), ("r.example", "r")] {
            let found = file.find(registry, "x", "c").unwrap();
            let is = |f: &Found<'_>| matches!(f, Found::Credential(c) if c.user() == Some(user));
            assert!(found.first().is_some_and(is), "{registry}");
        }
        assert!(ConfigFile::parse_legacy("c", b"[]").is_err());
    }

    #[test]
    fn bad_files_never_show_their_secrets() {
        let e = ConfigFile::parse("config.json", br#"{"auths":{"r":"hunter2"}}"#).err().unwrap().to_string();
        assert!(!e.contains("hunter2") && e.contains("config.json"), "{e}");
        let file = ConfigFile::parse("c", br#"{"auths":{"r":{"auth":"hunter2!"}}}"#).unwrap();
        let e = file.find("r", "x", "c").err().unwrap().to_string();
        assert!(!e.contains("hunter2") && e.contains("`r`"), "{e}");
        assert!(ConfigFile::parse("c", b" \n").is_ok());
        assert!(ConfigFile::parse("c", br#"{"auths":null,"credHelpers":null}"#).is_ok());
    }
}
