//! The client: configuration, the hidden runtime, and how any request to a registry is sent.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use orlop_store::Reference;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use url::Url;

use crate::auth::{Authenticator, Credentials, Scopes};
use crate::error::{Error, TransportKind};
use crate::hosts::{Endpoint, HostsConfig, Places, ShortName, is_loopback};
use crate::mirrors::{Failed, Learned};
use crate::notice::{NoticeObserver, Told};
use crate::retry::{Attempts, Retry, RetryObserver, RetryPolicy, STOP_INTERVAL, Stop, repetitions};
use crate::transport::{Proxies, Request, Response, Route, Timeouts, Transport, is_same_host};

/// Everything that a client is told. Nothing is read from the environment.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who we are.
    pub credentials: Credentials,
    /// Mirrors, insecure and blocked registries, certificates.
    pub hosts: HostsConfig,
    /// Proxies.
    pub proxies: Proxies,
    /// What we call ourselves.
    pub user_agent: String,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retries: RetryPolicy,
    /// Told before each repetition.
    pub on_retry: RetryObserver,
    /// Told what a person should know of mirrors and registries.
    pub on_notice: NoticeObserver,
    /// Asked while something waits.
    pub stop: Stop,
    /// HTTP/2 where the registry offers it; blobs go over HTTP/1.1 all the same.
    pub http2: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            hosts: HostsConfig::default(),
            proxies: Proxies::default(),
            user_agent: concat!("orlop/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            retries: RetryPolicy::default(),
            on_retry: RetryObserver::default(),
            on_notice: NoticeObserver::default(),
            stop: Stop::default(),
            http2: true,
        }
    }
}

/// Speaks to registries. Cheap to clone; all clones share connections, tokens and one small runtime.
///
/// Every method blocks, from any thread; also from one that drives a runtime of its own.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
    pub(crate) stop: Stop,
    runtime: Arc<OwnRuntime>,
}

/// How long a mirror may make us wait.
const PATIENCE_WITH_MIRRORS: Duration = Duration::from_secs(2);

/// Host, and whether it is an insecure one.
type BaseKey = (String, bool);

/// The part of the client that tasks share.
pub(crate) struct Core {
    pub(crate) config: ClientConfig,
    pub(crate) transport: Transport,
    pub(crate) auth: Authenticator,
    pub(crate) learned: Learned,
    pub(crate) told: Told,
    /// One list of referrers is changed at a time: most registries do not notice two that write.
    pub(crate) referrers: tokio::sync::Mutex<()>,
    /// By host: the URL that it is reached by, once it is known.
    bases: Mutex<HashMap<BaseKey, Arc<OnceCell<Url>>>>,
}

/// Begins with the first request: most builds send none. Ends in the background, because tokio's own drop panics on a
/// thread of another runtime.
#[derive(Default)]
struct OwnRuntime(OnceLock<Result<Runtime, String>>);

impl OwnRuntime {
    fn get(&self) -> Result<&Runtime, Error> {
        let start = || {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("orlop-registry")
                .enable_all()
                .build()
                .map_err(|e| e.to_string())
        };
        let runtime = self.0.get_or_init(start).as_ref();
        runtime.map_err(|what| Error::Config { name: "threads".into(), what: what.clone() })
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.core.config).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; no connection is made yet, and no thread started.
    pub fn new(config: ClientConfig) -> Self {
        let transport = Transport::new(
            config.hosts.clone(),
            config.proxies.clone(),
            config.timeouts,
            config.user_agent.clone(),
            config.http2,
        );
        let auth = Authenticator::new(config.credentials.clone());
        let (learned, told, referrers, bases) = Default::default();
        let stop = config.stop.clone();
        let core = Core { config, transport, auth, learned, told, referrers, bases };
        Self { core: Arc::new(core), stop, runtime: Arc::default() }
    }

