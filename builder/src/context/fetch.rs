//! Contexts that are no directory of this machine: unpacked or downloaded into one that lives as long as the
//! build, and is swept with the rest of the store's unfinished things where the build did not live to remove it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use orlop_registry_client::{Download, TransportKind, redact};
use orlop_store::work::WorkDir;
use orlop_store::{Digest, Digester};

use super::archive::{self, unpack_context};
use super::handle::{Dir, Time};
use super::pieces::Interruptible;
use super::tar::ArchiveError;
use crate::dialect::Dialect;
use crate::error::BuildError;
use crate::event::{Action, Outcome, Progress, Task};
use crate::request::Engine;
use crate::source::SourceFile;
use crate::transfer::{Watched, check_cancelled, registry_error, stream_error};

/// What BuildKit calls the one file of a context that came from a URL and is no archive.
const FILE: &str = "context";

/// A directory of files that were fetched, gone with this value.
#[derive(Debug)]
pub struct Fetched {
    dir: PathBuf,
    _work: WorkDir,
}

impl Fetched {
    /// An empty one. Everybody who gets into the store may look into it, so that a step may that is not root.
    pub(crate) fn empty(engine: &Engine<'_>) -> Result<Self, BuildError> {
        let work = place(engine)?;
        let name = OsStr::new(FILE);
        let made = Dir::open(work.path())
            .and_then(|dir| dir.make_dir(name).and_then(|()| dir.set_mode(name, 0o755)));
        made.map_err(|e| BuildError::internal("cannot make a directory in the store").because(e))?;
        Ok(Self::of(work.path().join(FILE), work))
    }

