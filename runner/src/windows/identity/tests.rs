use std::fs::File;

use super::boundary::{FILE_ALL, FILE_READ_EXECUTE, tree};
use super::recorded::{Recorded, container_sid, user};
use super::*;
use crate::Identity;

pub(super) struct Case {
    pub(super) network: Network,
    pub(super) account: Account,
    pub(super) mitigations: Vec<Mitigation>,
    pub(super) allow: Vec<&'static str>,
    pub(super) letter: bool,
    pub(super) identity: Option<Identity>,
    pub(super) shared: Vec<&'static str>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            network: Network::Host,
            account: Account::default(),
            mitigations: Vec::new(),
            allow: Vec::new(),
            letter: false,
            identity: None,
            shared: Vec::new(),
        }
    }
}

impl Case {
    pub(super) fn prepare(&self, system: &Recorded) -> Result<Prepared, RunError> {
        let allow = self.allow.iter().map(ToString::to_string).collect();
        let isolation = Isolation { allow, identity: self.identity };
        let asked = Asked {
            root: Path::new(r"C:\root"),
            private: vec![PathBuf::from(r"C:\temp")],
            shared: self.shared.iter().map(PathBuf::from).collect(),
            network: self.network,
            account: self.account,
            mitigations: &self.mitigations,
            isolation: &isolation,
            letter: self.letter,
        };
        Prepared::new(&asked, Arc::new(system.clone()))
    }

    /// What is missing, by name, and the hint.
    pub(super) fn refusal(&self, system: &Recorded) -> (Vec<String>, String) {
        let error = self.prepare(system).expect_err("a refusal");
        let hint = error.hint().expect("a hint");
        match error {
            RunError::Unconfined { missing, .. } => {
                (missing.0.into_iter().map(|line| line.what).collect(), hint)
            }
            other => panic!("{other}"),
        }
    }
}

/// What a step with the host's network lacks there.
const WITHOUT_UNDER_WINE: [&str; 7] =
    ["step-sid", "low-integrity", "file-access", "parent-process", "named-objects", "registry", "services"];

fn none() -> Case {
    Case { network: Network::None, ..Case::default() }
}

fn line<'a>(lines: &'a [Confinement], what: &str) -> &'a Confinement {
    lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("no line {what} in {lines:#?}"))
}

/// Systems that have AppContainers, as administrator and not.
fn with_containers() -> Vec<Recorded> {
    let versions = [
        ((6, 2, 9200), true),
        ((6, 3, 9600), true),
        ((10, 0, 14393), true),
        ((10, 0, 17763), true),
        ((10, 0, 20348), true),
        ((10, 0, 22631), false),
    ];
    let each = |(version, server)| [false, true].map(|admin| Recorded::windows(version, server, admin));
    versions.into_iter().flat_map(each).collect()
}

/// A system that refuses to make profiles, as for a user whose profile is not loaded.
fn without_containers(administrator: bool) -> Recorded {
    let mut system = Recorded::windows((6, 3, 9600), true, administrator);
    system.container = Err(Failure { call: "CreateAppContainerProfile", code: 0x8007_0005 });
    system
}

pub(super) fn stand_in() -> File {
    File::open("NUL").expect("the null device")
}

#[test]
fn an_appcontainer_where_the_system_has_them() {
    for system in with_containers() {
        let prepared = none().prepare(&system).expect("all is there");
        let container = prepared.container.as_ref().expect("a container");
        assert_eq!(
            (&container.sid, &container.capabilities[..]),
            (&container_sid(), &[][..]),
            "{}",
            system.system
        );
        assert_eq!(prepared.sid, container_sid());
        let network = &line(&prepared.lines, "network").got;
        assert!(network.starts_with("none: the AppContainer has no capability for it"), "{network}");
        assert_eq!(network.ends_with("block it"), system.filters.is_ok(), "{network}");
        let lines = prepared.confirm(stand_in().as_handle()).expect("it reads back");
        assert!(line(&lines, "app-container").is_full());
        for line in &lines {
            assert!(line.is_full(), "{}: {line}", system.system);
        }
    }
}

