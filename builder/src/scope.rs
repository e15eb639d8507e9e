//! Which variables an instruction sees: build arguments, global ARGs, the platform's, ENV.
//!
//! The rules are those of the Dockerfile reference ("ARG", "ENV", "Scope", "Predefined ARGs"): an ARG
//! is visible from its line on, in its stage and in stages built on that. Of an ARG and an ENV with
//! one name the later counts, as in BuildKit; the reference says that ENV always does, but `ARG
//! VERSION` over a base that has `ENV VERSION` takes `--build-arg VERSION=2` all the same.

use std::collections::BTreeMap;

use orlop_store::Platform;

use crate::dialect::Dialect;

/// ARGs that every RUN may use without a declaration, and that are left out of the step key and of
/// the history then, because they say how this machine reaches the network and nothing about the result.
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
        Self { build_args: build_args.iter().cloned().collect(), platform, declared: BTreeMap::new() }
    }

    /// Whether the variable tells the platform or the target of the build.
    pub fn is_platform(&self, name: &str) -> bool {
        self.platform.contains_key(name)
    }

    /// The value of a variable in a FROM or in the default of a global ARG, and of an ARG of a stage without one.
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
        let value = self.build_args.get(name).cloned().or(default).or_else(|| self.lookup(name));
        self.declared.insert(name.to_owned(), value);
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

    /// The same build before its ARGs are read and without any `--build-arg`.
    pub fn without_build_args(&self) -> Self {
        Self { platform: self.platform.clone(), ..Self::default() }
    }

    /// Every name that means something in FROM.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let platform = self.platform.keys().copied().filter(|name| !self.declared.contains_key(*name));
        self.declared.keys().map(String::as_str).chain(platform)
    }

    /// Whether an ARG before the first FROM has that name.
    pub fn declares(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }
}

/// The ARGs that a stage has declared so far.
#[derive(Clone, Debug, Default)]
pub struct StageScope {
    args: Vec<Arg>,
}

#[derive(Clone, Debug)]
struct Arg {
    name: String,
    value: Option<String>,
    /// It was declared after the last ENV of its name.
    wins: bool,
}

impl StageScope {
    /// Declares an ARG of a stage, `default` expanded; the value that this line gives it. One that gives none leaves
    /// it as it was.
    pub fn declare(
        &mut self,
        global: &GlobalScope,
        dialect: Dialect,
        name: &str,
        default: Option<String>,
    ) -> Option<String> {
        let given = global.build_arg(name).map(str::to_owned).or(default).or_else(|| global.lookup(name));
        let new = Arg { name: name.to_owned(), wins: given.is_some(), value: given.clone() };
        match self.position(dialect, name).and_then(|at| self.args.get_mut(at)) {
            Some(earlier) if new.value.is_none() => earlier.name = new.name,
            Some(earlier) => *earlier = new,
            None => self.args.push(new),
        }
        given
    }

    /// An ENV of that name comes after what ARG said of it.
    pub fn set_by_env(&mut self, dialect: Dialect, name: &str) {
        if let Some(arg) = self.position(dialect, name).and_then(|at| self.args.get_mut(at)) {
            arg.wins = false;
        }
    }

    fn position(&self, dialect: Dialect, name: &str) -> Option<usize> {
        self.args.iter().position(|arg| dialect.same_variable(&arg.name, name))
    }

    /// The value of a variable: the ARG's where it is later than `env`.
    pub fn lookup(&self, env: &[(String, String)], dialect: Dialect, name: &str) -> Option<String> {
        let arg = self.position(dialect, name).and_then(|at| self.args.get(at));
        if let Some(Arg { value: Some(value), wins: true, .. }) = arg {
            return Some(value.clone());
        }
        let env = env.iter().find(|(n, _)| dialect.same_variable(n, name));
        env.map(|(_, value)| value.clone()).or_else(|| arg.and_then(|arg| arg.value.clone()))
    }

    /// The ARGs with a value, in order, that a RUN gets: besides `env`, or in the place of what is there.
    pub fn visible<'a>(
        &'a self,
        env: &'a [(String, String)],
        dialect: Dialect,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let hidden =
            move |arg: &Arg| !arg.wins && env.iter().any(|(name, _)| dialect.same_variable(name, &arg.name));
        self.args
            .iter()
            .filter(move |arg| !hidden(arg))
            .filter_map(|arg| Some((arg.name.as_str(), arg.value.as_deref()?)))
    }

    /// Every ARG of the stage, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|arg| arg.name.as_str())
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
    fn of_arg_and_env_the_later_counts() {
        let mut stage = StageScope::default();
        let global = global(&[("X", "arg")]);
        let env = [("X".to_owned(), "env".to_owned())];
        assert_eq!(stage.declare(&global, Dialect::Linux, "X", None).as_deref(), Some("arg"));
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("arg"));
        assert_eq!(stage.visible(&env, Dialect::Linux).collect::<Vec<_>>(), [("X", "arg")]);
        stage.set_by_env(Dialect::Linux, "X");
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("env"));
        assert_eq!(stage.visible(&env, Dialect::Linux).count(), 0);
        assert_eq!(stage.visible(&[], Dialect::Linux).collect::<Vec<_>>(), [("X", "arg")]);
        stage.declare(&global, Dialect::Linux, "X", Some("again".into()));
        assert_eq!(stage.lookup(&env, Dialect::Linux, "X").as_deref(), Some("arg"));
    }

    #[test]
    fn an_arg_that_says_nothing_changes_nothing() {
        let mut stage = StageScope::default();
        let global = global(&[]);
        stage.declare(&global, Dialect::Linux, "X", Some("1".into()));
        assert_eq!(stage.declare(&global, Dialect::Linux, "X", None), None);
        assert_eq!(stage.lookup(&[], Dialect::Linux, "X").as_deref(), Some("1"));
        stage.declare(&global, Dialect::Linux, "Y", None);
        let env = [("Y".to_owned(), "env".to_owned())];
        assert_eq!(stage.lookup(&env, Dialect::Linux, "Y").as_deref(), Some("env"));
        assert_eq!(stage.names().collect::<Vec<_>>(), ["X", "Y"]);
    }

    #[test]
    fn on_windows_a_name_has_no_case() {
        let mut stage = StageScope::default();
        stage.declare(&global(&[]), Dialect::Windows, "Version", Some("1".into()));
        stage.declare(&global(&[]), Dialect::Windows, "VERSION", Some("2".into()));
        assert_eq!(stage.visible(&[], Dialect::Windows).collect::<Vec<_>>(), [("VERSION", "2")]);
        let env = [("Path".to_owned(), "p".to_owned()), ("version".to_owned(), "env".to_owned())];
        stage.set_by_env(Dialect::Windows, "version");
        assert_eq!(stage.lookup(&env, Dialect::Windows, "PATH").as_deref(), Some("p"));
        assert_eq!(stage.lookup(&env, Dialect::Linux, "PATH"), None);
        assert_eq!(stage.visible(&env, Dialect::Windows).count(), 0);
    }

    #[test]
    fn a_global_without_a_value_keeps_the_one_before() {
        let mut scope = global(&[]);
        scope.declare("G", Some("g".into()));
        scope.declare("G", None);
        assert_eq!(scope.lookup("G").as_deref(), Some("g"));
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
