//! What is closed to a step besides its token: files, network, desktop, processes, named objects. One line each.

use std::collections::BTreeSet;
use std::path::Path;

use super::calls::{Kept, System, TokenFacts};
use super::{Admitted, Asked, PROCESS_ASKED, Prepared, same_access};
use crate::windows::security::{AccessList, Entry, INHERIT, LOW_INTEGRITY, SecurityDescriptor, Sid};
use crate::{Account, Confinement, Network};

/// Everything that a file's access list can allow.
pub(super) const FILE_ALL: u32 = 0x001f_01ff;
/// Reading, listing and executing.
pub(super) const FILE_READ_EXECUTE: u32 = 0x0012_00a9;
/// What the builder's own access list leaves to its user where a job runs as the same: to wait for it, and to ask
/// its name and times.
const PROCESS_HARMLESS: u32 = 0x0010_1000;
/// The same of a thread, whose rights have other numbers.
const THREAD_HARMLESS: u32 = 0x0010_0800;

impl Prepared {
    /// The boundary in the file system.
    pub(super) fn files(
        &mut self,
        asked: &Asked<'_>,
        shared: &[(&Path, Sid)],
        own: &TokenFacts,
        system: &System,
    ) {
        let wanted = "an access list on the root that admits the step, the user and administrators";
        let everyone_else = [Sid::system(), Sid::administrators(), own.user.clone()];
        let mut missing = None;
        let profile = asked.root.join("Users").join("ContainerUser");
        let writable = asked.account == Account::Administrator;
        let places = [(asked.root, writable), (&profile, true)];
        let places = places.into_iter().chain(asked.private.iter().map(|path| (path.as_path(), true)));
        for (path, writable) in places {
            if path == profile && (asked.account == Account::Administrator || !path.is_dir()) {
                continue;
            }
            let descriptor = tree(&everyone_else, &self.sid, writable);
            match self.calls.protect_tree(path, &descriptor) {
                Ok(got) if same_access(&descriptor, &got) => {}
                Ok(got) => missing = Some(format!("the file system kept another access list: {got}")),
                Err(failure) => missing = Some(failure.to_string()),
            }
        }
        for (path, sid) in shared {
            // Low integrity is no hindrance to a container that the list admits, and a label would make whatever is
            // started from there by others run with low integrity too.
            let label = self.container.is_none();
            let entry = Entry::allow(sid, FILE_ALL, INHERIT);
            let descriptor = SecurityDescriptor {
                access: Some(AccessList(vec![entry])),
                label: label.then(|| Entry::label(LOW_INTEGRITY, INHERIT)),
                ..SecurityDescriptor::default()
            };
            match self.calls.admit_tree(path, &descriptor) {
                Ok(got) if got.access.as_ref().is_none_or(|list| list.allows(sid, FILE_ALL)) => {}
                Ok(got) => missing = Some(format!("the file system kept another access list: {got}")),
                Err(failure) => missing = Some(failure.to_string()),
            }
        }
        self.lines.push(match (missing, &system.wine) {
            (None, None) => Confinement::full("file-access", wanted),
            (None, Some(version)) => {
                let why = format!("Wine {version} does not enforce it");
                Confinement::lesser("file-access", wanted, "everything that the user may", why)
            }
            (Some(why), _) => Confinement::lesser("file-access", wanted, "everything that the user may", why),
        });
    }

    pub(super) fn network(
        &mut self,
        network: Network,
        own: &TokenFacts,
        second_check: bool,
        system: &System,
        kept: &mut Vec<Kept>,
    ) {
        let line = match (network, &self.container) {
            (Network::Host, None) => Confinement::full("network", "the host's"),
            (Network::Host, Some(_)) => Confinement {
                got: "the host's, without what listens on its loopback addresses".into(),
                ..Confinement::full("network", "the host's")
            },
            (Network::None, Some(container)) => self.no_network(&container.sid.clone(), kept),
            (Network::None, None) if !second_check => {
                let why = match &system.wine {
                    Some(version) => format!(
                        "Wine {version} has neither AppContainers nor a token that a network filter could name"
                    ),
                    None => "the step's token has no SID of its own that a network filter could name".into(),
                };
                Confinement::lesser("network", "none", "the host's", why)
            }
            (Network::None, None) => match self.calls.block_network(&own.user, &self.sid) {
                Ok(filters) => {
                    kept.push(filters);
                    Confinement {
                        got: "none: blocked by Windows Filtering Platform filters that end with orlop".into(),
                        ..Confinement::full("network", "none")
                    }
                }
                Err(failure) => {
                    let why = match failure.code {
                        5 => "the system has no AppContainers here, and filters need an administrator".into(),
                        _ => failure.to_string(),
                    };
                    Confinement::lesser("network", "none", "the host's", why)
                }
            },
        };
        self.lines.push(line);
    }

