//! What a config of outside must be like.
//!
//! A history that does not fit the layers is let through: such images exist, and everybody else runs them.

use serde_json::{Map, Value};

use crate::digest::Digest;

/// Finds what the getters could not read, so that they need not fail.
pub(super) fn check(root: &Map<String, Value>) -> Result<(), String> {
    let rootfs = match root.get("rootfs") {
        Some(Value::Object(rootfs)) => rootfs,
        None | Some(Value::Null) => return Err("it has no `rootfs`".to_owned()),
        Some(_) => return Err("`rootfs` is not an object".to_owned()),
    };
    match rootfs.get("type") {
        Some(Value::String(text)) if text == "layers" => {}
        None => {}
        Some(other) => return Err(format!("`rootfs.type` is {}, not \"layers\"", brief(other))),
    }
    match rootfs.get("diff_ids") {
        Some(Value::Array(ids)) => {
            for id in ids {
                let digest = id.as_str().map(str::parse::<Digest>);
                match digest {
                    Some(Ok(_)) => {}
                    Some(Err(e)) => return Err(format!("in `rootfs.diff_ids`, {e}")),
                    None => return Err(format!("in `rootfs.diff_ids`, {} is not a digest", brief(id))),
                }
            }
        }
        None | Some(Value::Null) => {}
        Some(_) => return Err("`rootfs.diff_ids` is not a list".to_owned()),
    }
    match root.get("config") {
        Some(Value::Object(section)) => check_section(section)?,
        None | Some(Value::Null) => {}
        Some(_) => return Err("`config` is not an object".to_owned()),
    }
    for name in ["os", "architecture", "variant", "author", "created", "os.version"] {
        want(root.get(name), name, "a string", Value::is_string)?;
    }
    match root.get("history") {
        Some(Value::Array(entries)) => {
            if let Some(entry) = entries.iter().find(|e| !e.is_object()) {
                return Err(format!("in `history`, {} is not an object", brief(entry)));
            }
        }
        None | Some(Value::Null) => {}
        Some(_) => return Err("`history` is not a list".to_owned()),
    }
    Ok(())
}

fn check_section(section: &Map<String, Value>) -> Result<(), String> {
    let strings = |v: &Value| v.as_array().is_some_and(|a| a.iter().all(Value::is_string));
    let texts = |v: &Value| v.as_object().is_some_and(|m| m.values().all(|v| v.is_string() || v.is_null()));
    for name in ["Env", "Cmd", "Entrypoint", "Shell", "OnBuild"] {
        want(section.get(name), &format!("config.{name}"), "a list of strings", strings)?;
    }
    for name in ["User", "WorkingDir", "StopSignal"] {
        want(section.get(name), &format!("config.{name}"), "a string", Value::is_string)?;
    }
    for name in ["ExposedPorts", "Volumes", "Healthcheck"] {
        want(section.get(name), &format!("config.{name}"), "an object", Value::is_object)?;
    }
    want(section.get("Labels"), "config.Labels", "an object of strings", texts)
}

/// Refuses a field that is there, not null, and not what it must be.
fn want(value: Option<&Value>, name: &str, kind: &str, is: impl Fn(&Value) -> bool) -> Result<(), String> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(value) if is(value) => Ok(()),
        Some(value) => Err(format!("`{name}` is {}, not {kind}", brief(value))),
    }
}

/// A value of outside for a message, cut short.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    text.chars().take(60).collect()
}
