//! What is measured with.

use std::fs;
use std::path::Path;

use orlop_store::layer::tar::{Entry, Kind, Time, Writer};

/// Files of a tree, a hundred to a directory.
pub(crate) const FILES: usize = 2000;
/// Bytes of each.
const SIZE: usize = 2000;

/// That many bytes which do not shrink.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// That many bytes which shrink as source code does.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let words =
        ["return ", "value ", "const ", "function ", "(", ") ", "{\n", "}\n", "= ", "index", ";\n", "this."];
    let mut out = Vec::with_capacity(size + 16);
    let mut picks = noise(size / 2).into_iter();
    while out.len() < size {
        let pick = picks.next().unwrap_or(0);
        out.extend_from_slice(words[usize::from(pick) % words.len()].as_bytes());
        if pick > 200 {
            out.push(pick & 0x7f);
        }
    }
    out.truncate(size);
    out
}

/// The path and the content of each file of a tree.
fn files() -> impl Iterator<Item = (String, Vec<u8>)> {
    let content = text(SIZE + FILES);
    (0..FILES).map(move |n| (format!("{:02}/file-{n:05}.js", n / 100), content[n..n + SIZE].to_vec()))
}

/// Writes the tree below `dir`.
///
/// # Panics
/// When it cannot.
pub(crate) fn tree(dir: &Path) {
    for (path, content) in files() {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir)).expect("a new directory can be made");
        fs::write(path, content).expect("a new file can be written");
    }
}

/// The tree as a layer's tar.
///
/// # Panics
/// When it cannot be written.
pub(crate) fn tar() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for n in 0..FILES / 100 {
        let dir = Entry { mode: 0o755, ..entry(format!("{n:02}"), Kind::Directory, 0) };
        writer.entry(&dir).expect("a directory can be expressed");
    }
    for (path, content) in files() {
        let entry = entry(path, Kind::File, content.len() as u64);
        writer.append(&entry, content.as_slice()).expect("a file can be expressed");
    }
    writer.finish().expect("memory takes everything")
}

fn entry(path: String, kind: Kind, size: u64) -> Entry {
    Entry {
        path: path.into_bytes(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        link: Vec::new(),
        size,
        device: (0, 0),
        xattrs: Default::default(),
        windows: Default::default(),
    }
}
