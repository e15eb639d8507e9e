//! The access lists of a tree of files.

use std::fs;
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::Path;

use super::calls::Failure;
use super::object::{self, Part};
use crate::windows::security::{AccessList, INHERIT, INHERITED, SecurityDescriptor};
use crate::windows::times::Times;

const READ_CONTROL: u32 = 0x2_0000;
const WRITE_DAC: u32 = 0x4_0000;
/// Setting an integrity label takes the right to change the owner.
const WRITE_OWNER: u32 = 0x8_0000;
/// Reading and writing attributes, times among them.
const ATTRIBUTES: u32 = 0x180;
/// Bytes of the largest access list, as its own header counts them.
const LARGEST: usize = 65_532;
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

/// Adds entries to those that a directory and what is in it have, and takes none away. One that has them is left as
/// it is: what was made in it since has inherited them.
pub(super) fn admit_tree(path: &Path, added: &SecurityDescriptor) -> Result<SecurityDescriptor, Failure> {
    let root = path.canonicalize().map_err(|error| io_failure("GetFinalPathNameByHandleW", &error))?;
    let directory = open(&root, added)?;
    let before = object::security(directory.as_raw_handle())?;
    let Some(new) = with_added(&before, added) else { return Ok(before) };
    set(&directory, &new)?;
    let after = object::security(directory.as_raw_handle())?;
    below(&root, added)?;
    Ok(after)
}

/// A directory's security with what is to be added; none where that is there, or where everybody is admitted.
fn with_added(before: &SecurityDescriptor, added: &SecurityDescriptor) -> Option<SecurityDescriptor> {
    let mut new = before.clone();
    let list = new.access.as_mut()?;
    let lacking = added.access.iter().flat_map(|added| &added.0);
    let lacking: Vec<_> = lacking
        .filter(|entry| entry.sid.as_ref().is_some_and(|sid| !list.allows(sid, entry.mask)))
        .cloned()
        .collect();
    let level = |of: &SecurityDescriptor| of.label.as_ref().and_then(|label| label.sid.clone());
    let labelled = added.label.is_none() || level(before) == level(added);
    if lacking.is_empty() && labelled {
        return None;
    }
    list.0.extend(lacking);
    new.label.clone_from(&added.label);
    Some(new)
}

fn open(path: &Path, wanted: &SecurityDescriptor) -> Result<OwnedHandle, Failure> {
    let label = if wanted.label.is_some() { WRITE_OWNER } else { 0 };
    let needed = READ_CONTROL | WRITE_DAC | label;
    // An owner has always the right to change the list, and not always those to see and set times.
    match object::open(path, needed | ATTRIBUTES) {
        Err(failure) if failure.code == 5 => object::open(path, needed),
        other => other,
    }
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
    let before = new.access.take();
    let list = merged(before.clone().unwrap_or_default(), wanted, flags)?;
    let label = wanted.label.clone().map(|label| label.with_flags(flags));
    let labelled = wanted.label.is_none()
        || new.label.as_ref().map(|one| &one.sid) == label.as_ref().map(|one| &one.sid);
    if before.as_ref() == Some(&list) && labelled {
        return Ok(());
    }
    new.access = Some(list);
    new.label = label;
    // A new list is a change to the file, and to whoever compares times it is one that has to be read anew. What a
    // step is given to work with is none: the time goes back to what it was.
    let times = Times::of_open(&file);
    set(&file, &new)?;
    if let Ok(times) = times {
        times.restore_change(&file);
    }
    Ok(())
}

/// A file's list with the entries that are wanted. What steps of other roots had, where the tree is a copy of theirs,
/// goes; and this step, whose entry is the last, gets neither less nor more than that.
fn merged(mut list: AccessList, wanted: &SecurityDescriptor, flags: u8) -> Result<AccessList, Failure> {
    let entries = wanted.access.as_ref().map_or(&[][..], |list| &list.0);
    let step = entries.last().and_then(|entry| entry.sid.clone());
    let mask = entries.last().map_or(0, |entry| entry.mask);
    list.0.retain(|entry| match &entry.sid {
        Some(sid) if Some(sid) == step.as_ref() => entry.kind == 0 && entry.mask == mask,
        Some(sid) => !(entry.flags & INHERITED != 0 && super::is_step(sid)),
        None => true,
    });
    // No list at all admits everybody: this one then becomes the first.
    let lacking =
        entries.iter().filter(|entry| entry.sid.as_ref().is_some_and(|sid| !list.allows(sid, entry.mask)));
    let lacking: Vec<_> = lacking.map(|entry| entry.clone().with_flags(flags)).collect();
    list.0.extend(lacking);
    // A list has room for so many bytes.
    match list.to_bytes().len() > LARGEST {
        true => Err(Failure { call: "SetKernelObjectSecurity", code: 1336 }),
        false => Ok(list),
    }
}

