//! Snapshots by overlayfs.
//!
//! ```text
//! work/step-…/upper    what the step changes; becomes the layer's `fs` form by a rename
//! work/step-…/work     overlayfs's own
//! work/step-…/merged   the mount
//! work/join-…/fs       many small layers in one
//! work/view-…/root     an empty directory with the root's mode and owner, the topmost layer of a view
//! ```
//! Mounted with redirects, `metacopy` and `index` off, so that the upper directory holds whole
//! files and nothing that refers to the layers below; active ones `volatile`, since what has to be synced is
//! synced once it is a layer. In a user namespace with `userxattr`. Where layers are mounted from their tars, with
//! `xino`: else their files would seem to be on other file systems than the directories that they are in.

mod joined;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};

use super::{Active, Committed, Diff, LayerOs, SnapshotDriver, SnapshotError, View, io_error};
use crate::context::{self, Names};
use crate::digest::Digest;
use crate::layer::compose::Composer;
use crate::layer::diff::{self, Against, Root, Upper};
use crate::layer::{Hold, LayerError, LayerFacts, Layers, Ownership, XattrForm, node};
use crate::work::{Work, WorkDir};
use joined::Joins;
pub(super) use joined::Lower;

/// What the kernel stacks at most (`OVL_MAX_STACK`).
const MOST_LAYERS: usize = 500;

/// Snapshots by overlayfs: layers are shared as they are, a snapshot costs one mount.
#[derive(Clone, Debug)]
pub struct OverlayDriver {
    layers: Layers,
    joins: Arc<Joins>,
}

impl OverlayDriver {
    /// Snapshots of the layers `layers`. [`probe`] says whether that works here.
    pub fn new(layers: &Layers) -> Self {
        Self { layers: layers.clone(), joins: Arc::default() }
    }

    /// The same; layers are joined from the second on.
    #[cfg(test)]
    pub(super) fn joining(layers: &Layers) -> Self {
        Self { layers: layers.clone(), joins: Arc::new(Joins::new(0, 2, 0)) }
    }

    fn of(&self, snapshot: &Committed) -> Layers {
        self.layers.for_os(snapshot.os())
    }

    fn holds(&self, snapshot: &Committed) -> Result<Vec<Arc<Hold>>, SnapshotError> {
        let holds = self.of(snapshot).holds(snapshot.layers(), false)?;
        Ok(holds.map_err(|missing| first_missing(snapshot, &missing))?)
    }
}

/// The error of a snapshot whose layers `missing` are not stored.
pub(super) fn first_missing(snapshot: &Committed, missing: &[usize]) -> LayerError {
    let diff_id = missing.first().and_then(|i| snapshot.layers().get(*i));
    LayerError::Missing { diff_id: diff_id.copied().unwrap_or_else(|| Digest::of(b"")) }
}

impl SnapshotDriver for OverlayDriver {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn missing(&self, snapshot: &Committed) -> Result<Vec<usize>, SnapshotError> {
        // Said before any of them is fetched. A layer that is in the chain twice is mounted once.
        let layers = snapshot.layers().iter().collect::<HashSet<_>>().len();
        if layers > MOST_LAYERS {
            return Err(SnapshotError::TooManyLayers { layers, most: MOST_LAYERS });
        }
        Ok(self.of(snapshot).holds(snapshot.layers(), false)?.err().unwrap_or_default())
    }

