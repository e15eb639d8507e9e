//! `# check=skip=A,B;error=true;experimental=C`, and the build argument that takes its place.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::Rule;
use crate::boolean;
use crate::dockerfile::Dockerfile;
use crate::dockerfile::suggest::{did_you_mean, nearest};
use crate::error::BuildError;
use crate::source::Span;

/// The keys.
const KEYS: [&str; 3] = ["skip", "error", "experimental"];

/// Which rules are run, and whether a finding is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    skip: Names,
    experimental: Names,
    /// A finding fails the build.
    pub error: bool,
    /// They come from the build argument.
    given: bool,
}

/// Names of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    all: bool,
    some: BTreeSet<String>,
}

impl Names {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        if text == "all" {
            return Self { all: true, some: BTreeSet::new() };
        }
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self { all: false, some: names.map(str::to_owned).collect() }
    }

    fn has(&self, rule: Rule) -> bool {
        self.all || self.some.contains(rule.name())
    }
}

/// Text that says nothing of checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid check option `{option}`")]
pub struct OptionsError {
    option: String,
    /// What to write instead.
    pub hint: String,
}

impl Options {
    /// The build argument that is read instead of the directive, also where it is empty.
    pub const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

    /// What a Dockerfile's `# check=` says, or else the build argument.
    ///
    /// # Errors
    /// When that says nothing of checks.
    pub fn of(dockerfile: &Dockerfile, build_args: &[(String, String)]) -> Result<Self, BuildError> {
        if let Some((_, value)) = build_args.iter().rev().find(|(name, _)| name == Self::BUILD_ARG) {
            let mut options = Self::parse(value).map_err(|error| {
                let message = format!("`--build-arg {}={value}`: {error}", Self::BUILD_ARG);
                BuildError::user(message).with_hint(error.hint)
            })?;
            options.given = true;
            return Ok(options);
        }
        let Some(word) = &dockerfile.directives.check else { return Ok(Self::default()) };
        Self::parse(&word.value).map_err(|error| {
            BuildError::user(error.to_string()).with_hint(error.hint).at(&dockerfile.source, word.span)
        })
    }

    /// Reads what stands behind `check=`, by BuildKit's rules: at most three parts between semicolons, each a key and
    /// a value, the last of a key counts; a name that no rule has is taken and means nothing. A remark behind `//`
    /// is left out.
    ///
    /// # Errors
    /// For a part without `=`, another key, and an `error` that is neither true nor false.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let text = text.split_once("//").map_or(text, |(before, _)| before).trim();
        let mut out = Self::default();
        if text.is_empty() {
            return Ok(out);
        }
        for part in text.splitn(3, ';') {
            let wrong = |option: &str, hint: String| OptionsError { option: option.trim().to_owned(), hint };
            let Some((key, value)) = part.split_once('=') else {
                return Err(wrong(part, "write `check=skip=NAME,NAME;error=true`".to_owned()));
            };
            match key.trim() {
                "skip" => out.skip = Names::parse(value),
                "experimental" => out.experimental = Names::parse(value),
                "error" => {
                    let wrong = || wrong(part, "write `error=true` or `error=false`".to_owned());
                    out.error = boolean(value.trim()).ok_or_else(wrong)?;
                }
                other => {
                    let hint = match nearest(other, KEYS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "these exist: `skip`, `error`, `experimental`".to_owned(),
                    };
                    return Err(wrong(other, hint));
                }
            }
        }
        Ok(out)
    }

    /// The options in a comment just before an instruction, `check=skip=NAME`: they are for that instruction alone.
    /// None where the comment says something else.
    pub(super) fn in_comment(comment: &str) -> Option<Self> {
        let (name, value) = comment.split_once('=')?;
        name.trim().eq_ignore_ascii_case("check").then(|| Self::parse(value).ok()).flatten()
    }

    /// Whether a rule is run.
    pub(super) fn runs(&self, rule: Rule) -> bool {
        match rule.is_experimental() {
            // Whoever asks for one by name gets it, whatever is skipped.
            true => self.experimental.has(rule),
            false => !self.skip.has(rule),
        }
    }

    /// Whether a rule is named to be skipped.
    pub(super) fn skips(&self, rule: Rule) -> bool {
        self.skip.has(rule)
    }

    /// Names that no rule has, each with its place in the directive, if they are from there, and with the rule that is
    /// most likely meant.
    pub fn unknown_in<'s>(&'s self, dockerfile: &Dockerfile) -> Vec<(&'s str, Option<Span>, Option<String>)> {
        let word = dockerfile.directives.check.as_ref().filter(|_| !self.given);
        let places = word.map(|word| {
            let places = places(dockerfile.source.slice(word.span));
            let place = |at: usize, name: &str| Span::new(at, at + name.len());
            let places =
                places.into_iter().map(|(key, name, at)| ((key, name), place(word.span.start + at, name)));
            // The last of a key counts.
            places.collect::<BTreeMap<_, _>>()
        });
        let of =
            |key: &'static str, names: &'s Names| names.some.iter().map(move |name| (key, name.as_str()));
        of("skip", &self.skip)
            .chain(of("experimental", &self.experimental))
            .filter(|(_, name)| Rule::named(name).is_none())
            .map(|(key, name)| {
                let span = places.as_ref().and_then(|places| places.get(&(key, name)).copied());
                (name, span, did_you_mean(name, Rule::ALL.map(Rule::name)))
            })
            .collect()
    }
}

