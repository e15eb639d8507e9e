//! Names and paths of Windows, as text.
//!
//! What Windows takes for a name is Microsoft's "Naming Files, Paths, and Namespaces". More is possible with
//! `\\?\` in front, but not for the programs that will run in the image, so that such names are refused.

use super::path::{ImagePath, PathError, PathFault};

/// As many UTF-16 units as a name may have.
const MAX_NAME: usize = 255;

/// `text` from `workdir`.
pub(super) fn path(workdir: &str, text: &str) -> Result<ImagePath, PathError> {
    let (absolute, own) = without_drive(text)?;
    let (_, base) = without_drive(workdir)?;
    let base = if absolute { "" } else { base };
    let directory = matches!(own.rsplit(is_separator).next(), None | Some("" | "." | ".."));
    let path = ImagePath::joined(base.split(is_separator).chain(own.split(is_separator)), directory);
    match path.parts().iter().find_map(|name| name_fault(name)) {
        Some(fault) => Err(PathError::new(text, fault)),
        None => Ok(path),
    }
}

/// A source of COPY: drive and backslashes go, wildcards stay.
pub(super) fn source(text: &str) -> Result<String, PathError> {
    let (absolute, rest) = without_drive(text)?;
    let rest = rest.replace('\\', "/");
    Ok(if absolute && !rest.starts_with('/') { format!("/{rest}") } else { rest })
}

/// Both separate, and may be mixed.
pub fn is_separator(ch: char) -> bool {
    matches!(ch, '\\' | '/')
}

/// Whether a path is absolute, and what of it follows the drive.
fn without_drive(text: &str) -> Result<(bool, &str), PathError> {
    let error = |fault| Err(PathError::new(text, fault));
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(a), Some(b)) if is_separator(a) && is_separator(b) => error(PathFault::Network),
        (Some(drive), Some(':')) if drive.is_ascii_alphabetic() => {
            let rest = chars.as_str();
            if !drive.eq_ignore_ascii_case(&'c') {
                return error(PathFault::OtherDrive(drive.to_ascii_uppercase()));
            }
            if !rest.starts_with(is_separator) {
                return error(PathFault::DriveRelative { rest: rest.to_owned() });
            }
            Ok((true, rest))
        }
        (Some(first), _) => Ok((is_separator(first), text)),
        (None, _) => Ok((false, text)),
    }
}

/// What keeps Windows from having a file of that name.
pub fn name_fault(name: &str) -> Option<PathFault> {
    if name.contains(':') {
        return Some(PathFault::Stream);
    }
    if let Some(bad) =
        name.chars().find(|&ch| ch < ' ' || matches!(ch, '<' | '>' | '"' | '|' | '?' | '*' | '/' | '\\'))
    {
        return Some(PathFault::Character(bad));
    }
    if name.ends_with(['.', ' ']) {
        return Some(PathFault::End(name.to_owned()));
    }
    let length = name.encode_utf16().count();
    if length > MAX_NAME {
        return Some(PathFault::TooLong(length));
    }
    is_device(name).then(|| PathFault::Device(name.to_owned()))
}

/// Whether a name is a device's in every directory. An extension and blanks before it do not help.
fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_ascii_uppercase();
    if matches!(base.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let numbered = base.strip_prefix("COM").or_else(|| base.strip_prefix("LPT"));
    matches!(
        numbered,
        Some("1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "0" | "\u{b9}" | "\u{b2}" | "\u{b3}")
    )
}

/// Whether two names mean the same file or variable. Windows folds by a table of single UTF-16 units; of the
/// characters beyond that only what has one upper case of its own is folded here.
pub fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!(a.is_ascii() && b.is_ascii()) && upper(a) == upper(b))
}

/// A name in upper case, character by character: `ß` stays, as Windows has no single character for it.
pub fn upper(name: &str) -> String {
    name.chars()
        .map(|ch| {
            let mut upper = ch.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) if one.len_utf16() == ch.len_utf16() => one,
                _ => ch,
            }
        })
        .collect()
}

/// What a VOLUME may be: a directory of `C:`, or a whole drive that is not `C:`.
///
/// # Errors
/// When it is relative, the root, or no path that Windows can have.
pub fn volume(text: &str) -> Result<String, PathError> {
    let drive = text.trim_end_matches(is_separator);
    if let [letter, b':'] = drive.as_bytes()
        && letter.is_ascii_alphabetic()
        && !letter.eq_ignore_ascii_case(&b'c')
    {
        return Ok(format!("{}:", letter.to_ascii_uppercase() as char));
    }
    let (absolute, _) = without_drive(text)?;
    if !absolute {
        return Err(PathError::new(text, PathFault::Relative));
    }
    let path = path("", text)?;
    if path.parts().is_empty() {
        return Err(PathError::new(text, PathFault::Root));
    }
    Ok(super::Dialect::Windows.show(&path))
}

/// Whether a path is one of the system's own directories, which are the host's in every RUN: `C:\Windows` and
/// what is in it.
pub fn is_system(path: &ImagePath) -> bool {
    path.parts().first().is_some_and(|first| same_name(first, "Windows"))
}
