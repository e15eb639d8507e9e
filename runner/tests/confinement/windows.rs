use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use orlop_runner::CancelToken;
use orlop_runner::windows::WindowsRunner;
use orlop_runner::windows::selftest::{self, Outcome, SelfTest};

/// The word that leads to a role.
const ROLE: &str = "__confinement-probe";

/// What holds on every system that orlop runs on, Wine among them.
const HELD: &[&str] = &[
    "step",
    "privileges",
    "groups",
    "builder-process",
    "builder-as-parent",
    "escaped-process",
    "escaped-system",
    "other-step",
    "other-step-child",
    "breakaway",
    "handles",
    "left-behind",
    "builder-killed",
    "console-host",
    "window-station",
    "second-job",
    "wall-limit",
    "cancel",
];

pub(crate) fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|word| word == ROLE) {
        let code = selftest::child(&args[1..], &WindowsRunner::new(), &mut std::io::stdout());
        return ExitCode::from(code as u8);
    }
    let filter = args.iter().filter_map(|word| word.to_str()).find(|word| !word.starts_with("--"));
    let work = tempfile::tempdir().expect("a directory");
    let test = SelfTest {
        program: std::env::current_exe().expect("the program's own path"),
        prefix: vec![ROLE.into()],
        work: work.path().to_path_buf(),
        filter: filter.map(str::to_owned),
        // Nothing here makes layers: those checks are the command's, with its store.
        roots: None,
    };
    let mut output = std::io::stdout();
    let checks = test.run(&WindowsRunner::new(), &CancelToken::new(), &mut |check| {
        let _ = writeln!(output, "{check}");
    });
    let bad: Vec<&str> = checks
        .iter()
        .filter(|check| match check.outcome {
            Outcome::Held => false,
            // What is not there is known and said; but these are there on every system.
            Outcome::Unavailable | Outcome::NotTried => HELD.contains(&check.name),
            Outcome::Failed => true,
        })
        .map(|check| check.name)
        .collect();
    assert!(!checks.is_empty() || filter.is_some(), "no check was run");
    if bad.is_empty() {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(output, "these do not hold: {}", bad.join(", "));
    ExitCode::FAILURE
}
