//! Which file a command is, and which command line it takes.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

use super::{command_line, environment, view};
use crate::{RunSpec, SpecError};

/// Where programs may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    /// The job's root.
    pub(super) root: &'a Path,
    /// Its working directory, on the host.
    pub(super) cwd: &'a Path,
    /// The host's Windows directory.
    pub(super) windows: &'a Path,
    /// The host's `System32`.
    pub(super) system: &'a Path,
    /// The job's environment, complete.
    pub(super) environment: &'a [(OsString, OsString)],
}

/// A program and its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// The file that the system starts.
    pub(super) path: PathBuf,
    /// Its command line, with the final zero.
    pub(super) line: Vec<u16>,
}

/// A command that cannot be run, as a shell tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// 127 where there is no such command, 126 where it is none.
    pub(super) code: i32,
    /// The line for stderr.
    pub(super) message: String,
}

impl Refused {
    fn new(code: i32, name: &OsStr, why: &str) -> Self {
        Self { code, message: format!("orlop: {}: {why}\n", name.to_string_lossy()) }
    }
}

/// Finds the command of `spec` and builds its command line.
///
/// # Errors
/// [`SpecError`] for arguments that no command line can hold; inside it is [`Refused`].
pub(super) fn find(spec: &RunSpec, search: &Search<'_>) -> Result<Result<Program, Refused>, SpecError> {
    let Some(name) = spec.args.first() else { return Err(SpecError::NoCommand) };
    let path = match locate(name, search) {
        Ok(path) => path,
        Err(refused) => return Ok(Err(refused)),
    };
    let is_batch =
        ["bat", "cmd"].iter().any(|kind| extension(&path).is_some_and(|own| own.eq_ignore_ascii_case(kind)));
    let (path, line) = if is_batch {
        let cmd = search.system.join("cmd.exe");
        let line = match spec.raw_tail {
            Some(_) => Err(command_line::Unquotable::TailAfterBatch),
            None => command_line::batch(cmd.as_os_str(), path.as_os_str(), &spec.args[1..]),
        };
        (cmd, line)
    } else {
        (path, command_line::program(&spec.args, spec.raw_tail.as_deref()))
    };
    Ok(match line {
        Ok(line) => Ok(Program { path, line }),
        Err(why) => Err(Refused::new(126, name, why.why())),
    })
}

/// What a failed start means for the command, where it is the command's fault.
pub(super) fn refusal(code: u32, name: &OsStr) -> Option<Refused> {
    let why = match code {
        2 | 3 => return Some(Refused::new(127, name, "not found")),
        5 => "permission denied",
        193 | 216 | 129 | 188 | 191 | 192 => "not a program for this system",
        14001 => "a library or a manifest that it needs is missing",
        740 => "it asks for administrator rights, and no step has them",
        _ => return None,
    };
    Some(Refused::new(126, name, why))
}

/// What an exit code says that the system itself gave, in words: nobody knows these by heart.
pub(super) fn died(code: u32) -> Option<String> {
    let why = match code {
        0xc000_0005 => "it used memory that is not its own",
        0xc000_001d => "it has an instruction that this processor does not know",
        0xc000_0022 => "a library that it needs is closed to the step",
        0xc000_007b => "a library that it needs is for another processor",
        0xc000_00fd => "its stack was full",
        0xc000_0135 => "a library that it needs is not there",
        0xc000_0139 => "a library that it needs is another version's",
        0xc000_0142 => "a library that it needs did not start, as where it finds no desktop that it may use",
        0xc000_0374 => "its heap was damaged",
        0xc000_0409 => "it ended itself because it found itself damaged",
        _ => return None,
    };
    Some(format!("exit code {code:#x}: {why}"))
}

fn locate(name: &OsStr, search: &Search<'_>) -> Result<PathBuf, Refused> {
    let path = Path::new(name);
    let bare = path.components().count() == 1
        && matches!(path.components().next(), Some(Component::Normal(_)))
        && !name.as_encoded_bytes().iter().any(|byte| matches!(byte, b'/' | b'\\' | b':'));
    if !bare {
        let file = named(path, search).and_then(|path| with_extension(&path, search));
        return file.unwrap_or_else(|| Err(Refused::new(127, name, "not found")));
    }
    // The system's own order, with the job's working directory in place of orlop's.
    let path = environment::value(search.environment, "PATH").unwrap_or_default();
    let entries = std::env::split_paths(path).filter_map(|entry| directory(&entry, search));
    let directories = [search.cwd, search.system, search.windows].map(Path::to_owned);
    let mut refused = None;
    for directory in directories.into_iter().chain(entries) {
        match with_extension(&directory.join(name), search) {
            Some(Ok(path)) => return Ok(path),
            Some(Err(error)) => refused = refused.or(Some(error)),
            None => {}
        }
    }
    Err(refused.unwrap_or_else(|| Refused::new(127, name, "command not found")))
}

/// A command with a directory: in the root, or the host's where it is the system's own.
fn named(path: &Path, search: &Search<'_>) -> Option<PathBuf> {
    if path.is_absolute() || path.has_root() {
        return directory(path, search);
    }
    match path.components().next() {
        // `C:x` has no fixed place.
        Some(Component::Prefix(_)) => None,
        _ => Some(search.cwd.join(path)),
    }
}

