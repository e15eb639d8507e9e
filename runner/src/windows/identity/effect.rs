//! What is closed to a step, tried by one: this test program again, with the token, the desktop and the access lists
//! of a [`Prepared`].
#![expect(unsafe_code, reason = "starts processes and tries to open others, as an attacker would")]
#![expect(clippy::disallowed_methods, reason = "the attacker is told what to try by its environment")]

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    GetLastError, HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::StationsAndDesktops::{
    CloseWindowStation, GetProcessWindowStation, GetThreadDesktop, GetUserObjectInformationW,
    OpenWindowStationW, UOI_NAME,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, CreateProcessAsUserW, GetCurrentThreadId, GetExitCodeProcess,
    OpenProcess, PROCESS_CREATE_PROCESS, PROCESS_DUP_HANDLE, PROCESS_INFORMATION, PROCESS_SET_INFORMATION,
    PROCESS_TERMINATE, PROCESS_VM_READ, PROCESS_VM_WRITE, ResumeThread, STARTUPINFOW, TerminateProcess,
    WaitForSingleObject,
};

use super::object::attributes;
use super::tokens_only::TokensOnly;
use super::*;
use crate::windows::library::wide;

const WHAT: &str = "ORLOP_TEST_ATTACK";
const WHOM: &str = "ORLOP_TEST_TARGET";
const ALLOWED: [&str; 8] = [
    "file-access",
    "low-integrity",
    "named-objects",
    "network",
    "parent-process",
    "registry",
    "services",
    "step-sid",
];
/// The attacker in its root.
const PROGRAM: &str = "attacker.exe";

/// The attacker itself, when a test starts it; its exit code is what it got.
#[test]
#[ignore = "is what the other tests start"]
fn attacker() {
    let (Ok(what), Ok(target)) = (std::env::var(WHAT), std::env::var(WHOM)) else {
        panic!("nothing to try");
    };
    let number = || target.parse::<u32>().expect("a process id");
    let code = match what.as_str() {
        "sleep" => {
            std::thread::sleep(Duration::from_secs(20));
            0
        }
        "parent" => {
            let program = std::env::current_exe().expect("the program's own path");
            let args = ["windows::identity::effect::attacker", "--exact", "--ignored"];
            let mut command = std::process::Command::new(program);
            let mut child = command.args(args).env(WHAT, "sleep").spawn().expect("a child");
            std::fs::write(&target, format!("{} ", child.id())).expect("written");
            child.wait().expect("it ends");
            0
        }
        "where" => {
            // SAFETY: the process's own station and the thread's own desktop; the buffers are as long as is said.
            let names = unsafe {
                let own: [*mut c_void; 2] =
                    [GetProcessWindowStation(), GetThreadDesktop(GetCurrentThreadId())];
                own.map(|object| {
                    let (mut name, mut size) = ([0u16; 256], 0);
                    GetUserObjectInformationW(object, UOI_NAME, name.as_mut_ptr().cast(), 512, &mut size);
                    String::from_utf16_lossy(&name).trim_end_matches('\0').to_owned()
                })
            };
            std::fs::write(&target, names.join("\\")).expect("written");
            0
        }
        "station" => {
            let name = wide(&target);
            // SAFETY: the name ends with a zero.
            unsafe {
                let station = OpenWindowStationW(name.as_ptr(), 0, 0x2);
                let error = GetLastError();
                let opened = !station.is_null() && CloseWindowStation(station) != 0;
                if opened { 0 } else { error }
            }
        }
        access => {
            let access = access.parse().expect("a right");
            // SAFETY: plain values.
            unsafe {
                match OpenProcess(access, 0, number()).is_null() {
                    true => GetLastError(),
                    false => 0,
                }
            }
        }
    };
    // The test harness would turn it into its own.
    // SAFETY: ends this process only.
    unsafe { TerminateProcess(object::own_process().as_raw_handle(), code + 1000) };
}

/// No other process may get what is inheritable for a moment.
static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The identity of one root, in which the attacker lies: a second access check keeps it from where it was built.
struct Ready {
    prepared: Prepared,
    root: tempfile::TempDir,
}

