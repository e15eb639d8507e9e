//! `--call=targets` and `--call=subrequests.describe`.

use std::sync::Arc;

use orlop_builder::dockerfile;
use orlop_builder::outline::targets;
use orlop_builder::request::BuildRequest;
use serde_json::{Value, json};

use super::{json::location, json::object, sources};
use crate::diagnostics::Failure;
use crate::table::columns;

/// The stages of the Dockerfile.
pub(super) fn text(request: &BuildRequest, as_json: bool) -> Result<String, Failure> {
    let parsed =
        dockerfile::parse(Arc::clone(&request.dockerfile)).map_err(orlop_builder::BuildError::from)?;
    let targets = targets(&parsed);
    if as_json {
        let targets = targets.into_iter().map(|target| {
            object([
                ("name", json!(target.name)),
                ("default", json!(target.default)),
                ("description", json!(target.description)),
                ("base", json!(target.base)),
                ("platform", json!(target.platform)),
                ("location", location(&parsed.source, target.place)),
            ])
        });
        let targets: Vec<Value> = targets.collect();
        return Ok(super::json::text(&json!({ "targets": targets, "sources": sources(&parsed.source) })));
    }
    let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    for target in targets {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => continue,
        };
        rows.push(vec![name, target.description.unwrap_or_default()]);
    }
    Ok(columns(&rows, 1, false))
}

/// What can be asked for. `frontend.lint` is not in BuildKit's own list, though it is there.
const REQUESTS: [(&str, &str); 4] = [
    ("outline", "List all parameters current build target supports"),
    ("targets", "List all targets current build supports"),
    ("lint", "Lint a Dockerfile"),
    ("subrequests.describe", "List available subrequest types"),
];
const VERSION: &str = "1.0.0";

/// The answer to `subrequests.describe`.
pub(super) fn describe(as_json: bool) -> String {
    if as_json {
        let requests = REQUESTS.map(|(name, description)| {
            let opts = match name {
                "outline" | "lint" => json!([{ "name": "target", "description": "Target build stage" }]),
                _ => json!([]),
            };
            json!({
                "name": format!("frontend.{name}"),
                "version": VERSION,
                "type": "rpc",
                "description": description,
                "opts": opts,
                "inputs": null,
                "metadata": [
                    { "name": "result.json", "description": "" },
                    { "name": "result.txt", "description": "" },
                ],
                "refs": null,
            })
        });
        return super::json::text(&json!(requests));
    }
    let head = ["NAME", "VERSION", "DESCRIPTION"].map(str::to_owned).to_vec();
    let rows =
        REQUESTS.map(|(name, description)| vec![name.to_owned(), VERSION.to_owned(), description.to_owned()]);
    columns(&[&[head][..], &rows[..]].concat(), 1, false)
}
