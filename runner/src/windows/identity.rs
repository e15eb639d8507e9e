//! Whom a job runs as, and what is closed to it: the strongest identity that the system has.
//!
//! | | AppContainer (Server 2012 and newer) | restricted token |
//! |---|---|---|
//! | second access check | the container's own SID | a SID of the step's own among the restricting ones |
//! | integrity | low | low |
//! | network `none` | no capability for it | Windows Filtering Platform, for administrators |
//! | named objects | a directory of its own | the session's |
//!
//! The caller may name one of them (`--isolation=job,identity=…`): not every program runs in an AppContainer.
//!
//! Both start from the caller's token with every privilege but `SeChangeNotifyPrivilege` deleted by name and every
//! group that gives power made deny-only. The two accounts of Windows images are the caller's own identity in both
//! cases: `ContainerAdministrator` may write everywhere in its root, `ContainerUser` only in its profile and in
//! the directory for temporary files. Neither has any right that the caller lacks.
//!
//! **A SID for the step.** A token cannot be given another group without `SeTcbPrivilege`, and a user account for
//! each step needs an administrator and leaves traces. What anybody can do is to add *restricting* SIDs: the system
//! then checks each access twice, and the second time only for those. The step's SID is made of its root
//! directory's number on its volume (`S-1-9-…`, an authority that no account has; an AppContainer's is made by the
//! system of a name made of the same number). So two roots never share one, and the steps of a stage that follow
//! each other in the same directory do: the access list of the tree is written once a stage and not once a step.
//!
//! [`Prepared`] is made before the first process and kept for the step's time. [`Prepared::confirm`] reads back what
//! the first process really is, before its first instruction.

mod boundary;
pub(super) mod calls;
mod choice;
pub(super) mod container;
#[cfg(test)]
mod effect;
mod files;
pub(super) mod letter;
mod null_device;
pub(super) mod object;
pub(super) mod plan;
#[cfg(test)]
mod recorded;
pub(super) mod session;
mod system;
#[cfg(test)]
mod tests;
mod threads;
mod token;
#[cfg(test)]
pub(super) mod tokens_only;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use calls::{Calls, Failure, Kept, Station, System, TokenFacts, TokenPlan};
pub(crate) use letter::Letter;
pub(crate) use system::Windows;

use super::keeper;
use super::security::{GENERIC_ALL, SecurityDescriptor, Sid};
use crate::{Account, Confinement, Isolation, Missing, Mitigation, Network, RunError};

/// What AppContainer profiles and window stations of orlop are called.
pub(crate) const PREFIX: &str = "orlop.";
/// `ORLP`, as a number: the first part of every step's SID.
const STEP: u32 = 0x4f52_4c50;

/// What a job asks of its identity.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    /// The job's root directory.
    pub(crate) root: &'a Path,
    /// Its private directory for temporary files.
    pub(crate) private: Vec<PathBuf>,
    /// Directories of others that it may write to as well, theirs before, meanwhile and afterwards.
    pub(crate) shared: Vec<PathBuf>,
    /// What it can reach.
    pub(crate) network: Network,
    /// Whom it runs as.
    pub(crate) account: Account,
    /// Mitigation policies.
    pub(crate) mitigations: &'a [Mitigation],
    /// What may be missing.
    pub(crate) isolation: &'a Isolation,
    /// Whether the root is to be on a drive letter of the step's own, where it can be.
    pub(crate) letter: bool,
}

/// An AppContainer, as `PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES` wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its profile's name.
    pub(crate) name: String,
    /// Its SID.
    pub(crate) sid: Sid,
    /// Its capabilities.
    pub(crate) capabilities: Vec<Sid>,
}

