//! The system calls. Each takes and gives bytes; what they mean is read by others.

#![expect(unsafe_code, reason = "calls of the system")]

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem as wdk;
use windows_sys::Win32::Foundation::{HANDLE, NTSTATUS, RtlNtStatusToDosError, UNICODE_STRING};
use windows_sys::Win32::Security::PSECURITY_DESCRIPTOR;
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0, OVERLAPPED};

const NO_MORE_FILES: NTSTATUS = 0x8000_0006_u32.cast_signed();
const NO_SUCH_FILE: NTSTATUS = 0xC000_000F_u32.cast_signed();
const BUFFER_OVERFLOW: NTSTATUS = 0x8000_0005_u32.cast_signed();
const BUFFER_TOO_SMALL: NTSTATUS = 0xC000_0023_u32.cast_signed();
const PENDING: NTSTATUS = 0x0000_0103;
const DELETE_PENDING: NTSTATUS = 0xC000_0056_u32.cast_signed();
const CANNOT_DELETE: NTSTATUS = 0xC000_0121_u32.cast_signed();

/// Room for the answers of the system, aligned as it wants them.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u64>);

impl Buffer {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(vec![0; bytes.div_ceil(8)])
    }

    fn len(&self) -> u32 {
        u32::try_from(self.0.len() * 8).unwrap_or(u32::MAX)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: every bit pattern of integers is bytes, and the length is theirs.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) }
    }
}

/// Numbers at places in an answer; beyond its end there are zeros.
pub(crate) trait Fields {
    fn at<const N: usize>(&self, offset: usize) -> [u8; N];

    fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.at(offset))
    }
    fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.at(offset))
    }
    fn i64_at(&self, offset: usize) -> i64 {
        i64::from_le_bytes(self.at(offset))
    }
}

impl Fields for [u8] {
    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut out = [0; N];
        if let Some(found) = self.get(offset..).and_then(|rest| rest.get(..N)) {
            out.copy_from_slice(found);
        }
        out
    }
}

/// What a status means.
pub(crate) fn error(status: NTSTATUS) -> io::Error {
    let code = match status {
        // The system's own table makes "access denied" of these.
        DELETE_PENDING => 303,
        // Without the read-only attribute: a program that runs, or a mapped file.
        CANNOT_DELETE => 1224,
        // SAFETY: takes a number, gives a number.
        _ => unsafe { RtlNtStatusToDosError(status) },
    };
    io::Error::from_raw_os_error(code.cast_signed())
}

fn done(status: NTSTATUS) -> io::Result<()> {
    if status < 0 { Err(error(status)) } else { Ok(()) }
}

fn io_status() -> IO_STATUS_BLOCK {
    IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Status: 0 }, Information: 0 }
}

/// How something is opened or made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Access rights.
    pub(crate) access: u32,
    /// `FILE_SHARE_*`.
    pub(crate) share: u32,
    /// `FILE_OPEN`, `FILE_CREATE`, …
    pub(crate) disposition: u32,
    /// `FILE_DIRECTORY_FILE` and the like, besides those that are always given.
    pub(crate) options: u32,
    /// Attributes of what is made.
    pub(crate) attributes: u32,
}

/// Opens `name`: one component below `root`, or without `root` a path of the object manager (`\??\C:\…`). An
/// empty name below `root` is `root` itself, opened again.
pub(crate) fn open(root: Option<BorrowedHandle<'_>>, name: &[u16], how: Open) -> io::Result<OwnedHandle> {
    create(root, name, how, wdk::FILE_OPEN_REPARSE_POINT)
}

/// The same, through a reparse point; for those that keep a file's own content.
pub(crate) fn open_through(root: BorrowedHandle<'_>, name: &[u16], how: Open) -> io::Result<OwnedHandle> {
    create(Some(root), name, how, 0)
}

