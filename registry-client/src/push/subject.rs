//! Manifests that refer to another one by `subject`, at registries that keep no list of them: the list is an index
//! under a tag then, and keeping it is the client's work (distribution specification 1.1, "Pushing Manifests with
//! Subject", "Referrers Tag Schema").

use orlop_store::{Digest, media_type};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Map, Value, json};
use url::Url;

use crate::auth::Scopes;
use crate::client::{Core, join};
use crate::error::Error;
use crate::hosts::Endpoint;
use crate::pull::MANIFEST_CAP;
use crate::transport::{Body, Request};

/// Attempts at a list that others change as well.
const ATTEMPTS: u32 = 8;

/// What is to be different in the list.
pub(crate) enum Change {
    /// This descriptor is in it.
    Add(Value),
    /// Nothing of this digest is in it.
    Remove(Digest),
}

/// A list as it is, and on what condition it may be replaced (RFC 9110, 13.1): that it is in the state whose tag the
/// registry gave, or that there is none yet. Nothing where the registry gave no tag.
struct List {
    index: Map<String, Value>,
    state: Option<(HeaderName, HeaderValue)>,
}

/// The manifest that `bytes` refers to, with the descriptor that a list of referrers has for it.
pub(crate) fn subject_of(media_type: &str, bytes: &[u8]) -> Option<(Digest, Value)> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let subject = manifest.get("subject")?.get("digest").and_then(text)?.parse().ok()?;
    let kind = manifest.get("artifactType").and_then(text);
    let kind = kind.or_else(|| manifest.get("config")?.get("mediaType").and_then(text));
    let mut descriptor =
        json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    if let Some(kind) = kind {
        descriptor["artifactType"] = kind.into();
    }
    if let Some(annotations) = manifest.get("annotations").filter(|annotations| annotations.is_object()) {
        descriptor["annotations"] = annotations.clone();
    }
    Some((subject, descriptor))
}

impl Core {
    /// Changes the list of what refers to `subject`, and looks whether it stayed: another client may have written
    /// its own at the same time.
    pub(crate) async fn change_referrers(
        &self,
        place: &Endpoint,
        subject: Digest,
        change: &Change,
    ) -> Result<(), Error> {
        let _ours = self.referrers.lock().await;
        let path = format!("{}/manifests/sha256-{}", place.name, subject.hex());
        for attempt in 0..=ATTEMPTS {
            let list = self.referrers_list(place, &path).await?;
            let Some(new) = change.made(list.index) else { return Ok(()) };
            // Read once more than written, as the last may have stayed as well.
            if attempt == ATTEMPTS {
                break;
            }
            match self.put_referrers(place, &path, &new, list.state).await {
                Ok(()) => {}
                // Somebody was faster, and the registry looks after that.
                Err(Error::Status(e)) if matches!(e.status, 409 | 412) => {}
                Err(e) => return Err(e),
            }
            tokio::time::sleep(self.config.retries.base / 4 * attempt).await;
        }
        Err(Error::Protocol {
            method: "PUT".into(),
            url: format!("{}/{path}", place.registry),
            what: "others change the list of referrers all the time".into(),
        })
    }

    async fn referrers_list(&self, place: &Endpoint, path: &str) -> Result<List, Error> {
        let make = |base: &Url| {
            let accept = HeaderValue::from_static(media_type::OCI_INDEX);
            Ok(Request::new(Method::GET, join(base, path)?).header(ACCEPT, accept))
        };
        let scopes = Scopes::push(&place.name);
        let send = || async { self.exchange(place, &scopes, false, &make).await?.success().await };
        let response = match self.retrying(u32::MAX, send).await {
            Ok(response) => response,
            Err(e) if e.is_not_found() => {
                let none_yet = Some((IF_NONE_MATCH, HeaderValue::from_static("*")));
                return Ok(List { index: Map::new(), state: none_yet });
            }
            Err(e) => return Err(e),
        };
        let state = response.headers().get(ETAG).cloned().map(|tag| (IF_MATCH, tag));
        let bytes = response.bytes(MANIFEST_CAP).await?;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(index)) if index.get("manifests").is_some_and(Value::is_array) => {
                Ok(List { index, state })
            }
            _ => Err(Error::Manifest {
                name: format!("{}/{}", place.registry, path.replace("/manifests/", ":")),
                what: "no index, and so no list of referrers, which this tag is for".into(),
            }),
        }
    }

    async fn put_referrers(
        &self,
        place: &Endpoint,
        path: &str,
        index: &[u8],
        state: Option<(HeaderName, HeaderValue)>,
    ) -> Result<(), Error> {
        let make = |base: &Url| {
            let kind = HeaderValue::from_static(media_type::OCI_INDEX);
            let mut request = Request::new(Method::PUT, join(base, path)?).header(CONTENT_TYPE, kind);
            if let Some((name, value)) = &state {
                request.headers.insert(name.clone(), value.clone());
            }
            request.body = Body::Bytes(bytes::Bytes::copy_from_slice(index));
            Ok(request)
        };
        let scopes = Scopes::push(&place.name);
        let send = || async {
            self.exchange(place, &scopes, false, &make).await?.success().await?.drain().await;
            Ok(())
        };
        self.retrying(u32::MAX, send).await
    }
}

