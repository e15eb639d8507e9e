//! `--build-context NAME=WHERE`: contexts by name, for `--from` and `FROM`, in the place of stages and images.
//!
//! The rules are those of buildx and BuildKit: a name is compared as the name of an image is, so that `alpine`,
//! `alpine:latest` and `docker.io/library/alpine` are one; a stage of that name is not built and the context is
//! taken for it; `scratch` and `context` keep their meaning.

use std::path::PathBuf;

use orlop_store::{Platform, Reference};

use super::git::GitReference;

/// A name, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedContext {
    /// The name.
    pub name: ContextName,
    /// What it stands for.
    pub source: NamedSource,
}

/// The name of a context, in the form in which names are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextName {
    /// As people write the name of an image: no `docker.io/library/`, no `:latest`.
    text: String,
    /// `NAME::PLATFORM`: for stages of that platform alone.
    platform: Option<Platform>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedSource {
    /// A directory of this machine, with the text of the `.dockerignore` in it and that file's name for messages.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// The rules of what is no part of it.
        ignore: Option<(String, String)>,
    },
    /// `docker-image://REF`: an image of the store or of a registry.
    Image(Reference),
    /// `docker-image://scratch`: nothing at all.
    Scratch,
    /// `oci-layout://DIR[:TAG][@DIGEST]`, without the scheme: an image in a directory.
    Layout(String),
    /// An `http` or `https` URL of a file.
    Url(String),
    /// A git repository.
    Git(GitReference),
}

/// Text that cannot be the name of a context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be the name of a context: {why}")]
pub struct ContextNameError {
    name: String,
    why: String,
    hint: Option<String>,
}

impl ContextNameError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl ContextName {
    /// Reads `NAME` or `NAME::PLATFORM`.
    ///
    /// # Errors
    /// When it could not stand in a `FROM`, or is one of the words that keep their meaning.
    pub fn parse(text: &str) -> Result<Self, ContextNameError> {
        let fail = |why: String, hint| ContextNameError { name: text.to_owned(), why, hint };
        let (name, platform) = match text.split_once("::") {
            Some((name, platform)) => {
                (name, Some(platform.parse::<Platform>().map_err(|e| fail(e.to_string(), None))?))
            }
            None => (text, None),
        };
        if name.eq_ignore_ascii_case("scratch") {
            return Err(fail("it always stands for nothing".to_owned(), None));
        }
        if name.eq_ignore_ascii_case("context") {
            let hint = "the build's own context is the last argument: `orlop build DIR`";
            return Err(fail("it keeps its meaning".to_owned(), Some(hint.to_owned())));
        }
        let text = key(name).map_err(|e| fail(e.to_string(), e.hint()))?;
        Ok(Self { text, platform })
    }

    /// As people write it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for ContextName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        match &self.platform {
            Some(platform) => write!(f, "::{platform}"),
            None => Ok(()),
        }
    }
}

/// The form in which names are compared.
fn key(name: &str) -> Result<String, orlop_store::reference::ReferenceError> {
    let text = name.parse::<Reference>()?.familiar();
    Ok(text.strip_suffix(":latest").map_or(text.clone(), str::to_owned))
}

/// The context, by its place in `contexts`, that `name` means where something for `platform` is wanted: one for that
/// platform before one for all, and of several the last.
pub(crate) fn find(contexts: &[NamedContext], name: &str, platform: &Platform) -> Option<usize> {
    if contexts.is_empty() {
        return None;
    }
    // What is no name of an image is none of a context.
    let key = key(name).ok()?;
    let position = |of: Option<&Platform>| {
        contexts.iter().rposition(|context| context.name.text == key && context.name.platform.as_ref() == of)
    };
    position(Some(platform)).or_else(|| position(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(names: &[&str]) -> Vec<NamedContext> {
        let named = |name: &&str| NamedContext {
            name: ContextName::parse(name).unwrap(),
            source: NamedSource::Url((*name).to_owned()),
        };
        names.iter().map(named).collect()
    }

    #[test]
    fn a_name_is_compared_as_an_image_is() {
        let amd64 = "linux/amd64".parse().unwrap();
        let contexts = contexts(&["alpine", "docker.io/library/debian:12", "ghcr.io/a/b:latest", "src"]);
        for (name, found) in [
            ("alpine", Some(0)),
            ("alpine:latest", Some(0)),
            ("docker.io/library/alpine", Some(0)),
            ("index.docker.io/library/alpine:latest", Some(0)),
            ("alpine:3", None),
            ("library/alpine", Some(0)),
            ("debian:12", Some(1)),
            ("debian", None),
            ("ghcr.io/a/b", Some(2)),
            ("src", Some(3)),
            ("Src", None),
            ("", None),
        ] {
            assert_eq!(find(&contexts, name, &amd64), found, "{name}");
        }
    }

    #[test]
    fn the_platform_of_a_name_comes_first_and_the_last_of_several_counts() {
        let contexts = contexts(&["a::linux/arm64", "a", "b::linux/arm64", "a"]);
        let arm = "linux/arm64".parse().unwrap();
        let amd = "linux/amd64".parse().unwrap();
        assert_eq!(find(&contexts, "a", &arm), Some(0));
        assert_eq!(find(&contexts, "a", &amd), Some(3));
        assert_eq!(find(&contexts, "b", &amd), None);
        assert_eq!(contexts[0].name.to_string(), "a::linux/arm64");
    }

    #[test]
    fn some_words_keep_their_meaning() {
        for name in ["scratch", "SCRATCH", "context", "", "UPPER", "a b", "a::no/such/thing/at/all", "-"] {
            let error = ContextName::parse(name).unwrap_err();
            assert!(error.to_string().contains("cannot be the name of a context"), "{name}: {error}");
        }
    }
}
