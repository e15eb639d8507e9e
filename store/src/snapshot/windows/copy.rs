//! A tree made like another one.

use std::collections::HashMap;
use std::io;

use super::extents::Cloner;
use super::table::{RowKind, Table, row_kind};
use super::walk::{self, Opened, Seen, split};
use super::{apply, fail};
use crate::nt::{Dir, FileId, FileTime, Share, Stat, Times, attribute};
use crate::snapshot::SnapshotError;

/// Attributes that are set on a copy.
const SETTABLE: u32 = 0x1 | 0x2 | 0x4 | 0x20 | 0x80 | 0x100 | 0x1000 | 0x2000;

/// Copies the tree `from` into the empty directory `to`. Says no where `from` is not what `table` says of it: where
/// bytes are copied, they are compared.
pub(crate) fn tree(from: &Dir, table: &Table, to: &Dir, cloner: &Cloner) -> Result<bool, SnapshotError> {
    let all = walk::walk(from)?;
    if all.len() != table.rows.len() {
        return Ok(false);
    }
    let (mut sources, mut targets) = (Opened::new(from), Opened::new(to));
    let mut first_names: HashMap<FileId, String> = HashMap::new();
    for seen in &all {
        let Some(row) = table.rows.get(&seen.path).filter(|row| row.kind == row_kind(&seen.stat)) else {
            return Ok(false);
        };
        if seen.path.is_empty() {
            continue;
        }
        let parent = split(&seen.path).0;
        let (source, target) = (sources.at(parent)?, targets.at(parent)?);
        let failed = fail("copy", &seen.path);
        match row.kind {
            RowKind::Directory => {
                target.make_dir(&seen.name).map_err(&failed)?;
                streams(source, target, seen).map_err(&failed)?;
                continue;
            }
            RowKind::Link => link(source, target, seen).map_err(&failed)?,
            RowKind::File => {
                if let Some(first) = first_names.get(&seen.stat.id) {
                    let (dir, name) = split(first);
                    let dir = walk::open(to, dir).map_err(&failed)?;
                    dir.link(name.as_ref(), target, &seen.name).map_err(&failed)?;
                    continue;
                }
                first_names.insert(seen.stat.id, seen.path.clone());
                let mut file = source.file(&seen.name, Share::Read).map_err(&failed)?;
                let mut copy = target.make_file(&seen.name).map_err(&failed)?;
                let (_, digest) = cloner.content(&mut file, &mut copy, seen.stat.size).map_err(&failed)?;
                if digest.is_some_and(|digest| row.note.content != Some(digest)) {
                    return Ok(false);
                }
                drop(copy);
                streams(source, target, seen).map_err(&failed)?;
            }
        }
        dress(source, target, seen).map_err(failed)?;
    }
    // A directory's own times come when everything is in it.
    for seen in all.iter().rev().filter(|seen| seen.stat.is_dir() && !seen.path.is_empty()) {
        let parent = split(&seen.path).0;
        let failed = fail("copy", &seen.path);
        dress(sources.at(parent)?, targets.at(parent)?, seen).map_err(failed)?;
    }
    Ok(true)
}

fn link(source: &Dir, target: &Dir, seen: &Seen) -> io::Result<()> {
    if seen.stat.is_dir_like() {
        target.make_dir(&seen.name)?;
    } else {
        target.make_file(&seen.name)?;
    }
    target.set_reparse(&seen.name, &source.reparse(&seen.name)?)
}

fn streams(source: &Dir, target: &Dir, seen: &Seen) -> io::Result<()> {
    for stream in source.streams(&seen.name)? {
        let mut from = source.stream(&seen.name, &stream.name, Share::Read)?;
        io::copy(&mut from, &mut target.make_stream(&seen.name, &stream.name)?)?;
    }
    Ok(())
}

fn dress(source: &Dir, target: &Dir, seen: &Seen) -> io::Result<()> {
    if let Some(name) = seen.name.to_str() {
        apply::set_security(target, name, &source.security(&seen.name)?)?;
    }
    let Stat { times, attributes, .. } = seen.stat;
    let times = Times { changed: FileTime(0), accessed: FileTime(0), ..times };
    let attributes = attributes & SETTABLE;
    target.set_basic(&seen.name, times, if attributes == 0 { attribute::NORMAL } else { attributes })
}
