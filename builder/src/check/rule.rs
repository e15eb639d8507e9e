//! The names of the rules.

use std::fmt;

/// A rule, by the name that `# check=skip=` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `ConsistentInstructionCasing`
    ConsistentInstructionCasing,
    /// `CopyIgnoredFile`
    CopyIgnoredFile,
    /// `DuplicateStageName`
    DuplicateStageName,
    /// `ExposeInvalidFormat`
    ExposeInvalidFormat,
    /// `ExposeProtoCasing`
    ExposeProtoCasing,
    /// `FromAsCasing`
    FromAsCasing,
    /// `FromPlatformFlagConstDisallowed`
    FromPlatformFlagConstDisallowed,
    /// `InvalidBaseImagePlatform`
    InvalidBaseImagePlatform,
    /// `InvalidDefaultArgInFrom`
    InvalidDefaultArgInFrom,
    /// `InvalidDefinitionDescription`
    InvalidDefinitionDescription,
    /// `JSONArgsRecommended`
    JsonArgsRecommended,
    /// `LegacyKeyValueFormat`
    LegacyKeyValueFormat,
    /// `MaintainerDeprecated`
    MaintainerDeprecated,
    /// `MultipleInstructionsDisallowed`
    MultipleInstructionsDisallowed,
    /// `NoEmptyContinuation`
    NoEmptyContinuation,
    /// `RedundantTargetPlatform`
    RedundantTargetPlatform,
    /// `ReservedStageName`
    ReservedStageName,
    /// `SecretsUsedInArgOrEnv`
    SecretsUsedInArgOrEnv,
    /// `StageNameCasing`
    StageNameCasing,
    /// `UndefinedArgInFrom`
    UndefinedArgInFrom,
    /// `UndefinedVar`
    UndefinedVar,
    /// `WorkdirRelativePath`
    WorkdirRelativePath,
}

impl Rule {
    /// All of them, by name.
    pub const ALL: [Self; 22] = [
        Self::ConsistentInstructionCasing,
        Self::CopyIgnoredFile,
        Self::DuplicateStageName,
        Self::ExposeInvalidFormat,
        Self::ExposeProtoCasing,
        Self::FromAsCasing,
        Self::FromPlatformFlagConstDisallowed,
        Self::InvalidBaseImagePlatform,
        Self::InvalidDefaultArgInFrom,
        Self::InvalidDefinitionDescription,
        Self::JsonArgsRecommended,
        Self::LegacyKeyValueFormat,
        Self::MaintainerDeprecated,
        Self::MultipleInstructionsDisallowed,
        Self::NoEmptyContinuation,
        Self::RedundantTargetPlatform,
        Self::ReservedStageName,
        Self::SecretsUsedInArgOrEnv,
        Self::StageNameCasing,
        Self::UndefinedArgInFrom,
        Self::UndefinedVar,
        Self::WorkdirRelativePath,
    ];

    /// The public name.
    pub fn name(self) -> &'static str {
        self.about().0
    }

    /// What the rule is about, one sentence.
    pub fn description(self) -> &'static str {
        self.about().1
    }

    /// Where Docker's documentation explains the rule, if it does.
    pub fn url(self) -> Option<String> {
        if self == Self::InvalidBaseImagePlatform {
            return None;
        }
        let mut page = String::new();
        let name = self.name().replace("JSON", "Json");
        for ch in name.chars() {
            if ch.is_ascii_uppercase() && !page.is_empty() {
                page.push('-');
            }
            page.push(ch.to_ascii_lowercase());
        }
        Some(format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }

    /// Whether the rule has to be asked for: `# check=experimental=NAME`.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// The rule of that name, exactly as it is written.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                "Instructions are written in one case throughout, lower or upper",
            ),
            Self::CopyIgnoredFile => {
                ("CopyIgnoredFile", "What COPY and ADD name is not excluded by the ignore file")
            }
            Self::DuplicateStageName => ("DuplicateStageName", "Each stage has a name of its own"),
            Self::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                "EXPOSE names ports of the container, without an address or host port",
            ),
            Self::ExposeProtoCasing => ("ExposeProtoCasing", "The protocol in EXPOSE is in lower case"),
            Self::FromAsCasing => ("FromAsCasing", "FROM and AS are written in the same case"),
            Self::FromPlatformFlagConstDisallowed => {
                ("FromPlatformFlagConstDisallowed", "`FROM --platform` is not a constant")
            }
            Self::InvalidBaseImagePlatform => {
                ("InvalidBaseImagePlatform", "The base image is of the platform that is built for")
            }
            Self::InvalidDefaultArgInFrom => {
                ("InvalidDefaultArgInFrom", "With the defaults of the global ARGs alone, FROM names an image")
            }
            Self::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                "A comment just before ARG or FROM begins with the name that it describes",
            ),
            Self::JsonArgsRecommended => (
                "JSONArgsRecommended",
                "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program",
            ),
            Self::LegacyKeyValueFormat => {
                ("LegacyKeyValueFormat", "ENV and LABEL have `=` between name and value")
            }
            Self::MaintainerDeprecated => {
                ("MaintainerDeprecated", "The author is named by a label, and not by MAINTAINER")
            }
            Self::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                "CMD, ENTRYPOINT and HEALTHCHECK stand once in a stage: only the last counts",
            ),
            Self::NoEmptyContinuation => {
                ("NoEmptyContinuation", "No blank line stands in the middle of an instruction")
            }
            Self::RedundantTargetPlatform => {
                ("RedundantTargetPlatform", "`FROM --platform` does not say what is so anyway")
            }
            Self::ReservedStageName => ("ReservedStageName", "No stage has a name that means something else"),
            Self::SecretsUsedInArgOrEnv => {
                ("SecretsUsedInArgOrEnv", "ARG and ENV hold no secrets: they stay in the image")
            }
            Self::StageNameCasing => ("StageNameCasing", "Names of stages are in lower case"),
            Self::UndefinedArgInFrom => {
                ("UndefinedArgInFrom", "FROM uses variables that an ARG before it declares")
            }
            Self::UndefinedVar => ("UndefinedVar", "Variables are declared before they are used"),
            Self::WorkdirRelativePath => (
                "WorkdirRelativePath",
                "The first WORKDIR is absolute: what a relative one means is up to the base image",
            ),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_by_name_and_sorted() {
        assert!(Rule::ALL.is_sorted_by_key(|rule| rule.name().to_lowercase()));
        for rule in Rule::ALL {
            assert_eq!(Rule::named(rule.name()), Some(rule));
            assert!(!rule.description().ends_with('.'));
        }
        assert_eq!(Rule::named("stagenamecasing"), None);
    }

    #[test]
    fn each_rule_has_the_page_that_docker_gives_it() {
        let page = |rule: Rule| rule.url().map(|url| url.rsplit('/').nth(1).unwrap().to_owned());
        assert_eq!(page(Rule::JsonArgsRecommended).as_deref(), Some("json-args-recommended"));
        assert_eq!(page(Rule::UndefinedArgInFrom).as_deref(), Some("undefined-arg-in-from"));
        assert_eq!(page(Rule::InvalidBaseImagePlatform), None);
    }
}
