//! Network `none`: filters of the Windows Filtering Platform for one step.
//!
//! An AppContainer without a capability for the network is kept from it by the Windows Firewall's own filters, which
//! are there while its service runs; ours block its SID besides, where an administrator can add them.
//!
//! Without an AppContainer they are all there is. A step's token passes an access check only where both the user and the step's own SID are admitted. A filter's
//! condition is such a check, so that three filters on each layer tell a step from everything else of its user:
//! what the user alone passes, which no step does, is let on its way; what passes with both is blocked.
//! Microsoft's documentation is all that stands behind this: Wine has no filter engine.
#![expect(unsafe_code, reason = "the filter engine's functions are resolved by name")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::NetworkManagement::WindowsFilteringPlatform::{
    FWP_ACTION_BLOCK, FWP_ACTION_PERMIT, FWP_ACTION_TYPE, FWP_ACTRL_MATCH_FILTER, FWP_BYTE_BLOB,
    FWP_CONDITION_VALUE0, FWP_CONDITION_VALUE0_0, FWP_MATCH_EQUAL, FWP_SECURITY_DESCRIPTOR_TYPE, FWP_SID,
    FWP_UINT8, FWP_VALUE0, FWP_VALUE0_0, FWPM_ACTION0, FWPM_CONDITION_ALE_PACKAGE_ID,
    FWPM_CONDITION_ALE_USER_ID, FWPM_DISPLAY_DATA0, FWPM_FILTER_CONDITION0, FWPM_FILTER0,
    FWPM_LAYER_ALE_AUTH_CONNECT_V4, FWPM_LAYER_ALE_AUTH_CONNECT_V6, FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V4,
    FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V6, FWPM_SESSION_FLAG_DYNAMIC, FWPM_SESSION0, FWPM_SUBLAYER0,
};
use windows_sys::core::GUID;

use super::identity::{Failure, Kept};
use super::library::{function, wide};
use super::security::{AccessList, Entry, SecurityDescriptor, Sid};

/// `RPC_C_AUTHN_DEFAULT`.
const DEFAULT_AUTHENTICATION: u32 = u32::MAX;
/// Outgoing and incoming connections, and first packets of what has none, of both families.
const LAYERS: [GUID; 4] = [
    FWPM_LAYER_ALE_AUTH_CONNECT_V4,
    FWPM_LAYER_ALE_AUTH_CONNECT_V6,
    FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V4,
    FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V6,
];

type Open =
    unsafe extern "system" fn(*const u16, u32, *const c_void, *const FWPM_SESSION0, *mut HANDLE) -> u32;
type Close = unsafe extern "system" fn(HANDLE) -> u32;
type AddSublayer = unsafe extern "system" fn(HANDLE, *const FWPM_SUBLAYER0, *const c_void) -> u32;
type AddFilter = unsafe extern "system" fn(HANDLE, *const FWPM_FILTER0, *const c_void, *mut u64) -> u32;

/// A filter's action, its weight within the sublayer, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    action: FWP_ACTION_TYPE,
    weight: u8,
    matches: Matches,
}

/// Whom a filter is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matches {
    /// Who passes an access check.
    Users(SecurityDescriptor),
    /// What is in an AppContainer.
    Container(Sid),
}

/// The filters of a step, for each layer.
fn filters(user: &Sid, step: &Sid) -> [Filter; 2] {
    let admits = |sids: &[&Sid]| SecurityDescriptor {
        // A descriptor without an owner is none that a check can be made with.
        owner: Some(Sid::system()),
        access: Some(AccessList(
            sids.iter().map(|sid| Entry::allow(sid, FWP_ACTRL_MATCH_FILTER, 0)).collect(),
        )),
        protected: false,
        label: None,
    };
    [
        Filter { action: FWP_ACTION_PERMIT, weight: 15, matches: Matches::Users(admits(&[user])) },
        Filter { action: FWP_ACTION_BLOCK, weight: 1, matches: Matches::Users(admits(&[user, step])) },
    ]
}

/// An open session of the filter engine. All that was added through it is gone when it is closed, and when we die.
#[derive(Debug)]
struct Session {
    engine: HANDLE,
    close: Close,
}

// SAFETY: a handle of the process, not of a thread; it is only closed.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: ours, closed once.
        unsafe { (self.close)(self.engine) };
    }
}

