//! `orlop tag`: a further name for an image.

use clap::Args;
use orlop_store::{Named, Reference};

use super::build::reference;
use crate::diagnostics::Failure;
use crate::session::App;

/// Give an image further names
#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// Name or ID of the image
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The new names
    #[arg(value_name = "NAME", required = true, value_parser = reference)]
    names: Vec<Reference>,
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &TagArgs) -> Result<(), Failure> {
    if let Some(pinned) = args.names.iter().find(|name| name.digest().is_some()) {
        return Err(Failure::usage(format!("`{}` has a digest, and a new name has none", pinned.familiar()))
            .with_hint(format!("write `{}`", pinned.without_digest().familiar())));
    }
    let store = app.store()?;
    let target: Named = store.images().resolve(&app.here(&store, &args.image)?)?;
    for name in &args.names {
        store.images().tag(name, &target)?;
    }
    Ok(())
}
