//! What a build reads: its context, its Dockerfile and the ignore file that applies.
//!
//! What is on this machine is read at once; what has to be fetched or unpacked waits for the store.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop_builder::Engine;
use orlop_builder::context::Ignore;
use orlop_builder::context::archive;
use orlop_builder::context::fetch::{self, Arrived, Fetched};
use orlop_builder::context::git::GitReference;
use orlop_builder::event::Progress;
use orlop_builder::request::{BuildRequest, ContextSource};
use orlop_builder::source::SourceFile;

use super::git;
use crate::diagnostics::Failure;
use crate::file;

/// The most that is read of a Dockerfile or an ignore file.
pub(super) const MAX_TEXT: u64 = SourceFile::MAX_BYTES as u64;

/// The names of a Dockerfile that is not named, the first that is there counts. The second is one of Docker's.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

/// What was found.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) dockerfile: Arc<SourceFile>,
    pub(super) ignore: Option<(String, String)>,
    pub(super) context: ContextSource,
}

impl Inputs {
    /// Makes them the build's.
    pub(super) fn give(self, request: &mut BuildRequest) {
        (request.dockerfile, request.ignore, request.context) = (self.dockerfile, self.ignore, self.context);
    }
}

/// What was found, as far as it is here.
pub(super) enum Found {
    /// All of it.
    Ready(Inputs),
    /// The rest has to be fetched.
    Pending(Pending),
}

/// A build that reads something that is not here yet.
pub(super) struct Pending {
    place: Place,
    dockerfile: Wanted,
    ignore: Option<(String, String)>,
}

/// Where a context is.
enum Place {
    Directory(PathBuf),
    /// An archive on standard input.
    Archive(Box<dyn Read + Send>),
    Url(String),
    Git(Box<GitReference>),
}

/// Where a Dockerfile is.
enum Wanted {
    Text(Arc<SourceFile>),
    Url(String),
    /// In the context.
    Inside(Option<PathBuf>),
}

/// Finds everything. `file` and `ignorefile` are relative to the current directory, `context` as well.
pub(super) fn find(context: &Path, file: Option<&Path>, ignorefile: Option<&Path>) -> Result<Found, Failure> {
    let text = context.to_string_lossy();
    if text == "-" {
        return from_stdin(file, ignorefile);
    }
    let place = match git::repository(context)? {
        Some(reference) => Some(Place::Git(Box::new(reference))),
        None if is_url(context) && !context.is_dir() => Some(Place::Url(text.to_string())),
        None => None,
    };
    if let Some(place) = place {
        let dockerfile = place.wanted(file)?;
        return Ok(Found::Pending(Pending { place, dockerfile, ignore: own_rules(ignorefile)? }));
    }
    let metadata =
        std::fs::metadata(context).map_err(|error| Failure::io("use the context", context, &error))?;
    if !metadata.is_dir() {
        return Err(Failure::usage(format!("the context `{text}` is not a directory")).with_hint(
            match is_archive(context) {
                true => format!("build from the archive with `orlop build - < {text}`"),
                false => format!(
                    "build with its directory and name the Dockerfile: `orlop build -f {text} {}`",
                    context
                        .parent()
                        .filter(|dir| !dir.as_os_str().is_empty())
                        .unwrap_or(Path::new("."))
                        .display()
                ),
            },
        ));
    }
    if file.is_some_and(is_url) {
        let place = Place::Directory(context.to_owned());
        let dockerfile = place.wanted(file)?;
        let ignore = rules(context, None, ignorefile)?;
        return Ok(Found::Pending(Pending { place, dockerfile, ignore }));
    }
    let (dockerfile, place) = match file {
        Some(path) if path == Path::new("-") => (parse("-", stdin()?)?, None),
        Some(path) => {
            let bytes = file::read(path, MAX_TEXT).map_err(|error| {
                let inside = context.join(path);
                let meant = (!path.exists() && inside.is_file()).then(|| inside.display().to_string());
                error.with_hint(meant.map(|path| format!("it is in the context: `-f {path}`")))
            })?;
            (parse(&path.to_string_lossy(), bytes)?, Some(path.to_owned()))
        }
        None => {
            let places = NAMES.map(|name| context.join(name));
            let (path, bytes) = first_of(&places)?.ok_or_else(|| no_dockerfile(&format!("`{text}`")))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (parse(&name, bytes)?, Some(path))
        }
    };
    let ignore = rules(context, place.as_deref(), ignorefile)?;
    Ok(Found::Ready(Inputs { dockerfile, ignore, context: ContextSource::Directory(context.to_owned()) }))
}

