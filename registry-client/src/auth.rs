//! Who we are to a registry: credentials, and the header that proves them.

mod docker_config;
mod helper;
mod login;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use self::docker_config::{ConfigFile, Found};
use self::token::{Ask, Challenge, Token};
use crate::error::Error;
use crate::hosts::{Endpoint, is_loopback};
use crate::transport::{Response, Route, Transport, redact};

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
    IdentityToken(String),
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// Where credentials come from: files in order, then helpers that the files name.
#[derive(Clone)]
pub struct Credentials {
    explicit: Vec<(String, Credential)>,
    files: Vec<(String, ConfigFile)>,
    helper_path: Vec<PathBuf>,
    helper_limit: Duration,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            explicit: Vec::new(),
            files: Vec::new(),
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

    /// Uses `credential` for `registry`, whatever the files say.
    pub fn add(&mut self, registry: &str, credential: Credential) {
        self.explicit.push((registry.to_owned(), credential));
    }

    /// Directories where `docker-credential-*` programs are looked for: the parts of `PATH`.
    pub fn set_helper_path(&mut self, path: Vec<PathBuf>) {
        self.helper_path = path;
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
        if let Some((_, credential)) = self.explicit.iter().find(|(r, _)| r == registry) {
            return Ok(Some(credential.clone()));
        }
        for (file, config) in &self.files {
            for found in config.find(registry, name, file)? {
                let credential = match found {
                    Found::Credential(credential) => Some(credential),
                    Found::Helper { name, server } => {
                        helper::get(name, &server, &self.helper_path, self.helper_limit)?
                    }
                };
                if credential.is_some() {
                    return Ok(credential);
                }
            }
        }
        Ok(None)
    }
}

