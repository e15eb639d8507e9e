//! What files of the machine and of the user say about registries, as values for the client.

pub(crate) mod logins;
pub(crate) mod settings;

use std::path::{Path, PathBuf};

use orlop_registry_client::{
    Authorities, ClientConfig, FOREIGN_LAYER_HOSTS, HostsConfig, Proxies, RegistriesConf, RetryObserver,
};

use self::logins::LoginFiles;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::system::places;
use crate::{env, file};

/// The most that is read of a configuration file.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// The store's directory: `--root`, the variable, else where such things belong.
pub(crate) fn store_root(global: &Global, root: bool) -> Result<PathBuf, Failure> {
    if let Some(path) = global.root.clone().or_else(|| env::ORLOP_ROOT.get().map(PathBuf::from)) {
        return Ok(path);
    }
    places::store(root).ok_or_else(|| {
        Failure::usage(format!("there is no place for the store: {}", places::NO_STORE))
            .with_hint("name one with `--root DIR`".to_owned())
    })
}

/// Everything that the client is told.
pub(crate) fn client(global: &Global, on_retry: RetryObserver) -> Result<ClientConfig, Failure> {
    let credentials = login_files(global)?.credentials()?;
    Ok(ClientConfig { credentials, ..anonymous(global, on_retry)? })
}

/// The same without anybody's login, and without a look at the files of logins.
pub(crate) fn anonymous(global: &Global, on_retry: RetryObserver) -> Result<ClientConfig, Failure> {
    Ok(ClientConfig { hosts: hosts(global)?, proxies: proxies(), on_retry, ..ClientConfig::default() })
}

/// Where logins are, and in which order they are asked.
pub(crate) fn login_files(global: &Global) -> Result<LoginFiles, Failure> {
    let order = registries()?.credential_helpers().unwrap_or_default().to_vec();
    Ok(LoginFiles::new(global, order))
}

/// What `registries.conf` and the files beside it say.
pub(crate) fn registries() -> Result<RegistriesConf, Failure> {
    let mut registries = RegistriesConf::default();
    for path in registries_files()? {
        if let Some(bytes) = file::read_optional(&path, MAX_FILE)? {
            let name = path.display().to_string();
            let text =
                String::from_utf8(bytes).map_err(|_| Failure::user(format!("`{name}` is not UTF-8")))?;
            registries.add(&name, &text)?;
        }
    }
    Ok(registries)
}

fn hosts(global: &Global) -> Result<HostsConfig, Failure> {
    let registries = registries()?;
    let containers = places::user_config().into_iter().chain([places::system_config()]);
    let certs_dirs = containers
        .map(|dir| dir.join("containers"))
        .chain([places::docker_config()])
        .map(|dir| dir.join("certs.d"))
        .collect();
    let insecure =
        global.insecure_registries.iter().map(|host| host.trim_end_matches('/').to_owned()).collect();
    let foreign = FOREIGN_LAYER_HOSTS.iter().map(|host| (*host).to_owned());
    let foreign = foreign.chain(global.foreign_hosts.iter().cloned()).collect();
    Ok(HostsConfig { insecure, registries, certs_dirs, extra_ca: Authorities::new(authorities), foreign })
}

/// The `registries.conf` that applies, and what is dropped in beside it, in the order of their names
/// (containers-registries.conf.d(5)). A user's own file stands for all that the machine's say.
fn registries_files() -> Result<Vec<PathBuf>, Failure> {
    let system = places::system_config().join("containers");
    let user = places::user_config().map(|dir| dir.join("containers"));
    let named = env::CONTAINERS_REGISTRIES_CONF.get().map(PathBuf::from);
    let own = user.as_ref().map(|dir| dir.join("registries.conf")).filter(|path| path.is_file());
    let (main, dirs) = match (named, own) {
        (Some(path), _) => {
            std::fs::metadata(&path).map_err(|error| Failure::io("open", &path, &error))?;
            (path, vec![Some(system), user])
        }
        (None, Some(path)) => (path, vec![user]),
        (None, None) => (system.join("registries.conf"), vec![Some(system), user]),
    };
    let mut out = vec![main];
    for dir in dirs.into_iter().flatten() {
        out.extend(files_in(&dir.join("registries.conf.d"), &["conf"])?);
    }
    Ok(out)
}

/// Files of a directory with one of the endings, sorted; none where there is no such directory.
fn files_in(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io("list", dir, &error)),
    };
    let mut out = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Failure::io("list", dir, &error))?.path();
        if path.extension().is_some_and(|end| endings.iter().any(|known| end == *known)) {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// Files of certificates of authorities that are trusted as well as the system's.
pub(crate) fn authority_files() -> Result<Vec<PathBuf>, Failure> {
    let mut paths: Vec<PathBuf> = env::SSL_CERT_FILE.get().map(PathBuf::from).into_iter().collect();
    if let Some(dirs) = env::SSL_CERT_DIR.get() {
        for dir in std::env::split_paths(&dirs) {
            paths.extend(files_in(&dir, &["crt", "pem", "cer"])?);
        }
    }
    Ok(paths)
}

fn authorities() -> Result<Vec<Vec<u8>>, String> {
    let files = authority_files().map_err(|failure| failure.to_string())?;
    files.iter().map(|path| file::read(path, MAX_FILE).map_err(|failure| failure.to_string())).collect()
}

fn proxies() -> Proxies {
    let all = env::either_case(&env::ALL_PROXY);
    Proxies {
        // In upper case a web server's clients could set it: CGI turns their `Proxy:` header into it.
        http: env::lower_case(&env::HTTP_PROXY).or_else(|| all.clone()),
        https: env::either_case(&env::HTTPS_PROXY).or(all),
        no_proxy: env::either_case(&env::NO_PROXY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_that_is_named_wins() {
        let global = Global { root: Some("/x".into()), ..Global::default() };
        assert_eq!(store_root(&global, true).unwrap(), Path::new("/x"));
    }

    #[test]
    fn dropped_in_files_come_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> = files_in(dir.path(), &["conf"]).unwrap();
        let names: Vec<_> = names.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert!(files_in(&dir.path().join("none"), &["conf"]).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, "{").unwrap();
        let global = Global { authfile: Some(path.clone()), ..Global::default() };
        let error = LoginFiles::new(&global, Vec::new()).credentials().unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        let global = Global { authfile: Some(dir.path().join("none")), ..Global::default() };
        assert!(LoginFiles::new(&global, Vec::new()).credentials().is_err());
    }
}
