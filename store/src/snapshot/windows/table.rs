//! The file table: what a tree was like when it was committed, so that the next diff is one walk against it.
//!
//! FORMAT.md has the text form.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::layer::windows::{Metadata, fold};
use crate::nt::{FileId, Kind, Stat};

/// The first line.
const MAGIC: &str = "orlop-table 1";
/// No table of a real tree is larger, in bytes.
const LARGEST: u64 = 4 << 30;

/// A file table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Which process made the tree.
    pub(crate) session: String,
    /// Whether a step wrote to the tree. Then its times may lie.
    pub(crate) stepped: bool,
    /// What layers say of files beyond what the tree can hold.
    pub(crate) said: Said,
    /// By path with slashes; the root is empty.
    pub(crate) rows: BTreeMap<String, Row>,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(rename = "k")]
    pub(crate) kind: RowKind,
    #[serde(rename = "i", with = "hex")]
    pub(crate) id: FileId,
    #[serde(rename = "n", default)]
    pub(crate) size: u64,
    #[serde(rename = "w")]
    pub(crate) written: i64,
    #[serde(rename = "c")]
    pub(crate) changed: i64,
    #[serde(rename = "b")]
    pub(crate) created: i64,
    #[serde(rename = "a")]
    pub(crate) attributes: u32,
    /// Digest of what counts of the security descriptor that the file really has.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) security: Option<Digest>,
    /// What is known of it besides.
    #[serde(flatten)]
    pub(crate) note: Note,
}

/// What cannot be had from a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Digest of a file's content.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Digest>,
    /// Alternate streams by name, with size and digest.
    #[serde(rename = "t", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) streams: BTreeMap<String, (u64, Digest)>,
    /// Digest of a reparse point's data.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) reparse: Option<Digest>,
    /// Index of what layers said of it.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) said: Option<usize>,
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RowKind {
    #[serde(rename = "f")]
    File,
    #[serde(rename = "d")]
    Directory,
    #[serde(rename = "l")]
    Link,
}

/// The kind as the table and layers have it: what keeps a file's content in another way is a file.
pub(crate) fn row_kind(stat: &Stat) -> RowKind {
    match stat.kind {
        Kind::Directory => RowKind::Directory,
        Kind::File => RowKind::File,
        Kind::Reparse { tag } if !crate::nt::tag::is_surrogate(tag) && !stat.is_dir_like() => RowKind::File,
        Kind::Reparse { .. } => RowKind::Link,
    }
}

impl Row {
    /// A row of what a listing says, and what else is known.
    pub(crate) fn new(stat: &Stat, security: Option<Digest>, note: Note) -> Self {
        Self {
            kind: row_kind(stat),
            id: stat.id,
            size: stat.size,
            written: stat.times.written.0,
            changed: stat.times.changed.0,
            created: stat.times.created.0,
            attributes: stat.attributes,
            security,
            note,
        }
    }

    /// Whether a listing says the same: nothing has touched the file, unless it lies.
    pub(crate) fn is_untouched(&self, stat: &Stat) -> bool {
        self.kind == row_kind(stat)
            && self.id == stat.id
            && self.size == stat.size
            && self.written == stat.times.written.0
            && self.changed == stat.times.changed.0
            && self.created == stat.times.created.0
            && self.attributes == stat.attributes
    }
}

/// What layers say of files beyond what a tree can hold, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    all: Vec<Vec<u8>>,
    index: HashMap<Vec<u8>, usize>,
}

impl Said {
    /// Keeps the security descriptor and extended attributes of `metadata`; the rest is in the tree itself.
    pub(crate) fn keep(&mut self, metadata: &Metadata) -> Option<usize> {
        let kept = Metadata { attributes: None, created: None, mount_point: false, ..metadata.clone() };
        let bytes = kept.to_carrier();
        if bytes.is_empty() {
            return None;
        }
        Some(self.add(bytes))
    }

    fn add(&mut self, bytes: Vec<u8>) -> usize {
        if let Some(found) = self.index.get(&bytes) {
            return *found;
        }
        self.all.push(bytes.clone());
        self.index.insert(bytes, self.all.len() - 1);
        self.all.len() - 1
    }

    /// What was kept.
    pub(crate) fn get(&self, index: Option<usize>) -> Metadata {
        let bytes = index.and_then(|index| self.all.get(index));
        bytes.and_then(|bytes| Metadata::from_carrier(bytes)).unwrap_or_default()
    }
}

/// Notes by folded path, while a tree is being made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) said: Said,
    by_path: BTreeMap<Vec<u8>, Note>,
}