/// A job's identity and everything that was opened, made and set for it.
pub(crate) struct Prepared {
    /// The token for `CreateProcessAsUser`; the caller's own without it.
    pub(crate) token: Option<OwnedHandle>,
    /// The AppContainer, where the system has them.
    pub(crate) container: Option<Container>,
    /// `station\desktop` for `STARTUPINFO`, with its final zero.
    pub(crate) desktop: Option<Vec<u16>>,
    /// Handles that the first process must inherit, beside its standard ones: see [`Prepared::inherited`].
    inherit: Vec<usize>,
    /// Security of the job's processes.
    pub(crate) process_security: SecurityDescriptor,
    /// Security of the job's threads.
    pub(crate) thread_security: SecurityDescriptor,
    /// Security of the builder and of the builder's threads.
    builder: [SecurityDescriptor; 2],
    /// Whether each of those threads needs it: the step could open them otherwise.
    claims_threads: bool,
    /// The value of `PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY`; zero is none.
    pub(crate) mitigation: u64,
    /// The SID that only this step has: the container's or the restricting one.
    pub(crate) sid: Sid,
    /// The root on a letter of the step's own, or why not; `None` where nobody asked.
    pub(crate) letter: Option<Result<Letter, String>>,
    /// One line for each protection, before any process exists. [`Prepared::confirm`] replaces some.
    pub(crate) lines: Vec<Confinement>,
    /// What is no protection and does not work as usual.
    pub(crate) notes: Vec<String>,
    plan: TokenPlan,
    mitigations: Vec<Mitigation>,
    isolation: Isolation,
    calls: Arc<dyn Calls>,
    kept: Vec<Kept>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Prepared");
        shown.field("sid", &self.sid).field("container", &self.container).field("lines", &self.lines);
        shown.finish_non_exhaustive()
    }
}

/// Whom the job's own objects admit, and the second access check that keeps others of the same user out.
struct Admitted {
    /// The step's SID, SYSTEM and whoever of the caller's identities the job does not share.
    own: Vec<Sid>,
    /// Whether the job can be told from the caller at all.
    apart: bool,
    /// An owner that the job is not.
    owner: Option<Sid>,
}

impl Prepared {
    /// Makes everything that the job's first process needs.
    ///
    /// # Errors
    /// [`RunError::Unconfined`] with everything that cannot be had and is not allowed to be missing;
    /// [`RunError::Setup`] where the root is another job's, or the caller cannot read its own token.
    pub(crate) fn new(asked: &Asked<'_>, calls: Arc<dyn Calls>) -> Result<Self, RunError> {
        if !asked.letter {
            return Self::make(asked, calls, None);
        }
        let why = match letter::session(calls.as_ref()) {
            Ok(session) => match Self::make(asked, Arc::clone(&calls), Some(session)) {
                Ok(mut prepared) => match prepared.letter.take() {
                    Some(Err(why)) => why,
                    letter => {
                        prepared.letter = letter;
                        return Ok(prepared);
                    }
                },
                Err(error) => format!("not in a logon session of its own: {error}"),
            },
            Err(why) => why,
        };
        // As if nobody had asked: the identity is then the caller's own session's.
        let mut prepared = Self::make(asked, calls, None)?;
        prepared.letter = Some(Err(why));
        Ok(prepared)
    }

