//! One HTTP request and its answer: connections, TLS, proxies, redirects, time limits. Knows nothing
//! of registries.

mod certificates;
mod failure;
mod proxy;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::auth::Secrets;
use crate::error::{ERROR_BODY_CAP, Error, StatusError, TransportKind, clean};
use crate::hosts::{HostsConfig, is_loopback};
use crate::pipe::{Monitor, Reader};
use crate::retry::{rate_limit, retry_after};

pub use self::failure::redact;
use self::proxy::Way;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;
/// What the rest of a short body is waited for, for the sake of the connection.
const DRAIN: Duration = Duration::from_secs(2);
/// What the body of an error is waited for: the status says the most.
const EXPLANATION: Duration = Duration::from_secs(10);

/// Limits of time. None of them limits the transfer of a blob that gets on.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the end of the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two pieces of a transfer.
    pub stall: Duration,
    /// From the last byte of an upload to the answer; registries move the blob to its place meanwhile,
    /// or look for everything that a manifest names.
    pub commit: Duration,
    /// For a whole manifest, list or token, which are short.
    pub document: Duration,
    /// Of an answer, fewer bytes than [`Timeouts::slow_bytes`] in so much time of waiting for them are too
    /// few: a server that sends a byte now and then would keep us for ever.
    pub slow_window: Duration,
    /// See [`Timeouts::slow_window`].
    pub slow_bytes: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            first_byte: Duration::from_secs(30),
            stall: Duration::from_secs(45),
            commit: Duration::from_secs(300),
            document: Duration::from_secs(120),
            slow_window: Duration::from_secs(60),
            slow_bytes: 6000,
        }
    }
}

/// Proxies, as the environment variables of the same names say them; empty means none. Loopback
/// hosts are always reached directly.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains, addresses and networks that are reached directly.
    pub no_proxy: Option<String>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may hold a password.
        let shown = |p: &Option<String>| p.as_ref().map(|_| "…");
        let mut out = f.debug_struct("Proxies");
        out.field("http", &shown(&self.http)).field("https", &shown(&self.https));
        out.field("no_proxy", &self.no_proxy).finish()
    }
}

/// How a URL may be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    /// The registry (`host` or `host:port`) that the request is made for, whoever is asked: its token server and its
    /// storage are believed by the same certificates, as docker and podman do.
    pub(crate) registry: Option<&'a str>,
    /// The certificate of the first URL's host is not checked. Of hosts that this leads to, configuration says it.
    pub(crate) insecure: bool,
    /// A blob: over HTTP/1.1 and so a connection of its own, which no window of a shared one slows.
    pub(crate) bulk: bool,
}

/// What is sent behind the headers.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// Read while it is sent; without a length in pieces that each say theirs (RFC 9112, 7.1).
    Stream {
        reader: Reader<std::io::Error>,
        monitor: Monitor<std::io::Error>,
        length: Option<u64>,
    },
}

/// A request that goes out once.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// The URL for messages, where it is the registry that led to `url`.
    pub(crate) asked: Option<Url>,
    /// Instead of following a redirect, hand it out.
    pub(crate) keep_redirect: bool,
    /// From HTTPS, follow a redirect to plain HTTP: for what has nothing to do with a registry.
    pub(crate) downgrade: bool,
    /// The body holds a login, and goes to no other origin.
    pub(crate) secret: bool,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            asked: None,
            keep_redirect: false,
            downgrade: false,
            secret: false,
        }
    }

    pub(crate) fn header(mut self, name: reqwest::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    tls: bool,
    certificates: Option<std::path::PathBuf>,
    insecure: bool,
    proxy: Option<Way>,
    bulk: bool,
}

/// The connections of one client.
pub(crate) struct Transport {
    hosts: Arc<HostsConfig>,
    proxies: Proxies,
    timeouts: Timeouts,
    user_agent: String,
    http2: bool,
    clients: Mutex<HashMap<ClientKey, reqwest::Client>>,
    roots: std::sync::OnceLock<Result<tls::Trusted, String>>,
    secrets: Secrets,
}

