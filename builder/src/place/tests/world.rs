//! What tests copy: documents of every kind, made by hand, and two registries to copy between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orlop_registry_client::fake::{FakeConfig, FakeRegistry};
use orlop_registry_client::{Client, ClientConfig, RetryPolicy};
use orlop_runner::CancelToken;
use orlop_store::{Descriptor, Digest, Platform, media_type};
use serde_json::{Value, json};

use crate::event::{Event, Observer, Progress};
use crate::place::{Copied, CopyOptions, Place, copy};

struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}

/// Two registries, a client, and a directory.
pub(super) struct World {
    pub(super) from: FakeRegistry,
    pub(super) to: FakeRegistry,
    pub(super) client: Client,
    pub(super) dir: tempfile::TempDir,
    pub(super) known: BTreeMap<Digest, Vec<String>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::over(FakeConfig::default(), FakeConfig::default())
    }

    pub(super) fn over(from: FakeConfig, to: FakeConfig) -> Self {
        let retries = RetryPolicy { base: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
        let config = ClientConfig { retries, ..ClientConfig::default() };
        Self {
            from: FakeRegistry::start(from).unwrap(),
            to: FakeRegistry::start(to).unwrap(),
            client: Client::new(config),
            dir: tempfile::tempdir().unwrap(),
            known: BTreeMap::new(),
        }
    }

    /// Copies; the places are written with `FROM/` and `TO/` for the registries, and `DIR` for the directory.
    pub(super) fn copy(&self, from: &str, to: &str) -> Result<Copied, String> {
        self.copy_with(from, to, None, false)
    }

    pub(super) fn copy_with(
        &self,
        from: &str,
        to: &str,
        platform: Option<&str>,
        referrers: bool,
    ) -> Result<Copied, String> {
        let platform = platform.map(|p| p.parse::<Platform>().unwrap());
        let options = CopyOptions {
            platform: platform.as_ref(),
            referrers,
            known: &|_| self.known.clone(),
            cancel: &CancelToken::new(),
        };
        let progress = Progress::new(&Silent);
        let task = progress.start("copy");
        copy(&self.client, &self.place(from), &self.place(to), &options, &task).map_err(|error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text += &format!(": {cause}");
                source = cause.source();
            }
            text
        })
    }

    pub(super) fn place(&self, text: &str) -> Place {
        let dir = self.dir.path().to_str().unwrap();
        let text = text.replace("FROM/", &format!("{}/", self.from.host()));
        text.replace("TO/", &format!("{}/", self.to.host())).replace("DIR", dir).parse().unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A descriptor of these bytes.
pub(super) fn describe(media_type: &str, bytes: &[u8]) -> Value {
    serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap()
}

/// Puts a blob in, and gives its descriptor.
pub(super) fn blob(registry: &FakeRegistry, repo: &str, media_type: &str, bytes: &[u8]) -> Value {
    registry.put_blob(repo, bytes);
    describe(media_type, bytes)
}

/// Puts a document in, and gives its descriptor.
pub(super) fn put(registry: &FakeRegistry, repo: &str, tag: Option<&str>, document: &Value) -> Value {
    let bytes = document.to_string().into_bytes();
    let kind = document["mediaType"].as_str().unwrap();
    registry.put_manifest(repo, tag, kind, &bytes);
    describe(kind, &bytes)
}

/// An image of these layers.
pub(super) fn image(registry: &FakeRegistry, repo: &str, tag: Option<&str>, layers: &[&[u8]]) -> Value {
    let ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = blob(registry, repo, media_type::OCI_CONFIG, config.to_string().as_bytes());
    let layers: Vec<Value> =
        layers.iter().map(|layer| blob(registry, repo, media_type::OCI_LAYER, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers,
    });
    put(registry, repo, tag, &manifest)
}

/// An index of these entries.
pub(super) fn index(registry: &FakeRegistry, repo: &str, tag: Option<&str>, entries: &[Value]) -> Value {
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
    put(registry, repo, tag, &index)
}

/// An artifact of some type, about `subject` where there is one.
pub(super) fn artifact(
    registry: &FakeRegistry,
    repo: &str,
    tag: Option<&str>,
    kind: &str,
    subject: Option<&Value>,
) -> Value {
    let empty = blob(registry, repo, "application/vnd.oci.empty.v1+json", b"{}");
    let mut with_data = empty.clone();
    with_data["data"] = json!("e30=");
    let content = blob(registry, repo, "application/octet-stream", kind.as_bytes());
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": kind, "config": with_data,
        "layers": [content], "annotations": { "org.example.note": "kept", "a": "b" }, "unknown": [1, { "x": null }],
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    put(registry, repo, tag, &manifest)
}

/// `value` with a platform.
pub(super) fn on(mut value: Value, platform: &str) -> Value {
    let (os, architecture) = platform.split_once('/').unwrap();
    value["platform"] = json!({ "os": os, "architecture": architecture });
    value
}

/// The digest in a descriptor.
pub(super) fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}
