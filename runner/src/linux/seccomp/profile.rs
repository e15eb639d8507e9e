//! Docker's default seccomp profile, as rules over names.
//!
//! State of the `moby/profiles` repository in 2026: what it allows, what it allows with a capability, and which
//! arguments it looks at.

use super::numbers::NUMBERS;
use super::{Arch, Rule, Test};
use crate::{Capabilities, Capability};

/// Flags of `clone` that make namespaces: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// Address families that sockets may have, beyond those below [`FAMILIES_BELOW`]: without the ones that the kernel
/// dropped, AF_ALG (38) and AF_VSOCK (40).
const FAMILIES: &[u64] =
    &[13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];
/// All address families below this one are allowed; the first gap is AF_DECnet, 12.
const FAMILIES_BELOW: u64 = 12;

/// Personas that `personality` may take: Linux, with and without 32-bit machine names and random addresses kept,
/// and the question what it is.
const PERSONAS: &[u64] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed to everybody, whatever the arguments.
const ALWAYS: &str = "\
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 \
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate \
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync \
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync \
    ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat \
    getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups \
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid \
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt \
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init \
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents \
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount \
    listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise \
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 \
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock \
    munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 \
    preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read \
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam \
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 \
    sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 \
    setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
    setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 \
    setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask \
    sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat \
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun \
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask \
    uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid \
    waitpid write writev process_vm_readv process_vm_writev ptrace \
";

/// Allowed on one architecture's family only.
const BY_ARCH: &[(&[Arch], &str)] = &[
    (&[Arch::Aarch64, Arch::Arm], "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls"),
    (&[Arch::X86_64, Arch::X32, Arch::X86], "arch_prctl modify_ldt"),
];

/// Allowed when the job has a capability.
const BY_CAPABILITY: &[(Capability, &str)] = &[
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// The rules for one architecture, sorted by number. What is not among them is refused.
pub(super) fn rules(arch: Arch, capabilities: Capabilities) -> Vec<(u32, Rule)> {
    let mut rules: Vec<(u32, Rule)> = Vec::new();
    let mut add = |names: &str, rule: &Rule| {
        for name in names.split_whitespace() {
            if let Some(number) = number(arch, name)
                && !rules.iter().any(|(known, _)| *known == number)
            {
                rules.push((number, rule.clone()));
            }
        }
    };
    add(ALWAYS, &Rule::Allow);
    for (arches, names) in BY_ARCH {
        if arches.contains(&arch) {
            add(names, &Rule::Allow);
        }
    }
    for (capability, names) in BY_CAPABILITY {
        if capabilities.contains(*capability) {
            add(names, &Rule::Allow);
        }
    }
    let mut families = vec![Test::Below(FAMILIES_BELOW)];
    families.extend(FAMILIES.iter().map(|family| Test::Equal(*family)));
    add("socket", &Rule::AllowIf { argument: 0, any: families });
    add(
        "personality",
        &Rule::AllowIf { argument: 0, any: PERSONAS.iter().map(|persona| Test::Equal(*persona)).collect() },
    );
    // Without CAP_SYS_ADMIN the two ways to make a namespace are closed. clone3 keeps its flags in memory, where a
    // filter cannot look: "no such call" makes the C library fall back to clone.
    add("clone", &Rule::AllowIf { argument: 0, any: vec![Test::NoneOf(CLONE_NAMESPACES)] });
    add("clone3", &Rule::Errno(libc::ENOSYS as u32));
    rules.sort_by_key(|(number, _)| *number);
    rules
}

/// A call's number on `arch`, if it has one there.
pub(super) fn number(arch: Arch, name: &str) -> Option<u32> {
    let row = NUMBERS.binary_search_by(|(known, _)| known.cmp(&name)).ok()?;
    let number = NUMBERS[row].1[arch as usize];
    (number != super::numbers::NO).then_some(number)
}

/// The highest number on `arch` that the profile's authors knew: what is above it was made later.
pub(super) fn newest(arch: Arch) -> u32 {
    NUMBERS
        .iter()
        .map(|(_, numbers)| numbers[arch as usize])
        .filter(|n| *n < PRIVATE_NUMBERS)
        .max()
        .unwrap_or(0)
}

/// Where arm's private calls begin, far above all others.
const PRIVATE_NUMBERS: u32 = 0xf_0000;
