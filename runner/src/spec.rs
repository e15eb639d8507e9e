//! [`RunSpec`]: everything a job is, as plain data that every platform's runner understands.

use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::{Capabilities, SpecError};

mod parse;
mod windows;

pub use windows::{Account, Identity, Isolation, Mitigation, WindowsOptions};

/// One job: what to run, over which root, with what in sight and within which limits.
///
/// [`RunSpec::new`] gives what Docker would: its capabilities and seccomp filter, host network, no limits.
#[derive(Debug)]
pub struct RunSpec {
    /// Directory that becomes the job's root: a snapshot's, already writable. Absolute, on the host; it may be an
    /// overlay that the caller mounted in its own mount namespace. Mounts below it are not seen by the job. One
    /// job at a time: what one makes to mount over, another would find, or lose.
    pub root: PathBuf,
    /// The command and its arguments. The first is looked up in the job's `PATH` when it holds no slash.
    pub args: Vec<OsString>,
    /// Text that follows the arguments on a Windows command line exactly as it is, behind one space: the shell form
    /// of a RUN, which `cmd /S /C` wants unquoted. `None` elsewhere.
    pub raw_tail: Option<OsString>,
    /// The whole environment. `HOME` is added from [`User::home`] when it is not among them, `TERM` when there is a
    /// [`Terminal`].
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the root; it has to exist.
    pub cwd: PathBuf,
    /// Whom the command runs as.
    pub user: User,
    /// The job's own host name.
    pub hostname: Hostname,
    /// What the job sees besides its root. A target below another is inside what is mounted there; of two with the
    /// same target the later one is seen.
    pub mounts: Vec<Mount>,
    /// What it can reach.
    pub network: Network,
    /// Lines for its `/etc/hosts`, as `--add-host` gives them.
    pub add_hosts: Vec<HostEntry>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Resource limits of each of its processes, as `--ulimit` gives them.
    pub ulimits: Vec<Ulimit>,
    /// Limits of the job as a whole.
    pub limits: Limits,
    /// Where file descriptor 0 comes from.
    pub stdin: Stdin,
    /// A terminal of its own, for `orlop run -t`.
    pub terminal: Option<Terminal>,
    /// What it may do.
    pub security: Security,
    /// Which confinements the caller can do without.
    pub isolation: Isolation,
    /// What only a Windows runner knows; plain data everywhere.
    pub windows: WindowsOptions,
}

impl RunSpec {
    /// A job over `root` with Docker's defaults: user 0, `/` as working directory, 64 MiB of shared memory.
    pub fn new<A: Into<OsString>>(root: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            root: root.into(),
            args: args.into_iter().map(Into::into).collect(),
            raw_tail: None,
            env: vec![("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())],
            cwd: "/".into(),
            user: User::default(),
            hostname: Hostname::default(),
            mounts: Vec::new(),
            network: Network::Host,
            add_hosts: Vec::new(),
            shm_size: 64 << 20,
            ulimits: Vec::new(),
            limits: Limits::default(),
            stdin: Stdin::Null,
            terminal: None,
            security: Security::default(),
            isolation: Isolation::default(),
            windows: WindowsOptions::default(),
        }
    }
}

/// A user by number. `linux::user::resolve` makes one from a Dockerfile's `USER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id inside the job.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups, in `/etc/group`'s order.
    pub groups: Vec<u32>,
    /// Home directory, for `HOME`.
    pub home: PathBuf,
}

impl Default for User {
    /// Root with home `/root`.
    fn default() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), home: "/root".into() }
    }
}

/// A host name: 1 to 64 bytes of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname(String);

impl Hostname {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Hostname {
    /// `orlop`: a fixed name, so that a step that writes it down writes the same thing each time.
    fn default() -> Self {
        Self("orlop".into())
    }
}

impl FromStr for Hostname {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts_well && text.len() <= 64 && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::Hostname(text.to_owned()))
        }
    }
}

/// Something that the job sees at a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path inside the root. Symlinks on the way are followed inside the root only. What is missing is
    /// created, and removed again after the job.
    pub target: PathBuf,
    /// What is there.
    pub kind: MountKind,
}

