//! From the words of a COPY to files: paths, links in them, and wildcards.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::error::CopyErrorKind;
use crate::context::pattern::{Glob, Verdict, below_root, clean, has_wildcard};
use crate::context::{Dir, Meta, SourceTree};
use crate::dialect::Dialect;

/// A file or directory that a word names.
#[derive(Debug)]
pub(super) struct Pick {
    /// Its real path in the tree.
    pub(super) real: PathBuf,
    /// The name by which it was found, before links were followed.
    pub(super) name: OsString,
    pub(super) meta: Meta,
    /// The directory itself, or the one that holds the file.
    pub(super) dir: Dir,
    /// The file's real name in `dir`; empty for a directory.
    pub(super) entry: OsString,
}

/// What a word leads to.
#[derive(Debug)]
pub(super) struct Picks {
    pub(super) picks: Vec<Pick>,
    /// Whether the word is a pattern, which may match nothing and so must not fail.
    pub(super) wildcard: bool,
}

/// Finds what a word of COPY names. It is a path from the root of the tree, whatever it starts with;
/// links are followed, also the last one. Components with wildcards match real names only, as BuildKit
/// walks no links there.
pub(super) fn find(tree: &SourceTree, word: &str) -> Result<Picks, CopyErrorKind> {
    let cleaned = clean(&format!("/{word}"));
    let parts: Vec<&str> = cleaned.split('/').filter(|part| !part.is_empty()).collect();
    let fixed = parts.iter().position(|part| has_wildcard(part)).unwrap_or(parts.len());
    let (fixed, patterns) = parts.split_at(fixed);
    let base: PathBuf = fixed.iter().collect();
    if patterns.is_empty() {
        let pick = pick(tree, &base).and_then(|pick| pick.ok_or_else(|| missing(tree, word, &base)))?;
        return Ok(Picks { picks: vec![pick], wildcard: false });
    }
    let globs = patterns.iter().map(|part| Glob::parse(part)).collect::<Result<Vec<_>, _>>()?;
    let base = pick(tree, &base)?.ok_or_else(|| missing(tree, word, &base))?;
    let mut matches = Vec::new();
    if base.meta.is_dir() {
        expand(tree, &base.dir, &base.real, &globs, &mut matches)?;
    }
    let mut picks = Vec::new();
    for path in matches {
        picks.push(pick(tree, &path)?.ok_or_else(|| missing(tree, &path.to_string_lossy(), &path))?);
    }
    Ok(Picks { picks, wildcard: true })
}

/// The paths below `dir` that match `globs`, one pattern a component, in the order of their names.
fn expand(
    tree: &SourceTree,
    dir: &Dir,
    path: &Path,
    globs: &[Glob],
    out: &mut Vec<PathBuf>,
) -> Result<(), CopyErrorKind> {
    let Some((glob, rest)) = globs.split_first() else { return Ok(()) };
    for name in dir.list().map_err(CopyErrorKind::io("list", path))? {
        let found = path.join(&name);
        let text = name.to_string_lossy();
        let matches = match tree.dialect() {
            Dialect::Linux => glob.matches(&text),
            Dialect::Windows => glob.matches_folded(&text),
        };
        if !matches || !worth_a_look(tree, &found) {
            continue;
        }
        let Some(meta) = dir.find(&name).map_err(CopyErrorKind::io("look at", &found))? else { continue };
        if !visible(tree, &found, &meta) {
            continue;
        }
        if rest.is_empty() {
            if !meta.is_dir() || shows(tree, dir, &name, &found)? {
                out.push(found);
            }
        } else if meta.is_dir() {
            let next = dir.dir(&name).map_err(CopyErrorKind::io("open", &found))?;
            expand(tree, &next, &found, rest, out)?;
        }
    }
    Ok(())
}

/// Whether a path can be there at all, before it is looked at.
fn worth_a_look(tree: &SourceTree, path: &Path) -> bool {
    !tree.ignore().matches(path) || tree.ignore().may_hold_exceptions(path)
}

