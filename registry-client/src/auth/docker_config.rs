//! Docker's `config.json` and containers' `auth.json`: who has which password.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::Credential;
use crate::error::Error;

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
        // serde_json's messages can quote what they found, and here that may be a password.
        serde_json::from_slice(bytes).map_err(|e| Error::Config {
            name: name.to_owned(),
            what: format!("not a credentials file: line {}, column {}", e.line(), e.column()),
        })
    }

    /// Looks for `registry`, or the repository `registry/name`, most particular first: a helper for
    /// the registry, an entry of `auths` for the repository or a part of its path, the store.
    pub(crate) fn find(&self, registry: &str, name: &str, file: &str) -> Result<Vec<Found<'_>>, Error> {
        let mut out = Vec::new();
        let aliases = aliases(registry);
        for alias in &aliases {
            if let Some(helper) = self.cred_helpers.get(*alias) {
                out.push(Found::Helper { name: helper, server: server_name(registry) });
                break;
            }
        }
        let mut path = name;
        loop {
            for alias in &aliases {
                let key = if path.is_empty() { (*alias).to_owned() } else { format!("{alias}/{path}") };
                if let Some(found) = self.entry(&key, file)? {
                    out.push(Found::Credential(found));
                    return Ok(out);
                }
            }
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        if let Some(store) = self.creds_store.as_deref().filter(|s| !s.is_empty()) {
            out.push(Found::Helper { name: store, server: server_name(registry) });
        }
        Ok(out)
    }

    /// The helper that keeps the registry's login, if one does.
    pub(crate) fn helper(&self, registry: &str) -> Option<&str> {
        let own = aliases(registry).into_iter().find_map(|alias| self.cred_helpers.get(alias));
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn entry(&self, key: &str, file: &str) -> Result<Option<Credential>, Error> {
        let exact = self.auths.get(key);
        // Old keys are URLs: `https://index.docker.io/v1/`, `http://host:5000/v2`.
        let found =
            exact.or_else(|| self.auths.iter().find(|(k, _)| host_of_key(k) == Some(key)).map(|(_, v)| v));
        match found {
            None => Ok(None),
            Some(entry) => entry.credential().map_err(|what| Error::Config {
                name: file.to_owned(),
                what: format!("the entry for `{key}` {what}"),
            }),
        }
    }
}

/// The host of a key that is written as a URL with at most an API version behind it.
fn host_of_key(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    matches!(path.trim_end_matches('/'), "" | "v1" | "v2").then_some(host)
}

/// Docker Hub goes by several names.
fn aliases(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            vec!["docker.io", "index.docker.io", "registry-1.docker.io"]
        }
        other => vec![other],
    }
}

/// The name under which helpers keep a registry's credentials.
pub(crate) fn server_name(registry: &str) -> String {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/".to_owned(),
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
            let bytes = STANDARD
                .decode(auth.trim())
                .or_else(|_| STANDARD_NO_PAD.decode(auth.trim()))
                .map_err(|_| "has an `auth` that is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not UTF-8")?;
            let (u, p) = text.split_once(':').ok_or("has an `auth` without a colon")?;
            user = Some(u.to_owned());
            // Docker's own files may end in NUL bytes.
            password = Some(p.trim_end_matches('\0').to_owned());
        }
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
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
            Found::Credential(Credential::IdentityToken(t)) => format!("id {t}"),
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
            ("id.example", "x", "id idt"),
            ("tok.example", "x", "token rt"),
            ("empty.example", "x", "helper desktop empty.example"),
            ("gcr.example", "x", "helper gcloud gcr.example"),
        ] {
            assert_eq!(find(json, registry, name).first().map(String::as_str), Some(want), "{registry}");
        }
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
