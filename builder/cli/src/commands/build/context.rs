//! What a build reads: its context, its Dockerfile and the ignore file that applies.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_builder::request::ContextSource;
use orlop_builder::source::SourceFile;

use crate::diagnostics::Failure;
use crate::file;

/// The most that is read of a Dockerfile or an ignore file.
pub(super) const MAX_TEXT: u64 = SourceFile::MAX_BYTES as u64;

/// What was found.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dockerfile: Arc<SourceFile>,
    pub(super) ignore: Option<(String, String)>,
    pub(super) context: ContextSource,
}

/// Finds everything. `file` and `ignorefile` are relative to the current directory, `context` as well.
pub(super) fn read(
    context: &Path,
    file: Option<&Path>,
    ignorefile: Option<&Path>,
) -> Result<Inputs, Failure> {
    let text = context.to_string_lossy();
    if text == "-" {
        return from_stdin(file);
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(Failure::usage(format!("the context `{text}` is a URL, which is not supported yet"))
            .with_hint("fetch it first, and build the directory".to_owned()));
    }
    let metadata =
        std::fs::metadata(context).map_err(|error| Failure::io("use the context", context, &error))?;
    if !metadata.is_dir() {
        return Err(Failure::usage(format!("the context `{text}` is not a directory")).with_hint(format!(
            "build with its directory and name the Dockerfile: `orlop build -f {text} {}`",
            context.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).display()
        )));
    }
    let (dockerfile, place) = match file {
        Some(path) if path == Path::new("-") => (parse("-", stdin()?)?, None),
        Some(path) => {
            let bytes = file::read(path, MAX_TEXT).map_err(|error| {
                let inside = context.join(path);
                let meant = (!path.exists() && inside.is_file()).then(|| inside.display().to_string());
                error.with_hint(meant.map(|path| format!("it is in the context: `-f {path}`")))
            })?;
            (parse(&path.to_string_lossy(), bytes)?, Some(path.to_owned()))
        }
        None => {
            let (path, bytes) = first_of(context, &["Dockerfile", "Containerfile"])?.ok_or_else(|| {
                Failure::user(format!("there is no `Dockerfile` in the context `{text}`"))
                    .with_hint("name the file with `-f FILE`".to_owned())
            })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (parse(&name, bytes)?, Some(path))
        }
    };
    let ignore = match ignorefile {
        Some(path) => Some((path.to_owned(), file::read(path, MAX_TEXT)?)),
        None => {
            let own = place.map(|path| {
                let mut name = path.into_os_string();
                name.push(".dockerignore");
                PathBuf::from(name)
            });
            match own.as_deref().map(|path| file::read_optional(path, MAX_TEXT)).transpose()?.flatten() {
                Some(bytes) => own.map(|path| (path, bytes)),
                None => first_of(context, &[".containerignore", ".dockerignore"])?,
            }
        }
    };
    let ignore = match ignore {
        Some((path, bytes)) => {
            let name = path.display().to_string();
            let text = parse(&name, bytes)?.text().to_owned();
            Some((text, name))
        }
        None => None,
    };
    Ok(Inputs { dockerfile, ignore, context: ContextSource::Directory(context.to_owned()) })
}

/// What stands for the inputs until a repository is fetched that they are in.
pub(super) fn pending() -> Inputs {
    Inputs {
        dockerfile: SourceFile::new("Dockerfile", "").into(),
        ignore: None,
        context: ContextSource::Empty,
    }
}

/// `-` as the context: a Dockerfile without a context. A tar is told apart and refused.
fn from_stdin(file: Option<&Path>) -> Result<Inputs, Failure> {
    let bytes = stdin()?;
    if is_archive(&bytes) {
        return Err(Failure::usage(
            "standard input holds an archive, which is not supported as a context yet",
        )
        .with_hint("unpack it first, and build the directory".to_owned()));
    }
    if let Some(file) = file {
        return Err(Failure::usage(format!(
            "`-f {}` and a Dockerfile on standard input exclude each other",
            file.display()
        )));
    }
    Ok(Inputs { dockerfile: parse("-", bytes)?, ignore: None, context: ContextSource::Empty })
}