    /// Network `none` of an AppContainer: what it has no capability for the firewall's filters keep it from.
    fn no_network(&self, container: &Sid, kept: &mut Vec<Kept>) -> Confinement {
        let full = |got: &str| Confinement { got: got.into(), ..Confinement::full("network", "none") };
        if let Ok(filters) = self.calls.block_container(container) {
            kept.push(filters);
            return full(
                "none: the AppContainer has no capability for it, and filters that end with orlop block it",
            );
        }
        let why = match self.calls.firewall_runs() {
            Ok(true) => return full("none: the AppContainer has no capability for it"),
            Ok(false) => {
                "the Windows Firewall's service does not run, and nothing else holds an AppContainer".into()
            }
            Err(failure) => format!("whether the Windows Firewall's service runs is not known: {failure}"),
        };
        Confinement::lesser("network", "none", "the host's", why)
    }

    /// A window station and a desktop of the step's own.
    pub(super) fn station(
        &mut self,
        name: &str,
        own: &TokenFacts,
        second_check: bool,
        admitted: &Admitted,
        kept: &mut Vec<Kept>,
    ) {
        // What a step can do to others through a station (clipboard, atoms) is the job's limits' to keep, and a
        // station with a name is an administrator's to make.
        let asked =
            "a desktop that admits the step only, in a window station of its own where that can be had";
        // A step that has a second access check opens them by name, as the user and as itself. One that has not
        // cannot be told from another of the same user: it gets open handles, and its name opens nothing.
        let by_handle = !second_check && admitted.apart;
        let who = match by_handle {
            true => admitted.own.clone(),
            false => vec![Sid::system(), self.sid.clone(), own.user.clone()],
        };
        let mut wanted = SecurityDescriptor::only(&who);
        wanted.label = Some(Entry::label(LOW_INTEGRITY, 0));
        let station = match self.calls.create_station(name, &wanted) {
            Ok(station) => station,
            Err(failure) => {
                let line =
                    Confinement::lesser("window-station", asked, "the caller's own", failure.to_string());
                return self.lines.push(line);
            }
        };
        match by_handle {
            true => self.inherit = station.handles.into_iter().filter(|handle| *handle != 0).collect(),
            false => self.desktop = Some(station.path.encode_utf16().chain([0]).collect()),
        }
        kept.push(station.kept);
        self.lines.push(if !station.security.admits_only(&who) {
            let why = format!("another access list reads back: {}", station.security);
            Confinement::lesser("window-station", asked, "one of its own that is open", why)
        } else if !admitted.apart {
            let got = "a window station and a desktop of its own that every process of the user can open";
            Confinement::lesser("window-station", asked, got, "the step's token is as good as the builder's")
        } else if !station.own_station && second_check {
            let got =
                "a desktop of its own in the caller's window station: only an administrator can name one";
            Confinement { got: got.into(), ..Confinement::full("window-station", asked) }
        } else if !station.own_station {
            let got = "a desktop of its own in the caller's window station";
            let why = "only an administrator can make a window station with a name";
            Confinement::lesser("window-station", asked, got, why)
        } else {
            Confinement::full("window-station", asked)
        });
    }