impl Mount {
    /// A host directory, file or socket at `target`.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>, readonly: bool) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Bind { source: source.into(), within: None, readonly },
        }
    }

    /// A file of given content at `target`.
    pub fn file(
        target: impl Into<PathBuf>,
        content: impl Into<Vec<u8>>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Self {
        Self { target: target.into(), kind: MountKind::File { content: content.into(), mode, uid, gid } }
    }
}

/// What a [`Mount`] shows.
#[derive(Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A directory, file or socket of the host, with what is mounted below it.
    Bind {
        /// Its path.
        source: PathBuf,
        /// When given, `source` is a path inside this directory, and no symlink in it leads out: for sources
        /// that come from an image or a context.
        within: Option<PathBuf>,
        /// Whether the job is kept from writing to it and to what is mounted below it.
        readonly: bool,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Size in bytes; half of the machine's memory when `None`.
        size: Option<u64>,
        /// Permissions, `0o1777` as a rule.
        mode: u32,
    },
    /// A file in memory, read-only for the job: a secret, `/etc/resolv.conf`. Never touches a disk.
    File {
        /// Its bytes.
        content: Vec<u8>,
        /// Permissions.
        mode: u32,
        /// Owner, an id inside the job.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl std::fmt::Debug for MountKind {
    /// Without a file's content, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind { source, within, readonly } => f
                .debug_struct("Bind")
                .field("source", source)
                .field("within", within)
                .field("readonly", readonly)
                .finish(),
            Self::Tmpfs { size, mode } => {
                f.debug_struct("Tmpfs").field("size", size).field("mode", mode).finish()
            }
            Self::File { content, mode, uid, gid } => f
                .debug_struct("File")
                .field("bytes", &content.len())
                .field("mode", mode)
                .field("uid", uid)
                .field("gid", gid)
                .finish(),
        }
    }
}

/// What a job can reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// The host's network.
    #[default]
    Host,
    /// Nothing but its own loopback interface.
    None,
}

/// One `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The name to resolve.
    pub name: String,
    /// To what.
    pub address: HostAddress,
}

/// The address of a [`HostEntry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// A fixed one.
    Ip(IpAddr),
    /// `host-gateway`: wherever the host itself answers. On the host network that is the loopback address.
    HostGateway,
}

/// Limits of a job as a whole. One that is given and cannot be enforced is an error, never ignored, unless
/// [`Isolation::allow`] names it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Memory of the whole job in bytes, swap not on top of it.
    pub memory: Option<u64>,
    /// Memory of each of its processes in bytes.
    pub process_memory: Option<u64>,
    /// Processors' worth of time, such as 1.5: more is not given even when the machine is idle.
    pub cpus: Option<f64>,
    /// Share of the processors where they are scarce, 1 to 10,000; 100 is what a job has that does not say.
    pub cpu_weight: Option<u16>,
    /// Processes and threads at one time (on Windows processes); the runner's own first process counts as one on
    /// Linux.
    pub pids: Option<u64>,
    /// Processor time of all processes together, user and kernel; then the job is killed.
    pub cpu_time: Option<Duration>,
    /// Outgoing network traffic in bytes a second.
    pub net_rate: Option<u64>,
    /// Time after which the job is killed.
    pub wall: Option<Duration>,
    /// Time between SIGTERM and SIGKILL when the job is cancelled; 5 seconds when `None`.
    pub grace: Option<Duration>,
}

/// A resource limit of one process, setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// Which.
    pub kind: UlimitKind,
    /// The limit in force; `None` is unlimited.
    pub soft: Option<u64>,
    /// How far the process may raise it; `None` is unlimited.
    pub hard: Option<u64>,
}

/// The resource of a [`Ulimit`], by the names that Docker's `--ulimit` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of setrlimit(2)")]
pub enum UlimitKind {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Where a job's file descriptor 0 comes from.
#[derive(Debug, Default)]
pub enum Stdin {
    /// Nothing: end of file at once.
    #[default]
    Null,
    /// The caller's own standard input.
    Inherit,
    /// An open file, pipe or terminal.
    File(File),
}

/// A terminal for the job. Output then comes as one stream; when stdin is a terminal too, it is put into raw mode
/// for the job's time and its size is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Height in lines, until stdin's is known.
    pub rows: u16,
    /// Width in columns.
    pub columns: u16,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { rows: 24, columns: 80 }
    }
}

