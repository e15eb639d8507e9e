//! How a job sees its root, and where a path of the image is on the host.
//!
//! There is no `chroot`: `C:` stays the host's. A job starts in its root by working directory, `%ORLOP_ROOT%` names
//! it, and what the caller says of `C:\…` is put in terms of it here. The text of a command is never touched.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf, Prefix};

use crate::SpecError;

/// The root as the job's programs can name it: without `\\?\`, which `cmd` does not take as a working directory.
pub(super) fn plain(root: &Path) -> PathBuf {
    let mut components = root.components();
    let Some(Component::Prefix(prefix)) = components.next() else { return root.to_owned() };
    let drive = match prefix.kind() {
        Prefix::VerbatimDisk(letter) => format!("{}:\\", char::from(letter)),
        Prefix::VerbatimUNC(server, share) => {
            let mut path = OsString::from(r"\\");
            path.push(server);
            path.push(r"\");
            path.push(share);
            path.push(r"\");
            return rest(PathBuf::from(path), components);
        }
        _ => return root.to_owned(),
    };
    rest(PathBuf::from(drive), components)
}

fn rest(mut path: PathBuf, components: std::path::Components<'_>) -> PathBuf {
    components.filter(|component| !matches!(component, Component::RootDir)).for_each(|part| path.push(part));
    path
}

/// A path of the image below the root: `C:\app`, `\app` and `/app` are the same. `..` does not lead out.
///
/// # Errors
/// [`SpecError::RelativePath`] for one that is relative, on another drive or the network, or that holds a name that
/// is none (a stream's, a device's).
pub(super) fn inside(root: &Path, what: &'static str, path: &Path) -> Result<PathBuf, SpecError> {
    let error = || SpecError::RelativePath { what, path: path.to_owned() };
    // Already the host's: below the root itself.
    let path = match path.strip_prefix(root) {
        Ok(below) => Path::new(r"\").join(below),
        Err(_) => path.to_owned(),
    };
    let mut parts: Vec<&OsStr> = Vec::new();
    let mut rooted = false;
    for component in path.components() {
        match component {
            Component::Prefix(prefix) => match prefix.kind() {
                Prefix::Disk(letter) if letter.eq_ignore_ascii_case(&b'c') => {}
                _ => return Err(error()),
            },
            Component::RootDir => rooted = true,
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name),
        }
    }
    if !rooted || !parts.iter().all(|name| ordinary(name)) {
        return Err(error());
    }
    Ok(parts.iter().fold(root.to_owned(), |path, part| path.join(part)))
}

/// Whether a name can be a file's without the long form: no stream, no device, nothing that would be stripped.
fn ordinary(name: &OsStr) -> bool {
    let Some(text) = name.to_str() else { return true };
    let stem = text.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|number| {
            let mut chars = number.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    let device = matches!(stem.as_str(), "CON" | "NUL" | "PRN" | "AUX" | "CONIN$" | "CONOUT$");
    let odd = |c: char| c < ' ' || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*');
    !text.is_empty()
        && !text.contains(odd)
        && !text.ends_with(['.', ' '])
        && !device
        && !numbered("COM")
        && !numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_named_without_the_long_form() {
        let shown = |text: &str| plain(Path::new(text)).into_os_string().into_string().expect("plain text");
        assert_eq!(shown(r"\\?\D:\a b\root"), r"D:\a b\root");
        assert_eq!(shown(r"D:\a\root"), r"D:\a\root");
        assert_eq!(shown(r"\\?\UNC\server\share\root"), r"\\server\share\root");
        assert_eq!(shown(r"\\?\Volume{1}\root"), r"\\?\Volume{1}\root");
    }

    #[test]
    fn paths_of_the_image_stay_in_the_root() {
        let root = Path::new(r"D:\work\root");
        let at = |text: &str| inside(root, "the path", Path::new(text));
        for (text, expected) in [
            (r"C:\", r"D:\work\root"),
            ("/", r"D:\work\root"),
            (r"c:\app\x", r"D:\work\root\app\x"),
            ("/app/x", r"D:\work\root\app\x"),
            (r"\app\.\x\", r"D:\work\root\app\x"),
            (r"C:\a\..\..\..\b", r"D:\work\root\b"),
            (r"D:\work\root\app", r"D:\work\root\app"),
            (r"C:\common", r"D:\work\root\common"),
            (r"C:\com", r"D:\work\root\com"),
        ] {
            assert_eq!(at(text), Ok(expected.into()), "{text}");
        }
        for bad in [
            "",
            "app",
            r"C:app",
            r"D:\x",
            r"\\server\share\x",
            r"\\?\C:\x",
            r"C:\a:b",
            r"C:\nul",
            r"C:\NUL.txt\x",
            r"C:\com1",
            r"C:\a.\b",
            r"C:\a \b",
            r"\\.\pipe\x",
            r"C:\a*",
            "/a/lpt9.log",
            r"D:\work\rootless",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