    /// Who can open the job's processes, the builder, and other processes of the user.
    pub(super) fn processes(
        &mut self,
        own: &TokenFacts,
        got: &TokenFacts,
        second_check: bool,
        admitted: &Admitted,
    ) {
        let why = "the step's token is as good as the builder's";
        self.lines.push(match admitted.apart {
            true => Confinement::full("process-access", PROCESS_ASKED),
            false => Confinement::lesser("process-access", PROCESS_ASKED, "every process of the user", why),
        });

        let asked = "this process and its threads cannot be opened, nor named as a parent, by the step";
        self.builder = [PROCESS_HARMLESS, THREAD_HARMLESS]
            .map(|harmless| builder(own, &self.sid, second_check, admitted, harmless));
        let wanted = self.builder[0].clone();
        self.claims_threads = admitted.apart && !second_check;
        let open =
            |why: String| Confinement::lesser("builder-access", asked, "open to the user's processes", why);
        self.lines.push(match admitted.apart {
            false => open(why.into()),
            true => match self.calls.protect_builder(&wanted) {
                Ok(got) if same_access(&wanted, &got) => {
                    match self.claim_threads(&[], &mut BTreeSet::new()) {
                        Ok(()) => Confinement::full("builder-access", asked),
                        Err(failure) => {
                            self.claims_threads = false;
                            open(format!("its threads keep another access list: {failure}"))
                        }
                    }
                }
                Ok(got) => open(format!("another access list reads back: {got}")),
                Err(failure) => open(failure.to_string()),
            },
        });

        let asked = "no process outside the job can be named as a parent";
        let closed = self.container.is_some() || (second_check && got.integrity <= LOW_INTEGRITY);
        self.lines.push(match closed {
            true => Confinement::full("parent-process", asked),
            false => {
                let got = "other processes of the same user can be named; what leaves the job so is looked for and ended";
                let why = "the step has neither a second access check nor a lower integrity";
                Confinement::lesser("parent-process", asked, got, why)
            }
        });
    }

    /// What could be written or started for the step elsewhere: the machine's registry and services.
    pub(super) fn machine(&mut self, got: &TokenFacts, second_check: bool, system: &System) {
        let places = [
            ("registry", "the machine's registry cannot be written", "it can be written"),
            ("services", "services start no process for the step", "whatever the user can ask of them"),
        ];
        let closed = self.container.is_some() || (second_check && got.integrity <= LOW_INTEGRITY);
        let why = match &system.wine {
            Some(version) => format!("Wine {version} does not enforce it"),
            None => "the step has neither a second access check nor a lower integrity".to_owned(),
        };
        for (what, asked, open) in places {
            self.lines.push(match closed {
                true => Confinement::full(what, asked),
                false => Confinement::lesser(what, asked, open, &why),
            });
        }
    }

    /// `NUL`, which no AppContainer can open by itself. Not having it is no lack of protection.
    pub(super) fn null_device(&mut self, kept: &mut Vec<Kept>) {
        if self.container.is_none() {
            return;
        }
        match self.calls.admit_to_null(&self.sid) {
            Ok(entry) => kept.push(entry),
            Err(failure) => self.notes.push(format!(
                "the step cannot open `NUL` ({failure}): this Windows admits no AppContainer there, and only an \
                 administrator can change that"
            )),
        }
    }

    /// Shared memory, events and other objects with names.
    pub(super) fn objects(&mut self) {
        let asked = "a directory of its own for named objects";
        self.lines.push(match &self.container {
            Some(_) => Confinement::full("named-objects", asked),
            None => {
                let got =
                    "the session's directory: objects made with an empty access list are open to other steps";
                Confinement::lesser("named-objects", asked, got, "only an AppContainer has one of its own")
            }
        });
    }
}

/// Who may open the builder and its threads: all whom the job admits but the step; its own user for `harmless` only
/// where the step is the same user.
fn builder(
    own: &TokenFacts,
    step: &Sid,
    second_check: bool,
    admitted: &Admitted,
    harmless: u32,
) -> SecurityDescriptor {
    let mut wanted = SecurityDescriptor::only(admitted.own.iter().filter(|sid| *sid != step));
    wanted.owner = admitted.owner.clone();
    if let Some(access) = &mut wanted.access {
        if !second_check {
            access.0.push(Entry::allow(&own.user, harmless, 0));
        }
        // Whoever owns an object may change its access list, unless an entry for owners says otherwise.
        access.0.push(Entry::allow(&Sid::owner_rights(), harmless, 0));
    }
    wanted
}

/// A directory's access list for a step, whose entry is the last.
pub(super) fn tree(others: &[Sid], step: &Sid, writable: bool) -> SecurityDescriptor {
    let mut entries: Vec<Entry> = others.iter().map(|sid| Entry::allow(sid, FILE_ALL, INHERIT)).collect();
    entries.push(Entry::allow(step, if writable { FILE_ALL } else { FILE_READ_EXECUTE }, INHERIT));
    SecurityDescriptor {
        owner: None,
        access: Some(AccessList(entries)),
        protected: true,
        label: writable.then(|| Entry::label(LOW_INTEGRITY, INHERIT)),
    }
}