    /// The same, in the logon session that is given or in the caller's own.
    fn make(
        asked: &Asked<'_>,
        calls: Arc<dyn Calls>,
        session: Option<letter::Session>,
    ) -> Result<Self, RunError> {
        let system = calls.system();
        let own = calls.own_token().map_err(|failure| setup("read the builder's own token", failure))?;
        let (name, step) = names(asked.root, calls.as_ref())?;
        let mut kept = vec![take(&name, asked.root, calls.as_ref())?];
        let mut lines = Vec::new();

        let shared = shared(&asked.shared, calls.as_ref())?;
        let mut container = choice::container(&name, asked, &system, calls.as_ref(), &mut lines)?;
        if let Some(container) = &mut container {
            container.capabilities.extend(shared.iter().map(|(_, sid)| sid.clone()));
        }
        let step = container.as_ref().map_or(step, |container| container.sid.clone());
        let restricting = container.is_none().then_some(&step);
        // The first access check is the user's, the second one the step's.
        let default_admits = vec![Sid::system(), own.user.clone(), step.clone()];
        let base = session.as_ref().map_or(&own, |session| &session.facts);
        let mut plan = plan::token(base, restricting, default_admits);
        if container.is_none() {
            plan.restricting.extend(shared.iter().map(|(_, sid)| sid.clone()));
        }
        let base = session.as_ref().map(|session| session.token.as_handle());
        let (token, got) = match calls.restrict(base, &plan) {
            Ok((token, got)) => (Some(token), got),
            Err(failure) => {
                let (asked, got) = ("a token with less in it", "the builder's own token");
                lines.push(Confinement::lesser("restricted-token", asked, got, failure.to_string()));
                (None, own.clone())
            }
        };
        lines.extend(plan::lines(&plan, &got, &system));
        // Where the system keeps AppContainers it makes the second check by itself; `confirm` reads that back.
        let second_check = container.is_some() || got.restricting.contains(&step);
        let admitted = admitted(&own, &got, &step, second_check);
        let process_security = SecurityDescriptor::only(&admitted.own).owned_by(admitted.owner.clone());

        let mut prepared = Self {
            token,
            desktop: None,
            inherit: Vec::new(),
            thread_security: process_security.clone(),
            process_security,
            builder: [SecurityDescriptor::default(), SecurityDescriptor::default()],
            claims_threads: false,
            mitigation: super::mitigation::value(asked.mitigations),
            sid: step,
            lines,
            notes: Vec::new(),
            plan,
            mitigations: asked.mitigations.to_vec(),
            isolation: asked.isolation.clone(),
            calls,
            kept: Vec::new(),
            container,
            letter: None,
        };
        prepared.files(asked, &shared, &own, &system);
        // Only now may the step open its root.
        if let Some(session) = session {
            let letter = match &prepared.token {
                Some(token) => {
                    letter::define(session.token, token.as_handle(), asked.root, prepared.calls.as_ref())
                }
                None => Err("the step has the builder's own token".into()),
            };
            let failed = letter.is_err();
            prepared.letter = Some(letter);
            if failed {
                prepared.kept = kept;
                return Ok(prepared);
            }
        }
        prepared.network(asked.network, &own, second_check, &system, &mut kept);
        prepared.station(&name, &own, second_check, &admitted, &mut kept);
        prepared.processes(&own, &got, second_check, &admitted);
        prepared.objects();
        prepared.machine(&got, second_check, &system);
        prepared.null_device(&mut kept);
        prepared.kept = kept;
        let lines = prepared.lines.clone();
        prepared.refuse(&lines)?;
        Ok(prepared)
    }

