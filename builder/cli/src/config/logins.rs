//! The files that hold logins: which are read, in which order, and which one a new login goes to.
//!
//! The order is that of podman, buildah and skopeo (containers-auth.json(5)): their own files, then Docker's. A new
//! login goes to Docker's file, which all of them read; only where one of the files before it knows the registry
//! already it goes there, as it would otherwise never be found. Logins for a repository go to containers' file,
//! because Docker knows no such logins.

use std::path::{Path, PathBuf};

use orlop_registry_client::Credentials;
use orlop_registry_client::auth::{LoginTarget, knows};

use super::MAX_FILE;
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::system::places;
use crate::{env, file};

/// Where logins are.
#[derive(Debug)]
pub(crate) struct LoginFiles {
    /// The one file that counts, where one is named by flag or variable.
    only: Option<PathBuf>,
    /// containers' `auth.json`, the one of this session before the one that stays.
    containers: Vec<PathBuf>,
    /// Docker's `config.json`.
    docker: Option<PathBuf>,
    /// What Docker wrote before that. Read, and never written.
    legacy: Option<PathBuf>,
    /// `credential-helpers` of registries.conf: helpers before, after or instead of the files.
    order: Vec<String>,
}

impl LoginFiles {
    /// By flag, variables and the places of this system.
    pub(crate) fn new(global: &Global, order: Vec<String>) -> Self {
        let only = global.authfile.clone().or_else(|| env::REGISTRY_AUTH_FILE.get().map(PathBuf::from));
        let home = places::home();
        let docker = env::DOCKER_CONFIG.get().map(PathBuf::from);
        let docker = docker.or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let lasting = places::user_config().map(|dir| dir.join("containers").join("auth.json"));
        Self {
            only,
            containers: places::podman_logins().into_iter().chain(lasting).collect(),
            docker: docker.map(|dir| dir.join("config.json")),
            legacy: home.map(|home| home.join(".dockercfg")),
            order,
        }
    }

    /// What the files say; helpers are looked for in `PATH`.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        let mut out = self.helpers();
        if let Some(path) = &self.only {
            out.add_file(&path.display().to_string(), &file::read(path, MAX_FILE)?)?;
            return Ok(out);
        }
        for path in self.written() {
            if let Some(bytes) = file::read_optional(path, MAX_FILE)? {
                out.add_file(&path.display().to_string(), &bytes)?;
            }
        }
        if let Some(path) = &self.legacy
            && let Some(bytes) = file::read_optional(path, MAX_FILE)?
        {
            out.add_legacy_file(&path.display().to_string(), &bytes)?;
        }
        Ok(out)
    }

    /// The same where the one file that is named need not be there yet.
    pub(crate) fn known(&self) -> Result<Credentials, Failure> {
        match &self.only {
            Some(path) if !path.exists() => Ok(self.helpers()),
            _ => self.credentials(),
        }
    }

    /// The files that logins are written to, in the order in which they are asked.
    pub(crate) fn written(&self) -> Vec<&Path> {
        match &self.only {
            Some(path) => vec![path],
            None => self.containers.iter().chain(&self.docker).map(PathBuf::as_path).collect(),
        }
    }

    /// Where a login for this target goes.
    pub(crate) fn place_for(&self, target: &LoginTarget) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.only {
            return Ok(path.clone());
        }
        for path in self.written() {
            if let Some(bytes) = file::read_optional(path, MAX_FILE)?
                && knows(&path.display().to_string(), &bytes, target)?
            {
                return Ok(path.to_owned());
            }
        }
        let place =
            if target.repository().is_empty() { &self.docker } else { &self.containers.last().cloned() };
        place.clone().ok_or_else(|| {
            Failure::usage("there is no place for the login: nobody says where the home directory is")
                .with_hint("name a file with `--authfile FILE`".to_owned())
        })
    }

    /// No logins, and where helpers are.
    fn helpers(&self) -> Credentials {
        let mut out = Credentials::none();
        let path = env::PATH.get().unwrap_or_default();
        out.set_helper_path(std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect());
        out.set_order(self.order.clone());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> LoginFiles {
        LoginFiles {
            only: None,
            containers: vec![dir.join("run.json"), dir.join("auth.json")],
            docker: Some(dir.join("config.json")),
            legacy: Some(dir.join(".dockercfg")),
            order: Vec::new(),
        }
    }

    fn user(files: &LoginFiles, registry: &str, name: &str) -> Option<String> {
        let found = files.credentials().unwrap().find(registry, name).unwrap();
        found.and_then(|credential| credential.user().map(str::to_owned))
    }

    #[test]
    fn the_first_file_that_knows_a_registry_counts() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let entry = |name: &str| {
            let auth = match name {
                "a" => "YTpw",
                "b" => "Yjpw",
                "c" => "Yzpw",
                _ => "ZDpw",
            };
            format!(r#"{{"r.example":{{"auth":"{auth}"}}}}"#)
        };
        assert_eq!(user(&files, "r.example", "x"), None);
        std::fs::write(dir.path().join(".dockercfg"), entry("d")).unwrap();
        assert_eq!(user(&files, "r.example", "x").as_deref(), Some("d"));
        for (name, user_name) in [("config.json", "c"), ("auth.json", "b"), ("run.json", "a")] {
            std::fs::write(dir.path().join(name), format!(r#"{{"auths":{}}}"#, entry(user_name))).unwrap();
            assert_eq!(user(&files, "r.example", "x").as_deref(), Some(user_name));
        }
    }

    #[test]
    fn a_login_goes_where_it_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let place = |name: &str| {
            let place = files.place_for(&LoginTarget::parse(name).unwrap()).unwrap();
            place.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!((place("r.example"), place("r.example/app")), ("config.json".into(), "auth.json".into()));
        std::fs::write(dir.path().join("run.json"), r#"{"auths":{"docker.io":{},"r.example/app":{}}}"#)
            .unwrap();
        assert_eq!(place("index.docker.io"), "run.json");
        assert_eq!(place("r.example/app"), "run.json");
        assert_eq!(place("r.example/app/x"), "auth.json");
        assert_eq!(place("r.example"), "config.json");
    }
}
