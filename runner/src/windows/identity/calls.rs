//! The seam between what is decided about a job's identity and the system calls that do it.
//!
//! [`Calls`] is thin: each method is one or two calls of the system and a reading back, with values on both sides.
//! What Wine cannot do is decided on recorded answers in the tests; it is never called tested.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use std::path::Path;

use super::super::security::{SecurityDescriptor, Sid};
use crate::Mitigation;

/// Something open in the system that goes away when it is dropped.
pub(crate) type Kept = Box<dyn Any + Send + Sync>;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The call.
    pub(crate) call: &'static str,
    /// Its error: a Windows error code, a status or a result code.
    pub(crate) code: u32,
}

impl Failure {
    /// The calling thread's last error.
    pub(crate) fn last(call: &'static str) -> Self {
        Self { call, code: io::Error::last_os_error().raw_os_error().unwrap_or(0) as u32 }
    }

    /// A function that this system does not export.
    pub(crate) fn missing(call: &'static str) -> Self {
        Self { call, code: 127 }
    }

    /// As an error of the system, for `source()`.
    pub(crate) fn to_io(&self) -> io::Error {
        match self.code {
            code if code < 0x1_0000 => io::Error::from_raw_os_error(code as i32),
            _ => io::Error::other(self.to_string()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        failure.to_io()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            127 => write!(f, "this system has no `{}`", self.call),
            code if code < 0x1_0000 => write!(f, "`{}`: error {code}", self.call),
            code => write!(f, "`{}`: {code:#x}", self.call),
        }
    }
}

/// What the system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    /// Major and minor version and build, as `RtlGetVersion` says and no compatibility setting changes.
    pub(crate) version: (u32, u32, u32),
    /// Whether it is a server.
    pub(crate) server: bool,
    /// Wine's version, where it is Wine.
    pub(crate) wine: Option<String>,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, build) = self.version;
        let name = match (self.server, self.version) {
            (true, (6, 2, _)) => "Windows Server 2012",
            (true, (6, 3, _)) => "Windows Server 2012 R2",
            (true, (10, _, ..17763)) => "Windows Server 2016",
            (true, (10, _, ..20348)) => "Windows Server 2019",
            (true, (10, _, ..26100)) => "Windows Server 2022",
            (true, (10, ..)) => "Windows Server 2025",
            (false, (6, 2, _)) => "Windows 8",
            (false, (6, 3, _)) => "Windows 8.1",
            (false, (10, _, ..22000)) => "Windows 10",
            (false, (10, ..)) => "Windows 11",
            _ => "Windows",
        };
        write!(f, "{name} ({major}.{minor}.{build})")?;
        match &self.wine {
            Some(version) => write!(f, " as Wine {version} plays it"),
            None => Ok(()),
        }
    }
}

/// A group of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Which.
    pub(crate) sid: Sid,
    /// Whether it can allow anything.
    pub(crate) enabled: bool,
    /// Whether it can only deny.
    pub(crate) deny_only: bool,
}

/// A privilege of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Privilege {
    /// Its name, such as `SeDebugPrivilege`.
    pub(crate) name: String,
    /// Its number on this machine.
    pub(crate) luid: (u32, i32),
}

/// What a token reads as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFacts {
    /// The user.
    pub(crate) user: Sid,
    /// The groups.
    pub(crate) groups: Vec<Group>,
    /// The privileges, enabled or not.
    pub(crate) privileges: Vec<Privilege>,
    /// The SIDs of the second access check, none where there is no second check.
    pub(crate) restricting: Vec<Sid>,
    /// The integrity level.
    pub(crate) integrity: u32,
    /// The AppContainer that it is of.
    pub(crate) container: Option<Sid>,
    /// The logon session's number: drive letters and network logons belong to it.
    pub(crate) session: u64,
    /// Whom objects made without an access list admit.
    pub(crate) default_admits: Vec<Sid>,
}

impl TokenFacts {
    /// Whether `sid` is a group that can allow something.
    pub(crate) fn has_group(&self, sid: &Sid) -> bool {
        self.groups.iter().any(|group| group.sid == *sid && group.enabled && !group.deny_only)
    }
}

/// What is to be made of the caller's own token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenPlan {
    /// Groups that may only deny.
    pub(crate) deny_only: Vec<Sid>,
    /// Privileges that are deleted.
    pub(crate) delete: Vec<Privilege>,
    /// The SIDs of the second access check.
    pub(crate) restricting: Vec<Sid>,
    /// Whether it gets low integrity.
    pub(crate) low: bool,
    /// Whom objects made without an access list admit.
    pub(crate) default_admits: Vec<Sid>,
}

