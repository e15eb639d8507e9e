//! Every fault, at every kind of request, between the client and Debian's `docker-registry`: the end is the right
//! content, or one clear error in a short time; never other content, never a secret.

mod matrix;
mod random;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orlop_fixtures::fault_proxy::{self, Fault, FaultProxy, Kind, Phase, Reply};
use orlop_fixtures::registry::{self, Registry};
use orlop_registry_client::{
    Client, ClientConfig, Credential, Error, Repository, RetryPolicy, TagOrDigest, Timeouts,
};
use orlop_store::{Descriptor, Digest, media_type};

use crate::{layer, noise, read};

const PASSWORD: &str = "hunter2";
/// Where the image is that is pulled.
const SOURCE: &str = "team/source";
/// The longest that anything may take here; nothing comes near it unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A registry with an image in it.
struct World {
    registry: Registry,
    direct: Client,
    image: Image,
    next: AtomicU32,
}

struct Image {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

impl Image {
    fn new(seed: u8) -> Self {
        static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
        let mut large = NOISE.get_or_init(|| noise(200_000)).clone();
        large[0] = seed;
        let blobs =
            vec![format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"x\":{seed}}}").into_bytes(), large];
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": Descriptor::of(media_type::OCI_CONFIG, &blobs[0]),
            "layers": [layer(&blobs[1])],
        });
        Self { blobs, manifest: serde_json::to_vec(&manifest).unwrap() }
    }

    fn push(&self, client: &Client, repo: &Repository, from: &[&str]) -> Result<(), Error> {
        for bytes in &self.blobs {
            let source =
                || Ok(Box::new(std::io::Cursor::new(bytes.clone())) as Box<dyn std::io::Read + Send>);
            client.push_blob(repo, &layer(bytes), &source, from, &|_| {})?;
        }
        client.push_manifest(repo, &tag(), media_type::OCI_MANIFEST, &self.manifest)?;
        Ok(())
    }

    fn pull(&self, client: &Client, repo: &Repository) -> Result<Self, Error> {
        let manifest = client.manifest(repo, &tag())?.bytes;
        let mut blobs = Vec::new();
        for bytes in &self.blobs {
            blobs.push(read(client, repo, &layer(bytes)).map_err(|e| match e.downcast::<Error>() {
                Ok(e) => e,
                Err(e) => panic!("no error of ours: {e:?}"),
            })?);
        }
        Ok(Self { blobs, manifest })
    }

    #[track_caller]
    fn must_be(&self, other: &Self, what: &str) {
        assert!(self.manifest == other.manifest && self.blobs == other.blobs, "{what}: other content");
    }
}

fn tag() -> TagOrDigest {
    TagOrDigest::Tag("1".to_owned())
}

impl World {
    fn new() -> Arc<Self> {
        let registry = registry::start();
        let (direct, image) = (Client::new(ClientConfig::default()), Image::new(1));
        image.push(&direct, &Repository::new(registry.host(), SOURCE).unwrap(), &[]).unwrap();
        Arc::new(Self { registry, direct, image, next: AtomicU32::new(0) })
    }

    fn direct(&self, name: &str) -> Repository {
        Repository::new(self.registry.host(), name).unwrap()
    }
}

/// Everything that the client does with a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Pull,
    Head,
    Push,
    /// To a registry that refuses a PUT of the whole.
    PushInChunks,
    /// The first PUT breaks off.
    PushAgain,
    PushByMount,
    Tags,
    Referrers,
    Delete,
    /// From a registry that redirects to storage.
    PullRedirected,
    PullWithToken,
    PushWithToken,
}

/// With short times, so that each limit is met; `slow` times as long.
fn config(slow: u32) -> ClientConfig {
    let ms = |n| Duration::from_millis(n) * slow;
    ClientConfig {
        retries: RetryPolicy { count: 3, base: ms(5), max: ms(20), max_retry_after: Duration::from_secs(2) },
        timeouts: Timeouts {
            connect: ms(400),
            first_byte: ms(600),
            stall: ms(500),
            commit: ms(1200),
            document: ms(1200),
            slow_window: ms(400),
            slow_bytes: 1000,
        },
        ..ClientConfig::default()
    }
}