#[test]
fn a_container_is_let_into_the_null_device_for_its_time() {
    let system = Recorded::windows((10, 0, 20348), true, true);
    let prepared = Case::default().prepare(&system).expect("all is there");
    assert!(prepared.notes.is_empty(), "{:?}", prepared.notes);
    drop(prepared);
    assert!(system.done.lock().unwrap().iter().any(|done| done == "close null device"));
    // Who is no administrator cannot: that is said, and no reason to refuse.
    let system = Recorded::windows((10, 0, 22631), false, false);
    let prepared = Case::default().prepare(&system);
    let notes = prepared.expect("all is there").notes.clone();
    assert!(notes.len() == 1 && notes[0].starts_with("the step cannot open `NUL`"), "{notes:?}");
    // Restricted tokens are admitted as they are.
    let system = without_containers(true);
    drop(Case { allow: vec!["named-objects"], ..Case::default() }.prepare(&system).expect("prepared"));
    assert!(!system.done.lock().unwrap().iter().any(|done| done == "null device"));
}

#[test]
fn a_directory_that_is_shared_is_the_same_to_every_step() {
    let capability = "S-1-15-3-1330793552-43981-2-1-0-0";
    let system = Recorded::windows((10, 0, 20348), true, true);
    let case = Case { shared: vec![r"C:\cache"], allow: vec!["named-objects"], ..none() };
    let prepared = case.prepare(&system).expect("all is there");
    let capabilities = prepared.container.iter().flat_map(|container| &container.capabilities);
    assert_eq!(capabilities.map(Sid::to_string).collect::<Vec<_>>(), [capability]);
    let admit = |system: &Recorded| {
        let done = system.done.lock().unwrap().clone();
        done.into_iter().find(|done| done.starts_with("admit")).expect("it is admitted")
    };
    // Without a label: others start programs from there.
    assert_eq!(admit(&system), format!("admit C:\\cache D:(A;3;0x1f01ff;{capability})"));
    let system = without_containers(true);
    let prepared = case.prepare(&system).expect("all but the names");
    assert!(prepared.plan.restricting.iter().any(|sid| sid.to_string() == capability));
    assert!(admit(&system).ends_with("S:(ML;3;0x1;S-1-16-4096)"), "{}", admit(&system));
}

#[test]
fn capabilities_only_where_the_network_was_asked_for() {
    let system = Recorded::windows((10, 0, 20348), true, true);
    let prepared = Case::default().prepare(&system).expect("all is there");
    let names: Vec<_> =
        prepared.container.iter().flat_map(|one| &one.capabilities).map(Sid::to_string).collect();
    assert_eq!(names, ["S-1-15-3-1", "S-1-15-3-3"]);
}

#[test]
fn who_is_no_administrator_has_no_station_of_its_own() {
    for system in with_containers().into_iter().step_by(2) {
        // Ordinary builds of ordinary users run: what a station shows to others is closed by other means.
        let prepared = Case::default().prepare(&system).expect("nothing is missing");
        let station = line(&prepared.lines, "window-station");
        assert!(station.is_full() && station.got.contains("in the caller's window station"), "{station}");
        assert!(prepared.desktop.is_some());
    }
    // Whose step cannot be told from itself needs more than a name.
    let mut wine = Recorded::wine();
    wine.station = Ok(false);
    assert!(none().refusal(&wine).0.iter().any(|name| name == "window-station"));
}

#[test]
fn an_attribute_that_is_ignored_is_found_out() {
    let mut system = Recorded::windows((10, 0, 20348), true, true);
    system.started_without_container = true;
    let prepared = Case::default().prepare(&system).expect("the promise");
    let error = prepared.confirm(stand_in().as_handle()).expect_err("it does not hold");
    assert_eq!(error.hint().as_deref(), Some("accept less with `--isolation=job,allow=app-container`"));
}

#[test]
fn a_restricted_token_where_no_profile_can_be_made() {
    let case = Case { allow: vec!["named-objects"], ..none() };
    let system = without_containers(true);
    let prepared = case.prepare(&system).expect("all but the names");
    assert!(prepared.container.is_none());
    assert_eq!(prepared.sid.to_string(), "S-1-9-1330793552-43981-2-1-0-0");
    let identity = line(&prepared.lines, "identity");
    assert_eq!(identity.got, "a restricted token (`CreateAppContainerProfile`: 0x80070005)");
    assert!(line(&prepared.lines, "network").got.starts_with("none: blocked by Windows Filtering Platform"));
    for what in
        ["step-sid", "low-integrity", "privileges", "deny-only-groups", "process-access", "builder-access"]
    {
        assert!(line(&prepared.lines, what).is_full(), "{what}");
    }
    drop(prepared);
    assert_eq!(
        system.done.lock().unwrap().last().map(String::as_str),
        Some("close name"),
        "the name goes last"
    );
    assert!(system.done.lock().unwrap().iter().any(|done| done == "close filters"));
}

