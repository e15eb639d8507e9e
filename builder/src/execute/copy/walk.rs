//! Everything in a directory that a COPY takes.

use std::collections::{HashMap, VecDeque, hash_map};
use std::ffi::OsString;
use std::io;
use std::mem::take;
use std::ops::Range;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use rayon::prelude::*;

use super::chmod::Chmod;
use super::content;
use super::entries::{EntriesWriter, List, Packed, damaged, decode, encode};
use super::error::CopyErrorKind;
use super::selection::{Entry, EntryKind};
use crate::context::pattern::{Inherited, PatternList, slashed};
use crate::context::{DigestCache, Dir, Kind, Meta, NameList, SourceTree, Xattrs, name_bytes, os_string};

/// Deeper trees than this are refused: writing one keeps a directory open for each level.
const MAX_DEPTH: usize = 500;

/// What decides about the files of one source.
pub(super) struct Walker<'a> {
    pub(super) tree: &'a SourceTree,
    /// `--parents`: only what these match is taken, relative to the source.
    pub(super) includes: Option<PatternList>,
    /// `--exclude`: nothing that these match is taken, relative to the source.
    pub(super) excludes: &'a PatternList,
    pub(super) chmod: Option<&'a Chmod>,
    pub(super) cache: &'a dyn DigestCache,
}

/// So many names of a directory are looked at before the first of them is written down.
const MOST_NAMES: usize = 1024;

/// So many directories are looked into at once, ahead of their turn.
const MOST_AHEAD: usize = 64;

/// No more are, where so many bytes are known ahead already.
const MOST_BYTES: usize = 4 << 20;

/// A directory to look into.
#[derive(Default)]
struct Place {
    /// Path in the tree.
    real: PathBuf,
    /// Path below the source.
    path: PathBuf,
    ignore: Inherited,
    include: Inherited,
    exclude: Inherited,
}

/// One name in a directory.
struct Found {
    entry: Box<Entry>,
    /// The identity of a content that has several names.
    identity: Option<(u64, u64)>,
    /// A directory that is only there for what is in it.
    if_filled: bool,
    /// What is to be looked into.
    below: Option<Box<Place>>,
}

/// Names in a directory, in few bytes each.
struct Listing {
    place: Place,
    items: std::vec::IntoIter<Item>,
    /// Of each its name, then what [`encode`] makes of it.
    bytes: Vec<u8>,
    /// Of those that have it, in order.
    identities: VecDeque<(u64, u64)>,
    below: VecDeque<Below>,
    /// Names that were not looked at yet.
    rest: NameList,
}

struct Item {
    name: Range<usize>,
    entry: Range<usize>,
    size: u64,
    has_acl: bool,
    is_shared: bool,
    if_filled: bool,
    is_open: bool,
}

/// A directory in another.
enum Below {
    Unknown(Box<Place>),
    Known(Result<Box<Listing>, CopyErrorKind>),
}

/// A directory whose content is being written down.
struct Open {
    listing: Box<Listing>,
    /// How many directories were waiting before it.
    waiting: usize,
}

