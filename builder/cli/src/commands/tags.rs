//! `orlop tags`: what a repository has.

use clap::Args;
use orlop_store::Reference;
use serde_json::json;

use super::build::reference;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::{Mode, clean};
use crate::remote::{self, Remote};
use crate::table;

/// List the tags of a repository at its registry
///
/// All pages, one tag a line, in the registry's order.
#[derive(Args, Debug)]
pub(crate) struct TagsArgs {
    /// Name of the repository, without a tag
    #[arg(value_name = "REPOSITORY", value_parser = repository)]
    repository: Reference,

    /// `table` for one tag a line, or `json` for an object as `skopeo list-tags` shows it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

fn repository(text: &str) -> Result<Reference, String> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    let name = reference(text)?;
    if text.rsplit('/').next().unwrap_or(text).contains([':', '@']) {
        return Err(format!("a repository is named without tag and digest: `{}`", name.repository()));
    }
    Ok(name)
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &TagsArgs) -> Result<(), Failure> {
    let remote = Remote::new(global, Mode::Quiet)?;
    let (repository, _) = remote::parts(&args.repository)?;
    let tags = remote.work(|_| remote.client.tags(&repository))?;
    match args.format {
        ListFormat::Json => {
            let object = json!({ "Repository": args.repository.repository(), "Tags": tags });
            table::lines([object.to_string()])
        }
        ListFormat::Table => table::lines(tags.iter().map(|tag| clean(tag))),
    }
}
