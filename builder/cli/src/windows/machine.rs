//! What `orlop info` says of a Windows machine, and its self-test.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use orlop_runner::CancelToken;
use orlop_runner::windows::selftest::{self, Check, Outcome, SelfTest};
use orlop_store::{StoreOptions, nt};

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

/// Name, version and build.
pub(crate) fn system() -> String {
    format!("{}, {}", HostRunner::new().system(), std::env::consts::ARCH)
}

/// How steps see their root.
pub(crate) fn view() -> Option<Fact> {
    let fact = match HostRunner::new().letter() {
        Ok(()) => Fact::new("step's root", "a directory, on a drive letter that only the step sees"),
        Err(why) => Fact::new("step's root", format!("a directory, on no drive letter: {why}")),
    };
    Some(fact)
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
    // A store of the test's own: nothing of it stays in the user's.
    let roots = StoreRoots::new(&work.path().join("store"), &StoreOptions::default())?;
    let test = SelfTest {
        program,
        prefix: vec![CHILD.into()],
        work: work.path().to_owned(),
        filter: None,
        roots: Some(Arc::new(roots)),
    };
    let about = format!("orlop {} on {}; {}", env!("CARGO_PKG_VERSION"), system(), user(&app.host).value);
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

/// What this program does as a step of its own self-test, where the arguments say that it is one.
pub(crate) fn as_step() -> Option<i32> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, rest) = words.split_first()?;
    (first == CHILD).then(|| selftest::child(rest, &HostRunner::new(), &mut std::io::stdout()))
}
