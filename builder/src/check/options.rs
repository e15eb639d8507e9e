//! `# check=skip=A,B;error=true;experimental=C`, and the build argument that takes its place.

use std::collections::BTreeSet;

use super::rule::Rule;
use crate::dockerfile::suggest::nearest;

/// The build argument that is read instead of the directive, also where it is empty.
pub(crate) const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// The keys.
const KEYS: [&str; 3] = ["skip", "error", "experimental"];

/// Which rules are run, and whether a finding is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    skip: Names,
    experimental: Names,
    /// A finding fails the build.
    pub error: bool,
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
                    out.error = match value.trim() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(wrong(part, "write `error=true` or `error=false`".to_owned())),
                    }
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

    /// Names that no rule has, each with the rule that is most likely meant.
    pub fn unknown(&self) -> Vec<(&str, Option<&'static str>)> {
        let names = self.skip.some.iter().chain(&self.experimental.some).map(String::as_str);
        names
            .filter(|name| Rule::named(name).is_none())
            .map(|name| (name, nearest(name, Rule::ALL.map(Rule::name))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let options = options("skip=StageNameCase,Xyz,FromAsCasing");
        assert_eq!(options.unknown(), [("StageNameCase", Some("StageNameCasing")), ("Xyz", None)]);
    }
}