pub(super) fn stdin() -> Result<Vec<u8>, Failure> {
    let mut start = Vec::new();
    let mut input = std::io::stdin().lock();
    let failed = |error: &std::io::Error| Failure::io("read", Path::new("-"), error);
    // An archive may be large: its beginning tells.
    input.by_ref().take(512).read_to_end(&mut start).map_err(|error| failed(&error))?;
    if is_archive(&start) {
        return Ok(start);
    }
    let rest = file::read_limited(input, MAX_TEXT.saturating_sub(512)).map_err(|error| failed(&error))?;
    start.extend_from_slice(&rest);
    Ok(start)
}

/// Whether the bytes begin as a tar does, or as something compressed.
fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
        || [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]
            .iter()
            .any(|magic| bytes.starts_with(magic))
}

fn first_of(dir: &Path, names: &[&str]) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
    for name in names {
        let path = dir.join(name);
        if let Some(bytes) = file::read_optional(&path, MAX_TEXT)? {
            return Ok(Some((path, bytes)));
        }
    }
    Ok(None)
}

pub(super) fn parse(name: &str, bytes: Vec<u8>) -> Result<Arc<SourceFile>, Failure> {
    let name = if name == "-" { "Dockerfile on standard input" } else { name };
    SourceFile::from_bytes(name, bytes)
        .map(Arc::new)
        .map_err(|error| Failure::user(error.to_string()).with_hint(error.hint()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_nearest_dockerfile_and_ignore_file_win() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path();
        assert!(read(context, None, None).unwrap_err().to_string().contains("no `Dockerfile`"));
        fs::write(context.join("Containerfile"), "FROM a").unwrap();
        let found = read(context, None, None).unwrap();
        assert_eq!((found.dockerfile.name(), found.ignore), ("Containerfile", None));
        fs::write(context.join("Dockerfile"), "FROM b").unwrap();
        fs::write(context.join(".dockerignore"), "third").unwrap();
        let found = read(context, None, None).unwrap();
        assert_eq!(found.dockerfile.text(), "FROM b");
        assert_eq!(found.ignore.unwrap().0, "third");
        fs::write(context.join(".containerignore"), "second").unwrap();
        assert_eq!(read(context, None, None).unwrap().ignore.unwrap().0, "second");
        fs::write(context.join("Dockerfile.dockerignore"), "first").unwrap();
        assert_eq!(read(context, None, None).unwrap().ignore.unwrap().0, "first");
        let other = context.join("other");
        fs::write(&other, "FROM c").unwrap();
        let found = read(context, Some(&other), None).unwrap();
        assert_eq!((found.dockerfile.text(), found.ignore.unwrap().0.as_str()), ("FROM c", "second"));
        let found = read(context, None, Some(&other)).unwrap();
        assert_eq!(found.ignore.unwrap().0, "FROM c");
    }

    #[test]
    fn a_dockerfile_that_is_in_the_context_is_shown_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("only.Dockerfile"), "FROM a").unwrap();
        let said = |name: &str| format!("{:?}", read(dir.path(), Some(Path::new(name)), None).unwrap_err());
        assert!(said("only.Dockerfile").contains("it is in the context: `-f "));
        assert!(!said("nosuch.Dockerfile").contains("in the context"));
    }

    #[test]
    fn contexts_that_are_no_directory_are_refused_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Dockerfile");
        fs::write(&file, "FROM a").unwrap();
        for (context, text) in [
            (file.to_str().unwrap(), "not a directory"),
            ("https://example.com/x.tar.gz", "a URL"),
            ("/no/such/dir", "/no/such/dir"),
        ] {
            let error = read(Path::new(context), None, None).unwrap_err();
            assert!(error.to_string().contains(text), "{context}: {error}");
        }
    }

    #[test]
    fn archives_are_known_by_their_beginning() {
        let mut tar = vec![0_u8; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar) && is_archive(b"\x1f\x8b\x08"));
        assert!(!is_archive(b"FROM debian\n"));
    }
}