/// The `Authorization` of basic authentication.
fn basic(user: &str, password: &str) -> Result<HeaderValue, Error> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn secret_header(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Config {
        name: "credentials".into(),
        what: "a token that cannot stand in a header".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
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

type TokenKey = (String, String, Scopes);

/// Remembers what each registry asks for, and the tokens that we have.
#[derive(Default)]
pub(crate) struct Authenticator {
    credentials: Credentials,
    /// By registry: the last challenge.
    challenges: Mutex<HashMap<String, Challenge>>,
    /// By registry and wanted scopes: what else the registry turned out to want, in its own words.
    extra: Mutex<HashMap<(String, Scopes), Vec<String>>>,
    /// By registry and repository, so that helpers run once.
    known: tokio::sync::Mutex<HashMap<(String, String), Option<Credential>>>,
    /// One lock for each token, so that forty blobs fetch one token.
    tokens: Mutex<HashMap<TokenKey, Arc<tokio::sync::Mutex<Option<Token>>>>>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, ..Self::default() }
    }

    /// The header for a request, or nothing while the registry has asked for nothing.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        place: &Endpoint,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, Error> {
        let challenge =
            self.challenges.lock().unwrap_or_else(PoisonError::into_inner).get(&place.registry).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match self.credential(place).await? {
                Some(Credential::Basic { user, password }) => basic(&user, &password).map(Some),
                _ => Ok(None),
            },
            Some(Challenge::Bearer { realm, service, scopes: asked }) => {
                let credential = self.credential(place).await?;
                if let Some(Credential::RegistryToken(token)) = &credential {
                    return secret_header(&format!("Bearer {token}")).map(Some);
                }
                let scopes = self.wanted(place, scopes, asked);
                let key = (place.registry.clone(), place.name.clone(), scopes.clone());
                let slot = Arc::clone(
                    self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default(),
                );
                let mut slot = slot.lock().await;
                if let Some(token) = slot.as_ref().filter(|t| t.is_fresh()) {
                    return secret_header(&format!("Bearer {}", token.value)).map(Some);
                }
                let loopback = realm.host_str().is_some_and(is_loopback);
                if realm.scheme() == "http" && !loopback && !place.insecure && credential.is_some() {
                    return Err(Error::Auth {
                        registry: place.registry.clone(),
                        what: format!(
                            "its token server `{}` would be sent a password in the clear",
                            redact(&realm)
                        ),
                        source: None,
                    });
                }
                let route = Route { insecure: place.insecure, bulk: false };
                let ask = Ask { realm: &realm, service: service.as_deref(), scopes: &scopes.0 };
                let token =
                    token::fetch(transport, &route, &ask, credential.as_ref()).await.map_err(|e| {
                        Error::Auth {
                            registry: place.registry.clone(),
                            what: "no token to be had".into(),
                            source: Some(Box::new(e)),
                        }
                    })?;
                let header = secret_header(&format!("Bearer {}", token.value))?;
                *slot = Some(token);
                Ok(Some(header))
            }
        }
    }

    /// Takes in a 401. True when the request is worth sending again, with another header.
    pub(crate) async fn challenged(
        &self,
        place: &Endpoint,
        scopes: &Scopes,
        sent: Option<&HeaderValue>,
        answer: &Response,
    ) -> Result<bool, Error> {
        let offered = token::challenges(answer.headers(), answer.url());
        let credential = self.credential(place).await?;
        let usable = offered.into_iter().find(|c| match c {
            Challenge::Bearer { .. } => true,
            Challenge::Basic => matches!(credential, Some(Credential::Basic { .. })),
        });
        let Some(challenge) = usable else { return Ok(false) };
        match &challenge {
            Challenge::Basic => {
                let Some(Credential::Basic { user, password }) = &credential else { return Ok(false) };
                let header = basic(user, password)?;
                if sent == Some(&header) {
                    return Ok(false);
                }
            }
            Challenge::Bearer { scopes: asked, .. } => {
                self.forget(place, sent).await;
                if sent.is_some() && asked.iter().any(|s| !scopes.0.contains(s)) {
                    let key = (place.registry.clone(), scopes.clone());
                    self.extra.lock().unwrap_or_else(PoisonError::into_inner).insert(key, asked.clone());
                }
            }
        }
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place.registry.clone(), challenge);
        Ok(true)
    }

    /// The scopes to ask a token for: ours, and what the registry named when ours did not do.
    fn wanted(&self, place: &Endpoint, ours: &Scopes, asked: Vec<String>) -> Scopes {
        if ours.0.is_empty() {
            return Scopes(asked);
        }
        let mut scopes = ours.clone();
        let key = (place.registry.clone(), ours.clone());
        if let Some(more) = self.extra.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            for scope in more.iter().filter(|s| !ours.0.contains(s)) {
                scopes.0.push(scope.clone());
            }
        }
        scopes
    }

    /// Drops the token that was refused, unless another request has already fetched a newer one.
    async fn forget(&self, place: &Endpoint, sent: Option<&HeaderValue>) {
        let Some(sent) = sent else { return };
        let slots: Vec<_> = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |k: &TokenKey| k.0 == place.registry && k.1 == place.name;
            tokens.iter().filter(|(k, _)| same(k)).map(|(_, slot)| Arc::clone(slot)).collect()
        };
        for slot in slots {
            let mut slot = slot.lock().await;
            let refused = |t: &Token| sent.as_bytes().strip_prefix(b"Bearer ") == Some(t.value.as_bytes());
            if slot.as_ref().is_some_and(refused) {
                *slot = None;
            }
        }
    }

    async fn credential(&self, place: &Endpoint) -> Result<Option<Credential>, Error> {
        let key = (place.registry.clone(), place.name.clone());
        let mut known = self.known.lock().await;
        if let Some(credential) = known.get(&key) {
            return Ok(credential.clone());
        }
        let credentials = self.credentials.clone();
        let (registry, name) = key.clone();
        // A helper is a program that may ask a person: not on a thread that serves connections.
        let found = tokio::task::spawn_blocking(move || credentials.find(&registry, &name))
            .await
            .map_err(|_| Error::Cancelled)??;
        known.insert(key, found.clone());
        Ok(found)
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