    /// A clone that is stopped by `stop` alone.
    pub fn with_stop(&self, stop: Stop) -> Self {
        Self { stop, ..self.clone() }
    }

    /// What a name that was written without a registry stands for, where configuration says other than Docker.
    ///
    /// # Errors
    /// As [`RegistriesConf::short_name`](crate::RegistriesConf::short_name).
    pub fn short_name(&self, reference: &Reference) -> Result<Option<ShortName>, Error> {
        self.core.config.hosts.registries.short_name(reference)
    }

    /// Asks whether the registry speaks the protocol and takes our login.
    ///
    /// # Errors
    /// When it does not.
    pub fn ping(&self, registry: &str) -> Result<(), Error> {
        let place = self.core.config.hosts.registry_endpoint(registry)?;
        self.ping_as(&place, Scopes::none())
    }

    /// The same with rights to be asked for.
    pub(crate) fn ping_as(&self, place: &Endpoint, scopes: Scopes) -> Result<(), Error> {
        let (core, place) = (Arc::clone(&self.core), place.clone());
        self.run(async move {
            let send = || core.ask(&place, scopes.clone(), Method::GET, "");
            core.retrying(u32::MAX, send).await?.drain().await;
            Ok(())
        })
    }

    /// Starts a task on the hidden runtime. An error where the system gives no threads.
    pub(crate) fn spawn<F>(&self, future: F) -> Result<JoinHandle<F::Output>, Error>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Ok(self.runtime.get()?.spawn(future))
    }

    /// Runs a task to its end.
    pub(crate) fn run<T, F>(&self, future: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (send, receive) = sync_channel(1);
        let running = self.spawn(async move {
            let _gone = send.send(future.await);
        })?;
        let end = self.wait(&receive);
        running.abort();
        end.map_err(|e| self.masked(e))
    }

    /// An error fit to leave the client: without what servers were told in confidence.
    pub(crate) fn masked(&self, error: Error) -> Error {
        error.masked(self.core.transport.secrets())
    }

    /// Waits for what a task sends, as long as nobody says stop.
    pub(crate) fn wait<T>(&self, receive: &Receiver<Result<T, Error>>) -> Result<T, Error> {
        loop {
            match receive.recv_timeout(STOP_INTERVAL) {
                Ok(end) => return end,
                Err(RecvTimeoutError::Timeout) if !self.stop.is_asked() => {}
                Err(_) => return Err(Error::Cancelled),
            }
        }
    }

    /// Waits for some time, as long as nobody says stop.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            if self.stop.is_asked() {
                return Err(Error::Cancelled);
            }
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                left => std::thread::sleep(left.min(STOP_INTERVAL)),
            }
        }
    }
}

impl Core {
    /// Repeats `f` while it fails in ways that may pass, at most `limit` times or as the policy says.
    pub(crate) async fn retrying<T, F, Fut>(&self, limit: u32, f: F) -> Result<T, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut attempts = Attempts::default();
        loop {
            let error = match f().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !is_worth_it(limit, &error) {
                return Err(error);
            }
            match (attempts.failures < limit).then(|| self.announce(&mut attempts, &error)).flatten() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// How long to wait after one more failure; nothing when the error is final. Tells the observer.
    pub(crate) fn announce(&self, attempts: &mut Attempts, error: &Error) -> Option<Duration> {
        let wait = self.config.retries.wait(attempts, error)?;
        self.config.on_retry.notify(&Retry {
            error: self.transport.secrets().mask(&error.line()),
            attempt: attempts.failures,
            of: repetitions(&self.config.retries, error).max(attempts.failures),
            wait,
            asked: error.retry_after().is_some(),
        });
        Some(wait)
    }

    /// Tries the places one after the other, and gives the number of that which did not fail.
    pub(crate) async fn on_places<T, F, Fut>(&self, places: &Places, f: F) -> Result<(T, usize), Error>
    where
        F: Fn(Endpoint) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut failed = Failed::new(places);
        for (i, place) in places.list.iter().enumerate() {
            match self.retrying(places.patience(i), || f(place.clone())).await {
                Ok(value) => return Ok((value, i)),
                Err(e @ Error::Cancelled) => return Err(e),
                Err(e) => failed.add(self, place, e),
            }
        }
        Err(failed.into_error())
    }

