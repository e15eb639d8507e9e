//! A registry inside the process whose answers a test can bend: real HTTP/1.1 over loopback, on two
//! ports, the second of which is the storage and token server that real registries have elsewhere.
//!
//! Written on plain sockets and not on an HTTP library, because half of the faults are what a library
//! would keep it from doing: closing in mid-answer, lying about lengths, never ending.

mod http;
mod serve;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_store::Digest;

/// How a fake registry behaves all the time.
#[derive(Clone, Debug)]
pub struct FakeConfig {
    /// Who gets in.
    pub auth: FakeAuth,
    /// GET of a blob redirects to the storage port.
    pub redirect_blobs: bool,
    /// GET of a blob knows `Range`.
    pub ranges: bool,
    /// HEAD is answered; else 405.
    pub head: bool,
    /// `Docker-Content-Digest` is sent.
    pub digest_header: bool,
    /// What a mount is answered: 201, 202 (an upload session instead), or an error status.
    pub mount: u16,
    /// A PUT that brings the whole blob is refused with this status.
    pub refuse_whole: Option<u16>,
    /// `OCI-Chunk-Min-Length`; a smaller chunk that is not the last is refused with 416.
    pub min_chunk: u64,
    /// Larger bodies are refused with 413.
    pub max_body: Option<u64>,
    /// Entries of one page of tags.
    pub page: usize,
    /// The referrers API exists; else 404.
    pub referrers: bool,
    /// Manifests have an `ETag`, and `If-Match` is looked after.
    pub etags: bool,
}

impl Default for FakeConfig {
    fn default() -> Self {
        Self {
            auth: FakeAuth::None,
            redirect_blobs: false,
            ranges: true,
            head: true,
            digest_header: true,
            mount: 201,
            refuse_whole: None,
            min_chunk: 0,
            max_body: None,
            page: 2,
            referrers: true,
            etags: true,
        }
    }
}

/// Who gets in.
#[derive(Clone, Debug, Default)]
pub enum FakeAuth {
    /// Everybody.
    #[default]
    None,
    /// User and password.
    Basic(String, String),
    /// Tokens from the storage port's `/token`.
    Bearer {
        /// User and password that tokens are given for; nothing lets everybody pull.
        login: Option<(String, String)>,
        /// An identity token that is taken by POST, or by GET as the password of `u`, and given to whoever asks
        /// for one with the password.
        identity: Option<String>,
        /// The answer's field: `token` or `access_token`.
        field: &'static str,
        /// Seconds that the answer promises.
        promised: u64,
        /// Requests that a token is good for.
        uses: u32,
    },
}