impl Walker<'_> {
    /// Everything below `dir`, which is at `real` in the tree; directories come before what is in them,
    /// names in the order of their bytes.
    pub(super) fn walk(
        &self,
        dir: &Dir,
        real: &Path,
        out: &mut EntriesWriter<'_>,
    ) -> Result<List, CopyErrorKind> {
        let root =
            Place { real: real.to_owned(), ignore: self.tree.ignore().inherited(real), ..Place::default() };
        let mut writer = Writer { out, first: HashMap::new(), waiting: Vec::new() };
        // In the order in which things are written down, and a few directories side by side: no recursion that a
        // deep tree could exhaust, no directory stays open, and what was written is not kept.
        let mut open = vec![Open { listing: self.list(dir, root, None)?, waiting: 0 }];
        while let Some(Open { listing, waiting }) = open.last_mut() {
            let Some(item) = listing.items.next() else {
                if listing.rest.is_empty() {
                    // Who still waits had nothing in it.
                    writer.waiting.truncate(*waiting);
                    open.pop();
                } else {
                    let (place, rest) = (take(&mut listing.place), take(&mut listing.rest));
                    *listing = self.list(dir, place, Some(rest))?;
                }
                continue;
            };
            let waiting = writer.waiting.len();
            if !item.if_filled {
                writer.write(listing, &item)?;
            } else if item.is_open {
                writer.waiting.push((
                    listing.path_of(&item),
                    listing.bytes[item.entry.clone()].to_vec(),
                    item.has_acl,
                ));
            }
            if !item.is_open {
                continue;
            }
            if open.len() > MAX_DEPTH {
                let path = open.last().map(|open| open.listing.real_path_of(&item)).unwrap_or_default();
                return Err(CopyErrorKind::TooDeep { path: path.display().to_string(), limit: MAX_DEPTH });
            }
            self.look_ahead(dir, &mut open);
            let below = open.last_mut().and_then(|open| open.listing.below.pop_front());
            if let Some(Below::Known(listing)) = below {
                open.push(Open { listing: listing?, waiting });
            }
        }
        Ok(out.take_list())
    }

    /// Looks into the directory that is next, if that was not done before; then also into some after it.
    fn look_ahead(&self, top: &Dir, open: &mut [Open]) {
        let next = open.last().and_then(|open| open.listing.below.front());
        if !matches!(next, Some(Below::Unknown(_))) {
            return;
        }
        let (mut unknown, mut known) = (Vec::new(), 0);
        for open in open.iter_mut().rev() {
            open.listing.unknown(&mut unknown, &mut known);
        }
        unknown.par_iter_mut().with_max_len(1).for_each(|below| {
            if let Below::Unknown(place) = &mut **below {
                let place = take(&mut **place);
                **below = Below::Known(self.list(top, place, None));
            }
        });
    }

    /// What is in a directory: all of it, or those of its names.
    fn list(&self, top: &Dir, place: Place, names: Option<NameList>) -> Result<Box<Listing>, CopyErrorKind> {
        let dir = top.descend(&place.path).map_err(CopyErrorKind::io("open", &place.real))?;
        let mut names = match names {
            Some(names) => names,
            None => dir.names().map_err(CopyErrorKind::io("list", &place.real))?,
        };
        let now = names.take(MOST_NAMES);
        // Gathered first and looked through in order, so that of several errors always the same is told.
        let found: Vec<_> = now.par_iter().map(|name| self.entry(&dir, &place, name)).collect();
        let mut items = Vec::with_capacity(found.len());
        let mut listing = Listing {
            place,
            items: Vec::new().into_iter(),
            bytes: Vec::with_capacity(found.len() * 80),
            identities: VecDeque::new(),
            below: VecDeque::new(),
            rest: names,
        };
        for (name, found) in now.iter().zip(found) {
            let Some(Found { entry, identity, if_filled, below }) = found? else { continue };
            let start = listing.bytes.len();
            listing.bytes.extend_from_slice(name_bytes(name));
            let middle = listing.bytes.len();
            let (size, has_acl) = encode(&entry, &mut listing.bytes);
            items.push(Item {
                name: start..middle,
                entry: middle..listing.bytes.len(),
                size,
                has_acl,
                is_shared: identity.is_some(),
                if_filled,
                is_open: below.is_some(),
            });
            listing.identities.extend(identity);
            listing.below.extend(below.map(Below::Unknown));
        }
        listing.items = items.into_iter();
        Ok(Box::new(listing))
    }

    /// One name in a directory; `None` where it is not taken.
    fn entry(&self, dir: &Dir, place: &Place, name: &OsString) -> Result<Option<Found>, CopyErrorKind> {
        let (real, path) = (place.real.join(name), place.path.join(name));
        let ignore = self.tree.ignore();
        let (ignored, ignore_below) = if ignore.is_empty() {
            (false, Inherited::default())
        } else {
            let (verdict, below) = ignore.decide(&slashed(&real), &place.ignore);
            (verdict.is_match(), below)
        };
        if ignored && !ignore.may_hold_exceptions(&real) {
            return Ok(None);
        }
        let text =
            if self.excludes.is_empty() && self.includes.is_none() { "".into() } else { slashed(&path) };
        let (excluded, exclude_below) = self.excludes.decide(&text, &place.exclude);
        let (included, include_below) = match &self.includes {
            None => (true, Inherited::default()),
            Some(includes) => {
                let (verdict, below) = includes.decide(&text, &place.include);
                (verdict.is_match(), below)
            }
        };
        let taken = included && !excluded.is_match();
        let may_hold = (!excluded.is_match() || self.excludes.may_except_below(&text))
            && (included || self.includes.as_ref().is_none_or(|includes| includes.may_match_below(&text)));
        if !taken && !may_hold {
            return Ok(None);
        }
        let Some(meta) = dir.find(name).map_err(CopyErrorKind::io("look at", &real))? else {
            return Ok(None);
        };
        if !meta.is_dir() && (ignored || !taken || meta.kind == Kind::Socket) {
            return Ok(None);
        }
        let mut entry = self.describe(dir, name, &real, path.clone(), &meta)?;
        entry.implied = !taken;
        let shared = meta.kind == Kind::File && meta.links > 1;
        let below = (meta.is_dir() && may_hold).then(|| {
            Box::new(Place {
                real,
                path,
                ignore: ignore_below,
                include: include_below,
                exclude: exclude_below,
            })
        });
        Ok(Some(Found {
            entry: Box::new(entry),
            identity: shared.then_some((meta.dev, meta.ino)),
            if_filled: ignored || !taken,
            below,
        }))
    }

    /// An entry with all that it will be.
    pub(super) fn describe(
        &self,
        dir: &Dir,
        name: &OsString,
        real: &Path,
        path: PathBuf,
        meta: &Meta,
    ) -> Result<Entry, CopyErrorKind> {
        let (mut meta, mut xattrs) = (*meta, Xattrs::new());
        if matches!(meta.kind, Kind::File | Kind::Directory) {
            xattrs = dir.xattrs(name).map_err(CopyErrorKind::io("read the attributes of", real))?;
        }
        let mut stat = None;
        let kind = match meta.kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File => {
                let cache = self.tree.is_lasting().then_some(self.cache);
                let (digest, read) =
                    content::digest(dir, name, &meta, cache).map_err(CopyErrorKind::io("read", real))?;
                meta = read;
                stat = Some(meta.file_stat());
                EntryKind::File { size: meta.size, digest }
            }
            Kind::Symlink => EntryKind::Symlink {
                target: dir.read_link(name).map_err(CopyErrorKind::io("read the link", real))?,
            },
            Kind::CharDevice => EntryKind::CharDevice { rdev: meta.rdev },
            Kind::BlockDevice => EntryKind::BlockDevice { rdev: meta.rdev },
            // A socket that is named itself; the caller has left all others out.
            Kind::Fifo | Kind::Socket => EntryKind::Fifo,
        };
        let (uid, gid) = if self.tree.keeps_owners() { (meta.uid, meta.gid) } else { (0, 0) };
        let mode = match (self.chmod, meta.kind) {
            (None, _) | (_, Kind::Symlink) => meta.mode,
            (Some(chmod), kind) => chmod.apply(meta.mode, kind == Kind::Directory),
        };
        Ok(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            xattrs,
            implied: false,
            source_mode: meta.mode,
            mtime: Some(meta.mtime),
            stat,
        })
    }
}