impl Change {
    /// The list after the change; nothing where it is as it should be.
    fn made(&self, mut index: Map<String, Value>) -> Option<Vec<u8>> {
        let is = |entry: &Value, digest: &str| entry.get("digest").and_then(Value::as_str) == Some(digest);
        let old = match index.get("manifests") {
            Some(Value::Array(old)) => old.clone(),
            _ => Vec::new(),
        };
        let new = match self {
            Self::Add(descriptor) => {
                let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default();
                let others = old.iter().filter(|entry| !is(entry, digest)).cloned();
                match old.iter().any(|entry| entry == descriptor) {
                    true => return None,
                    false => others.chain([descriptor.clone()]).collect(),
                }
            }
            Self::Remove(digest) => {
                let digest = digest.to_string();
                old.iter().filter(|entry| !is(entry, &digest)).cloned().collect::<Vec<_>>()
            }
        };
        if new.len() == old.len() && matches!(self, Self::Remove(_)) {
            return None;
        }
        index.entry("schemaVersion").or_insert(2.into());
        index.entry("mediaType").or_insert(media_type::OCI_INDEX.into());
        index.insert("manifests".into(), Value::Array(new));
        serde_json::to_vec(&index).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_of_a_referrer() {
        let subject = Digest::of(b"s");
        let get = |more: &str| {
            let text = format!(r#"{{"subject":{{"digest":"{subject}"}},{more}}}"#);
            subject_of(media_type::OCI_MANIFEST, text.as_bytes()).map(|(of, d)| {
                assert_eq!(of, subject);
                (d.get("artifactType").cloned(), d.get("annotations").cloned())
            })
        };
        let config = r#""config":{"mediaType":"a/config"}"#;
        assert_eq!(get(config), Some((Some("a/config".into()), None)));
        let all = format!(r#"{config},"artifactType":"a/type","annotations":{{"k":"v"}}"#);
        assert_eq!(get(&all), Some((Some("a/type".into()), Some(json!({"k": "v"})))));
        for none in [r#"{"layers":[]}"#, r#"{"subject":null}"#, r#"{"subject":{"digest":"x"}}"#, "x"] {
            assert_eq!(subject_of(media_type::OCI_MANIFEST, none.as_bytes()), None);
        }
    }

    #[test]
    fn a_list_keeps_what_it_does_not_know() {
        let digest = Digest::of(b"r");
        let add = Change::Add(json!({"digest": digest.to_string(), "size": 1}));
        let Value::Object(before) = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [{"digest": "sha512:x", "x": 1}]})
        else {
            panic!("no object")
        };
        let one = add.made(before).unwrap();
        let Ok(Value::Object(one)) = serde_json::from_slice(&one) else { panic!("no object") };
        assert_eq!(one["annotations"], json!({"k": "v"}));
        assert_eq!(one["manifests"].as_array().unwrap().len(), 2);
        assert!(add.made(one.clone()).is_none(), "it is there");
        let two = Change::Remove(digest).made(one).unwrap();
        let Ok(Value::Object(two)) = serde_json::from_slice(&two) else { panic!("no object") };
        assert_eq!(two["manifests"], json!([{"digest": "sha512:x", "x": 1}]));
        assert!(Change::Remove(digest).made(two).is_none());
    }
}