#[test]
fn a_container_is_no_wall_where_the_firewall_does_not_run() {
    let mut system = Recorded::windows((10, 0, 22631), false, false);
    for answer in [Ok(false), Err(Failure { call: "OpenServiceW", code: 5 })] {
        system.firewall = answer;
        assert_eq!(none().refusal(&system).0, ["network"]);
        assert!(Case::default().prepare(&system).is_ok(), "who asks for a network has one");
    }
    // An administrator's own filters do without it.
    let mut system = Recorded::windows((10, 0, 20348), true, true);
    system.firewall = Ok(false);
    let prepared = none().prepare(&system).expect("filters block it");
    assert!(line(&prepared.lines, "network").is_full());
    drop(prepared);
    assert!(system.done.lock().unwrap().iter().any(|done| done == "close filters"));
}

#[test]
fn network_none_is_refused_where_nothing_can_block_it() {
    let (missing, hint) = none().refusal(&without_containers(false));
    assert_eq!(missing, ["network", "named-objects"]);
    assert_eq!(hint, "accept less with `--isolation=job,allow=named-objects,allow=network`");
    let case = Case { allow: vec!["named-objects"], ..none() };
    let error = case.prepare(&without_containers(false)).expect_err("not without a network filter");
    let why = "the system has no AppContainers here, and filters need an administrator";
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains(why), "{error}: {cause}");
}

#[test]
fn wine_is_told_from_windows() {
    let wine = Recorded::wine();
    let (missing, hint) = none().refusal(&wine);
    let expected = [
        "step-sid",
        "low-integrity",
        "file-access",
        "network",
        "parent-process",
        "named-objects",
        "registry",
        "services",
    ];
    assert_eq!(missing, expected);
    assert!(
        hint.starts_with("accept less with `--isolation=job,allow=file-access,allow=low-integrity"),
        "{hint}"
    );
    assert!(
        !wine.done.lock().unwrap().iter().any(|done| done.starts_with("profile")),
        "it is not even asked"
    );
    let prepared = Case { allow: expected.to_vec(), ..none() }.prepare(&wine).expect("all of it is allowed");
    // With one access check only, what tells the step from us is that its Administrators can only deny.
    let admitted = prepared.process_security.access.clone().unwrap_or_default().admitted();
    assert!(admitted.contains(&Sid::administrators()) && !admitted.contains(&user()), "{admitted:?}");
    assert_eq!(prepared.process_security.owner, Some(Sid::administrators()));
    assert!(line(&prepared.lines, "process-access").is_full());
    assert_eq!(
        (&prepared.desktop, prepared.inherited().len()),
        (&None, 2),
        "its desktop has no name that it can open"
    );
    let host =
        Case { allow: expected.to_vec(), ..Case::default() }.prepare(&wine).expect("all of it is allowed");
    assert!(line(&host.lines, "network").is_full());
}

#[test]
fn a_builder_that_is_system_cannot_be_told_from_a_step_with_one_check() {
    let mut wine = Recorded::wine();
    wine.own.user = Sid::system();
    let (missing, _) = none().refusal(&wine);
    for what in ["process-access", "builder-access", "window-station"] {
        assert!(missing.iter().any(|name| name == what), "{what} in {missing:?}");
    }
}

#[test]
fn the_builders_threads_are_closed_where_lists_that_they_are_born_with_do_not() {
    let all = |system: &Recorded| system.done.lock().expect("not poisoned").join("\n");
    let wine = Recorded::wine();
    let allow = WITHOUT_UNDER_WINE.to_vec();
    let case = Case { allow: allow.clone(), ..Case::default() };
    let prepared = case.prepare(&wine).expect("what is missing is allowed");
    assert!(line(&prepared.lines, "builder-access").is_full());
    // To wait for it and to ask its name: 0x1000 would be to let it run.
    assert!(
        all(&wine).contains("threads ") && all(&wine).contains(";0x100800;S-1-5-21-7-8-9-1001)"),
        "{}",
        all(&wine)
    );
    prepared.claim_threads(&[7], &mut BTreeSet::new()).expect("recorded");
    assert_eq!(all(&wine).matches("threads ").count(), 3, "the builder's twice, the job's once");

    let mut refused = Recorded::wine();
    refused.threads = Err(Failure { call: "OpenThread", code: 5 });
    let (missing, _) = case.refusal(&refused);
    assert_eq!(missing, ["builder-access"]);
    let mut allow = allow;
    allow.push("builder-access");
    let prepared = Case { allow, ..Case::default() }.prepare(&refused).expect("allowed");
    assert_eq!(prepared.claim_threads(&[7], &mut BTreeSet::new()), Ok(()), "not tried again");

    let windows = without_containers(true);
    Case { allow: vec!["named-objects"], ..Case::default() }.prepare(&windows).expect("had");
    assert!(!all(&windows).contains("threads "), "a second access check keeps the step out");
}

