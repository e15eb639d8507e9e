//! `orlop referrers`: what refers to an image: signatures, attestations, SBOMs.

use clap::Args;
use orlop_registry_client::TagOrDigest;
use orlop_store::Reference;
use serde_json::json;

use super::build::reference;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::Mode;
use crate::remote::{self, Remote};
use crate::{quantity, table};

/// List what refers to an image at its registry: signatures, attestations, SBOMs
#[derive(Args, Debug)]
pub(crate) struct ReferrersArgs {
    /// Name of the image
    #[arg(value_name = "NAME", value_parser = name)]
    name: Reference,

    /// Only artifacts of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,

    /// `table`, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

fn name(text: &str) -> Result<Reference, String> {
    reference(text.strip_prefix("docker://").unwrap_or(text))
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &ReferrersArgs) -> Result<(), Failure> {
    let remote = Remote::new(global, Mode::Quiet)?;
    let (repository, which) = remote::parts(&args.name)?;
    let found = remote.work(|_| {
        let digest = match &which {
            TagOrDigest::Digest(digest) => *digest,
            TagOrDigest::Tag(_) => remote.client.head_document(&repository, &which)?.digest,
        };
        remote.client.referrers(&repository, digest, args.artifact_type.as_deref())
    })?;
    match args.format {
        ListFormat::Json => table::lines(found.iter().map(|entry| {
            json!({
                "Digest": entry.digest,
                "MediaType": entry.media_type,
                "ArtifactType": entry.artifact_type,
                "Size": entry.size,
                "Annotations": entry.annotations,
            })
            .to_string()
        })),
        ListFormat::Table => {
            let rows: Vec<Vec<String>> = found
                .iter()
                .map(|entry| {
                    let kind = entry.artifact_type.as_ref().unwrap_or(&entry.media_type);
                    vec![entry.digest.to_string(), kind.clone(), quantity::size(entry.size)]
                })
                .collect();
            table::write(&["DIGEST", "ARTIFACT TYPE", "SIZE"], &rows)
        }
    }
}
