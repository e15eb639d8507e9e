//! `orlop inspect`: everything about images, as JSON.

mod remote;

use clap::Args;
use orlop_store::{Image, Named, Platform, Store};
use serde_json::{Value, json};

use super::build::platform;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::layers;
use crate::session::App;

/// Show everything about images, as a JSON array
///
/// Images are those of the store. With `--remote`, `--raw` or `--config`, and where one is written as a place
/// (`docker://NAME`, `oci-layout://DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`), it is looked at
/// where it is, and nothing is pulled.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Names or IDs of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Platform of images that are there for several, `OS/ARCHITECTURE` [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Ask the registries of these names, not the store
    #[arg(long)]
    remote: bool,

    /// Show the bytes of the manifest or index at the registry, as they are
    #[arg(long, conflicts_with = "config")]
    raw: bool,

    /// Show the bytes of the config at the registry, as they are
    #[arg(long)]
    config: bool,

    /// `json`, the only format
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"], default_value = "json")]
    format: String,

    /// Kind of the things to show: `image`, the only one
    #[arg(long = "type", value_name = "KIND", value_parser = ["image"], default_value = "image", hide = true)]
    kind: String,
}

impl InspectArgs {
    /// Whether the store has nothing to say.
    pub(crate) fn is_remote(&self) -> bool {
        self.remote || self.raw || self.config || self.images.iter().any(|text| crate::remote::is_place(text))
    }
}

/// Runs the command where [`InspectArgs::is_remote`].
pub(crate) fn run_remote(global: &Global, args: &InspectArgs) -> Result<(), Failure> {
    remote::run(global, args)
}

/// Runs the command. What is there is shown also when something is not.
pub(crate) fn run(app: &App, args: &InspectArgs) -> Result<(), Failure> {
    debug_assert!(args.format == "json" && args.kind == "image", "clap takes nothing else");
    let store = app.store()?;
    let mut found = Vec::new();
    let mut failed: Option<Failure> = None;
    for text in &args.images {
        let document =
            app.here(&store, text).and_then(|text| document(&store, &text, args.platform.as_ref()));
        match document {
            Ok(value) => found.push(value),
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    crate::table::lines([format!("{:#}", Value::Array(found))])?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn document(store: &Store, text: &str, platform: Option<&Platform>) -> Result<Value, Failure> {
    let named = super::for_platform(store, text, platform)?;
    let image = store.images().load(&named)?;
    let names =
        store.images().list()?.into_iter().find(|record| record.id == named.id).map(|record| record.names);
    let names = names.unwrap_or_default();
    let tags: Vec<String> =
        names.iter().filter(|name| name.tag().is_some()).map(|name| name.familiar()).collect();
    let mut digests: Vec<String> = Vec::new();
    for name in &names {
        let Some(target) = store.images().named(name)? else { continue };
        if let Some(digest) = super::images::known_elsewhere(store, &target) {
            let text = format!("{}@{digest}", name.repository());
            if !digests.contains(&text) {
                digests.push(text);
            }
        }
    }
    let mut value = value(store, &named, &image, &tags, &digests);
    // Of an image that stands alone there is nothing to add.
    if let Some(members) = named.index.and_then(|index| store.images().members(&index).ok()) {
        value["Index"] = json!(named.index);
        value["Platforms"] = members
            .here
            .iter()
            .map(|member| json!({
                "Platform": member.platform.with_version(), "Id": member.target.id, "Digest": member.target.manifest,
            }))
            .collect();
    }
    Ok(value)
}

/// The document in the manner of `docker image inspect`.
fn value(store: &Store, named: &Named, image: &Image, tags: &[String], digests: &[String]) -> Value {
    let mut sizes = layers::sizes(store, image).into_iter();
    let begin = json!({
        "Id": named.id,
        "Digest": named.manifest,
        "RepoTags": tags,
        "RepoDigests": digests,
    });
    let mut out = described(begin, image, |layer| layer["Size"] = json!(sizes.next()));
    out["Size"] = json!(layers::total(store, image));
    out
}

/// `out` with what an image says of itself, wherever it is; `add` has more to say of each layer.
fn described(mut out: Value, image: &Image, mut add: impl FnMut(&mut Value)) -> Value {
    let raw = image.config().as_json();
    let platform = image.platform();
    let field = |name: &str| raw.get(name).cloned().unwrap_or(Value::Null);
    let each = image.layers().iter().map(|layer| {
        let mut value = json!({ "DiffID": layer.diff_id });
        add(&mut value);
        value["Blob"] = json!(layer.blob.as_ref().map(|blob| json!({
            "Digest": blob.digest, "MediaType": blob.media_type, "Size": blob.size,
        })));
        value
    });
    for (name, value) in [
        ("Created", field("created")),
        ("Author", field("author")),
        ("Architecture", json!(platform.architecture)),
        ("Variant", json!(platform.variant)),
        ("Os", json!(platform.os)),
        ("OsVersion", json!(platform.os_version)),
        ("Config", field("config")),
        ("RootFS", json!({ "Type": "layers", "Layers": image.diff_ids() })),
        ("Layers", each.collect()),
        ("History", field("history")),
    ] {
        out[name] = value;
    }
    out
}
