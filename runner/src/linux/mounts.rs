//! The job's file system: its root and all that is mounted in it.
//!
//! Trees that exist on the host, or that no namespace has a say in, are made here and now, detached from every
//! namespace, with the whole of Rust at hand and errors that name their path. What belongs to the job's own
//! namespaces (`/proc`, `/sys`, message queues, cgroups) is a [`Step`] that the job's first process takes itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::stubs::{Kind, Place, Stubs};
use super::syscall::{self, Errno};
use crate::{Mount, MountKind, RunError, SpecError};

mod system;

pub(super) use system::{protections, system_mounts};

const NOSUID: u64 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64;
const NODEV: u64 = MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64;
const NOEXEC: u64 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64;
const RDONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;

/// One mount that the job's first process makes.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    /// Path inside the root, free of symlinks, relative to it.
    target: CString,
    /// Only taken when the step of this index failed.
    pub(super) instead_of: Option<usize>,
    pub(super) need: Need,
    /// Set by the job's first process, in its own copy.
    pub(super) failed: bool,
}

/// What a failure of a [`Step`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// No job without it.
    Must,
    /// A missing target is fine; the kernel or the machine has no such thing.
    WhereThere,
    /// The job runs without it, and the report says so.
    Wish,
}

#[derive(Debug)]
pub(super) enum Action {
    /// Attaches a tree made before.
    Attach(OwnedFd),
    /// Attaches one file of a tree that is attached already: the support file system, or another.
    File { of: Option<OwnedFd>, name: CString, attributes: u64 },
    /// Mounts a file system anew.
    Mount { kind: CString, options: Vec<(CString, Option<CString>)>, attributes: MountAttrFlags },
    /// Makes what is at the target read-only.
    Protect,
}

impl Step {
    pub(super) fn new(action: Action, target: &Path, need: Need) -> Result<Self, SpecError> {
        let relative = target.strip_prefix("/").unwrap_or(target);
        let bytes = if relative.as_os_str().is_empty() { b"." } else { relative.as_os_str().as_bytes() };
        let target = c_string("a mount target", bytes)?;
        Ok(Self { action, target, instead_of: None, need, failed: false })
    }

    /// The descriptor that it needs in the job.
    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        match &self.action {
            Action::Attach(fd) | Action::File { of: Some(fd), .. } => Some(fd),
            Action::File { of: None, .. } | Action::Mount { .. } | Action::Protect => None,
        }
    }

    /// What it does, for messages.
    pub(super) fn describe(&self) -> String {
        let target = format!("/{}", self.target.to_string_lossy());
        match &self.action {
            Action::Mount { kind, .. } => format!("mount {} on `{target}`", kind.to_string_lossy()),
            Action::Protect => format!("make `{target}` read-only"),
            Action::Attach(_) | Action::File { .. } => format!("mount on `{target}`"),
        }
    }

    pub(super) fn target(&self) -> String {
        format!("/{}", self.target.to_string_lossy())
    }

    pub(super) fn forgives(&self, errno: Errno) -> bool {
        match self.need {
            Need::Must => false,
            Need::WhereThere => matches!(errno, libc::ENOENT | libc::ENOTDIR),
            Need::Wish => true,
        }
    }

    pub(super) fn is_worth_telling(&self, errno: Errno) -> bool {
        self.need == Need::Wish && !matches!(errno, libc::ENOENT)
    }

    /// Takes the step, in the job's first process: no allocation, see [`init`](super::init).
    pub(super) fn run(&self, root: BorrowedFd<'_>, support: BorrowedFd<'_>) -> Result<(), Errno> {
        let tree;
        let tree = match &self.action {
            Action::Attach(tree) => tree.as_fd(),
            Action::File { of, name, attributes } => {
                let of = of.as_ref().map_or(support, |fd| fd.as_fd());
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                tree = rustix::mount::open_tree(of, name.as_c_str(), flags).map_err(raw)?;
                syscall::set_mount_attributes(&tree, *attributes, false)?;
                tree.as_fd()
            }
            Action::Mount { kind, options, attributes } => {
                let fs = rustix::mount::fsopen(kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(raw)?;
                for (key, value) in options {
                    match value {
                        Some(value) => {
                            rustix::mount::fsconfig_set_string(&fs, key.as_c_str(), value.as_c_str())
                        }
                        None => rustix::mount::fsconfig_set_flag(&fs, key.as_c_str()),
                    }
                    .map_err(raw)?;
                }
                rustix::mount::fsconfig_create(&fs).map_err(raw)?;
                tree =
                    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, *attributes).map_err(raw)?;
                tree.as_fd()
            }
            Action::Protect => {
                let target = self.open_target(root)?;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_EMPTY_PATH
                    | OpenTreeFlags::AT_RECURSIVE;
                tree = rustix::mount::open_tree(&target, c"", flags).map_err(raw)?;
                syscall::set_mount_attributes(&tree, RDONLY, true)?;
                tree.as_fd()
            }
        };
        let target = self.open_target(root)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, c"", &target, c"", flags).map_err(raw)
    }

    fn open_target(&self, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(root, self.target.as_c_str(), flags, Mode::empty(), resolve).map_err(raw)
    }
}

