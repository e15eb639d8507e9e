//! From a request to a [`Selection`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use orlop_store::{FileDigest, FileDigester, Work};

use super::entries::{EntriesWriter, List};
use super::error::{CopyError, CopyErrorKind};
use super::selection::{Entry, EntryKind, Group, Origin, Selection};
use super::sources::{self, Pick};
use super::walk::Walker;
use super::{CopyRequest, RemoteFile, RemoteTree, Source, windows};
use crate::context::pattern::PatternList;
use crate::context::{DigestCache, Ignore, Inherited, Kind, SourceTree, Time};

/// Finds and reads everything that a COPY or ADD takes, without a look at where it goes.
///
/// # Errors
/// When a source is not there (a pattern that matches nothing is no error, as in BuildKit), a pattern is
/// none, or a file cannot be read. The list of the files is kept in `work` where it is long, else all of it in memory.
pub fn select(
    request: &CopyRequest,
    tree: &SourceTree,
    cache: &dyn DigestCache,
    work: Option<&Work>,
) -> Result<Selection, CopyError> {
    let mut entries = EntriesWriter::new(work);
    let excludes = PatternList::new(request.excludes.iter().map(|pattern| (0, pattern.as_str())))
        .map_err(CopyErrorKind::from)?;
    let mut walker =
        Walker { tree, includes: None, excludes: &excludes, chmod: request.chmod.as_ref(), cache };
    let (mut groups, mut unmatched) = (Vec::new(), Vec::new());
    for (word, source) in request.sources.iter().enumerate() {
        let context = |kind: CopyErrorKind| kind.of(word);
        let unpack = |default| request.add.is_some_and(|add| add.unpack.unwrap_or(default));
        match source {
            Source::Path(path) if request.parents => {
                let found = with_parents(&mut walker, path, word, &mut entries).map_err(context)?;
                if found.iter().all(|group: &Group| group.count() == 0) {
                    unmatched.push(word);
                }
                groups.extend(found);
            }
            Source::Path(path) => {
                let found = sources::find(tree, path).map_err(context)?;
                if found.picks.is_empty() {
                    unmatched.push(word);
                }
                for pick in found.picks {
                    if excluded(&excludes, &pick, found.wildcard) {
                        continue;
                    }
                    groups.push(group(&walker, pick, (word, unpack(true)), &mut entries).map_err(context)?);
                }
            }
            Source::Inline { name, content } => groups.push(inline(request, name, content, word)),
            Source::Remote(file) => {
                groups.push(remote(request, file, word, unpack(false)).map_err(context)?);
            }
            Source::Tree(tree) => groups.push(fetched(&walker, tree, word, &mut entries).map_err(context)?),
        }
    }
    // Here-documents come last, wherever they were written.
    groups.sort_by_key(|group| matches!(group.origin, Origin::Inline(_)));
    let content = entries.content + singles(&groups);
    let mut entries = entries.finish().map_err(CopyErrorKind::List)?;
    if request.dialect.is_windows() {
        entries = windows::fit(&mut groups, &entries, (tree.dialect(), request.account), work)?;
    }
    Ok(Selection {
        groups,
        entries,
        bytes: content,
        dialect: request.dialect,
        dest: destination(request),
        chown: request.chown.clone(),
        account: request.account,
        link: request.link && request.chmod.is_none(),
        unmatched,
    })
}

/// Whether `--exclude` drops a source itself. The reference promises it for files, by name
/// (`--exclude=*.txt hom*`), and BuildKit does not keep the promise (moby/buildkit#5489). A directory that
/// is named without a pattern is wanted.
fn excluded(excludes: &PatternList, pick: &Pick, wildcard: bool) -> bool {
    (wildcard || !pick.meta.is_dir())
        && excludes.decide(&pick.name.to_string_lossy(), &Inherited::default()).0.is_match()
}

/// The bytes of groups that are one file.
fn singles(groups: &[Group]) -> u64 {
    let sizes = groups.iter().filter_map(|group| match group.one.as_ref()?.kind {
        EntryKind::File { size, .. } => Some(size),
        _ => None,
    });
    sizes.fold(0, u64::saturating_add)
}

fn group(
    walker: &Walker<'_>,
    pick: Pick,
    (word, unpack): (usize, bool),
    entries: &mut EntriesWriter<'_>,
) -> Result<Group, CopyErrorKind> {
    let Pick { real, name, meta, dir, entry } = pick;
    if meta.is_dir() {
        let list = walker.walk(&dir, &real, entries)?;
        return Ok(Group {
            word,
            name,
            origin: Origin::Directory(real, dir),
            unpack: false,
            one: None,
            list,
        });
    }
    if meta.kind == Kind::Socket {
        let source = io::Error::new(io::ErrorKind::Unsupported, "a socket cannot be copied");
        return Err(CopyErrorKind::io("copy", &real)(source));
    }
    let one = Some(Box::new(walker.describe(&dir, &entry, &real, PathBuf::new(), &meta)?));
    Ok(Group { word, name, origin: Origin::File(real, dir, entry), unpack, one, list: List::default() })
}

