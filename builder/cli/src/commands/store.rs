//! `orlop store`: what keeps a store in order.

use std::time::Duration;

use clap::{Args, Subcommand};
use orlop_store::CheckReport;
use orlop_store::gc::GcPolicy;
use serde_json::json;

use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::system::places;
use crate::{quantity, table};

/// Keep the store in order
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand, Debug)]
enum StoreCommand {
    #[command(visible_alias = "prune")]
    Gc(GcArgs),
    Check(CheckArgs),
    #[command(visible_alias = "df")]
    Usage(UsageArgs),
}

/// Remove what no image with a name needs: old results of steps, images without a name
#[derive(Args, Debug)]
struct GcArgs {
    /// Keep what was used within this time [default: 14d]
    #[arg(long, value_name = "DURATION", value_parser = quantity::parse_duration)]
    keep_for: Option<Duration>,

    /// Keep at most so many bytes, those used last
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size, visible_alias = "keep-storage")]
    keep_bytes: Option<u64>,

    /// Keep nothing that no image with a name needs
    #[arg(short, long, conflicts_with_all = ["keep_for", "keep_bytes"])]
    all: bool,

    /// `table` for lines, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Read everything again and put aside what is damaged
///
/// Layers of images that are still where these came from are told and are no fault: they are fetched when something
/// needs them. What is damaged, or can be fetched from nowhere that is known, ends the command with exit code 1.
#[derive(Args, Debug)]
struct CheckArgs {
    /// `table` for lines, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Show how full the store is
#[derive(Args, Debug)]
struct UsageArgs {
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &StoreArgs) -> Result<(), Failure> {
    match &args.command {
        StoreCommand::Gc(args) => gc(app, args),
        StoreCommand::Check(args) => check(app, args),
        StoreCommand::Usage(args) => usage(app, args),
    }
}

fn gc(app: &App, args: &GcArgs) -> Result<(), Failure> {
    let policy = match (args.all, args.keep_for, args.keep_bytes) {
        (true, ..) => GcPolicy { keep_for: None, keep_bytes: None, all: true },
        (false, None, None) => GcPolicy::default(),
        (false, keep_for, keep_bytes) => GcPolicy { keep_for, keep_bytes, all: false },
    };
    let report = app.store()?.gc(&policy)?;
    if args.format == ListFormat::Json {
        let document = json!({
            "layers": report.layers,
            "blobs": report.blobs,
            "images": report.images,
            "steps": report.steps,
            "bytes": report.bytes,
            "in_use": report.in_use,
        });
        return table::lines([document.to_string()]);
    }
    let mut lines = vec![
        format!(
            "Removed {} layers, {} blobs, {} images without a name, {} results of steps",
            report.layers, report.blobs, report.images, report.steps
        ),
        format!("Freed {}", quantity::size(report.bytes)),
    ];
    if report.in_use > 0 {
        lines.push(format!("Left {} things that are in use", report.in_use));
    }
    table::lines(lines)
}

fn check(app: &App, args: &CheckArgs) -> Result<(), Failure> {
    let report = app.store()?.check()?;
    match args.format {
        ListFormat::Table => table::lines(found(&report))?,
        ListFormat::Json => table::lines([as_json(&report).to_string()])?,
    }
    if report.is_sound() {
        return Ok(());
    }
    if report.is_damaged() {
        return Err(Failure::user("the store was damaged")
            .with_hint("build or pull again what is missing".to_owned()));
    }
    Err(Failure::user("images of the store are incomplete")
        .with_hint("build or pull them again, or remove them with `orlop rmi`".to_owned()))
}

fn as_json(report: &CheckReport) -> serde_json::Value {
    let damaged = report.damaged.iter().map(|damage| {
        json!({
            "what": damage.what,
            "digest": damage.digest,
            "why": damage.why,
            "moved_to": damage.moved_to.as_ref().map(|path| places::shown(path)),
            "sources": damage.sources,
        })
    });
    let elsewhere = report
        .elsewhere
        .iter()
        .map(|it| json!({ "image": it.image, "layer": it.layer, "sources": it.sources }));
    let incomplete = report.incomplete.iter().map(|(id, what)| json!({ "image": id, "missing": what }));
    json!({
        "sound": report.is_sound(),
        "blobs": report.blobs,
        "layers": report.layers,
        "unpacked": report.unpacked,
        "damaged": damaged.collect::<Vec<_>>(),
        "elsewhere": elsewhere.collect::<Vec<_>>(),
        "incomplete": incomplete.collect::<Vec<_>>(),
        "facts_sound": report.facts_sound,
    })
}

/// For people.
fn found(report: &CheckReport) -> Vec<String> {
    let mut lines = vec![format!(
        "Read {} blobs and {} layers; {} further layers are unpacked from blobs",
        report.blobs, report.layers, report.unpacked
    )];
    for damage in &report.damaged {
        let place = match &damage.moved_to {
            Some(path) => format!(", now `{}`", path.display()),
            None => String::new(),
        };
        lines.push(format!("Damaged: {} {}: {}{place}", damage.what, damage.digest, damage.why));
        lines.extend(damage.sources.first().map(|source| format!("  `{source}` had it: pull again")));
    }
    lines.extend(report.elsewhere.iter().map(|it| {
        let source = it.sources.first().map_or("", String::as_str);
        format!("Not fetched yet: image {}: layer {}, which `{source}` has", it.image.short(), it.layer)
    }));
    lines.extend(
        report.incomplete.iter().map(|(id, what)| format!("Incomplete: image {}: {what}", id.short())),
    );
    if !report.facts_sound {
        lines.push("Damaged: the database of facts; the next command makes a new one".to_owned());
    }
    lines
}

fn usage(app: &App, args: &UsageArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let usage = store.usage()?;
    if args.format == ListFormat::Json {
        let document = json!({
            "root": places::shown(store.root()),
            "images": usage.images,
            "layers": usage.layers,
            "layer_bytes": usage.layer_bytes,
            "blobs": usage.blobs,
            "blob_bytes": usage.blob_bytes,
            "steps": usage.steps,
            "reclaimable": usage.reclaimable,
        });
        return table::lines([document.to_string()]);
    }
    let row = |what: &str, count: String, size: String| vec![what.to_owned(), count, size];
    let rows = [
        row("images", usage.images.to_string(), String::new()),
        row("layers", usage.layers.to_string(), quantity::size(usage.layer_bytes)),
        row("blobs", usage.blobs.to_string(), quantity::size(usage.blob_bytes)),
        row("results of steps", usage.steps.to_string(), String::new()),
        row("reclaimable", String::new(), quantity::size(usage.reclaimable)),
    ];
    table::write(&["WHAT", "COUNT", "SIZE"], &rows)
}