fn raw(errno: rustix::io::Errno) -> Errno {
    errno.raw_os_error()
}

pub(super) fn c_string(what: &'static str, bytes: &[u8]) -> Result<CString, SpecError> {
    CString::new(bytes)
        .map_err(|_| SpecError::ZeroByte { what, text: String::from_utf8_lossy(bytes).into_owned() })
}

pub(super) fn setup(step: impl Into<String>, source: impl Into<io::Error>) -> RunError {
    let source = source.into();
    let hint = match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Some(
            "run as root, or as a user that may make user namespaces (`orlop` sets one up by itself)".into(),
        ),
        Some(libc::ENOSYS) => Some("orlop needs Linux 5.12 or newer".into()),
        _ => None,
    };
    RunError::Setup { step: step.into(), source, hint }
}

/// A mount of its own of the directory `root`, attached nowhere.
pub(super) fn root_tree(root: &Path, protect: bool, readonly: bool) -> Result<OwnedFd, RunError> {
    let attributes = if protect { NODEV } else { 0 } | if readonly { RDONLY } else { 0 };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, root, flags)
        .map_err(|error| setup(format!("use `{}` as the job's root", root.display()), error))?;
    syscall::set_mount_attributes(&tree, attributes, false).map_err(|errno| {
        setup(format!("set the attributes of `{}`", root.display()), io::Error::from_raw_os_error(errno))
    })?;
    Ok(tree)
}

/// Whether mount attributes can be set at all.
pub(super) fn set_attributes(tree: &OwnedFd) -> Result<(), RunError> {
    syscall::set_mount_attributes(tree, NODEV, false)
        .map_err(|errno| setup("set the attributes of a mount", io::Error::from_raw_os_error(errno)))
}

