//! What runs in the job before the job's own program does: the PID namespace's first process, and the process that
//! becomes the command.
//!
//! Both are copies of this process, made by `clone` while other threads may have held any lock. So nothing here
//! allocates, locks, panics or returns: a [`Plan`] is made before, and the code below walks through it by bare
//! system calls. Descriptors that it opens are closed by the kernel at the latest when it ends.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Signal};

use super::mounts::Step;
use super::seccomp::Instruction;
use super::syscall::{self, CommandLine, Errno, Identity, StringArray};

/// All that the two processes need, prepared before they exist.
#[derive(Debug)]
pub(super) struct Plan {
    /// Descriptors that outlive the first moment, sorted.
    pub(super) keep: Vec<RawFd>,
    /// Signals to pass on, a byte each; end of file when our parent is gone.
    pub(super) control: OwnedFd,
    /// Where records go.
    pub(super) status: OwnedFd,
    /// `cgroup.procs` of each v1 group to join.
    pub(super) groups: Vec<OwnedFd>,
    pub(super) cgroup_namespace: bool,
    pub(super) hostname: String,
    pub(super) loopback: bool,
    pub(super) command_line: Option<CommandLine>,
    /// A file system with the files that are mounted one by one; attached below the root, where it is never seen.
    pub(super) support: OwnedFd,
    /// The root, as a mount of its own.
    pub(super) root: OwnedFd,
    /// Where both are attached.
    pub(super) root_path: CString,
    /// The mounts, in order.
    pub(super) steps: Vec<Step>,
    pub(super) payload: Payload,
}

