//! Names of one component.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;

/// The longest name, in UTF-16 units.
pub const MAX_NAME: usize = 255;

/// Whether `name` is one component and nothing else: not empty, no `.` or `..`, no separator, no `:` (which
/// would name a stream), no NUL, at most [`MAX_NAME`] UTF-16 units.
///
/// # Errors
/// `InvalidInput`, with what is wrong.
pub fn check(name: &OsStr) -> io::Result<()> {
    units(name).map(drop)
}

/// The UTF-16 units of a name that is right.
pub(super) fn units(name: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = name.encode_wide().collect();
    let wrong = |why: &str| {
        let text = format!("the name `{}` {why}", name.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    };
    if units.is_empty() {
        return wrong("is empty");
    }
    if units.len() > MAX_NAME {
        return wrong("has more than 255 characters");
    }
    if matches!(units[..], [0x2E] | [0x2E, 0x2E]) {
        return wrong("is no name of a file");
    }
    let mut seen = units.iter().copied();
    if let Some(unit) = seen.find(|unit| matches!(*unit, 0 | 0x2F | 0x3A | 0x5C)) {
        return wrong(match unit {
            0 => "has a NUL in it",
            0x3A => "has a colon in it, which would name a stream",
            _ => "has a separator in it",
        });
    }
    Ok(units)
}

/// The units of `name:stream`.
pub(super) fn stream(name: &OsStr, stream: &OsStr) -> io::Result<Vec<u16>> {
    let mut all = units(name)?;
    all.push(b':'.into());
    all.extend(units(stream)?);
    Ok(all)
}
