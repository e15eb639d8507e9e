//! Answers of systems that are not at hand, for the tests of decisions.
//!
//! Wine's are what Wine 8 was measured to do. Those of Windows are what Microsoft's documentation says; nothing was
//! recorded on a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::calls::{Group, Privilege, ProcessFacts};
use super::*;
use crate::windows::security::LOW_INTEGRITY;

/// A system by its answers.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) system: System,
    pub(super) own: TokenFacts,
    /// What `CreateAppContainerProfile` gives.
    pub(super) container: Result<Sid, Failure>,
    /// What comes of closing the builder's threads.
    pub(super) threads: Result<(), Failure>,
    /// What `CreateRestrictedToken` gives, beside what is done with it.
    pub(super) restrict: Result<(), Failure>,
    /// Whether restricting SIDs and low integrity take effect.
    pub(super) honours: bool,
    /// What a file system makes of an access list; `None` keeps it.
    pub(super) files: Option<SecurityDescriptor>,
    /// What making a station gives: whether the station is a new one.
    pub(super) station: Result<bool, Failure>,
    /// What changing the null device's access list gives.
    pub(super) null_device: Result<(), Failure>,
    /// What the filter engine gives.
    pub(super) filters: Result<(), Failure>,
    /// Whether the firewall's service runs.
    pub(super) firewall: Result<bool, Failure>,
    /// Whether the name is another's.
    pub(super) taken: bool,
    /// What the first process turns out to be in place of what was asked for.
    pub(super) started_without_container: bool,
    /// Mitigations that take effect.
    pub(super) mitigations: BTreeSet<Mitigation>,
    /// What a new logon session's number and user are.
    pub(super) session: Result<(u64, Sid), Failure>,
    /// What `CreateRestrictedToken` gives of a token of that session.
    pub(super) restrict_session: Result<(), Failure>,
    /// Letters of drives that everybody sees.
    pub(super) drives: &'static str,
    /// Whether a letter that is defined in one session is seen in the others.
    pub(super) one_list: bool,
    /// Whether a letter that is defined stays when it is taken back.
    pub(super) sticks: bool,
    /// Whether a letter leads where it was to.
    pub(super) leads: Result<bool, Failure>,
    /// The letters that are defined.
    pub(super) defined: Arc<Mutex<String>>,
    /// What was done, in order.
    pub(super) done: Arc<Mutex<Vec<String>>>,
    /// Names of profiles that exist already.
    pub(super) profiles: Vec<String>,
    pub(super) plan: Arc<Mutex<TokenPlan>>,
}

pub(super) fn user() -> Sid {
    Sid::new(5, [21, 7, 8, 9, 1001])
}

/// The SID of the logon that [`Calls::new_session`] makes.
pub(super) fn logon_elsewhere() -> Sid {
    Sid::new(5, [5, 0, 888])
}

pub(super) fn container_sid() -> Sid {
    Sid::new(15, [2, 1, 2, 3, 4, 5, 6, 7])
}

fn group(sid: Sid) -> Group {
    Group { sid, enabled: true, deny_only: false }
}

