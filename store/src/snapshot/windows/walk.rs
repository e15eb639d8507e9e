//! One walk over a tree, by handles; nothing is followed.

use std::ffi::OsString;
use std::io::{self, Read};

use super::{fail, unfit};
use crate::digest::{Digest, Digester};
use crate::layer::windows::check_name;
use crate::nt::{Dir, Share, Stat};
use crate::snapshot::SnapshotError;

use super::security::mark;
use super::table::{Note, Notes, Row, RowKind, Table, row_kind};

/// Something in a tree.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// With slashes; the root is empty.
    pub(crate) path: String,
    pub(crate) name: OsString,
    pub(crate) stat: Stat,
}

/// Everything in the tree, directories before what is in them.
///
/// # Errors
/// When a directory cannot be read, or has a name that cannot be in a layer.
pub(crate) fn walk(root: &Dir) -> Result<Vec<Seen>, SnapshotError> {
    let stat = root.stat_self().map_err(fail("read", ""))?;
    let mut out = vec![Seen { path: String::new(), name: OsString::new(), stat }];
    // A loop and not a recursion: how deep it goes is the step's choice. A handle for each level.
    let mut stack = vec![(root.try_clone().map_err(fail("open", ""))?, String::new(), list(root, "")?)];
    while let Some((dir, path, todo)) = stack.last_mut() {
        let Some((name, os_name, stat)) = todo.pop() else {
            stack.pop();
            continue;
        };
        let below = join(path, &name);
        let is_dir = row_kind(&stat) == RowKind::Directory;
        let deeper = match is_dir {
            true => Some(dir.dir(&os_name).map_err(fail("open", &below))?),
            false => None,
        };
        out.push(Seen { path: below.clone(), name: os_name, stat });
        if let Some(deeper) = deeper {
            let todo = list(&deeper, &below)?;
            stack.push((deeper, below, todo));
        }
    }
    Ok(out)
}

type Listed = Vec<(String, OsString, Stat)>;

/// The names in a directory, the last first.
fn list(dir: &Dir, path: &str) -> Result<Listed, SnapshotError> {
    let mut out = Listed::new();
    for entry in dir.list().map_err(fail("read", path))? {
        let Some(name) = entry.name.to_str().map(str::to_owned) else {
            return Err(unfit(&join(path, &entry.name.to_string_lossy()), "its name is no Unicode"));
        };
        check_name(name.as_bytes()).map_err(|e| unfit(&join(path, &name), &e.to_string()))?;
        out.push((name, entry.name, entry.stat));
    }
    out.sort_by(|a, b| b.0.as_bytes().cmp(a.0.as_bytes()));
    Ok(out)
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// The directory that `path` is in, and its name there.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The directory at a path, by its names.
pub(crate) fn open(root: &Dir, path: &str) -> io::Result<Dir> {
    let mut at = root.try_clone()?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = at.dir(name.as_ref())?;
    }
    Ok(at)
}

/// Directories by path; those on the way to the last one are kept open.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    root: &'a Dir,
    way: Vec<(String, Dir)>,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(root: &'a Dir) -> Self {
        Self { root, way: Vec::new() }
    }

    /// The directory at `path`.
    pub(crate) fn at(&mut self, path: &str) -> Result<&Dir, SnapshotError> {
        self.open(path).map_err(fail("open", path))
    }

    /// The directory at `path`.
    pub(crate) fn open(&mut self, path: &str) -> io::Result<&Dir> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let same = self.way.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.way.truncate(same);
        for name in names.get(same..).unwrap_or_default() {
            let parent = self.way.last().map_or(self.root, |(_, dir)| dir);
            let dir = parent.dir((*name).as_ref())?;
            self.way.push(((*name).to_owned(), dir));
        }
        Ok(self.way.last().map_or(self.root, |(_, dir)| dir))
    }
}

/// Digest and size of all that `file` gives.
pub(crate) fn digest(file: &mut impl Read) -> io::Result<(u64, Digest)> {
    let mut digester = Digester::new();
    let mut buf = vec![0; 128 << 10];
    loop {
        match file.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => digester.update(&buf[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let size = digester.size();
    Ok((size, digester.finish()))
}

/// What counts of the security descriptor that something has; none where nothing does. That of the root is the
/// store's.
pub(crate) fn security(dir: &Dir, seen: &Seen) -> io::Result<Option<Digest>> {
    if seen.path.is_empty() {
        return Ok(None);
    }
    Ok(mark(&dir.security(&seen.name)?))
}

/// What a listing does not tell, read anew. What layers said of it stays as `said` has it.
pub(crate) fn note(dir: &Dir, seen: &Seen, said: Option<usize>) -> io::Result<Note> {
    let mut note = Note { said, ..Note::default() };
    if seen.path.is_empty() {
        return Ok(note);
    }
    match row_kind(&seen.stat) {
        RowKind::File => {
            note.content = Some(digest(&mut dir.file(&seen.name, Share::Read)?)?.1);
        }
        RowKind::Link => {
            note.reparse = Some(Digest::of(&dir.reparse(&seen.name)?));
            return Ok(note);
        }
        RowKind::Directory => {}
    }
    for stream in dir.streams(&seen.name)? {
        let name = stream.name.to_string_lossy().into_owned();
        let mut file = dir.stream(&seen.name, &stream.name, Share::Read)?;
        note.streams.insert(name, digest(&mut file)?);
    }
    Ok(note)
}

/// The table of a tree as it is now; what a listing does not tell is in `notes`.
pub(crate) fn take(root: &Dir, notes: Notes, session: &str, stepped: bool) -> Result<Table, SnapshotError> {
    let mut table = Table { session: session.to_owned(), stepped, ..Table::default() };
    let mut dirs = Opened::new(root);
    for seen in walk(root)? {
        let dir = dirs.at(split(&seen.path).0)?;
        let security = security(dir, &seen).map_err(fail("read the security of", &seen.path))?;
        let row = Row::new(&seen.stat, security, notes.get(&seen.path));
        table.rows.insert(seen.path, row);
    }
    table.said = notes.said;
    Ok(table)
}

/// Whether the tree is what its table says, in every byte that counts: its times may lie, and after a loss of power
/// so may its content.
pub(crate) fn is_sound(root: &Dir, table: &Table) -> Result<bool, SnapshotError> {
    let all = walk(root)?;
    if all.len() != table.rows.len() {
        return Ok(false);
    }
    let mut dirs = Opened::new(root);
    for seen in all {
        let Some(row) = table.rows.get(&seen.path).filter(|row| row.kind == row_kind(&seen.stat)) else {
            return Ok(false);
        };
        let dir = dirs.at(split(&seen.path).0)?;
        let found = note(dir, &seen, row.note.said).map_err(fail("read", &seen.path))?;
        let same_basics = seen.path.is_empty()
            || row.kind == RowKind::Directory
            || (row.written, row.attributes, row.size)
                == (seen.stat.times.written.0, seen.stat.attributes, seen.stat.size);
        let security = security(dir, &seen).map_err(fail("read the security of", &seen.path))?;
        if found != row.note || !same_basics || security.is_some_and(|now| row.security != Some(now)) {
            return Ok(false);
        }
    }
    Ok(true)
}
