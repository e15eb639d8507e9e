//! `orlop rmi`: names and images away.

use clap::Args;
use serde_json::json;

use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::table;

/// Remove names of images, and images with their last name
///
/// What they are made of goes with the next `orlop store gc`, as far as nothing else needs it.
#[derive(Args, Debug)]
pub(crate) struct RmiArgs {
    /// Names or IDs
    #[arg(value_name = "IMAGE", required_unless_present = "all", conflicts_with = "all")]
    images: Vec<String>,

    /// Remove all images
    #[arg(short, long)]
    all: bool,

    /// Remove an image by its ID also when it has several names; what is not there is no error
    #[arg(short, long)]
    force: bool,

    /// `table` for lines, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &RmiArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let images = store.images();
    let texts: Vec<String> = if args.all {
        images.list()?.into_iter().map(|record| record.id.to_string()).collect()
    } else {
        args.images.iter().map(|text| app.here(&store, text)).collect::<Result<_, _>>()?
    };
    let mut lines = Vec::new();
    let mut failed = None;
    for text in &texts {
        match images.remove(text, args.force || args.all) {
            Ok(removed) => {
                // As Docker's API says it.
                let said = |what: &str, name: String| match args.format {
                    ListFormat::Table => format!("{what}: {name}"),
                    ListFormat::Json => json!({ what: name }).to_string(),
                };
                lines.extend(removed.untagged.iter().map(|name| said("Untagged", name.familiar())));
                lines.extend(removed.deleted.iter().map(|id| said("Deleted", id.to_string())));
            }
            // Images of one index go together.
            Err(orlop_store::Error::NotFound { .. }) if args.force || args.all => {}
            // The others are removed all the same.
            Err(error) => {
                let failure = Failure::from(error);
                if let Some(earlier) = failed.replace(failure) {
                    earlier.report();
                }
            }
        }
    }
    table::lines(lines)?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}
