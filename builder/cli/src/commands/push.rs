//! `orlop push`: an image from the store to a registry.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orlop_builder::event::Outcome;
use orlop_builder::output::{Compression, Packing};
use orlop_builder::place::Place;
use orlop_builder::transfer::{self, Several};
use orlop_store::{Platform, Reference};
use serde_json::json;

use super::build::{platform, reference};
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::ProgressArgs;
use crate::session::App;
use crate::{file, table};

/// Send an image from the store to a registry
///
/// Standard output carries the digest of the manifest; of an image for several platforms that of its index.
#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// Name or ID of the image
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Name to push it under, if not IMAGE; `docker://` before it may be left out
    #[arg(value_name = "NAME", value_parser = destination)]
    name: Option<Reference>,

    /// How layers are compressed that no registry has given us
    #[arg(long, value_name = "FORMAT", visible_alias = "compression-format")]
    compression: Option<Format>,

    /// Platform to push of an image that is there for several, `OS/ARCHITECTURE` [default: all, with their index]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Level of the compression: 0 to 9 for gzip [default: 1], 1 to 22 for zstd [default: 3]
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<u8>,

    /// Compress also those layers anew that are compressed in another way
    #[arg(long, requires = "compression")]
    force_compression: bool,

    /// Send also layers that are marked as not to be given on and that their image names a URL for, such as
    /// those of old Windows base images; their terms may forbid it
    #[arg(long)]
    allow_nondistributable: bool,

    /// Write the digest of the manifest or index to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// Accept plain HTTP and certificates that nobody vouches for from the registry
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide = true)]
    tls_verify: bool,

    /// `table` for the digest alone, or `json`
    #[arg(long = "format", value_name = "FORMAT", default_value = "table")]
    shown: ListFormat,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Gzip,
    Zstd,
    Uncompressed,
}

/// A name at a registry. What `podman push` takes for a layout or an archive is no such name: it would go to Docker Hub.
fn destination(text: &str) -> Result<Reference, String> {
    match text.parse::<Place>() {
        Ok(Place::Registry(name)) => Ok(name),
        Ok(_) => {
            Err("only registries are pushed to; write it with `orlop save`, or with `orlop copy`".to_owned())
        }
        Err(_) => reference(text.strip_prefix("docker://").unwrap_or(text)),
    }
}

impl PushArgs {
    fn packing(&self) -> Result<Packing, Failure> {
        let level = self.compression_level;
        let compression = match (self.compression, level) {
            (None, None) => None,
            (None | Some(Format::Gzip), Some(10..)) => {
                return Err(Failure::usage("gzip has levels from 0 to 9"));
            }
            (None | Some(Format::Gzip), level) => Some(Compression::Gzip(level)),
            (Some(Format::Zstd), Some(0 | 23..)) => {
                return Err(Failure::usage("zstd has levels from 1 to 22"));
            }
            (Some(Format::Zstd), level) => Some(Compression::Zstd(level)),
            (Some(Format::Uncompressed), Some(_)) => {
                return Err(Failure::usage(
                    "`--compression-level` has no effect with `--compression uncompressed`",
                ));
            }
            (Some(Format::Uncompressed), None) => Some(Compression::Uncompressed),
        };
        Ok(Packing {
            compression,
            force: self.force_compression,
            foreign: self.allow_nondistributable,
            annotations: Vec::new(),
        })
    }
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &PushArgs) -> Result<(), Failure> {
    let packing = args.packing()?;
    let name = match &args.name {
        Some(name) => name.clone(),
        // What was pulled by a short name goes back to where it came from.
        None => reference(&app.here(&app.store()?, &args.image)?).map_err(|why| {
            Failure::usage(why)
                .with_hint("name the target as well: `orlop push IMAGE REGISTRY/NAME`".to_owned())
        })?,
    };
    let app = if args.tls_verify { app } else { &app.trusting(std::slice::from_ref(&name)) };
    let session = app.session(args.progress.mode()?)?;
    let named =
        super::for_platform(&session.store, &app.here(&session.store, &args.image)?, args.platform.as_ref())?;
    // An index of which only one image was fetched cannot be pushed: that image is.
    let several = match args.platform {
        None => Several::stored(&session.store, &named)?,
        Some(_) => None,
    };
    let image = session.store.images().load(&named)?;
    let pushed = session.work(|engine, progress| {
        let task = progress.start(format!("push {}", name.familiar()));
        let options = packing.export(true);
        let pushed = match &several {
            Some(several) => transfer::push_index(engine, several, &name, &options, &task)?,
            None => transfer::push(engine, &image, &name, &options, &task)?,
        };
        task.finish(Outcome::Done, None, None);
        Ok::<_, Failure>(pushed)
    })?;
    if let Some(path) = &args.digestfile {
        file::replace(path, pushed.manifest.to_string().as_bytes())?;
    }
    table::lines([match args.shown {
        ListFormat::Table => pushed.manifest.to_string(),
        ListFormat::Json => json!({
            "Name": name.familiar(),
            "ID": named.id,
            "Digest": pushed.manifest,
            "BytesSent": pushed.sent,
        })
        .to_string(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        push: PushArgs,
    }

    fn packing(words: &[&str]) -> Result<Packing, Failure> {
        Cli::parse_from([&["push", "image"], words].concat()).push.packing()
    }

    #[test]
    fn levels_are_those_of_the_format() {
        assert_eq!(packing(&[]).unwrap().compression, None);
        assert_eq!(
            packing(&["--compression-level=9"]).unwrap().compression,
            Some(Compression::Gzip(Some(9)))
        );
        let zstd = packing(&["--compression=zstd", "--force-compression"]).unwrap();
        assert_eq!((zstd.compression, zstd.force), (Some(Compression::Zstd(None)), true));
        for bad in [
            &["--compression-level=10"][..],
            &["--compression=zstd", "--compression-level=0"],
            &["--compression=zstd", "--compression-level=23"],
            &["--compression=uncompressed", "--compression-level=1"],
        ] {
            assert!(packing(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_target_may_be_written_as_a_transport() {
        assert_eq!(destination("docker://localhost:5000/a").unwrap().to_string(), "localhost:5000/a:latest");
        for elsewhere in ["oci:dir", "oci-archive:file:1", "docker-archive:file", "oci-layout://dir"] {
            assert!(destination(elsewhere).unwrap_err().contains("orlop save"), "{elsewhere}");
        }
    }
}
