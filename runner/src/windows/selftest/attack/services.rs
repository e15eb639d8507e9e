//! Roles that have a service of the machine start a process for them.
#![expect(unsafe_code, reason = "the service manager's calls")]
#![expect(clippy::disallowed_methods, reason = "the tools of Windows are programs")]

use std::ffi::{CStr, c_void};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use super::{ABSENT, BROKEN, CLOSED, OPEN, Seen, last_error};
use crate::windows::library::{function, wide, wine_version};
use crate::windows::places;

/// The right to delete an object.
const DELETE: u32 = 0x1_0000;
/// What a process that was started elsewhere writes its id into, beside its program.
pub(in super::super) const MARK: &str = "mark.txt";
/// How long one tool may take.
const TOOL: Duration = Duration::from_secs(18);
/// How long a process that was promised may take to come.
const COMES: Duration = Duration::from_secs(4);

/// A name for a task or a service that nobody else has.
pub(in super::super) fn entry_name() -> String {
    format!("orlop-self-test-{}", std::process::id())
}

/// The service manager, as far as it is needed here.
struct Manager {
    manager: *mut c_void,
    close: unsafe extern "system" fn(*mut c_void) -> i32,
}

fn call<F: Copy>(name: &CStr) -> Option<F> {
    // SAFETY: each caller says the function's published type.
    unsafe { function::<F>("advapi32.dll", name) }
}

impl Manager {
    const CONNECT: u32 = 1;
    const CREATE_SERVICE: u32 = 2;

    fn open(access: u32) -> Result<Self, Seen> {
        type Open = unsafe extern "system" fn(*const u16, *const u16, u32) -> *mut c_void;
        let (Some(open), Some(close)) = (call::<Open>(c"OpenSCManagerW"), call(c"CloseServiceHandle")) else {
            return Err((ABSENT, "there is no service manager".into()));
        };
        // SAFETY: no names: this machine and its only database.
        let manager = unsafe { open(null(), null(), access) };
        match manager.is_null() {
            true => Err((CLOSED, format!("OpenSCManager: error {}", last_error()))),
            false => Ok(Self { manager, close }),
        }
    }

    /// Deletes a service, if it is one.
    fn delete(&self, service: *mut c_void) {
        type Delete = unsafe extern "system" fn(*mut c_void) -> i32;
        if let Some(delete) = call::<Delete>(c"DeleteService").filter(|_| !service.is_null()) {
            // SAFETY: an open service of ours.
            unsafe {
                delete(service);
                (self.close)(service);
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: open until now.
        unsafe { (self.close)(self.manager) };
    }
}

/// Makes a service, which never starts, and deletes it.
pub(super) fn create_service(name: &str) -> Seen {
    const OWN_PROCESS: u32 = 0x10;
    const DEMAND_START: u32 = 3;
    type Create = unsafe extern "system" fn(
        *mut c_void,
        *const u16,
        *const u16,
        u32,
        u32,
        u32,
        u32,
        *const u16,
        *const u16,
        *mut u32,
        *const u16,
        *const u16,
        *const u16,
    ) -> *mut c_void;
    let manager = match Manager::open(Manager::CREATE_SERVICE) {
        Ok(manager) => manager,
        Err(seen) => return seen,
    };
    let Some(create) = call::<Create>(c"CreateServiceW") else {
        return (ABSENT, "there is no service manager".into());
    };
    let (name, program) = (wide(name), wide("cmd.exe /C exit"));
    // SAFETY: texts end with a zero.
    let service = unsafe {
        create(
            manager.manager,
            name.as_ptr(),
            name.as_ptr(),
            DELETE,
            OWN_PROCESS,
            DEMAND_START,
            0,
            program.as_ptr(),
            null(),
            null_mut(),
            null(),
            null(),
            null(),
        )
    };
    if service.is_null() {
        return (CLOSED, format!("CreateService: error {}", last_error()));
    }
    manager.delete(service);
    (OPEN, "a service is made".into())
}

/// Removes what a role may have left in the machine: it was perhaps ended before it could.
pub(in super::super) fn clear(role: &str, name: &str) {
    match role {
        "create-service" => {
            type Open = unsafe extern "system" fn(*mut c_void, *const u16, u32) -> *mut c_void;
            if let (Ok(manager), Some(open)) =
                (Manager::open(Manager::CONNECT), call::<Open>(c"OpenServiceW"))
            {
                // SAFETY: the name ends with a zero.
                manager.delete(unsafe { open(manager.manager, wide(name).as_ptr(), DELETE) });
            }
        }
        "task-scheduler" if wine_version().is_none() => {
            if let Some(schtasks) = schtasks() {
                let _ = run(Command::new(schtasks).args(["/delete", "/tn", name, "/f"]));
            }
        }
        _ => {}
    }
}

/// What is started elsewhere: says so, and stays.
pub(super) fn mark() -> i32 {
    let place = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(MARK)));
    if let Some(place) = place {
        let _ = std::fs::write(place, std::process::id().to_string());
    }
    std::thread::sleep(Duration::from_secs(60));
    CLOSED
}

