//! Small files that the user names, read and written with errors that name them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::diagnostics::Failure;

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
    read_limited(file, limit).map_err(|error| Failure::io("read", path, &error))
}

/// Reads a file that need not be there.
pub(crate) fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    match File::open(path) {
        Ok(file) => read_limited(file, limit).map(Some).map_err(|error| Failure::io("read", path, &error)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Failure::io("open", path, &error)),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Reads all of `reader`, an error when it has more than `limit` bytes.
pub(crate) fn read_limited(reader: impl Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let why = format!("it has more than the {limit} bytes allowed");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Writes a file as a whole: whoever reads it meanwhile sees the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // What is no ordinary file (a pipe, `/dev/stderr`) is written to as it is.
    if path.symlink_metadata().is_ok_and(|m| !m.is_file()) {
        let mut file = File::options()
            .write(true)
            .truncate(true)
            .open(path)
            .map_err(|error| Failure::io("open", path, &error))?;
        return file.write_all(bytes).map_err(|error| Failure::io("write", path, &error));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| std::fs::rename(&temporary, path)).map_err(|error| {
        // What is left of it helps nobody; that it could not be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        Failure::io("write", path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_read_with_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = read(&path, 2).unwrap_err();
        assert!(error.to_string().contains("id"), "{error}");
        assert!(read_optional(&dir.path().join("none"), 1).unwrap().is_none());
        assert!(replace(&dir.path().join("no/dir"), b"").is_err());
    }
}