fn io_failure(call: &'static str, error: &std::io::Error) -> Failure {
    Failure { call, code: error.raw_os_error().unwrap_or(1) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::identity::boundary::{FILE_ALL, FILE_READ_EXECUTE, tree};
    use crate::windows::security::{Entry, Sid};

    #[test]
    fn a_step_gets_what_it_is_to_have_and_others_nothing() {
        let container = |last| Sid::new(15, [2, 1, 2, 3, 4, 5, 6, last]);
        let (step, other) = (container(7), container(8));
        let user = Sid::new(5, [21, 1, 2, 3, 1000]);
        let before = AccessList(vec![
            Entry::allow(&Sid::users(), FILE_READ_EXECUTE, 0),
            Entry::allow(&Sid::system(), FILE_ALL, INHERITED),
            // Of the root that this file was copied from, and of a step that was administrator here.
            Entry::allow(&other, FILE_ALL, INHERITED),
            Entry::allow(&step, FILE_ALL, INHERITED),
        ]);
        let wanted = tree(&[Sid::system(), Sid::administrators(), user.clone()], &step, false);
        let list = merged(before.clone(), &wanted, INHERITED).expect("short");
        assert_eq!(list.0[..2], before.0[..2], "what the file says itself stays");
        assert_eq!(list.allowed(&step), FILE_READ_EXECUTE, "an ordinary user of the image");
        assert_eq!((list.allowed(&other), list.allowed(&user)), (0, FILE_ALL));
        assert_eq!(merged(list.clone(), &wanted, INHERITED), Ok(list), "once");
        // What an image's layer says of a container of its own is the image's.
        let own = AccessList(vec![Entry::allow(&other, FILE_ALL, 0)]);
        assert_eq!(merged(own, &wanted, 0).expect("short").allowed(&other), FILE_ALL);
    }

    #[test]
    fn a_tree_that_is_made_ready_is_not_changed() {
        use crate::windows::identity::{Calls, Windows};
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("file");
        fs::write(&path, "x").expect("written");
        let before = format!("{:?}", Times::of(&path).expect("times"));
        let user = Windows.own_token().expect("our own token").user;
        let wanted = tree(&[Sid::system(), Sid::administrators(), user], &Sid::new(9, [1]), true);
        protect_tree(root.path(), &wanted).expect("set");
        // Wine keeps no lists for files, and no time of change that could be set.
        if Windows.system().wine.is_none() {
            let file = object::open(&path, READ_CONTROL).expect("open");
            let list = object::security(file.as_raw_handle()).expect("read").access.unwrap_or_default();
            assert_eq!(list.allowed(&Sid::new(9, [1])), FILE_ALL, "{list}");
            assert_eq!(format!("{:?}", Times::of(&path).expect("times")), before);
        }
    }

    #[test]
    fn what_is_shared_keeps_its_own_entries_and_is_left_alone_afterwards() {
        let (user, capability) = (Sid::new(5, [21, 1, 2, 3, 1000]), Sid::new(15, [3, 1, 2]));
        let usual = AccessList(vec![Entry::allow(&user, FILE_ALL, INHERIT | INHERITED)]);
        let before = SecurityDescriptor { access: Some(usual.clone()), ..SecurityDescriptor::default() };
        let entry = Entry::allow(&capability, FILE_ALL, INHERIT);
        let mut added = SecurityDescriptor {
            access: Some(AccessList(vec![entry.clone()])),
            ..SecurityDescriptor::default()
        };
        let after = with_added(&before, &added).expect("it lacks the entry");
        assert_eq!(after.access, Some(AccessList([usual.0, vec![entry]].concat())));
        assert_eq!((&after.label, after.protected), (&None, false));
        assert_eq!(with_added(&after, &added), None, "once");
        assert_eq!(with_added(&SecurityDescriptor::default(), &added), None, "everybody is admitted");
        added.label = Some(Entry::label(0x1000, INHERIT));
        let labelled = with_added(&after, &added).expect("it lacks the label");
        assert_eq!(with_added(&labelled, &added), None);
    }

    #[test]
    fn a_list_that_is_full_is_an_error_and_not_a_shorter_one() {
        let entries = (0..3000).map(|number| Entry::allow(&Sid::new(5, [21, 1, 2, 3, number]), 1, 0));
        let wanted = tree(&[], &Sid::new(9, [1]), true);
        let failure = merged(AccessList(entries.collect()), &wanted, 0).expect_err("it is full");
        assert_eq!(failure.code, 1336);
    }
}
