//! Logging in and out: a login tried at its registry, a credentials file with one entry changed, a helper told to
//! keep or forget it.
//!
//! The file is text here, and where it is kept is the caller's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::docker_config::{ConfigFile, names};
use super::entries::Entries;
use super::{Credential, Credentials, LoginTarget};
use crate::client::Client;
use crate::error::Error;

/// What the registry said to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The registry asked for the login; without, nobody has looked at it.
    pub asked: bool,
    /// What is to be kept instead of the password, where the token server gave something.
    pub identity: Option<Credential>,
}

impl Client {
    /// Tries this client's login at a registry, for a repository where the target names one: the registry is asked
    /// whether it lets us in, by a token where it wants one. Its token server is asked for an identity token as well.
    ///
    /// # Errors
    /// When the registry or its token server refuses the login, or cannot be reached.
    pub fn check_login(&self, target: &LoginTarget) -> Result<Checked, Error> {
        self.core.auth.want_identity();
        let scopes = match target.repository() {
            "" => super::Scopes::none(),
            name => super::Scopes::pull(name),
        };
        let place = self.core.config.hosts.registry_endpoint(target.registry())?;
        self.ping_as(&place, scopes)?;
        let registry = place.registry.as_str();
        let user = self.core.config.credentials.find(registry, target.repository())?;
        let user = user.as_ref().and_then(Credential::user).unwrap_or_default().to_owned();
        let identity = self.core.auth.identity(registry);
        Ok(Checked {
            asked: self.core.auth.was_challenged(registry),
            identity: identity.map(|token| Credential::IdentityToken { user, token }),
        })
    }
}

impl Credentials {
    /// The helper that keeps the login by what the file says, if one does.
    ///
    /// # Errors
    /// When the file is damaged, or the target is a repository, which helpers know nothing of.
    pub fn keeper(file: &str, bytes: &[u8], target: &LoginTarget) -> Result<Option<String>, Error> {
        let config = ConfigFile::parse(file, bytes)?;
        match config.helper(target.registry()) {
            Some(name) if !target.repository().is_empty() => Err(Error::Config {
                name: target.to_string(),
                what: format!(
                    "`{name}`, the credential helper of `{file}`, keeps logins of registries alone"
                ),
            }),
            name => Ok(name.map(str::to_owned)),
        }
    }

    /// Gives a login to a helper to keep.
    ///
    /// # Errors
    /// When the helper fails.
    pub fn store(&self, helper: &str, target: &LoginTarget, credential: &Credential) -> Result<(), Error> {
        self.helper(helper).store(&target.key(), credential)
    }

    /// Makes a helper forget a login; true where it had one.
    ///
    /// # Errors
    /// When the helper fails.
    pub fn erase(&self, helper: &str, target: &LoginTarget) -> Result<bool, Error> {
        let mut known = false;
        let helper = self.helper(helper);
        let mut servers = vec![target.key(), target.registry().to_owned()];
        servers.dedup();
        for server in servers {
            if helper.get(&server)?.is_some() {
                helper.erase(&server)?;
                known = true;
            }
        }
        Ok(known)
    }

    /// Makes the helpers that a file names forget all logins: the one for all registries what it lists, the others
    /// those that they are named for. Gives what was forgotten. One that fails keeps no other from it.
    ///
    /// # Errors
    /// When the file is damaged; or the first failure of a helper, after all were asked.
    pub fn erase_all(&self, file: &str, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let config = ConfigFile::parse(file, bytes)?;
        let (store, some) = config.helpers();
        let (mut out, mut failed) = (Vec::new(), None);
        let mut note = |end: Result<Option<String>, Error>| match end {
            Ok(forgotten) => out.extend(forgotten),
            Err(e) => drop(failed.get_or_insert(e)),
        };
        for (registry, name) in some {
            note(LoginTarget::parse(registry).and_then(|target| {
                let known = self.erase(name, &target)?;
                Ok(known.then(|| target.to_string()))
            }));
        }
        if let Some(helper) = store.map(|name| self.helper(name)) {
            match helper.list() {
                Ok(servers) => servers.into_iter().for_each(|s| note(helper.erase(&s).map(|()| Some(s)))),
                Err(e) => note(Err(e)),
            }
        }
        failed.map_or(Ok(out), Err)
    }
}

