//! Every environment variable that orlop reads, with its meaning. `orlop --help` and the README are
//! made from this table; nothing else in the program may call `std::env::var`.

#![expect(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::ffi::OsString;

/// A variable that orlop reads.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, one or two lines.
    pub(crate) doc: &'static str,
}

impl Variable {
    /// Its value; one that is empty counts as not set.
    pub(crate) fn get(&self) -> Option<OsString> {
        std::env::var_os(self.name).filter(|value| !value.is_empty())
    }

    /// Its value where that is text.
    pub(crate) fn text(&self) -> Option<String> {
        self.get().and_then(|value| value.into_string().ok())
    }
}

macro_rules! variables {
    ($($constant:ident $name:literal: $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub(crate) const $constant: Variable = Variable { name: $name, doc: $doc };
        )*
        /// All of them, in the order of the manual.
        pub(crate) const ALL: &[Variable] = &[$($constant),*];
    };
}

variables! {
    ORLOP_ROOT "ORLOP_ROOT": "The store's directory, where `--root` is not given.";
    ORLOP_PROGRESS "ORLOP_PROGRESS": "How progress is shown, where `--progress` is not given.";
    ORLOP_CONFIG "ORLOP_CONFIG": "The configuration file that is read instead of the user's and the system's `orlop/config.toml`.";
    ORLOP_ISOLATION "ORLOP_ISOLATION": "How RUN steps are confined, where `--isolation` is not given.";
    XDG_DATA_HOME "XDG_DATA_HOME": "The store of users other than root is `orlop` in here (otherwise in `~/.local/share`).";
    XDG_CONFIG_HOME "XDG_CONFIG_HOME": "`orlop/config.toml` and `containers/registries.conf` are read from here (otherwise from `~/.config`, on Windows from `APPDATA`).";
    XDG_RUNTIME_DIR "XDG_RUNTIME_DIR": "Credentials of `podman login` are in `containers/auth.json` in here (otherwise in `/run/containers/UID/auth.json`).";
    HOME "HOME": "Where `~` is.";
    DOCKER_CONFIG "DOCKER_CONFIG": "The directory of Docker's `config.json` with credentials (otherwise `~/.docker`); `orlop login` writes them there.";
    REGISTRY_AUTH_FILE "REGISTRY_AUTH_FILE": "A file of credentials that is read and written instead of all others, as podman and buildah do; `--authfile` comes before it.";
    CONTAINERS_REGISTRIES_CONF "CONTAINERS_REGISTRIES_CONF": "The `registries.conf` that is read instead of the user's and the system's.";
    SSL_CERT_FILE "SSL_CERT_FILE": "A file of certificates of authorities that are trusted instead of the system's, as OpenSSL and Go have it.";
    SSL_CERT_DIR "SSL_CERT_DIR": "Directories of such files (`*.crt`, `*.pem`), with `:` between them.";
    HTTPS_PROXY "HTTPS_PROXY": "The proxy for registries over HTTPS; the lower-case name counts as well.";
    HTTP_PROXY "HTTP_PROXY": "The proxy for registries over HTTP, lower case only (`http_proxy`).";
    ALL_PROXY "ALL_PROXY": "The proxy where the two above name none; the lower-case name counts as well.";
    NO_PROXY "NO_PROXY": "Hosts that are reached without a proxy; the lower-case name counts as well.";
    SOURCE_DATE_EPOCH "SOURCE_DATE_EPOCH": "Seconds since 1970: the time of creation in a built image's config and history. Also given to the build as a build argument, where it is not set by `--build-arg`.";
    USERPROFILE "USERPROFILE": "Windows: where `~` is.";
    APPDATA "APPDATA": "Windows: the user's configuration files are in here.";
    LOCALAPPDATA "LOCALAPPDATA": "Windows: the store is `orlop` in here.";
    PROGRAMDATA "ProgramData": "Windows: the machine's configuration files are in here (otherwise in `C:\\ProgramData`), and the store of a service that runs as the system.";
    SSH_AUTH_SOCK "SSH_AUTH_SOCK": "The agent's socket that `--ssh default` offers to RUN steps, and that a context over ssh is fetched with.";
    NO_COLOR "NO_COLOR": "Set to anything: no colours.";
    TERM "TERM": "`dumb`: no live display, no colours.";
    PATH "PATH": "Where `git`, credential helpers (`docker-credential-*`), `newuidmap` and `newgidmap` are found.";
}

/// A proxy's variable: the lower-case name before the other one, as curl does.
pub(crate) fn either_case(variable: &Variable) -> Option<String> {
    lower_case(variable).or_else(|| variable.text())
}

/// A proxy's variable by its lower-case name alone.
pub(crate) fn lower_case(variable: &Variable) -> Option<String> {
    std::env::var(variable.name.to_ascii_lowercase()).ok().filter(|value| !value.is_empty())
}

/// What git gets of the environment: where programs are, and proxies. Nothing that configures git itself.
#[cfg(unix)]
pub(crate) fn for_git() -> Vec<(OsString, OsString)> {
    let proxies = [
        ("http_proxy", lower_case(&HTTP_PROXY)),
        ("https_proxy", either_case(&HTTPS_PROXY)),
        ("all_proxy", either_case(&ALL_PROXY)),
        ("no_proxy", either_case(&NO_PROXY)),
    ];
    let proxies = proxies.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
    PATH.get().map(|path| ("PATH".into(), path)).into_iter().chain(proxies).collect()
}

/// What git gets of the environment: all, as programs of Windows do not start without much of it, but nothing that
/// configures git itself.
#[cfg(windows)]
pub(crate) fn for_git() -> Vec<(OsString, OsString)> {
    let own = |name: &str| {
        let name = name.to_ascii_uppercase();
        name.starts_with("GIT_") || name.starts_with("SSH_") || name == "HOME" || name == "XDG_CONFIG_HOME"
    };
    std::env::vars_os().filter(|(name, _)| !own(&name.to_string_lossy())).collect()
}

/// Reads any variable that the user names in `--build-arg NAME` or `--secret env=NAME`.
pub(crate) fn named_by_user(name: &str) -> Option<OsString> {
    // The standard library panics on names that no variable can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var_os(name)
}

/// The section of `orlop --help`.
pub(crate) fn help() -> String {
    let mut out = String::from("Environment:\n");
    let width = ALL.iter().map(|v| v.name.len()).max().unwrap_or(0);
    for Variable { name, doc } in ALL {
        let mut line = format!("  {name:width$} ");
        let mut column = line.len();
        let indent = column;
        for word in doc.split(' ') {
            if column + 1 + word.len() > 80 && column > indent {
                line.push('\n');
                line.push_str(&" ".repeat(indent));
                column = indent;
            }
            line.push(' ');
            line.push_str(word);
            column += 1 + word.len();
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_variable_once_and_fits_eighty_columns() {
        let help = help();
        for variable in ALL {
            let lines = help.lines().filter(|l| l.trim_start().starts_with(variable.name)).count();
            assert!(lines >= 1, "{}", variable.name);
            assert!(variable.doc.ends_with('.'), "{}", variable.name);
        }
        assert!(help.lines().all(|l| l.chars().count() <= 80), "{help}");
    }

    #[test]
    fn the_readme_has_the_table() {
        let table: String = ALL.iter().map(|v| format!("| `{}` | {} |\n", v.name, v.doc)).collect();
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(&table), "put this into README.md:\n{table}");
    }

    #[test]
    fn a_name_that_no_variable_can_have_is_not_set() {
        for name in ["", "A=B", "A\0"] {
            assert_eq!(named_by_user(name), None);
        }
    }
}
