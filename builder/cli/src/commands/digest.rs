//! `orlop digest`: what a name stands for, in one request.

use clap::Args;
use orlop_builder::place::{self, Place, Source};
use orlop_store::{Descriptor, Platform};
use serde_json::json;

use super::build::platform;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::Mode;
use crate::remote::{self, Remote};
use crate::table;

/// Show the digest of the manifest or index that a name stands for at its registry
///
/// Nothing is pulled. Layouts and archives are named as for `orlop copy`.
#[derive(Args, Debug)]
pub(crate) struct DigestArgs {
    /// Name at a registry, or another place
    #[arg(value_name = "NAME", value_parser = remote::place)]
    name: Place,

    /// Digest of the one image of an index that is for this platform, `OS/ARCHITECTURE`
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Show `REPOSITORY@DIGEST`
    #[arg(long)]
    full_ref: bool,

    /// `table` for the digest alone, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with = "full_ref")]
    format: ListFormat,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &DigestArgs) -> Result<(), Failure> {
    let remote = Remote::new(global, Mode::Quiet)?;
    let found = remote.work(|_| find(&remote, args))?;
    let digest = found.digest;
    table::lines([match (args.format, args.full_ref, &args.name) {
        (ListFormat::Json, ..) => json!({
            "Name": args.name.to_string(),
            "Digest": digest,
            "MediaType": found.media_type,
            "Size": found.size,
        })
        .to_string(),
        (_, true, Place::Registry(name)) => format!("{}@{digest}", name.repository()),
        (_, true, _) => return Err(Failure::usage("only what is at a registry has such a name")),
        (_, false, _) => digest.to_string(),
    }])
}

fn find(remote: &Remote, args: &DigestArgs) -> Result<Descriptor, Failure> {
    if let (Place::Registry(name), None) = (&args.name, &args.platform) {
        let (repository, which) = remote::parts(name)?;
        let head = remote.client.head_document(&repository, &which)?;
        return Ok(Descriptor::new(head.media_type, head.digest, head.size));
    }
    let source = Source::open(&remote.client, &args.name, false)?.to_look_at();
    let root = source.root()?;
    Ok(match &args.platform {
        Some(platform) => place::pick_asked(&source, root, platform)?.manifest.descriptor,
        None => root.descriptor,
    })
}
