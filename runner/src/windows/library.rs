//! Functions of the system that its older versions lack: resolved when they are needed, never imported by name, so
//! that the program starts on Server 2012.
#![expect(
    unsafe_code,
    reason = "functions are found by name and called by the type that is claimed for them"
)]

use std::ffi::{CStr, OsStr, c_void};
use std::mem::{size_of, transmute_copy};
use std::os::windows::ffi::OsStrExt;
use std::ptr::null_mut;

use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};

/// A text for the system: UTF-16 with a final zero.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The address of a function of a library in the system's own directory.
fn address(library: &str, name: &CStr) -> Option<*const c_void> {
    let library = wide(library);
    // SAFETY: both texts end with a zero; the library is never freed.
    unsafe {
        let module = LoadLibraryExW(library.as_ptr(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32);
        if module.is_null() {
            return None;
        }
        GetProcAddress(module, name.as_ptr().cast()).map(|function| function as *const c_void)
    }
}

/// A function by library and name.
///
/// # Safety
/// `F` is the type of that function, an `unsafe extern "system" fn`.
pub(crate) unsafe fn function<F: Copy>(library: &str, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*const c_void>(), "a function pointer") };
    // SAFETY: the sizes are equal, and the caller answers for the type.
    address(library, name).map(|address| unsafe { transmute_copy(&address) })
}

/// Wine's version, where this is Wine. Asked before any call that aborts the process there.
pub(crate) fn wine_version() -> Option<String> {
    type Version = unsafe extern "system" fn() -> *const std::ffi::c_char;
    // SAFETY: Wine's ntdll exports this function so; it gives a text that lives as long as the process.
    unsafe {
        let version = function::<Version>("ntdll.dll", c"wine_get_version")?;
        Some(CStr::from_ptr(version()).to_string_lossy().into_owned())
    }
}