    fn prepare(&self, parent: &Committed) -> Result<Active, SnapshotError> {
        let (holds, layers) = (self.holds(parent)?, self.of(parent));
        let before = layers.root(&holds)?;
        let work = self.layers.work().create("step")?;
        let upper = directory(&work, "upper", &before, self.layers.ownership)?;
        let before = look(&upper, parent.os())?;
        let scratch = directory(&work, "work", &Root::scratch(), Ownership::Ignore)?;
        let path = directory(&work, "merged", &Root::scratch(), Ownership::Ignore)?;
        let mut lower = self.joins.stack(&layers, parent, &holds, true)?;
        if lower.dirs.is_empty() {
            lower.dirs.push(directory(&work, "lower", &Root::scratch(), Ownership::Ignore)?);
        }
        let how = How::of(&holds, self.layers.form);
        let mount = Mount::overlay(&lower.dirs, Some((&upper, &scratch)), &path, how)?;
        Ok(Active {
            parent: parent.clone(),
            path,
            before,
            found: Mutex::default(),
            mount: Some(mount),
            work,
            holds,
            lower: Some(lower),
        })
    }

    fn compose(&self, parent: &Committed) -> Result<Option<Composer>, SnapshotError> {
        Composer::start(&self.layers, parent)
    }

    fn view(&self, snapshot: &Committed) -> Result<View, SnapshotError> {
        let (holds, layers) = (self.holds(snapshot)?, self.of(snapshot));
        let work = self.layers.work().create("view")?;
        let root = directory(&work, "root", &layers.root(&holds)?, self.layers.ownership)?;
        if holds.is_empty() {
            return Ok(View { path: root, _mount: None, _work: Some(work), _holds: holds, _lower: None });
        }
        let path = directory(&work, "merged", &Root::scratch(), Ownership::Ignore)?;
        let mut lower = self.joins.stack(&layers, snapshot, &holds, false)?;
        lower.dirs.insert(0, root);
        let mount = Mount::overlay(&lower.dirs, None, &path, How::of(&holds, self.layers.form))?;
        Ok(View { path, _mount: Some(mount), _work: Some(work), _holds: holds, _lower: Some(lower) })
    }

    fn diff(&self, active: &Active) -> Result<Diff, SnapshotError> {
        let upper = open(&active.work.path().join("upper"))?;
        let stack = self.layers.stack_of(active.lower.as_ref().map_or(&[], |lower| &lower.dirs))?;
        let against = Against::Stack(&stack, &active.before);
        let changes =
            diff::find(upper.as_fd(), Upper::Overlay(self.layers.form), against, active.parent.os())?;
        let _span = self.layers.work().trace().span("hash", &[]);
        let diff = Diff::from(changes.write(upper.as_fd(), io::sink())?);
        active.remember(diff, changes);
        Ok(diff)
    }

    fn commit(&self, active: Active, diff: &Diff) -> Result<Committed, SnapshotError> {
        let parent = active.parent.clone();
        if diff.is_empty() {
            return Ok(parent);
        }
        let changes = match active.recall(diff) {
            Some(changes) => changes,
            None => {
                if self.diff(&active)? != *diff {
                    return Err(SnapshotError::Changed { path: active.path });
                }
                active.recall(diff).ok_or_else(|| SnapshotError::Changed { path: active.path.clone() })?
            }
        };
        if !self.of(&parent).contains(parent.layers(), &diff.diff_id) {
            let Active { mount, work, .. } = active;
            let span = self.layers.work().trace().span("unmount", &[]);
            drop(mount);
            drop(span);
            let upper = work.path().join("upper");
            changes.prune(open(&upper)?.as_fd())?;
            let making = work.path().join("layer");
            std::fs::create_dir(&making).map_err(io_error("make", &making))?;
            std::fs::rename(&upper, making.join("fs")).map_err(io_error("move", &upper))?;
            let facts = LayerFacts {
                diff_id: diff.diff_id,
                size: diff.size,
                entries: diff.entries,
                made_here: true,
                root_entry: changes.root_entry(),
                missing_devices: 0,
                missing_xattrs: 0,
            };
            self.layers.publish(
                &self.of(&parent).key(parent.layers(), &diff.diff_id, false),
                &work,
                &facts,
            )?;
        }
        Ok(parent.with(diff.diff_id))
    }
}

fn open(path: &Path) -> Result<OwnedFd, SnapshotError> {
    node::open_root(path).map_err(io_error("open", path))
}

