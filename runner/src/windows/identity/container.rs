//! AppContainer profiles. Server 2012 and newer; every function is resolved by name.
#![expect(unsafe_code, reason = "functions resolved by name, and the registry's buffers")]

use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::Security::{FreeSid, PSID, SID_AND_ATTRIBUTES};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, KEY_READ, RRF_RT_REG_SZ, RegCloseKey, RegEnumKeyExW, RegGetValueW, RegOpenKeyExW,
};
use windows_sys::core::{HRESULT, PCWSTR};

use super::calls::Failure;
use crate::windows::library::{function, wide};
use crate::windows::security::Sid;

/// Where the system keeps which profile has which SID.
const MAPPINGS: &str =
    r"Software\Classes\Local Settings\Software\Microsoft\Windows\CurrentVersion\AppContainer\Mappings";
/// `HRESULT` of `ERROR_ALREADY_EXISTS`.
const ALREADY_EXISTS: u32 = 0x8007_00b7;

type Create =
    unsafe extern "system" fn(PCWSTR, PCWSTR, PCWSTR, *const SID_AND_ATTRIBUTES, u32, *mut PSID) -> HRESULT;
type Derive = unsafe extern "system" fn(PCWSTR, *mut PSID) -> HRESULT;
type Delete = unsafe extern "system" fn(PCWSTR) -> HRESULT;

/// Makes the profile of that name, or takes one that a dead builder left.
pub(super) fn create(name: &str) -> Result<Sid, Failure> {
    const CALL: &str = "CreateAppContainerProfile";
    let (text, shown) = (wide(name), wide("a step of an image build"));
    let mut sid = null_mut();
    // SAFETY: the functions' published types; the texts end with a zero.
    let code = unsafe {
        let create =
            function::<Create>("userenv.dll", c"CreateAppContainerProfile").ok_or(Failure::missing(CALL))?;
        create(text.as_ptr(), text.as_ptr(), shown.as_ptr(), null(), 0, &mut sid) as u32
    };
    match code {
        0 => take(sid).ok_or(Failure { call: CALL, code: 1337 }),
        ALREADY_EXISTS => derive(name),
        code => Err(Failure { call: CALL, code }),
    }
}

fn derive(name: &str) -> Result<Sid, Failure> {
    const CALL: &str = "DeriveAppContainerSidFromAppContainerName";
    let text = wide(name);
    let mut sid = null_mut();
    // SAFETY: the function's published type; the text ends with a zero.
    let code = unsafe {
        let derive = function::<Derive>("userenv.dll", c"DeriveAppContainerSidFromAppContainerName");
        derive.ok_or(Failure::missing(CALL))?(text.as_ptr(), &mut sid) as u32
    };
    match code {
        0 => take(sid).ok_or(Failure { call: CALL, code: 1337 }),
        code => Err(Failure { call: CALL, code }),
    }
}

/// Copies a SID that the system made and frees it.
fn take(sid: PSID) -> Option<Sid> {
    if sid.is_null() {
        return None;
    }
    // SAFETY: a valid SID: its second byte says how many parts it has. Freed once, with the documented function.
    unsafe {
        let count = usize::from(*sid.cast::<u8>().add(1));
        let bytes = std::slice::from_raw_parts(sid.cast::<u8>(), 8 + count * 4);
        let copy = Sid::parse(bytes);
        FreeSid(sid);
        copy
    }
}

/// Deletes a profile with its folders and its registry.
pub(super) fn delete(name: &str) -> Result<(), Failure> {
    const CALL: &str = "DeleteAppContainerProfile";
    let text = wide(name);
    // SAFETY: the function's published type; the text ends with a zero.
    let code = unsafe {
        let delete = function::<Delete>("userenv.dll", c"DeleteAppContainerProfile");
        delete.ok_or(Failure::missing(CALL))?(text.as_ptr()) as u32
    };
    match code {
        0 => Ok(()),
        code => Err(Failure { call: CALL, code }),
    }
}

/// The names of this user's profiles that begin with `prefix`.
pub(super) fn names(prefix: &str) -> Vec<String> {
    let (path, value) = (wide(MAPPINGS), wide("Moniker"));
    let mut names = Vec::new();
    let mut key: HKEY = null_mut();
    // SAFETY: the texts end with a zero, the buffers have as many units or bytes as is said, the key is closed.
    unsafe {
        if RegOpenKeyExW(HKEY_CURRENT_USER, path.as_ptr(), 0, KEY_READ, &mut key) != ERROR_SUCCESS {
            return names;
        }
        for at in 0.. {
            let mut sid = [0u16; 256];
            let mut length = sid.len() as u32;
            let found = RegEnumKeyExW(
                key,
                at,
                sid.as_mut_ptr(),
                &mut length,
                null(),
                null_mut(),
                null_mut(),
                null_mut(),
            );
            if found != ERROR_SUCCESS {
                break;
            }
            let mut moniker = [0u16; 128];
            let mut size = size_of_val(&moniker) as u32;
            let got = RegGetValueW(
                key,
                sid.as_ptr(),
                value.as_ptr(),
                RRF_RT_REG_SZ,
                null_mut(),
                moniker.as_mut_ptr().cast(),
                &mut size,
            );
            if got == ERROR_SUCCESS {
                let length = moniker.iter().position(|&unit| unit == 0).unwrap_or(0);
                names.push(String::from_utf16_lossy(&moniker[..length]));
            }
        }
        RegCloseKey(key);
    }
    names.retain(|name| name.starts_with(prefix));
    names
}