    /// What is in `dir`, in a directory of the store.
    pub(crate) fn of(dir: PathBuf, work: WorkDir) -> Self {
        Self { dir, _work: work }
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Reads a file of at most `limit` bytes, wherever links in the directory lead, but not out of it. None where
    /// there is none of that name.
    ///
    /// # Errors
    /// When it is something else, has more bytes, or cannot be read.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let found = Dir::open(&self.dir)?.resolve(path, true, Dialect::host(), &mut |_, _| true)?;
        let (Some(meta), name) = (found.meta, found.rest.first()) else { return Ok(None) };
        let Some(name) = name.filter(|_| !meta.is_dir()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let mut bytes = Vec::new();
        found.dir.file(name)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let why = format!("it has more than the {limit} bytes allowed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(Some(bytes))
    }

    /// The directory that all else is in, where there is one such.
    pub fn only_directory(&self) -> Option<OsString> {
        let dir = Dir::open(&self.dir).ok()?;
        let [only] = <[OsString; 1]>::try_from(dir.list().ok()?).ok()?;
        dir.stat(&only).ok()?.is_dir().then_some(only)
    }
}

fn place(engine: &Engine<'_>) -> Result<WorkDir, BuildError> {
    Ok(engine.store.work().create("context").map_err(orlop_store::Error::from)?)
}

/// What was behind the name of a context.
#[derive(Debug)]
pub enum Arrived {
    /// Files, from an archive.
    Files(Fetched),
    /// A text: the Dockerfile, with nothing to copy from.
    Dockerfile(Vec<u8>),
}

/// Whether a text is the URL of something to download, `http` or `https` in any case.
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// A URL as it may be shown: without user and password, and without its query, which may hold a signature.
pub fn shown(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| "the URL".to_owned(), |url| redact(&url))
}

/// Unpacks an archive of any compression; `name` says in messages whose it is. The stream is read by a thread of its
/// own, so that nobody waits for it when the build is to stop.
///
/// # Errors
/// When it is damaged, hostile or too large, or the store cannot be written.
pub fn unpack(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    stream: impl Read + Send + 'static,
    name: &str,
) -> Result<Fetched, BuildError> {
    let task = progress.start(format!("[context] unpack {name}"));
    let span = engine.trace().span("fetch", &[]);
    let stream = Interruptible::of(stream, engine.cancel);
    let stream = Watched::new(engine, &task, stream, Digest::of(name.as_bytes()), None);
    let fetched = unpack_stream(engine, stream, name, &task)?;
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(fetched)
}

/// Downloads a context: an archive is unpacked as it comes, anything else is the Dockerfile.
///
/// # Errors
/// When the server cannot be reached or says no, and as [`unpack`].
pub fn download(engine: &Engine<'_>, progress: &Progress<'_>, url: &str) -> Result<Arrived, BuildError> {
    let name = shown(url);
    let task = progress.start(format!("[context] load {name}"));
    let span = engine.trace().span("fetch", &[]);
    let failed = |error| stream_error(format!("cannot download `{name}`"), error);
    let (mut stream, _) = open(engine, &task, url, LOGIN)?;
    let mut head = Vec::new();
    let began = stream.by_ref().take(archive::HEAD as u64).read_to_end(&mut head);
    check_cancelled(engine)?;
    began.map_err(failed)?;
    let whole = Cursor::new(head.clone()).chain(stream);
    let arrived = if archive::begins(&head) {
        Arrived::Files(unpack_stream(engine, whole, &name, &task)?)
    } else {
        let mut text = Vec::new();
        let read = whole.take(SourceFile::MAX_BYTES as u64 + 1).read_to_end(&mut text);
        check_cancelled(engine)?;
        read.map_err(failed)?;
        if text.len() > SourceFile::MAX_BYTES {
            let limit = SourceFile::MAX_BYTES;
            return Err(BuildError::user(format!(
                "`{name}` is no archive, and for a Dockerfile it is too long: it has more than {limit} bytes"
            ))
            .with_hint("an archive is a tar, as it is or compressed by gzip, bzip2, xz or zstd".to_owned()));
        }
        Arrived::Dockerfile(text)
    };
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(arrived)
}

/// Downloads a Dockerfile.
///
/// # Errors
/// When the server cannot be reached or says no, or what it sends is too long.
pub fn download_text(engine: &Engine<'_>, progress: &Progress<'_>, url: &str) -> Result<Vec<u8>, BuildError> {
    let name = shown(url);
    let task = progress.start(format!("[internal] load {name}"));
    let span = engine.trace().span("fetch", &[]);
    let mut text = Vec::new();
    let (stream, _) = open(engine, &task, url, LOGIN)?;
    let read = stream.take(SourceFile::MAX_BYTES as u64 + 1).read_to_end(&mut text);
    check_cancelled(engine)?;
    read.map_err(|error| stream_error(format!("cannot download `{name}`"), error))?;
    drop(span);
    task.finish(Outcome::Done, None, None);
    Ok(text)
}

/// Downloads what a named context's URL has: one file `context`, whatever it is, as BuildKit has it.
pub(crate) fn download_file(
    engine: &Engine<'_>,
    progress: &Progress<'_>,
    context: &str,
    url: &str,
) -> Result<Fetched, BuildError> {
    let name = shown(url);
    let task = progress.start(format!("[context {context}] load {name}"));
    let fetched = Fetched::empty(engine)?;
    let unwritten = |e: io::Error| BuildError::internal("cannot write to the store").because(e);
    let dir = Dir::open(fetched.path()).map_err(unwritten)?;
    let mut file = dir.make_file(OsStr::new(FILE)).map_err(unwritten)?;
    let (_, modified) = download_into(engine, &task, url, LOGIN, &mut file)?;
    let seconds = modified.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
    dir.set_mtime(OsStr::new(FILE), Time { seconds, nanoseconds: 0 }).map_err(unwritten)?;
    task.finish(Outcome::Done, None, None);
    Ok(fetched)
}

/// Downloads what is behind a URL into a file of the store. Gives its digest, and when the server says that it was last
/// modified, in seconds since 1970. `login` is what to do where it lets nobody in without one.
pub(crate) fn download_into(
    engine: &Engine<'_>,
    task: &Task<'_>,
    url: &str,
    login: &str,
    file: &mut File,
) -> Result<(Digest, Option<u64>), BuildError> {
    let _span = engine.trace().span("fetch", &[]);
    let (mut stream, modified) = open(engine, task, url, login)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer);
        check_cancelled(engine)?;
        let failed = |error| stream_error(format!("cannot download `{}`", shown(url)), error);
        let read = read.map_err(failed)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        digester.update(bytes);
        file.write_all(bytes).map_err(|e| BuildError::internal("cannot write to the store").because(e))?;
    }
    task.transfer(label(url), Action::Pull, digester.size(), Some(digester.size()));
    Ok((digester.finish(), modified))
}

