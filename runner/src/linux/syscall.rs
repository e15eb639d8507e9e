//! The system calls that rustix does not have, and those that a process made by `clone` may use safely.
//!
//! Everything here is a bare system call: no allocation, no lock, no thread-local state but `errno`. That is what
//! makes it fit for use between `clone` and `execve` in a process whose parent had other threads.
#![expect(unsafe_code, reason = "system calls that no safe wrapper exists for")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::seccomp::Instruction;

/// An error number as the kernel gave it; turned into an [`io::Error`] where there is room for one.
pub(super) type Errno = i32;

fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Which side of a `clone` this is.
#[derive(Debug)]
pub(super) enum Side {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// The kernel's `struct clone_args`, as far as `CLONE_INTO_CGROUP`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child in new namespaces, with a copy of this process's memory and only the calling thread in it.
///
/// The child has no exit signal: nobody's `wait` for any child finds it, and an ignored SIGCHLD does not lose it.
pub(super) fn clone_child(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces | (libc::CLONE_PIDFD as u64) | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child gets its own copy of the stack and returns here on it; the arguments live
    // across the call and the kernel writes only to `pidfd`.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Parent { pid: pid as i32, pidfd })
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Moves this thread into new namespaces of its own.
pub(super) fn unshare(namespaces: libc::c_int) -> Result<(), Errno> {
    debug_assert!(namespaces & libc::CLONE_FILES == 0, "descriptors stay shared");
    // SAFETY: namespaces change nothing about memory or descriptors.
    check(unsafe { libc::syscall(libc::SYS_unshare, namespaces) }).map(drop)
}

/// A plain fork that reports by SIGCHLD. Zero is the child's side.
pub(super) fn fork() -> Result<i32, Errno> {
    let args = CloneArgs { exit_signal: libc::SIGCHLD as u64, ..CloneArgs::default() };
    // SAFETY: as in `clone_child`.
    check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })
        .map(|pid| pid as i32)
}

/// Ends this process without running anything that its parent had registered.
pub(super) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group does not return and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_exit_group, code) };
    }
}

/// Closes all descriptors but `keep`, which is sorted.
pub(super) fn close_all_but(keep: &[RawFd]) -> Result<(), Errno> {
    let mut first: u32 = 0;
    for fd in keep {
        let fd = *fd as u32;
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

/// Marks all descriptors above standard error to be closed by `execve`.
pub(super) fn close_on_exec_above_stderr() -> Result<(), Errno> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: descriptors only; the caller is a child that uses none of those it closes.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets attributes (`MOUNT_ATTR_*`) of the mount at `fd`, and of all below it when `recursive`.
pub(super) fn set_mount_attributes(fd: impl AsFd, set: u64, recursive: bool) -> Result<(), Errno> {
    let attributes = MountAttr { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: an empty path and a structure of the size given, both alive across the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

const AT_RECURSIVE: i32 = 0x8000;

/// Blocks every signal and returns the mask that was in force, or puts such a mask back.
pub(super) fn set_signal_mask(mask: u64) -> u64 {
    let mut old: u64 = 0;
    // SAFETY: both masks are 8 bytes, as the size says.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            size_of::<u64>(),
        )
    };
    old
}

/// Gives every signal its default action, the ignored ones included.
pub(super) fn reset_signals() {
    // Zero is SIG_DFL without flags or mask in every layout of the kernel's `struct sigaction`. The C library's
    // function is not used: musl's takes a lock for SIGABRT.
    let action = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the structure is at least as large as the kernel's. SIGKILL and SIGSTOP are refused, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// A descriptor that is readable when a child has ended.
pub(super) fn child_signal_fd() -> Result<OwnedFd, Errno> {
    let mask: u64 = 1 << (libc::SIGCHLD - 1);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the mask is 8 bytes, as the size says; the new descriptor is ours.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, size_of::<u64>(), flags))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Processor time and memory of a process and of all its children that were waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChildUsage {
    pub(super) user: std::time::Duration,
    pub(super) system: std::time::Duration,
    /// Of the largest single process.
    pub(super) peak_memory: u64,
}

/// Waits for `pid` (-1 for any child). `None` when `block` is not set and none has ended.
pub(super) fn wait(pid: i32, block: bool) -> Result<Option<(i32, i32, ChildUsage)>, Errno> {
    let mut status = 0i32;
    // SAFETY: all zeroes is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: the kernel writes to the two structures, both of the layout that it expects.
    let pid = check(unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, options, &raw mut usage) })?
        as i32;
    if pid == 0 {
        return Ok(None);
    }
    let time = |value: libc::timeval| {
        std::time::Duration::new(
            u64::try_from(value.tv_sec).unwrap_or(0),
            u32::try_from(value.tv_usec).unwrap_or(0).min(999_999) * 1000,
        )
    };
    let usage = ChildUsage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    };
    Ok(Some((pid, status, usage)))
}