/// An absolute path as the job means it: one in the root, one of the host's system directory (which the image has
/// not), else a path of the image.
fn directory(path: &Path, search: &Search<'_>) -> Option<PathBuf> {
    if !path.has_root() {
        return None;
    }
    let in_system = path
        .components()
        .zip(search.windows.components())
        .filter(|(one, other)| one.as_os_str().eq_ignore_ascii_case(other.as_os_str()));
    if in_system.count() == search.windows.components().count() {
        return Some(path.to_owned());
    }
    view::inside(search.root, "the command", path).ok()
}

/// The file itself, or with one of the extensions that the environment names.
fn with_extension(path: &Path, search: &Search<'_>) -> Option<Result<PathBuf, Refused>> {
    let extensions = environment::value(search.environment, "PATHEXT").unwrap_or_default().to_string_lossy();
    let known: Vec<&str> =
        extensions.split(';').map(str::trim).filter(|known| known.starts_with('.')).collect();
    let own = extension(path).map(|own| format!(".{own}"));
    let executable = own.is_some_and(|own| {
        own.eq_ignore_ascii_case(".exe") || known.iter().any(|known| known.eq_ignore_ascii_case(&own))
    });
    let mut found = None;
    if file(path).is_some() {
        if executable {
            return Some(startable(path));
        }
        found = Some(Err(Refused::new(
            126,
            path.file_name()?,
            "not a program: its name has no extension of `PATHEXT`",
        )));
    }
    for extension in known {
        let mut longer = path.as_os_str().to_owned();
        longer.push(extension);
        let longer = PathBuf::from(longer);
        if file(&longer).is_some() {
            return Some(startable(&longer));
        }
    }
    found
}

/// Programs and batch files can be started; what else `PATHEXT` names is for a shell to open.
fn startable(path: &Path) -> Result<PathBuf, Refused> {
    let kinds = ["exe", "com", "bat", "cmd"];
    let own = extension(path).unwrap_or_default();
    if kinds.iter().any(|kind| own.eq_ignore_ascii_case(kind)) {
        return Ok(path.to_owned());
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    Err(Refused::new(126, name, "not a program or batch file: start it with its interpreter"))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().into_owned())
}

fn file(path: &Path) -> Option<Metadata> {
    std::fs::metadata(path).ok().filter(Metadata::is_file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn codes_of_the_system_are_told_in_words() {
        let told = died(0xc000_0135).expect("a code of the system's");
        assert_eq!(told, "exit code 0xc0000135: a library that it needs is not there");
        assert!([0, 1, 137, u32::MAX].iter().all(|code| died(*code).is_none()));
    }

    #[test]
    fn commands_are_found_as_the_system_would() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().canonicalize().map(|path| view::plain(&path)).expect("it is there");
        let (root, windows) = (base.join("root"), base.join("Windows"));
        let system = windows.join("System32");
        for path in [
            "Windows/System32/cmd.exe",
            "Windows/System32/find.exe",
            "root/bin/find.exe",
            "root/bin/tool.exe",
            "root/bin/script.cmd",
            "root/bin/data.txt",
            "root/bin/page.js",
            "root/app/here.exe",
        ] {
            fs::create_dir_all(base.join(path).parent().expect("it has one")).expect("mkdir");
            fs::write(base.join(path), "").expect("write");
        }
        let environment = [("path", root.join("bin").into_os_string()), ("PathExt", ".EXE;.CMD;.JS".into())]
            .map(|(name, value)| (OsString::from(name), value));
        let cwd = root.join("app");
        let search =
            Search { root: &root, cwd: &cwd, windows: &windows, system: &system, environment: &environment };
        let find = |name: &str| {
            let spec = RunSpec::new(&root, [name, "a b"]);
            find(&spec, &search).expect("a command line")
        };
        let path = |name: &str| find(name).map(|program| program.path);
        assert_eq!(path("cmd"), Ok(system.join("cmd.EXE")));
        assert_eq!(path("FIND.exe"), Ok(system.join("FIND.exe")), "the system's before PATH's");
        assert_eq!(path("tool"), Ok(root.join("bin").join("tool.EXE")));
        assert_eq!(path("here"), Ok(cwd.join("here.EXE")));
        assert_eq!(path(r"..\bin\tool.exe"), Ok(cwd.join(r"..\bin\tool.exe")));
        assert_eq!(path(r"C:\bin\tool.exe"), Ok(root.join(r"bin\tool.exe")));
        assert_eq!(path("/bin/tool"), Ok(root.join(r"bin\tool.EXE")));
        let own = system.join("cmd.exe");
        assert_eq!(path(own.to_str().expect("plain")), Ok(own.clone()));
        let batch = find("script").expect("found");
        assert_eq!(batch.path, own);
        assert!(command_line::shown(&batch.line).ends_with(r#"script.CMD" "a b"""#));
        for (name, code, message) in [
            ("nosuch", 127, "orlop: nosuch: command not found\n"),
            (r"C:\bin\nosuch.exe", 127, "orlop: C:\\bin\\nosuch.exe: not found\n"),
            (r"D:\bin\tool.exe", 127, "orlop: D:\\bin\\tool.exe: not found\n"),
            ("C:tool.exe", 127, "orlop: C:tool.exe: not found\n"),
            ("data.txt", 126, "orlop: data.txt: not a program: its name has no extension of `PATHEXT`\n"),
            ("page", 126, "orlop: page.JS: not a program or batch file: start it with its interpreter\n"),
        ] {
            assert_eq!(find(name), Err(Refused { code, message: message.into() }), "{name}");
        }
    }
}
