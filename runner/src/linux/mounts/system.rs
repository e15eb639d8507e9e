//! `/proc`, `/sys`, `/dev` and the network's files: what every job has, as Docker gives it.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;

use super::{
    Action, NODEV, NOEXEC, NOSUID, Need, RDONLY, Step, Support, clone_tree, detached, place, setup, tmpfs,
};
use crate::linux::cgroup::View;
use crate::linux::stubs::{Kind, Stubs};
use crate::linux::{network, syscall};
use crate::{Confinement, RunError, RunSpec, SpecError, Terminal};

/// The directories that are covered whole; nothing else is mounted on them.
pub(super) const COVERED: &[&str] = &["/proc", "/sys", "/dev"];

/// Hidden from the job, as Docker hides them: they tell of the machine or of other users of it.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Read-only for the job, as with Docker: they change the machine.
const PROTECTED: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The devices of Docker's default: name, major and minor number.
const DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What a job gets besides where it may have the machine's devices, as BuildKit gives it to an insecure step; the
/// loop devices come on top.
const MACHINE: &[(&str, u32, u32)] = &[
    ("kmsg", 1, 11),
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kvm", 10, 232),
    ("net/tun", 10, 200),
    ("loop-control", 10, 237),
];

/// A loop device may be asked for that has no node yet.
const SPARE_LOOPS: u32 = 8;

const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// Flags of a kernel file system that holds neither programs nor devices.
const KERNEL: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// What making the system mounts brought along.
#[derive(Debug)]
pub(in crate::linux) struct SystemMounts {
    /// Both sides of the job's terminal.
    pub(in crate::linux) terminal: Option<(OwnedFd, OwnedFd)>,
    pub(in crate::linux) confinement: Vec<Confinement>,
}

/// Adds the steps for what every job has.
pub(in crate::linux) fn system_mounts(
    spec: &RunSpec,
    cgroups: &View,
    initial_user_namespace: bool,
    stubs: &mut Stubs,
    support: &mut Support,
    steps: &mut Vec<Step>,
) -> Result<SystemMounts, RunError> {
    let mut job = Builder { spec, stubs, steps, confinement: Vec::new(), initial_user_namespace };
    job.kernel_file_system("proc", "/proc", KERNEL)?;
    let sys = if spec.security.protect_system { KERNEL | MountAttrFlags::MOUNT_ATTR_RDONLY } else { KERNEL };
    job.kernel_file_system("sysfs", "/sys", sys)?;
    job.cgroups(cgroups, sys)?;
    let terminal = job.devices(support)?;
    job.network_files(support)?;
    Ok(SystemMounts { terminal, confinement: job.confinement })
}

/// Adds the steps that hide and protect; after all other mounts.
pub(in crate::linux) fn protections(steps: &mut Vec<Step>) -> Result<(), RunError> {
    for path in PROTECTED {
        steps.push(Step::new(Action::Protect, Path::new(path), Need::WhereThere)?);
    }
    for path in MASKED {
        // The host's own /proc and /sys tell what kind of thing is there; where they do not, neither will the job's.
        let Ok(kind) = rustix::fs::stat(*path).map(|stat| FileType::from_raw_mode(stat.st_mode)) else {
            continue;
        };
        let action = if kind == FileType::Directory {
            Action::Mount {
                kind: c"tmpfs".into(),
                options: vec![(c"size".into(), Some(c"0".into())), (c"mode".into(), Some(c"0555".into()))],
                attributes: KERNEL | MountAttrFlags::MOUNT_ATTR_RDONLY,
            }
        } else {
            Action::Attach(host_null().map_err(|error| setup(format!("hide `{path}`"), error))?)
        };
        steps.push(Step::new(action, Path::new(path), Need::WhereThere)?);
    }
    Ok(())
}

struct Builder<'a> {
    spec: &'a RunSpec,
    stubs: &'a mut Stubs,
    steps: &'a mut Vec<Step>,
    confinement: Vec<Confinement>,
    initial_user_namespace: bool,
}