fn create(
    root: Option<BorrowedHandle<'_>>,
    name: &[u16],
    how: Open,
    reparse: u32,
) -> io::Result<OwnedHandle> {
    let bytes = u16::try_from(name.len() * 2).map_err(|_| io::ErrorKind::InvalidFilename)?;
    let mut name = name.to_vec();
    let unicode = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).unwrap_or(0),
        RootDirectory: root.map_or(null_mut(), |root| root.as_raw_handle()),
        ObjectName: &raw const unicode,
        // OBJ_CASE_INSENSITIVE: what every program there does; a directory with the case flag stays exact.
        Attributes: 0x40,
        SecurityDescriptor: null(),
        SecurityQualityOfService: null(),
    };
    let always = wdk::FILE_SYNCHRONOUS_IO_NONALERT | wdk::FILE_OPEN_FOR_BACKUP_INTENT | reparse;
    let mut handle: HANDLE = null_mut();
    let mut status = io_status();
    // SAFETY: all pointers are to live locals; the name's buffer outlives the call.
    let result = unsafe {
        wdk::NtCreateFile(
            &raw mut handle,
            // SYNCHRONIZE, without which nothing is synchronous.
            how.access | 0x0010_0000,
            &raw const attributes,
            &raw mut status,
            null(),
            how.attributes,
            how.share,
            how.disposition,
            how.options | always,
            null(),
            0,
        )
    };
    done(result)?;
    // SAFETY: the call gave a new handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Asks about an open file. An answer that is longer than `bytes` is cut there.
pub(crate) fn query(file: BorrowedHandle<'_>, class: i32, bytes: usize) -> io::Result<Buffer> {
    let mut buffer = Buffer::new(bytes);
    let mut status = io_status();
    let length = buffer.len();
    // SAFETY: the buffer is as long as said, and aligned for all answers.
    let result = unsafe {
        wdk::NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut status,
            buffer.0.as_mut_ptr().cast(),
            length,
            class,
        )
    };
    if result != BUFFER_OVERFLOW {
        done(result)?;
    }
    Ok(buffer)
}

/// The same, with as much room as the answer wants; none where it is longer than a mebibyte.
pub(crate) fn query_all(file: BorrowedHandle<'_>, class: i32) -> io::Result<(Buffer, usize)> {
    let mut room = 4096;
    loop {
        let mut buffer = Buffer::new(room);
        let mut status = io_status();
        let length = buffer.len();
        // SAFETY: as above.
        let result = unsafe {
            wdk::NtQueryInformationFile(
                file.as_raw_handle(),
                &raw mut status,
                buffer.0.as_mut_ptr().cast(),
                length,
                class,
            )
        };
        if matches!(result, BUFFER_OVERFLOW | BUFFER_TOO_SMALL) && room < 1 << 20 {
            room *= 8;
            continue;
        }
        done(result)?;
        return Ok((buffer, status.Information));
    }
}

/// Asks about the volume of an open file.
pub(crate) fn query_volume(file: BorrowedHandle<'_>, class: i32, bytes: usize) -> io::Result<Buffer> {
    let mut buffer = Buffer::new(bytes);
    let mut status = io_status();
    let length = buffer.len();
    // SAFETY: as above.
    let result = unsafe {
        wdk::NtQueryVolumeInformationFile(
            file.as_raw_handle(),
            &raw mut status,
            buffer.0.as_mut_ptr().cast(),
            length,
            class,
        )
    };
    if result != BUFFER_OVERFLOW {
        done(result)?;
    }
    Ok(buffer)
}

/// Sets something of an open file.
pub(crate) fn set(file: BorrowedHandle<'_>, class: i32, value: &[u8]) -> io::Result<()> {
    // Aligned for every class.
    let mut buffer = vec![0u64; value.len().div_ceil(8)];
    // SAFETY: the copy is within a buffer that is at least as long.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), buffer.as_mut_ptr().cast::<u8>(), value.len()) };
    let mut status = io_status();
    let length = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the buffer has at least that length.
    let result = unsafe {
        wdk::NtSetInformationFile(
            file.as_raw_handle(),
            &raw mut status,
            buffer.as_ptr().cast(),
            length,
            class,
        )
    };
    done(result)
}

/// Reads the next entries of a directory into `buffer`; how many bytes of it, none at the end.
pub(crate) fn directory(
    dir: BorrowedHandle<'_>,
    class: i32,
    buffer: &mut Buffer,
    restart: bool,
) -> io::Result<Option<usize>> {
    let mut status = io_status();
    let length = buffer.len();
    // SAFETY: the buffer is as long as said; no name, event or routine is given.
    let result = unsafe {
        wdk::NtQueryDirectoryFile(
            dir.as_raw_handle(),
            null_mut(),
            None,
            null(),
            &raw mut status,
            buffer.0.as_mut_ptr().cast(),
            length,
            class,
            false,
            null(),
            restart,
        )
    };
    match result {
        NO_MORE_FILES | NO_SUCH_FILE => Ok(None),
        _ => done(result).map(|()| Some(status.Information.min(buffer.bytes().len()))),
    }
}