impl Listing {
    /// The path of an item below the source.
    fn path_of(&self, item: &Item) -> Vec<u8> {
        let mut path = name_bytes(self.place.path.as_os_str()).to_vec();
        if !path.is_empty() {
            path.push(MAIN_SEPARATOR as u8);
        }
        path.extend_from_slice(&self.bytes[item.name.clone()]);
        path
    }

    fn real_path_of(&self, item: &Item) -> PathBuf {
        self.place.real.join(os_string(&self.bytes[item.name.clone()]).unwrap_or_default())
    }

    fn packed(&self, item: &Item) -> Packed<'_> {
        Packed { bytes: &self.bytes[item.entry.clone()], size: item.size, has_acl: item.has_acl }
    }

    /// The directories in it, and in these, that were not looked into yet, in order, until they are enough.
    fn unknown<'l>(&'l mut self, out: &mut Vec<&'l mut Below>, known: &mut usize) {
        for below in &mut self.below {
            // The first is needed now.
            if !out.is_empty() && (out.len() >= MOST_AHEAD || *known > MOST_BYTES) {
                return;
            }
            match below {
                Below::Unknown(_) => out.push(below),
                Below::Known(Ok(listing)) => {
                    *known += listing.bytes.len();
                    listing.unknown(out, known);
                }
                Below::Known(Err(_)) => {}
            }
        }
    }
}

/// Writes down what was found.
struct Writer<'o, 'w> {
    out: &'o mut EntriesWriter<'w>,
    /// By device and inode the number of the first name of a content that has several, in a context or elsewhere: in
    /// some trees every file has.
    first: HashMap<u64, HashMap<u64, u32>>,
    /// Directories that are there for what is in them, of which nothing came yet: path, entry, and whether that has an
    /// access control list.
    waiting: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Writer<'_, '_> {
    fn write(&mut self, listing: &mut Listing, item: &Item) -> Result<(), CopyErrorKind> {
        for (path, bytes, has_acl) in self.waiting.drain(..) {
            self.out.push(&path, Packed { bytes: &bytes, size: 0, has_acl }).map_err(CopyErrorKind::List)?;
        }
        let path = listing.path_of(item);
        let identity = if item.is_shared { listing.identities.pop_front() } else { None };
        let packed = listing.packed(item);
        if let Some((device, inode)) = identity
            && let Ok(number) = u32::try_from(self.out.count())
        {
            match self.first.entry(device).or_default().entry(inode) {
                hash_map::Entry::Occupied(first) => {
                    let to = *first.get() as usize;
                    return self.link(&path, to, packed).map_err(CopyErrorKind::List);
                }
                hash_map::Entry::Vacant(first) => drop(first.insert(number)),
            }
        }
        self.out.push(&path, packed).map_err(CopyErrorKind::List)
    }

    /// The second and later names of a content become links to its first.
    fn link(&mut self, path: &[u8], to: usize, packed: Packed<'_>) -> io::Result<()> {
        let path = os_string(path).ok_or_else(damaged)?;
        let mut entry = decode(&mut { packed.bytes }, path.into()).ok_or_else(damaged)?;
        if let EntryKind::File { size, digest } = entry.kind {
            entry.kind = EntryKind::HardLink { to, size, digest };
        }
        self.out.push_entry(&entry)
    }
}