fn no_dockerfile(context: &str) -> Failure {
    Failure::user(format!("there is no `Dockerfile` in the context {context}"))
        .with_hint("name the file with `-f FILE`".to_owned())
}

/// The ignore file of a directory, where it is no other one.
fn rules(
    context: &Path,
    dockerfile: Option<&Path>,
    ignorefile: Option<&Path>,
) -> Result<Option<(String, String)>, Failure> {
    match own_rules(ignorefile)? {
        Some(own) => Ok(Some(own)),
        None => first_of(&Ignore::candidates(context, dockerfile))?.map(read_rules).transpose(),
    }
}

/// What `--ignorefile` names.
fn own_rules(ignorefile: Option<&Path>) -> Result<Option<(String, String)>, Failure> {
    let read = |path: &Path| read_rules((path.to_owned(), file::read(path, MAX_TEXT)?));
    ignorefile.map(read).transpose()
}

/// The text of an ignore file, and its name.
fn read_rules((path, bytes): (PathBuf, Vec<u8>)) -> Result<(String, String), Failure> {
    let name = path.display().to_string();
    let text = parse(&name, bytes)?.text().to_owned();
    Ok((text, name))
}

/// The `.dockerignore` of a named context: as with BuildKit there is no other one.
pub(super) fn rules_in(directory: &Path) -> Result<Option<(String, String)>, Failure> {
    first_of(&[directory.join(".dockerignore")])?.map(read_rules).transpose()
}

/// `-` as the context: an archive, or a Dockerfile without a context.
fn from_stdin(file: Option<&Path>, ignorefile: Option<&Path>) -> Result<Found, Failure> {
    if file == Some(Path::new("-")) {
        return Err(Failure::usage("standard input cannot be both the context and the Dockerfile")
            .with_hint("name a directory: `orlop build -f - DIR`".to_owned()));
    }
    // Not a lock, which one thread alone could have.
    let mut input = std::io::stdin();
    let mut head = Vec::new();
    let failed = |error: &std::io::Error| Failure::io("read", Path::new("-"), error);
    input.by_ref().take(archive::HEAD as u64).read_to_end(&mut head).map_err(|error| failed(&error))?;
    if archive::begins(&head) {
        let place = Place::Archive(Box::new(Cursor::new(head).chain(input)));
        let dockerfile = place.wanted(file)?;
        return Ok(Found::Pending(Pending { place, dockerfile, ignore: own_rules(ignorefile)? }));
    }
    if let Some(file) = file {
        return Err(Failure::usage(format!(
            "`-f {}` and a Dockerfile on standard input exclude each other",
            file.display()
        )));
    }
    let bytes =
        file::read_limited(Cursor::new(head).chain(input), MAX_TEXT).map_err(|error| failed(&error))?;
    Ok(Found::Ready(Inputs { dockerfile: parse("-", bytes)?, ignore: None, context: ContextSource::Empty }))
}

pub(super) fn stdin() -> Result<Vec<u8>, Failure> {
    file::read_limited(std::io::stdin(), MAX_TEXT)
        .map_err(|error| Failure::io("read", Path::new("-"), &error))
}

/// Whether a file that was named as the context is an archive.
fn is_archive(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        // A pipe could make us wait for ever.
        match file.metadata()?.is_file() {
            true => file.take(archive::HEAD as u64).read_to_end(&mut head),
            false => Ok(0),
        }
    });
    read.is_ok() && archive::begins(&head)
}

/// Whether it is the URL of something to download.
pub(super) fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(fetch::is_url)
}

impl Pending {
    /// Fetches it and completes `request` with it. What is given back keeps it here.
    pub(super) fn load(
        self,
        engine: &Engine<'_>,
        progress: &Progress<'_>,
        request: &mut BuildRequest,
    ) -> Result<Option<Fetched>, Failure> {
        let (inputs, held) = self.fetch(engine, progress, request)?;
        inputs.give(request);
        Ok(held)
    }