impl Builder<'_> {
    fn step(&mut self, action: Action, target: &str, need: Need) -> Result<usize, RunError> {
        self.steps.push(Step::new(action, Path::new(target), need)?);
        Ok(self.steps.len() - 1)
    }

    /// A directory of the root that is covered whole. An image's symlink there is refused: it would let the image
    /// choose what our mounts hide and what the masks below it miss.
    fn cover(&mut self, target: &str, by: Option<OwnedFd>) -> Result<(), RunError> {
        let place = self.stubs.plain_place(Path::new(target), Kind::Directory).map_err(|errno| {
            let hint = matches!(errno, rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR)
                .then(|| format!("`{target}` in the image has to be a directory, not a link or a file"));
            let step = format!("make a place to mount on at `{target}`");
            RunError::Setup { step, source: errno.into(), hint }
        })?;
        self.stubs.cover(place, by);
        Ok(())
    }

    /// Mounts `kind` anew or, in a user namespace that may not (it would show more than what the host's own mount
    /// shows, or another's network), the host's.
    fn kernel_file_system(
        &mut self,
        kind: &str,
        target: &str,
        attributes: MountAttrFlags,
    ) -> Result<(), RunError> {
        self.cover(target, None)?;
        let kind = super::c_string("a file system", kind.as_bytes())?;
        let action = Action::Mount { kind, options: Vec::new(), attributes };
        if self.initial_user_namespace {
            self.step(action, target, Need::Must)?;
            return Ok(());
        }
        let first = self.step(action, target, Need::Wish)?;
        let failed = |error| setup(format!("mount the host's `{target}`"), error);
        let source =
            rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let tree = clone_tree(source).map_err(failed)?;
        let mut flags = NOSUID | NODEV | NOEXEC;
        if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
            flags |= RDONLY;
        }
        syscall::set_mount_attributes(&tree, flags, true)
            .map_err(|errno| failed(rustix::io::Errno::from_raw_os_error(errno)))?;
        let second = self.step(Action::Attach(tree), target, Need::Must)?;
        self.steps[second].instead_of = Some(first);
        Ok(())
    }

    fn cgroups(&mut self, view: &View, attributes: MountAttrFlags) -> Result<(), RunError> {
        let target = "/sys/fs/cgroup";
        match view {
            View::None => {}
            View::V2 => {
                let action = Action::Mount { kind: c"cgroup2".into(), options: Vec::new(), attributes };
                self.step(action, target, Need::Wish)?;
            }
            View::V1(hierarchies) => {
                let tree =
                    tmpfs("a directory for control groups", &[("mode", "0755".into())], attributes - RO)?;
                for hierarchy in hierarchies {
                    rustix::fs::mkdirat(&tree, &hierarchy.directory, Mode::from_raw_mode(0o755))
                        .map_err(|error| setup("make a directory for control groups", error))?;
                    for name in hierarchy.directory.split(',').filter(|name| *name != hierarchy.directory) {
                        // Fails where the name is a hierarchy of its own, which is then what is wanted.
                        let _ = rustix::fs::symlinkat(&hierarchy.directory, &tree, name);
                    }
                }
                if attributes.contains(RO) {
                    syscall::set_mount_attributes(&tree, RDONLY, false).map_err(|errno| {
                        setup("protect control groups", std::io::Error::from_raw_os_error(errno))
                    })?;
                }
                self.step(Action::Attach(tree), target, Need::Wish)?;
                for hierarchy in hierarchies {
                    let mut options = Vec::new();
                    for (key, value) in &hierarchy.options {
                        let text = |text: &str| super::c_string("a control group", text.as_bytes());
                        options.push((text(key)?, value.as_deref().map(text).transpose()?));
                    }
                    let action = Action::Mount { kind: c"cgroup".into(), options, attributes };
                    self.step(action, &format!("{target}/{}", hierarchy.directory), Need::Wish)?;
                }
            }
        }
        Ok(())
    }

    /// `/dev`: a small file system with the harmless devices mounted into it one by one. It is mounted without the
    /// right to open devices, as is the root: a node that the job makes itself (CAP_MKNOD is among Docker's
    /// capabilities) opens nothing, with or without a device cgroup.
    fn devices(&mut self, support: &mut Support) -> Result<Option<(OwnedFd, OwnedFd)>, RunError> {
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        if self.spec.security.protect_system {
            attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
        }
        let dev = tmpfs("/dev", &[("mode", "0755".into()), ("size", "64m".into())], attributes)?;
        let failed = |error: rustix::io::Errno| setup("fill /dev", error);
        let directory =
            |name: &str| rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).map_err(failed);
        let file = |name: &str| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&dev, name, flags, Mode::from_raw_mode(0o666)).map(drop).map_err(failed)
        };
        for (target, name) in LINKS {
            rustix::fs::symlinkat(*target, &dev, *name).map_err(failed)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            directory(name)?;
        }
        let copy = dev.try_clone().map_err(|error| setup("copy a descriptor", error))?;
        self.cover("/dev", Some(copy))?;
        let fd = dev.try_clone().map_err(|error| setup("copy a descriptor", error))?;
        self.step(Action::Attach(fd), "/dev", Need::Must)?;
        for (name, major, minor) in DEVICES {
            // A node of our own, whose mode the job may change; where we may not make one, the host's, unchangeable.
            let own = support.device(name, *major, *minor);
            match own.or_else(|_| host_device(name, *major, *minor).map(Action::Attach)) {
                Ok(action) => {
                    file(name)?;
                    self.step(action, &format!("/dev/{name}"), Need::Must)?;
                }
                Err(why) => self.confinement.push(Confinement::lesser(
                    format!("/dev/{name}"),
                    "the device",
                    "nothing",
                    why.to_string(),
                )),
            }
        }
        if self.spec.security.machine_devices {
            if self.initial_user_namespace {
                self.machine_devices(&dev).map_err(failed)?;
            } else {
                let why = "orlop does not run as the machine's root";
                self.confinement.push(Confinement::lesser(
                    "insecure",
                    "all of orlop's rights and the machine's devices",
                    "all rights over what is the user's own, and no devices",
                    why,
                ));
            }
        }
        let shm = [("mode", "1777".into()), ("size", self.spec.shm_size.to_string())];
        let shm = tmpfs("/dev/shm", &shm, KERNEL)?;
        let copy = shm.try_clone().map_err(|error| setup("copy a descriptor", error))?;
        self.cover("/dev/shm", Some(copy))?;
        self.step(Action::Attach(shm), "/dev/shm", Need::Must)?;
        let mqueue = Action::Mount { kind: c"mqueue".into(), options: Vec::new(), attributes: KERNEL };
        self.cover("/dev/mqueue", None)?;
        self.step(mqueue, "/dev/mqueue", Need::Wish)?;
        let pts = devpts()?;
        let pts_copy = pts.try_clone().map_err(|error| setup("copy a descriptor", error))?;
        self.cover("/dev/pts", None)?;
        self.step(Action::Attach(pts_copy), "/dev/pts", Need::Must)?;
        let Some(size) = self.spec.terminal else { return Ok(None) };
        let pair =
            open_terminal(&pts, size, self.spec.user.uid).map_err(|error| setup("make a terminal", error))?;
        file("console")?;
        let name: CString = c"0".into();
        let console = Action::File { of: Some(pts), name, attributes: NOSUID | NOEXEC };
        self.step(console, "/dev/console", Need::Must)?;
        Ok(Some(pair))
    }

    /// The machine's own devices as nodes in the job's `/dev`, whether there is a driver behind them or not.
    fn machine_devices(&self, dev: &OwnedFd) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(0o666);
        let node = |name: &str, kind, major, minor| {
            rustix::fs::mknodat(dev, name, kind, mode, rustix::fs::makedev(major, minor))?;
            rustix::fs::chmodat(dev, name, mode, rustix::fs::AtFlags::empty())
        };
        rustix::fs::mkdirat(dev, "net", Mode::from_raw_mode(0o755))?;
        for (name, major, minor) in MACHINE {
            node(name, FileType::CharacterDevice, *major, *minor)?;
        }
        for minor in 0..used_loops() + SPARE_LOOPS {
            node(&format!("loop{minor}"), FileType::BlockDevice, 7, minor)?;
        }
        Ok(())
    }

    fn network_files(&mut self, support: &mut Support) -> Result<(), RunError> {
        let files = [
            ("/etc/resolv.conf", network::resolv_conf(self.spec.network)?),
            ("/etc/hosts", network::hosts(&self.spec.hostname, &self.spec.add_hosts)),
            ("/etc/hostname", format!("{}\n", self.spec.hostname.as_str()).into_bytes()),
        ];
        for (target, content) in files {
            if self.spec.mounts.iter().any(|mount| mount.target == Path::new(target)) {
                continue;
            }
            let place = match place(self.stubs, Path::new(target), Kind::File) {
                // A link to /proc or /dev, as some images have for /etc/resolv.conf: theirs to keep.
                Err(RunError::Spec(SpecError::MountTarget(_))) => continue,
                other => other?,
            };
            let action = support
                .file(&content, 0o644, (0, 0), false)
                .map_err(|error| setup(format!("make the file for `{target}`"), error))?;
            self.steps.push(Step::new(action, &place.path, Need::Must)?);
        }
        Ok(())
    }
}

