//! The access lists of a tree of files.

use std::fs;
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::Path;

use super::calls::Failure;
use super::object::{self, Part};
use crate::windows::security::{AccessList, INHERIT, INHERITED, SecurityDescriptor};

const READ_CONTROL: u32 = 0x2_0000;
const WRITE_DAC: u32 = 0x4_0000;
/// Setting an integrity label takes the right to change the owner.
const WRITE_OWNER: u32 = 0x8_0000;
const DIRECTORY: u32 = 0x10;
const REPARSE_POINT: u32 = 0x400;

/// Sets a directory's security and lets everything in it inherit it. Reads back the directory's own.
///
/// A directory that has it already is left as it is: what was made in it since has inherited it. Where another
/// access list reads back than was set, nothing below is touched.
pub(super) fn protect_tree(path: &Path, wanted: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
    let root = path.canonicalize().map_err(|error| io_failure("GetFinalPathNameByHandleW", &error))?;
    let directory = open(&root, wanted)?;
    let before = object::security(directory.as_raw_handle())?;
    if super::same_access(wanted, &before) {
        return Ok(before);
    }
    set(&directory, wanted)?;
    let after = object::security(directory.as_raw_handle())?;
    if super::same_access(wanted, &after) {
        below(&root, wanted)?;
    }
    Ok(after)
}

fn open(path: &Path, wanted: &SecurityDescriptor) -> Result<OwnedHandle, Failure> {
    let label = if wanted.label.is_some() { WRITE_OWNER } else { 0 };
    object::open(path, READ_CONTROL | WRITE_DAC | label)
}

fn set(file: &OwnedHandle, wanted: &SecurityDescriptor) -> Result<(), Failure> {
    object::set_security(file.as_raw_handle(), &[Part::Access], wanted)?;
    match wanted.label {
        Some(_) => object::set_security(file.as_raw_handle(), &[Part::Label], wanted),
        None => Ok(()),
    }
}

/// Adds the entries to everything below a directory, links and junctions themselves included and never followed.
fn below(top: &Path, wanted: &SecurityDescriptor) -> Result<(), Failure> {
    let mut directories = vec![top.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| io_failure("FindFirstFileW", &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| io_failure("FindNextFileW", &error))?;
            let found =
                entry.metadata().map_err(|error| io_failure("FindNextFileW", &error))?.file_attributes();
            let is_directory = found & DIRECTORY != 0;
            add(&entry.path(), wanted, is_directory)?;
            if is_directory && found & REPARSE_POINT == 0 {
                directories.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Adds what a file lacks of the entries to its own access list, as inherited ones.
fn add(path: &Path, wanted: &SecurityDescriptor, is_directory: bool) -> Result<(), Failure> {
    let file = open(path, wanted)?;
    let mut new = object::security(file.as_raw_handle())?;
    let flags = if is_directory { INHERIT | INHERITED } else { INHERITED };
    // No list at all admits everybody: this one then becomes the first.
    let mut list = new.access.take().unwrap_or_default();
    let lacking = wanted.access.iter().flat_map(|wanted| &wanted.0);
    let lacking = lacking.filter(|entry| entry.sid.as_ref().is_some_and(|sid| !list.allows(sid, entry.mask)));
    let lacking: Vec<_> = lacking.map(|entry| entry.clone().with_flags(flags)).collect();
    list.0.extend(lacking);
    new.access = Some(AccessList(list.0));
    new.label = wanted.label.clone().map(|label| label.with_flags(flags));
    set(&file, &new)
}

fn io_failure(call: &'static str, error: &std::io::Error) -> Failure {
    Failure { call, code: error.raw_os_error().unwrap_or(1) as u32 }
}
