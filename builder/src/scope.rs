//! Which variables an instruction sees: build arguments, global ARGs, the platform's, ENV.
//!
//! The rules are those of the Dockerfile reference ("ARG", "ENV", "Scope", "Predefined ARGs") as BuildKit keeps
//! them: of an ARG and an ENV of the same name the later line wins, so that an ENV overrides the ARGs before it
//! and an ARG with a value overrides what the base image or an earlier line set; an ARG is visible from its line
//! on, in its stage and in stages built on that.

use std::collections::{BTreeMap, BTreeSet};

use orlop_store::Platform;

use crate::dialect::Dialect;

/// ARGs that every RUN may use without a declaration, and that are left out of the step key and of
/// the history because they say how this machine reaches the network and nothing about the result.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What a whole build knows before any stage: `--build-arg`, the platforms and, once they are read,
/// the ARGs before the first FROM.
#[derive(Clone, Debug, Default)]
pub struct GlobalScope {
    build_args: BTreeMap<String, String>,
    platform: BTreeMap<&'static str, String>,
    declared: BTreeMap<String, Option<String>>,
    used: BTreeSet<String>,
}

impl GlobalScope {
    /// The scope of a build with these `--build-arg`s (the last of a name counts) that runs on
    /// `build` and is for `target`; `target_stage` is what `--target` says.
    pub fn new(
        build_args: &[(String, String)],
        build: &Platform,
        target: &Platform,
        target_stage: &str,
    ) -> Self {
        let mut platform = BTreeMap::new();
        let names = [
            (build, "BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT"),
            (target, "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT"),
        ];
        for (p, whole, os, version, arch, variant) in names {
            platform.insert(whole, p.to_string());
            platform.insert(os, p.os.clone());
            platform.insert(version, p.os_version.clone().unwrap_or_default());
            platform.insert(arch, p.architecture.clone());
            platform.insert(variant, p.variant.clone().unwrap_or_default());
        }
        platform.insert("TARGETSTAGE", target_stage.to_owned());
        Self {
            build_args: build_args.iter().cloned().collect(),
            platform,
            declared: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    /// The value of a variable in a FROM or in the default of a global ARG.
    pub fn lookup(&self, name: &str) -> Option<String> {
        match self.declared.get(name) {
            Some(value) => value.clone(),
            None => self.predefined(name),
        }
    }

    fn predefined(&self, name: &str) -> Option<String> {
        let given = self.build_args.get(name).filter(|_| self.platform.contains_key(name));
        given.or_else(|| self.platform.get(name)).cloned()
    }

    /// Declares a global ARG with its expanded default. Without any value it leaves an earlier one of its name.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        self.used.insert(name.to_owned());
        let value = self.build_args.get(name).cloned().or(default).or_else(|| self.lookup(name));
        self.declared.insert(name.to_owned(), value);
    }

    /// The value that an ARG without a default takes in a stage.
    fn inherited(&self, name: &str) -> Option<String> {
        match self.declared.get(name) {
            Some(value) => value.clone(),
            None => self.predefined(name),
        }
    }

    /// `--build-arg` of that name.
    pub fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.get(name).map(String::as_str)
    }

    /// The proxies given with `--build-arg`, for every RUN. One of a pair is given in both spellings, since half
    /// of the programs know only `http_proxy` and the other half only `HTTP_PROXY`.
    pub fn proxies(&self) -> Vec<(String, String)> {
        let pairs = PROXY_ARGS.chunks_exact(2).filter_map(|pair| match *pair {
            [upper, lower] => Some((upper, lower)),
            _ => None,
        });
        pairs
            .flat_map(|(upper, lower)| {
                let (big, small) = (self.build_arg(upper), self.build_arg(lower));
                [(upper, big.or(small)), (lower, small.or(big))]
            })
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect()
    }

    /// Names given with `--build-arg`.
    pub fn build_arg_names(&self) -> impl Iterator<Item = &str> {
        self.build_args.keys().map(String::as_str)
    }

    /// Whether an ARG before the first FROM has that name.
    pub fn declares(&self, name: &str) -> bool {
        self.used.contains(name)
    }
}

/// The ARGs that a stage has declared so far.
#[derive(Clone, Debug, Default)]
pub struct StageScope {
    /// Names and values; none where nothing gave one, or where a later ENV took the name.
    args: Vec<(String, Option<String>)>,
}

impl StageScope {
    /// Declares an ARG of a stage, `default` expanded. Without any value it leaves what the name meant before.
    pub fn declare(&mut self, global: &GlobalScope, dialect: Dialect, name: &str, default: Option<String>) {
        let value = global.build_arg(name).map(str::to_owned).or(default).or_else(|| global.inherited(name));
        let before = self.args.iter().position(|(n, _)| dialect.same_variable(n, name));
        let before = before.and_then(|index| self.args.remove(index).1);
        self.args.push((name.to_owned(), value.or(before)));
    }

    /// An ENV sets that name: from here on it is no ARG's.
    pub fn cover(&mut self, dialect: Dialect, name: &str) {
        for (_, value) in self.args.iter_mut().filter(|(n, _)| dialect.same_variable(n, name)) {
            *value = None;
        }
    }

