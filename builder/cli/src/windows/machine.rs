//! What `orlop info` says of a Windows machine, and its self-test.

#![expect(unsafe_code, reason = "asks for the system's version")]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use orlop_runner::CancelToken;
use orlop_runner::windows::selftest::{self, Check, Outcome, SelfTest};
use orlop_store::{Store, StoreOptions, nt};
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RegGetValueW};
use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW;
use windows_sys::w;

use super::HostRunner;
use super::roots::StoreRoots;
use super::startup::is_system;
use crate::commands::info::Fact;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::startup::Host;
use crate::system::interrupt;
use crate::table;

/// The word that makes this program a step of its own self-test. It names no command that people call.
pub(crate) const CHILD: &str = "self-test-step";

/// The word that makes this program the keeper of another one's jobs.
pub(crate) const KEEPER: &str = "job-keeper";

/// Name, version and build.
pub(crate) fn system() -> String {
    format!("Windows {} ({})", version().as_deref().unwrap_or("unknown"), std::env::consts::ARCH)
}

/// How steps see their root.
pub(crate) fn view() -> Option<Fact> {
    let fact = match HostRunner::new().letter() {
        Ok(()) => Fact::new("step's root", "a directory, on a drive letter that only the step sees"),
        Err(why) => Fact::new("step's root", format!("a directory, on no drive letter: {why}")),
    };
    Some(fact)
}

/// The version as images name it: `10.0.20348.587`. The last number is that of the updates, which only the registry
/// knows, and no Windows before 8.1; without it there are three.
pub(crate) fn version() -> Option<String> {
    // SAFETY: a plain structure that says its size.
    let (failed, version) = unsafe {
        let mut version: OSVERSIONINFOW = std::mem::zeroed();
        version.dwOSVersionInfoSize = size_of::<OSVERSIONINFOW>() as u32;
        (RtlGetVersion(&mut version), version)
    };
    let numbers = (version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber);
    (failed == 0).then(|| shown(numbers, revision()))
}

fn shown((major, minor, build): (u32, u32, u32), revision: Option<u32>) -> String {
    match revision {
        Some(revision) => format!("{major}.{minor}.{build}.{revision}"),
        None => format!("{major}.{minor}.{build}"),
    }
}

/// The revision of updates (UBR).
fn revision() -> Option<u32> {
    let mut value = 0_u32;
    let mut size = size_of::<u32>() as u32;
    // SAFETY: both names end with a zero, and the value has room for the one type that is asked for.
    let status = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            w!(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"),
            w!("UBR"),
            RRF_RT_REG_DWORD,
            null_mut(),
            (&raw mut value).cast(),
            &mut size,
        )
    };
    (status == ERROR_SUCCESS).then_some(value)
}

/// Who we are.
pub(crate) fn user(host: &Host) -> Fact {
    match (is_system(), host.root) {
        (true, _) => Fact::new("user", "the system itself"),
        (false, true) => Fact::new("user", "an administrator, with the rights switched on"),
        (false, false) => {
            Fact::new("user", "an ordinary user, or an administrator with the rights switched off").with_hint(
                "from an elevated prompt steps can open `NUL`, have no network by filters, and a window station of their own",
            )
        }
    }
}

/// Layers are kept in one form alone.
pub(crate) fn layers(_store: &Store) -> Option<Fact> {
    None
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
    // A store of the test's own: nothing of it stays in the user's.
    let roots = StoreRoots::new(&work.path().join("store"), &StoreOptions::default())?;
    let test = SelfTest {
        program,
        prefix: vec![CHILD.into()],
        work: work.path().to_owned(),
        filter: None,
        roots: Some(Arc::new(roots)),
    };
    let (system, user) = (HostRunner::new().system(), user(&app.host).value);
    let about = format!("orlop {} on {system}; {user}", env!("CARGO_PKG_VERSION"));
    if !json {
        table::lines([about.clone()])?;
    }
    let mut told = |check: &Check| {
        if !json {
            // Whoever reads may have gone; the exit code still says it.
            let _ = writeln!(std::io::stdout(), "{check}");
        }
    };
    let checks = test.run(&HostRunner::new(), &cancel, &mut told);
    // One of the checks kills a builder.
    HostRunner::new().sweep_stale();
    drop(test);
    let removed = work.remove();
    if cancel.is_cancelled() {
        return Err(Failure::interrupted());
    }
    let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let failed = count(Outcome::Failed);
    match json {
        true => {
            let document = serde_json::json!({ "about": about, "checks": checks });
            table::lines([serde_json::to_string_pretty(&document).expect("text is JSON")])?;
        }
        false => table::lines([format!(
            "{} held, {failed} failed, {} unavailable, {} not tried",
            count(Outcome::Held),
            count(Outcome::Unavailable),
            count(Outcome::NotTried)
        )])?,
    }
    removed.map_err(orlop_store::Error::from)?;
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "{failed} of {} confinements did not hold, although they were set",
        checks.len()
    ))
    .with_hint("please send us the table".to_owned()))
}

/// What this program does as a step of its own self-test, or as the keeper of its own jobs, where the arguments say
/// that it is one.
pub(crate) fn as_step() -> Option<i32> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, rest) = words.split_first()?;
    if first == KEEPER {
        orlop_runner::windows::keep(&mut std::io::stdin().lock());
        return Some(0);
    }
    (first == CHILD).then(|| selftest::child(rest, &HostRunner::new(), &mut std::io::stdout()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_images_name() {
        assert_eq!(shown((10, 0, 20348), Some(587)), "10.0.20348.587");
        assert_eq!(shown((6, 3, 9600), None), "6.3.9600");
        let version = version().unwrap();
        assert!(matches!(version.split('.').count(), 3 | 4), "{version}");
        assert!(version.split('.').all(|number| number.parse::<u32>().is_ok()), "{version}");
    }
}
