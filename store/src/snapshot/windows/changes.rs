//! What a step changed: one walk against the table of the last commit.
//!
//! A file whose listing says what the table says (kind, number, size, all times, attributes) is believed; a listing
//! has the time of change too, which is harder to forge than that of writing. Everything else is opened, and
//! compared by content, streams, security and link data. With `verify` nothing is believed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::table::{Note, Row, RowKind, Table, row_kind};
use super::walk::{self, Opened, Seen, split};
use super::{fail, unfit};
use crate::layer::windows::fold;
use crate::nt::{Dir, FileId};
use crate::snapshot::SnapshotError;

/// Attributes that say how a file is stored, and not what it is.
const STORAGE: u32 = 0x200 | 0x800 | 0x8000 | 0x10_0000 | 0x40_0000 | 0x80;

/// Changes, found and not yet written.
#[derive(Debug)]
pub(crate) struct Changes {
    /// By path, with NUL for the slash: directories before what is in them, names by their bytes.
    pub(super) nodes: BTreeMap<String, Node>,
    /// What the tree is like now; what only the writing of the layer tells is missing from it.
    pub(super) table: Table,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: String,
    /// None for what is gone.
    pub(super) seen: Option<Seen>,
    pub(super) emit: bool,
    /// Whether a step made it, or changed what it says of security.
    pub(super) own_security: bool,
}

/// Sorts like the names one by one.
pub(super) fn key(path: &str) -> String {
    path.replace('/', "\0")
}

/// Finds what is different in the tree `root` from what `before` says. Nothing may write to it meanwhile.
pub(crate) fn find(
    root: &Dir,
    before: &Table,
    session: &str,
    verify: bool,
) -> Result<Changes, SnapshotError> {
    let mut table =
        Table { session: session.to_owned(), stepped: true, said: before.said.clone(), ..Table::default() };
    let all = walk::walk(root)?;
    refuse_twins(&all)?;
    let there: HashSet<Vec<u8>> = all.iter().map(|seen| fold(seen.path.as_bytes())).collect();
    let dirs: HashSet<&str> = all
        .iter()
        .filter(|seen| row_kind(&seen.stat) == RowKind::Directory)
        .map(|seen| seen.path.as_str())
        .collect();
    let mut nodes = BTreeMap::new();
    for path in before.rows.keys() {
        // A name that is spelled in another way now replaces the old one without more words.
        if !there.contains(&fold(path.as_bytes())) && dirs.contains(split(path).0) {
            let node = Node { path: path.clone(), seen: None, emit: true, own_security: false };
            nodes.insert(key(path), node);
        }
    }
    let mut opened = Opened::new(root);
    for seen in all {
        let dir = opened.at(split(&seen.path).0)?;
        let (row, changed, own_security) = compare(dir, before.rows.get(&seen.path), &seen, verify)?;
        let path = seen.path.clone();
        table.rows.insert(path.clone(), row);
        let emit = changed && !path.is_empty();
        nodes.insert(key(&path), Node { path, seen: Some(seen), emit, own_security });
    }
    let mut changes = Changes { nodes, table };
    changes.take_groups(before);
    changes.take_parents();
    Ok(changes)
}

/// Two names that Windows cannot tell apart, in a directory that is told to.
fn refuse_twins(all: &[Seen]) -> Result<(), SnapshotError> {
    let mut names: HashMap<Vec<u8>, &str> = HashMap::new();
    for seen in all {
        if let Some(other) = names.insert(fold(seen.path.as_bytes()), &seen.path) {
            let why = format!("`{other}` is the same name on most Windows volumes");
            return Err(unfit(&seen.path, &why));
        }
    }
    Ok(())
}

/// The new row of something, whether it changed, and whether its security is to be read for the layer.
fn compare(
    dir: &Dir,
    old: Option<&Row>,
    seen: &Seen,
    verify: bool,
) -> Result<(Row, bool, bool), SnapshotError> {
    let kind = row_kind(&seen.stat);
    if let Some(old) = old.filter(|old| !verify && old.is_untouched(&seen.stat)) {
        return Ok((old.clone(), false, false));
    }
    let security = walk::security(dir, seen).map_err(fail("read the security of", &seen.path))?;
    let Some(old) = old.filter(|old| old.kind == kind) else {
        // What is in it is read when the layer is written.
        return Ok((Row::new(&seen.stat, security, Note::default()), true, true));
    };
    // Where nothing of it counts, a step has not said anything.
    let own_security = security.is_some_and(|now| old.security != Some(now));
    let security = security.or(old.security);
    let attributes = |bits: u32| bits & !STORAGE;
    let mut changed = own_security || attributes(old.attributes) != attributes(seen.stat.attributes);
    let said = old.note.said;
    if kind == RowKind::Directory {
        let note = walk::note(dir, seen, said).map_err(fail("read", &seen.path))?;
        changed |= note != old.note;
        return Ok((Row::new(&seen.stat, security, note), changed, own_security));
    }
    // Made anew with the same content and time of writing it is the same; its creation counts where it was set.
    changed |= old.written != seen.stat.times.written.0 || old.size != seen.stat.size;
    changed |= old.id == seen.stat.id && old.created != seen.stat.times.created.0;
    let note = match changed {
        true => Note { said, ..Note::default() },
        false => walk::note(dir, seen, said).map_err(fail("read", &seen.path))?,
    };
    changed |= note != old.note;
    Ok((Row::new(&seen.stat, security, note), changed, own_security))
}

impl Changes {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.nodes.values().any(|node| node.emit)
    }

    /// One file of several names: all of them, as soon as one changed, or where they were not one file before.
    fn take_groups(&mut self, before: &Table) {
        let mut groups: HashMap<FileId, Vec<&String>> = HashMap::new();
        for (key, node) in &self.nodes {
            if let Some(seen) = node.seen.as_ref().filter(|seen| row_kind(&seen.stat) == RowKind::File) {
                groups.entry(seen.stat.id).or_default().push(key);
            }
        }
        let old = |key: &String| {
            let row = self.nodes.get(key).and_then(|node| before.rows.get(&node.path));
            row.map(|row| row.id)
        };
        let mut changed: Vec<String> = Vec::new();
        for group in groups.into_values().filter(|group| group.len() > 1) {
            let emits = group.iter().any(|key| self.nodes.get(*key).is_some_and(|node| node.emit));
            let first = group.first().and_then(|key| old(key));
            if emits || group.iter().any(|key| old(key) != first) {
                changed.extend(group.into_iter().cloned());
            }
        }
        for key in changed {
            if let Some(node) = self.nodes.get_mut(&key) {
                node.emit = true;
            }
        }
    }

    /// All directories above what changed.
    fn take_parents(&mut self) {
        let keys: Vec<String> =
            self.nodes.iter().filter(|(_, node)| node.emit).map(|(key, _)| key.clone()).collect();
        for mut key in keys {
            while let Some(slash) = key.rfind('\0') {
                key.truncate(slash);
                match self.nodes.get_mut(&key) {
                    Some(node) if !node.emit => node.emit = true,
                    _ => break,
                }
            }
        }
    }
}