/// `--parents`: everything that the path matches, as a pattern below the pivot; the directories on the
/// way come along.
fn with_parents(
    walker: &mut Walker<'_>,
    path: &str,
    word: usize,
    entries: &mut EntriesWriter<'_>,
) -> Result<Vec<Group>, CopyErrorKind> {
    let (base, pattern) = sources::pivot(path);
    let plain = !crate::context::pattern::has_wildcard(path);
    let found = sources::find(walker.tree, base)?;
    // The pivot's directory itself, as in `dir/./`, is everything in it.
    walker.includes =
        if pattern.is_empty() { None } else { Some(PatternList::new([(0, pattern.as_str())])?) };
    let mut groups = Vec::new();
    for pick in found.picks {
        if !pick.meta.is_dir() {
            continue;
        }
        let whole = pick.real.join(&pattern);
        let group = group(walker, pick, (word, false), entries)?;
        if plain && group.count() == 0 && !pattern.is_empty() {
            return Err(sources::missing(walker.tree, path, &whole));
        }
        groups.push(group);
    }
    walker.includes = None;
    Ok(groups)
}

fn single(
    request: &CopyRequest,
    mode: u32,
    size: u64,
    digest: FileDigest,
    mtime: Option<Time>,
) -> Option<Box<Entry>> {
    Some(Box::new(Entry {
        path: PathBuf::new(),
        kind: EntryKind::File { size, digest },
        mode: request.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, false)),
        uid: 0,
        gid: 0,
        xattrs: Vec::new(),
        implied: false,
        source_mode: mode,
        mtime,
        stat: None,
    }))
}

/// What ADD takes of a directory from elsewhere: all that is in it, whatever the context's ignore file says.
fn fetched(
    walker: &Walker<'_>,
    from: &RemoteTree,
    word: usize,
    entries: &mut EntriesWriter<'_>,
) -> Result<Group, CopyErrorKind> {
    let (name, one) = (OsString::new(), None);
    let Some(path) = &from.path else {
        let origin = Origin::Unfetched(from.key.clone());
        return Ok(Group { word, name, origin, unpack: false, one, list: List::default() });
    };
    let tree = SourceTree::fetched(path, Ignore::nothing())
        .map_err(|e| CopyErrorKind::io("open", path)(e.source))?;
    let walker = Walker { tree: &tree, includes: None, ..*walker };
    let list = walker.walk(tree.dir(), Path::new(""), entries)?;
    let origin = Origin::Directory(PathBuf::new(), tree.dir().clone());
    Ok(Group { word, name, origin, unpack: false, one, list })
}

fn inline(request: &CopyRequest, name: &str, content: &[u8], word: usize) -> Group {
    let path = crate::context::pattern::below_root(name);
    let one = single(request, 0o644, content.len() as u64, FileDigest::of(content), None);
    let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    Group { word, name, origin: Origin::Inline(content.to_vec()), unpack: false, one, list: List::default() }
}

fn remote(
    request: &CopyRequest,
    file: &RemoteFile,
    word: usize,
    unpack: bool,
) -> Result<Group, CopyErrorKind> {
    let mut digester = FileDigester::new();
    let mut open = std::fs::File::open(&file.path).map_err(CopyErrorKind::io("open", &file.path))?;
    let size = io::copy(&mut open, &mut digester).map_err(CopyErrorKind::io("read", &file.path))?;
    let mtime = file.mtime.map_or(Time::default(), time);
    let one = single(request, 0o600, size, digester.finish(), Some(mtime));
    let name = OsString::from(RemoteFile::name_of(&file.name));
    Ok(Group { word, name, origin: Origin::Remote(file.path.clone()), unpack, one, list: List::default() })
}

fn time(time: SystemTime) -> Time {
    let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        // Whole seconds will do for the years before 1970.
        Err(before) => (i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s), 0),
    };
    Time { seconds, nanoseconds }
}

/// The destination from the root, with a `/` at its end where it has to be a directory.
fn destination(request: &CopyRequest) -> String {
    use crate::context::pattern::clean;
    let joined = if request.dest.starts_with('/') {
        request.dest.clone()
    } else {
        format!("/{}/{}", request.workdir, request.dest)
    };
    let last = request.dest.rsplit('/').next().unwrap_or_default();
    let directory = matches!(last, "" | "." | "..");
    let cleaned = clean(&joined);
    if directory && !cleaned.ends_with('/') { format!("{cleaned}/") } else { cleaned }
}