/// The name of a download in progress.
fn label(url: &str) -> Digest {
    Digest::of(shown(url).as_bytes())
}

/// What a server gives for a URL, and when that was last modified.
fn open<'a>(
    engine: &'a Engine<'a>,
    task: &'a Task<'a>,
    url: &str,
    login: &str,
) -> Result<(Watched<'a, Download>, Option<u64>), BuildError> {
    let download = engine.registry.download(url, Some(archive::MAX_BYTES));
    let download = download.map_err(|error| refused_download(&shown(url), error, login))?;
    let (size, modified) = (download.head().size, download.head().last_modified);
    Ok((Watched::new(engine, task, download, label(url), size), modified))
}

fn unpack_stream(
    engine: &Engine<'_>,
    stream: impl Read + Send,
    name: &str,
    task: &Task<'_>,
) -> Result<Fetched, BuildError> {
    let fetched = Fetched::empty(engine)?;
    let unpacked = unpack_context(stream, fetched.path());
    check_cancelled(engine)?;
    unpacked.map_err(|error| refused(error, name))?;
    note_rules(task, fetched.path(), "archive");
    Ok(fetched)
}

/// Of a server that lets nobody in without a login.
const LOGIN: &str = "a user and a password may be in the URL: `https://USER:PASSWORD@HOST/…`";

/// What a server that is no registry said instead of giving the file.
fn refused_download(name: &str, error: orlop_registry_client::Error, login: &str) -> BuildError {
    let hint = download_hint(&error, login);
    let failed = registry_error(format!("cannot download `{name}`"), error);
    BuildError { hint, ..failed }
}

/// What to do about a file that does not come from a server that is no registry, whose errors' own hints are for
/// registries. `login` is for one that lets nobody in without.
fn download_hint(error: &orlop_registry_client::Error, login: &str) -> Option<String> {
    match (error.status(), error.transport_kind()) {
        (Some(401 | 403), _) => Some(login.to_owned()),
        (Some(404 | 410), _) => Some("look at the URL: the server has nothing there".to_owned()),
        (_, Some(TransportKind::Refused)) => {
            Some("nothing listens there: look at the URL's host and port".to_owned())
        }
        (_, Some(TransportKind::Resolve)) | (None, None) => error.hint(),
        _ => None,
    }
}

/// An archive that cannot be a context.
fn refused(error: ArchiveError, name: &str) -> BuildError {
    let hint = error.hint().or_else(|| {
        matches!(error, ArchiveError::Read(_)).then(|| {
            "a context is a tar, as it is or compressed by gzip, bzip2, xz or zstd; a text is a Dockerfile".to_owned()
        })
    });
    BuildError::user(format!("cannot unpack the context from {name}")).because(error).with_hint(hint)
}

/// Says that what `dir` has of rules, from an archive or a repository, is not followed: of a context that is no directory
/// of this machine BuildKit has it so, and so has Docker ever had it.
pub(super) fn note_rules(task: &Task<'_>, dir: &Path, what: &str) {
    let meta = Dir::open(dir).and_then(|dir| dir.stat(OsStr::new(".dockerignore")));
    if meta.is_ok_and(|meta| !meta.is_dir()) {
        task.note(format!(
            "the `.dockerignore` in the {what} leaves nothing out: `--ignorefile` names one that does"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["http://h", "HTTPS://h/x", "Http://"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["", "://h", "http:/h", "httpx://h", "ftp://h", "a/http://h", " http://h"] {
            assert!(!is_url(path), "{path}");
        }
    }

    #[test]
    fn what_a_url_keeps_to_itself_is_not_shown() {
        for (url, text) in [
            ("https://user:secret@example.com/a.tar.gz?token=secret#x", "https://example.com/a.tar.gz"),
            ("http://127.0.0.1:80/x", "http://127.0.0.1/x"),
            ("https://:secret@", "the URL"),
        ] {
            assert_eq!(shown(url), text);
        }
    }
}
