//! `orlop history`: what an image was made by.

use clap::Args;
use orlop_store::Platform;
use serde_json::json;

use super::build::platform;
use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::{clock, layers, quantity, table};

/// Show what an image was made by, newest first
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// Name or ID of the image
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Platform of an image that is there for several, `OS/ARCHITECTURE` [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    /// Show instructions in full
    #[arg(long)]
    no_trunc: bool,

    /// `table`, or `json` for one object a line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,
}

/// Characters of an instruction in the table.
const WIDTH: usize = 45;

/// Runs the command.
pub(crate) fn run(app: &App, args: &HistoryArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let image = store.images().load(&super::for_platform(
        &store,
        &app.here(&store, &args.image)?,
        args.platform.as_ref(),
    )?)?;
    let sizes = layers::sizes(&store, &image);
    let mut stack = image.layers().iter().zip(sizes);
    // An entry without a layer has no size; one whose layer is not there (a damaged history) none that is known.
    let mut entries: Vec<_> = image
        .config()
        .history()
        .into_iter()
        .map(|entry| {
            let layer = if entry.empty_layer { None } else { stack.next() };
            (entry, layer)
        })
        .collect();
    // Layers that the history is silent about.
    entries.extend(stack.map(|layer| (orlop_store::History::default(), Some(layer))));
    entries.reverse();
    match args.format {
        ListFormat::Json => table::lines(entries.iter().map(|(entry, layer)| {
            json!({
                "Created": entry.created,
                "CreatedBy": entry.created_by,
                "Author": entry.author,
                "Comment": entry.comment,
                "EmptyLayer": layer.is_none(),
                "DiffID": layer.as_ref().map(|(layer, _)| layer.diff_id),
                "Size": layer.as_ref().map_or(Some(0), |(_, size)| *size),
            })
            .to_string()
        })),
        ListFormat::Table => {
            let cells: Vec<Vec<String>> = entries
                .iter()
                .map(|(entry, layer)| {
                    let size = match layer {
                        None => "0 B".to_owned(),
                        Some((_, size)) => size.map_or_else(|| "-".to_owned(), quantity::size),
                    };
                    let id = layer.as_ref().map_or_else(String::new, |(layer, _)| layer.diff_id.short());
                    let mut made = entry.created_by.clone().unwrap_or_default();
                    if !args.no_trunc && made.chars().count() > WIDTH {
                        made = made.chars().take(WIDTH - 3).chain("...".chars()).collect();
                    }
                    vec![id, clock::ago(entry.created.as_deref()), size, made]
                })
                .collect();
            table::write(&["LAYER", "CREATED", "SIZE", "CREATED BY"], &cells)
        }
    }
}
