//! What must happen before any thread is started: being root, or root of a user namespace, and having
//! mounts of our own.

use orlop_runner::linux::rootless::{self, RootlessOptions};
use orlop_store::layer::{Ownership, XattrForm};

use crate::diagnostics::Failure;
use crate::env;
use crate::startup::Host;

/// Makes this process able to work with a store. There must be one thread only.
pub(crate) fn enter() -> Result<Host, Failure> {
    super::places::user();
    let host = if is_root() { as_root() } else { as_user()? };
    orlop_runner::linux::sweep_stale();
    Ok(host)
}

/// Whether the user is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_root() -> Host {
    // Without the right to (a container of few capabilities) mounts are not made either, and what then
    // does not work says so itself.
    let own_mounts = orlop_runner::linux::enter_mount_namespace();
    let xattrs = if owns_machine() { XattrForm::Trusted } else { XattrForm::User };
    let note = own_mounts.err().map(|error| format!("orlop cannot have mounts of its own here: {error}"));
    Host { root: true, xattrs, ownership: Ownership::Keep, note }
}

/// Whether user 0 here is user 0 of the machine, and may set `trusted` attributes: in a container of few capabilities
/// it may not.
fn owns_machine() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let may = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN));
    may && map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

fn as_user() -> Result<Host, Failure> {
    let uid = rustix::process::getuid().as_raw();
    let options = RootlessOptions {
        path: env::PATH.get().unwrap_or_default(),
        user: login_name(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), uid),
        ..RootlessOptions::default()
    };
    let report = rootless::enter(&options)
        .map_err(|error| Failure::internal(error.to_string()).because(&error).with_hint(error.hint()))?;
    let (ownership, note) = match report.single {
        None => (Ownership::Keep, None),
        Some(why) => {
            let note = format!("all files will belong to one user, because there are no further ids: {why}");
            (Ownership::Ignore, Some(note))
        }
    };
    Ok(Host { root: false, xattrs: XattrForm::User, ownership, note })
}

fn login_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_name_is_that_of_the_uid() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(login_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(login_name(passwd, 1001), None);
    }
}