/// A control code of the file system. Gives how many bytes of `output` were filled.
pub(crate) fn control(
    file: BorrowedHandle<'_>,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> io::Result<usize> {
    let mut status = io_status();
    let (given, room) = (u32::try_from(input.len()), u32::try_from(output.len()));
    let (Ok(given), Ok(room)) = (given, room) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: both buffers are as long as said; the file is synchronous, so they outlive the call.
    let result = unsafe {
        wdk::NtFsControlFile(
            file.as_raw_handle(),
            null_mut(),
            None,
            null(),
            &raw mut status,
            code,
            if input.is_empty() { null() } else { input.as_ptr().cast() },
            given,
            if output.is_empty() { null_mut() } else { output.as_mut_ptr().cast() },
            room,
        )
    };
    if result == PENDING {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    done(result).map(|()| status.Information.min(output.len()))
}

/// The parts `which` of a security descriptor, self-relative.
pub(crate) fn security(file: BorrowedHandle<'_>, which: u32) -> io::Result<Vec<u8>> {
    let mut room = 512u32;
    loop {
        let mut buffer = Buffer::new(room as usize);
        let (length, mut needed) = (buffer.len(), 0);
        let descriptor: PSECURITY_DESCRIPTOR = buffer.0.as_mut_ptr().cast();
        // SAFETY: the buffer is as long as said, and aligned.
        let result = unsafe {
            wdk::NtQuerySecurityObject(file.as_raw_handle(), which, descriptor, length, &raw mut needed)
        };
        if result == BUFFER_TOO_SMALL && needed > length && needed < 1 << 20 {
            room = needed;
            continue;
        }
        done(result)?;
        let mut bytes = buffer.bytes().to_vec();
        bytes.truncate(needed as usize);
        return Ok(bytes);
    }
}

/// Sets the parts `which` of a security descriptor from a self-relative one.
pub(crate) fn set_security(file: BorrowedHandle<'_>, which: u32, descriptor: &[u8]) -> io::Result<()> {
    let mut buffer = vec![0u64; descriptor.len().div_ceil(8)];
    // SAFETY: the copy is within a buffer that is at least as long.
    unsafe {
        std::ptr::copy_nonoverlapping(
            descriptor.as_ptr(),
            buffer.as_mut_ptr().cast::<u8>(),
            descriptor.len(),
        );
    }
    // SAFETY: whoever calls this has checked that the descriptor lies within its bytes.
    let result = unsafe { wdk::NtSetSecurityObject(file.as_raw_handle(), which, buffer.as_mut_ptr().cast()) };
    done(result)
}

/// Where lock files are locked: far beyond what is in them, because a lock keeps others from reading as well.
fn locked_place() -> OVERLAPPED {
    let mut at = OVERLAPPED::default();
    at.Anonymous.Anonymous.OffsetHigh = 0x4000_0000;
    at
}

/// Locks a file for its handle, with others or alone; says whether that could be had at once.
pub(crate) fn lock(file: BorrowedHandle<'_>, exclusive: bool) -> io::Result<bool> {
    const LOCK_VIOLATION: i32 = 33;
    let flags = LOCKFILE_FAIL_IMMEDIATELY | if exclusive { LOCKFILE_EXCLUSIVE_LOCK } else { 0 };
    let mut at = locked_place();
    // SAFETY: an open file that is not asynchronous, so that the place outlives the call.
    if unsafe { LockFileEx(file.as_raw_handle(), flags, 0, 1, 0, &raw mut at) } != 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        e if e.raw_os_error() == Some(LOCK_VIOLATION) => Ok(false),
        e => Err(e),
    }
}

/// Lets go of what [`lock`] took.
pub(crate) fn unlock(file: BorrowedHandle<'_>) -> io::Result<()> {
    let mut at = locked_place();
    // SAFETY: as above.
    match unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut at) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