impl Transport {
    pub(crate) fn new(
        hosts: HostsConfig,
        proxies: Proxies,
        timeouts: Timeouts,
        user_agent: String,
        http2: bool,
    ) -> Self {
        let (clients, roots, secrets) = (Mutex::default(), std::sync::OnceLock::new(), Secrets::default());
        for proxy in [&proxies.http, &proxies.https].into_iter().flatten() {
            secrets.add_url(proxy);
        }
        let hosts = Arc::new(hosts);
        Self { hosts, proxies, timeouts, user_agent, http2, clients, roots, secrets }
    }

    /// What is masked in all that servers say.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends and follows redirects. `Authorization` goes to the first URL's origin only; once a
    /// redirect has left it, it does not come back.
    pub(crate) async fn send(&self, mut request: Request, route: &Route<'_>) -> Result<Response, Error> {
        let begin = request.url.clone();
        let first = request.asked.take().unwrap_or_else(|| begin.clone());
        for _ in 0..=REDIRECTS {
            let (method, url) = (request.method.clone(), request.url.clone());
            let again = match &request.body {
                Body::Empty => Some(Body::Empty),
                Body::Bytes(bytes) => Some(Body::Bytes(bytes.clone())),
                Body::Stream { .. } => None,
            };
            let headers = request.headers.clone();
            let (keep, downgrade, secret) = (request.keep_redirect, request.downgrade, request.secret);
            let insecure = match is_same_host(&url, &begin) {
                true => route.insecure,
                false => route.registry.is_some() && self.hosts.is_insecure(&url),
            };
            let route = &Route { insecure, ..*route };
            let client = self.client(&url, route)?;
            let inner = match self.once(client, request, &first).await {
                Err(e)
                    if url.scheme() == "https"
                        && is_reading(&method)
                        && e.transport_kind().is_some_and(is_lost) =>
                {
                    let mut again = Request::new(method.clone(), url.clone());
                    again.headers.clone_from(&headers);
                    self.once_more(again, &first, route).await?
                }
                other => other?,
            };
            let response = Response {
                inner,
                method: method.clone(),
                shown: shown(&first, &url),
                url,
                hosts: Arc::clone(&self.hosts),
                insecure,
                downgrade,
                limits: self.timeouts,
                pace: Pace::default(),
                secrets: self.secrets.clone(),
                login: None,
                challenge: None,
            };
            let Some(body) = again.filter(|_| !keep) else { return Ok(response) };
            let Some((next, next_method)) = response.redirect(&method)? else { return Ok(response) };
            if secret && next_method == method && next.origin() != begin.origin() {
                return Err(
                    response.protocol("it redirects a login to another server, which does not get it")
                );
            }
            request = Request::new(next_method, next);
            request.downgrade = downgrade;
            request.headers = headers;
            request.secret = secret;
            if request.method == method {
                request.body = body;
            } else {
                request.headers.remove(CONTENT_TYPE);
            }
            if request.url.origin() != begin.origin() {
                request.headers.remove(AUTHORIZATION);
            }
        }
        Err(Error::Transport {
            method: request.method.to_string(),
            url: shown(&first, &request.url),
            kind: TransportKind::Redirect,
            source: None,
        })
    }