    /// A request without a body to `/v2/` and `path`; an answer that is no success is an error.
    pub(crate) async fn ask(
        &self,
        place: &Endpoint,
        scopes: Scopes,
        method: Method,
        path: &str,
    ) -> Result<Response, Error> {
        self.asking(place, &scopes, &|base| Ok(Request::new(method.clone(), join(base, path)?))).await
    }

    /// The same for a manifest of any kind.
    pub(crate) async fn ask_document(
        &self,
        place: &Endpoint,
        scopes: Scopes,
        method: Method,
        path: &str,
    ) -> Result<Response, Error> {
        let accepted = HeaderValue::from_static(crate::pull::ACCEPTED);
        let make =
            |base: &Url| Ok(Request::new(method.clone(), join(base, path)?).header(ACCEPT, accepted.clone()));
        self.asking(place, &scopes, &make).await
    }

    /// What `make` makes, where an answer that is no success is an error.
    async fn asking(
        &self,
        place: &Endpoint,
        scopes: &Scopes,
        make: &(dyn Fn(&Url) -> Result<Request, Error> + Send + Sync),
    ) -> Result<Response, Error> {
        self.exchange(place, scopes, false, make).await?.success().await
    }

    /// Sends what `make` makes of the registry's base URL, with our credentials where the URL is the
    /// registry's own, and once more with better ones where the registry asks for them.
    pub(crate) async fn exchange(
        &self,
        place: &Endpoint,
        scopes: &Scopes,
        bulk: bool,
        make: &(dyn Fn(&Url) -> Result<Request, Error> + Send + Sync),
    ) -> Result<Response, Error> {
        let base = self.base(place).await?;
        let mut attempt = 0;
        loop {
            let mut request = make(&base)?;
            let own = request.url.origin() == base.origin();
            let insecure = self.is_insecure(place, &base, &request.url);
            let route = Route { registry: Some(place.host()), insecure, bulk };
            let sent = if own { self.auth.header(&self.transport, place, scopes).await? } else { None };
            if let Some(value) = &sent {
                request.headers.insert(AUTHORIZATION, value.clone());
            }
            if !own {
                request.asked = Some(uploads(&base, place)?);
            }
            let mut response = self.transport.send(request, &route).await?;
            self.tell_warnings(&place.registry, response.headers());
            attempt += 1;
            if sent.is_some() && matches!(response.status().as_u16(), 401 | 403) {
                response.set_login(self.auth.login(place).await);
            }
            let asks = response.status() == 401 && response.url().origin() == base.origin();
            // Twice: an expired token, then one for what else the registry wants.
            if !asks
                || attempt > 2
                || !self.auth.challenged(&self.transport, place, scopes, sent.as_ref(), &mut response).await?
            {
                return Ok(response);
            }
            response.drain().await;
        }
    }

    /// Whether a URL that the registry gave is one of an insecure host: the registry's own by what is said of the
    /// repository, another by what is said of that host.
    pub(crate) fn is_insecure(&self, place: &Endpoint, base: &Url, url: &Url) -> bool {
        if is_same_host(url, base) { place.insecure } else { self.config.hosts.is_insecure(url) }
    }

    /// The URL of the registry's `/v2/`, found out by trial where both HTTP and HTTPS are allowed.
    pub(crate) async fn base(&self, place: &Endpoint) -> Result<Url, Error> {
        let key = (place.host().to_owned(), place.insecure);
        let cell = {
            let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(bases.entry(key).or_default())
        };
        cell.get_or_try_init(|| self.find_base(place)).await.cloned()
    }

