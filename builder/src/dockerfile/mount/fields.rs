//! The values of a flag's fields.

use crate::boolean;
use crate::dockerfile::suggest::did_you_mean;

/// What is wrong with a field, and what to write instead.
#[derive(Debug)]
pub(in crate::dockerfile) struct Fault(
    pub(in crate::dockerfile) String,
    pub(in crate::dockerfile) Option<String>,
);

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into(), None)
    }
}

/// The fields of one line of comma-separated values; a field in double quotes may hold commas, and `""`.
pub(in crate::dockerfile) fn csv_fields(raw: &str) -> Result<Vec<String>, Fault> {
    let quotes = || Fault::new("a double quote must stand around a whole field");
    let mut fields = Vec::new();
    let mut rest = raw;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (field, after) =
                rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return Err(quotes());
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let (text, after) = quoted.split_once('"').ok_or_else(quotes)?;
            field.push_str(text);
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    quoted = after;
                }
                None => {
                    quoted = after;
                    break;
                }
            }
        }
        fields.push(field);
        if quoted.is_empty() {
            return Ok(fields);
        }
        rest = quoted.strip_prefix(',').ok_or_else(quotes)?;
    }
}

/// A switch: alone it is on.
pub(in crate::dockerfile) fn flag(key: &str, value: Option<&str>) -> Result<bool, Fault> {
    let Some(value) = value else { return Ok(true) };
    boolean(value).ok_or_else(|| Fault::new(format!("`{key}={value}` is neither true nor false")))
}

/// Whether a `$` stands before something.
pub(in crate::dockerfile) fn holds_variable(value: &str) -> bool {
    value.find('$').is_some_and(|at| at + 1 < value.len())
}

pub(super) fn choice<T: Copy>(key: &str, value: &str, known: &[(&'static str, T)]) -> Result<T, Fault> {
    let lower = value.to_lowercase();
    if let Some(&(_, found)) = known.iter().find(|(name, _)| *name == lower) {
        return Ok(found);
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let hint = did_you_mean(value, names.iter().copied())
        .unwrap_or_else(|| format!("these exist: `{}`", names.join("`, `")));
    Err(Fault(format!("unknown {key} `{value}`"), Some(hint)))
}

/// A size as `64m`, `1.5g`, `1024`: units are powers of 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|ch: char| !ch.is_ascii_digit() && ch != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let size = number * 1024_f64.powi(power);
    // Beyond this a float no longer counts bytes, and no machine has them.
    (size.is_finite() && (0.0..=9e18).contains(&size)).then_some(size as u64)
}

/// A path without `.`, `..`, empty parts and the slash at its end, by its text alone.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The last part of a path, by its text alone.
pub(crate) fn last_part(path: &str) -> String {
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(last) => last.to_owned(),
    }
}
