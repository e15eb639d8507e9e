//! `orlop copy`: images and artifacts from one place to another, byte for byte.

use std::path::PathBuf;

use clap::Args;
use orlop_builder::event::Outcome;
use orlop_builder::place::{self, CopyOptions, Place};
use orlop_store::{Digest, Platform};
use serde_json::json;

use super::build::platform;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::{Global, ProgressArgs};
use crate::remote::{self, Remote};
use crate::{file, table};

/// Copy an image, an index or an artifact between registries, OCI layouts and archives
///
/// A place is written `NAME` or `docker://NAME` (a registry), `oci-layout://DIR[:TAG][@DIGEST]` or `oci:DIR[:TAG]`,
/// `oci-archive:FILE[:TAG]`, or `docker-archive:FILE[:NAME]`. Bytes are never changed, so digests and signatures hold, but for `docker-archive`;
/// only a `docker-archive`, which has neither manifests nor compressed layers, is another form. An index is copied with
/// everything in it, because a part of it would have another digest; `--platform` copies one image of it. What the
/// destination has, or can take from another of its repositories, is not sent; the name is written last. No image comes
/// into the store; it only remembers which repositories have which blobs.
///
/// Standard output carries the digest that the name stands for.
#[derive(Args, Debug)]
pub(crate) struct CopyArgs {
    /// Where it is
    #[arg(value_name = "SOURCE", value_parser = remote::place)]
    source: Place,

    /// Where it goes; a tag is `latest` at a registry if not given, and none in a layout
    #[arg(value_name = "DESTINATION", value_parser = remote::place)]
    destination: Place,

    /// Copy an index with all its images, which is the default
    #[arg(short, long, conflicts_with = "platform")]
    all: bool,

    /// Copy the one image of an index that is for this platform, `OS/ARCHITECTURE` [default: all with their index; for
    /// `docker-archive` this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Copy also what refers to the image: signatures, attestations and SBOMs, by `subject` or by cosign's tags
    #[arg(long)]
    referrers: bool,

    /// Keep digests; they always are kept
    #[arg(long, hide = true)]
    preserve_digests: bool,

    /// Write the digest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// Accept plain HTTP and certificates that nobody vouches for from the source's registry, with `=false`
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide_default_value = true,
          hide_possible_values = true)]
    src_tls_verify: bool,

    /// The same for the destination's
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide_default_value = true,
          hide_possible_values = true)]
    dest_tls_verify: bool,

    /// Never taken: passwords on the command line are seen by everybody on the machine
    #[arg(long, value_name = "USER:PASSWORD", aliases = ["dest-creds", "creds"], hide = true)]
    src_creds: Option<String>,

    /// `table` for the digest alone, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &CopyArgs) -> Result<(), Failure> {
    if args.src_creds.is_some() {
        return Err(Failure::usage(
            "a password is not taken from the command line, where everybody can see it",
        )
        .with_hint(
            "log in with `orlop login REGISTRY`, or name a file of credentials with `--authfile`".to_owned(),
        ));
    }
    let (from, to) = (&args.source, &args.destination);
    let sides = [(args.src_tls_verify, from), (args.dest_tls_verify, to)];
    let trusted: Vec<&Place> = sides.iter().filter(|(verify, _)| !verify).map(|(_, place)| *place).collect();
    let global = remote::trusting(global, &trusted);
    let remote = Remote::new(&global, args.progress.mode()?)?;
    let copied = remote.work(|progress| {
        let task = progress.start(format!("copy {from} to {to}"));
        let options = CopyOptions {
            platform: args.platform.as_ref(),
            referrers: args.referrers,
            known: &|blobs: &[Digest]| remote::known(&global, blobs),
            cancel: &remote.cancel,
        };
        let copied = place::copy(&remote.client, from, to, &options, &task)?;
        let outcome = if copied.manifests == 0 { Outcome::Cached } else { Outcome::Done };
        task.finish(outcome, None, None);
        Ok::<_, Failure>(copied)
    })?;
    remote::remember(&global, &copied.blobs, [from, to]);
    if let Some(path) = &args.digestfile {
        file::replace(path, copied.digest.to_string().as_bytes())?;
    }
    table::lines([match args.format {
        ListFormat::Table => copied.digest.to_string(),
        ListFormat::Json => json!({
            "Source": from.to_string(),
            "Destination": to.to_string(),
            "Digest": copied.digest,
            "MediaType": copied.media_type,
            "ManifestsWritten": copied.manifests,
            "BlobsSent": copied.sent.0,
            "BytesSent": copied.sent.1,
            "BlobsThere": copied.there,
        })
        .to_string(),
    }])
}
