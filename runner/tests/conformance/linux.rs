//! The suite against the Linux runner, as root and as an ordinary user with and without subordinate ids; and what
//! only whole processes can show: what happens when orlop itself is killed.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use orlop_runner::conformance::{self, Actor, Bench, Suite};
use orlop_runner::linux::{self, LinuxRunner, rootless};
use orlop_runner::{CancelToken, Exit, Isolation, Mount, MountKind, RunSpec};
use rustix::mount::{MountFlags, UnmountFlags};

type Error = Box<dyn std::error::Error>;

/// An ordinary user that no system has, and its subordinate ids.
const USER: u32 = 12_345;
const SUBORDINATE: &str = "12345:200000:65536\n";

/// How a part runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Root,
    Ranges,
    Single,
}

impl Mode {
    const ALL: [(&'static str, Mode); 3] =
        [("root", Mode::Root), ("ranges", Mode::Ranges), ("single", Mode::Single)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(name, _)| *name == text);
        known.map(|(_, mode)| *mode).ok_or_else(|| format!("no mode `{text}`").into())
    }

    /// Becomes what the mode says: root in a mount namespace, or root of a user namespace.
    fn enter(self) -> Result<(), Error> {
        if self == Mode::Root {
            linux::sweep_stale();
            return Ok(linux::enter_mount_namespace()?);
        }
        let path = if self == Mode::Ranges { "/usr/bin:/bin" } else { "/nowhere" };
        let options = rootless::RootlessOptions { path: path.into(), ..Default::default() };
        let report = rootless::enter(&options)?;
        match (self, &report.single) {
            (Mode::Ranges, Some(why)) => Err(format!("a single id only: {why}").into()),
            (Mode::Single, None) => Err("a range of ids without newuidmap".into()),
            _ => Ok(()),
        }
    }
}

pub(super) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["actor", words @ ..] => super::actor::act(words).map_err(Into::into),
        ["role", "suite", mode, filter] => suite(mode, filter),
        ["role", "user", rest @ ..] => as_user(rest),
        ["role", "overlay", mode] => overlay(Mode::parse(mode).unwrap_or(Mode::Root)),
        ["role", "victim", mode, mark] => victim(mode, mark),
        ["--list", ..] => say("conformance: test"),
        arguments => drive(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> Result<(), Error> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// All parts, one after the other.
fn drive(arguments: &[&str]) -> Result<(), Error> {
    let filter = arguments.iter().copied().find(|argument| !argument.starts_with('-')).unwrap_or("");
    let root = rustix::process::geteuid().is_root();
    let busybox = fs::read("/bin/busybox").unwrap_or_default();
    if busybox.is_empty() || busybox.windows(9).any(|part| part == b"/ld-linux") {
        return Err("a static BusyBox is needed: apt install busybox-static".into());
    }
    // Parts that are killed leave their files; they go with this directory.
    let work = tempfile::tempdir()?;
    let mut failed = 0;
    for (name, mode) in Mode::ALL {
        if mode == Mode::Root && !root {
            say("conformance root ... not run, needs root")?;
            continue;
        }
        if mode == Mode::Ranges && !Path::new("/usr/bin/newuidmap").exists() {
            return Err("`newuidmap` is needed: apt install uidmap".into());
        }
        let started = Instant::now();
        let command = |role: &[&str]| command(mode, root, work.path(), role);
        let mut good = command(&["suite", name, filter])?.status()?.success();
        if filter.is_empty() {
            good &= command(&["overlay", name])?.status()?.success();
            let mark = format!("{}", 2_000_000 + std::process::id());
            good &= death(mode, command(&["victim", name, &mark])?, &mark)?;
        }
        failed += usize::from(!good);
        let word = if good { "ok" } else { "FAILED" };
        say(&format!("conformance {name} ... {word} in {:.1} s", started.elapsed().as_secs_f64()))?;
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} parts failed").into()) }
}

/// This program in another role, and as another user where the mode wants one.
fn command(mode: Mode, root: bool, work: &Path, role: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("role").env("TMPDIR", work);
    if mode != Mode::Root && root {
        command.arg("user");
    }
    command.args(role);
    Ok(command)
}

/// Becomes the ordinary user; its subordinate ids are shown to this process tree alone.
fn as_user(role: &[&str]) -> Result<(), Error> {
    linux::enter_mount_namespace()?;
    let directory = tempfile::tempdir_in("/tmp")?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let passwd = format!("{}orlop-test:x:{USER}:{USER}::/:/bin/sh\n", fs::read_to_string("/etc/passwd")?);
    for (name, content) in [("passwd", passwd.as_str()), ("subuid", SUBORDINATE), ("subgid", SUBORDINATE)] {
        let path = directory.path().join(name);
        fs::write(&path, content)?;
        rustix::mount::mount_bind(&path, format!("/etc/{name}"))?;
    }
    // The user may have no way to where this program lies.
    let program = directory.path().join("program");
    fs::copy(std::env::current_exe()?, &program)?;
    let work = directory.path().join("work");
    fs::create_dir(&work)?;
    std::os::unix::fs::chown(&work, Some(USER), Some(USER))?;
    let mut child = Command::new(program);
    child.arg("role").args(role).env("TMPDIR", &work).uid(USER).gid(USER).current_dir("/");
    let mut child = child.spawn()?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", role.join(" ")).into()) }
}

fn suite(mode: &str, filter: &str) -> Result<(), Error> {
    let mode = Mode::parse(mode)?;
    mode.enter()?;
    let name = format!("linux {}", mode.name());
    let count = conformance::run(&name, Suite::Unix, filter, &|| bench(mode));
    say(&format!("{count} checks"))
}

fn bench(mode: Mode) -> Bench {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (root, scratch) = (directory.path().join("root"), directory.path().join("scratch"));
    fill_root(&root).expect("a root");
    fs::create_dir(&scratch).expect("a directory");
    Bench {
        runner: Box::new(LinuxRunner::new()),
        root,
        scratch,
        many_ids: mode != Mode::Single,
        actor: actor(),
        isolation: Isolation::default(),
        keep: Box::new(directory),
    }
}

/// This program, with the host's libraries, which the root has not.
fn actor() -> Actor {
    let own = std::env::current_exe().expect("this program's path");
    let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map(Path::new);
    let libraries =
        libraries.into_iter().filter(|path| path.is_dir()).map(|path| Mount::bind(path, path, true));
    let mounts = std::iter::once(Mount::bind(own, "/actor/program", true)).chain(libraries).collect();
    Actor { command: vec!["/actor/program".into(), "actor".into()], mounts }
}

/// The programs that the checks use.
const APPLETS: &str = "awk cat chmod chown chroot cut date df env find grep head hostname id ifconfig kill ls mkdir \
    mknod mount mv od ping ps readlink rm rmdir sed setsid sh sleep sort stat stty tail test touch tr true tty umount \
    unshare wc wget yes";

/// BusyBox and little else.
fn fill_root(root: &Path) -> io::Result<()> {
    for directory in ["bin", "etc", "tmp", "home/web"] {
        fs::create_dir_all(root.join(directory))?;
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:1001:\naudio:x:29:web\n")
}

/// Over an overlay, a job that changes nothing leaves nothing in the upper directory but copies of directories
/// that look as they did; what it does change is there and nothing else.
fn overlay(mode: Mode) -> Result<(), Error> {
    mode.enter()?;
    let bench = bench(mode);
    let directory = |name: &str| -> Result<PathBuf, Error> {
        let path = bench.scratch.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    };
    // On a file system of its own: the machine's may itself be one that cannot hold an upper directory.
    rustix::mount::mount("tmpfs", &bench.scratch, "tmpfs", MountFlags::empty(), None)?;
    let _mounted = Mounted(bench.scratch.clone());
    let (upper, work, merged) = (directory("upper")?, directory("work")?, directory("merged")?);
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    let modified = fs::metadata(&bench.root)?.modified()?;
    File::open(&upper)?.set_times(fs::FileTimes::new().set_modified(modified))?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", bench.root.display(), upper.display(), work.display());
    let options = CString::new(if mode == Mode::Root { options } else { options + ",userxattr" })?;
    rustix::mount::mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str())?;
    let mut spec = RunSpec::new(&merged, ["/bin/sh", "-c", "ls /run/secrets > /dev/null"]);
    spec.env = vec![("PATH".into(), "/bin".into())];
    spec.mounts = vec![
        Mount::file("/run/secrets/key", "x", 0o400, 0, 0),
        Mount::file("/home/web/.config/key", "x", 0o400, 0, 0),
        Mount { target: "/var/cache/apt".into(), kind: MountKind::Tmpfs { size: None, mode: 0o755 } },
    ];
    let mut sink = |_, bytes: &[u8]| drop(io::stderr().write_all(bytes));
    let mut run =
        |spec: &RunSpec| bench.runner.run(spec, &mut sink, &CancelToken::new()).map(|report| report.exit);
    assert_eq!(run(&spec)?, Exit::Code(0));
    assert_eq!(changes(&upper, &bench.root)?, Vec::<String>::new());
    spec.args = ["/bin/sh", "-c", "echo > /etc/new; rm /etc/group; mkdir /run/own"].map(Into::into).to_vec();
    assert_eq!(run(&spec)?, Exit::Code(0));
    // /run was made for a secret, and has become the job's by what it put there.
    assert_eq!(changes(&upper, &bench.root)?, ["etc", "etc/group", "etc/new", "run", "run/own"]);
    say("overlay is clean")
}

/// A mount that ends with this value, so that the directory can be removed; all below it goes as well.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// What a layer of `upper` over `lower` would hold.
fn changes(upper: &Path, lower: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let now = fs::symlink_metadata(upper.join(&path))?;
        let before = fs::symlink_metadata(lower.join(&path)).ok();
        let look =
            |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        if !now.is_dir() || before.as_ref().map(look) != Some(look(&now)) {
            found.push(path.display().to_string());
        }
        if now.is_dir() {
            for entry in fs::read_dir(upper.join(&path))? {
                todo.push(path.join(entry?.file_name()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs a job that would go on for ever, and says when it has started.
fn victim(mode: &str, mark: &str) -> Result<(), Error> {
    let mode = Mode::parse(mode)?;
    mode.enter()?;
    let bench = bench(mode);
    let script = format!(
        "trap '' TERM; (setsid sh -c 'trap \"\" HUP TERM; sleep {mark}' &); echo ready; sleep {mark}"
    );
    let mut spec = RunSpec::new(&bench.root, ["/bin/sh", "-c", &script]);
    spec.env = vec![("PATH".into(), "/bin".into())];
    // Its pid as everybody outside knows it.
    say(&format!("{}", std::process::id()))?;
    let mut sink = |_, bytes: &[u8]| {
        let _ = io::stdout().write_all(bytes);
        let _ = io::stdout().flush();
    };
    Ok(bench.runner.run(&spec, &mut sink, &CancelToken::new()).map(drop)?)
}

/// SIGKILL for orlop ends the whole job at once, and what is left of it goes with the next command.
fn death(mode: Mode, mut command: Command, mark: &str) -> Result<bool, Error> {
    // A role of another user's complains of the death that it is here to see.
    command.stderr(Stdio::null());
    let mut child = Killed(command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?);
    let mut lines = BufReader::new(child.0.stdout.take().ok_or("no stdout")?).lines();
    let pid: i32 = lines.next().ok_or("no pid")??.parse()?;
    let ready = lines.next().ok_or("not ready")??;
    assert_eq!(ready, "ready");
    // `ready` is said before the last of them has begun.
    let deadline = Instant::now() + Duration::from_secs(20);
    while processes_with(mark)?.len() < 2 {
        if Instant::now() > deadline {
            return Err("the job's processes are not to be seen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(pid).ok_or("pid 0")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_with(mark)?.is_empty() {
        if Instant::now() > deadline {
            say(&format!("left after the death of its parent: {:?}", processes_with(mark)?))?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.0.wait()?;
    if mode == Mode::Root {
        let swept = linux::sweep_stale();
        let again = linux::sweep_stale();
        if (swept, again) != (1, 0) {
            say(&format!("control groups swept: {swept}, then {again}"))?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// A child that does not outlive this value.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command lines that hold `mark`, this test's own processes aside.
fn processes_with(mark: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let mut command = Vec::new();
        let Ok(mut file) = File::open(entry.path().join("cmdline")) else { continue };
        if file.read_to_end(&mut command).is_err() {
            continue;
        }
        let text = String::from_utf8_lossy(&command).replace('\0', " ");
        if text.contains(mark) && !text.contains("role ") {
            found.push(text);
        }
    }
    Ok(found)
}