impl Notes {
    pub(crate) fn of(table: &Table) -> Self {
        let by_path = table.rows.iter().map(|(path, row)| (fold(path.as_bytes()), row.note.clone()));
        Self { said: table.said.clone(), by_path: by_path.collect() }
    }

    pub(crate) fn get(&self, path: &str) -> Note {
        self.by_path.get(&fold(path.as_bytes())).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, path: &str, note: Note) {
        self.by_path.insert(fold(path.as_bytes()), note);
    }

    /// Forgets what is at `path` and below it.
    pub(crate) fn forget(&mut self, path: &str) {
        let path = fold(path.as_bytes());
        // All that begins with the path and a slash; `0` comes after the slash.
        let (from, to) = ([&path[..], b"/"].concat(), [&path[..], b"0"].concat());
        let below: Vec<_> = self.by_path.range(from..to).map(|(path, _)| path.clone()).collect();
        for path in below.iter().chain([&path]) {
            self.by_path.remove(path);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    session: String,
    stepped: bool,
    rows: usize,
    said: Vec<String>,
}

impl Table {
    /// Writes the table into a new file at `path`.
    pub(crate) fn write(&self, path: &Path, sync: bool) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        writeln!(out, "{MAGIC}")?;
        let header = Header {
            session: self.session.clone(),
            stepped: self.stepped,
            rows: self.rows.len(),
            said: self.said.all.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
        };
        serde_json::to_writer(&mut out, &header)?;
        writeln!(out)?;
        for row in &self.rows {
            serde_json::to_writer(&mut out, &row)?;
            writeln!(out)?;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync { file.sync_all() } else { Ok(()) }
    }

    /// Reads the table at `path`.
    ///
    /// # Errors
    /// `InvalidData` where it is none, or not all of it.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let file = File::open(path)?;
        if file.metadata()?.len() > LARGEST {
            return Err(bad("it is larger than any tree's"));
        }
        let mut lines = BufReader::new(file).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(bad("it is cut off")));
        if next()? != MAGIC {
            return Err(bad("it is of another version"));
        }
        let header: Header = serde_json::from_str(&next()?)?;
        let mut table = Self { session: header.session, stepped: header.stepped, ..Self::default() };
        for text in &header.said {
            table.said.add(STANDARD.decode(text).map_err(|e| bad(&e.to_string()))?);
        }
        for _ in 0..header.rows {
            let (path, row): (String, Row) = serde_json::from_str(&next()?)?;
            table.rows.insert(path, row);
        }
        if table.rows.len() != header.rows {
            return Err(bad("it has a path twice"));
        }
        Ok(table)
    }
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &u128, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{id:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written_and_not_with_anything_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        let mut table = Table { session: "s".into(), stepped: true, ..Table::default() };
        let said = table.said.keep(&Metadata::default().for_file());
        assert_eq!(table.said.keep(&Metadata::default().for_file()), said, "each once");
        assert_eq!(table.said.keep(&Metadata::default()), None);
        let row = Row {
            kind: RowKind::File,
            id: u128::MAX,
            size: 5,
            written: -1,
            changed: i64::MAX,
            created: 0,
            attributes: 0x21,
            security: Some(Digest::of(b"s")),
            note: Note {
                content: Some(Digest::of(b"c")),
                streams: [("side\n".to_owned(), (3, Digest::of(b"x")))].into(),
                reparse: None,
                said,
            },
        };
        table.rows.insert("a/ü\"\n".into(), row.clone());
        table.rows.insert(String::new(), Row { kind: RowKind::Directory, note: Note::default(), ..row });
        table.write(&path, true).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
        assert!(table.said.get(said).security.is_some());
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() - 1 {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(Table::read(&path).is_err(), "{cut} bytes");
        }
        std::fs::write(&path, "orlop-table 2\n{}").unwrap();
        assert!(Table::read(&path).unwrap_err().to_string().contains("version"));
    }

    #[test]
    fn notes_are_found_whatever_the_case_and_go_with_what_is_above() {
        let mut notes = Notes::default();
        let note = Note { said: Some(1), ..Note::default() };
        for path in ["Dir", "Dir/a", "Dir/a/b", "Dir.x", "Dir0", "dirt"] {
            notes.set(path, note.clone());
        }
        assert_eq!(notes.get("dIR/A"), note);
        notes.forget("DIR");
        for (path, there) in [
            ("Dir", false),
            ("dir/A", false),
            ("dir/a/b", false),
            ("dir.x", true),
            ("dir0", true),
            ("dirt", true),
        ] {
            assert_eq!(notes.get(path) == note, there, "{path}");
        }
    }
}