#[test]
fn privileges_and_groups_are_taken_by_name() {
    let own = Recorded::windows((10, 0, 20348), true, true).own;
    let step = Sid::new(9, [1]);
    let plan = plan::token(&own, Some(&step), Vec::new());
    let deleted: Vec<&str> = plan.delete.iter().map(|one| one.name.as_str()).collect();
    let all = ["SeShutdownPrivilege", "SeDebugPrivilege", "SeImpersonatePrivilege", "SeBackupPrivilege"];
    assert_eq!(deleted, all);
    let denied: Vec<String> = plan.deny_only.iter().map(Sid::to_string).collect();
    assert_eq!(denied, ["S-1-5-21-7-8-9-513", "S-1-5-32-544", "S-1-5-114"]);
    let restricting: Vec<String> = plan.restricting.iter().map(Sid::to_string).collect();
    assert_eq!(restricting, ["S-1-9-1", "S-1-1-0", "S-1-5-32-545", "S-1-5-12", "S-1-5-5-0-777"]);
    assert!(
        plan::token(&own, None, Vec::new()).restricting.is_empty(),
        "a container has its own second check"
    );
}

#[test]
fn a_token_that_cannot_be_made_is_missing_and_not_passed_over() {
    let mut system = without_containers(true);
    system.restrict = Err(Failure { call: "CreateRestrictedToken", code: 8 });
    let (missing, _) = Case::default().refusal(&system);
    let all = ["restricted-token", "privileges", "deny-only-groups", "step-sid", "low-integrity"];
    assert_eq!(missing[..5], all);
    assert!(missing.contains(&"process-access".to_owned()) && missing.contains(&"builder-access".to_owned()));
}

#[test]
fn a_file_system_without_access_lists_is_found_out() {
    let mut system = Recorded::windows((10, 0, 20348), true, true);
    system.files = Some(SecurityDescriptor::default());
    let (missing, _) = Case::default().refusal(&system);
    assert_eq!(missing, ["file-access"]);
}

#[test]
fn an_ordinary_user_of_an_image_writes_only_in_its_own_places() {
    let others = [Sid::system()];
    let step = Sid::new(9, [1]);
    let access = |writable| tree(&others, &step, writable).access.unwrap_or_default();
    assert!(access(true).allows(&step, FILE_ALL));
    assert!(access(false).allows(&step, FILE_READ_EXECUTE) && !access(false).allows(&step, 0x2));
    assert!(tree(&others, &step, false).label.is_none(), "low integrity cannot write there either");
    let case = Case { account: Account::User, ..Case::default() };
    assert!(case.prepare(&Recorded::windows((10, 0, 20348), true, true)).is_ok());
}

#[test]
fn a_root_is_one_jobs() {
    let mut system = Recorded::windows((10, 0, 20348), true, true);
    system.taken = true;
    let error = Case::default().prepare(&system).expect_err("another has it");
    assert_eq!(error.to_string(), r"cannot use `C:\root` for two jobs at once");
}

#[test]
fn mitigations_that_do_not_read_back_are_missing() {
    let mut system = Recorded::windows((6, 2, 9200), true, true);
    system.mitigations = [Mitigation::StrictHandles].into_iter().collect();
    let mitigations = vec![Mitigation::StrictHandles, Mitigation::FontsOff];
    let prepared = Case { mitigations, ..Case::default() }.prepare(&system).expect("known only afterwards");
    assert_eq!(prepared.mitigation, 1 << 24 | 1 << 48);
    let error = prepared.confirm(stand_in().as_handle()).expect_err("one is missing");
    assert_eq!(error.hint().as_deref(), Some("accept less with `--isolation=job,allow=process-mitigation`"));
}

