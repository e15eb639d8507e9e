//! What a record of a failure means, in words.

use std::io;

use super::host::Host;
use super::init::{Record, Stage};
use crate::{RunError, RunSpec};

/// Exit code and message for a command that cannot be executed, as a shell has them.
pub(super) fn exec(record: &Record, spec: &RunSpec) -> (i32, String) {
    let program = spec.args.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    match record.value {
        // The file is there, but not what it needs to run.
        libc::ENOENT if record.index == 1 => {
            (127, format!("orlop: {program}: cannot run, because its interpreter or loader is missing\n"))
        }
        libc::ENOENT if program.contains('/') => (127, format!("orlop: {program}: not found\n")),
        libc::ENOENT => (127, format!("orlop: {program}: command not found\n")),
        errno => (126, format!("orlop: {program}: {}\n", message(errno))),
    }
}

fn message(errno: i32) -> String {
    match errno {
        libc::EACCES => "permission denied".into(),
        libc::ENOEXEC => "not an executable file (a script needs `#!` in its first line)".into(),
        _ => io::Error::from_raw_os_error(errno).to_string(),
    }
}

/// The error for a job that could not be set up.
pub(super) fn setup_error(
    record: &Record,
    spec: &RunSpec,
    host: &Host,
    steps: &[(String, String)],
) -> RunError {
    let user = &spec.user;
    let step = match record.stage {
        Stage::Mount => match steps.get(record.index as usize) {
            Some((step, _)) => step.clone(),
            None => "mount".into(),
        },
        Stage::Descriptors => "close the job's inherited descriptors".into(),
        Stage::Session => "start the job's first process".into(),
        Stage::Cgroup => "join the job's control group".into(),
        Stage::CgroupNamespace => "make a control group namespace".into(),
        Stage::Hostname => format!("set the host name to `{}`", spec.hostname.as_str()),
        Stage::Loopback => "bring up the loopback interface".into(),
        Stage::Propagation => "part the job's mounts from the host's".into(),
        Stage::AttachRoot => format!("mount the job's root `{}`", spec.root.display()),
        Stage::Pivot => format!("make `{}` the job's root", spec.root.display()),
        Stage::Fork => "start the job's command".into(),
        Stage::Terminal => "give the job its terminal".into(),
        Stage::Stdio => "set up the job's standard input and output".into(),
        Stage::Cwd => format!("enter the working directory `{}`", spec.cwd.display()),
        Stage::Rlimit => "set the resource limits of the job's processes".into(),
        Stage::NoNewPrivileges => "forbid new privileges".into(),
        Stage::Filter => "install the system call filter".into(),
        Stage::Groups => format!("become user {}: set its groups", user.uid),
        Stage::Gid => format!("become group {}", user.gid),
        Stage::Uid => format!("become user {}", user.uid),
        Stage::Capabilities => "drop capabilities".into(),
        Stage::Exited | Stage::Skipped | Stage::Exec => "run the job".into(),
    };
    let hint = match (record.stage, record.value) {
        (Stage::Groups | Stage::Gid | Stage::Uid, libc::EINVAL | libc::EPERM)
            if !host.initial_user_namespace =>
        {
            Some(
                "this id has no place in the user namespace: give the user more ids in /etc/subuid and \
                 /etc/subgid (`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`)"
                    .into(),
            )
        }
        (Stage::Cwd, libc::ENOENT) => Some("create it with WORKDIR".into()),
        (Stage::Pivot, libc::EINVAL) => Some(
            "orlop's own root has to be a mount point: it does not run in a plain chroot or initramfs".into(),
        ),
        _ => None,
    };
    RunError::Setup { step, source: io::Error::from_raw_os_error(record.value), hint }
}
