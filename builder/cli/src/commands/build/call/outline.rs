//! `--call=outline`.

use orlop_builder::outline::{Demand, outline};
use orlop_builder::request::BuildRequest;
use orlop_builder::source::SourceFile;
use serde_json::{Value, json};

use super::{json::location, json::object, sources};
use crate::diagnostics::Failure;
use crate::table::columns;

/// What the target takes from outside.
pub(super) fn text(request: &BuildRequest, as_json: bool) -> Result<String, Failure> {
    let (dockerfile, found) = outline(request)?;
    let file = &dockerfile.source;
    if as_json {
        let arguments = found.arguments.iter().map(|argument| {
            object([
                ("name", json!(argument.name)),
                ("description", json!(argument.description)),
                ("value", json!(argument.value)),
                ("location", location(file, argument.place)),
            ])
        });
        let caches = found
            .caches
            .iter()
            .map(|cache| json!({ "ID": cache.id, "location": location(file, cache.place) }));
        return Ok(super::json::text(&object([
            ("name", json!(found.name)),
            ("description", json!(found.description)),
            ("args", arguments.collect()),
            ("secrets", demands(&found.secrets, file)),
            ("ssh", demands(&found.agents, file)),
            ("cache", caches.collect()),
            ("sources", sources(file)),
        ])));
    }
    let mut parts = Vec::new();
    if found.name.is_some() || found.description.is_some() {
        let name = found.name.as_deref().unwrap_or("(default)");
        let mut rows = vec![vec!["TARGET:".to_owned(), name.to_owned()]];
        rows.extend(found.description.map(|text| vec!["DESCRIPTION:".to_owned(), text]));
        parts.push(columns(&rows, 1, false));
    }
    if !found.arguments.is_empty() {
        let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned).to_vec()];
        rows.extend(found.arguments.iter().map(|argument| {
            let (value, text) = (argument.value.as_deref(), argument.description.as_deref());
            vec![
                argument.name.clone(),
                value.unwrap_or_default().to_owned(),
                text.unwrap_or_default().to_owned(),
            ]
        }));
        parts.push(columns(&rows, 3, false));
    }
    for (head, demands) in [("SECRET", &found.secrets), ("SSH", &found.agents)] {
        if demands.is_empty() {
            continue;
        }
        let mut rows = vec![vec![head.to_owned(), "REQUIRED".to_owned()]];
        rows.extend(demands.iter().map(|demand| {
            vec![demand.id.clone(), if demand.required { "true".to_owned() } else { String::new() }]
        }));
        parts.push(columns(&rows, 3, false));
    }
    Ok(parts.iter().map(|part| format!("{part}\n")).collect())
}

fn demands(demands: &[Demand], file: &SourceFile) -> Value {
    let members = |demand: &Demand| {
        object([
            ("name", json!(demand.id)),
            ("required", json!(demand.required)),
            ("location", location(file, demand.place)),
        ])
    };
    demands.iter().map(members).collect()
}