/// What a root directory is like before a step.
pub(super) fn look(path: &Path, os: LayerOs) -> Result<Root, SnapshotError> {
    Root::of(open(path)?.as_fd(), os).map_err(io_error("read", path))
}

/// A new directory that looks like `root`.
pub(super) fn directory(
    work: &WorkDir,
    name: &str,
    root: &Root,
    ownership: Ownership,
) -> Result<PathBuf, SnapshotError> {
    let path = work.path().join(name);
    std::fs::create_dir(&path).map_err(io_error("make", &path))?;
    let dir = open(&path)?;
    root.put(dir.as_fd(), ownership).map_err(io_error("set up", &path))?;
    Ok(path)
}

/// What an overlay is made of.
#[derive(Clone, Copy, Debug)]
struct How {
    form: XattrForm,
    /// Its layers are on several file systems.
    several: bool,
}

impl How {
    fn of(holds: &[Arc<Hold>], form: XattrForm) -> Self {
        Self { form, several: holds.iter().any(|hold| hold.is_mounted()) }
    }
}

/// A mount, taken down when dropped.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts an overlay of `lower` (top first) at `path`; writable with an upper and a work directory.
    fn overlay(
        lower: &[PathBuf],
        upper: Option<(&Path, &Path)>,
        path: &Path,
        how: How,
    ) -> Result<Self, SnapshotError> {
        if lower.len() > MOST_LAYERS {
            return Err(SnapshotError::TooManyLayers { layers: lower.len(), most: MOST_LAYERS });
        }
        let mut log = String::new();
        let made = match configure(lower, upper, how, &mut log) {
            // Before Linux 6.5 overlays have one option for all lower directories, of one page at most.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT)
                if log.is_empty() || log.contains("lowerdir+") =>
            {
                mount_by_options(lower, upper, path, how)
            }
            made => made.and_then(|mount| {
                rustix::mount::move_mount(
                    &mount,
                    "",
                    rustix::fs::CWD,
                    path,
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                )
            }),
        };
        match made {
            Ok(()) => Ok(Self { path: path.to_owned() }),
            Err(e) => Err(SnapshotError::Mount { path: path.to_owned(), log, source: e.into() }),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Where something still has a file of it open it goes with that; nobody can reach it any more.
        if rustix::mount::unmount(&self.path, UnmountFlags::NOFOLLOW).is_err() {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
}

/// What is always said, and what a user namespace and a writable overlay need.
fn options(how: How, writable: bool) -> Vec<(&'static str, &'static str)> {
    let xino = if how.several { "on" } else { "off" };
    // `nofollow` and not `off`, which still follows what is there and is refused together with `userxattr`.
    let mut out = vec![("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", xino)];
    if how.form == XattrForm::User {
        out.push(("userxattr", ""));
    }
    if writable {
        out.push(("volatile", ""));
    }
    out
}

/// An overlay that is not attached anywhere yet.
fn configure(
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    how: How,
    log: &mut String,
) -> Result<OwnedFd, Errno> {
    use rustix::mount as m;
    let context = m::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let mut names = Names::default();
    let mut set = || {
        m::fsconfig_set_string(context.as_fd(), "source", "orlop")?;
        for path in lower {
            m::fsconfig_set_string(context.as_fd(), "lowerdir+", names.short(path)?)?;
        }
        if let Some((upper, work)) = upper {
            m::fsconfig_set_string(context.as_fd(), "upperdir", names.short(upper)?)?;
            m::fsconfig_set_string(context.as_fd(), "workdir", names.short(work)?)?;
        }
        for (key, value) in options(how, upper.is_some()) {
            match value {
                "" => m::fsconfig_set_flag(context.as_fd(), key)?,
                value => m::fsconfig_set_string(context.as_fd(), key, value)?,
            }
        }
        m::fsconfig_create(context.as_fd())?;
        let attributes = match upper {
            Some(_) => MountAttrFlags::empty(),
            None => MountAttrFlags::MOUNT_ATTR_RDONLY,
        };
        m::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let made = set();
    if made.is_err() {
        *log = context::log(&context);
    }
    made
}

/// The same by mount(2). Directories are named by handles: short, and without characters that mean something.
fn mount_by_options(
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    path: &Path,
    how: How,
) -> Result<(), Errno> {
    let mut names = Names::default();
    let mut named = |path: &Path| -> Result<String, Errno> { Ok(names.handle(path)?.display().to_string()) };
    let lower: Vec<String> = lower.iter().map(|path| named(path)).collect::<Result<_, _>>()?;
    let mut text = format!("lowerdir={}", lower.join(":"));
    let mut flags = rustix::mount::MountFlags::RDONLY;
    if let Some((upper, work)) = upper {
        text += &format!(",upperdir={},workdir={}", named(upper)?, named(work)?);
        flags = rustix::mount::MountFlags::empty();
    }
    for (key, value) in options(how, upper.is_some()) {
        text += &if value.is_empty() { format!(",{key}") } else { format!(",{key}={value}") };
    }
    let text = std::ffi::CString::new(text).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount("orlop", path, "overlay", flags, Some(text.as_c_str()))
}

/// Tries out whether overlays work for a store whose `work/` this is: mounts one, changes things in it and looks
/// at what became of them.
///
/// # Errors
/// What does not work.
pub fn probe(work: &Work, form: XattrForm) -> Result<(), SnapshotError> {
    let work = work.create("probe")?;
    let make = |name| directory(&work, name, &Root::scratch(), Ownership::Ignore);
    let (lower, upper, scratch, merged) = (make("lower")?, make("upper")?, make("work")?, make("merged")?);
    for name in ["dir", "gone"] {
        let path = lower.join(name);
        std::fs::create_dir(&path).map_err(io_error("make", &path))?;
    }
    let mount = Mount::overlay(&[lower], Some((&upper, &scratch)), &merged, How { form, several: false })?;
    for name in ["dir", "gone"] {
        let path = merged.join(name);
        std::fs::remove_dir(&path).map_err(io_error("remove", &path))?;
    }
    let path = merged.join("dir");
    std::fs::create_dir(&path).map_err(io_error("make", &path))?;
    drop(mount);
    let dir = open(&upper)?;
    let whiteout = node::Meta::at(dir.as_fd(), b"gone").and_then(|meta| match meta {
        Some(meta) => node::is_whiteout(dir.as_fd(), b"gone", &meta, form),
        None => Ok(false),
    });
    let opaque = node::open_dir(dir.as_fd(), b"dir").and_then(|dir| node::is_opaque(dir.as_fd(), form));
    let unlike = || io::Error::other("the overlay does not note deletions as orlop reads them");
    match (whiteout, opaque) {
        (Ok(true), Ok(true)) => Ok(()),
        (Err(e), _) | (_, Err(e)) => Err(io_error("read", &upper)(e)),
        _ => Err(io_error("use", &upper)(unlike())),
    }
}

/// Tries out whether an overlay can be mounted over the file system whose root directory is `lower`, which is
/// attached nowhere.
///
/// # Errors
/// What does not work.
pub(crate) fn probe_over(work: &Work, lower: &Path) -> Result<(), SnapshotError> {
    let work = work.create("probe")?;
    let make = |name| directory(&work, name, &Root::scratch(), Ownership::Ignore);
    let (upper, scratch, merged) = (make("upper")?, make("work")?, make("merged")?);
    let how = How { form: XattrForm::Trusted, several: true };
    let mount = Mount::overlay(&[lower.to_owned()], Some((&upper, &scratch)), &merged, how)?;
    let file = merged.join("file");
    let moved = std::fs::rename(&file, merged.join("moved")).map_err(io_error("move", &file));
    drop(mount);
    moved
}
