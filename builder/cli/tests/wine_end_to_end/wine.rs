//! `orlop.exe` under Wine: built, started, looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::{windows, workspace};

const TARGET: &str = "x86_64-win7-windows-gnu";
const LOADER: &str = "/usr/lib/wine/wine64";
const SERVER: &str = "/usr/lib/wine/wineserver64";

/// What a job lacks under Wine 8, name by name. Nothing else may be missing.
pub(crate) const ISOLATION: &str = "job,allow=file-access,allow=low-integrity,allow=named-objects,\
     allow=parent-process,allow=registry,allow=services,allow=step-sid,allow=ui-limits";

/// One test's turn with the prefix: processes are counted, so there is one at a time.
pub(crate) struct Wine {
    env: TestEnv,
    registry: Registry,
    _turn: MutexGuard<'static, ()>,
}

/// The programs for Windows, and a prefix that is this test binary's own.
struct Machine {
    programs: PathBuf,
    prefix: PathBuf,
}

/// A clean store in a prefix in which nothing runs, and an empty registry.
pub(crate) fn wine() -> Wine {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = machine();
    let env = TestEnv::new(LOADER);
    for dir in ["store", "context", "outside"] {
        let dir = drive_c().join(dir);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap_or_else(|e| panic!("cannot remove `{}`: {e}", dir.display()));
        }
    }
    fs::create_dir(drive_c().join("context")).unwrap_or_else(|e| panic!("cannot make a directory: {e}"));
    fs::create_dir(drive_c().join("outside")).unwrap_or_else(|e| panic!("cannot make a directory: {e}"));
    assert!(machine.programs.join("orlop.exe").is_file());
    Wine { env, registry: registry::start(), _turn: turn }
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let target = workspace().join("target/windows");
        let mut build = tool("bash");
        build.arg(workspace().join(".ci/windows")).args(["cargo", "build", "--locked", "--quiet", "--bins"]);
        build.args(["-p", "orlop", "-p", "orlop-fixtures", "--target", TARGET]);
        run(build.env("CARGO_TARGET_DIR", &target).current_dir(workspace()));
        // Made anew each time: what an earlier run left must not help or hinder this one.
        let prefix = target.join("wine-end-to-end");
        end(&prefix);
        run(tool("rm").arg("-rf").arg(&prefix));
        run(tool("cp").args(["-a", "--reflink=auto"]).arg(target.join("wine")).arg(&prefix));
        Machine { programs: target.join(TARGET).join("debug"), prefix }
    })
}

/// Ends whatever runs in a prefix, and nothing else.
fn end(prefix: &Path) {
    if prefix.exists() {
        // Where no server runs there is nothing to end, which it calls a failure.
        let _ = tool(SERVER).arg("-k").env("WINEPREFIX", prefix).status();
    }
}

fn drive_c() -> PathBuf {
    machine().prefix.join("drive_c")
}

impl Wine {
    /// `orlop.exe --root C:\store ARGS…`
    pub(crate) fn orlop(&self, args: &[&str]) -> Invocation<'_> {
        let program = windows_path(&machine().programs.join("orlop.exe"));
        let invocation = self.env.bare([program.as_str(), "--root", r"C:\store"]).args(args);
        self.dress(invocation)
    }

    /// A build of `C:\context` by the Dockerfile's text, with the base image of the registry.
    pub(crate) fn build(&self, dockerfile: &str, name: &str) -> Invocation<'_> {
        self.build_with(ISOLATION, dockerfile, name)
    }

    /// The same with another list of what may be missing.
    pub(crate) fn build_with(&self, isolation: &str, dockerfile: &str, name: &str) -> Invocation<'_> {
        self.context("Dockerfile", dockerfile);
        let base = format!("BASE={}", self.registry.name("base:1"));
        let isolation = format!("--isolation={isolation}");
        let name = self.registry.name(name);
        self.orlop(&[
            "build",
            "--progress=plain",
            "-t",
            &name,
            "--build-arg",
            &base,
            &isolation,
            r"C:\context",
        ])
    }

    fn dress<'a>(&self, invocation: Invocation<'a>) -> Invocation<'a> {
        invocation
            .env("WINEPREFIX", &machine().prefix)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .patience(Duration::from_secs(400))
    }

    /// Puts the base image into the registry, as `base:1`, with `load.exe` and `attack.exe` in it.
    pub(crate) fn fill(&self) {
        let program = |name: &str| {
            let path = machine().programs.join(name);
            fs::read(&path).unwrap_or_else(|e| panic!("cannot read `{}`: {e}", path.display()))
        };
        let tools = [("load.exe", program("load.exe")), ("attack.exe", program("attack.exe"))];
        let layout = self.env.path("base");
        windows::base(&tools).write(&layout);
        self.registry.fill(&layout, "base:1");
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Writes a file of the context.
    pub(crate) fn context(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = drive_c().join("context").join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("cannot write `{}`: {e}", path.display()));
    }

    /// A path on `C:` as Linux has it.
    pub(crate) fn on_c(&self, below: &str) -> PathBuf {
        drive_c().join(below)
    }

    /// What runs in the prefix beside Wine's own services: process id of Linux, and its command line.
    pub(crate) fn processes(&self) -> BTreeMap<u32, String> {
        let wanted = format!("WINEPREFIX={}", machine().prefix.display());
        let mut out = BTreeMap::new();
        for entry in fs::read_dir("/proc").unwrap_or_else(|e| panic!("cannot list /proc: {e}")).flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            // It may be gone by now.
            let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
            if !environment.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()) {
                continue;
            }
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
            const SERVICES: [&str; 9] = [
                "services.exe",
                "winedevice.exe",
                "explorer.exe",
                "plugplay.exe",
                "svchost.exe",
                "rpcss.exe",
                "wineserver",
                "tabtip.exe",
                "start.exe",
            ];
            if !line.is_empty() && !SERVICES.iter().any(|name| line.contains(name)) {
                out.insert(pid, line);
            }
        }
        out
    }

    /// Waits until nothing of ours runs any more.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        self.assert_none(|_| true);
    }

    /// The same, but for what Wine leaves of a process that was ended before its first word: a loader that waits for
    /// an answer of Wine's server for ever, and never was a process of Windows.
    #[track_caller]
    pub(crate) fn assert_quiet_but_for_the_unborn(&self) {
        self.assert_none(|line| !line.starts_with(LOADER));
    }

    #[track_caller]
    fn assert_none(&self, counts: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut left = self.processes();
            left.retain(|_, line| counts(line));
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "still running: {left:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What active snapshots and other half-made things are in the store, and what is left of steps outside it.
    pub(crate) fn half_made(&self) -> Vec<String> {
        let names = |path: &Path| {
            let entries =
                fs::read_dir(path).unwrap_or_else(|e| panic!("cannot list `{}`: {e}", path.display()));
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        let mut left = names(&drive_c().join("store/work"));
        for user in names(&drive_c().join("users")) {
            let temporary = drive_c().join("users").join(user).join("Temp");
            if temporary.exists() {
                left.extend(names(&temporary).into_iter().filter(|name| name.starts_with("orlop-")));
            }
        }
        left
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // The next test's processes are told from this one's by nothing but this.
        end(&machine().prefix);
    }
}

/// A path of Linux as Wine shows it.
pub(crate) fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}