/// The number after that of the last loop device that there is.
fn used_loops() -> u32 {
    let Ok(entries) =
        rustix::fs::open("/sys/block", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .and_then(rustix::fs::Dir::new)
    else {
        return 0;
    };
    let number = |entry: rustix::io::Result<rustix::fs::DirEntry>| {
        entry.ok()?.file_name().to_str().ok()?.strip_prefix("loop")?.parse::<u32>().ok()
    };
    // A machine has a few; whoever made millions does without the nodes.
    entries.filter_map(number).filter(|number| *number < 256).map(|number| number + 1).max().unwrap_or(0)
}

const RO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The host's `/dev/null`, to hide a file behind. Its owner, mode and times are the machine's: read-only.
fn host_null() -> std::io::Result<OwnedFd> {
    host_device("null", 1, 3)
}

/// The host's device, checked to be the one meant.
fn host_device(name: &str, major: u32, minor: u32) -> std::io::Result<OwnedFd> {
    let path = format!("/dev/{name}");
    let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    let right = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && rustix::fs::major(stat.st_rdev) == major
        && rustix::fs::minor(stat.st_rdev) == minor;
    if !right {
        return Err(std::io::Error::other(format!("the host's `{path}` is not device {major}:{minor}")));
    }
    let tree = clone_tree(&fd)?;
    // Devices stay writable on a read-only mount; their owner and mode do not.
    syscall::set_mount_attributes(&tree, RDONLY, false).map_err(std::io::Error::from_raw_os_error)?;
    Ok(tree)
}

/// A terminal file system of the job's own. Group 5 is `tty` everywhere; a user namespace may not have it.
fn devpts() -> Result<OwnedFd, RunError> {
    let options = |gid: bool| {
        [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")].into_iter().take(2 + usize::from(gid))
    };
    let make = |gid| {
        let options: Vec<(&str, String)> = options(gid).map(|(key, value)| (key, value.to_owned())).collect();
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        detached("devpts", &options, attributes)
    };
    make(true).or_else(|_| make(false)).map_err(|error| setup("make /dev/pts", error))
}

fn open_terminal(pts: &OwnedFd, size: Terminal, owner: u32) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let ours = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&ours)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    rustix::termios::tcsetwinsize(&ours, crate::linux::terminal::size(size.rows, size.columns))?;
    std::os::unix::fs::fchown(&theirs, Some(owner), None)?;
    Ok((ours, theirs))
}
