//! A window station and a desktop of a step's own.
#![expect(unsafe_code, reason = "window stations are handles of their own kind")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::GENERIC_ALL;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::StationsAndDesktops::{
    CloseDesktop, CloseWindowStation, CreateWindowStationW, GetProcessWindowStation, HDESK, HWINSTA,
    SetProcessWindowStation,
};

use super::identity::object::{self, Part};
use super::identity::{Failure, Kept};
use super::library::{function, wide};
use super::security::SecurityDescriptor;

/// By name, because its declaration would bring in all of the graphics interface.
type CreateDesktop = unsafe extern "system" fn(
    *const u16,
    *const u16,
    *const c_void,
    u32,
    u32,
    *const SECURITY_ATTRIBUTES,
) -> HDESK;

/// A desktop is made in the station that the whole process is in at that moment: one thread at a time.
static PROCESS_STATION: Mutex<()> = Mutex::new(());

#[derive(Debug)]
struct Station {
    station: HWINSTA,
    desktop: HDESK,
}

// SAFETY: both are handles of the process, not of a thread; they are only closed.
unsafe impl Send for Station {}
// SAFETY: as above.
unsafe impl Sync for Station {}

impl Drop for Station {
    fn drop(&mut self) {
        // SAFETY: both are ours and closed once; neither is this process's own.
        unsafe {
            if !self.desktop.is_null() {
                CloseDesktop(self.desktop);
            }
            CloseWindowStation(self.station);
        }
    }
}

/// Makes the station and in it a desktop called `step`, and reads back whom the weaker of the two admits.
///
/// The access list is given at creation and once more with `SetKernelObjectSecurity`: Wine ignores the first, and
/// `SetUserObjectSecurity` as well.
pub(crate) fn create(name: &str, wanted: &SecurityDescriptor) -> Result<(Kept, SecurityDescriptor), Failure> {
    let words = wanted.to_words();
    let attributes = object::attributes(&words);
    let (name, step) = (wide(name), wide("step"));
    // SAFETY: the function's published type.
    let desktop = unsafe { function::<CreateDesktop>("user32.dll", c"CreateDesktopW") };
    let desktop = desktop.ok_or(Failure::missing("CreateDesktopW"))?;
    let _alone = PROCESS_STATION.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the texts end with a zero; the descriptor lives until the calls are over.
    let made = unsafe {
        let station = CreateWindowStationW(name.as_ptr(), 0, GENERIC_ALL, &attributes);
        if station.is_null() {
            return Err(Failure::last("CreateWindowStationW"));
        }
        let mut made = Station { station, desktop: null_mut() };
        let own = GetProcessWindowStation();
        if SetProcessWindowStation(station) == 0 {
            return Err(Failure::last("SetProcessWindowStation"));
        }
        made.desktop = desktop(step.as_ptr(), null(), null(), 0, GENERIC_ALL, &attributes);
        let failure = Failure::last("CreateDesktopW");
        SetProcessWindowStation(own);
        if made.desktop.is_null() {
            return Err(failure);
        }
        made
    };
    let mut weaker = None;
    for object in [made.station, made.desktop] {
        object::set_security(object, &[Part::Access], wanted)?;
        let got = object::security(object)?;
        if weaker.is_none() || got.access != wanted.access {
            weaker = Some(got);
        }
    }
    Ok((Box::new(made), weaker.unwrap_or_default()))
}