/// Whether a path that exists is part of the tree: not ignored, or a directory in which something may be.
fn visible(tree: &SourceTree, path: &Path, meta: &Meta) -> bool {
    let ignore = tree.ignore();
    ignore.is_empty() || !ignore.matches(path) || (meta.is_dir() && ignore.may_hold_exceptions(path))
}

/// Whether a directory is part of the tree: not ignored itself, or something in it is not.
fn shows(tree: &SourceTree, parent: &Dir, name: &OsStr, path: &Path) -> Result<bool, CopyErrorKind> {
    if tree.ignore().is_empty() || !tree.ignore().matches(path) {
        return Ok(true);
    }
    let dir = parent.dir(name).map_err(CopyErrorKind::io("open", path))?;
    holds_something(tree, &dir, path)
}

fn holds_something(tree: &SourceTree, dir: &Dir, path: &Path) -> Result<bool, CopyErrorKind> {
    for name in dir.list().map_err(CopyErrorKind::io("list", path))? {
        let found = path.join(&name);
        if !worth_a_look(tree, &found) {
            continue;
        }
        let Some(meta) = dir.find(&name).map_err(CopyErrorKind::io("look at", &found))? else { continue };
        if !tree.ignore().matches(&found) {
            return Ok(true);
        }
        if meta.is_dir() {
            let deeper = dir.dir(&name).map_err(CopyErrorKind::io("open", &found))?;
            if holds_something(tree, &deeper, &found)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What is at a path, links followed inside the tree; `None` where nothing is or it is ignored.
pub(super) fn pick(tree: &SourceTree, path: &Path) -> Result<Option<Pick>, CopyErrorKind> {
    let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    let found =
        match tree.dir().resolve(path, true, tree.dialect(), &mut |path, meta| visible(tree, path, meta)) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(e) => return Err(CopyErrorKind::io("look at", path)(e)),
        };
    let Some(meta) = found.meta else { return Ok(None) };
    if meta.is_dir()
        && !found.path.as_os_str().is_empty()
        && tree.ignore().matches(&found.path)
        && !holds_something(tree, &found.dir, &found.path)?
    {
        return Ok(None);
    }
    let entry = found.rest.into_iter().next().unwrap_or_default();
    Ok(Some(Pick { real: found.path, name, meta, dir: found.dir, entry }))
}

/// The error for a path that is not there: ignored, or much like one that is.
pub(super) fn missing(tree: &SourceTree, word: &str, path: &Path) -> CopyErrorKind {
    let written = if word.is_empty() { "/" } else { word };
    let mut ignored = None;
    let found = tree.dir().resolve(path, true, tree.dialect(), &mut |path, _| {
        if let (None, Verdict::Matched(line)) = (&ignored, tree.ignore().verdict(path)) {
            ignored = Some((line, tree.ignore().line(line).to_owned()));
        }
        true
    });
    let (mut similar, mut there) = (None, false);
    if let Ok(found) = found {
        there = found.meta.is_some();
        if let (false, Some(name)) = (there, found.rest.first()) {
            let near = found.dir.list().ok().and_then(|names| nearest(&name.to_string_lossy(), names));
            similar = near.map(|near| {
                let gone = found.path.ancestors().nth(found.rest.len()).unwrap_or(Path::new(""));
                let mut path = gone.join(near);
                path.extend(found.rest.iter().skip(1));
                path.display().to_string()
            });
        }
    }
    CopyErrorKind::NotFound { path: written.to_owned(), similar, ignored: ignored.filter(|_| there) }
}

/// The one of `names` that is nearest to `name`, where one is near enough to be meant.
fn nearest(name: &str, names: Vec<OsString>) -> Option<String> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter_map(|other| other.into_string().ok())
        .map(|other| (distance(&name.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(distance, other)| *distance <= limit && other != name)
        .min()
        .map(|(_, other)| other)
}

/// Edits from one text to the other: insert, remove, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(256).collect(), b.chars().take(256).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The path of a source that `--parents` keeps, and the directory that it is kept from: the part before
/// a `/./`, else the root of the tree.
pub(super) fn pivot(word: &str) -> (&str, String) {
    let (base, path) = word.split_once("/./").unwrap_or(("/", word));
    (base, below_root(path).to_string_lossy().into_owned())
}
