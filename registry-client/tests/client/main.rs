//! The client against registries: fakes that misbehave, and, where Debian's programs run, its
//! `docker-registry`.
//!
//! Here: a client with short waits, and content to move about.

mod auth;
#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod faults;
mod growing;
#[cfg(unix)]
mod proxy;
mod pull;
mod push;
#[cfg(unix)]
mod real;
#[cfg(unix)]
mod redirects;
#[cfg(unix)]
mod tls;

use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop_registry_client::fake::{FakeConfig, FakeRegistry};
use orlop_registry_client::{
    Client, ClientConfig, Error, PushOutcome, Repository, RetryObserver, RetryPolicy, Timeouts,
};
use orlop_store::{Descriptor, media_type};

pub(crate) fn config() -> ClientConfig {
    ClientConfig {
        retries: RetryPolicy {
            count: 3,
            base: Duration::from_millis(10),
            max: Duration::from_millis(50),
            max_retry_after: Duration::from_secs(5),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(5),
            stall: Duration::from_millis(500),
            commit: Duration::from_secs(5),
            ..Timeouts::default()
        },
        ..ClientConfig::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(config())
}

/// A client, and what its observer was told.
pub(crate) fn watched(mut config: ClientConfig) -> (Client, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&told);
    config.on_retry = RetryObserver::new(move |r| {
        to.lock().unwrap().push(format!("{}/{} {} {}", r.attempt, r.of, r.asked, r.error));
    });
    (Client::new(config), told)
}

pub(crate) fn fake(config: FakeConfig) -> FakeRegistry {
    FakeRegistry::start(config).unwrap()
}

pub(crate) fn repo(registry: &FakeRegistry, name: &str) -> Repository {
    Repository::new(registry.host(), name).unwrap()
}

/// Bytes that do not repeat in any way that would hide a mix-up.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

pub(crate) fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(media_type::OCI_LAYER, bytes)
}

pub(crate) fn read(client: &Client, repo: &Repository, blob: &Descriptor) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    client.blob(repo, blob).map_err(io::Error::other)?.read_to_end(&mut out)?;
    Ok(out)
}

pub(crate) fn push(
    client: &Client,
    repo: &Repository,
    bytes: &[u8],
    from: &[&str],
) -> Result<PushOutcome, Error> {
    let source = || Ok(Box::new(io::Cursor::new(bytes.to_vec())) as Box<dyn Read + Send>);
    let seen = Mutex::new(0);
    let outcome = client.push_blob(repo, &layer(bytes), &source, from, &|n| *seen.lock().unwrap() = n)?;
    assert_eq!(*seen.lock().unwrap(), bytes.len() as u64, "progress ends at the blob's size");
    Ok(outcome)
}
