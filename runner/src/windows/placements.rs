//! Mounts where nothing can be mounted: what a job is to see at a path is put there for its time.
//!
//! A secret becomes a file, a read-only bind a copy, a writable bind of a directory a junction, a tmpfs an empty
//! directory. All are made in the root before the first process and removed after the last one, before anybody
//! reads the root, with the times of the directories above as they were. Where something is already, nothing is
//! placed: it would be lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_TEMPORARY};

use super::junction;
use super::private::remove_tree;
use super::times::Times;
use super::view;
use crate::{Mount, MountKind, RunError, SpecError};

/// Everything that was placed. Dropping it removes it; [`Placements::remove`] says where that failed.
#[derive(Debug)]
pub(super) struct Placements {
    root: PathBuf,
    made: Vec<Made>,
    times: Vec<(PathBuf, Times)>,
    /// Directories outside the root that the job may write to.
    pub(super) writable: Vec<PathBuf>,
}

#[derive(Debug)]
enum Made {
    /// A directory above: goes if nothing else is in it.
    Above(PathBuf),
    /// What was placed itself: goes with all the job made of it.
    Placed(PathBuf),
}

impl Placements {
    /// Nothing yet, in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), made: Vec::new(), times: Vec::new(), writable: Vec::new() }
    }

    /// Places `mounts`, in their order.
    ///
    /// # Errors
    /// [`RunError::Unsupported`] for what cannot be had without a file system driver; [`RunError::Setup`].
    pub(super) fn place(&mut self, mounts: &[Mount]) -> Result<(), RunError> {
        mounts.iter().try_for_each(|mount| self.place_one(mount))
    }

    fn place_one(&mut self, mount: &Mount) -> Result<(), RunError> {
        let target = view::inside(&self.root, "the mount target", &mount.target)?;
        if target == self.root {
            return Err(SpecError::MountTarget(mount.target.clone()).into());
        }
        let step = format!("place `{}` in the job's root", mount.target.display());
        let failed = |source: io::Error| RunError::Setup { step: step.clone(), source, hint: None };
        self.above(&target).map_err(failed)?;
        let occupied = fs::symlink_metadata(&target).ok();
        let empty = occupied.as_ref().is_some_and(|meta| {
            meta.is_dir() && !is_link(meta) && fs::read_dir(&target).is_ok_and(|mut all| all.next().is_none())
        });
        let reusable = empty && matches!(mount.kind, MountKind::Tmpfs { .. });
        if occupied.is_some() && !reusable {
            let why = "nothing can be mounted over what is there on Windows".into();
            let hint = Some("choose a target that the image does not have".into());
            return Err(RunError::Unsupported {
                what: format!("a mount on `{}`", mount.target.display()),
                why,
                hint,
            });
        }
        match &mount.kind {
            MountKind::File { content, .. } => {
                self.made.push(Made::Placed(target.clone()));
                write_new(&target, content).map_err(failed)
            }
            MountKind::Tmpfs { size: Some(_), .. } => Err(RunError::LimitUnavailable {
                what: format!("the size of the temporary directory `{}`", mount.target.display()),
                why: "Windows has no file systems in memory".into(),
                hint: Some("leave out `size=`".into()),
            }),
            MountKind::Tmpfs { size: None, .. } => {
                if reusable {
                    self.made.push(Made::Above(target.clone()));
                } else {
                    self.made.push(Made::Placed(target.clone()));
                    fs::create_dir(&target).map_err(failed)?;
                }
                Ok(())
            }
            MountKind::Bind { source, within, readonly } => {
                self.bind(mount, &target, source, within.as_deref(), *readonly)
            }
        }
    }

    fn bind(
        &mut self,
        mount: &Mount,
        target: &Path,
        source: &Path,
        within: Option<&Path>,
        readonly: bool,
    ) -> Result<(), RunError> {
        let failed = |source_error: io::Error| RunError::Setup {
            step: format!("mount `{}` on `{}`", source.display(), mount.target.display()),
            source: source_error,
            hint: None,
        };
        let from = match within {
            Some(directory) => straight(directory, source).map_err(failed)?,
            None => source.to_owned(),
        };
        let meta = fs::metadata(&from).map_err(failed)?;
        self.made.push(Made::Placed(target.to_owned()));
        if readonly {
            // A copy: what the job does to it is lost, as it is to be.
            return copy(&from, target).map_err(failed);
        }
        let refused = |why: String| RunError::Unsupported {
            what: format!("a writable mount on `{}`", mount.target.display()),
            why,
            hint: Some("mount it read-only, or copy what is needed with COPY".into()),
        };
        if !meta.is_dir() {
            return Err(refused("Windows can only show a directory at a second place".into()));
        }
        let from = from.canonicalize().map_err(failed)?;
        junction::create(target, &from)
            .map_err(|error| refused(format!("the volume of the root does not take a junction: {error}")))?;
        self.writable.push(from);
        Ok(())
    }

    /// Makes what is missing above `target`, never through a link.
    fn above(&mut self, target: &Path) -> io::Result<()> {
        let below = target.strip_prefix(&self.root).map_err(io::Error::other)?.to_owned();
        let mut path = self.root.clone();
        for part in below.parent().into_iter().flat_map(Path::components) {
            self.remember(&path)?;
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(meta) if is_link(&meta) => {
                    return Err(io::Error::other(format!(
                        "`{}` is a link or junction of the image's",
                        path.display()
                    )));
                }
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&path)?;
                    self.made.push(Made::Above(path.clone()));
                }
                Err(error) => return Err(error),
            }
        }
        self.remember(&path)
    }

    /// Makes a directory in the root that goes again if nothing comes into it.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), RunError> {
        let step = format!("make `{}` for the job", path.display());
        self.above(&path.join("x")).map_err(|source| RunError::Setup { step, source, hint: None })
    }

    /// Keeps a directory's times, once.
    fn remember(&mut self, directory: &Path) -> io::Result<()> {
        if !self.times.iter().any(|(known, _)| known == directory) {
            self.times.push((directory.to_owned(), Times::of(directory)?));
        }
        Ok(())
    }

    /// Removes everything again. To be called when the job has no process left.
    ///
    /// # Errors
    /// [`RunError::CleanUp`] with the first that is still there: the root must not be used.
    pub(super) fn remove(mut self) -> Result<(), RunError> {
        self.undo()
    }

    fn undo(&mut self) -> Result<(), RunError> {
        let mut first = None;
        let mut own = Vec::new();
        for made in std::mem::take(&mut self.made).into_iter().rev() {
            let (path, gone) = match made {
                Made::Placed(path) => {
                    let gone = remove(&path);
                    (path, gone)
                }
                Made::Above(path) => {
                    let gone = match fs::remove_dir(&path) {
                        // What the job put there is the job's, and so is the directory.
                        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                            own.push(path.clone());
                            Ok(())
                        }
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                        other => other,
                    };
                    (path, gone)
                }
            };
            if let Err(source) = gone {
                first = first.or(Some(RunError::CleanUp { path, source }));
            }
        }
        // A directory that the job itself changed keeps the job's times.
        for (path, times) in self.times.drain(..).rev() {
            if !own.contains(&path) {
                times.restore(&path);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

impl Drop for Placements {
    fn drop(&mut self) {
        // An error is on its way already.
        let _ = self.undo();
    }
}

fn is_link(meta: &fs::Metadata) -> bool {
    meta.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        // A junction goes, and what it leads to stays.
        Ok(meta) if is_link(&meta) => fs::remove_dir(path).or_else(|_| fs::remove_file(path)),
        Ok(meta) if meta.is_dir() => remove_tree(path),
        Ok(meta) => {
            let mut permissions = meta.permissions();
            if permissions.readonly() {
                #[expect(
                    clippy::permissions_set_readonly_false,
                    reason = "on Windows it is one attribute and no right"
                )]
                permissions.set_readonly(false);
                fs::set_permissions(path, permissions)?;
            }
            fs::remove_file(path)
        }
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // Kept in memory where there is room: the closest that Windows has to a file that touches no disk.
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).attributes(FILE_ATTRIBUTE_TEMPORARY).open(path)?;
    file.write_all(content)
}

/// `source` below `directory`, of which no part is a link.
fn straight(directory: &Path, source: &Path) -> io::Result<PathBuf> {
    let path =
        view::inside(directory, "the source", &Path::new(r"\").join(source)).map_err(io::Error::other)?;
    let mut part = path.as_path();
    while part != directory {
        if is_link(&fs::symlink_metadata(part)?) {
            return Err(io::Error::other(format!("`{}` is a link or junction", part.display())));
        }
        let Some(parent) = part.parent() else { break };
        part = parent;
    }
    Ok(path)
}

/// Copies a file or a tree. A link in it is left out: it would lead the job elsewhere.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    if !meta.is_dir() {
        let mut target = OpenOptions::new().write(true).create_new(true).open(to)?;
        io::copy(&mut File::open(from)?, &mut target)?;
        return target.set_times(fs::FileTimes::new().set_modified(meta.modified()?));
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !is_link(&entry.metadata()?) {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
