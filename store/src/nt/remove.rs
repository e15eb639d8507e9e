//! Removing what somebody else filled.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::path::PathBuf;

use super::dir::{access, set_basic};
use super::stat::class;
use super::{Dir, Kind, Stat, Times, attribute, call, is_unsupported};

/// Handles held at once; what lies deeper is first moved up.
const DEPTH: usize = 96;

impl Dir {
    /// Removes `name`: a file, a reparse point as itself, a directory with everything in it. Nothing there is
    /// fine. Neither the depth nor names, attributes or access lists make it fail, where this process has the
    /// privilege to restore or owns the tree.
    ///
    /// # Errors
    /// With the path below this directory that could not be removed; [`is_held`](super::is_held) tells whether
    /// somebody has it open.
    pub fn remove(&self, name: &OsStr) -> Result<(), (PathBuf, io::Error)> {
        let path = PathBuf::from(name);
        match self.stat(name).map_err(|e| (path.clone(), e))? {
            None => Ok(()),
            Some(stat) if stat.is_dir() => {
                let mut moved = 0u64;
                loop {
                    let before = moved;
                    let top = self.dir(name).map_err(|e| (path.clone(), e))?;
                    empty(top, &path, &mut moved)?;
                    // What was moved up lies in it now.
                    if moved == before {
                        break;
                    }
                }
                self.remove_one(name).map_err(|e| (path, e))
            }
            Some(_) => self.remove_one(name).map_err(|e| (path, e)),
        }
    }

    /// Removes `name`, which is no directory with something in it. Nothing there is fine.
    ///
    /// # Errors
    /// When the system says no; [`is_held`](super::is_held) tells whether somebody has it open.
    pub fn remove_one(&self, name: &OsStr) -> io::Result<()> {
        let units: Vec<u16> = name.encode_wide().collect();
        // A name from a listing may be that of a stream in Wine; all others were checked where they came from.
        let open = |rights| self.raw(&units, rights, 1, 0, super::dir::SHARE_ALL);
        let rights = access::DELETE | access::READ_ATTRIBUTES | access::WRITE_ATTRIBUTES;
        let file = match open(rights) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => open(access::DELETE)?,
            other => other?,
        };
        delete(file.as_handle())
    }
}

/// Deletes what is open, as soon and as surely as this system can.
fn delete(file: BorrowedHandle<'_>) -> io::Result<()> {
    // FILE_DISPOSITION_DELETE, POSIX_SEMANTICS, IGNORE_READONLY_ATTRIBUTE.
    match call::set(file, class::DISPOSITION_EX, &0x13u32.to_le_bytes()) {
        Err(e) if is_unsupported(&e) => {}
        other => return other,
    }
    if let Ok(stat) = Stat::of(file)
        && stat.attributes & attribute::READ_ONLY != 0
    {
        let rest = stat.attributes & !(attribute::READ_ONLY | attribute::DIRECTORY | attribute::REPARSE);
        let rest = if rest == 0 { attribute::NORMAL } else { rest };
        set_basic(file, Times::default(), rest)?;
    }
    call::set(file, class::DISPOSITION, &[1])
}

/// Empties a directory. A loop and not a recursion; beyond [`DEPTH`] directories are moved into the top one.
fn empty(top: Dir, path: &std::path::Path, moved: &mut u64) -> Result<(), (PathBuf, io::Error)> {
    struct Level {
        dir: Dir,
        name: OsString,
        path: PathBuf,
        todo: Vec<OsString>,
    }
    let level = |dir: Dir, name: OsString, path: PathBuf| {
        let todo = files_away(&dir, &path)?;
        Ok::<_, (PathBuf, io::Error)>(Level { dir, name, path, todo })
    };
    let mut stack = vec![level(top, OsString::new(), path.to_owned())?];
    loop {
        let depth = stack.len();
        let Some(last) = stack.last_mut() else { break };
        let Some(name) = last.todo.pop() else {
            let Some(done) = stack.pop() else { break };
            let Level { dir, name, path, .. } = done;
            drop(dir);
            if let Some(parent) = stack.last() {
                parent.dir.remove_one(&name).map_err(|e| (path, e))?;
            }
            continue;
        };
        let below = last.path.join(&name);
        if depth >= DEPTH {
            let (first, deep) = (&stack[0].dir, &stack[depth - 1].dir);
            *moved += 1;
            let pass = *moved;
            let tries = (0..64).map(|i| format!(".orlop-deep-{}", pass + (i << 32)));
            let mut done = Err(io::ErrorKind::AlreadyExists.into());
            for to in tries {
                done = deep.rename(&name, first, OsStr::new(&to), false);
                if !matches!(&done, Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
                    break;
                }
            }
            done.map_err(|e| (below, e))?;
            continue;
        }
        let dir = last.dir.dir(&name).map_err(|e| (below.clone(), e))?;
        stack.push(level(dir, name, below)?);
    }
    Ok(())
}

/// Removes what is no directory; the names of the directories.
fn files_away(dir: &Dir, path: &std::path::Path) -> Result<Vec<OsString>, (PathBuf, io::Error)> {
    let mut dirs = Vec::new();
    for entry in dir.list_raw().map_err(|e| (path.to_owned(), e))? {
        if entry.stat.kind == Kind::Directory {
            dirs.push(entry.name);
        } else {
            dir.remove_one(&entry.name).map_err(|e| (path.join(&entry.name), e))?;
        }
    }
    Ok(dirs)
}
