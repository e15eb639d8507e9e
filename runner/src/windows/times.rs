//! The times of a file or directory, all four, to be put back as they were.
#![expect(unsafe_code, reason = "the fourth time is not to be had from the standard library")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES,
    FILE_WRITE_ATTRIBUTES, FileBasicInfo, GetFileInformationByHandleEx, SetFileInformationByHandle,
};

/// Creation, access, write and change time.
#[derive(Clone, Copy)]
pub(super) struct Times(FILE_BASIC_INFO);

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Times")
            .field("write", &self.0.LastWriteTime)
            .field("change", &self.0.ChangeTime)
            .finish()
    }
}

impl Times {
    /// Those of a directory now.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        Self::of_open(&open(directory, FILE_READ_ATTRIBUTES)?)
    }

    /// Those of something open.
    pub(super) fn of_open(file: &impl AsRawHandle) -> io::Result<Self> {
        let mut info = FILE_BASIC_INFO::default();
        let (at, size) = ((&raw mut info).cast(), size_of::<FILE_BASIC_INFO>() as u32);
        // SAFETY: the structure of that class with its size.
        match unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), FileBasicInfo, at, size) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self(info)),
        }
    }

    /// Puts them back; a directory that is gone has none.
    pub(super) fn restore(&self, directory: &Path) {
        let Ok(file) = open(directory, FILE_WRITE_ATTRIBUTES) else { return };
        // Attributes of zero stay as they are.
        set(&file, &FILE_BASIC_INFO { FileAttributes: 0, ..self.0 });
    }

    /// Puts the time of change alone back: what was done since is no change to anybody.
    pub(super) fn restore_change(&self, file: &impl AsRawHandle) {
        // Times of zero stay as they are as well.
        set(file, &FILE_BASIC_INFO { ChangeTime: self.0.ChangeTime, ..Default::default() });
    }
}

fn set(file: &impl AsRawHandle, info: &FILE_BASIC_INFO) {
    let (at, size) = ((&raw const *info).cast(), size_of::<FILE_BASIC_INFO>() as u32);
    // SAFETY: the structure of that class with its size. Where it fails, the next diff sees a newer time.
    unsafe { SetFileInformationByHandle(file.as_raw_handle(), FileBasicInfo, at, size) };
}

fn open(path: &Path, access: u32) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    OpenOptions::new().access_mode(access).custom_flags(flags).open(path)
}
