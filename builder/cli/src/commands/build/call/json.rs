//! JSON as BuildKit's subrequests have it.

use orlop_builder::source::{SourceFile, Span};
use serde_json::{Map, Value, json};

/// The lines of a place.
pub(super) fn location(file: &SourceFile, place: Span) -> Value {
    let (first, last) = file.lines_of(place);
    json!({ "ranges": [{ "start": { "line": first }, "end": { "line": last } }] })
}

/// An object, its empty members left out.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(_) | Value::Object(_) => false,
    };
    let members = members.into_iter().filter(|(_, value)| !empty(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// The text of an answer.
pub(super) fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