    /// The token to start the first process with.
    pub(crate) fn token(&self) -> Option<BorrowedHandle<'_>> {
        self.token.as_ref().map(AsHandle::as_handle)
    }

    /// Handles that the first process has to inherit: they go into its explicit list beside the three standard ones.
    /// They put it on its desktop where it could not open that by name.
    pub(crate) fn inherited(&self) -> Vec<RawHandle> {
        self.inherit.iter().map(|handle| *handle as RawHandle).collect()
    }

    /// Reads back what the first process is, while it has not run yet: the lines of the report, complete.
    ///
    /// # Errors
    /// [`RunError::Unconfined`] where it is less than [`Prepared::new`] was promised: the process must be ended.
    pub(crate) fn confirm(&self, process: BorrowedHandle<'_>) -> Result<Vec<Confinement>, RunError> {
        let facts =
            self.calls.process(process).map_err(|failure| setup("read back the job's token", failure))?;
        let system = self.calls.system();
        let mut lines = self.lines.clone();
        let mut again = plan::lines(&self.plan, &facts.token, &system);
        if let Some(container) = &self.container {
            again.push(choice::confirm(container, &facts.token));
        }
        let full = self.lines.iter().any(|line| line.what == "process-access" && line.is_full());
        if full
            && !facts
                .security
                .admits_only(&self.process_security.access.clone().unwrap_or_default().admitted())
        {
            let got = format!("the system kept another access list: {}", facts.security);
            again.push(Confinement::lesser("process-access", PROCESS_ASKED, got, "it does not read back"));
        }
        again.extend(super::mitigation::line(&self.mitigations, &facts.mitigations, &system));
        for line in again {
            lines.retain(|known| known.what != line.what);
            lines.push(line);
        }
        self.refuse(&lines)?;
        Ok(lines)
    }

    /// The letter that the root has for the step.
    pub(crate) fn letter(&self) -> Option<&Letter> {
        self.letter.as_ref()?.as_ref().ok()
    }

    /// Whether the first process, which has not run yet, finds the root on its letter, where it has one.
    ///
    /// # Errors
    /// Why not: then it is to be ended, and another made without a letter.
    pub(crate) fn confirm_letter(&self, process: BorrowedHandle<'_>) -> Result<(), String> {
        let Some(letter) = self.letter() else { return Ok(()) };
        let token = self.calls.token_of(process).map_err(|failure| failure.to_string())?;
        letter.leads_to_root(token.as_handle(), self.calls.as_ref())
    }

    /// Gives a process of the job that another of its processes started the access list of the first, for systems
    /// that do not take it from the token (Wine). Where they do it changes nothing.
    ///
    /// `ours` tells whether an open process is in the job: an id may be another's by now. What cannot be opened is
    /// gone, or closed already.
    pub(crate) fn claim(&self, pid: u32, ours: &dyn Fn(BorrowedHandle<'_>) -> bool) {
        if let Ok(process) = object::open_process(pid)
            && ours(process.as_handle())
        {
            // It may be ending; then there is nothing left to open.
            let _ = self.calls.protect_process(process.as_handle(), &self.process_security);
        }
    }

    /// Who may open a process beside the builder that works for it.
    pub(crate) fn keeper(&self) -> keeper::Admitted<'_> {
        let [process, thread] = &self.builder;
        keeper::Admitted { process, thread }
    }

    /// Closes the builder's threads to the step, and those of the job's processes to other steps, where lists that
    /// threads are born with do not. New ones come all the time, so that it is done again and again; `done` are the
    /// job's threads that had their turn.
    ///
    /// # Errors
    /// What failed for a thread of the builder.
    pub(crate) fn claim_threads(&self, members: &[u32], done: &mut BTreeSet<u32>) -> Result<(), Failure> {
        if !self.claims_threads {
            return Ok(());
        }
        let mut owners: BTreeMap<u32, &SecurityDescriptor> =
            members.iter().map(|pid| (*pid, &self.thread_security)).collect();
        owners.insert(std::process::id(), &self.builder[1]);
        self.calls.protect_threads(&owners, done)
    }

    fn refuse(&self, lines: &[Confinement]) -> Result<(), RunError> {
        let missing = lines.iter().filter(|line| !line.is_full() && !self.isolation.allows(&line.what));
        let missing: Vec<Confinement> = missing.cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(RunError::Unconfined { missing: Missing(missing), isolation: self.isolation.clone() })
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.letter = None;
        // What is kept is closed first: a profile in use is not deleted. A failure leaves a profile that the next
        // command sweeps.
        self.kept.truncate(1);
        self.token = None;
        if let Some(container) = &self.container {
            let _ = self.calls.delete_container(&container.name);
        }
    }
}

/// Deletes the AppContainer profiles of builders that are dead. Returns how many.
pub(crate) fn sweep(calls: &dyn Calls) -> usize {
    let mut swept = 0;
    for name in calls.containers(PREFIX) {
        // Whoever has the name's lock is alive and uses the profile.
        if let Ok(Some(_lock)) = calls.take_name(&name) {
            swept += usize::from(calls.delete_container(&name).is_ok());
        }
    }
    swept
}

const PROCESS_ASKED: &str = "the step's processes admit the step only";

fn setup(step: &str, failure: Failure) -> RunError {
    RunError::Setup { step: step.into(), source: failure.to_io(), hint: None }
}