/// Whether a file has an entry for just this target, or names a helper for its registry alone.
///
/// # Errors
/// When the file is damaged.
pub fn knows(file: &str, bytes: &[u8], target: &LoginTarget) -> Result<bool, Error> {
    let config = ConfigFile::parse(file, bytes)?;
    let (_, some) = config.helpers();
    let helper =
        target.repository().is_empty() && some.iter().any(|(key, _)| names(key, target.registry(), ""));
    Ok(helper || config.has(target.registry(), target.repository()))
}

/// A file's new content with a login in it; with nothing for one, it notes that a helper has it, as Docker does.
/// Everything else in it stays as it is written.
///
/// # Errors
/// When the file is damaged, or the user's name has a colon, which no file could hold.
pub fn with_login(
    file: &str,
    bytes: &[u8],
    target: &LoginTarget,
    credential: Option<&Credential>,
) -> Result<Vec<u8>, Error> {
    let pair = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    let fields = match credential {
        None => Vec::new(),
        Some(Credential::Basic { user, .. } | Credential::IdentityToken { user, .. })
            if user.contains(':') =>
        {
            return Err(Error::Config { name: user.clone(), what: "not a user's name (no colons)".into() });
        }
        Some(Credential::Basic { user, password }) => vec![("auth", pair(user, password))],
        Some(Credential::IdentityToken { user, token }) => {
            vec![("auth", pair(user, "")), ("identitytoken", token.clone())]
        }
        Some(Credential::RegistryToken(token)) => vec![("registrytoken", token.clone())],
    };
    let entry = Entries::of(&fields).and_then(|entry| entry.raw(2)).ok_or_else(|| damaged(file))?;
    edit(file, bytes, |auths| {
        let key = target.key();
        let other = |k: &str| k != key && names(k, target.registry(), target.repository());
        auths.drop_where(other);
        auths.set(&key, entry);
        true
    })
    .map(Option::unwrap_or_default)
}

/// A file's new content without a login; nothing where it has none.
///
/// # Errors
/// When the file is damaged.
pub fn without_login(file: &str, bytes: &[u8], target: &LoginTarget) -> Result<Option<Vec<u8>>, Error> {
    edit(file, bytes, |auths| auths.drop_where(|key| names(key, target.registry(), target.repository())))
}

/// A file's new content without any login; nothing where it has none.
///
/// # Errors
/// When the file is damaged.
pub fn without_all(file: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if ConfigFile::parse(file, bytes)?.is_empty() {
        return Ok(None);
    }
    edit(file, bytes, |auths| auths.drop_where(|_| true))
}

fn damaged(file: &str) -> Error {
    Error::Config { name: file.to_owned(), what: "not a credentials file".into() }
}