fn open() -> Result<Session, Failure> {
    const OPEN: &str = "FwpmEngineOpen0";
    let mut name = wide("orlop");
    let session = FWPM_SESSION0 {
        displayData: FWPM_DISPLAY_DATA0 { name: name.as_mut_ptr(), description: null_mut() },
        flags: FWPM_SESSION_FLAG_DYNAMIC,
        ..Default::default()
    };
    let mut engine = null_mut();
    // SAFETY: the functions' published types; the session's texts live until the call is over.
    unsafe {
        let open = function::<Open>("fwpuclnt.dll", c"FwpmEngineOpen0").ok_or(Failure::missing(OPEN))?;
        let close = function::<Close>("fwpuclnt.dll", c"FwpmEngineClose0");
        let close = close.ok_or(Failure::missing("FwpmEngineClose0"))?;
        match open(null(), DEFAULT_AUTHENTICATION, null(), &session, &mut engine) {
            0 => Ok(Session { engine, close }),
            code => Err(Failure { call: OPEN, code }),
        }
    }
}

/// Whether this process may open the filter engine.
pub(crate) fn available() -> Result<(), Failure> {
    open().map(drop)
}

/// Cuts off the network for what runs as `user` restricted to `step`, as long as the result is kept.
pub(crate) fn block(user: &Sid, step: &Sid) -> Result<Kept, Failure> {
    add_all(step, &filters(user, step))
}

/// Cuts off the network for what is in an AppContainer, as long as the result is kept.
pub(crate) fn block_container(container: &Sid) -> Result<Kept, Failure> {
    let matches = Matches::Container(container.clone());
    add_all(container, &[Filter { action: FWP_ACTION_BLOCK, weight: 15, matches }])
}

fn add_all(step: &Sid, filters: &[Filter]) -> Result<Kept, Failure> {
    let session = open()?;
    let mut name = wide("orlop: a step without network");
    let shown = FWPM_DISPLAY_DATA0 { name: name.as_mut_ptr(), description: null_mut() };
    let key = sublayer_key(step);
    let sublayer =
        FWPM_SUBLAYER0 { subLayerKey: key, displayData: shown, weight: 0x8000, ..Default::default() };
    // SAFETY: the function's published type; everything pointed to lives until the call is over.
    unsafe {
        let missing = Failure::missing("FwpmSubLayerAdd0");
        let add = function::<AddSublayer>("fwpuclnt.dll", c"FwpmSubLayerAdd0").ok_or(missing)?;
        match add(session.engine, &sublayer, null()) {
            0 => {}
            code => return Err(Failure { call: "FwpmSubLayerAdd0", code }),
        }
    }
    for filter in filters {
        for layer in LAYERS {
            add(&session, key, shown, layer, filter)?;
        }
    }
    Ok(Box::new(session))
}