impl Act {
    /// Does it through the proxy. What is right is looked for in the registry itself.
    fn run(self, world: &World, proxy: &FaultProxy, config: ClientConfig) -> Result<(), Error> {
        let client = Client::new(config);
        let number = world.next.fetch_add(1, Ordering::SeqCst);
        let own = format!("team/own{number}");
        let (source, target) =
            (Repository::new(proxy.host(), SOURCE).unwrap(), Repository::new(proxy.host(), &own).unwrap());
        // Its own content: blobs that the registry knows elsewhere make it answer otherwise.
        let mut image = Image::new(1);
        if self != Self::PushByMount {
            image = Image::new((number % 250) as u8 + 2);
        }
        match self {
            Self::Pull | Self::PullWithToken | Self::PullRedirected => {
                let got = world.image.pull(&client, &source)?;
                world.image.must_be(&got, "pulled");
            }
            Self::Head => {
                // A tag is what the registry says it is; whether that is so shows what comes for it.
                let head = client.head_document(&source, &tag())?;
                assert_eq!(client.manifest(&source, &head.digest.into())?.bytes, world.image.manifest);
            }
            Self::Push | Self::PushInChunks | Self::PushAgain | Self::PushByMount | Self::PushWithToken => {
                image.push(&client, &target, &[SOURCE])?;
                let there = image.pull(&world.direct, &world.direct(&own));
                image.must_be(&there.unwrap_or_else(|e| panic!("said to be pushed: {e}")), "pushed");
            }
            Self::Tags => assert_eq!(client.tags(&source)?, ["1"]),
            Self::Referrers => {
                let digest = Digest::of(&world.image.manifest);
                assert_eq!(client.referrers(&source, digest, None)?.len(), 0);
            }
            Self::Delete => {
                image.push(&world.direct, &world.direct(&own), &[]).unwrap();
                client.delete(&target, &Digest::of(&image.manifest).into())?;
                assert!(world.direct.manifest(&world.direct(&own), &tag()).unwrap_err().is_not_found());
            }
        }
        Ok(())
    }

    /// Makes the proxy such that requests of the kinds come that the act is about.
    fn prepare(self, proxy: &FaultProxy) {
        match self {
            Self::PushInChunks => {
                // The chunks are followed by a PUT, which is taken: one refusal for each blob.
                proxy.rule(Kind::PutBlob, 0, 1, Fault::Answer(Reply::new(405, "UNSUPPORTED")));
            }
            Self::PushAgain => proxy.rule(Kind::PutBlob, 1, 1, Fault::Cut(Phase::RequestBody(100_000))),
            Self::PullRedirected => {
                proxy.rule(
                    Kind::GetBlob,
                    0,
                    1,
                    Fault::Redirect(307, format!("http://{}", proxy.elsewhere())),
                );
            }
            Self::PullWithToken | Self::PushWithToken => proxy.demand_tokens("jo", PASSWORD, true),
            _ => {}
        }
    }

    fn config(self, proxy: &FaultProxy, slow: u32) -> ClientConfig {
        let mut config = config(slow);
        if matches!(self, Self::PullWithToken | Self::PushWithToken) {
            let login = Credential::Basic { user: "jo".into(), password: PASSWORD.into() };
            config.credentials.add(&proxy.host(), login);
        }
        config
    }
}

/// Runs something that must end, and gives its end; what it panicked with otherwise.
fn in_time<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (send, receive) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let _gone = send.send(f());
    });
    match receive.recv_timeout(PATIENCE) {
        Ok(end) => Ok(end),
        Err(RecvTimeoutError::Timeout) => panic!("{what}: hangs"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => Err("no end".to_owned()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                Err(text
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_default())
            }
        },
    }
}

/// Why an error would be of little use to whoever gets it.
fn unclear(error: &Error, proxy: &FaultProxy) -> Option<&'static str> {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    let has = |part: &str| text.contains(part);
    let basic = "am86aHVudGVyMg"; // jo:hunter2
    // The token server is asked for scopes that it takes or leaves.
    let login = matches!(error, Error::Auth { .. });
    let known = matches!(
        error,
        Error::Status(_)
            | Error::Transport { .. }
            | Error::Protocol { .. }
            | Error::Digest { .. }
            | Error::Size { .. }
            | Error::Manifest { .. }
            | Error::Auth { .. }
    );
    match () {
        () if has(PASSWORD) || has("secret-token") || has(basic) => Some("it holds a secret"),
        () if !has(&proxy.host()) => Some("it does not name the registry"),
        // Whether a registry is there at all is asked before any repository is spoken of.
        () if !has("team/") && !has("/v2/: ") && !login => Some("it does not name the repository"),
        () if !matches!(error, Error::Manifest { .. })
            && !["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"].iter().any(|m| has(&format!("{m} "))) =>
        {
            Some("it does not name the method")
        }
        () if text.contains('\n') || text.chars().count() > 1500 => Some("it is too long"),
        () if !known => Some("it is of a kind that is none of the registry's"),
        () => None,
    }
}

/// Nothing that proves who we are went to the other port, but to its token server.
fn check_elsewhere(proxy: &FaultProxy) -> Option<String> {
    let seen = proxy.seen();
    let mut bad = seen.iter().filter(|s| s.elsewhere && s.kind != Kind::Token);
    bad.find(|s| s.header("authorization").is_some()).map(|s| format!("credentials went elsewhere: {s:?}"))
}

fn start(world: &World, act: Act) -> FaultProxy {
    let proxy = fault_proxy::start(&world.registry.host());
    act.prepare(&proxy);
    proxy
}
