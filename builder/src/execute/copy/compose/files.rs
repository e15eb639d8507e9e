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
    /// The next of each, by the directory that it goes into and its name: its group.
    pub(super) heads: BTreeMap<(Place, OsString), (usize, usize, Entry)>,
}

/// The files of one group.
struct Stream<'a> {
    entries: std::iter::Enumerate<Box<dyn Iterator<Item = io::Result<Entry>> + 'a>>,
    open: Vec<(PathBuf, Place)>,
}

impl<'a> Files<'a> {
    /// None where two have the same place and name.
    pub(super) fn of(plan: &Plan<'a>) -> Result<Option<Self>, ComposeError> {
        let mut out = Self { streams: HashMap::new(), heads: BTreeMap::new() };
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

    /// Finds the next file of a group. False where another has its place and name.
    pub(super) fn go_on(&mut self, plan: &Plan<'_>, number: usize) -> Result<bool, ComposeError> {
        let Some(Stream { entries, open }) = self.streams.get_mut(&number) else { return Ok(true) };
        for (i, entry) in entries {
            let entry = entry.map_err(ComposeError::list)?;
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            while open.len() > 1 && open.last().is_some_and(|(path, _)| path != parent) {
                open.pop();
            }
            let (Some((_, place)), Some(name)) = (open.last(), entry.path.file_name()) else {
                return Ok(false);
            };
            if entry.kind == EntryKind::Directory {
                let child = plan.nodes.get(*place).and_then(|node| node.children.get(name));
                let Some(&child) = child else { return Ok(false) };
                open.push((entry.path, child));
                continue;
            }
            let key = (*place, name.to_owned());
            return Ok(self.heads.insert(key, (number, i, entry)).is_none());
        }
        Ok(true)
    }

    /// The name of the next file that goes into a directory.
    pub(super) fn first_in(&self, place: Place) -> Option<&OsStr> {
        let ((of, name), _) = self.heads.range((place, OsString::new())..).next()?;
        (*of == place).then_some(name)
    }

    /// Takes it: its name, group and number, and itself.
    pub(super) fn take_from(&mut self, place: Place) -> Option<(OsString, usize, usize, Entry)> {
        let ((of, name), _) = self.heads.range((place, OsString::new())..).next()?;
        let key = (*of, name.clone());
        let (number, i, entry) = self.heads.remove(&key)?;
        Some((key.1, number, i, entry))
    }
}
