//! Tokens: read, and made from the caller's own.
#![expect(unsafe_code, reason = "token calls take and fill buffers of the system's own layout")]

use std::ffi::c_void;
use std::mem::{offset_of, size_of};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{HANDLE, LUID};
use windows_sys::Win32::Security::{
    CreateRestrictedToken, GetTokenInformation, LUID_AND_ATTRIBUTES, LookupPrivilegeNameW, PSID,
    SID_AND_ATTRIBUTES, SetTokenInformation, TOKEN_ADJUST_DEFAULT, TOKEN_ADJUST_PRIVILEGES,
    TOKEN_ASSIGN_PRIMARY, TOKEN_DEFAULT_DACL, TOKEN_DUPLICATE, TOKEN_GROUPS, TOKEN_INFORMATION_CLASS,
    TOKEN_MANDATORY_LABEL, TOKEN_PRIVILEGES, TOKEN_QUERY, TOKEN_STATISTICS, TOKEN_USER, TokenAppContainerSid,
    TokenDefaultDacl, TokenGroups, TokenIntegrityLevel, TokenPrivileges, TokenRestrictedSids,
    TokenStatistics, TokenUser,
};
use windows_sys::Win32::System::SystemServices::{
    SE_GROUP_ENABLED, SE_GROUP_INTEGRITY, SE_GROUP_USE_FOR_DENY_ONLY,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::calls::{Failure, Group, Privilege, TokenFacts, TokenPlan};
use super::object::{self, Part};
use crate::windows::security::{AccessList, Entry, GENERIC_ALL, LOW_INTEGRITY, SecurityDescriptor, Sid};

const WRITE_DAC: u32 = 0x4_0000;

/// The token of a process.
pub(super) fn of(process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
    open(process.as_raw_handle(), TOKEN_QUERY)
}

/// The token of a process, to do something as its user.
pub(super) fn to_impersonate(process: BorrowedHandle<'_>) -> Result<OwnedHandle, Failure> {
    open(process.as_raw_handle(), TOKEN_QUERY | TOKEN_DUPLICATE)
}

/// The caller's own token, to switch privileges on.
pub(super) fn adjustable() -> Result<OwnedHandle, Failure> {
    // SAFETY: gives a constant.
    let process = unsafe { GetCurrentProcess() };
    open(process, TOKEN_QUERY | TOKEN_DUPLICATE | TOKEN_ADJUST_PRIVILEGES)
}

/// The caller's own token, to be copied.
fn own() -> Result<OwnedHandle, Failure> {
    // SAFETY: gives a constant.
    let process = unsafe { GetCurrentProcess() };
    let needed = TOKEN_QUERY | TOKEN_DUPLICATE | TOKEN_ASSIGN_PRIMARY | TOKEN_ADJUST_DEFAULT;
    // What is made of it can be used in the same ways.
    open(process, needed | WRITE_DAC).or_else(|_| open(process, needed))
}

/// What the caller's own token reads as.
pub(super) fn own_facts() -> Result<TokenFacts, Failure> {
    facts(&own()?)
}

fn open(process: HANDLE, access: u32) -> Result<OwnedHandle, Failure> {
    let mut token = null_mut();
    // SAFETY: the handle is a process's, and `token` is written to only on success.
    unsafe {
        if OpenProcessToken(process, access, &mut token) == 0 {
            return Err(Failure::last("OpenProcessToken"));
        }
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

/// One piece of information, in words so that it is aligned. Empty where the system has none.
fn information(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> Result<Vec<u64>, Failure> {
    let mut size = 0;
    // SAFETY: asks for the size only.
    unsafe { GetTokenInformation(token.as_raw_handle(), class, null_mut(), 0, &mut size) };
    // Some classes say a size that has grown by the next call.
    for _ in 0..4 {
        let mut buffer = vec![0u64; (size as usize).div_ceil(8).max(1)];
        let room = (buffer.len() * 8) as u32;
        // SAFETY: the buffer has as many bytes as is said.
        let got = unsafe {
            GetTokenInformation(token.as_raw_handle(), class, buffer.as_mut_ptr().cast(), room, &mut size)
        };
        if got != 0 {
            return Ok(buffer);
        }
        if size <= room {
            break;
        }
    }
    Err(Failure::last("GetTokenInformation"))
}

/// A SID that the system points to inside `buffer`; none where it points elsewhere.
fn sid_in(buffer: &[u64], sid: PSID) -> Option<Sid> {
    let offset = (sid as usize).checked_sub(buffer.as_ptr() as usize)?;
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Sid::parse(bytes.get(offset..)?)
}

/// Reads a value of the system's layout from the start of a buffer at a byte offset.
fn read<T: Copy>(buffer: &[u64], offset: usize) -> Option<T> {
    if offset + size_of::<T>() > size_of_val(buffer) {
        return None;
    }
    // SAFETY: in bounds; only plain C structures are read, for which any bytes are a value.
    Some(unsafe { buffer.as_ptr().cast::<u8>().add(offset).cast::<T>().read_unaligned() })
}

fn groups(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> Result<Vec<(Sid, u32)>, Failure> {
    let buffer = information(token, class)?;
    let count = read::<u32>(&buffer, 0).unwrap_or(0) as usize;
    let entries = (0..count).map_while(|at| {
        let offset = offset_of!(TOKEN_GROUPS, Groups) + at * size_of::<SID_AND_ATTRIBUTES>();
        read::<SID_AND_ATTRIBUTES>(&buffer, offset)
    });
    Ok(entries.filter_map(|entry| Some((sid_in(&buffer, entry.Sid)?, entry.Attributes))).collect())
}

fn privileges(token: &OwnedHandle) -> Result<Vec<Privilege>, Failure> {
    let buffer = information(token, TokenPrivileges)?;
    let count = read::<u32>(&buffer, 0).unwrap_or(0) as usize;
    let entries = (0..count).map_while(|at| {
        let offset = offset_of!(TOKEN_PRIVILEGES, Privileges) + at * size_of::<LUID_AND_ATTRIBUTES>();
        read::<LUID_AND_ATTRIBUTES>(&buffer, offset)
    });
    Ok(entries.map(|entry| privilege(entry.Luid)).collect())
}

fn privilege(luid: LUID) -> Privilege {
    let mut name = [0u16; 128];
    let mut size = name.len() as u32;
    // SAFETY: the buffer has as many units as is said.
    let got = unsafe { LookupPrivilegeNameW(null(), &luid, name.as_mut_ptr(), &mut size) };
    let name = match got {
        // One without a name is none that may stay.
        0 => format!("privilege {}", luid.LowPart),
        _ => String::from_utf16_lossy(&name[..(size as usize).min(name.len())]),
    };
    Privilege { name, luid: (luid.LowPart, luid.HighPart) }
}

/// What a token reads as.
pub(super) fn facts(token: &OwnedHandle) -> Result<TokenFacts, Failure> {
    let buffer = information(token, TokenUser)?;
    let user = read::<TOKEN_USER>(&buffer, 0).and_then(|user| sid_in(&buffer, user.User.Sid));
    let user = user.ok_or(Failure { call: "GetTokenInformation", code: 1337 })?;
    let all = groups(token, TokenGroups)?;
    let is_label = |attributes: u32| attributes & SE_GROUP_INTEGRITY as u32 != 0;
    let all =
        all.into_iter().filter(|(_, attributes)| !is_label(*attributes)).map(|(sid, attributes)| Group {
            sid,
            enabled: attributes & SE_GROUP_ENABLED as u32 != 0,
            deny_only: attributes & SE_GROUP_USE_FOR_DENY_ONLY as u32 != 0,
        });
    let buffer = information(token, TokenIntegrityLevel)?;
    let label = read::<TOKEN_MANDATORY_LABEL>(&buffer, 0).and_then(|label| sid_in(&buffer, label.Label.Sid));
    let integrity = label.and_then(|sid| sid.parts().last().copied()).unwrap_or(u32::MAX);
    // Systems without AppContainers do not know the class.
    let container = information(token, TokenAppContainerSid).ok().and_then(|buffer| {
        let sid = read::<PSID>(&buffer, 0).filter(|sid| !sid.is_null())?;
        sid_in(&buffer, sid)
    });
    let buffer = information(token, TokenStatistics)?;
    let session = read::<TOKEN_STATISTICS>(&buffer, 0).map_or(0, |statistics| {
        let LUID { LowPart: low, HighPart: high } = statistics.AuthenticationId;
        u64::from(high.cast_unsigned()) << 32 | u64::from(low)
    });
    // Wine does not know this class. No list is no second check: what is not told is never taken for there.
    let restricting =
        groups(token, TokenRestrictedSids).unwrap_or_default().into_iter().map(|(sid, _)| sid).collect();
    Ok(TokenFacts {
        user,
        groups: all.collect(),
        privileges: privileges(token)?,
        restricting,
        integrity,
        container,
        session,
        default_admits: default_admits(token),
    })
}

fn default_admits(token: &OwnedHandle) -> Vec<Sid> {
    let Ok(buffer) = information(token, TokenDefaultDacl) else { return Vec::new() };
    let list = read::<TOKEN_DEFAULT_DACL>(&buffer, 0).map(|list| list.DefaultDacl as usize);
    let offset = list.and_then(|list| list.checked_sub(buffer.as_ptr() as usize));
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let list = offset.and_then(|offset| bytes.get(offset..)).and_then(AccessList::parse);
    list.map(|list| list.admitted()).unwrap_or_default()
}

/// SIDs in the form that calls take; the bytes have to live as long as the list.
struct SidList {
    _bytes: Vec<Vec<u8>>,
    entries: Vec<SID_AND_ATTRIBUTES>,
}

impl SidList {
    fn new(sids: &[Sid]) -> Self {
        let mut bytes: Vec<Vec<u8>> = sids.iter().map(Sid::to_bytes).collect();
        let entries =
            bytes.iter_mut().map(|sid| SID_AND_ATTRIBUTES { Sid: sid.as_mut_ptr().cast(), Attributes: 0 });
        let entries = entries.collect();
        Self { _bytes: bytes, entries }
    }

    fn as_ptr(&self) -> *const SID_AND_ATTRIBUTES {
        if self.entries.is_empty() { null() } else { self.entries.as_ptr() }
    }
}

/// Makes a token from `base`, or the caller's own, and reads it back.
pub(super) fn restrict(
    base: Option<BorrowedHandle<'_>>,
    plan: &TokenPlan,
) -> Result<(OwnedHandle, TokenFacts), Failure> {
    let own = match base {
        Some(_) => None,
        None => Some(own()?),
    };
    let base = base
        .or(own.as_ref().map(AsHandle::as_handle))
        .ok_or(Failure { call: "OpenProcessToken", code: 6 })?;
    let (deny, restricting) = (SidList::new(&plan.deny_only), SidList::new(&plan.restricting));
    let delete = plan.delete.iter().map(|privilege| {
        let (low, high) = privilege.luid;
        LUID_AND_ATTRIBUTES { Luid: LUID { LowPart: low, HighPart: high }, Attributes: 0 }
    });
    let delete: Vec<_> = delete.collect();
    let mut token = null_mut();
    // SAFETY: each list has as many entries as is said and lives until the call is over.
    let token = unsafe {
        let made = CreateRestrictedToken(
            base.as_raw_handle(),
            0,
            deny.entries.len() as u32,
            deny.as_ptr(),
            delete.len() as u32,
            if delete.is_empty() { null() } else { delete.as_ptr() },
            restricting.entries.len() as u32,
            restricting.as_ptr(),
            &mut token,
        );
        if made == 0 {
            return Err(Failure::last("CreateRestrictedToken"));
        }
        OwnedHandle::from_raw_handle(token)
    };
    if plan.low {
        let mut sid = Sid::integrity(LOW_INTEGRITY).to_bytes();
        let entry =
            SID_AND_ATTRIBUTES { Sid: sid.as_mut_ptr().cast(), Attributes: SE_GROUP_INTEGRITY as u32 };
        let label = TOKEN_MANDATORY_LABEL { Label: entry };
        set(&token, TokenIntegrityLevel, &label)?;
    }
    if !plan.default_admits.is_empty() {
        let entries = plan.default_admits.iter().map(|sid| Entry::allow(sid, GENERIC_ALL, 0)).collect();
        let list = words(&AccessList(entries).to_bytes());
        set(&token, TokenDefaultDacl, &TOKEN_DEFAULT_DACL { DefaultDacl: list.as_ptr().cast_mut().cast() })?;
        // The token is an object of its own as well, whose list is that of the builder's default: where that admits what
        // the step has no more (SYSTEM, Administrators), no program of the step could read what it runs as.
        let admits = SecurityDescriptor::only(&plan.default_admits);
        let _ = object::set_security(token.as_raw_handle(), &[Part::Access], &admits);
    }
    let facts = facts(&token)?;
    Ok((token, facts))
}

fn set<T>(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS, value: &T) -> Result<(), Failure> {
    let pointer: *const c_void = (&raw const *value).cast();
    // SAFETY: the value is of the class's type, and what it points to lives in the caller.
    match unsafe { SetTokenInformation(token.as_raw_handle(), class, pointer, size_of::<T>() as u32) } {
        0 => Err(Failure::last("SetTokenInformation")),
        _ => Ok(()),
    }
}

/// Bytes in aligned words.
fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_ne_bytes(word)
    };
    bytes.chunks(4).map(word).collect()
}