impl Recorded {
    /// A system with AppContainers.
    pub(super) fn windows(version: (u32, u32, u32), server: bool, administrator: bool) -> Self {
        let mut groups = vec![
            group(Sid::everyone()),
            group(Sid::users()),
            group(Sid::new(5, [5, 0, 777])),
            group(Sid::new(5, [21, 7, 8, 9, 513])),
        ];
        let mut privileges = vec!["SeChangeNotifyPrivilege", "SeShutdownPrivilege"];
        if administrator {
            groups.push(group(Sid::administrators()));
            groups.push(group(Sid::new(5, [114])));
            privileges.extend(["SeDebugPrivilege", "SeImpersonatePrivilege", "SeBackupPrivilege"]);
        }
        let privileges = privileges.into_iter().enumerate();
        let privileges = privileges.map(|(at, name)| Privilege { name: name.into(), luid: (at as u32, 0) });
        let denied = Failure { call: "FwpmEngineOpen0", code: 5 };
        Self {
            system: System { version, server, wine: None },
            own: TokenFacts {
                user: user(),
                groups,
                privileges: privileges.collect(),
                restricting: Vec::new(),
                integrity: if administrator { 0x3000 } else { 0x2000 },
                container: None,
                session: 0x3e5,
                default_admits: vec![user(), Sid::system()],
            },
            container: Ok(container_sid()),
            threads: Ok(()),
            restrict: Ok(()),
            honours: true,
            files: None,
            station: Ok(administrator),
            null_device: match administrator {
                true => Ok(()),
                false => Err(Failure { call: "CreateFileW", code: 5 }),
            },
            filters: if administrator { Ok(()) } else { Err(denied) },
            firewall: Ok(true),
            taken: false,
            started_without_container: false,
            mitigations: Mitigation::ALL.iter().map(|(one, _)| *one).collect(),
            session: Ok((0x1_0000_0007, user())),
            restrict_session: Ok(()),
            drives: "CDX",
            one_list: false,
            sticks: false,
            leads: Ok(true),
            defined: Arc::default(),
            done: Arc::default(),
            profiles: Vec::new(),
            plan: Arc::default(),
        }
    }

    /// The same as a service has it, which may start processes in other logon sessions.
    pub(super) fn with_services_rights(mut self) -> Self {
        let luid = |at| (100 + at, 0);
        for (at, name) in super::letter::NEEDED.into_iter().enumerate() {
            self.own.privileges.push(Privilege { name: name.into(), luid: luid(at as u32) });
        }
        self
    }

    /// Wine 8, as measured.
    pub(super) fn wine() -> Self {
        let mut wine = Self::windows((10, 0, 19043), false, true);
        wine.system.wine = Some("8.0".into());
        wine.container = Err(Failure::missing("CreateAppContainerProfile"));
        wine.honours = false;
        wine.files = Some(SecurityDescriptor::only([&Sid::everyone()]));
        wine.filters = Err(Failure { call: "FwpmEngineOpen0", code: 0x6e4 });
        wine.mitigations.clear();
        wine
    }

    fn did(&self, what: impl Into<String>) {
        self.done.lock().expect("not poisoned").push(what.into());
    }

    fn apply(&self, plan: &TokenPlan) -> TokenFacts {
        let mut got = self.own.clone();
        got.privileges.retain(|privilege| !plan.delete.contains(privilege));
        for group in got.groups.iter_mut().filter(|group| plan.deny_only.contains(&group.sid)) {
            (group.enabled, group.deny_only) = (false, true);
        }
        got.default_admits = plan.default_admits.clone();
        if self.honours {
            got.restricting = plan.restricting.clone();
            got.integrity = LOW_INTEGRITY;
        }
        got
    }
}

/// Something that says when it is closed.
struct Told(Recorded, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.did(format!("close {}", self.1));
    }
}

/// A letter that is taken back.
struct Defined(Recorded);

impl Drop for Defined {
    fn drop(&mut self) {
        self.0.did("take back");
        if !self.0.sticks {
            self.0.defined.lock().expect("not poisoned").clear();
        }
    }
}

fn stand_in() -> OwnedHandle {
    File::open("NUL").expect("the null device").into()
}

impl Calls for Recorded {
    fn system(&self) -> System {
        self.system.clone()
    }

    fn own_token(&self) -> Result<TokenFacts, Failure> {
        Ok(self.own.clone())
    }

    fn directory_id(&self, _: &Path) -> Result<(u32, u128), Failure> {
        Ok((0xabcd, 0x1_0000_0002))
    }

    fn take_name(&self, _: &str) -> Result<Option<Kept>, Failure> {
        Ok((!self.taken).then(|| Box::new(Told(self.clone(), "name")) as Kept))
    }

    fn create_container(&self, name: &str) -> Result<Sid, Failure> {
        self.did(format!("profile {name}"));
        self.container.clone()
    }

    fn delete_container(&self, name: &str) -> Result<(), Failure> {
        self.did(format!("delete {name}"));
        Ok(())
    }

