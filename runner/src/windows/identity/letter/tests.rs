use std::sync::Arc;

use super::super::recorded::{Recorded, logon_elsewhere, user};
use super::super::tests::{Case, stand_in};
use super::*;
use crate::windows::identity::{Failure, Prepared};
use crate::windows::security::Sid;

/// A service on a server: it may have a logon session for each step.
fn service() -> Recorded {
    Recorded::windows((10, 0, 20348), true, true).with_services_rights()
}

fn without_containers() -> Recorded {
    Recorded { container: Err(Failure { call: "CreateAppContainerProfile", code: 0x8007_0005 }), ..service() }
}

fn prepare(system: &Recorded) -> Prepared {
    let case = Case { allow: vec!["named-objects"], letter: true, ..Case::default() };
    case.prepare(system).expect("a letter is no confinement")
}

fn done(system: &Recorded) -> Vec<String> {
    system.done.lock().expect("not poisoned").clone()
}

fn did(system: &Recorded, what: &str) -> bool {
    done(system).iter().any(|done| done == what)
}

/// Why the root is on no letter; and that the job is then as one of which nobody asked for a letter.
#[track_caller]
fn why_none(system: &Recorded) -> String {
    let prepared = prepare(system);
    let why = prepared.letter.as_ref().expect("it was asked for").as_ref().expect_err("none").clone();
    assert!(prepared.letter().is_none() && prepared.confirm_letter(stand_in().as_handle()).is_ok());
    let plain = Case { allow: vec!["named-objects"], ..Case::default() };
    let same = plain.prepare(&Recorded { done: Arc::default(), ..system.clone() }).expect("prepared");
    assert_eq!(prepared.lines, same.lines);
    let last = done(system).iter().rposition(|done| done.starts_with("restrict"));
    let last = last.map(|at| done(system)[at].clone());
    assert_eq!(last.as_deref(), Some("restrict our own"), "it is in the builder's own session");
    why
}

#[test]
fn a_service_gives_the_root_the_last_free_letter() {
    for (system, drives, letter) in [
        (service(), "CDX", 'Z'),
        (without_containers(), "CDXYZ", 'W'),
        (service(), "CEFGHIJKLMNOPQRSTUVWXYZ", 'D'),
    ] {
        let system = Recorded { drives, ..system };
        let prepared = prepare(&system);
        assert_eq!(prepared.letter().map(Letter::letter), Some(letter));
        assert_eq!(*system.defined.lock().unwrap(), letter.to_string());
        assert!(prepared.confirm_letter(stand_in().as_handle()).is_ok());
        assert!(did(&system, "restrict the new session's") && !did(&system, "restrict our own"));
        drop(prepared);
        assert_eq!(*system.defined.lock().unwrap(), "", "it goes with the job");
        let at = |what: &str| done(&system).iter().position(|done| done == what);
        assert!(at("take back") < at("close name"), "while nobody else has the root");
    }
}

#[test]
fn what_the_step_is_comes_of_the_new_sessions_token() {
    let prepared = prepare(&without_containers());
    let logons: Vec<_> = prepared.plan.restricting.iter().filter(|sid| sid.is_logon()).collect();
    assert_eq!(logons, [&logon_elsewhere()]);
    let failure = Failure { call: "CreateRestrictedToken", code: 87 };
    let system = Recorded { restrict_session: Err(failure), ..without_containers() };
    assert_eq!(why_none(&system), "the step has the builder's own token");
    assert!(!did(&system, "define Z"));
}

#[test]
fn nobody_asked_and_nothing_is_tried() {
    let system = service();
    let prepared = Case::default().prepare(&system).expect("prepared");
    assert!(prepared.letter.is_none() && !did(&system, "session"));
}

#[test]
fn who_may_not_start_processes_elsewhere_has_no_letter() {
    for administrator in [false, true] {
        let mut system = Recorded::windows((10, 0, 20348), true, administrator);
        // Who is no administrator has no window station either, and that is another matter.
        system.station = Ok(true);
        let why = why_none(&system);
        assert!(why.contains("only services") && why.contains("`SeAssignPrimaryTokenPrivilege`"), "{why}");
        assert!(!did(&system, "session"));
    }
    for name in NEEDED {
        let mut system = service();
        system.own.privileges.retain(|privilege| privilege.name != name);
        assert!(why_none(&system).contains(name));
    }
}

#[test]
fn a_logon_that_is_refused_is_told() {
    let refused = Failure { call: "LogonUserW", code: 1326 };
    let system = Recorded { session: Err(refused), ..service() };
    assert_eq!(why_none(&system), "`LogonUserW`: error 1326");
    // As Wine does it: it says yes and makes none.
    let system = Recorded { session: Ok((0x3e5, user())), ..service() };
    assert_eq!(why_none(&system), "the system made no logon session of the step's own");
    let system = Recorded { session: Ok((9, Sid::new(5, [20]))), ..service() };
    assert_eq!(why_none(&system), "the system made the logon session for another user");
    assert!(!did(&system, "define Z"));
}

#[test]
fn a_letter_that_others_see_is_taken_back() {
    let system = Recorded { one_list: true, ..service() };
    assert_eq!(why_none(&system), "`Z:` is seen outside of the step as well");
    assert!(did(&system, "take back") && system.defined.lock().unwrap().is_empty());
    let system = Recorded { one_list: true, sticks: true, ..service() };
    assert_eq!(why_none(&system), "`Z:` is seen outside of the step as well, and it could not be taken back");
}

#[test]
fn a_letter_that_is_not_the_root_for_the_step_is_taken_back() {
    let system = Recorded { leads: Ok(false), ..service() };
    assert_eq!(why_none(&system), "`Z:` leads the step elsewhere");
    assert!(did(&system, "take back") && system.defined.lock().unwrap().is_empty());
    // Impersonation that is for show only.
    let system = Recorded { leads: Err(Failure { call: "CreateFileW", code: 1346 }), ..service() };
    assert_eq!(why_none(&system), "the step cannot open `Z:`: `CreateFileW`: error 1346");
    assert!(did(&system, "take back"));
}

#[test]
fn a_container_that_does_not_find_it_starts_again_without() {
    let system = service();
    let prepared = prepare(&system);
    assert!(prepared.container.is_some());
    let mut blind = prepare(&Recorded { done: Arc::default(), defined: Arc::default(), ..system.clone() });
    blind.calls = Arc::new(Recorded { leads: Err(Failure { call: "CreateFileW", code: 3 }), ..system });
    let why = blind.confirm_letter(stand_in().as_handle()).expect_err("not seen from inside");
    assert_eq!(why, "the step cannot open `Z:`: `CreateFileW`: error 3");
}

#[test]
fn every_letter_may_be_taken() {
    let system = Recorded { drives: "CDEFGHIJKLMNOPQRSTUVWXYZ", ..service() };
    assert_eq!(why_none(&system), "every letter is taken");
    assert!(!did(&system, "define A") && !did(&system, "define B"), "the floppy disks' are left alone");
}

#[test]
fn wine_is_never_tried() {
    let wine = Recorded::wine().with_services_rights();
    assert_eq!(session(&wine).map(|_| ()), Err("Wine 8.0 has the same letters for everybody".into()));
    assert_eq!(done(&wine), Vec::<String>::new());
}
