//! Paths in a Windows layer: which of its parts they are in, and which names Windows can have.

use super::FormatError;
use crate::layer::tar::shown;

/// One of the directories at the top of a Windows layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Top {
    /// `Files`: the file system.
    Files,
    /// `Hives`: the registry.
    Hives,
    /// `UtilityVM`: for Hyper-V.
    UtilityVm,
}

impl Top {
    /// Its name in the tar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "Files",
            Self::Hives => "Hives",
            Self::UtilityVm => "UtilityVM",
        }
    }
}

/// Where in a Windows layer a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerPath {
    /// In one of the known parts: the names below it, none for the part's own entry.
    In(Top, Vec<Vec<u8>>),
    /// Nowhere that Windows would look: the root of the tar, or something beside the parts.
    Elsewhere,
}

/// Splits a path of a tar. A backslash is as good as a slash, as it is to Windows.
///
/// # Errors
/// When a name is one that no Windows file can have, or `..` leads above the layer's part.
pub fn split(path: &[u8]) -> Result<LayerPath, FormatError> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in path.split(|b| matches!(b, b'/' | b'\\')) {
        match name {
            b"" | b"." => {}
            b".." => return Err(bad(path, "it has `..` in it")),
            name => names.push(name.to_vec()),
        }
    }
    let Some(first) = names.first() else {
        return Ok(LayerPath::Elsewhere);
    };
    let tops = [Top::Files, Top::Hives, Top::UtilityVm];
    let Some(top) = tops.into_iter().find(|top| first.eq_ignore_ascii_case(top.name().as_bytes())) else {
        return Ok(LayerPath::Elsewhere);
    };
    names.remove(0);
    if let Some((last, parents)) = names.split_last() {
        parents.iter().try_for_each(|name| check(name, false))?;
        check(last, true)?;
    }
    Ok(LayerPath::In(top, names))
}

/// Whether Windows can have a file of this name, or where the file has one, this stream of it.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &[u8]) -> Result<(), FormatError> {
    if name.iter().any(|b| matches!(b, b'/' | b'\\')) {
        return Err(bad(name, "a name has neither slash nor backslash in it"));
    }
    check(name, true)
}

/// What no name of a Windows file has, and would mean something else if it were handed to Windows.
fn check(name: &[u8], may_have_stream: bool) -> Result<(), FormatError> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(bad(name, "it is no UTF-8"));
    };
    let (file, stream) = match text.split_once(':') {
        Some((file, stream)) => (file, Some(stream)),
        None => (text, None),
    };
    if let Some(stream) = stream
        && (!may_have_stream || stream.is_empty() || stream.contains(':') || file.is_empty())
    {
        return Err(bad(name, "a `:` may only stand before the name of a stream"));
    }
    if text.chars().any(|c| (c as u32) < 0x20 || matches!(c, '<' | '>' | '"' | '|' | '?' | '*')) {
        return Err(bad(name, "Windows allows none of `<>\"|?*` nor control characters"));
    }
    if text.encode_utf16().count() > 255 + stream.map_or(0, |stream| stream.encode_utf16().count() + 1) {
        return Err(bad(name, "it is longer than 255 characters"));
    }
    Ok(())
}

fn bad(name: &[u8], why: &'static str) -> FormatError {
    FormatError::Name { name: shown(name), why }
}

/// The file and the stream that a last name means; none where it is no stream's.
pub fn stream_of(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = name.iter().position(|b| *b == b':').filter(|at| *at > 0)?;
    Some((&name[..colon], &name[colon + 1..]))
}

/// The name as Windows compares it: each character in upper case where that is one character, as NTFS's own
/// table has it. Two names are the same where this is.
pub fn fold(name: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(name) else {
        return name.to_ascii_uppercase();
    };
    if text.is_ascii() {
        return name.to_ascii_uppercase();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            // The table has only the Basic Multilingual Plane.
            (Some(one), None) if (c as u32) < 0x1_0000 && (one as u32) < 0x1_0000 => out.push(one),
            _ => out.push(c),
        }
    }
    out.into_bytes()
}

/// Whether two names are the same to Windows.
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    one == other || fold(one) == fold(other)
}