/// What goes wrong, for the requests that a [`Rule`] fits.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status, with these headers and an error body of this code.
    Status(u16, &'static str, Vec<(&'static str, String)>),
    /// Close without an answer.
    Close,
    /// Close after so many bytes of the answer's body.
    Cut(u64),
    /// End well after so many bytes, with a length that says that this is all.
    Shorten(u64),
    /// Say nothing more after so many bytes of the answer's body.
    Stall(u64),
    /// Another byte at this place.
    Flip(usize),
    /// The body, and then more of it for ever, without a length.
    Endless,
    /// No `Content-Length`; the body ends with the connection.
    NoLength,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Replace or add a header of the answer; empty removes it.
    Header(&'static str, String),
    /// Close after so many bytes of the request's body; true keeps them in the upload.
    CutUpload(u64, bool),
    /// Do everything, and close instead of answering.
    Forget,
    /// Wait before the answer.
    Delay(Duration),
    /// Redirect to this URL.
    Redirect(u16, String),
    /// Answer with bytes that are no HTTP.
    Garbage,
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Method, or `*`.
    pub method: &'static str,
    /// A part of path and query.
    pub path: String,
    /// Requests that fit and go well before.
    pub skip: u32,
    /// Requests that fault then.
    pub times: u32,
    /// What happens to them.
    pub fault: Fault,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Logged {
    /// It came to the storage port.
    pub storage: bool,
    /// Method.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Status of the answer; 0 for none.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body: u64,
}

impl Logged {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

#[derive(Default)]
struct Content {
    blobs: HashMap<(String, Digest), Vec<u8>>,
    manifests: HashMap<(String, Digest), (String, Vec<u8>)>,
    tags: Vec<(String, String, Digest)>,
    uploads: HashMap<String, Vec<u8>>,
    tokens: HashMap<String, (Vec<String>, u32)>,
    rules: Vec<Rule>,
    log: Vec<Logged>,
    next: u64,
}

struct State {
    config: FakeConfig,
    content: Mutex<Content>,
    registry: SocketAddr,
    storage: SocketAddr,
    stopped: AtomicBool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running registry; dropped, it takes no more connections.
pub struct FakeRegistry(Arc<State>);

impl std::fmt::Debug for FakeRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeRegistry").field(&self.0.registry).finish()
    }
}

impl FakeRegistry {
    /// Starts a registry on two ports of 127.0.0.1 that the system chooses.
    ///
    /// # Errors
    /// When there are no ports to be had.
    pub fn start(config: FakeConfig) -> io::Result<Self> {
        let (registry, storage) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let state = Arc::new(State {
            config,
            content: Mutex::default(),
            registry: registry.local_addr()?,
            storage: storage.local_addr()?,
            stopped: AtomicBool::new(false),
        });
        for (listener, is_storage) in [(registry, false), (storage, true)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if state.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || serve::connection(&state, stream, is_storage));
                }
            });
        }
        Ok(Self(state))
    }

    /// `127.0.0.1:PORT` of the registry.
    pub fn host(&self) -> String {
        self.0.registry.to_string()
    }

    /// `127.0.0.1:PORT` of the storage.
    pub fn storage_host(&self) -> String {
        self.0.storage.to_string()
    }

    /// Puts a blob in.
    pub fn put_blob(&self, repo: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.0.lock().blobs.insert((repo.to_owned(), digest), bytes.to_vec());
        digest
    }

    /// Puts a manifest in, under a tag where there is one.
    pub fn put_manifest(&self, repo: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut content = self.0.lock();
        content.manifests.insert((repo.to_owned(), digest), (media_type.to_owned(), bytes.to_vec()));
        if let Some(tag) = tag {
            content.tags.retain(|(r, t, _)| r != repo || t != tag);
            content.tags.push((repo.to_owned(), tag.to_owned(), digest));
        }
        digest
    }

    /// A blob of a repository.
    pub fn blob(&self, repo: &str, digest: Digest) -> Option<Vec<u8>> {
        self.0.lock().blobs.get(&(repo.to_owned(), digest)).cloned()
    }

    /// Media type and bytes of a manifest.
    pub fn manifest(&self, repo: &str, digest: Digest) -> Option<(String, Vec<u8>)> {
        self.0.lock().manifests.get(&(repo.to_owned(), digest)).cloned()
    }

    /// Where a tag points to.
    pub fn tag(&self, repo: &str, tag: &str) -> Option<Digest> {
        self.0.lock().tags.iter().find(|(r, t, _)| r == repo && t == tag).map(|(_, _, d)| *d)
    }

    /// Makes requests fault. Of several rules that fit, the first that is not used up counts.
    pub fn fault(&self, method: &'static str, path: &str, skip: u32, times: u32, fault: Fault) {
        self.0.lock().rules.push(Rule { method, path: path.to_owned(), skip, times, fault });
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Logged> {
        self.0.lock().log.clone()
    }

    /// The requests of a method whose target has `part` in it.
    pub fn logged(&self, method: &str, part: &str) -> Vec<Logged> {
        self.log().into_iter().filter(|l| l.method == method && l.target.contains(part)).collect()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.0.lock().log.clear();
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        // Wakes the threads that wait for connections, so that they see it.
        for address in [self.0.registry, self.0.storage] {
            let _woken = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
        }
    }
}

impl Content {
    /// The fault for a request, counted off its rule.
    fn fault(&mut self, method: &str, target: &str) -> Option<Fault> {
        for rule in &mut self.rules {
            if (rule.method != "*" && rule.method != method) || !target.contains(&rule.path) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }

    fn name(&mut self, prefix: &str) -> String {
        self.next += 1;
        // Not to be guessed from the outside by a client that makes up its own.
        let noise = Digest::of(format!("{prefix}{}{:?}", self.next, Instant::now()).as_bytes());
        format!("{prefix}{}", noise.short())
    }
}