    async fn once(
        &self,
        client: reqwest::Client,
        request: Request,
        first: &Url,
    ) -> Result<reqwest::Response, Error> {
        let (method, url) = (request.method.clone(), request.url.clone());
        let mut out = client.request(request.method, request.url).headers(request.headers);
        let mut watch = None;
        match request.body {
            Body::Empty if matches!(method, Method::POST | Method::PUT | Method::PATCH) => {
                out = out.header(CONTENT_LENGTH, 0);
            }
            Body::Empty => {}
            Body::Bytes(bytes) => out = out.body(bytes),
            Body::Stream { reader, monitor, length } => {
                watch = Some(monitor);
                if let Some(length) = length {
                    out = out.header(CONTENT_LENGTH, length);
                }
                out = out.body(reqwest::Body::wrap_stream(reader));
            }
        }
        let failed = |kind| {
            let (method, url) = (method.to_string(), shown(first, &url));
            Error::Transport { method, url, kind, source: None }
        };
        let mut answer = std::pin::pin!(out.send());
        let started = std::time::Instant::now();
        let limits = &self.timeouts;
        let patience = if method == Method::PUT { limits.commit } else { limits.first_byte };
        let tick = limits.stall.min(limits.first_byte).min(limits.commit) / 8;
        let tick = tick.clamp(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            match tokio::time::timeout(tick, answer.as_mut()).await {
                Ok(Ok(response)) if response.status() == 407 && url.scheme() == "http" => {
                    let way = self.proxies.way(&url);
                    let Some(way) = way else { return Ok(response) };
                    let error = failed(TransportKind::ProxyLogin);
                    return Err(failure::at_proxy(error, &self.proxies.shown(way)));
                }
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(e)) => {
                    let error = failure::classify(&method, shown(first, &url), e);
                    return Err(match self.proxies.way(&url) {
                        Some(way) => failure::at_proxy(error, &self.proxies.shown(way)),
                        None => error,
                    });
                }
                Err(_) => match &watch {
                    None if started.elapsed() > limits.connect + patience => {
                        return Err(failed(TransportKind::FirstByteTimeout));
                    }
                    Some(pipe) if pipe.drained_for().is_some_and(|t| t > limits.commit) => {
                        return Err(failed(TransportKind::FirstByteTimeout));
                    }
                    Some(pipe) if pipe.stalled_for().is_some_and(|t| t > limits.stall) => {
                        return Err(failed(TransportKind::Stalled));
                    }
                    _ => {}
                },
            }
        }
    }

    fn client(&self, url: &Url, route: &Route<'_>) -> Result<reqwest::Client, Error> {
        let key = self.key(url, route)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.make(&key, &authority(url), None)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn key(&self, url: &Url, route: &Route<'_>) -> Result<ClientKey, Error> {
        let proxy = self.proxies.way(url);
        let secure = match proxy {
            Some(way) => self.proxies.url(way)?.scheme() == "https",
            None => false,
        };
        let tls = url.scheme() == "https" || secure;
        let certificates = if tls { self.certificates_of(url, route.registry) } else { None };
        Ok(ClientKey { tls, certificates, insecure: route.insecure && tls, proxy, bulk: route.bulk })
    }

    /// A client with connections of its own; `asked` is told whether a server wants a certificate that we have not.
    fn make(
        &self,
        key: &ClientKey,
        host: &str,
        asked: Option<Arc<AtomicBool>>,
    ) -> Result<reqwest::Client, Error> {
        let http2 = self.http2 && !key.bulk;
        let config = self.tls_config(key, host, http2, asked)?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.timeouts.connect)
            .pool_idle_timeout(Duration::from_secs(50))
            .http2_adaptive_window(true);
        if !http2 {
            builder = builder.http1_only();
        }
        if let Some(way) = key.proxy {
            let proxy = reqwest::Proxy::all(self.proxies.url(way)?)
                .map_err(|_| Error::Config { name: "proxy".into(), what: "it cannot be used".into() })?;
            builder = builder.proxy(proxy);
        }
        builder
            .build()
            .map_err(|e| Error::Config { name: "HTTP client".into(), what: failure::chain(&e.without_url()) })
    }

    /// Once more, over HTTP/1.1 and a connection of its own, after one that ended without a word. A server that wants
    /// a certificate of ours says so after we think that the connection stands, and then it is often lost; and some
    /// have their trouble with HTTP/2.
    async fn once_more(
        &self,
        request: Request,
        first: &Url,
        route: &Route<'_>,
    ) -> Result<reqwest::Response, Error> {
        let asked = Arc::new(AtomicBool::new(false));
        let route = Route { bulk: true, ..*route };
        let (key, host) = (self.key(&request.url, &route)?, authority(&request.url));
        let client = self.make(&key, &host, Some(Arc::clone(&asked)))?;
        match self.once(client, request, first).await {
            Err(Error::Transport { method, url, kind, .. })
                if is_lost(kind) && asked.load(Ordering::Relaxed) =>
            {
                let source = Some(Box::new(failure::no_certificate()) as _);
                Err(Error::Transport { method, url, kind: TransportKind::TlsRefused, source })
            }
            other => other,
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether two URLs are of one host and port, be it by HTTP or by HTTPS.
pub(crate) fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host() == other.host() && one.port() == other.port()
}

/// Whether a connection ended and nobody said why.
fn is_lost(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Broken | TransportKind::Other)
}