/// The name and the SID of a step, from its root's number.
fn names(root: &Path, calls: &dyn Calls) -> Result<(String, Sid), RunError> {
    let id = calls.directory_id(root);
    let (volume, id) =
        id.map_err(|failure| setup(&format!("find out which directory `{}` is", root.display()), failure))?;
    let parts = [id as u32, (id >> 32) as u32, (id >> 64) as u32, (id >> 96) as u32];
    Ok((format!("{PREFIX}{volume:x}.{id:x}"), Sid::new(9, [&[STEP, volume][..], &parts].concat())))
}

/// The SIDs of directories that are shared: each its own, the same for every step that is given it. So its files need
/// one entry, once, however many steps there were and are at a time. An AppContainer has it as a capability, a
/// restricted token among its restricting SIDs.
fn shared<'a>(paths: &'a [PathBuf], calls: &dyn Calls) -> Result<Vec<(&'a Path, Sid)>, RunError> {
    let one = |path: &'a PathBuf| {
        let id = calls.directory_id(path);
        let (volume, id) = id.map_err(|failure| {
            setup(&format!("find out which directory `{}` is", path.display()), failure)
        })?;
        let parts = [id as u32, (id >> 32) as u32, (id >> 64) as u32, (id >> 96) as u32];
        Ok((path.as_path(), Sid::new(15, [&[3, STEP, volume][..], &parts].concat())))
    };
    paths.iter().map(one).collect()
}

fn take(name: &str, root: &Path, calls: &dyn Calls) -> Result<Kept, RunError> {
    match calls.take_name(name) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(RunError::Setup {
            step: format!("use `{}` for two jobs at once", root.display()),
            source: std::io::ErrorKind::ResourceBusy.into(),
            hint: Some("wait until the other `orlop` that runs a step there has ended".into()),
        }),
        Err(failure) => Err(setup(&format!("take `{}` for one job", root.display()), failure)),
    }
}

/// Whom the job's own processes admit.
fn admitted(own: &TokenFacts, got: &TokenFacts, step: &Sid, second_check: bool) -> Admitted {
    let mut list = vec![Sid::system(), step.clone()];
    let administrators = Sid::administrators();
    // An entry for Administrators admits the builder and not the step, whose token has them deny-only.
    // A builder that runs as SYSTEM has nothing that its steps lack: every list admits SYSTEM.
    let deny_only = own.has_group(&administrators) && !got.has_group(&administrators);
    let ours_alone = deny_only && own.user != Sid::system();
    if ours_alone {
        list.push(administrators.clone());
    }
    if second_check {
        list.push(own.user.clone());
    }
    Admitted { own: list, apart: second_check || ours_alone, owner: ours_alone.then_some(administrators) }
}

/// Whether a SID can be that of a step: an AppContainer's, or one of orlop's own making.
fn is_step(sid: &Sid) -> bool {
    match (sid.authority(), sid.parts()) {
        // `S-1-15-2-1` and `-2` are all packages.
        (15, [2, rest @ ..]) => rest.len() > 1,
        (9, [STEP, ..]) => true,
        _ => false,
    }
}

/// Whether what reads back admits whom it was meant to, all of them and nobody else, with the same integrity.
fn same_access(wanted: &SecurityDescriptor, got: &SecurityDescriptor) -> bool {
    let (Some(list), Some(read)) = (&wanted.access, &got.access) else { return false };
    let all = list.0.iter().all(|entry| {
        let generic = entry.mask & GENERIC_ALL != 0;
        entry.sid.as_ref().is_none_or(|sid| match generic {
            // The system maps it to what the object's type has.
            true => read.admitted().contains(sid),
            // No more either: a step of another account may have had this directory before.
            false => read.allowed(sid) == list.allowed(sid),
        })
    });
    let label = wanted.label.as_ref().and_then(|label| label.sid.as_ref());
    all && got.admits_only(&list.admitted())
        && (label.is_none() || got.label.as_ref().and_then(|label| label.sid.as_ref()) == label)
}
