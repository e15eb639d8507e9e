//! Which of several places serves a repository: mirrors that fail, and where an image was found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_store::Digest;
use serde::Deserialize;

use crate::client::{Client, Core};
use crate::error::Error;
use crate::hosts::{Blocked, By, Endpoint, Places};
use crate::registry::{Repository, TagOrDigest};

/// What a client has learned about places.
#[derive(Debug, Default)]
pub(crate) struct Learned(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    /// Mirrors that cannot be reached or serve wrong content, and why: they are not asked again.
    down: HashMap<String, String>,
    /// By repository and what a manifest there names: the places, that which had the manifest first.
    children: HashMap<(Repository, Digest), Arc<Places>>,
    /// By repository: the mirror that served it last.
    served: HashMap<Repository, String>,
}

/// Everything that a manifest or index names by a digest that we read.
#[derive(Deserialize)]
struct Children {
    config: Option<Named>,
    #[serde(default)]
    layers: Vec<Named>,
    #[serde(default)]
    manifests: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    digest: Option<String>,
}

impl Client {
    /// The mirror that served the repository last, as `HOST/NAME`; nothing when the registry itself did.
    pub fn served_by(&self, repo: &Repository) -> Option<String> {
        self.core.learned.lock().served.get(repo).cloned()
    }

    /// How many mirrors are not asked any more. A blob that failed while this grew may be had from elsewhere.
    pub fn mirrors_lost(&self) -> usize {
        self.core.learned.lock().down.len()
    }
}

impl Learned {
    fn lock(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The places to ask for a manifest.
    pub(crate) fn manifest_places(&self, repo: &Repository, which: &TagOrDigest) -> Result<Places, Error> {
        match which {
            TagOrDigest::Tag(_) => self.usable(None, repo, By::Tag),
            TagOrDigest::Digest(digest) => self.usable(Some(*digest), repo, By::Digest),
        }
    }

    /// The places to ask for a blob.
    pub(crate) fn blob_places(&self, repo: &Repository, digest: Digest) -> Result<Places, Error> {
        self.usable(Some(digest), repo, By::Blob)
    }

    /// Where the thing's manifest came from, else what configuration says; without the mirrors that are down.
    fn usable(&self, digest: Option<Digest>, repo: &Repository, by: By) -> Result<Places, Error> {
        let facts = self.learned.lock();
        let known = digest.and_then(|digest| facts.children.get(&(repo.clone(), digest)).cloned());
        let mut places = match known {
            Some(known) => (*known).clone(),
            None => self.config.hosts.pull_endpoints(repo, by)?,
        };
        let Places { list, before, .. } = &mut places;
        list.retain(|place| match facts.down.get(&place.registry).filter(|_| place.mirror) {
            None => true,
            Some(why) => {
                before.push(why.clone());
                false
            }
        });
        Ok(places)
    }

    /// Notes that a mirror did not serve, and gives the text of why.
    pub(crate) fn mirror_failed(&self, place: &Endpoint, error: &Error) -> String {
        let why = self.transport.secrets().mask(&error.line());
        if place.mirror {
            if error.transport_kind().is_some() || matches!(error, Error::Digest { .. } | Error::Size { .. })
            {
                self.learned.lock().down.insert(place.registry.clone(), why.clone());
            }
            let text = format!("mirror `{}`: {why}", place.registry);
            self.tell((&place.registry, error.status().map(|status| status.to_string())), &text);
        }
        why
    }

    /// Notes where a manifest was found, for what it names.
    pub(crate) fn found(&self, repo: &Repository, places: &Places, at: usize, manifest: &[u8]) {
        let Some(place) = places.list.get(at) else { return };
        let mut facts = self.learned.lock();
        if place.mirror {
            facts.served.insert(repo.clone(), format!("{}/{}", place.registry, place.name));
        } else {
            facts.served.remove(repo);
        }
        if places.list.len() < 2 {
            return;
        }
        let mut places = places.clone();
        places.list[..=at].rotate_right(1);
        let places = Arc::new(places);
        let Ok(children) = serde_json::from_slice::<Children>(manifest) else { return };
        let all = children.config.into_iter().chain(children.layers).chain(children.manifests);
        for digest in all.filter_map(|named| named.digest?.parse().ok()) {
            facts.children.insert((repo.clone(), digest), Arc::clone(&places));
        }
    }
}

/// What came of the places that failed: the registry's own error is what is reported, wherever in the list it stands.
pub(crate) struct Failed {
    own: Option<Error>,
    mirrors: Vec<String>,
    blocked: Option<Blocked>,
}

impl Failed {
    pub(crate) fn new(places: &Places) -> Self {
        Self { own: None, mirrors: places.before.clone(), blocked: places.blocked.clone() }
    }

    pub(crate) fn add(&mut self, core: &Core, place: &Endpoint, error: Error) {
        match place.mirror {
            true => self.mirrors.push(core.mirror_failed(place, &error)),
            false => self.own = Some(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        // One of the two is always there.
        let last = self.own.or_else(|| self.blocked.map(Error::from)).unwrap_or(Error::Cancelled);
        match self.mirrors.is_empty() {
            true => last,
            false => Error::Mirrors { last: Box::new(last), before: self.mirrors.join("; ") },
        }
    }
}
