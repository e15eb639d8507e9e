//! Where the user and the system keep what we read and write.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::env;

/// The user's home directory, where there is one.
pub(crate) fn home() -> Option<PathBuf> {
    env::HOME.get().map(PathBuf::from)
}

/// Where the user's configuration files are.
pub(crate) fn user_config() -> Option<PathBuf> {
    env::XDG_CONFIG_HOME.get().map(PathBuf::from).or_else(|| home().map(|home| home.join(".config")))
}

/// Where those of the machine are.
pub(crate) fn system_config() -> PathBuf {
    "/etc".into()
}

/// Docker's own directory of the machine.
pub(crate) fn docker_config() -> PathBuf {
    "/etc/docker".into()
}

/// Where the store is unless somebody says otherwise.
pub(crate) fn store(root: bool) -> Option<PathBuf> {
    if root {
        return Some(Path::new("/var/lib/orlop").to_owned());
    }
    let data = env::XDG_DATA_HOME.get().map(PathBuf::from);
    data.or_else(|| home().map(|home| home.join(".local/share"))).map(|dir| dir.join("orlop"))
}

/// A path as people write it.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What is missing where [`store`] finds no place.
pub(crate) const NO_STORE: &str = "neither XDG_DATA_HOME nor HOME is set";

/// Who runs the program. First called before it may become root of a namespace of its own.
pub(super) fn user() -> u32 {
    static USER: OnceLock<u32> = OnceLock::new();
    *USER.get_or_init(|| rustix::process::getuid().as_raw())
}

/// podman's logins of this session; those that stay are beside its configuration.
pub(crate) fn podman_logins() -> Option<PathBuf> {
    Some(match env::XDG_RUNTIME_DIR.get() {
        Some(dir) => Path::new(&dir).join("containers/auth.json"),
        None => Path::new("/run/containers").join(user().to_string()).join("auth.json"),
    })
}
