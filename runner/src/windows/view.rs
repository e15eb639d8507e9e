//! How a job sees its root, and where a path of the image is on the host.
//!
//! There is no `chroot`: `C:` stays the host's. A job starts in its root by working directory, `%ORLOP_ROOT%` names
//! it, and what the caller says of `C:\…` is put in terms of it here. The text of a command is never touched.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf, Prefix};

use super::directories;
use super::environment::{self, Places};
use super::identity::Prepared;
use super::placements::Placements;
use super::program::Search;
use super::step::setup;
use crate::{Account, RunError, RunSpec, SpecError};

/// The longest working directory that a process can be started in.
const LONGEST_CWD: usize = 258;

/// How the job sees its root: where it starts, and what its environment says.
pub(super) struct View {
    pub(super) cwd: PathBuf,
    pub(super) environment: Vec<(OsString, OsString)>,
    windows: PathBuf,
    system: PathBuf,
    pub(super) processors: u32,
    pub(super) told: String,
}

impl View {
    pub(super) fn new(
        spec: &RunSpec,
        root: &Path,
        temporary: &Path,
        placements: &mut Placements,
    ) -> Result<Self, RunError> {
        let cwd = inside(root, "the working directory", &spec.cwd)?;
        let step = format!("enter the working directory `{}`", spec.cwd.display());
        if !cwd.is_dir() {
            let source = io::ErrorKind::NotFound.into();
            return Err(RunError::Setup { step, source, hint: Some("create it with WORKDIR".into()) });
        }
        if cwd.as_os_str().encode_wide().count() > LONGEST_CWD {
            let source = io::Error::other(format!("`{}` is longer than Windows takes there", cwd.display()));
            return Err(RunError::Setup { step, source, hint: Some("choose a shorter `--root`".into()) });
        }
        let (windows, system) = directories().map_err(setup("find the host's Windows directory"))?;
        let account = match spec.windows.account {
            Account::Administrator => "ContainerAdministrator",
            Account::User => "ContainerUser",
        };
        let profile = root.join("Users").join(account);
        for part in [r"AppData\Local", r"AppData\Roaming"] {
            placements.directory(&profile.join(part))?;
        }
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let places = Places {
            root,
            temporary,
            profile: &profile,
            account,
            windows: &windows,
            system: &system,
            processors,
        };
        let environment = environment::merge(&places, &spec.env);
        let told = format!(
            "working directory `{}`; `%ORLOP_ROOT%` is `{}`; `C:\\` is the host's",
            cwd.display(),
            root.display()
        );
        Ok(Self { cwd, environment, windows, system, processors, told })
    }

    /// Puts it on the letter that the root is on, or says why it is on none.
    fn on_letter(&self, root: &Path, letter: &Result<char, &str>) -> Seen {
        let letter = match letter {
            Ok(letter) => *letter,
            Err(why) => {
                let told = format!("{}; on no drive letter: {why}", self.told);
                return Seen { cwd: self.cwd.clone(), environment: self.environment.clone(), told };
            }
        };
        let cwd = on_letter(letter, root, &self.cwd);
        let told = format!(
            "working directory `{}`; `{letter}:` is the root, for this step only, and `%ORLOP_DRIVE%` says so; \
             `%ORLOP_ROOT%` is `{}`; `C:\\` is the host's",
            cwd.display(),
            root.display()
        );
        Seen { cwd, environment: environment::with_letter(&self.environment, letter), told }
    }

    pub(super) fn seen(&self, root: &Path, prepared: &Prepared) -> Seen {
        match &prepared.letter {
            None => {
                let Self { cwd, environment, told, .. } = self;
                Seen { cwd: cwd.clone(), environment: environment.clone(), told: told.clone() }
            }
            Some(letter) => {
                let letter = letter.as_ref().map(|letter| letter.letter()).map_err(String::as_str);
                self.on_letter(root, &letter)
            }
        }
    }

    pub(super) fn search<'a>(&'a self, root: &'a Path) -> Search<'a> {
        let (windows, system) = (&self.windows, &self.system);
        Search { root, cwd: &self.cwd, windows, system, environment: &self.environment }
    }
}

/// A view with what is known of its letter.
pub(super) struct Seen {
    pub(super) cwd: PathBuf,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) told: String,
}

