//! The real system behind [`Calls`].
#![expect(unsafe_code, reason = "the version is asked of ntdll by name")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOEXW;
use windows_sys::Win32::System::SystemServices::VER_NT_WORKSTATION;

use super::calls::{Calls, Failure, Kept, ProcessFacts, Station, System, TokenFacts, TokenPlan};
use super::{container, files, null_device, object, session, threads, token};
use crate::windows::library::{function, wine_version};
use crate::windows::security::{SecurityDescriptor, Sid};
use crate::windows::{desktop, mitigation, network};

/// Windows itself, or what plays it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Windows;

impl Calls for Windows {
    fn system(&self) -> System {
        type Version = unsafe extern "system" fn(*mut OSVERSIONINFOEXW) -> i32;
        let size = size_of::<OSVERSIONINFOEXW>() as u32;
        let mut info = OSVERSIONINFOEXW { dwOSVersionInfoSize: size, ..Default::default() };
        // SAFETY: the function's published type; the structure says its own size.
        if let Some(version) = unsafe { function::<Version>("ntdll.dll", c"RtlGetVersion") } {
            // SAFETY: as above.
            unsafe { version(&mut info) };
        }
        System {
            version: (info.dwMajorVersion, info.dwMinorVersion, info.dwBuildNumber),
            server: u32::from(info.wProductType) != VER_NT_WORKSTATION,
            wine: wine_version(),
        }
    }

    fn own_token(&self) -> Result<TokenFacts, Failure> {
        token::own_facts()
    }

    fn directory_id(&self, path: &Path) -> Result<(u32, u128), Failure> {
        object::directory_id(path)
    }

    fn take_name(&self, name: &str) -> Result<Option<Kept>, Failure> {
        let user = self.own_token()?.user;
        object::take_name(name, &SecurityDescriptor::only([&Sid::system(), &Sid::administrators(), &user]))
    }

    fn create_container(&self, name: &str) -> Result<Sid, Failure> {
        container::create(name)
    }

    fn delete_container(&self, name: &str) -> Result<(), Failure> {
        container::delete(name)
    }

    fn containers(&self, prefix: &str) -> Vec<String> {
        container::names(prefix)
    }

    fn new_session(&self) -> Result<(OwnedHandle, TokenFacts), Failure> {
        session::new()
    }

    fn restrict(
        &self,
        base: Option<BorrowedHandle<'_>>,
        plan: &TokenPlan,
    ) -> Result<(OwnedHandle, TokenFacts), Failure> {
        token::restrict(base, plan)
    }

    fn has_letter(&self, token: Option<BorrowedHandle<'_>>, letter: char) -> Result<bool, Failure> {
        session::has_letter(token, letter)
    }

    fn define_letter(&self, session: BorrowedHandle<'_>, letter: char, root: &Path) -> Result<Kept, Failure> {
        session::define(session, letter, root)
    }

    fn directory_id_for(&self, token: BorrowedHandle<'_>, path: &Path) -> Result<(u32, u128), Failure> {
        session::directory_id(token, path)
    }

    fn token_of(&self, process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
        token::to_impersonate(process)
    }

    fn protect_tree(&self, path: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        files::protect_tree(path, wanted)
    }

    fn admit_tree(&self, path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        files::admit_tree(path, added)
    }

    fn create_station(&self, name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure> {
        desktop::create(name, wanted)
    }

    fn admit_to_null(&self, step: &Sid) -> Result<Kept, Failure> {
        null_device::admit(step)
    }

    fn block_network(&self, user: &Sid, step: &Sid) -> Result<Kept, Failure> {
        network::block(user, step)
    }

    fn block_container(&self, container: &Sid) -> Result<Kept, Failure> {
        network::block_container(container)
    }

    fn firewall_runs(&self) -> Result<bool, Failure> {
        network::firewall_runs()
    }

    fn protect_builder(&self, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
        let own = object::own_process();
        object::protect(own, wanted)?;
        object::security(own.as_raw_handle())
    }

    fn protect_process(
        &self,
        process: BorrowedHandle<'_>,
        wanted: &SecurityDescriptor,
    ) -> Result<(), Failure> {
        object::protect(process, wanted)
    }

    fn protect_threads(
        &self,
        owners: &BTreeMap<u32, &SecurityDescriptor>,
        done: &mut BTreeSet<u32>,
    ) -> Result<(), Failure> {
        threads::protect(owners, done)
    }

    fn process(&self, process: BorrowedHandle<'_>) -> Result<ProcessFacts, Failure> {
        Ok(ProcessFacts {
            token: token::facts(&token::of(process)?)?,
            security: object::security(process.as_raw_handle())?,
            mitigations: mitigation::read(process),
        })
    }
}