    /// Fetches what is not here. The files are gone when what is returned beside the inputs is.
    fn fetch(
        self,
        engine: &Engine<'_>,
        progress: &Progress<'_>,
        request: &BuildRequest,
    ) -> Result<(Inputs, Option<Fetched>), Failure> {
        let (name, whence) = (self.place.name(), self.place.whence());
        let (mut context, mut held, mut text) = (ContextSource::Empty, None, None);
        match self.place {
            Place::Directory(path) => context = ContextSource::Directory(path),
            Place::Archive(stream) => held = Some(fetch::unpack(engine, progress, stream, &name)?),
            Place::Url(url) => match fetch::download(engine, progress, &url)? {
                Arrived::Files(files) => held = Some(files),
                Arrived::Dockerfile(bytes) => text = Some(parse(&name, bytes)?),
            },
            Place::Git(reference) => held = Some(git::load(engine, progress, *reference, request)?),
        }
        if let Some(held) = &held {
            context = ContextSource::Fetched(held.path().to_owned());
        }
        let dockerfile = match (self.dockerfile, text, &held) {
            (Wanted::Inside(None), Some(text), _) => text,
            (_, Some(_), _) => {
                return Err(Failure::user(format!("`{name}` is a Dockerfile, and `-f` names another"))
                    .with_hint("leave one of them out".to_owned()));
            }
            (Wanted::Text(text), ..) => text,
            (Wanted::Url(url), ..) => {
                parse(&fetch::shown(&url), fetch::download_text(engine, progress, &url)?)?
            }
            (Wanted::Inside(path), None, Some(held)) => inside(held, path.as_deref(), &name, whence)?,
            (Wanted::Inside(_), None, None) => return Err(no_dockerfile(&format!("`{name}`"))),
        };
        Ok((Inputs { dockerfile, ignore: self.ignore, context }, held))
    }
}

impl Place {
    /// How messages call it.
    fn name(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Archive(_) => "standard input".to_owned(),
            Self::Url(url) => fetch::shown(url),
            Self::Git(reference) => format!("`{reference}`"),
        }
    }

    /// Where its Dockerfile is. As with Docker a path from the root is one of this machine, and of the archive where
    /// there is one on standard input.
    fn wanted(&self, file: Option<&Path>) -> Result<Wanted, Failure> {
        Ok(match file {
            Some(path) if path == Path::new("-") => Wanted::Text(parse("-", stdin()?)?),
            Some(path) if is_url(path) => Wanted::Url(path.to_string_lossy().into_owned()),
            Some(path) if path.is_absolute() && !matches!(self, Self::Archive(_)) => {
                Wanted::Text(parse(&path.to_string_lossy(), file::read(path, MAX_TEXT)?)?)
            }
            path => Wanted::Inside(path.map(Path::to_owned)),
        })
    }

    /// What it is to whoever looks for a Dockerfile in it.
    fn whence(&self) -> Whence {
        match self {
            Self::Git(_) => Whence::Repository,
            Self::Archive(_) => Whence::Input,
            Self::Directory(_) | Self::Url(_) => Whence::Elsewhere,
        }
    }
}

/// What a Dockerfile is looked for in, as far as that says what else may be meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whence {
    Repository,
    Input,
    Elsewhere,
}

/// The Dockerfile in a context that was fetched.
fn inside(
    held: &Fetched,
    path: Option<&Path>,
    context: &str,
    whence: Whence,
) -> Result<Arc<SourceFile>, Failure> {
    let names: Vec<&Path> = path.map_or_else(|| NAMES.map(Path::new).to_vec(), |path| vec![path]);
    for name in names {
        let read = held.read(name, MAX_TEXT);
        if let Some(bytes) = read.map_err(|error| Failure::io("read", name, &error))? {
            return parse(&name.to_string_lossy(), bytes);
        }
    }
    let hint = match path {
        Some(path) => {
            // What is on standard input has paths of its own, from the root too.
            let own = std::path::absolute(path).ok().filter(|own| own.is_file() && whence != Whence::Input);
            own.map_or("`-f` is a path in the context, which was not on this machine".to_owned(), |own| {
                format!("the file of this machine is `-f {}`", own.display())
            })
        }
        None if whence == Whence::Repository => {
            "name the file with `-f FILE`, or the directory that it is in: `#REF:DIRECTORY`".to_owned()
        }
        // What archives of whole directories and those of hosts of repositories look like.
        None => held.only_directory().map_or("name the file with `-f FILE`".to_owned(), |only| {
            format!(
                "all of the context is in its directory `{0}`: pack what is in it, as `tar -C {0} -c .` does",
                only.display()
            )
        }),
    };
    let file = path.unwrap_or(Path::new(NAMES[0]));
    Err(Failure::user(format!("there is no `{}` in the context from {context}", file.display()))
        .with_hint(hint))
}