fn add(
    session: &Session,
    key: GUID,
    shown: FWPM_DISPLAY_DATA0,
    layer: GUID,
    filter: &Filter,
) -> Result<(), Failure> {
    const ADD: &str = "FwpmFilterAdd0";
    let (mut words, field, kind) = match &filter.matches {
        Matches::Users(descriptor) => {
            (descriptor.to_words(), FWPM_CONDITION_ALE_USER_ID, FWP_SECURITY_DESCRIPTOR_TYPE)
        }
        // Every SID is whole words.
        Matches::Container(sid) => {
            let words = sid
                .to_bytes()
                .chunks_exact(4)
                .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect::<Vec<_>>();
            (words, FWPM_CONDITION_ALE_PACKAGE_ID, FWP_SID)
        }
    };
    let mut blob = FWP_BYTE_BLOB { size: size_of_val(&words[..]) as u32, data: words.as_mut_ptr().cast() };
    let value = match filter.matches {
        Matches::Users(_) => FWP_CONDITION_VALUE0_0 { sd: &mut blob },
        Matches::Container(_) => FWP_CONDITION_VALUE0_0 { sid: words.as_mut_ptr().cast() },
    };
    let mut condition = FWPM_FILTER_CONDITION0 {
        fieldKey: field,
        matchType: FWP_MATCH_EQUAL,
        conditionValue: FWP_CONDITION_VALUE0 { r#type: kind, Anonymous: value },
    };
    let filter = FWPM_FILTER0 {
        displayData: shown,
        layerKey: layer,
        subLayerKey: key,
        weight: FWP_VALUE0 { r#type: FWP_UINT8, Anonymous: FWP_VALUE0_0 { uint8: filter.weight } },
        numFilterConditions: 1,
        filterCondition: &mut condition,
        action: FWPM_ACTION0 { r#type: filter.action, ..Default::default() },
        ..Default::default()
    };
    // SAFETY: the function's published type; everything pointed to lives until the call is over.
    unsafe {
        let add = function::<AddFilter>("fwpuclnt.dll", c"FwpmFilterAdd0").ok_or(Failure::missing(ADD))?;
        match add(session.engine, &filter, null(), null_mut()) {
            0 => Ok(()),
            code => Err(Failure { call: ADD, code }),
        }
    }
}

/// Whether the Windows Firewall's service runs. Without it nothing keeps an AppContainer from the network.
pub(crate) fn firewall_runs() -> Result<bool, Failure> {
    type OpenManager = unsafe extern "system" fn(*const u16, *const u16, u32) -> HANDLE;
    type OpenService = unsafe extern "system" fn(HANDLE, *const u16, u32) -> HANDLE;
    type Query = unsafe extern "system" fn(HANDLE, *mut u32) -> i32;
    type CloseService = unsafe extern "system" fn(HANDLE) -> i32;
    // SERVICE_QUERY_STATUS, and the state of a service that runs.
    const QUERY: u32 = 0x4;
    const RUNNING: u32 = 4;
    let name = wide("MpsSvc");
    // SAFETY: the functions' published types; the name ends with a zero; `SERVICE_STATUS` is seven numbers, of which
    // the second is the state; both handles are ours and closed once.
    unsafe {
        let get = |missing| move || Failure::missing(missing);
        let open =
            function::<OpenManager>("advapi32.dll", c"OpenSCManagerW").ok_or_else(get("OpenSCManagerW"))?;
        let service =
            function::<OpenService>("advapi32.dll", c"OpenServiceW").ok_or_else(get("OpenServiceW"))?;
        let query =
            function::<Query>("advapi32.dll", c"QueryServiceStatus").ok_or_else(get("QueryServiceStatus"))?;
        let close = function::<CloseService>("advapi32.dll", c"CloseServiceHandle")
            .ok_or_else(get("CloseServiceHandle"))?;
        // SC_MANAGER_CONNECT.
        let manager = open(null(), null(), 0x1);
        if manager.is_null() {
            return Err(Failure::last("OpenSCManagerW"));
        }
        let firewall = service(manager, name.as_ptr(), QUERY);
        let failure = Failure::last("OpenServiceW");
        close(manager);
        if firewall.is_null() {
            return Err(failure);
        }
        let mut status = [0u32; 7];
        let done = query(firewall, status.as_mut_ptr());
        let failure = Failure::last("QueryServiceStatus");
        close(firewall);
        if done == 0 { Err(failure) } else { Ok(status[1] == RUNNING) }
    }
}

/// A sublayer of the step's own, so that its filters meet no other's.
fn sublayer_key(step: &Sid) -> GUID {
    let parts = step.parts().iter().fold(0u128, |key, part| key.rotate_left(32) ^ u128::from(*part));
    GUID::from_u128(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_both_identities_together_are_blocked() {
        let (user, step) = (Sid::new(5, [21, 1, 2, 3, 1000]), Sid::new(9, [1, 2]));
        let [permit, block] = filters(&user, &step);
        assert!(permit.weight > block.weight, "what is the user's alone is asked first");
        let admitted = |filter: &Filter| match &filter.matches {
            Matches::Users(descriptor) => descriptor.access.clone().unwrap_or_default().admitted(),
            Matches::Container(sid) => panic!("a filter for {sid}"),
        };
        assert_eq!((permit.action, admitted(&permit)), (FWP_ACTION_PERMIT, vec![user.clone()]));
        assert_eq!((block.action, admitted(&block)), (FWP_ACTION_BLOCK, vec![user, step]));
    }

    #[test]
    fn the_firewall_is_asked_for() {
        let wine = crate::windows::library::wine_version().is_some();
        // Wine has no such service; Windows always has it, running or not, and tells everybody.
        assert_eq!(firewall_runs().is_err(), wine, "{:?}", firewall_runs());
    }

    #[test]
    fn each_step_has_a_sublayer_of_its_own() {
        let key = |last| {
            let key = sublayer_key(&Sid::new(9, [1, 2, 3, 4, 5, last]));
            (key.data1, key.data2, key.data3, key.data4)
        };
        assert_ne!(key(1), key(2));
    }
}