#[test]
fn profiles_are_deleted_after_the_step_and_swept_after_a_death() {
    let mut system = Recorded::windows((10, 0, 20348), true, true);
    drop(Case::default().prepare(&system).expect("all is there"));
    let done = system.done.lock().unwrap().clone();
    let deleted = done.iter().position(|done| done == "delete orlop.abcd.100000002").expect("deleted");
    assert_eq!(done[deleted + 1], "close name", "nobody else takes the name before");
    system.profiles = vec!["orlop.1.2".into(), "other".into()];
    assert_eq!(sweep(&system), 1);
    system.taken = true;
    assert_eq!(sweep(&system), 0, "its builder lives");
}

#[test]
fn systems_have_their_names() {
    let name = |version, server| Recorded::windows(version, server, true).system.to_string();
    assert_eq!(name((6, 2, 9200), true), "Windows Server 2012 (6.2.9200)");
    assert_eq!(name((10, 0, 26100), true), "Windows Server 2025 (10.0.26100)");
    assert_eq!(name((10, 0, 22631), false), "Windows 11 (10.0.22631)");
    assert_eq!(Recorded::wine().system.to_string(), "Windows 10 (10.0.19043) as Wine 8.0 plays it");
}

/// The real calls, on whatever system this runs.
mod here {
    use std::os::windows::io::AsRawHandle;

    use super::*;

    const EVERYTHING: [&str; 14] = [
        "app-container",
        "builder-access",
        "deny-only-groups",
        "file-access",
        "low-integrity",
        "named-objects",
        "network",
        "parent-process",
        "privileges",
        "process-access",
        "registry",
        "services",
        "step-sid",
        "window-station",
    ];

    fn prepare(root: &Path) -> Prepared {
        let isolation =
            Isolation { allow: EVERYTHING.iter().map(ToString::to_string).collect(), ..Isolation::default() };
        let asked = Asked {
            root,
            private: Vec::new(),
            shared: Vec::new(),
            network: Network::Host,
            account: Account::default(),
            mitigations: &[],
            isolation: &isolation,
            letter: false,
        };
        Prepared::new(&asked, Arc::new(Windows)).expect("prepared")
    }

    #[test]
    fn the_token_reads_back_without_privileges_and_powers() {
        let root = tempfile::tempdir().expect("a directory");
        let prepared = prepare(root.path());
        assert!(line(&prepared.lines, "privileges").is_full(), "{:#?}", prepared.lines);
        assert!(line(&prepared.lines, "deny-only-groups").is_full(), "{:#?}", prepared.lines);
        assert!(line(&prepared.lines, "process-access").is_full(), "{:#?}", prepared.lines);
        assert!(line(&prepared.lines, "builder-access").is_full(), "{:#?}", prepared.lines);
        assert!(line(&prepared.lines, "window-station").is_full(), "{:#?}", prepared.lines);
        assert!(prepared.desktop.is_some() || prepared.inherited().len() == 2);
        assert!(prepared.token().is_some());
    }

    #[test]
    fn a_root_is_told_from_another_and_taken_once() {
        let (one, two) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let first = prepare(one.path());
        assert_ne!(first.sid, prepare(two.path()).sid);
        let isolation =
            Isolation { allow: EVERYTHING.iter().map(ToString::to_string).collect(), ..Isolation::default() };
        let asked = Asked {
            root: one.path(),
            private: Vec::new(),
            shared: Vec::new(),
            network: Network::Host,
            account: Account::default(),
            mitigations: &[],
            isolation: &isolation,
            letter: false,
        };
        assert!(Prepared::new(&asked, Arc::new(Windows)).is_err(), "it is taken");
        let sid = first.sid.clone();
        drop(first);
        assert_eq!(prepare(one.path()).sid, sid, "the same directory has the same identity");
    }

    #[test]
    fn this_process_reads_back_as_what_it_is() {
        let own = object::own_process();
        let facts = Windows.process(own).expect("our own process");
        let token = Windows.own_token().expect("our own token");
        assert_eq!(facts.token.user, token.user);
        assert_eq!(facts.token.groups, token.groups);
    }

    #[test]
    fn access_lists_of_objects_read_back_as_they_were_set() {
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().is_err());
        let wanted =
            SecurityDescriptor::only([&Sid::system(), &Windows.own_token().expect("our own token").user]);
        object::set_security(thread.as_raw_handle(), &[object::Part::Access], &wanted).expect("set");
        let got = object::security(thread.as_raw_handle()).expect("read");
        assert_eq!(got.access.map(|list| list.admitted()), wanted.access.map(|list| list.admitted()));
        drop(end);
        assert!(thread.join().expect("it ends"));
    }
}