/// Each name of a directive with its key, and where it stands.
fn places(text: &str) -> Vec<(&str, &str, usize)> {
    let text = text.split_once("//").map_or(text, |(before, _)| before);
    let (mut places, mut at) = (Vec::new(), 0);
    for part in text.splitn(3, ';') {
        if let Some((key, names)) = part.split_once('=') {
            let mut at = at + key.len() + 1;
            for name in names.split(',') {
                let blanks = name.len() - name.trim_start().len();
                places.push((key.trim(), name.trim(), at + blanks));
                at += name.len() + 1;
            }
        }
        at += part.len() + 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dockerfile;
    use crate::source::SourceFile;

    fn options(text: &str) -> Options {
        Options::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn rules_are_skipped_and_asked_for() {
        let casing = Rule::StageNameCasing;
        let experimental = Rule::InvalidDefinitionDescription;
        for (text, runs, asked) in [
            ("", true, false),
            ("skip=StageNameCasing", false, false),
            ("skip= FromAsCasing , StageNameCasing ;error=true", false, false),
            ("skip=all", false, false),
            ("skip=stagenamecasing", true, false),
            ("skip=NoSuchRule", true, false),
            ("skip=", true, false),
            ("experimental=all", true, true),
            ("skip=all;experimental=InvalidDefinitionDescription", false, true),
            ("skip=StageNameCasing // because", false, false),
            ("skip=StageNameCasing;skip=FromAsCasing", true, false),
        ] {
            let options = options(text);
            assert_eq!((options.runs(casing), options.runs(experimental)), (runs, asked), "{text}");
        }
        assert!(
            options("error=true").error && options("skip=all;error=1").error && !options("error=f").error
        );
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for (text, option, hint) in [
            ("skip", "skip", "check=skip=NAME"),
            ("skip=A;", "", "check=skip=NAME"),
            ("skpi=A", "skpi", "`skip`"),
            ("warn=A", "warn", "`experimental`"),
            ("error=yes", "error=yes", "`error=true`"),
            ("error=true;skip=A;experimental=B;skip", "", ""),
        ] {
            match Options::parse(text) {
                // The fourth part belongs to the third.
                Ok(_) => assert!(option.is_empty() && hint.is_empty(), "{text}"),
                Err(error) => {
                    assert_eq!(error.option, option, "{text}");
                    assert!(error.hint.contains(hint) && !hint.is_empty(), "{text}: {error:?}");
                }
            }
        }
    }

    #[test]
    fn comments_with_options_are_told_from_others() {
        assert!(Options::in_comment("check=skip=all").is_some());
        assert!(Options::in_comment("Check = skip=StageNameCasing // why").is_some());
        assert_eq!(Options::in_comment("check the sum"), None);
        assert_eq!(Options::in_comment("check=that it works"), None);
    }

    #[test]
    fn a_typing_mistake_is_known() {
        let text = "# check=skip=Xyz,StageNameCase,FromAsCasing\nFROM scratch\n";
        let file = dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", text))).unwrap();
        let options = Options::of(&file, &[]).unwrap();
        let unknown: Vec<_> = options
            .unknown_in(&file)
            .into_iter()
            .map(|(_, span, hint)| (file.source.slice(span.unwrap()).to_owned(), hint.unwrap_or_default()))
            .collect();
        let expect = [("StageNameCase", "did you mean `StageNameCasing`?"), ("Xyz", "")];
        assert_eq!(unknown, expect.map(|(name, hint)| (name.to_owned(), hint.to_owned())));
        let given = [(Options::BUILD_ARG.to_owned(), "skip=Xyz".to_owned())];
        assert_eq!(Options::of(&file, &given).unwrap().unknown_in(&file)[0].1, None);
        for (text, starts) in [
            ("# check=skip=ip\nFROM scratch\n", vec![13]),
            ("# check=skip=Casing, FromAsCasing,  As // Casing\nFROM scratch\n", vec![36, 13]),
            ("# check=experimental=x;error=true; skip = x,e // e\nFROM scratch\n", vec![44, 42, 21]),
            ("# check=skip=x;skip=x\nFROM scratch\n", vec![20]),
        ] {
            let file = dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", text))).unwrap();
            let options = Options::of(&file, &[]).unwrap();
            let found = options.unknown_in(&file).into_iter().map(|(name, span, _)| {
                let span = span.unwrap();
                assert_eq!(file.source.slice(span), name);
                span.start
            });
            assert_eq!(found.collect::<Vec<_>>(), starts, "{text}");
        }
    }

    #[test]
    fn bad_options_are_told_at_their_place() {
        let text = "# check=skpi=all\nFROM scratch\n";
        let file = dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", text))).unwrap();
        let error = Options::of(&file, &[]).unwrap_err();
        assert_eq!(file.source.slice(error.place.unwrap().span), "skpi=all");
        let given = [(Options::BUILD_ARG.to_owned(), "x".to_owned())];
        let error = Options::of(&file, &given).unwrap_err();
        assert!(error.place.is_none() && error.message.contains("BUILDKIT_DOCKERFILE_CHECK=x"), "{error}");
    }
}
