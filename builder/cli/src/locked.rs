//! A private file that several processes may change at once: each sees what the others wrote.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::diagnostics::Failure;
use crate::file;
use crate::system::private;

/// Links that are followed from a file's name to the file.
const LINKS: usize = 40;

/// Changes a file of at most `limit` bytes, which need not be there, while nobody else does. `edit` gives the new
/// content, or nothing where there is nothing to change. Whoever reads meanwhile sees the old file or the new one; a
/// link stays a link.
pub(crate) fn change(
    path: &Path,
    limit: u64,
    edit: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, Failure>,
) -> Result<bool, Failure> {
    let path = &followed(path)?;
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        return Err(Failure::user(format!("`{}` is not a file", path.display())));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private::create_dir(dir).map_err(|error| Failure::io("make", dir, &error))?;
    // A file of its own, because the one that is changed is replaced: a lock on it would be one on the past.
    let lock_path = beside(path, ".lock");
    let lock = private::open(&lock_path, false).map_err(|error| Failure::io("open", &lock_path, &error))?;
    match lock.lock() {
        Ok(()) => {}
        // Some network file systems have no locks; then it is as with programs that take none.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(Failure::io("lock", &lock_path, &error)),
    }
    let before = file::read_optional(path, limit)?.unwrap_or_default();
    let Some(after) = edit(&before)? else { return Ok(false) };
    let temporary = beside(path, &format!(".{}.tmp", std::process::id()));
    // Left by a process of the same number that was killed; we hold the lock.
    let _ = std::fs::remove_file(&temporary);
    let written = private::open(&temporary, true).and_then(|mut file| {
        private::keep_owner(&file, path);
        file.write_all(&after)?;
        file.sync_all()
    });
    written.and_then(|()| private::rename(&temporary, path)).map_err(|error| {
        // What is left of it helps nobody; that it could not be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        Failure::io("write", path, &error)
    })?;
    Ok(true)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(ending);
    path.with_file_name(name)
}

/// Where a name leads to in the end, whether there is something or not.
fn followed(path: &Path) -> Result<PathBuf, Failure> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Failure::user(format!("`{}` is a link that leads nowhere", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_made_at_once_all_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        let add = |n: usize| {
            let append = |before: &[u8]| Ok(Some([before, format!("{n}\n").as_bytes()].concat()));
            // Threads of one process, and so of one number, like processes of several machines.
            change(&path, 1 << 20, append).unwrap();
        };
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || (0..5).for_each(|_| add(n)));
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 40);
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 2, "the file and its lock");
        assert!(!change(&path, 1 << 20, |_| Ok(None)).unwrap());
        assert!(change(&path, 3, |_| Ok(None)).is_err());
        assert!(change(dir.path(), 3, |_| Ok(None)).unwrap_err().to_string().contains("not a file"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_nobody_else_reads_the_file() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        symlink("real/file", at("second")).unwrap();
        symlink(at("second"), at("first")).unwrap();
        for content in ["one", "two"] {
            assert!(change(&at("first"), 9, |_| Ok(Some(content.into()))).unwrap());
            assert!(at("first").is_symlink() && at("second").is_symlink());
            assert_eq!(std::fs::read_to_string(at("real/file")).unwrap(), content);
            let mode = at("real/file").metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(at("real/file"), std::fs::Permissions::from_mode(0o666)).unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        assert!(change(&at("loop"), 9, |_| Ok(None)).is_err());
    }
}
