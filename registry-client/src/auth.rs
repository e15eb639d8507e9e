//! Who we are to a registry: credentials, and the header that proves them.

mod authenticator;
mod docker_config;
mod entries;
mod helper;
mod login;
mod readings;
mod secrets;
mod target;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use self::docker_config::{ConfigFile, Found};
use self::helper::Helper;
use crate::error::Error;

pub(crate) use self::authenticator::Authenticator;
pub use self::login::{Checked, knows, with_login, without_all, without_login};
pub(crate) use self::secrets::Secrets;
pub use self::target::LoginTarget;

/// What proves who we are. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password.
    Basic {
        /// Name of the user.
        user: String,
        /// Password or access token.
        password: String,
    },
    /// A token to get tokens with (OAuth2 refresh token).
    IdentityToken {
        /// Name of the user, where one is known.
        user: String,
        /// The token.
        token: String,
    },
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

impl Credential {
    /// The user whom this is the login of; tokens alone do not say.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Basic { user, .. } | Self::IdentityToken { user, .. } => {
                Some(user.as_str()).filter(|user| !user.is_empty() && *user != TOKEN_USER)
            }
            Self::RegistryToken(_) => None,
        }
    }
}

/// What helpers and token servers are told for a user where there is only a token.
const TOKEN_USER: &str = "<token>";

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::IdentityToken { .. } => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// Where credentials come from: files in order, then helpers that the files name.
#[derive(Clone)]
pub struct Credentials {
    explicit: Vec<(String, Credential)>,
    files: Vec<(String, ConfigFile)>,
    /// Where logins are looked for; empty means in the files alone.
    order: Vec<String>,
    helper_path: Vec<PathBuf>,
    helper_limit: Duration,
}

/// The word for the files in [`Credentials::set_order`].
const THE_FILES: &str = "containers-auth.json";

impl Default for Credentials {
    fn default() -> Self {
        Self {
            explicit: Vec::new(),
            files: Vec::new(),
            order: Vec::new(),
            helper_path: Vec::new(),
            helper_limit: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Credentials").field("files", &names).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Nobody: every request is anonymous.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds the content of Docker's `config.json` or containers' `auth.json`, asked after the ones
    /// already there. `name` is for error messages.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.files.push((name.to_owned(), ConfigFile::parse(name, bytes)?));
        Ok(())
    }

    /// The same for `.dockercfg`, which Docker wrote before `config.json`: registries at the top level.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn add_legacy_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.files.push((name.to_owned(), ConfigFile::parse_legacy(name, bytes)?));
        Ok(())
    }

    /// Uses `credential` for `registry`, whatever the files say.
    pub fn add(&mut self, registry: &str, credential: Credential) {
        self.explicit.push((registry.to_owned(), credential));
    }

    /// Directories where `docker-credential-*` programs are looked for: the parts of `PATH`.
    pub fn set_helper_path(&mut self, path: Vec<PathBuf>) {
        self.helper_path = path;
    }

    /// Looks for logins at these places, in order, as `credential-helpers` of `registries.conf` has it: helpers by
    /// the ends of their names, and the files under the name `containers-auth.json`.
    pub fn set_order(&mut self, order: Vec<String>) {
        self.order = order;
    }

    /// How long a helper may take; 60 s without this.
    pub fn set_helper_limit(&mut self, limit: Duration) {
        self.helper_limit = limit;
    }

    /// What is known for the repository `name` of `registry` (`name` may be empty). May run a helper.
    ///
    /// # Errors
    /// When an entry is damaged or a helper fails.
    pub fn find(&self, registry: &str, name: &str) -> Result<Option<Credential>, Error> {
        let same = |other: &str| docker_config::canonical(other) == docker_config::canonical(registry);
        if let Some((_, credential)) = self.explicit.iter().find(|(other, _)| same(other)) {
            return Ok(Some(credential.clone()));
        }
        if self.order.is_empty() {
            return self.in_files(registry, name);
        }
        for place in &self.order {
            let found = match place.as_str() {
                THE_FILES => self.in_files(registry, name)?,
                helper => self.ask(helper, &docker_config::server_name(registry), registry)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn in_files(&self, registry: &str, name: &str) -> Result<Option<Credential>, Error> {
        for (file, config) in &self.files {
            for found in config.find(registry, name, file)? {
                let credential = match found {
                    Found::Credential(credential) => Some(credential),
                    Found::Helper { name, server } => self.ask(name, &server, registry)?,
                };
                if credential.is_some() {
                    return Ok(credential);
                }
            }
        }
        Ok(None)
    }

    /// Asks a helper for a server by its name of old, and by the registry's own where that is another: the one
    /// is Docker's for the Hub, the other podman's.
    fn ask(&self, name: &str, server: &str, registry: &str) -> Result<Option<Credential>, Error> {
        let helper = self.helper(name);
        let found = helper.get(server)?;
        if found.is_some() || server == registry {
            return Ok(found);
        }
        helper.get(docker_config::canonical(registry))
    }

    fn helper<'a>(&'a self, name: &'a str) -> Helper<'a> {
        Helper { name, path: &self.helper_path, limit: self.helper_limit }
    }
}

/// The `Authorization` of basic authentication.
fn basic(user: &str, password: &str) -> Result<HeaderValue, Error> {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    // Base64 is always fit for it.
    secret_header(&text).ok_or(Error::Cancelled)
}

/// A header that no log shows; nothing where the text cannot stand in one.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a request may do: scopes in the token protocol's words, `repository:NAME:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    pub(crate) fn pull(name: &str) -> Self {
        Self(vec![format!("repository:{name}:pull")])
    }

    pub(crate) fn push(name: &str) -> Self {
        Self(vec![format!("repository:{name}:pull,push")])
    }

    pub(crate) fn delete(name: &str) -> Self {
        Self(vec![format!("repository:{name}:delete,pull,push")])
    }

    pub(crate) fn mount(name: &str, from: &str) -> Self {
        Self(vec![format!("repository:{name}:pull,push"), format!("repository:{from}:pull")])
    }

    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}