/// An empty file system in memory, attached nowhere.
pub(super) fn tmpfs(
    what: &str,
    options: &[(&str, String)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, RunError> {
    detached("tmpfs", options, attributes).map_err(|error| setup(format!("make {what}"), error))
}

fn detached(
    kind: &str,
    options: &[(&str, String)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(&fs, *key, value.as_str())?;
    }
    rustix::mount::fsconfig_create(&fs)?;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of the mount at `source` with all below it, attached nowhere.
fn clone_tree(source: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(source, "", flags)
}

/// The files that are mounted one by one, in a file system that nobody else sees and no disk holds.
#[derive(Debug)]
pub(super) struct Support {
    pub(super) tree: OwnedFd,
    files: usize,
}

impl Support {
    pub(super) fn new() -> Result<Self, RunError> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let tree = tmpfs("a file system for the job's own files", &[("mode", "0700".into())], attributes)?;
        Ok(Self { tree, files: 0 })
    }

    /// Makes a device node of mode 666 and returns the action that mounts it.
    ///
    /// # Errors
    /// EPERM in a user namespace, and without CAP_MKNOD.
    pub(super) fn device(&mut self, name: &str, major: u32, minor: u32) -> rustix::io::Result<Action> {
        let mode = Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&self.tree, name, FileType::CharacterDevice, mode, device)?;
        rustix::fs::chmodat(&self.tree, name, mode, rustix::fs::AtFlags::empty())?;
        let name = CString::new(name).map_err(|_| rustix::io::Errno::INVAL)?;
        Ok(Action::File { of: None, name, attributes: NOSUID | NOEXEC })
    }

    /// Makes a file and returns the action that mounts it.
    pub(super) fn file(
        &mut self,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
        readonly: bool,
    ) -> io::Result<Action> {
        let name = format!("{}", self.files);
        self.files += 1;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.tree, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = std::fs::File::from(fd);
        io::Write::write_all(&mut file, content)?;
        if owner != (0, 0) {
            std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        // A file is a program only where its mode says so.
        let exec = if mode & 0o111 == 0 { NOEXEC } else { 0 };
        let attributes = NOSUID | NODEV | exec | if readonly { RDONLY } else { 0 };
        let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Action::File { of: None, name, attributes })
    }
}

/// The steps for the mounts that the job asked for.
pub(super) fn asked_mounts(
    mounts: &[Mount],
    protect: bool,
    stubs: &mut Stubs,
    support: &mut Support,
    steps: &mut Vec<Step>,
) -> Result<(), RunError> {
    let mut mounts: Vec<&Mount> = mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        crate::spec::absolute("mount target", &mount.target)?;
        let (tree, kind) = match &mount.kind {
            MountKind::Bind { source, within, readonly } => {
                let (tree, kind) = bind_source(source, within.as_deref(), *readonly, protect)?;
                (Some(tree), kind)
            }
            MountKind::Tmpfs { size, mode } => {
                let mut options = vec![("mode", format!("{:o}", mode & 0o7777))];
                if let Some(size) = size {
                    options.push(("size", size.to_string()));
                }
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                let what = format!("a tmpfs for `{}`", mount.target.display());
                (Some(tmpfs(&what, &options, attributes)?), Kind::Directory)
            }
            MountKind::File { .. } => (None, Kind::File),
        };
        let place = place(stubs, &mount.target, kind)?;
        if place.path == Path::new("/") || system::COVERED.iter().any(|path| Path::new(path) == place.path) {
            return Err(SpecError::MountTarget(mount.target.clone()).into());
        }
        let path = place.path.clone();
        let action = match (&mount.kind, tree) {
            (MountKind::File { content, mode, uid, gid }, _) => support
                .file(content, *mode, (*uid, *gid), true)
                .map_err(|error| setup(format!("make the file for `{}`", mount.target.display()), error))?,
            (_, Some(tree)) => {
                let cover = tree.try_clone().map_err(|error| setup("copy a descriptor", error))?;
                stubs.cover(place, (kind == Kind::Directory).then_some(cover));
                Action::Attach(tree)
            }
            (_, None) => continue,
        };
        steps.push(Step::new(action, &path, Need::Must)?);
    }
    Ok(())
}

fn place(stubs: &mut Stubs, target: &Path, kind: Kind) -> Result<Place, RunError> {
    stubs.place(target, kind).map_err(|errno| match errno {
        rustix::io::Errno::XDEV => SpecError::MountTarget(target.to_owned()).into(),
        errno => setup(format!("make a place to mount on at `{}`", target.display()), errno),
    })
}

fn bind_source(
    source: &Path,
    within: Option<&Path>,
    readonly: bool,
    protect: bool,
) -> Result<(OwnedFd, Kind), RunError> {
    let failed = |error: rustix::io::Errno| {
        let shown: PathBuf = match within {
            Some(within) => within.join(source.strip_prefix("/").unwrap_or(source)),
            None => source.to_owned(),
        };
        setup(format!("mount `{}`", shown.display()), error)
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = match within {
        None => rustix::fs::open(source, flags, Mode::empty()),
        Some(within) => {
            rustix::fs::open(within, flags | OFlags::DIRECTORY, Mode::empty()).and_then(|within| {
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(within, source, flags, Mode::empty(), resolve)
            })
        }
    }
    .map_err(failed)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened).map_err(failed)?.st_mode);
    let tree = clone_tree(&opened).map_err(failed)?;
    // A device that was asked for by name is meant to be used.
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let attributes = if readonly { RDONLY } else { 0 } | if protect && !device { NODEV } else { 0 };
    syscall::set_mount_attributes(&tree, attributes, true)
        .map_err(|errno| failed(rustix::io::Errno::from_raw_os_error(errno)))?;
    Ok((tree, if kind == FileType::Directory { Kind::Directory } else { Kind::File }))
}