/// The first of these files that is there.
fn first_of(paths: &[PathBuf]) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
    for path in paths {
        if let Some(bytes) = file::read_optional(path, MAX_TEXT)? {
            return Ok(Some((path.clone(), bytes)));
        }
    }
    Ok(None)
}

pub(super) fn parse(name: &str, bytes: Vec<u8>) -> Result<Arc<SourceFile>, Failure> {
    let name = if name == "-" { "Dockerfile on standard input" } else { name };
    SourceFile::from_bytes(name, bytes)
        .map(Arc::new)
        .map_err(|error| Failure::user(error.to_string()).with_hint(error.hint()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(context: &Path, file: Option<&Path>, ignorefile: Option<&Path>) -> Result<Inputs, Failure> {
        match find(context, file, ignorefile)? {
            Found::Ready(inputs) => Ok(inputs),
            Found::Pending(_) => panic!("`{}` should be here", context.display()),
        }
    }

    #[test]
    fn the_nearest_dockerfile_and_ignore_file_win() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path();
        assert!(read(context, None, None).unwrap_err().to_string().contains("no `Dockerfile`"));
        fs::write(context.join("Containerfile"), "FROM a").unwrap();
        let found = read(context, None, None).unwrap();
        assert_eq!((found.dockerfile.name(), found.ignore), ("Containerfile", None));
        fs::write(context.join("Dockerfile"), "FROM b").unwrap();
        fs::write(context.join(".dockerignore"), "third").unwrap();
        let found = read(context, None, None).unwrap();
        assert_eq!(found.dockerfile.text(), "FROM b");
        assert_eq!(found.ignore.unwrap().0, "third");
        fs::write(context.join(".containerignore"), "second").unwrap();
        assert_eq!(read(context, None, None).unwrap().ignore.unwrap().0, "second");
        fs::write(context.join("Dockerfile.dockerignore"), "first").unwrap();
        assert_eq!(read(context, None, None).unwrap().ignore.unwrap().0, "first");
        let other = context.join("other");
        fs::write(&other, "FROM c").unwrap();
        let found = read(context, Some(&other), None).unwrap();
        assert_eq!((found.dockerfile.text(), found.ignore.unwrap().0.as_str()), ("FROM c", "second"));
        let found = read(context, None, Some(&other)).unwrap();
        assert_eq!(found.ignore.unwrap().0, "FROM c");
    }

    #[test]
    fn a_dockerfile_that_is_in_the_context_is_shown_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("only.Dockerfile"), "FROM a").unwrap();
        let said = |name: &str| format!("{:?}", read(dir.path(), Some(Path::new(name)), None).unwrap_err());
        assert!(said("only.Dockerfile").contains("it is in the context: `-f "));
        assert!(!said("nosuch.Dockerfile").contains("in the context"));
    }

    #[test]
    fn contexts_that_are_no_directory_are_refused_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Dockerfile");
        fs::write(&file, "FROM a").unwrap();
        let tar = dir.path().join("context.tar");
        fs::write(&tar, orlop_fixtures::tarball::archive(&[])).unwrap();
        for (context, text) in [
            (file.to_str().unwrap(), "orlop build -f "),
            (tar.to_str().unwrap(), "orlop build - < "),
            ("/no/such/dir", "/no/such/dir"),
        ] {
            let error = read(Path::new(context), None, None).unwrap_err();
            assert!(format!("{error:?}").contains(text), "{context}: {error:?}");
        }
    }

    #[test]
    fn what_is_not_on_this_machine_waits() {
        let found = |context: &str| find(Path::new(context), None, None).unwrap();
        let url = found("https://example.com/x.tar.gz");
        assert!(matches!(url, Found::Pending(Pending { place: Place::Url(_), .. })));
        for git in ["https://example.com/x.git#main", "git@example.com:x", "github.com/a/b"] {
            let found = found(git);
            assert!(matches!(found, Found::Pending(Pending { place: Place::Git(_), .. })), "{git}");
        }
        // A directory of that name is nearer.
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dockerfile"), "FROM a").unwrap();
        let found = read(dir.path(), None, None).unwrap();
        // Where names have no case, it is there under the usual one.
        let name = if cfg!(windows) { "Dockerfile" } else { "dockerfile" };
        assert_eq!(found.dockerfile.name(), name);
    }
}