/// The head of an answer, and the way to its body.
pub(crate) struct Response {
    inner: reqwest::Response,
    method: Method,
    url: Url,
    /// The URL for messages, with the one that was asked first.
    shown: String,
    hosts: Arc<HostsConfig>,
    /// The host that answered may be spoken to by plain HTTP.
    insecure: bool,
    /// It may lead from HTTPS to plain HTTP wherever.
    downgrade: bool,
    limits: Timeouts,
    pace: Pace,
    secrets: Secrets,
    login: Option<String>,
    challenge: Option<String>,
}

/// A URL fit to print, and before it the one that led there, where that is another host's: it names the registry
/// and the repository, which storage's does not.
pub(crate) fn shown(first: &Url, url: &Url) -> String {
    match first.origin() == url.origin() {
        true => redact(url),
        false => format!("{}{ON}{}", redact(first), redact(url)),
    }
}

/// `host` or `host:port`.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Between a URL and that which it led to.
pub(crate) const ON: &str = " → ";

/// How fast bytes came lately.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes in what came after waiting for it. True when it is too little.
    fn is_slow(&mut self, waited: Duration, bytes: usize, limits: &Timeouts) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < limits.slow_window {
            return false;
        }
        let slow = self.bytes < limits.slow_bytes;
        *self = Self::default();
        slow
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header's text, where it is ASCII.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// Where the answer came from, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether something here may lead to that URL: not from HTTPS to plain HTTP, unless the host there is one that
    /// configuration allows it for, or one's own machine.
    pub(crate) fn may_lead_to(&self, url: &Url) -> bool {
        self.url.scheme() != "https"
            || url.scheme() == "https"
            || self.downgrade
            || url.host_str().is_some_and(is_loopback)
            || if is_same_host(url, &self.url) { self.insecure } else { self.hosts.is_insecure(url) }
    }

    /// Where the answer came from in the end.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.text("content-length").and_then(|t| t.trim().parse().ok())
    }

    /// An answer that breaks the rules.
    pub(crate) fn protocol(&self, what: impl Into<String>) -> Error {
        let what = format!("{}: {}", self.status(), what.into());
        Error::Protocol { method: self.method.to_string(), url: self.shown.clone(), what }
    }

    /// It leads from HTTPS to plain HTTP at a host that nobody has allowed that for.
    pub(crate) fn plain_http(&self, what: &str, to: &Url) -> Error {
        Error::Downgrade {
            method: self.method.to_string(),
            url: self.shown.clone(),
            what: format!("{}: {what} from HTTPS to plain HTTP", self.status()),
            to: redact(to),
            host: authority(to),
        }
    }

    pub(crate) fn redirect(&self, method: &Method) -> Result<Option<(Url, Method)>, Error> {
        let reading = is_reading(method);
        let same = match self.status().as_u16() {
            301 | 302 if reading => true,
            303 => reading,
            307 | 308 => true,
            _ => return Ok(None),
        };
        let Some(location) = self.text(LOCATION.as_str()) else { return Ok(None) };
        let mut next = self
            .url
            .join(location)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| self.protocol("it redirects to something that is no HTTP URL"))?;
        // Whoever answers has no passwords to give; that which the question had is good for its own origin.
        let own = next.origin() == self.url.origin();
        let (user, password) =
            if own { (self.url.username(), self.url.password()) } else { Default::default() };
        // Neither can fail for a URL with a host.
        let _ = next.set_username(user);
        let _ = next.set_password(password);
        if !self.may_lead_to(&next) {
            return Err(self.plain_http("it redirects", &next));
        }
        Ok(Some((next, if same { method.clone() } else { Method::GET })))
    }

    /// The next piece of the body; nothing at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let started = std::time::Instant::now();
        match tokio::time::timeout(self.limits.stall, self.inner.chunk()).await {
            Ok(Ok(Some(chunk))) => match self.pace.is_slow(started.elapsed(), chunk.len(), &self.limits) {
                true => Err(self.transport(TransportKind::Slow)),
                false => Ok(Some(chunk)),
            },
            Ok(Ok(None)) => Ok(None),
            Ok(Err(e)) => Err(failure::classify(&self.method, self.shown.clone(), e)),
            Err(_) => Err(self.transport(TransportKind::Stalled)),
        }
    }

    fn transport(&self, kind: TransportKind) -> Error {
        Error::Transport { method: self.method.to_string(), url: self.shown.clone(), kind, source: None }
    }

    /// Notes whom the server took us for, for what is said of a refusal; an empty name is a login without one.
    pub(crate) fn set_login(&mut self, login: Option<String>) {
        self.login = login;
    }

    /// Notes why what the server asks for cannot be given.
    pub(crate) fn set_challenge(&mut self, why: &str) {
        self.challenge = Some(self.quoted(why));
    }

    /// What a server says, fit to print: masked before it is cut, as half a secret would not be known again.
    pub(crate) fn quoted(&self, text: &str) -> String {
        clean(&self.secrets.mask(text))
    }

    /// The whole body, unless it is longer than `cap` bytes.
    pub(crate) async fn bytes(mut self, cap: usize) -> Result<Vec<u8>, Error> {
        let too_long = |r: &Self| r.protocol(format!("the answer is longer than {cap} bytes"));
        if self.length().is_some_and(|l| l > cap as u64) {
            return Err(too_long(&self));
        }
        let (mut out, limit) = (Vec::new(), self.limits.document);
        let all = async {
            while let Some(chunk) = self.chunk().await? {
                if out.len() + chunk.len() > cap {
                    return Err(too_long(&self));
                }
                out.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(limit, all).await {
            Ok(end) => end.map(|()| out),
            Err(_) => Err(self.transport(TransportKind::Slow)),
        }
    }

    /// Reads a short body to its end, so that the connection can serve again; one that takes its time is left.
    pub(crate) async fn drain(mut self) {
        let mut left = ERROR_BODY_CAP;
        let all = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _left = tokio::time::timeout(DRAIN, all).await;
    }

    /// The answer where it says yes, else as an error.
    pub(crate) async fn success(self) -> Result<Self, Error> {
        match self.status().is_success() {
            true => Ok(self),
            false => Err(self.into_error().await),
        }
    }

    /// The answer as an error, with what its body says.
    pub(crate) async fn into_error(mut self) -> Error {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut error = StatusError {
            method: self.method.to_string(),
            url: self.shown.clone(),
            status: self.status().as_u16(),
            code: None,
            message: None,
            retry_after: self.text(RETRY_AFTER.as_str()).and_then(|v| retry_after(v, now)),
            login: self.login.take(),
            challenge: self.challenge.take(),
        };
        // Docker Hub says so how much it lets through.
        let limit = self.text("ratelimit-limit").filter(|_| error.status == 429).and_then(rate_limit);
        let mut body = Vec::new();
        let all = async {
            while body.len() < ERROR_BODY_CAP
                && let Ok(Some(chunk)) = self.chunk().await
            {
                body.extend_from_slice(&chunk);
            }
        };
        // What has come by then has to do.
        let _rest = tokio::time::timeout(EXPLANATION, all).await;
        error.read_body(&body, &self.secrets);
        if let Some(limit) = limit {
            let message = error.message.take().map(|message| message + "; ").unwrap_or_default();
            error.message = Some(message + &limit);
        }
        Error::Status(Box::new(error))
    }
}
