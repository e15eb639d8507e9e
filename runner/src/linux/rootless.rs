//! Root without root: a user namespace in which this process is user 0, and mount namespaces.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::mount::MountPropagationFlags;

use super::syscall;

mod idmap;

pub use idmap::{IdMapping, IdRange};

/// What [`enter`] needs to know that a library may not find out for itself.
#[derive(Debug, Clone, Default)]
pub struct RootlessOptions {
    /// Where to look for `newuidmap` and `newgidmap`: the caller's `PATH`.
    pub path: OsString,
    /// The caller's login name, by which `/etc/subuid` and `/etc/subgid` may list it. The uid is looked for as well.
    pub user: Option<String>,
    /// Subordinate user ids to use instead of what `/etc/subuid` says.
    pub uids: Option<Vec<IdRange>>,
    /// Subordinate group ids to use instead of what `/etc/subgid` says.
    pub gids: Option<Vec<IdRange>>,
}

/// The user namespace that [`enter`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootlessReport {
    /// User ids inside and outside.
    pub uids: Vec<IdMapping>,
    /// Group ids inside and outside.
    pub gids: Vec<IdMapping>,
    /// Why there is a single id only. `None` when there is a range.
    pub single: Option<String>,
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// Other threads run already: they would stay outside.
    #[error("a user namespace has to be entered before any thread is started: {0} are running")]
    Threads(usize),
    /// The kernel said no.
    #[error("cannot make a user namespace")]
    Unshare {
        /// Why not.
        source: io::Error,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The namespace is there but ids could not be mapped into it.
    #[error("cannot map ids into the user namespace: {step}")]
    Map {
        /// What was being done.
        step: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl RootlessError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unshare { hint, .. } => hint.clone(),
            Self::Threads(_) => None,
            Self::Map { source, .. } if source.raw_os_error() == Some(libc::EPERM) => restriction(),
            Self::Map { .. } => None,
        }
    }
}

/// Makes this process user 0 of a new user namespace, with a mount namespace of its own. Called once, at the start
/// of a command that does not run as root, while there is a single thread.
///
/// With `newuidmap`, `newgidmap` and subordinate ids the namespace has a range of ids; otherwise the caller's own
/// alone, as 0, and the report says why.
///
/// # Errors
/// [`RootlessError`]; the process is then of no use for running jobs.
pub fn enter(options: &RootlessOptions) -> Result<RootlessReport, RootlessError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(RootlessError::Threads(threads));
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let plan = idmap::Plan::new(options, uid, gid);
    // The helper is left outside: only there do the set-uid programs have any power.
    let helper =
        match &plan {
            Ok(plan) => Some(idmap::Helper::start(plan.clone()).map_err(|source| RootlessError::Map {
                step: "start a process outside of it".into(),
                source,
            })?),
            Err(_) => None,
        };
    syscall::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).map_err(|errno| {
        let source = io::Error::from_raw_os_error(errno);
        RootlessError::Unshare { hint: unshare_hint(errno), source }
    })?;
    let report = match (plan, helper) {
        (Ok(plan), Some(helper)) => match helper.map() {
            Ok(()) => RootlessReport { uids: plan.uids, gids: plan.gids, single: None },
            Err(why) => idmap::map_single(uid, gid, why)?,
        },
        (Err(why), _) => idmap::map_single(uid, gid, why)?,
        (Ok(_), None) => idmap::map_single(uid, gid, "no process outside".into())?,
    };
    become_root(report.single.is_none())?;
    let failed = |source: rustix::io::Errno| RootlessError::Map {
        step: "part its mounts from the host's".into(),
        source: source.into(),
    };
    part_mounts().map_err(failed)?;
    Ok(report)
}

/// Gives this process a mount namespace of its own, so that its mounts are nobody else's business and end with it.
/// For real root; called once at the start of a command, while there is a single thread.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn enter_mount_namespace() -> io::Result<()> {
    syscall::unshare(libc::CLONE_NEWNS).map_err(io::Error::from_raw_os_error)?;
    Ok(part_mounts()?)
}

/// What the host unmounts goes away here too, and nothing of ours reaches the host.
fn part_mounts() -> rustix::io::Result<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

fn become_root(with_groups: bool) -> Result<(), RootlessError> {
    let groups: Option<&[u32]> = with_groups.then_some(&[]);
    syscall::become_user(0, 0, groups).map_err(|(_, errno)| RootlessError::Map {
        step: "become user 0 in it".into(),
        source: io::Error::from_raw_os_error(errno),
    })
}

fn unshare_hint(errno: i32) -> Option<String> {
    match errno {
        libc::ENOSPC | libc::EUSERS => {
            Some("allow more user namespaces: `sysctl -w user.max_user_namespaces=15000`".into())
        }
        libc::EPERM => restriction(),
        libc::EINVAL | libc::ENOSYS => {
            Some("this kernel was built without user namespaces: run orlop as root".into())
        }
        _ => None,
    }
}

/// The switch that keeps this host's users from making user namespaces.
fn restriction() -> Option<String> {
    let is = |path: &str, value| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Some(
            "AppArmor keeps programs without a profile from it: \
             `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or run orlop as root"
                .into(),
        );
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some(
            "allow it with `sysctl -w kernel.unprivileged_userns_clone=1`, or run orlop as root".into(),
        );
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return unshare_hint(libc::ENOSPC);
    }
    Some("this environment (a container?) forbids user namespaces: run orlop as root".into())
}

/// A program in the directories of `path`.
fn find(path: &OsString, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
