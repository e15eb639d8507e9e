//! Logging in and out: a credentials file with one entry changed, or a helper told to keep it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::docker_config::{ConfigFile, server_name};
use super::{Credentials, helper};
use crate::error::Error;

impl Credentials {
    /// Keeps a login: where the file names a helper for the registry, there, else in the file itself.
    /// Takes the content of the file (empty for none yet) and gives its new content; everything else
    /// in it stays as it is.
    ///
    /// # Errors
    /// When the file is damaged or the helper fails.
    pub fn login(
        &self,
        file: &str,
        bytes: &[u8],
        registry: &str,
        user: &str,
        password: &str,
    ) -> Result<Vec<u8>, Error> {
        if user.is_empty() || user.contains(':') {
            return Err(Error::Config {
                name: user.to_owned(),
                what: "not a user's name (no colons)".into(),
            });
        }
        let server = server_name(registry);
        let entry = match ConfigFile::parse(file, bytes)?.helper(registry) {
            Some(name) => {
                helper::store(name, &server, user, password, &self.helper_path, self.helper_limit)?;
                // An empty entry is how Docker notes that a helper has it.
                json!({})
            }
            None => json!({"auth": STANDARD.encode(format!("{user}:{password}"))}),
        };
        edit(file, bytes, |auths| {
            auths.insert(server, entry);
        })
    }

    /// Forgets a login; that there was none is no error. Gives the file's new content.
    ///
    /// # Errors
    /// When the file is damaged or the helper fails.
    pub fn logout(&self, file: &str, bytes: &[u8], registry: &str) -> Result<Vec<u8>, Error> {
        let server = server_name(registry);
        if let Some(name) = ConfigFile::parse(file, bytes)?.helper(registry) {
            helper::erase(name, &server, &self.helper_path, self.helper_limit)?;
        }
        edit(file, bytes, |auths| {
            for key in [server.as_str(), registry] {
                for prefix in ["", "https://", "http://"] {
                    auths.remove(&format!("{prefix}{key}"));
                }
            }
        })
    }
}

fn edit(file: &str, bytes: &[u8], change: impl FnOnce(&mut Map<String, Value>)) -> Result<Vec<u8>, Error> {
    // Parsed before as what it is, and so at least a JSON object or nothing.
    let mut all: Value = serde_json::from_slice(bytes).unwrap_or_else(|_| json!({}));
    let damaged = || Error::Config { name: file.to_owned(), what: "not a credentials file".into() };
    let auths = all.as_object_mut().ok_or_else(damaged)?.entry("auths").or_insert(Value::Null);
    if auths.is_null() {
        *auths = json!({});
    }
    change(auths.as_object_mut().ok_or_else(damaged)?);
    let mut out = serde_json::to_vec_pretty(&all).map_err(|_| damaged())?;
    out.push(b'\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credential;

    #[test]
    fn a_login_is_found_again_and_forgotten() {
        let nobody = Credentials::none();
        let before = br#"{"auths":{"other":{"auth":"eDp5"}},"HttpHeaders":{"X":"1"},"psFormat":"t"}"#;
        for registry in ["r.example:5000", "docker.io"] {
            let file = nobody.login("c", before, registry, "u", "p:q").unwrap();
            let mut credentials = Credentials::none();
            credentials.add_file("c", &file).unwrap();
            let found = credentials.find(registry, "x").unwrap();
            assert_eq!(found, Some(Credential::Basic { user: "u".into(), password: "p:q".into() }));
            assert!(String::from_utf8_lossy(&file).contains("psFormat"));
            let file = nobody.logout("c", &file, registry).unwrap();
            let left: Value = serde_json::from_slice(&file).unwrap();
            assert_eq!(left, serde_json::from_slice::<Value>(before).unwrap());
        }
        assert!(nobody.login("c", b"", "r", "u", "p").is_ok());
        assert!(nobody.login("c", b"[1]", "r", "u", "p").is_err());
        assert!(nobody.login("c", b"", "r", "u:v", "p").is_err());
        let e = nobody.login("c", br#"{"credsStore":"nowhere"}"#, "r", "u", "p").unwrap_err();
        assert!(e.to_string().contains("docker-credential-nowhere"), "{e}");
    }
}