impl Ready {
    /// Where the attacker tells something.
    fn told(&self) -> String {
        self.root.path().join("told").display().to_string()
    }
}

impl std::ops::Deref for Ready {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}

struct Step {
    process: OwnedHandle,
    id: u32,
}

impl Step {
    /// Starts the attacker as a step.
    fn start(prepared: &Ready, what: &str, target: &str) -> Self {
        let program = prepared.root.path().join(PROGRAM);
        let name = "windows::identity::effect::attacker";
        let mut line = wide(format!("\"{}\" {name} --exact --ignored", program.display()));
        let mut desktop = prepared.desktop.clone();
        let info = STARTUPINFOW {
            cb: size_of::<STARTUPINFOW>() as u32,
            lpDesktop: desktop.as_mut().map_or(null_mut(), |desktop| desktop.as_mut_ptr()),
            ..Default::default()
        };
        let (process, thread) = (prepared.process_security.to_words(), prepared.thread_security.to_words());
        let (process, thread) = (attributes(&process), attributes(&thread));
        let mut environment: Vec<u16> = Vec::new();
        let inherited = std::env::vars_os().filter(|(name, _)| name != WHAT && name != WHOM);
        let all = inherited.chain([(WHAT.into(), what.into()), (WHOM.into(), target.into())]);
        for (mut variable, value) in all {
            variable.push("=");
            variable.push(value);
            environment.extend(wide(variable));
        }
        environment.push(0);
        let mut made = PROCESS_INFORMATION::default();
        let _alone = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let inheritable = |flag: u32| {
            for handle in prepared.inherited() {
                // SAFETY: open handles of `prepared`.
                assert_ne!(unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, flag) }, 0);
            }
        };
        inheritable(HANDLE_FLAG_INHERIT);
        // SAFETY: all that is pointed to lives until the call is over; the handles are ours.
        unsafe {
            let started = CreateProcessAsUserW(
                prepared.token().expect("a token").as_raw_handle(),
                null(),
                line.as_mut_ptr(),
                &process,
                &thread,
                i32::from(!prepared.inherited().is_empty()),
                CREATE_NO_WINDOW | CREATE_SUSPENDED | 0x400,
                environment.as_ptr().cast(),
                null(),
                &info,
                &mut made,
            );
            let error = GetLastError();
            inheritable(0);
            assert_ne!(started, 0, "CreateProcessAsUserW: error {error}");
            let thread = OwnedHandle::from_raw_handle(made.hThread);
            let step = Self { process: OwnedHandle::from_raw_handle(made.hProcess), id: made.dwProcessId };
            let lines = prepared.confirm(step.handle()).expect("it reads back");
            assert!(lines.iter().any(|line| line.what == "privileges" && line.is_full()), "{lines:#?}");
            ResumeThread(thread.as_raw_handle());
            step
        }
    }

    fn handle(&self) -> BorrowedHandle<'_> {
        self.process.as_handle()
    }

    /// The error that it got, 0 for none.
    fn wait(self) -> u32 {
        let mut code = 0;
        // SAFETY: our own process's handle.
        unsafe {
            assert_eq!(WaitForSingleObject(self.process.as_raw_handle(), 20_000), WAIT_OBJECT_0, "it hangs");
            GetExitCodeProcess(self.process.as_raw_handle(), &mut code);
        }
        assert!(code >= 1000, "the attacker did not get so far: it ended with {code}");
        code - 1000
    }

    fn end(self) {
        // SAFETY: our own process's handle.
        unsafe { TerminateProcess(self.process.as_raw_handle(), 0) };
    }
}