    /// The value of a variable: that of an ARG, else that of `env`.
    pub fn lookup(&self, env: &[(String, String)], dialect: Dialect, name: &str) -> Option<String> {
        let arg = self.args.iter().find(|(n, _)| dialect.same_variable(n, name)).and_then(|(_, v)| v.clone());
        arg.or_else(|| env.iter().find(|(n, _)| dialect.same_variable(n, name)).map(|(_, v)| v.clone()))
    }

    /// The ARGs with a value, in order: what a RUN gets besides the image's variables, and before them.
    pub fn visible(&self) -> impl Iterator<Item = (&str, &str)> {
        self.args.iter().filter_map(|(n, v)| v.as_deref().map(|v| (n.as_str(), v)))
    }

    /// Whether the stage declared that ARG.
    pub fn declares(&self, name: &str) -> bool {
        self.args.iter().any(|(n, _)| n == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(args: &[(&str, &str)]) -> GlobalScope {
        let args: Vec<_> = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let platform = "linux/amd64".parse().unwrap();
        GlobalScope::new(&args, &platform, &"linux/arm/v7".parse().unwrap(), "final")
    }

    #[test]
    fn a_proxy_is_given_in_both_spellings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            global(&[("http_proxy", "a"), ("NO_PROXY", "b"), ("no_proxy", "c"), ("other", "d")]).proxies(),
            [pair("HTTP_PROXY", "a"), pair("http_proxy", "a"), pair("NO_PROXY", "b"), pair("no_proxy", "c")]
        );
    }

    #[test]
    fn a_stage_sees_a_global_only_after_declaring_it() {
        let mut scope = global(&[("GIVEN", "1")]);
        scope.declare("G", Some("g".into()));
        let mut stage = StageScope::default();
        assert_eq!(stage.lookup(&[], Dialect::Linux, "G"), None);
        stage.declare(&scope, Dialect::Linux, "G", None);
        assert_eq!(stage.lookup(&[], Dialect::Linux, "G").as_deref(), Some("g"));
        stage.declare(&scope, Dialect::Linux, "G", Some("local".into()));
        assert_eq!(stage.lookup(&[], Dialect::Linux, "G").as_deref(), Some("local"));
        stage.declare(&scope, Dialect::Linux, "GIVEN", Some("default".into()));
        assert_eq!(stage.lookup(&[], Dialect::Linux, "GIVEN").as_deref(), Some("1"));
    }

    #[test]
    fn the_later_of_an_env_and_an_arg_wins() {
        let mut stage = StageScope::default();
        let env = [("X".to_owned(), "env".to_owned())];
        // `ARG X` of which nobody knows a value leaves the image's variable alone.
        stage.declare(&global(&[]), Dialect::Linux, "X", None);
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("env"));
        assert_eq!(stage.visible().count(), 0);
        stage.declare(&global(&[]), Dialect::Linux, "X", Some("arg".into()));
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("arg"));
        assert_eq!(stage.visible().collect::<Vec<_>>(), [("X", "arg")]);
        stage.cover(Dialect::Linux, "X");
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("env"));
        assert_eq!(stage.visible().count(), 0);
        stage.declare(&global(&[("X", "given")]), Dialect::Linux, "X", None);
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("given"));
    }

    #[test]
    fn a_declaration_without_a_value_keeps_the_one_before() {
        let mut scope = global(&[]);
        scope.declare("G", Some("g".into()));
        scope.declare("G", None);
        assert_eq!(scope.lookup("G").as_deref(), Some("g"));
        let mut stage = StageScope::default();
        stage.declare(&scope, Dialect::Linux, "X", Some("x".into()));
        stage.declare(&scope, Dialect::Linux, "X", None);
        assert_eq!(stage.lookup(&[], Dialect::Linux, "X").as_deref(), Some("x"));
    }

    #[test]
    fn on_windows_a_name_has_no_case() {
        let mut stage = StageScope::default();
        stage.declare(&global(&[]), Dialect::Windows, "Version", Some("1".into()));
        stage.declare(&global(&[]), Dialect::Windows, "VERSION", Some("2".into()));
        assert_eq!(stage.visible().collect::<Vec<_>>(), [("VERSION", "2")]);
        let env = [("Path".to_owned(), "p".to_owned()), ("version".to_owned(), "env".to_owned())];
        assert_eq!(stage.lookup(&env, Dialect::Windows, "PATH").as_deref(), Some("p"));
        assert_eq!(stage.lookup(&env, Dialect::Linux, "PATH"), None);
        stage.cover(Dialect::Windows, "version");
        assert_eq!(stage.lookup(&env, Dialect::Windows, "VERSION").as_deref(), Some("env"));
    }

    #[test]
    fn platform_variables_are_there_for_from_and_after_declaration() {
        let scope = global(&[]);
        assert_eq!(scope.lookup("TARGETVARIANT").as_deref(), Some("v7"));
        assert_eq!(scope.lookup("BUILDARCH").as_deref(), Some("amd64"));
        let mut stage = StageScope::default();
        stage.declare(&scope, Dialect::Linux, "TARGETPLATFORM", None);
        assert_eq!(stage.lookup(&[], Dialect::Linux, "TARGETPLATFORM").as_deref(), Some("linux/arm/v7"));
        stage.declare(&scope, Dialect::Linux, "TARGETSTAGE", None);
        assert_eq!(stage.lookup(&[], Dialect::Linux, "TARGETSTAGE").as_deref(), Some("final"));
    }
}
