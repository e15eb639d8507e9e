//! The files of the directories that are copied, in the order in which they are written.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::{ComposeError, Place, Plan};
use crate::execute::copy::selection::{Entry, EntryKind};

/// The files of all directories that are copied, side by side. Each comes in the order of the plan's tree.
pub(super) struct Files<'a> {
    streams: HashMap<usize, Stream<'a>>,
    /// The next of each, by the directory that it goes into and its name.
    pub(super) heads: BTreeMap<(Place, OsString), Head>,
    /// The number that the next directory gets that has no node.
    next: Place,
}

/// What is to be written next of a group: a file, or a directory that has no node.
pub(super) struct Head {
    pub(super) group: usize,
    /// Its number in the group.
    pub(super) index: usize,
    pub(super) entry: Entry,
    /// Where the content of the directory goes.
    pub(super) inside: Option<Place>,
}

/// The files of one group.
struct Stream<'a> {
    entries: std::iter::Enumerate<Box<dyn Iterator<Item = io::Result<Entry>> + 'a>>,
    open: Vec<(PathBuf, Place)>,
}

impl<'a> Files<'a> {
    /// None where two have the same place and name.
    pub(super) fn of(plan: &Plan<'a>) -> Result<Option<Self>, ComposeError> {
        let mut out = Self { streams: HashMap::new(), heads: BTreeMap::new(), next: plan.nodes.len() };
        let groups = plan.selection.groups.iter().enumerate();
        for (number, group) in groups.filter(|(_, group)| group.is_directory()) {
            let entries: Box<dyn Iterator<Item = _>> = Box::new(plan.selection.of(group));
            let open = vec![(PathBuf::new(), plan.top)];
            out.streams.insert(number, Stream { entries: entries.enumerate(), open });
            if !out.go_on(plan, number)? {
                return Ok(None);
            }
        }
        Ok(Some(out))
    }

    /// Finds the next of a group. False where another has its place and name.
    pub(super) fn go_on(&mut self, plan: &Plan<'_>, number: usize) -> Result<bool, ComposeError> {
        let Some(Stream { entries, open }) = self.streams.get_mut(&number) else { return Ok(true) };
        for (index, entry) in entries {
            let entry = entry.map_err(ComposeError::list)?;
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            while open.len() > 1 && open.last().is_some_and(|(path, _)| path != parent) {
                open.pop();
            }
            let (Some((_, place)), Some(name)) = (open.last(), entry.path.file_name()) else {
                return Ok(false);
            };
            let key = (*place, name.to_owned());
            let mut inside = None;
            if entry.kind == EntryKind::Directory {
                if let Some(&child) = plan.nodes.get(*place).and_then(|node| node.children.get(name)) {
                    open.push((entry.path, child));
                    continue;
                }
                open.push((entry.path.clone(), self.next));
                inside = Some(self.next);
                self.next += 1;
            }
            let head = Head { group: number, index, entry, inside };
            return Ok(self.heads.insert(key, head).is_none());
        }
        Ok(true)
    }

    /// The name of the next that goes into a directory.
    pub(super) fn first_in(&self, place: Place) -> Option<&OsStr> {
        let ((of, name), _) = self.heads.range((place, OsString::new())..).next()?;
        (*of == place).then_some(name)
    }

    /// Takes it, with its name.
    pub(super) fn take_from(&mut self, place: Place) -> Option<(OsString, Head)> {
        let ((of, name), _) = self.heads.range((place, OsString::new())..).next()?;
        let key = (*of, name.clone());
        let head = self.heads.remove(&key)?;
        Some((key.1, head))
    }
}