/// The command line of that.
fn line() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let lead: String =
        crate::windows::selftest::lead().map(|word| format!(" {}", word.to_string_lossy())).collect();
    Some(format!("\"{}\"{lead} mark", program.display()))
}

/// Asks WMI to start it.
pub(super) fn wmi() -> Seen {
    if let Some(version) = wine_version() {
        return (ABSENT, format!("Wine {version} has no WMI that starts processes"));
    }
    let shell = system(r"WindowsPowerShell\v1.0\powershell.exe");
    let (Some(shell), Some(line)) = (shell, line()) else {
        return (ABSENT, "there is no PowerShell to ask WMI with".into());
    };
    let powershell =
        |script: &str| run(Command::new(&shell).args(["-NoProfile", "-NonInteractive", "-Command", script]));
    // A tool that does not run as a step has tried nothing.
    match powershell("exit 7") {
        Ok(7) => {}
        Ok(code) => return (ABSENT, format!("PowerShell does not run as a step: exit code {code}")),
        Err(why) => return (ABSENT, format!("PowerShell does not run as a step: {why}")),
    }
    let script = format!(
        "$made = ([wmiclass]'root\\cimv2:Win32_Process').Create('{}'); exit $made.ReturnValue",
        line.replace('\'', "''")
    );
    outcome("Win32_Process.Create", powershell(&script))
}

/// Asks the Task Scheduler to.
pub(super) fn task(name: &str) -> Seen {
    if let Some(version) = wine_version() {
        return (ABSENT, format!("Wine {version} has no Task Scheduler that starts processes"));
    }
    let (Some(schtasks), Some(line)) = (schtasks(), line()) else {
        return (ABSENT, "there is no `schtasks`".into());
    };
    let tool = |words: &[&str]| run(Command::new(&schtasks).args(words));
    match tool(&["/?"]) {
        Ok(0) => {}
        Ok(code) => return (ABSENT, format!("`schtasks` does not run as a step: exit code {code}")),
        Err(why) => return (ABSENT, format!("`schtasks` does not run as a step: {why}")),
    }
    match tool(&["/create", "/tn", name, "/sc", "once", "/st", "00:00", "/f", "/tr", &line]) {
        Ok(0) => {}
        other => return outcome("`schtasks /create`", other),
    }
    let seen = outcome("`schtasks /run`", tool(&["/run", "/tn", name]));
    let _ = tool(&["/delete", "/tn", name, "/f"]);
    seen
}

/// What a tool's answer means once the process had time to come. Whether it did is for the builder to see.
fn outcome(what: &str, answer: Result<i32, String>) -> Seen {
    match answer {
        Ok(0) => {
            let start = Instant::now();
            while !Path::new(MARK).exists() && start.elapsed() < COMES {
                std::thread::sleep(Duration::from_millis(50));
            }
            match Path::new(MARK).exists() {
                true => (OPEN, format!("{what} starts a process")),
                false => (BROKEN, format!("{what} says yes, and no process was seen")),
            }
        }
        Ok(code) => (CLOSED, format!("{what}: {code:#x}")),
        Err(why) => (BROKEN, format!("{what}: {why}")),
    }
}

fn schtasks() -> Option<PathBuf> {
    system("schtasks.exe")
}

fn system(below: &str) -> Option<PathBuf> {
    let (_, system) = places::system().ok()?;
    Some(system.join(below)).filter(|path| path.is_file())
}

/// A tool's exit code, unless it takes too long.
fn run(command: &mut Command) -> Result<i32, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| format!("error {}", error.raw_os_error().unwrap_or(0)))?;
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code().unwrap_or(-1)),
            Ok(None) if start.elapsed() < TOOL => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it did not end".into());
            }
        }
    }
}