/// What a process of the job reads as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    /// Its token.
    pub(crate) token: TokenFacts,
    /// Who may open it.
    pub(crate) security: SecurityDescriptor,
    /// The mitigation policies in force, of those that orlop knows.
    pub(crate) mitigations: BTreeSet<Mitigation>,
}

/// A desktop that was made.
pub(crate) struct Station {
    /// It and its window station.
    pub(crate) kept: Kept,
    /// `station\desktop`.
    pub(crate) path: String,
    /// The handles of both.
    pub(crate) handles: [usize; 2],
    /// Whether the window station is a new one too.
    pub(crate) own_station: bool,
    /// Whom the weaker of what was made admits.
    pub(crate) security: SecurityDescriptor,
}

/// The system calls.
pub(crate) trait Calls: fmt::Debug + Send + Sync {
    /// What the system is.
    fn system(&self) -> System;

    /// The caller's own token.
    fn own_token(&self) -> Result<TokenFacts, Failure>;

    /// A directory's volume and its number there: the same after a rename, and no other's while it exists.
    fn directory_id(&self, path: &Path) -> Result<(u32, u128), Failure>;

    /// Takes a name that no other process of this session then has. `None` where another has it.
    fn take_name(&self, name: &str) -> Result<Option<Kept>, Failure>;

    /// Makes the AppContainer profile of that name, or takes it where it exists.
    fn create_container(&self, name: &str) -> Result<Sid, Failure>;

    /// Deletes it with its folders and its registry.
    fn delete_container(&self, name: &str) -> Result<(), Failure>;

    /// The names of this user's AppContainer profiles that begin with `prefix`.
    fn containers(&self, prefix: &str) -> Vec<String>;

    /// A token like the caller's own in a logon session of its own, with [`letter::NEEDED`](super::letter) enabled.
    fn new_session(&self) -> Result<(OwnedHandle, TokenFacts), Failure>;

    /// Makes a token from `base`, or where there is none from the caller's own, and reads it back.
    fn restrict(
        &self,
        base: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure>;

    /// Whether a drive has a letter, for whoever has `token` or for the caller.
    fn has_letter(&self, token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure>;

    /// Gives a directory a letter in a logon session, for as long as the result is kept.
    fn define_letter(&self, session: BorrowedHandle<'_>, letter: char, root: &Path) -> Result<Kept, Failure>;

    /// Which directory a path is for whoever has `token`.
    fn directory_id_for(&self, token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure>;

    /// The token of a process, to see with its eyes.
    fn token_of(&self, process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure>;

    /// Sets who may use a directory and what is in it, and reads back the directory's own.
    fn protect_tree(&self, path: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure>;

    /// Adds entries to those of a directory and of what is in it, where they are missing, and reads back the directory's.
    fn admit_tree(&self, path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure>;

    /// Makes a window station and a desktop in it, or where only an administrator may do that a desktop in the
    /// caller's own, and reads back who may use them.
    fn create_station(&self, name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure>;

    /// Lets a step in an AppContainer open the null device, as long as the result is kept.
    fn admit_to_null(&self, step: &Sid) -> Result<Kept, Failure>;

    /// Cuts off the network for what runs as `user` restricted to `step`, as long as the result is kept.
    fn block_network(&self, user: &Sid, step: &Sid) -> Result<Kept, Failure>;

    /// Cuts off the network for what is in an AppContainer, as long as the result is kept.
    fn block_container(&self, container: &Sid) -> Result<Kept, Failure>;

    /// Whether the service runs whose filters keep an AppContainer from what it has no capability for.
    fn firewall_runs(&self) -> Result<bool, Failure>;

    /// Sets who may open this process, and reads it back.
    fn protect_builder(&self, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure>;

    /// Sets who may open a process.
    fn protect_process(
        &self,
        process: BorrowedHandle<'_>,
        wanted: &SecurityDescriptor,
    ) -> Result<(), Failure>;

    /// Sets who may open the threads of some processes, by their ids, and reads it back; those in `done` had their
    /// turn. An error is about a thread of this process.
    fn protect_threads(
        &self,
        owners: &BTreeMap<u32, &SecurityDescriptor>,
        done: &mut BTreeSet<u32>,
    ) -> Result<(), Failure>;

    /// Reads what a process is.
    fn process(&self, process: BorrowedHandle<'_>) -> Result<ProcessFacts, Failure>;
}
