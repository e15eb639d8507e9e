//! A process group: what git starts (`ssh`, `git-remote-https`, `index-pack`) is ended with it.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// What to type where there is no git.
pub(super) const INSTALL: &str = "install it: `apt-get install git`";

/// Makes the program the leader of a group of its own.
pub(super) fn lead(command: &mut Command) {
    command.process_group(0);
}

/// Ends the group. Its leader has not been waited for, so the number is still its own.
pub(super) fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let ended = pid.map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::KILL));
    if !matches!(ended, Some(Ok(()))) {
        drop(child.kill());
    }
}
