//! `orlop load`: images from a file into the store.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use orlop_builder::event::Outcome;
use orlop_store::layout::LoadOptions;
use orlop_store::{Manifest, Named, Platform, Reference, media_type};
use serde_json::json;

use super::build::platform;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::ProgressArgs;
use crate::session::App;
use crate::table;

/// Read images from an archive or an OCI layout into the store
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// Archive of `docker save` or `orlop save`, or directory of an OCI layout [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,

    /// Platform to take where there are several, `OS/ARCHITECTURE` [default: all of an index]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// `table` for lines, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &LoadArgs) -> Result<(), Failure> {
    let path = args.input.as_deref().filter(|path| *path != Path::new("-"));
    if path.is_none() && std::io::stdin().is_terminal() {
        return Err(Failure::usage("an archive is not read from a terminal")
            .with_hint("name the file with `-i FILE`".to_owned()));
    }
    if let Some(path) = path {
        std::fs::metadata(path).map_err(|error| Failure::io("open", path, &error))?;
    }
    let session = app.session(args.progress.mode()?)?;
    let options = LoadOptions { platform: args.platform.clone(), ..LoadOptions::default() };
    let lines = session.work(|engine, progress| {
        let task = progress.start(match path {
            Some(path) => format!("read {}", path.display()),
            None => "read the archive".to_owned(),
        });
        let loaded = match path {
            Some(path) => engine.store.load(path, &options)?,
            None => engine.store.load_from(std::io::stdin().lock(), &options)?,
        };
        let mut lines = Vec::new();
        for image in &loaded {
            let index =
                image.descriptor.as_ref().filter(|d| media_type::is_index(&d.media_type)).map(|d| d.digest);
            // An index is kept only as far as its document is here.
            let index = index.filter(|digest| engine.store.blobs().contains(digest));
            let target =
                Named { id: image.image.id(), manifest: image.image.manifest().map(Manifest::digest), index };
            for name in &image.names {
                engine.store.images().tag(name, &target)?;
            }
            if args.format == ListFormat::Json {
                let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
                let digest = target.index.or(target.manifest);
                lines.push(json!({ "ID": target.id, "Names": names, "Digest": digest }).to_string());
                continue;
            }
            lines.extend(image.names.iter().map(|name| format!("Loaded image: {}", name.familiar())));
            if image.names.is_empty() {
                lines.push(format!("Loaded image ID: {}", target.id));
            }
        }
        task.finish(Outcome::Done, None, None);
        Ok::<_, Failure>(lines)
    })?;
    table::lines(lines)
}