/// The root as the job's programs can name it: without `\\?\`, which `cmd` does not take as a working directory.
pub(super) fn plain(root: &Path) -> PathBuf {
    let mut components = root.components();
    let Some(Component::Prefix(prefix)) = components.next() else { return root.to_owned() };
    let drive = match prefix.kind() {
        Prefix::VerbatimDisk(letter) => format!("{}:\\", char::from(letter)),
        Prefix::VerbatimUNC(server, share) => {
            let mut path = OsString::from(r"\\");
            path.push(server);
            path.push(r"\");
            path.push(share);
            path.push(r"\");
            return rest(PathBuf::from(path), components);
        }
        _ => return root.to_owned(),
    };
    rest(PathBuf::from(drive), components)
}

fn rest(mut path: PathBuf, components: std::path::Components<'_>) -> PathBuf {
    components.filter(|component| !matches!(component, Component::RootDir)).for_each(|part| path.push(part));
    path
}

/// A directory of the root on the letter that the root has.
pub(super) fn on_letter(letter: char, root: &Path, directory: &Path) -> PathBuf {
    let top = PathBuf::from(format!("{letter}:\\"));
    match directory.strip_prefix(root) {
        Ok(below) => top.join(below),
        Err(_) => directory.to_owned(),
    }
}

/// A path of the image below the root: `C:\app`, `\app` and `/app` are the same. `..` does not lead out.
///
/// # Errors
/// [`SpecError::RelativePath`] for one that is relative, on another drive or the network, or that holds a name that
/// is none (a stream's, a device's).
pub(super) fn inside(root: &Path, what: &'static str, path: &Path) -> Result<PathBuf, SpecError> {
    let error = || SpecError::RelativePath { what, path: path.to_owned() };
    // Already the host's: below the root itself.
    let path = match path.strip_prefix(root) {
        Ok(below) => Path::new(r"\").join(below),
        Err(_) => path.to_owned(),
    };
    let mut parts: Vec<&OsStr> = Vec::new();
    let mut rooted = false;
    for component in path.components() {
        match component {
            Component::Prefix(prefix) => match prefix.kind() {
                Prefix::Disk(letter) if letter.eq_ignore_ascii_case(&b'c') => {}
                _ => return Err(error()),
            },
            Component::RootDir => rooted = true,
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name),
        }
    }
    if !rooted || !parts.iter().all(|name| ordinary(name)) {
        return Err(error());
    }
    Ok(parts.iter().fold(root.to_owned(), |path, part| path.join(part)))
}

/// Whether a name can be a file's without the long form: no stream, no device, nothing that would be stripped.
fn ordinary(name: &OsStr) -> bool {
    let Some(text) = name.to_str() else { return true };
    let stem = text.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|number| {
            let mut chars = number.chars();
            matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
    };
    let device = matches!(stem.as_str(), "CON" | "NUL" | "PRN" | "AUX" | "CONIN$" | "CONOUT$");
    let odd = |c: char| c < ' ' || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*');
    !text.is_empty()
        && !text.contains(odd)
        && !text.ends_with(['.', ' '])
        && !device
        && !numbered("COM")
        && !numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_named_without_the_long_form() {
        let shown = |text: &str| plain(Path::new(text)).into_os_string().into_string().expect("plain text");
        assert_eq!(shown(r"\\?\D:\a b\root"), r"D:\a b\root");
        assert_eq!(shown(r"D:\a\root"), r"D:\a\root");
        assert_eq!(shown(r"\\?\UNC\server\share\root"), r"\\server\share\root");
        assert_eq!(shown(r"\\?\Volume{1}\root"), r"\\?\Volume{1}\root");
    }

    #[test]
    fn what_is_in_the_root_is_on_its_letter() {
        let root = Path::new(r"D:\work\root");
        for (directory, expected) in [
            (r"D:\work\root", r"Z:\"),
            (r"D:\work\root\app\x", r"Z:\app\x"),
            (r"D:\work\rootless", r"D:\work\rootless"),
        ] {
            assert_eq!(on_letter('Z', root, Path::new(directory)).as_os_str(), expected, "{directory}");
        }
    }

    #[test]
    fn paths_of_the_image_stay_in_the_root() {
        let root = Path::new(r"D:\work\root");
        let at = |text: &str| inside(root, "the path", Path::new(text));
        for (text, expected) in [
            (r"C:\", r"D:\work\root"),
            ("/", r"D:\work\root"),
            (r"c:\app\x", r"D:\work\root\app\x"),
            ("/app/x", r"D:\work\root\app\x"),
            (r"\app\.\x\", r"D:\work\root\app\x"),
            (r"C:\a\..\..\..\b", r"D:\work\root\b"),
            (r"D:\work\root\app", r"D:\work\root\app"),
            (r"C:\common", r"D:\work\root\common"),
            (r"C:\com", r"D:\work\root\com"),
        ] {
            assert_eq!(at(text), Ok(expected.into()), "{text}");
        }
        for bad in [
            "",
            "app",
            r"C:app",
            r"D:\x",
            r"\\server\share\x",
            r"\\?\C:\x",
            r"C:\a:b",
            r"C:\nul",
            r"C:\NUL.txt\x",
            r"C:\com1",
            r"C:\a.\b",
            r"C:\a \b",
            r"\\.\pipe\x",
            r"C:\a*",
            "/a/lpt9.log",
            r"D:\work\rootless",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
