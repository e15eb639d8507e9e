//! What each registry asked for, and the header that satisfies it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderValue;

use super::token::{self, Ask, Challenge, Token};
use super::{Credential, Credentials, Scopes, basic, secret_header};
use crate::error::Error;
use crate::hosts::{Endpoint, is_loopback};
use crate::transport::{Response, Route, Transport, redact};

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
    /// Ask token servers for an identity token as well.
    offline: AtomicBool,
    /// The identity tokens that they gave, by registry.
    identities: Mutex<HashMap<String, String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, ..Self::default() }
    }

    /// From now on token servers are asked for an identity token as well, to be kept instead of the password.
    pub(crate) fn want_identity(&self) {
        self.offline.store(true, Ordering::Release);
    }

    /// The identity token that the registry's token server gave.
    pub(crate) fn identity(&self, registry: &str) -> Option<String> {
        lock(&self.identities).get(registry).cloned()
    }

    /// Whether the registry has asked for a login.
    pub(crate) fn was_challenged(&self, registry: &str) -> bool {
        lock(&self.challenges).contains_key(registry)
    }

    /// Whom the registry knows us as: nothing for nobody, empty for a login that names no user.
    pub(crate) async fn login(&self, place: &Endpoint) -> Option<String> {
        let key = (place.registry.clone(), place.name.clone());
        let known = self.known.lock().await;
        let credential = known.get(&key)?.as_ref()?;
        Some(credential.user().unwrap_or_default().to_owned())
    }

    /// The header for a request, or nothing while the registry has asked for nothing.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        place: &Endpoint,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, Error> {
        let challenge = lock(&self.challenges).get(&place.registry).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match self.credential(transport, place).await? {
                Some(Credential::Basic { user, password }) => basic(&user, &password).map(Some),
                _ => Ok(None),
            },
            Some(Challenge::Bearer { realm, service, scopes: asked }) => {
                let credential = self.credential(transport, place).await?;
                if let Some(Credential::RegistryToken(token)) = &credential {
                    return bearer(place, token).map(Some);
                }
                let scopes = self.wanted(place, scopes, asked);
                let key = (place.registry.clone(), place.name.clone(), scopes.clone());
                let slot = Arc::clone(lock(&self.tokens).entry(key).or_default());
                let mut slot = slot.lock().await;
                if let Some(token) = slot.as_ref().filter(|t| t.is_fresh()) {
                    return bearer(place, &token.value).map(Some);
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
                let route = Route { registry: Some(place.host()), insecure: place.insecure, bulk: false };
                let offline = self.offline.load(Ordering::Acquire);
                let ask = Ask { realm: &realm, service: service.as_deref(), scopes: &scopes.0, offline };
                let mut token = token::fetch(transport, &route, &ask, credential.as_ref())
                    .await
                    .map_err(|e| no_token(place, credential.as_ref(), e))?;
                if let Some(identity) = token.identity.take() {
                    lock(&self.identities).insert(place.registry.clone(), identity);
                }
                let header = bearer(place, &token.value)?;
                *slot = Some(token);
                Ok(Some(header))
            }
        }
    }

    /// Takes in a 401. True when the request is worth sending again, with another header.
    pub(crate) async fn challenged(
        &self,
        transport: &Transport,
        place: &Endpoint,
        scopes: &Scopes,
        sent: Option<&HeaderValue>,
        answer: &mut Response,
    ) -> Result<bool, Error> {
        let (offered, unusable) = token::challenges(answer.headers(), answer.url());
        let credential = self.credential(transport, place).await?;
        if offered.is_empty() && sent.is_none() {
            answer.set_challenge(&unusable);
        }
        let usable = offered.into_iter().find(|c| match c {
            Challenge::Bearer { .. } => true,
            Challenge::Basic => matches!(credential, Some(Credential::Basic { .. })),
        });
        let Some(challenge) = usable else {
            // What refuses old tokens may stand before the registry and not say what it wants.
            let token = sent.is_some_and(|sent| sent.as_bytes().starts_with(b"Bearer "));
            return Ok(token && self.forget(place, sent).await);
        };
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
                    lock(&self.extra).insert(key, asked.clone());
                }
            }
        }
        lock(&self.challenges).insert(place.registry.clone(), challenge);
        Ok(true)
    }

    /// The scopes to ask a token for: ours, and what the registry named when ours did not do.
    fn wanted(&self, place: &Endpoint, ours: &Scopes, asked: Vec<String>) -> Scopes {
        if ours.0.is_empty() {
            return Scopes(asked);
        }
        let mut scopes = ours.clone();
        let key = (place.registry.clone(), ours.clone());
        if let Some(more) = lock(&self.extra).get(&key) {
            for scope in more.iter().filter(|s| !ours.0.contains(s)) {
                scopes.0.push(scope.clone());
            }
        }
        scopes
    }

    /// Drops the token that was refused, unless another request has already fetched a newer one. Says whether it was
    /// one that we can get anew.
    async fn forget(&self, place: &Endpoint, sent: Option<&HeaderValue>) -> bool {
        let Some(sent) = sent else { return false };
        let slots: Vec<_> = {
            let tokens = lock(&self.tokens);
            let same = |k: &TokenKey| k.0 == place.registry && k.1 == place.name;
            tokens.iter().filter(|(k, _)| same(k)).map(|(_, slot)| Arc::clone(slot)).collect()
        };
        let fetched = !slots.is_empty();
        for slot in slots {
            let mut slot = slot.lock().await;
            let refused = |t: &Token| sent.as_bytes().strip_prefix(b"Bearer ") == Some(t.value.as_bytes());
            if slot.as_ref().is_some_and(refused) {
                *slot = None;
            }
        }
        fetched
    }

    /// What we know for the place, which from then on is masked wherever it might be shown.
    async fn credential(&self, transport: &Transport, place: &Endpoint) -> Result<Option<Credential>, Error> {
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
        if let Some(credential) = &found {
            transport.secrets().add_credential(credential);
        }
        known.insert(key, found.clone());
        Ok(found)
    }
}

/// The header with a token. What a token server gave has been looked at; a file may have anything in it.
fn bearer(place: &Endpoint, token: &str) -> Result<HeaderValue, Error> {
    secret_header(&format!("Bearer {token}")).ok_or_else(|| Error::Config {
        name: place.registry.clone(),
        what: "the `registrytoken` that is kept for it cannot stand in a header: log out of it and in again"
            .into(),
    })
}

/// Why there is no token, said so that a refusal by the token server is not taken for one by the registry.
fn no_token(place: &Endpoint, credential: Option<&Credential>, e: Error) -> Error {
    let what = match (e.status(), credential.map(Credential::user)) {
        (Some(400 | 401 | 403), Some(Some(user))) => {
            format!("its token server refuses the login of `{user}`")
        }
        (Some(400 | 401 | 403), Some(None)) => "its token server refuses the login".to_owned(),
        (Some(401 | 403), None) => "its token server gives nothing without a login".to_owned(),
        _ => "no token to be had".to_owned(),
    };
    Error::Auth { registry: place.registry.clone(), what, source: Some(Box::new(e)) }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
