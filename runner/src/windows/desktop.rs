//! A window station and a desktop of a step's own.
#![expect(unsafe_code, reason = "window stations are handles of their own kind")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, GENERIC_ALL};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::StationsAndDesktops::{
    CloseDesktop, CloseWindowStation, CreateWindowStationW, GetProcessWindowStation,
    GetUserObjectInformationW, HDESK, HWINSTA, SetProcessWindowStation, UOI_NAME,
};

use super::identity::object::{self, Part};
use super::identity::{Failure, Station};
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
struct Made {
    /// Null where the desktop is in the caller's own.
    station: HWINSTA,
    desktop: HDESK,
}

// SAFETY: both are handles of the process, not of a thread; they are only closed.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: both are ours and closed once; neither is this process's own.
        unsafe {
            if !self.desktop.is_null() {
                CloseDesktop(self.desktop);
            }
            if !self.station.is_null() {
                CloseWindowStation(self.station);
            }
        }
    }
}

/// Makes the station and in it a desktop called `step`, and reads back whom the weaker of the two admits. Whoever is
/// no administrator gets a desktop of that name in the station that this process is in.
///
/// The access list is given at creation and once more with `SetKernelObjectSecurity`: Wine ignores the first, and
/// `SetUserObjectSecurity` as well.
pub(crate) fn create(name: &str, wanted: &SecurityDescriptor) -> Result<Station, Failure> {
    let words = wanted.to_words();
    let attributes = object::attributes(&words);
    // SAFETY: the function's published type.
    let create = unsafe { function::<CreateDesktop>("user32.dll", c"CreateDesktopW") };
    let create = create.ok_or(Failure::missing("CreateDesktopW"))?;
    let text = wide(name);
    let _alone = PROCESS_STATION.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the name ends with a zero; the descriptor lives until the call is over.
    let station = unsafe { CreateWindowStationW(text.as_ptr(), 0, GENERIC_ALL, &attributes) };
    let own_station = !station.is_null();
    let failure = Failure::last("CreateWindowStationW");
    if !own_station && failure.code != ERROR_ACCESS_DENIED {
        return Err(failure);
    }
    let mut made = Made { station, desktop: null_mut() };
    let desktop = if own_station { "step" } else { name };
    let text = wide(desktop);
    // SAFETY: the name ends with a zero, the descriptor lives until the call is over, and the process gets back the
    // station that it had, which is not closed by asking for it.
    let own = unsafe {
        let own = GetProcessWindowStation();
        if own_station && SetProcessWindowStation(station) == 0 {
            return Err(Failure::last("SetProcessWindowStation"));
        }
        made.desktop = create(text.as_ptr(), null(), null(), 0, GENERIC_ALL, &attributes);
        let failure = Failure::last("CreateDesktopW");
        if own_station {
            SetProcessWindowStation(own);
        }
        if made.desktop.is_null() {
            return Err(failure);
        }
        own
    };
    let mut weaker: Option<SecurityDescriptor> = None;
    for object in [made.station, made.desktop].into_iter().filter(|object| !object.is_null()) {
        object::set_security(object, &[Part::Access], wanted)?;
        let got = object::security(object)?;
        // What reads back names its own rights in place of the general ones: whom it admits is what counts.
        let all = wanted.access.as_ref().map(|list| list.admitted()).unwrap_or_default();
        if weaker.is_none() || !got.admits_only(&all) {
            weaker = Some(got);
        }
    }
    let path = match own_station {
        true => format!("{name}\\{desktop}"),
        false => format!("{}\\{desktop}", station_name(own)?),
    };
    let handles = [made.station as usize, made.desktop as usize];
    Ok(Station { kept: Box::new(made), handles, path, own_station, security: weaker.unwrap_or_default() })
}

/// The name of a window station.
fn station_name(station: HWINSTA) -> Result<String, Failure> {
    let mut name = [0u16; 256];
    let (size, mut needed) = (size_of_val(&name) as u32, 0);
    // SAFETY: the buffer has as many bytes as is said.
    let got =
        unsafe { GetUserObjectInformationW(station, UOI_NAME, name.as_mut_ptr().cast(), size, &mut needed) };
    if got == 0 {
        return Err(Failure::last("GetUserObjectInformationW"));
    }
    let length = name.iter().position(|&unit| unit == 0).unwrap_or(name.len());
    Ok(String::from_utf16_lossy(&name[..length]))
}
