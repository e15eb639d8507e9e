//! What becomes of a job whose letter is not what it was said to be, by effect: the system of this machine, but for
//! what it says of letters.

use std::collections::{BTreeMap, BTreeSet};
use std::os::windows::io::BorrowedHandle;
use std::sync::Mutex;

use super::super::identity::{Kept, Station, System, TokenFacts, TokenPlan, Windows};
use super::super::security::{SecurityDescriptor, Sid};
use super::*;
use identity::calls::ProcessFacts;

/// A system that says yes to a letter which it does not make.
#[derive(Debug)]
struct Boasting {
    /// The letter that it says is free.
    free: char,
    /// The root.
    root: PathBuf,
    /// How often it says that the letter leads to the root, before it is asked in earnest.
    lies: Mutex<u32>,
    /// What was told to have been defined and taken back.
    done: Arc<Mutex<Vec<&'static str>>>,
}

struct Nothing(Arc<Mutex<Vec<&'static str>>>);

impl Drop for Nothing {
    fn drop(&mut self) {
        self.0.lock().expect("not poisoned").push("taken back");
    }
}

impl Calls for Boasting {
    fn system(&self) -> System {
        System { wine: None, ..Windows.system() }
    }

    fn own_token(&self) -> Result<TokenFacts, Failure> {
        let mut own = Windows.own_token()?;
        let has = |name: &str, own: &TokenFacts| own.privileges.iter().any(|one| one.name == name);
        for name in ["SeAssignPrimaryTokenPrivilege", "SeIncreaseQuotaPrivilege"] {
            if !has(name, &own) {
                let privilege = identity::calls::Privilege { name: name.into(), luid: (3, 0) };
                own.privileges.push(privilege);
            }
        }
        Ok(own)
    }

    fn new_session(&self) -> Result<(OwnedHandle, TokenFacts), Failure> {
        let facts = Windows.own_token()?;
        let token = Windows.token_of(identity::object::own_process())?;
        Ok((token, TokenFacts { session: facts.session + 1, ..facts }))
    }

    fn has_letter(&self, _: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
        Ok(letter != self.free)
    }

    fn define_letter(&self, _: BorrowedHandle<'_>, _: char, _: &Path) -> Result<Kept, Failure> {
        self.done.lock().expect("not poisoned").push("defined");
        Ok(Box::new(Nothing(Arc::clone(&self.done))))
    }

    fn directory_id_for(&self, token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
        let mut lies = self.lies.lock().expect("not poisoned");
        match lies.checked_sub(1) {
            Some(left) => {
                *lies = left;
                Windows.directory_id(&self.root)
            }
            None => Windows.directory_id_for(token, path),
        }
    }

    fn token_of(&self, process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
        Windows.token_of(process)
    }

    fn directory_id(&self, path: &Path) -> Result<(u32, u128), Failure> {
        Windows.directory_id(path)
    }

    fn take_name(&self, name: &str) -> Result<Option<Kept>, Failure> {
        Windows.take_name(name)
    }

    fn create_container(&self, _: &str) -> Result<Sid, Failure> {
        Err(Failure::missing("CreateAppContainerProfile"))
    }

    fn delete_container(&self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn containers(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn restrict(
        &self,
        _: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure> {
        // There is no other session.
        Windows.restrict(None, plan)
    }

    fn protect_tree(&self, path: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Windows.protect_tree(path, wanted)
    }

    fn admit_tree(&self, path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Windows.admit_tree(path, added)
    }

    fn admit_to_null(&self, step: &Sid) -> Result<Kept, Failure> {
        Windows.admit_to_null(step)
    }

    fn create_station(&self, name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure> {
        Windows.create_station(name, wanted)
    }

    fn block_network(&self, user: &Sid, step: &Sid) -> Result<Kept, Failure> {
        Windows.block_network(user, step)
    }

    fn block_container(&self, container: &Sid) -> Result<Kept, Failure> {
        Windows.block_container(container)
    }

    fn firewall_runs(&self) -> Result<bool, Failure> {
        Windows.firewall_runs()
    }

    fn protect_builder(&self, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Windows.protect_builder(wanted)
    }

    fn protect_process(
        &self,
        process: BorrowedHandle<'_>,
        wanted: &SecurityDescriptor,
    ) -> Result<(), Failure> {
        Windows.protect_process(process, wanted)
    }

    fn protect_threads(
        &self,
        owners: &BTreeMap<u32, &SecurityDescriptor>,
        done: &mut BTreeSet<u32>,
    ) -> Result<(), Failure> {
        Windows.protect_threads(owners, done)
    }

    fn process(&self, process: BorrowedHandle<'_>) -> Result<ProcessFacts, Failure> {
        Windows.process(process)
    }
}

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
    let calls = Boasting { free, lies: Mutex::new(lies), root: root.clone(), done: Arc::clone(&done) };
    let calls: Arc<dyn Calls> = Arc::new(calls);
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
