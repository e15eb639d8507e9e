//! The system at hand, as if it had no AppContainers: what takes their place is then tried on newer Windows as well.
//! And, where a test wants it, as if it gave letters which it does not make.

use std::collections::{BTreeMap, BTreeSet};
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::calls::{Calls, Failure, Kept, Privilege, ProcessFacts, Station, System, TokenFacts, TokenPlan};
use super::letter::NEEDED;
use super::object;
use super::system::Windows;
use crate::windows::security::{SecurityDescriptor, Sid};

#[derive(Debug, Default)]
pub(in crate::windows) struct TokensOnly {
    /// What it says of letters that is not so.
    pub(in crate::windows) boast: Option<Boast>,
}

/// A letter that is defined for show only.
#[derive(Debug)]
pub(in crate::windows) struct Boast {
    /// The letter that is said to be free.
    pub(in crate::windows) free: char,
    /// The root.
    pub(in crate::windows) root: PathBuf,
    /// How often the letter is said to lead to the root, before it is asked in earnest.
    pub(in crate::windows) lies: Mutex<u32>,
    /// What was told to have been defined and taken back.
    pub(in crate::windows) done: Arc<Mutex<Vec<&'static str>>>,
}

struct Nothing(Arc<Mutex<Vec<&'static str>>>);

impl Drop for Nothing {
    fn drop(&mut self) {
        self.0.lock().expect("not poisoned").push("taken back");
    }
}

impl Calls for TokensOnly {
    fn create_container(&self, _: &str) -> Result<Sid, Failure> {
        Err(Failure::missing("CreateAppContainerProfile"))
    }

    fn system(&self) -> System {
        match &self.boast {
            Some(_) => System { wine: None, ..Windows.system() },
            None => Windows.system(),
        }
    }

    fn own_token(&self) -> Result<TokenFacts, Failure> {
        let mut own = Windows.own_token()?;
        if self.boast.is_some() {
            for name in NEEDED {
                if !own.privileges.iter().any(|one| one.name == name) {
                    own.privileges.push(Privilege { name: name.into(), luid: (3, 0) });
                }
            }
        }
        Ok(own)
    }

    fn directory_id(&self, path: &Path) -> Result<(u32, u128), Failure> {
        Windows.directory_id(path)
    }

    fn take_name(&self, name: &str) -> Result<Option<Kept>, Failure> {
        Windows.take_name(name)
    }

    fn delete_container(&self, name: &str) -> Result<(), Failure> {
        Windows.delete_container(name)
    }

    fn containers(&self, prefix: &str) -> Vec<String> {
        Windows.containers(prefix)
    }

    fn new_session(&self) -> Result<(OwnedHandle, TokenFacts), Failure> {
        if self.boast.is_none() {
            return Windows.new_session();
        }
        let facts = Windows.own_token()?;
        let token = Windows.token_of(object::own_process())?;
        Ok((token, TokenFacts { session: facts.session + 1, ..facts }))
    }

    fn restrict(
        &self,
        base: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure> {
        // A session that is none has no token either.
        Windows.restrict(base.filter(|_| self.boast.is_none()), plan)
    }

    fn has_letter(&self, token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
        match &self.boast {
            Some(boast) => Ok(letter != boast.free),
            None => Windows.has_letter(token, letter),
        }
    }

    fn define_letter(&self, session: BorrowedHandle<'_>, letter: char, root: &Path) -> Result<Kept, Failure> {
        let Some(boast) = &self.boast else { return Windows.define_letter(session, letter, root) };
        boast.done.lock().expect("not poisoned").push("defined");
        Ok(Box::new(Nothing(Arc::clone(&boast.done))))
    }

    fn directory_id_for(&self, token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
        if let Some(boast) = &self.boast {
            let mut lies = boast.lies.lock().expect("not poisoned");
            if let Some(left) = lies.checked_sub(1) {
                *lies = left;
                return Windows.directory_id(&boast.root);
            }
        }
        Windows.directory_id_for(token, path)
    }

    fn token_of(&self, process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
        Windows.token_of(process)
    }

    fn protect_tree(&self, path: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Windows.protect_tree(path, wanted)
    }

    fn admit_tree(&self, path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        Windows.admit_tree(path, added)
    }

    fn create_station(&self, name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure> {
        Windows.create_station(name, wanted)
    }

    fn admit_to_null(&self, step: &Sid) -> Result<Kept, Failure> {
        Windows.admit_to_null(step)
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
