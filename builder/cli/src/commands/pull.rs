//! `orlop pull`: images from registries into the store.

use clap::Args;
use orlop_builder::event::Outcome;
use orlop_builder::request::PullPolicy;
use orlop_builder::transfer;
use orlop_store::{Platform, Reference};
use serde_json::json;

use super::build::{platform, reference};
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::ProgressArgs;
use crate::session::App;
use crate::table;

/// Fetch images from registries into the store
///
/// Standard output carries the ID of each image.
#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Names of the images
    #[arg(value_name = "NAME", required = true, value_parser = reference)]
    names: Vec<Reference>,

    /// Platform of the image, `OS/ARCHITECTURE` [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Accept plain HTTP and certificates that nobody vouches for from the registries of these names
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide = true)]
    tls_verify: bool,

    /// `table` for IDs alone, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &PullArgs) -> Result<(), Failure> {
    let app = if args.tls_verify { app } else { &app.trusting(&args.names) };
    let session = app.session(args.progress.mode()?)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let mut lines = Vec::new();
    session.work(|engine, progress| {
        for name in &args.names {
            let task = progress.start(format!("pull {}", name.familiar()));
            let image = transfer::pull(engine, name, &platform, PullPolicy::Always, &task)?;
            task.finish(Outcome::Done, None, None);
            lines.push(match args.format {
                ListFormat::Table => image.id().to_string(),
                ListFormat::Json => {
                    let named = engine.store.images().named(name)?;
                    json!({
                        "Name": name.familiar(),
                        "ID": image.id(),
                        "Digest": named.and_then(|named| named.index.or(named.manifest)),
                        "Platform": image.platform().with_version(),
                    })
                    .to_string()
                }
            });
        }
        Ok::<_, Failure>(())
    })?;
    table::lines(lines)
}
