//! Where the user and the system keep what we read and write.

use std::path::{Path, PathBuf};

use super::startup::is_system;
use crate::env;

/// The user's home directory, where there is one.
pub(crate) fn home() -> Option<PathBuf> {
    env::USERPROFILE.get().or_else(|| env::HOME.get()).map(PathBuf::from)
}

/// Where the user's configuration files are.
pub(crate) fn user_config() -> Option<PathBuf> {
    env::XDG_CONFIG_HOME.get().or_else(|| env::APPDATA.get()).map(PathBuf::from)
}

/// Where those of the machine are.
pub(crate) fn system_config() -> PathBuf {
    env::PROGRAMDATA.get().map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
}

/// Docker's own directory of the machine.
pub(crate) fn docker_config() -> PathBuf {
    system_config().join("docker")
}

/// Where the store is unless somebody says otherwise: the user's own, also for an administrator, who is the
/// same user with more rights. A service that runs as the system has no user; its store is the machine's.
pub(crate) fn store(_root: bool) -> Option<PathBuf> {
    if is_system() {
        return Some(system_config().join("orlop"));
    }
    let local = env::LOCALAPPDATA.get().map(PathBuf::from);
    local.or_else(|| home().map(|home| home.join("AppData").join("Local"))).map(|dir| dir.join("orlop"))
}

/// A path as people write it: without what makes its long form, `\\?\`.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    match text.strip_prefix(r"\\?\") {
        Some(plain) if plain.as_bytes().get(1) == Some(&b':') => plain.to_owned(),
        _ => text,
    }
}

/// What is missing where [`store`] finds no place.
pub(crate) const NO_STORE: &str = "neither LOCALAPPDATA nor USERPROFILE is set";

/// podman's logins, which it has below the home directory here too.
pub(crate) fn podman_logins() -> Option<PathBuf> {
    home().map(|home| home.join(".config").join("containers").join("auth.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_they_are_written() {
        for (path, plain) in
            [(r"\\?\C:\s", r"C:\s"), (r"C:\s", r"C:\s"), (r"\\?\UNC\host\share", r"\\?\UNC\host\share")]
        {
            assert_eq!(shown(Path::new(path)), plain);
        }
    }
}
