//! What `orlop info` says of a Windows machine, and its self-test.

#![expect(unsafe_code, reason = "asks for the system's version")]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use orlop_runner::CancelToken;
use orlop_runner::windows::selftest::{self, Check, Outcome, SelfTest};
use orlop_store::nt;
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW;

use super::HostRunner;
use super::startup::is_system;
use crate::commands::info::Fact;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::startup::Host;
use crate::system::interrupt;
use crate::table;

/// The word that makes this program a step of its own self-test. It names no command that people call.
pub(crate) const CHILD: &str = "self-test-step";

/// Version and build.
pub(crate) fn system() -> String {
    // SAFETY: a plain structure that says its size.
    let version = unsafe {
        let mut version: OSVERSIONINFOW = std::mem::zeroed();
        version.dwOSVersionInfoSize = size_of::<OSVERSIONINFOW>() as u32;
        RtlGetVersion(&mut version);
        version
    };
    let numbers = format!("{}.{}.{}", version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber);
    format!("Windows {numbers} ({})", std::env::consts::ARCH)
}

/// Who we are.
pub(crate) fn user(host: &Host) -> Fact {
    match (is_system(), host.root) {
        (true, _) => Fact::new("user", "the system itself"),
        (false, true) => Fact::new("user", "an administrator, with the rights switched on"),
        (false, false) => {
            Fact::new("user", "an ordinary user, or an administrator with the rights switched off").with_hint(
                "from an elevated prompt steps can have no network by filters, and a desktop of their own",
            )
        }
    }
}

/// A path as people write it: without the `\\?\` that lets it be of any length.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    match text.strip_prefix(r"\\?\") {
        Some(plain) if plain.as_bytes().get(1) == Some(&b':') => plain.to_owned(),
        Some(share) => {
            share.strip_prefix(r"UNC\").map_or_else(|| text.clone(), |share| format!(r"\\{share}"))
        }
        None => text,
    }
}

/// The store's file system, and whether files can share their content there.
pub(crate) fn volume(root: &Path) -> Fact {
    match nt::Dir::open(root).and_then(|dir| dir.volume()) {
        Err(error) => Fact::new("volume", format!("unknown: {error}")),
        Ok(volume) => {
            let name = volume.name.to_string_lossy().into_owned();
            if volume.can_clone() {
                return Fact::new("volume", format!("{name}, clones files by block"));
            }
            Fact::new("volume", format!("{name}, files are copied: it cannot clone")).with_hint(
                "a Dev Drive, or a volume of ReFS (in a VHDX file, for example), takes no time for snapshots: \
                 name it with `--root`",
            )
        }
    }
}

/// Runs the checks one by one and shows the table.
pub(crate) fn self_test(app: &App, json: bool) -> Result<(), Failure> {
    let cancel = CancelToken::new();
    interrupt::watch(&cancel)?;
    let store = app.store()?;
    let work = store.work().create("self-test").map_err(orlop_store::Error::from)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal(format!("this program's own file cannot be found: {error}")))?;
    let test = SelfTest { program, prefix: vec![CHILD.into()], work: work.path().to_owned(), filter: None };
    if !json {
        table::lines([format!("orlop {} on {}", env!("CARGO_PKG_VERSION"), system())])?;
    }
    let mut told = |check: &Check| {
        if !json {
            // Whoever reads may have gone; the exit code still says it.
            let _ = writeln!(std::io::stdout(), "{check}");
        }
    };
    let checks = test.run(&HostRunner::new(), &cancel, &mut told);
    if cancel.is_cancelled() {
        return Err(Failure::interrupted());
    }
    if json {
        table::lines([serde_json::to_string_pretty(&checks).expect("text is JSON")])?;
    }
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "{failed} of {} confinements did not hold, although they were set",
        checks.len()
    ))
    .with_hint("please send us the table".to_owned()))
}

/// What this program does as a step of its own self-test, where the arguments say that it is one.
pub(crate) fn as_step() -> Option<i32> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, rest) = words.split_first()?;
    (first == CHILD).then(|| selftest::child(rest, &HostRunner::new(), &mut std::io::stdout()))
}