/// What a job may do. The default is Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Security {
    /// Most that any process of the job can have; a command that runs as user 0 starts with all of them.
    pub capabilities: Capabilities,
    /// Whether a command that runs as another user starts with all of them too, and hands them on (ambient).
    pub for_every_user: bool,
    /// Whether system calls are filtered as Docker's default profile does.
    pub seccomp: bool,
    /// Whether programs such as `sudo` are kept from gaining privileges.
    pub no_new_privileges: bool,
    /// Whether the root is read-only.
    pub readonly_root: bool,
    /// Whether devices can be opened only where the runner put them, and the telling and dangerous parts of `/proc`
    /// and `/sys` are hidden or read-only.
    pub protect_system: bool,
    /// Whether `/dev` holds the machine's devices that tools which build disk images ask for: `fuse`, `kvm`, `loop*`
    /// and the like, whether there is a driver behind them or not. A user namespace, which may not open them, has none.
    pub machine_devices: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            capabilities: Capabilities::DOCKER_DEFAULT,
            for_every_user: false,
            seccomp: true,
            no_new_privileges: false,
            readonly_root: false,
            protect_system: true,
            machine_devices: false,
        }
    }
}

impl Security {
    /// `RUN --security=insecure`: everything that the caller itself may do, as BuildKit has it. Namespaces and limits
    /// stay.
    pub fn insecure() -> Self {
        Self {
            capabilities: Capabilities::ALL,
            for_every_user: true,
            seccomp: false,
            no_new_privileges: false,
            readonly_root: false,
            protect_system: false,
            machine_devices: true,
        }
    }
}

/// Whether `path` is absolute, for errors that name it.
pub(crate) fn absolute(what: &'static str, path: &Path) -> Result<(), SpecError> {
    if path.is_absolute() { Ok(()) } else { Err(SpecError::RelativePath { what, path: path.to_owned() }) }
}

/// What can be told from the description alone, on any platform.
pub(crate) fn check(spec: &RunSpec) -> Result<(), SpecError> {
    absolute("the root", &spec.root)?;
    if spec.args.first().is_none_or(|program| program.is_empty()) {
        return Err(SpecError::NoCommand);
    }
    for (name, _) in &spec.env {
        if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
            return Err(SpecError::VariableName(name.to_string_lossy().into_owned()));
        }
    }
    for mount in &spec.mounts {
        let named = |component| matches!(component, std::path::Component::Normal(_));
        if !mount.target.components().any(named) {
            return Err(SpecError::MountTarget(mount.target.clone()));
        }
    }
    let limits = &spec.limits;
    let too_small = |bytes: Option<u64>| bytes.filter(|bytes| *bytes < 1 << 20);
    let refused = [
        too_small(limits.memory).map(|bytes| ("memory limit", format!("{bytes} bytes"))),
        too_small(limits.process_memory).map(|bytes| ("memory limit of a process", format!("{bytes} bytes"))),
        limits
            .cpus
            .filter(|cpus| !cpus.is_finite() || *cpus < 0.01)
            .map(|cpus| ("processor limit", format!("{cpus}"))),
        limits
            .cpu_weight
            .filter(|weight| !(1..=10_000).contains(weight))
            .map(|weight| ("processor weight", format!("{weight}"))),
        limits.pids.filter(|pids| *pids == 0).map(|_| ("process limit", "0".into())),
        limits.cpu_time.filter(Duration::is_zero).map(|_| ("processor time limit", "0".into())),
        limits.net_rate.filter(|rate| *rate == 0).map(|_| ("network rate", "0".into())),
        limits.wall.filter(Duration::is_zero).map(|_| ("time limit", "0".into())),
    ];
    match refused.into_iter().flatten().next() {
        Some((what, value)) => Err(SpecError::LimitValue { what, value }),
        None => Ok(()),
    }
}
