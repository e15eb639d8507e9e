//! `--volume`.

use std::path::{Path, PathBuf};

use orlop_runner::Mount;

use crate::diagnostics::Failure;

/// Reads `HOST:CONTAINER[:ro|rw]`. The host's side must be there: nothing is made for a typing error.
pub(super) fn parse(text: &str) -> Result<Mount, Failure> {
    let bad = |why: &str| {
        Failure::usage(format!("`-v {text}`: {why}"))
            .with_hint("write `-v /HOST/PATH:/CONTAINER/PATH[:ro]`".to_owned())
    };
    let parts = split(text, cfg!(windows));
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(bad("it is not `HOST:CONTAINER`")),
    };
    let readonly = match options {
        "" | "rw" => false,
        "ro" => true,
        _ => return Err(bad(&format!("there is no option `{options}` (one of `ro`, `rw`)"))),
    };
    if !source.contains(std::path::is_separator) && source != "." && source != ".." {
        return Err(bad("volumes with a name are not kept; name a path"));
    }
    let target_is_absolute = target.starts_with('/') || cfg!(windows) && drive(target).is_some();
    if !target_is_absolute {
        return Err(bad("the path in the container must be absolute"));
    }
    let source =
        std::fs::canonicalize(source).map_err(|error| Failure::io("use", Path::new(source), &error))?;
    Ok(Mount::bind(source, PathBuf::from(target), readonly))
}

/// The parts between the colons. With `drives`, the colon of a path's drive letter is the path's own.
fn split(text: &str, drives: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let skip = if drives { drive(rest).unwrap_or(0) } else { 0 };
        let Some(at) = rest[skip..].find(':') else {
            parts.push(rest);
            return parts;
        };
        parts.push(&rest[..skip + at]);
        rest = &rest[skip + at + 1..];
    }
}

/// How long the drive is that an absolute path begins with, in bytes: `C:` before a separator, also behind `\\?\`.
fn drive(path: &str) -> Option<usize> {
    let bare = path.strip_prefix(r"\\?\").unwrap_or(path);
    match bare.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => Some(path.len() - bare.len() + 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_runner::MountKind;

    #[test]
    fn a_volume_is_two_paths_and_perhaps_an_option() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().canonicalize().unwrap();
        let mount = parse(&format!("{}:/x:ro", host.display())).unwrap();
        assert_eq!(mount.target, Path::new("/x"));
        assert!(matches!(mount.kind, MountKind::Bind { source, readonly: true, .. } if source == host));
        for bad in ["/tmp", "name:/x", "/tmp:x", "/tmp:/x:zz", "/no/such/path:/x", "/a:/b:ro:c", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_colon_of_a_drive_does_not_end_a_path() {
        for (text, parts) in [
            (r"C:\src:C:\app:ro", vec![r"C:\src", r"C:\app", "ro"]),
            (r"\\?\D:\src:/app", vec![r"\\?\D:\src", "/app"]),
            ("c:/src:/app", vec!["c:/src", "/app"]),
            ("src:/app", vec!["src", "/app"]),
            ("é:/app", vec!["é", "/app"]),
        ] {
            assert_eq!(split(text, true), parts);
        }
        assert_eq!(split("a:/b:ro", false), ["a", "/b", "ro"]);
    }
}