    async fn find_base(&self, place: &Endpoint) -> Result<Url, Error> {
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/v2/", place.host())).map_err(|e| Error::Config {
                name: place.registry.clone(),
                what: format!("not a registry's host: {e}"),
            })
        };
        let (http, https) = (url("http")?, url("https")?);
        if is_loopback(place.host()) {
            return self.find_local_base(place, http, https).await;
        }
        if !place.insecure {
            return Ok(https);
        }
        match self.probe(place, &https).await {
            Ok(_) => Ok(https),
            Err(secure) => match self.probe(place, &http).await {
                Ok(false) => Ok(http),
                // Only that it wants HTTPS, where something is wrong with that, is no leave to do without.
                Ok(true) | Err(_) => Err(secure),
            },
        }
    }

    /// Plain HTTP first: a TLS server says at once that it was spoken to wrongly, while a plain server
    /// may wait for the rest of what it takes for a very long request line.
    async fn find_local_base(&self, place: &Endpoint, http: Url, https: Url) -> Result<Url, Error> {
        let plain = match self.probe(place, &http).await {
            Ok(false) => return Ok(http),
            Ok(true) => None,
            // Who does not answer at all does not answer in TLS either.
            Err(e) if e.is_timeout() => return Err(e),
            Err(e @ Error::Transport { kind: TransportKind::Refused | TransportKind::Resolve, .. }) => {
                return Err(e);
            }
            Err(e) => Some(e),
        };
        match self.probe(place, &https).await {
            Ok(_) => Ok(https),
            Err(Error::Transport { kind: TransportKind::NotTls | TransportKind::Broken, .. })
                if plain.is_some() =>
            {
                Err(plain.unwrap_or(Error::Cancelled))
            }
            Err(e) => Err(e),
        }
    }

    /// Whether something answers there; true when it answers that it wants HTTPS.
    async fn probe(&self, place: &Endpoint, url: &Url) -> Result<bool, Error> {
        let mut request = Request::new(Method::GET, url.clone());
        request.keep_redirect = true;
        let route = Route { registry: Some(place.host()), insecure: place.insecure, bulk: false };
        let mut response = self.transport.send(request, &route).await?;
        match response.status().as_u16() {
            400 if url.scheme() == "http" => {
                // Go's and nginx's words: "… an HTTP request to an HTTPS server", "… sent to HTTPS port".
                let text = response.into_error().await.to_string();
                Ok(text.contains("HTTPS"))
            }
            301 | 302 | 307 | 308 if url.scheme() == "http" => {
                let to = response.text("location").and_then(|l| url.join(l).ok());
                let same = to.is_some_and(|to| {
                    to.scheme() == "https" && to.host() == url.host() && to.port() == url.port()
                });
                response.drain().await;
                Ok(same)
            }
            401 => {
                // Saves the first request from being refused.
                self.auth.challenged(&self.transport, place, &Scopes::none(), None, &mut response).await?;
                response.drain().await;
                Ok(false)
            }
            _ => {
                response.drain().await;
                Ok(false)
            }
        }
    }
}

/// Whether to wait as long as the registry asks: not where another place comes next.
pub(crate) fn is_worth_it(limit: u32, error: &Error) -> bool {
    limit == u32::MAX || error.retry_after().is_none_or(|wait| wait <= PATIENCE_WITH_MIRRORS)
}

/// Where uploads begin: what led to wherever else they go on.
pub(crate) fn uploads(base: &Url, place: &Endpoint) -> Result<Url, Error> {
    join(base, &format!("{}/blobs/uploads/", place.name))
}

/// The URL of a path below `/v2/`. The path is made of checked names only.
pub(crate) fn join(base: &Url, path: &str) -> Result<Url, Error> {
    base.join(path).map_err(|e| Error::Config { name: path.to_owned(), what: e.to_string() })
}
