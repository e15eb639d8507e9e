//! What becomes of a job whose letter is not what it was said to be, by effect: the system of this machine, but for
//! what it says of letters.

use std::sync::Mutex;

use super::*;
use identity::tokens_only::{Boast, TokensOnly};

/// What Wine lacks, and what a machine without rights does; it is another matter.
const ALLOWED: [&str; 10] = [
    "file-access",
    "low-integrity",
    "named-objects",
    "parent-process",
    "registry",
    "services",
    "step-sid",
    "ui-limits",
    "window-station",
    "app-container",
];

/// Runs `cd` with a letter that is none. Gives what it said, its root, the view, and what was done.
fn run_with(free: char, lies: u32) -> (String, PathBuf, String, Vec<&'static str>) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = view::plain(&directory.path().canonicalize().expect("a path"));
    let scratch = tempfile::tempdir().expect("a directory");
    let done = Arc::default();
    let boast = Boast { free, lies: Mutex::new(lies), root: root.clone(), done: Arc::clone(&done) };
    let calls: Arc<dyn Calls> = Arc::new(TokensOnly { boast: Some(boast) });
    let mut spec = RunSpec::new(&root, ["cmd"]);
    spec.raw_tail = Some("/S /C cd& echo [%ORLOP_DRIVE%]".into());
    spec.windows.drive_letter = true;
    spec.isolation.allow = ALLOWED.iter().map(ToString::to_string).collect();
    let mut output = Vec::new();
    let mut sink = |_, bytes: &[u8]| output.extend_from_slice(bytes);
    let report = run(&spec, scratch.path(), &calls, &Keepers::default(), &mut sink, &CancelToken::new())
        .expect("it runs");
    assert_eq!(report.exit, Exit::Code(0));
    // What never ran is not counted: the shell, and its console's host.
    assert!(report.usage.processes_total.is_some_and(|total| total <= 2), "{:?}", report.usage);
    let said = String::from_utf8_lossy(&output).into_owned();
    let done = done.lock().expect("not poisoned").clone();
    (said, root, report.view.expect("told"), done)
}

#[track_caller]
fn assert_without(outcome: &(String, PathBuf, String, Vec<&'static str>), why: &str) {
    let (said, root, view, done) = outcome;
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    assert!(lines.len() == 2 && lines[0].eq_ignore_ascii_case(&root.to_string_lossy()), "{said}, {view}");
    assert_eq!(lines[1], "[%ORLOP_DRIVE%]");
    assert!(view.contains("on no drive letter: ") && view.contains(why), "{view}");
    assert_eq!(done[..], ["defined", "taken back"]);
}

/// Two letters: one that no drive has, and one that has another.
fn letters() -> (char, char) {
    let exists = |letter: &char| Path::new(&format!("{letter}:\\")).exists();
    let none = ('D'..='Y').rev().find(|letter| !exists(letter)).expect("a letter that is free");
    // Not `C`, which is never chosen; Wine has `Z`.
    (none, ('D'..='Z').rev().find(exists).unwrap_or(none))
}

#[test]
fn a_letter_that_leads_nowhere_is_found_out_before_there_is_a_process() {
    assert_without(&run_with(letters().0, 0), "the step cannot open");
}

#[test]
fn a_letter_on_which_nothing_starts_costs_the_job_the_letter_only() {
    assert_without(&run_with(letters().0, 1), "nothing starts there: ");
}

#[test]
fn a_process_that_would_start_elsewhere_never_runs() {
    let (none, other) = letters();
    let why = if none == other { "nothing starts there: " } else { "leads the step elsewhere" };
    assert_without(&run_with(other, 1), why);
}