/// Sends `signal` to every process of this PID namespace but this one, its first.
pub(super) fn signal_all(signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_kill, -1, signal) };
}

/// Installs a seccomp filter. The thread holds CAP_SYS_ADMIN or has `no_new_privs` set.
pub(super) fn install_filter(program: &[Instruction]) -> Result<(), Errno> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| libc::E2BIG)?;
    let program = Program { length, instructions: program.as_ptr() };
    // Without this flag older kernels slow every indirect branch of a filtered process down.
    for flags in [libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0] {
        // SAFETY: the program's layout is the kernel's `struct sock_fprog`, and it lives across the call.
        let result = check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        });
        match result {
            Err(libc::EINVAL) if flags != 0 => {}
            other => return other.map(drop),
        }
    }
    Err(libc::EINVAL)
}

/// Gives this process a keyring of its own for its session.
pub(super) fn new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn raise_loopback() -> Result<(), Errno> {
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        padding: [u8; 22],
    }
    let mut request =
        Request { name: [0; 16], flags: (libc::IFF_UP | libc::IFF_RUNNING) as i16, padding: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the request has the size of the kernel's `struct ifreq`, 40 bytes; the socket is ours to close.
    unsafe {
        let socket =
            check(libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let socket = OwnedFd::from_raw_fd(socket as RawFd);
        check(libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request))
            .map(drop)
    }
}

/// Makes the terminal at `fd` this session's own.
pub(super) fn take_terminal(fd: impl AsFd) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Makes `fd` the descriptor `target`, 0 to 2, which stays open in `execve`.
pub(super) fn place(fd: impl AsFd, target: RawFd) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    if fd == target {
        // SAFETY: clears CLOEXEC of a descriptor that is open.
        return check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: replaces one of the three standard descriptors of a child that is about to become another program.
    check(unsafe { libc::syscall(libc::SYS_dup3, fd, target, 0) }).map(drop)
}

/// Supplementary groups, and group and user ids of this thread, the only one of its process.
pub(super) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<(), (Identity, Errno)> {
    // SAFETY: the list has the length given; the rest are numbers.
    unsafe {
        if let Some(groups) = groups {
            check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))
                .map_err(|errno| (Identity::Groups, errno))?;
        }
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid)).map_err(|errno| (Identity::Group, errno))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map_err(|errno| (Identity::User, errno))?;
    }
    Ok(())
}

/// The part of [`become_user`] that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    Groups,
    Group,
    User,
}

/// `argv` or `envp`: strings and the null-ended array of pointers to them, made before `clone`.
#[derive(Debug)]
pub(super) struct StringArray {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringArray {
    pub(super) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

/// Becomes another program; returns only when that fails.
pub(super) fn execute(path: &CStr, arguments: &StringArray, environment: &StringArray) -> Errno {
    // SAFETY: strings end in zero bytes, arrays in null pointers, and all are alive.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_errno()
}

/// Where the kernel shows this process's command line from (`/proc/self/stat`, fields 48 and 49).
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandLine {
    start: usize,
    end: usize,
}

impl CommandLine {
    /// Finds it. `None` when /proc does not tell.
    pub(super) fn find() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name in parentheses, which may hold anything.
        let rest = stat.rsplit_once(") ")?.1;
        let mut fields = rest.split(' ').skip(45);
        let start = fields.next()?.parse().ok()?;
        let end = fields.next()?.parse().ok()?;
        (start != 0 && start < end).then_some(Self { start, end })
    }

    /// Overwrites it with `text`. Only for a child, whose memory nobody else reads.
    pub(super) fn overwrite(self, text: &[u8]) {
        let length = self.end - self.start;
        let text = &text[..text.len().min(length.saturating_sub(1))];
        // SAFETY: the kernel says that the process's arguments lie there; the memory is writable, belongs to the
        // initial stack, and no reference into it is used in the child.
        unsafe {
            let start = self.start as *mut u8;
            std::ptr::write_bytes(start, 0, length);
            std::ptr::copy_nonoverlapping(text.as_ptr(), start, text.len());
        }
    }
}
