//! A file that is there whole when it is finished, and before that as it was.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::writer::{into_place, temporary};
use crate::error::{Error, Result};

/// A file in the making. A link stays one: the file that it leads to is replaced. What is no ordinary file (a pipe, a
/// device such as `/dev/stdout`) is never replaced, but written to as it is.
#[derive(Debug)]
pub struct WholeFile {
    /// As it was named, for messages.
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Written beside it, to be renamed to the path.
    Beside(tempfile::NamedTempFile, PathBuf),
    /// Written through.
    Through(File),
}

impl WholeFile {
    /// Begins the file that `path` will be.
    ///
    /// # Errors
    /// When no file can be made beside it, or it is a directory.
    pub fn create(path: &Path) -> Result<Self> {
        // A link that leads nowhere is followed as well: to where its file would be.
        let target = match std::fs::canonicalize(path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => match std::fs::read_link(path) {
                Ok(link) => path.parent().unwrap_or(Path::new("")).join(link),
                Err(_) => path.to_owned(),
            },
            Err(e) => return Err(Error::io("write", path)(e)),
        };
        let form = match std::fs::metadata(&target) {
            Ok(metadata) if !metadata.is_file() => {
                Form::Through(File::options().write(true).open(&target).map_err(Error::io("write", path))?)
            }
            _ => {
                let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
                Form::Beside(temporary(parent.unwrap_or(Path::new(".")), path)?, target)
            }
        };
        Ok(Self { path: path.to_owned(), form })
    }

    /// Where the content is to be written.
    pub fn file(&self) -> &File {
        match &self.form {
            Form::Beside(file, _) => file.as_file(),
            Form::Through(file) => file,
        }
    }

    /// A directory of the disk that the file will be on, where it will be on one.
    pub(super) fn near(&self) -> Option<&Path> {
        match &self.form {
            Form::Beside(file, _) => file.path().parent(),
            Form::Through(_) => None,
        }
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn finish(self) -> Result<()> {
        match self.form {
            Form::Beside(file, target) => into_place(file, &target, &self.path),
            Form::Through(_) => Ok(()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    fn write(path: &Path) -> Result<()> {
        let whole = WholeFile::create(path)?;
        whole.file().write_all(b"content").map_err(Error::io("write", path))?;
        whole.finish()
    }

    #[test]
    fn links_stay_links_and_half_of_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("new", at("dangling")).unwrap();
        drop(WholeFile::create(&at("link")).unwrap());
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "old");
        write(&at("link")).unwrap();
        write(&at("dangling")).unwrap();
        for name in ["file", "new"] {
            assert_eq!(std::fs::read_to_string(at(name)).unwrap(), "content", "{name}");
        }
        assert!(at("link").is_symlink() && at("dangling").is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
        assert!(write(dir.path()).is_err(), "a directory");
    }

    #[test]
    fn what_is_no_ordinary_file_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || {
                let mut all = Vec::new();
                File::open(fifo).unwrap().read_to_end(&mut all).map(|_| all)
            }
        });
        write(&fifo).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"content");
        assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
    }
}
