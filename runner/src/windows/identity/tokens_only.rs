//! The system at hand, as if it had no AppContainers: what takes their place is then tried on newer Windows as well.

use std::collections::{BTreeMap, BTreeSet};
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use std::path::Path;

use super::calls::{Calls, Failure, Kept, ProcessFacts, Station, System, TokenFacts, TokenPlan};
use super::system::Windows;
use crate::windows::security::{SecurityDescriptor, Sid};

#[derive(Debug)]
pub(super) struct TokensOnly;

impl Calls for TokensOnly {
    fn create_container(&self, _: &str) -> Result<Sid, Failure> {
        Err(Failure::missing("CreateAppContainerProfile"))
    }

    fn system(&self) -> System {
        Windows.system()
    }

    fn own_token(&self) -> Result<TokenFacts, Failure> {
        Windows.own_token()
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
        Windows.new_session()
    }

    fn restrict(
        &self,
        base: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure> {
        Windows.restrict(base, plan)
    }

    fn has_letter(&self, token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
        Windows.has_letter(token, letter)
    }

    fn define_letter(&self, session: BorrowedHandle<'_>, letter: char, root: &Path) -> Result<Kept, Failure> {
        Windows.define_letter(session, letter, root)
    }

    fn directory_id_for(&self, token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
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