/// Changes `auths`; nothing comes of it where `change` says that it changed nothing.
fn edit(
    file: &str,
    bytes: &[u8],
    change: impl FnOnce(&mut Entries) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    // Says where the damage is.
    ConfigFile::parse(file, bytes)?;
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(file))?;
    let mut all = Entries::parse(text).ok_or_else(|| damaged(file))?;
    let mut auths = Entries::parse(all.get("auths").unwrap_or_default()).ok_or_else(|| damaged(file))?;
    if !change(&mut auths) {
        return Ok(None);
    }
    let auths: Box<RawValue> = auths.raw(1).ok_or_else(|| damaged(file))?;
    all.set("auths", auths);
    Ok(Some((all.text(0) + "\n").into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BEFORE: &str =
        "{\"auths\":{\"other\":{\"auth\":\"eDp5\"}},\"HttpHeaders\":{\"X\":\"1\"},\"n\":1e400}";

    fn target(text: &str) -> LoginTarget {
        LoginTarget::parse(text).unwrap()
    }

    fn basic() -> Credential {
        Credential::Basic { user: "u".into(), password: "p:q".into() }
    }

    #[test]
    fn a_login_is_found_again_and_forgotten() {
        for (name, repository, not) in [
            ("r.example:5000", "x", None),
            ("docker.io", "x", None),
            ("r.example/team", "team/app", Some("teams")),
        ] {
            let target = target(name);
            for credential in [basic(), Credential::IdentityToken { user: "u".into(), token: "i".into() }] {
                let file = with_login("c", BEFORE.as_bytes(), &target, Some(&credential)).unwrap();
                let mut credentials = Credentials::none();
                credentials.add_file("c", &file).unwrap();
                assert_eq!(credentials.find(target.registry(), repository).unwrap(), Some(credential));
                if let Some(not) = not {
                    assert_eq!(credentials.find(target.registry(), not).unwrap(), None);
                }
                assert!(knows("c", &file, &target).unwrap());
                let text = String::from_utf8(file.clone()).unwrap();
                assert!(text.contains("\"HttpHeaders\": {\"X\":\"1\"},\n\t\"n\": 1e400\n}\n"), "{text}");
                let file = without_login("c", &file, &target).unwrap().unwrap();
                let text = String::from_utf8(file.clone()).unwrap();
                assert!(
                    text.starts_with("{\n\t\"auths\": {\n\t\t\"other\": {\"auth\":\"eDp5\"}\n\t},"),
                    "{text}"
                );
                assert!(!knows("c", &file, &target).unwrap());
                assert_eq!(without_login("c", &file, &target).unwrap(), None);
            }
        }
    }

    #[test]
    fn one_registry_has_one_entry() {
        let before = br#"{"auths":{"docker.io":{"auth":"b2xkOnA="},"https://registry-1.docker.io/v2/":{},"docker.io/me":{}}}"#;
        let file = with_login("c", before, &target("index.docker.io"), Some(&basic())).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        let keys: Vec<&String> = file["auths"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["docker.io/me", "https://index.docker.io/v1/"]);
    }

    #[test]
    fn what_no_file_can_hold_is_refused_and_damaged_files_are_not_touched() {
        let target = target("r");
        assert!(with_login("c", b"", &target, Some(&basic())).is_ok());
        assert!(with_login("c", br#"{"auths":null}"#, &target, Some(&basic())).is_ok());
        let colon = Credential::Basic { user: "u:v".into(), password: "p".into() };
        assert!(with_login("c", b"", &target, Some(&colon)).is_err());
        for bad in ["[1]", "{", r#"{"auths":1}"#, "\"x\"", "{}{}"] {
            for result in [
                with_login("c", bad.as_bytes(), &target, Some(&basic())).map(Some),
                without_login("c", bad.as_bytes(), &target),
                without_all("c", bad.as_bytes()),
            ] {
                assert!(result.unwrap_err().to_string().starts_with("`c`: not a credentials file"), "{bad}");
            }
        }
    }

    #[test]
    fn a_helper_keeps_registries_alone() {
        let file = br#"{"credsStore":"all","credHelpers":{"r.example":"one","plain.example":""}}"#;
        let keeper = |name: &str| Credentials::keeper("c", file, &target(name));
        assert_eq!(keeper("r.example").unwrap().as_deref(), Some("one"));
        assert_eq!(keeper("docker.io").unwrap().as_deref(), Some("all"));
        assert_eq!(keeper("plain.example").unwrap(), None);
        assert_eq!(keeper("plain.example/app").unwrap(), None);
        assert!(keeper("r.example/app").unwrap_err().to_string().contains("`one`"));
        assert!(knows("c", file, &target("r.example")).unwrap());
        for other in ["r.example/app", "plain.example", "docker.io"] {
            assert!(!knows("c", file, &target(other)).unwrap(), "{other}");
        }
        let text = with_login("c", file, &target("r.example"), None).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["auths"]["r.example"], json!({}));
        let nowhere = Credentials::none().store("nowhere", &target("r"), &basic()).unwrap_err();
        assert!(nowhere.to_string().contains("docker-credential-nowhere"), "{nowhere}");
    }

    #[test]
    fn all_logins_go_and_nothing_else() {
        let left = without_all("c", BEFORE.as_bytes()).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(left.clone()).unwrap(),
            "{\n\t\"auths\": {},\n\t\"HttpHeaders\": {\"X\":\"1\"},\n\t\"n\": 1e400\n}\n"
        );
        assert_eq!(without_all("c", &left).unwrap(), None);
    }
}
