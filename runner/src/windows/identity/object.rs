//! Security of open objects of any kind, and this process's own.
#![expect(unsafe_code, reason = "handles and descriptors in the system's own layout")]

use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, GetLastError, HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, LABEL_SECURITY_INFORMATION,
    OBJECT_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    SECURITY_ATTRIBUTES, SetKernelObjectSecurity,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CreateFileW, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_ID_INFO, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FileIdInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx, OPEN_EXISTING,
};
use windows_sys::Win32::System::Threading::{
    CreateMutexW, GetCurrentProcess, OpenProcess, PROCESS_QUERY_INFORMATION,
};

use super::calls::{Failure, Kept};
use crate::windows::library::wide;
use crate::windows::security::SecurityDescriptor;

/// Which parts of an object's security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The owner.
    Owner,
    /// The access list, with whether it is protected.
    Access,
    /// The integrity label.
    Label,
}

impl Part {
    fn bits(self) -> OBJECT_SECURITY_INFORMATION {
        match self {
            Self::Owner => OWNER_SECURITY_INFORMATION,
            Self::Access => DACL_SECURITY_INFORMATION,
            Self::Label => LABEL_SECURITY_INFORMATION,
        }
    }
}

/// This process.
pub(crate) fn own_process() -> BorrowedHandle<'static> {
    // SAFETY: a constant that stands for the calling process and is never closed.
    unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) }
}

/// Reads parts of an object's security; an integrity label only where the system tells.
pub(crate) fn security(object: HANDLE) -> Result<SecurityDescriptor, Failure> {
    let all = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION;
    let found = read(object, all)
        .or_else(|_| read(object, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION))?;
    SecurityDescriptor::parse(&found).ok_or(Failure { call: "GetKernelObjectSecurity", code: 1338 })
}

fn read(object: HANDLE, information: OBJECT_SECURITY_INFORMATION) -> Result<Vec<u8>, Failure> {
    let mut size = 0;
    // SAFETY: asks for the size only.
    unsafe { GetKernelObjectSecurity(object, information, null_mut(), 0, &mut size) };
    let mut buffer = vec![0u64; (size as usize).div_ceil(8).max(8)];
    let room = (buffer.len() * 8) as u32;
    // SAFETY: the buffer has as many bytes as is said.
    match unsafe { GetKernelObjectSecurity(object, information, buffer.as_mut_ptr().cast(), room, &mut size) }
    {
        0 => Err(Failure::last("GetKernelObjectSecurity")),
        _ => Ok(buffer.iter().flat_map(|word| word.to_ne_bytes()).collect()),
    }
}

/// Sets parts of an object's security.
pub(crate) fn set_security(
    object: HANDLE,
    parts: &[Part],
    wanted: &SecurityDescriptor,
) -> Result<(), Failure> {
    let words = wanted.to_words();
    let mut information = parts.iter().fold(0, |bits, part| bits | part.bits());
    if parts.contains(&Part::Access) && wanted.protected {
        information |= PROTECTED_DACL_SECURITY_INFORMATION;
    }
    // SAFETY: a self-relative descriptor, aligned, that lives until the call is over.
    match unsafe { SetKernelObjectSecurity(object, information, words.as_ptr().cast_mut().cast()) } {
        0 => Err(Failure::last("SetKernelObjectSecurity")),
        _ => Ok(()),
    }
}

/// A process's.
pub(super) fn protect(process: BorrowedHandle<'_>, wanted: &SecurityDescriptor) -> Result<(), Failure> {
    set_both(process.as_raw_handle(), wanted)
}

/// The access list and, where one is named, the owner too, since an owner may change the list.
pub(super) fn set_both(object: HANDLE, wanted: &SecurityDescriptor) -> Result<(), Failure> {
    let both: &[Part] = match wanted.owner {
        Some(_) => &[Part::Owner, Part::Access],
        None => &[Part::Access],
    };
    set_security(object, both, wanted)
}

/// Opens a process to ask which job it is in and to change its security.
pub(super) fn open_process(pid: u32) -> Result<OwnedHandle, Failure> {
    const WRITE_DAC: u32 = 0x4_0000;
    const WRITE_OWNER: u32 = 0x8_0000;
    // SAFETY: plain values; the handle is ours.
    unsafe {
        // Wine asks for the whole right before it tells about the job.
        let process = OpenProcess(PROCESS_QUERY_INFORMATION | WRITE_DAC | WRITE_OWNER, 0, pid);
        match process.is_null() {
            true => Err(Failure::last("OpenProcess")),
            false => Ok(OwnedHandle::from_raw_handle(process)),
        }
    }
}

/// Opens a file or a directory itself, never what a link leads to.
pub(super) fn open(path: &Path, access: u32) -> Result<OwnedHandle, Failure> {
    let path = wide(path);
    // SAFETY: the path ends with a zero; the handle is ours.
    unsafe {
        let file = CreateFileW(
            path.as_ptr(),
            access,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            std::ptr::null(),
            OPEN_EXISTING,
            FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT,
            null_mut(),
        );
        match file as isize {
            -1 => Err(Failure::last("CreateFileW")),
            _ => Ok(OwnedHandle::from_raw_handle(file)),
        }
    }
}

/// A directory's volume and its number there.
pub(super) fn directory_id(path: &Path) -> Result<(u32, u128), Failure> {
    let directory = open(path, 0)?;
    let mut id = FILE_ID_INFO::default();
    let size = size_of::<FILE_ID_INFO>() as u32;
    // SAFETY: the structure of that class and its size.
    let got = unsafe {
        GetFileInformationByHandleEx(directory.as_raw_handle(), FileIdInfo, (&raw mut id).cast(), size)
    };
    if got != 0 {
        return Ok((id.VolumeSerialNumber as u32, u128::from_le_bytes(id.FileId.Identifier)));
    }
    // File systems that have no 128-bit numbers.
    let mut id = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the structure that the call fills.
    match unsafe { GetFileInformationByHandle(directory.as_raw_handle(), &mut id) } {
        0 => Err(Failure::last("GetFileInformationByHandle")),
        _ => {
            Ok((id.dwVolumeSerialNumber, u128::from(id.nFileIndexHigh) << 32 | u128::from(id.nFileIndexLow)))
        }
    }
}

/// Takes a name in all sessions; another process's has it already where this gives `None`.
pub(super) fn take_name(name: &str, wanted: &SecurityDescriptor) -> Result<Option<Kept>, Failure> {
    let words = wanted.to_words();
    let name = wide(format!("Global\\{name}"));
    let attributes = attributes(&words);
    // SAFETY: the name ends with a zero; the descriptor lives until the call is over; the handle is ours.
    unsafe {
        let mutex = CreateMutexW(&attributes, 0, name.as_ptr());
        if mutex.is_null() {
            return Err(Failure::last("CreateMutexW"));
        }
        let existed = GetLastError() == ERROR_ALREADY_EXISTS;
        let mutex = OwnedHandle::from_raw_handle(mutex);
        Ok((!existed).then(|| Box::new(mutex) as Kept))
    }
}

/// Lets children that inherit handles inherit this one too: the bait of a self-test.
pub(crate) fn make_inheritable(handle: HANDLE) -> Result<(), Failure> {
    // SAFETY: an open handle.
    match unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } {
        0 => Err(Failure::last("SetHandleInformation")),
        _ => Ok(()),
    }
}

/// Security for a call that makes an object. `words` have to outlive it.
pub(crate) fn attributes(words: &[u32]) -> SECURITY_ATTRIBUTES {
    SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: words.as_ptr().cast_mut().cast(),
        bInheritHandle: 0,
    }
}
