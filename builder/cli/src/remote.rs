//! What a command works with that only asks registries, layouts and archives: no store is needed, and nothing of the
//! machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_builder::event::Progress;
use orlop_builder::place::{Place, PlaceError};
use orlop_registry_client::{Client, Repository, TagOrDigest};
use orlop_runner::CancelToken;
use orlop_store::{Digest, Reference, note_sources, peek_sources};

use crate::config;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::{Display, Mode};
use crate::session;
use crate::system::{interrupt, startup};

/// The registry client and the display.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) cancel: CancelToken,
    display: Arc<dyn Display>,
    interrupted: Arc<AtomicBool>,
}

impl Remote {
    /// Makes a client; nobody is asked yet.
    pub(crate) fn new(global: &Global, mode: Mode) -> Result<Self, Failure> {
        let cancel = CancelToken::new();
        let interrupted = interrupt::watch(&cancel)?;
        let display: Arc<dyn Display> = mode.display().into();
        let client = session::client(global, &display, &interrupted)?;
        Ok(Self { client, cancel, display, interrupted })
    }

    /// Runs `act` with progress; the screen is left in order whatever comes of it.
    pub(crate) fn work<T, E: Into<Failure>>(
        &self,
        act: impl FnOnce(&Progress<'_>) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let progress = Progress::new(&*self.display);
        let result = act(&progress);
        self.display.finish();
        match result {
            Err(_) if self.interrupted.load(Ordering::Acquire) => Err(Failure::interrupted()),
            other => other.map_err(Into::into),
        }
    }
}

/// Repositories that the store, where there is one, remembers to have each of `blobs`.
pub(crate) fn known(global: &Global, blobs: &[Digest]) -> BTreeMap<Digest, Vec<String>> {
    let root = config::store_root(global, startup::is_root());
    root.map(|root| peek_sources(&root, blobs)).unwrap_or_default()
}

/// Remembers in the store that both places have `blobs`, as far as they are repositories, so that the next copy to that
/// registry need not send them. Where no store can be written it is sent again.
pub(crate) fn remember(global: &Global, blobs: &[Digest], places: [&Place; 2]) {
    let name = |place: &Place| match place {
        Place::Registry(name) => Some(name.repository()),
        _ => None,
    };
    let repositories: Vec<String> = places.into_iter().filter_map(name).collect();
    if blobs.is_empty() || repositories.is_empty() {
        return;
    }
    if let Ok(root) = config::store_root(global, startup::is_root()) {
        let _ = note_sources(&root, blobs, &repositories);
    }
}

/// Reads a place on the command line.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    text.parse().map_err(|error: PlaceError| match error.hint() {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    })
}

/// Whether a text says itself that it is not a name in the store.
pub(crate) fn is_place(text: &str) -> bool {
    ["docker://", "oci-layout://", "oci:", "oci-archive:", "docker-archive:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// The repository of a name, and which of its manifests is meant.
pub(crate) fn parts(name: &Reference) -> Result<(Repository, TagOrDigest), Failure> {
    Ok((Repository::of(name)?, TagOrDigest::of(name)))
}

/// Trusts the registry of a place whatever it speaks.
pub(crate) fn trusting(global: &Global, places: &[&Place]) -> Global {
    let mut global = global.clone();
    for place in places {
        if let Place::Registry(name) = place {
            global.insecure_registries.push(name.domain().to_owned());
        }
    }
    global
}