    fn containers(&self, prefix: &str) -> Vec<String> {
        self.profiles.iter().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    fn new_session(&self) -> Result<(OwnedHandle, TokenFacts), Failure> {
        self.did("session");
        let (session, user) = self.session.clone()?;
        let mut facts = TokenFacts { session, user, ..self.own.clone() };
        // A logon has a SID of its own among its groups.
        facts.groups.retain(|group| !group.sid.is_logon());
        facts.groups.push(group(logon_elsewhere()));
        Ok((stand_in(), facts))
    }

    fn has_letter(&self, token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
        let defined = self.defined.lock().expect("not poisoned").contains(letter);
        Ok(self.drives.contains(letter) || (defined && (token.is_some() || self.one_list)))
    }

    fn define_letter(&self, _: BorrowedHandle<'_>, letter: char, _: &Path) -> Result<Kept, Failure> {
        self.did(format!("define {letter}"));
        self.defined.lock().expect("not poisoned").push(letter);
        Ok(Box::new(Defined(self.clone())))
    }

    fn directory_id_for(&self, _: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
        let root = self.directory_id(path)?;
        Ok(if self.leads.clone()? { root } else { (root.0, root.1 + 1) })
    }

    fn token_of(&self, _: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
        Ok(stand_in())
    }

    fn restrict(
        &self,
        base: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure> {
        self.restrict.clone()?;
        if base.is_some() {
            self.restrict_session.clone()?;
        }
        self.did(if base.is_some() { "restrict the new session's" } else { "restrict our own" });
        plan.clone_into(&mut self.plan.lock().expect("not poisoned"));
        Ok((stand_in(), self.apply(plan)))
    }

    fn protect_tree(&self, _: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Ok(self.files.clone().unwrap_or_else(|| wanted.clone()))
    }

    fn admit_tree(&self, path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        self.did(format!("admit {} {added}", path.display()));
        Ok(self.files.clone().unwrap_or_else(|| added.clone()))
    }

    fn create_station(&self, name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure> {
        let own_station = self.station.clone()?;
        let kept = Box::new(Told(self.clone(), "station"));
        Ok(Station {
            kept,
            path: format!("{name}\\step"),
            handles: [4, 8],
            own_station,
            security: wanted.clone(),
        })
    }

    fn admit_to_null(&self, _: &Sid) -> Result<Kept, Failure> {
        self.did("null device");
        self.null_device.clone()?;
        Ok(Box::new(Told(self.clone(), "null device")))
    }

    fn block_network(&self, _: &Sid, _: &Sid) -> Result<Kept, Failure> {
        self.did("filters");
        self.filters.clone()?;
        Ok(Box::new(Told(self.clone(), "filters")))
    }

    fn block_container(&self, container: &Sid) -> Result<Kept, Failure> {
        self.did(format!("filters for {container}"));
        self.filters.clone()?;
        Ok(Box::new(Told(self.clone(), "filters")))
    }

    fn firewall_runs(&self) -> Result<bool, Failure> {
        self.firewall.clone()
    }

    fn protect_builder(&self, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        self.did(format!("builder {wanted}"));
        Ok(wanted.clone())
    }

    fn protect_process(&self, _: BorrowedHandle<'_>, wanted: &SecurityDescriptor) -> Result<(), Failure> {
        self.did(format!("process {wanted}"));
        Ok(())
    }

    fn protect_threads(
        &self,
        owners: &BTreeMap<u32, &SecurityDescriptor>,
        _: &mut BTreeSet<u32>,
    ) -> Result<(), Failure> {
        owners.values().for_each(|wanted| self.did(format!("threads {wanted}")));
        self.threads.clone()
    }

    fn process(&self, _: BorrowedHandle<'_>) -> Result<ProcessFacts, Failure> {
        let mut token = self.apply(&self.plan.lock().expect("not poisoned"));
        if !self.started_without_container {
            token.container = self.container.clone().ok();
        }
        let security = SecurityDescriptor::only([&Sid::system()]);
        Ok(ProcessFacts { token, security, mitigations: self.mitigations.clone() })
    }
}