/// What the second process does to become the command.
#[derive(Debug)]
pub(super) struct Payload {
    /// Standard input, output and error; all above 2.
    pub(super) stdio: [OwnedFd; 3],
    pub(super) terminal: bool,
    pub(super) cwd: CString,
    pub(super) rlimits: Vec<(rustix::process::Resource, rustix::process::Rlimit)>,
    pub(super) no_new_privileges: bool,
    pub(super) filter: Vec<Instruction>,
    /// Numbers of the capabilities to drop for good.
    pub(super) drop: Vec<rustix::thread::CapabilitySet>,
    /// Those that a command of user 0 starts with.
    pub(super) keep: rustix::thread::CapabilitySet,
    /// The same one by one, where a command of every user starts with them.
    pub(super) ambient: Vec<rustix::thread::CapabilitySet>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` where the user namespace forbids to set them.
    pub(super) groups: Option<Vec<u32>>,
    /// Paths to try, in order.
    pub(super) programs: Vec<CString>,
    pub(super) arguments: StringArray,
    pub(super) environment: StringArray,
}

/// What a record on the status pipe is about. The number travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// The command's wait status is the value.
    Exited = 0,
    /// A mount step failed that the job can do without; the index says which.
    Skipped = 1,
    // From here on: the job could not be set up, and the value says why.
    Mount = 2,
    Descriptors = 3,
    Session = 4,
    Cgroup = 5,
    CgroupNamespace = 6,
    Hostname = 7,
    Loopback = 8,
    Propagation = 9,
    AttachRoot = 10,
    Pivot = 11,
    Fork = 12,
    Terminal = 13,
    Stdio = 14,
    Cwd = 15,
    Rlimit = 16,
    NoNewPrivileges = 17,
    Filter = 18,
    Groups = 19,
    Gid = 20,
    Uid = 21,
    Capabilities = 22,
    /// Not a failure of ours: the command cannot be executed.
    Exec = 23,
}

impl Stage {
    const ALL: [Stage; 24] = [
        Stage::Exited,
        Stage::Skipped,
        Stage::Mount,
        Stage::Descriptors,
        Stage::Session,
        Stage::Cgroup,
        Stage::CgroupNamespace,
        Stage::Hostname,
        Stage::Loopback,
        Stage::Propagation,
        Stage::AttachRoot,
        Stage::Pivot,
        Stage::Fork,
        Stage::Terminal,
        Stage::Stdio,
        Stage::Cwd,
        Stage::Rlimit,
        Stage::NoNewPrivileges,
        Stage::Filter,
        Stage::Groups,
        Stage::Gid,
        Stage::Uid,
        Stage::Capabilities,
        Stage::Exec,
    ];
}

/// One message on the status pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) stage: Stage,
    pub(super) index: u32,
    pub(super) value: i32,
}

impl Record {
    /// Bytes on the pipe; less than PIPE_BUF, so that records never mix.
    pub(super) const SIZE: usize = 12;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let ([a, b, c, d], [e, f, g, h]) = (self.index.to_ne_bytes(), self.value.to_ne_bytes());
        [self.stage as u8, 0, 0, 0, a, b, c, d, e, f, g, h]
    }

    pub(super) fn from_bytes(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [stage, _, _, _, a, b, c, d, e, f, g, h] = bytes;
        Some(Self {
            stage: *Stage::ALL.get(usize::from(stage))?,
            index: u32::from_ne_bytes([a, b, c, d]),
            value: i32::from_ne_bytes([e, f, g, h]),
        })
    }
}

type Outcome<T> = Result<T, Record>;

/// Names the stage of a failure.
trait At<T> {
    fn at(self, stage: Stage) -> Outcome<T>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Outcome<T> {
        self.map_err(|value| Record { stage, index: 0, value })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, stage: Stage) -> Outcome<T> {
        self.map_err(rustix::io::Errno::raw_os_error).at(stage)
    }
}

impl Plan {
    /// The first process of the job.
    pub(super) fn run_init(&mut self) -> ! {
        let Err(record) = self.init();
        self.send(record);
        syscall::exit(1)
    }

    fn send(&self, record: Record) {
        // There is nobody to tell when this fails: the reader is the parent whose end ends us too.
        let _ = rustix::io::write(&self.status, &record.to_bytes());
    }

    fn init(&mut self) -> Outcome<std::convert::Infallible> {
        // First of all: descriptors of other threads' jobs, locks and pipes must not be held open by us.
        syscall::close_all_but(&self.keep).at(Stage::Descriptors)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Stage::Session)?;
        if self.parent_is_gone() {
            syscall::exit(1);
        }
        rustix::process::setsid().at(Stage::Session)?;
        // The memory is a copy of the builder's: nobody in the job may look at it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Session)?;
        rustix::thread::set_name(c"orlop-init").at(Stage::Session)?;
        if let Some(command_line) = self.command_line {
            command_line.overwrite(b"orlop-init");
        }
        for group in &self.groups {
            rustix::io::write(group, b"0").at(Stage::Cgroup)?;
        }
        if self.cgroup_namespace {
            syscall::unshare(libc::CLONE_NEWCGROUP).at(Stage::CgroupNamespace)?;
        }
        rustix::system::sethostname(self.hostname.as_bytes()).at(Stage::Hostname)?;
        if self.loopback {
            syscall::raise_loopback().at(Stage::Loopback)?;
        }
        self.build_root()?;
        let children = syscall::child_signal_fd().at(Stage::Fork)?;
        let command = syscall::fork().at(Stage::Fork)?;
        if command == 0 {
            let record = self.payload.run();
            self.send(record);
            syscall::exit(127);
        }
        let mut keep = [children.as_raw_fd(), self.control.as_raw_fd(), self.status.as_raw_fd()];
        keep.sort_unstable();
        syscall::close_all_but(&keep).at(Stage::Descriptors)?;
        self.reap(&children, command)
    }

    fn parent_is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.control, PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&none)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    fn build_root(&mut self) -> Outcome<()> {
        let propagation = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", propagation).at(Stage::Propagation)?;
        for tree in [&self.support, &self.root] {
            rustix::mount::move_mount(
                tree,
                c"",
                rustix::fs::CWD,
                self.root_path.as_c_str(),
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS,
            )
            .at(Stage::AttachRoot)?;
        }
        for index in 0..self.steps.len() {
            let Some(step) = self.steps.get(index) else { break };
            let wanted = match step.instead_of {
                Some(other) => self.steps.get(other).is_some_and(|step| step.failed),
                None => true,
            };
            if !wanted {
                continue;
            }
            if let Err(errno) = step.run(self.root.as_fd(), self.support.as_fd()) {
                let mut record = Record { stage: Stage::Mount, index: index as u32, value: errno };
                if !step.forgives(errno) {
                    return Err(record);
                }
                if step.is_worth_telling(errno) {
                    record.stage = Stage::Skipped;
                    self.send(record);
                }
                if let Some(step) = self.steps.get_mut(index) {
                    step.failed = true;
                }
            }
        }
        // The new root is put over the old one, and the old one taken away: nothing of it stays reachable.
        rustix::process::fchdir(&self.root).at(Stage::Pivot)?;
        rustix::process::pivot_root(c".", c".").at(Stage::Pivot)?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH).at(Stage::Pivot)?;
        rustix::process::chdir(c"/").at(Stage::Pivot)
    }

    /// Reaps whatever ends, passes signals on, and ends with the command or with our parent. The kernel then kills
    /// all that is left in the namespace.
    fn reap(&self, children: &OwnedFd, command: i32) -> Outcome<std::convert::Infallible> {
        loop {
            let mut fds = [PollFd::new(children, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
            poll(&mut fds, None).at(Stage::Fork)?;
            if !fds[1].revents().is_empty() {
                let mut signal = [0u8];
                match rustix::io::read(&self.control, &mut signal) {
                    Ok(1) => syscall::signal_all(i32::from(signal[0])),
                    _ => syscall::exit(1),
                }
            }
            let mut ignored = [0u8; 128];
            let _ = rustix::io::read(children, &mut ignored);
            while let Ok(Some((pid, status, _))) = syscall::wait(-1, false) {
                if pid == command {
                    self.send(Record { stage: Stage::Exited, index: 0, value: status });
                    syscall::exit(0);
                }
            }
        }
    }
}

impl Payload {
    /// Becomes the command; returns only what went wrong.
    fn run(&self) -> Record {
        match self.become_command() {
            Ok((errno, found)) => Record { stage: Stage::Exec, index: u32::from(found), value: errno },
            Err(record) => record,
        }
    }

    fn become_command(&self) -> Outcome<(Errno, bool)> {
        rustix::process::setsid().at(Stage::Session)?;
        let [input, output, error] = &self.stdio;
        if self.terminal {
            syscall::take_terminal(output).at(Stage::Terminal)?;
        }
        for (file, target) in [(input, 0), (output, 1), (error, 2)] {
            syscall::place(file, target).at(Stage::Stdio)?;
        }
        rustix::process::chdir(self.cwd.as_c_str()).at(Stage::Cwd)?;
        rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
        for (index, (resource, limit)) in self.rlimits.iter().enumerate() {
            rustix::process::setrlimit(*resource, *limit).map_err(|errno| Record {
                stage: Stage::Rlimit,
                index: index as u32,
                value: errno.raw_os_error(),
            })?;
        }
        // The builder's keys are not for the job. Without keyrings in the kernel there is nothing to part from.
        let _ = syscall::new_session_keyring();
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).at(Stage::NoNewPrivileges)?;
        }
        // The filter goes in while we still hold CAP_SYS_ADMIN: without it only `no_new_privs` would do, and sudo
        // and its like would stop working. All calls below are ones that the profile allows.
        if !self.filter.is_empty() {
            syscall::install_filter(&self.filter).at(Stage::Filter)?;
        }
        for capability in &self.drop {
            rustix::thread::remove_capability_from_bounding_set(*capability).at(Stage::Capabilities)?;
        }
        let for_every_user = !self.ambient.is_empty();
        if for_every_user {
            rustix::thread::set_keep_capabilities(true).at(Stage::Capabilities)?;
        }
        syscall::become_user(self.uid, self.gid, self.groups.as_deref()).map_err(|(part, value)| Record {
            stage: match part {
                Identity::Groups => Stage::Groups,
                Identity::Group => Stage::Gid,
                Identity::User => Stage::Uid,
            },
            index: 0,
            value,
        })?;
        let none = rustix::thread::CapabilitySet::empty();
        let capabilities = if self.uid == 0 || for_every_user { self.keep } else { none };
        let sets = rustix::thread::CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: if for_every_user { self.keep } else { none },
        };
        rustix::thread::set_capabilities(None, sets).at(Stage::Capabilities)?;
        for capability in &self.ambient {
            rustix::thread::configure_capability_in_ambient_set(*capability, true).at(Stage::Capabilities)?;
        }
        syscall::reset_signals();
        syscall::set_signal_mask(0);
        syscall::close_on_exec_above_stderr().at(Stage::Descriptors)?;
        Ok(self.execute())
    }

    /// As a shell searches: goes on after a path that is not there, and remembers one that may not be executed.
    /// Returns the error and whether a file was there all the same.
    fn execute(&self) -> (Errno, bool) {
        let mut result = (libc::ENOENT, false);
        for program in &self.programs {
            match syscall::execute(program, &self.arguments, &self.environment) {
                libc::ENOENT | libc::ENOTDIR => {
                    let there = rustix::fs::access(program.as_c_str(), rustix::fs::Access::EXISTS).is_ok();
                    if there && result.0 == libc::ENOENT {
                        result.1 = true;
                    }
                }
                libc::EACCES => result = (libc::EACCES, true),
                other => return (other, true),
            }
        }
        result
    }
}

/// The descriptors of a plan, for [`Plan::keep`].
pub(super) fn sorted<'a>(fds: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<RawFd> {
    let mut fds: Vec<RawFd> = fds.into_iter().map(AsRawFd::as_raw_fd).collect();
    fds.sort_unstable();
    fds.dedup();
    fds
}
