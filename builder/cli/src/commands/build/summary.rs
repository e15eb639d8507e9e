//! What a build says at its end: to people, and to `--metadata-file`.

use orlop_builder::output::Output;
use orlop_builder::trace::PhaseTime;
use orlop_builder::{BuildReport, BuildRequest};
use orlop_store::image::MAX_MANIFEST;
use orlop_store::{Descriptor, Image, Manifest, Reference, Store};
use serde_json::{Map, json};

use crate::diagnostics::Failure;
use crate::layers;
use crate::progress::{Summary, SummaryLayer, SummaryPlatform, SummaryTime};

/// The names that the image has got, each once.
fn names(request: &BuildRequest) -> Vec<&Reference> {
    let own = request.outputs.iter().flat_map(|output| match output {
        Output::Store { names } | Output::Registry { names, .. } => names.iter(),
        _ => [].iter(),
    });
    let mut out: Vec<&Reference> = Vec::new();
    for name in request.tags.iter().chain(own) {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// What there is to say.
pub(super) fn summary(
    store: &Store,
    report: &BuildReport,
    request: &BuildRequest,
    times: &[PhaseTime],
) -> Summary {
    let (several, images) = (report.built.is_several(), &report.built.images);
    Summary {
        steps_cached: report.steps_cached,
        steps_run: report.steps_run,
        duration: report.duration,
        times: times.iter().map(|time| SummaryTime { phase: time.phase, time: time.time }).collect(),
        layers: images
            .first()
            .filter(|_| !several)
            .map(|(_, image)| summary_layers(store, image))
            .unwrap_or_default(),
        platforms: images
            .iter()
            .filter(|_| several)
            .map(|(platform, image)| SummaryPlatform {
                platform: platform.with_version(),
                image_id: image.id(),
                layers: summary_layers(store, image),
            })
            .collect(),
        image_id: report.image_id,
        manifest_digest: report.manifest_digest.filter(|digest| *digest != report.image_id),
        names: names(request).into_iter().map(Reference::familiar).collect(),
    }
}

fn summary_layers(store: &Store, image: &Image) -> Vec<SummaryLayer> {
    let made = layers::created_by(image);
    let layers = image.layers().iter().zip(layers::sizes(store, image)).zip(made);
    layers
        .map(|((layer, size), created_by)| SummaryLayer { diff_id: layer.diff_id, size, created_by })
        .collect()
}

/// The file of `--metadata-file`, with BuildKit's keys. Those of the manifest are there when an output
/// has one.
pub(super) fn metadata(
    store: &Store,
    report: &BuildReport,
    request: &BuildRequest,
) -> Result<Vec<u8>, Failure> {
    let mut out = Map::new();
    let one = report.built.images.first().filter(|_| !report.built.is_several());
    if one.is_some() {
        out.insert("containerimage.config.digest".into(), json!(report.image_id));
    }
    if let Some(digest) = &report.manifest_digest {
        out.insert("containerimage.digest".into(), json!(digest));
        let descriptor = match one {
            Some((_, image)) => {
                let manifest = Manifest::parse(&store.blobs().read_small(digest, MAX_MANIFEST)?, "")?;
                Descriptor { platform: Some(image.platform()), ..manifest.descriptor() }
            }
            None => store.images().index(digest)?.descriptor(),
        };
        out.insert("containerimage.descriptor".into(), json!(descriptor));
    }
    let names: Vec<String> = names(request).into_iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        out.insert("image.name".into(), json!(names.join(",")));
    }
    let mut text = format!("{:#}", serde_json::Value::Object(out));
    text.push('\n');
    Ok(text.into_bytes())
}
