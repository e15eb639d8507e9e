//! `-o type=local`: the files of an image in a directory of this machine.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use orlop_runner::CancelToken;
use orlop_store::layer::tar::Kind;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::super::tree::{Node, failed, walk, xattrs};
use crate::error::BuildError;
use crate::event::Task;

/// Copies everything below `root` into `dest`, which is made where it is missing. What is in the way
/// is replaced, what else is there stays. With `owners` files get those of the image; times are kept.
pub(in crate::output) fn write(
    cancel: &CancelToken,
    root: &Path,
    dest: &Path,
    owners: bool,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    std::fs::create_dir_all(dest).map_err(|e| failed("make", dest, e))?;
    let mut copy = Copy { dest, owners, directories: Vec::new(), left: Left::default() };
    walk(cancel, root, |node| copy.node(node))?;
    // From the inside out, because writing into a directory changes its time.
    for (path, metadata) in copy.directories.iter().rev() {
        std::fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777))
            .map_err(|e| failed("set the mode of", path, e))?;
        set_times(path, metadata)?;
    }
    if copy.left.devices > 0 {
        task.note(format!("{} device nodes were left out: only root can make them", copy.left.devices));
    }
    if copy.left.attributes > 0 {
        task.note(format!(
            "extended attributes of {} files could not be kept in `{}`",
            copy.left.attributes,
            dest.display()
        ));
    }
    Ok(())
}

struct Copy<'a> {
    dest: &'a Path,
    owners: bool,
    directories: Vec<(PathBuf, std::fs::Metadata)>,
    left: Left,
}

/// What could not be done as this user on this file system.
#[derive(Default)]
struct Left {
    devices: usize,
    attributes: usize,
}

impl Copy<'_> {
    fn node(&mut self, node: &Node) -> Result<(), BuildError> {
        let target = self.dest.join(&node.relative);
        self.clear(&target, node.kind)?;
        if let Some(earlier) = &node.same_as {
            let earlier = self.dest.join(earlier);
            // Left out before: a device.
            if earlier.symlink_metadata().is_ok() {
                std::fs::hard_link(&earlier, &target).map_err(|e| failed("link", &target, e))?;
            }
            return Ok(());
        }
        match node.kind {
            Kind::Directory => {
                if !target.is_dir() {
                    std::fs::create_dir(&target).map_err(|e| failed("make", &target, e))?;
                }
                // Its own mode comes last: it may keep even its owner out.
                std::fs::set_permissions(&target, Permissions::from_mode(0o700))
                    .map_err(|e| failed("set the mode of", &target, e))?;
                self.directories.push((target.clone(), node.metadata.clone()));
            }
            Kind::Symlink => {
                let link = std::ffi::OsString::from_vec(node.link.clone());
                std::os::unix::fs::symlink(link, &target).map_err(|e| failed("make", &target, e))?;
            }
            Kind::File | Kind::HardLink => copy_file(node, &target)?,
            Kind::Fifo => self.make(node, &target, FileType::Fifo)?,
            Kind::CharDevice | Kind::BlockDevice if !self.owners => {
                self.left.devices += 1;
                return Ok(());
            }
            Kind::CharDevice => self.make(node, &target, FileType::CharacterDevice)?,
            Kind::BlockDevice => self.make(node, &target, FileType::BlockDevice)?,
        }
        self.attributes(node, &target)
    }

    /// Removes what is in the way of a file of this kind.
    fn clear(&self, target: &Path, kind: Kind) -> Result<(), BuildError> {
        let Ok(there) = target.symlink_metadata() else { return Ok(()) };
        let removed = match (there.is_dir(), kind == Kind::Directory) {
            (true, true) => return Ok(()),
            (true, false) => std::fs::remove_dir_all(target),
            (false, _) => std::fs::remove_file(target),
        };
        removed.map_err(|e| failed("replace", target, e))
    }

    fn make(&self, node: &Node, target: &Path, file_type: FileType) -> Result<(), BuildError> {
        rustix::fs::mknodat(CWD, target, file_type, Mode::from_raw_mode(0o600), node.metadata.rdev())
            .map_err(|e| failed("make", target, e.into()))
    }

    /// Owner, then attributes and mode (which a change of owner takes away), then times.
    fn attributes(&mut self, node: &Node, target: &Path) -> Result<(), BuildError> {
        let metadata = &node.metadata;
        if self.owners {
            std::os::unix::fs::lchown(target, Some(metadata.uid()), Some(metadata.gid()))
                .map_err(|e| failed("set the owner of", target, e))?;
        }
        let mut kept = true;
        for (name, value) in xattrs(&node.path)? {
            // Attributes of others than `user.` are root's to set.
            if self.owners || name.starts_with(b"user.") {
                let name = std::ffi::OsStr::from_bytes(&name);
                kept &= rustix::fs::lsetxattr(target, name, &value, XattrFlags::empty()).is_ok();
            } else {
                kept = false;
            }
        }
        self.left.attributes += usize::from(!kept);
        if !matches!(node.kind, Kind::Directory | Kind::Symlink) {
            std::fs::set_permissions(target, Permissions::from_mode(metadata.mode() & 0o7777))
                .map_err(|e| failed("set the mode of", target, e))?;
        }
        if node.kind == Kind::Directory { Ok(()) } else { set_times(target, metadata) }
    }
}

fn copy_file(node: &Node, target: &Path) -> Result<(), BuildError> {
    let mut from = File::open(&node.path).map_err(|e| failed("open", &node.path, e))?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|e| failed("make", target, e))?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        std::io::copy(&mut from, &mut to).map_err(|e| failed("write", target, e))?;
    }
    Ok(())
}

fn set_times(target: &Path, metadata: &std::fs::Metadata) -> Result<(), BuildError> {
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| failed("set the time of", target, e.into()))
}
