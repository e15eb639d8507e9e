//! Short names, `debian` or `team/app`: what `registries.conf` makes of them.

use orlop_store::Reference;

use super::registries::{RegistriesConf, ShortNameMode};
use crate::error::Error;

/// What a short name stands for by configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortName {
    /// The full names, to be tried in this order; at least one.
    pub names: Vec<Reference>,
    /// Where that is said: ``an alias in `/etc/containers/registries.conf` ``.
    pub because: String,
    /// There are several, and `short-name-mode` is `enforcing`: podman would ask a person which one is meant.
    pub ambiguous: bool,
}

impl ShortName {
    /// The error where one of several had to be chosen, and nobody is asked.
    pub fn refuse(&self, reference: &Reference) -> Error {
        let names = self.names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Error::Ambiguous { name: reference.familiar(), names, because: self.because.clone() }
    }
}

impl RegistriesConf {
    /// What a name that was written without a registry stands for: by `[aliases]`, else by
    /// `unqualified-search-registries`. Nothing where the name is none of those or no file says more than Docker's
    /// own rule, by which it is at `docker.io`.
    ///
    /// # Errors
    /// When configuration makes of it what is no name.
    pub fn short_name(&self, reference: &Reference) -> Result<Option<ShortName>, Error> {
        let Some(short) = reference.short_name() else { return Ok(None) };
        let full = |repository: &str| {
            reference.in_repository(repository).map_err(|e| Error::Config {
                name: reference.familiar(),
                what: format!("`registries.conf` makes of it what is no name: {e}"),
            })
        };
        let mut found = if let Some(alias) = self.aliases.get(short) {
            let because = format!("an alias in `{}`", alias.file);
            ShortName { names: vec![full(&alias.full)?], because, ambiguous: false }
        } else if let Some(search) = self.search.as_ref().filter(|search| !search.registries.is_empty()) {
            let names = search.registries.iter().map(|registry| full(&format!("{registry}/{short}")));
            ShortName {
                names: names.collect::<Result<_, _>>()?,
                because: format!("`unqualified-search-registries` in `{}`", search.file),
                ambiguous: false,
            }
        } else {
            return Ok(None);
        };
        found.ambiguous = found.names.len() > 1 && self.mode == Some(ShortNameMode::Enforcing);
        Ok((found.names != [reference.clone()]).then_some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str, name: &str) -> Result<Option<Vec<String>>, Error> {
        let mut conf = RegistriesConf::default();
        conf.add("registries.conf", text)?;
        let found = conf.short_name(&name.parse().unwrap())?;
        Ok(found.map(|found| found.names.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn aliases_come_before_the_search() {
        let text = r#"
            unqualified-search-registries = ["r.example:5000", "docker.io"]
            [aliases]
            "fedora" = "registry.example/fedora"
            "team/app" = "apps.example/team-app"
            "debian" = "docker.io/library/debian"
        "#;
        let digest = format!("@{}", orlop_store::Digest::of(b""));
        for (name, full) in [
            ("fedora", vec!["registry.example/fedora:latest"]),
            ("fedora:40", vec!["registry.example/fedora:40"]),
            (&format!("fedora:40{digest}"), vec![&*format!("registry.example/fedora:40{digest}")]),
            ("team/app", vec!["apps.example/team-app:latest"]),
            ("x:1", vec!["r.example:5000/x:1", "docker.io/library/x:1"]),
            ("a/b", vec!["r.example:5000/a/b:latest", "docker.io/a/b:latest"]),
        ] {
            let full: Vec<String> = full.iter().map(ToString::to_string).collect();
            assert_eq!(meant(text, name).unwrap(), Some(full), "{name}");
        }
        // Docker's own meaning, and names that are in full already.
        for name in ["debian", "docker.io/library/fedora", "localhost/fedora", "r.example/x"] {
            assert_eq!(meant(text, name).unwrap(), None, "{name}");
        }
        assert_eq!(meant("", "fedora").unwrap(), None);
        assert_eq!(meant("unqualified-search-registries = []", "fedora").unwrap(), None);
        assert_eq!(meant("unqualified-search-registries = [\"docker.io\"]", "x").unwrap(), None);
    }

    fn ambiguous(text: &str) -> bool {
        let mut conf = RegistriesConf::default();
        conf.add("registries.conf", text).unwrap();
        conf.short_name(&"x".parse().unwrap()).unwrap().unwrap().ambiguous
    }

    #[test]
    fn several_are_an_error_where_one_must_be_chosen() {
        let text = |mode| {
            format!("short-name-mode = \"{mode}\"\nunqualified-search-registries = [\"a.io\", \"b.io\"]")
        };
        for mode in ["", "permissive", "disabled"] {
            assert_eq!(meant(&text(mode), "x").unwrap().unwrap().len(), 2, "{mode}");
            assert!(!ambiguous(&text(mode)), "{mode}");
        }
        assert!(ambiguous(&text("enforcing")));
        let one = "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"a.io\"]";
        assert_eq!(meant(one, "x").unwrap().unwrap(), ["a.io/x:latest"]);
        assert!(!ambiguous(one));
    }
}