fn child_of(prepared: &Ready, parent: &Step) -> u32 {
    let file = prepared.told();
    for _ in 0..400 {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Some(pid) = text.strip_suffix(' ')
        {
            std::fs::remove_file(&file).expect("removed");
            return pid.parse().expect("a process id");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("process {} told nothing", parent.id);
}

fn prepare() -> Ready {
    let root = tempfile::tempdir().expect("a directory");
    let program = std::env::current_exe().expect("the program's own path");
    std::fs::copy(program, root.path().join(PROGRAM)).expect("copied");
    let isolation =
        Isolation { allow: ALLOWED.iter().map(ToString::to_string).collect(), ..Isolation::default() };
    let asked = Asked {
        root: root.path(),
        private: Vec::new(),
        shared: Vec::new(),
        network: Network::Host,
        account: Account::default(),
        mitigations: &[],
        isolation: &isolation,
        letter: false,
    };
    let prepared = Prepared::new(&asked, Arc::new(TokensOnly::default())).expect("prepared");
    Ready { prepared, root }
}

const RIGHTS: [u32; 6] = [
    PROCESS_CREATE_PROCESS,
    PROCESS_DUP_HANDLE,
    PROCESS_VM_READ,
    PROCESS_VM_WRITE,
    PROCESS_TERMINATE,
    PROCESS_SET_INFORMATION,
];
/// `WRITE_DAC` and `WRITE_OWNER`: the owner's way to all the others.
const TAKE_OVER: [u32; 2] = [0x4_0000, 0x8_0000];

#[test]
fn the_builder_cannot_be_opened_by_a_step() {
    let prepared = prepare();
    let own = std::process::id().to_string();
    for right in RIGHTS.into_iter().chain(TAKE_OVER) {
        assert_eq!(Step::start(&prepared, &right.to_string(), &own).wait(), 5, "right {right:#x}");
    }
}

#[test]
fn a_step_cannot_open_another_steps_process() {
    let (one, two) = (prepare(), prepare());
    let victim = Step::start(&one, "sleep", "");
    for right in RIGHTS.into_iter().chain(TAKE_OVER) {
        assert_eq!(
            Step::start(&two, &right.to_string(), &victim.id.to_string()).wait(),
            5,
            "right {right:#x}"
        );
    }
    // We ourselves still can, by its id as well.
    // SAFETY: plain values; closed by the owner.
    unsafe {
        let again = OpenProcess(PROCESS_TERMINATE, 0, victim.id);
        assert!(!again.is_null(), "error {}", GetLastError());
        drop(OwnedHandle::from_raw_handle(again));
    }
    victim.end();
}

#[test]
fn a_process_that_is_claimed_is_closed_to_other_steps() {
    let (one, two) = (prepare(), prepare());
    let parent = Step::start(&one, "parent", &one.told());
    let pid = child_of(&one, &parent);
    // SAFETY: plain values; the handle is ours.
    let child = unsafe { OwnedHandle::from_raw_handle(OpenProcess(PROCESS_TERMINATE, 0, pid)) };
    one.claim(pid, &|_| false);
    // Windows gives it the list of its maker's token; Wine leaves it open until it is claimed.
    let before = if Windows.system().wine.is_some() { 0 } else { 5 };
    let opened = Step::start(&two, &PROCESS_VM_READ.to_string(), &pid.to_string()).wait();
    assert_eq!(opened, before, "it is not the job's yet");
    one.claim(pid, &|_| true);
    for right in RIGHTS.into_iter().chain(TAKE_OVER) {
        assert_eq!(Step::start(&two, &right.to_string(), &pid.to_string()).wait(), 5, "right {right:#x}");
    }
    // SAFETY: our own handle.
    unsafe { TerminateProcess(child.as_raw_handle(), 0) };
    parent.end();
}

#[test]
fn a_step_is_on_its_own_desktop() {
    let prepared = prepare();
    assert_eq!(Step::start(&prepared, "where", &prepared.told()).wait(), 0);
    let found = std::fs::read_to_string(prepared.told()).expect("told");
    let station = found.split('\\').next().unwrap_or_default();
    if !Windows.own_token().expect("our own token").has_group(&Sid::administrators()) {
        // Only the desktop is its own.
        assert!(found.split('\\').next_back().is_some_and(|desktop| desktop.starts_with(PREFIX)), "{found}");
        return;
    }
    assert!(found.starts_with(PREFIX) && found.ends_with("\\step"), "{found}");
    // Nobody who runs as a step of this user can open it, not even by its name.
    assert_eq!(Step::start(&prepare(), "station", station).wait(), 5);
}
