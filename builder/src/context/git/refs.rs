//! Which commit a name means: what the server says of its references, read as BuildKit reads it.

use super::GitRepository;
use super::failure;
use super::program::Ended;
use super::reference::{is_commit, is_hex};
use crate::dockerfile::suggest::nearest;
use crate::error::BuildError;

/// What a reference means today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The object that is fetched: a commit, or a tag with a message.
    pub(super) object: String,
    /// The commit that it leads to, where that is known already.
    commit: Option<String>,
    /// The whole name of the branch or tag.
    pub(super) name: Option<String>,
}

impl Resolved {
    /// Of what is not asked for: only the object is known.
    pub(super) fn of(object: &str, name: Option<String>) -> Self {
        Self { object: object.to_owned(), commit: None, name }
    }

    /// What the content is decided by: the commit's id; of a whole id that the user wrote, that one.
    pub(crate) fn commit(&self) -> &str {
        self.commit.as_ref().unwrap_or(&self.object)
    }

    /// The whole name of the branch or tag (`refs/heads/main`), where it was one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// How many names are listed for a user to choose from.
const LISTED: usize = 5;

impl GitRepository<'_> {
    /// Finds the commit that is meant. The server is not asked where the reference says it itself.
    ///
    /// # Errors
    /// When the server cannot be asked, has no such branch or tag, or another commit is there than the one that
    /// it has to be.
    pub(crate) fn resolve(&self) -> Result<Resolved, BuildError> {
        let reference = self.reference;
        if let Some(resolved) = reference.pinned() {
            return Ok(resolved);
        }
        let name = reference.name.as_deref().unwrap_or("HEAD");
        let answer = self.list(&["--symref", "--", reference.remote(), name, &format!("{name}^{{}}")])?;
        let refs = Refs::parse(&answer)?;
        let found = match reference.name {
            None => refs.head(),
            Some(_) => refs.find(name),
        };
        let Some(found) = found else { return Err(self.unknown(name)) };
        if let Some(checksum) = &reference.checksum
            && !found.object.starts_with(checksum)
            && !found.commit.as_ref().is_some_and(|commit| commit.starts_with(checksum))
        {
            return Err(self.mismatch(checksum, &found));
        }
        Ok(found)
    }

    fn mismatch(&self, checksum: &str, found: &Resolved) -> BuildError {
        let tag = match &found.commit {
            Some(commit) if *commit != found.object => format!(" (the tag itself is {})", found.object),
            _ => String::new(),
        };
        BuildError::user(format!("`{}` is commit {}{tag}, not {checksum}", self.reference, found.commit()))
            .with_hint("if it may have changed, look at it and correct the checksum".to_owned())
    }

    fn list(&self, args: &[&str]) -> Result<String, BuildError> {
        let all = ["ls-remote"].iter().chain(args);
        match self.git.run(&self.dir.join("home"), all)? {
            Ended::Well(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ended::Badly(said) => Err(failure::fetching(self.reference, &said)),
        }
    }

    /// There is no such branch or tag: which are there?
    fn unknown(&self, name: &str) -> BuildError {
        let remote = self.reference.remote();
        if name == "HEAD" {
            return BuildError::user(format!("`{remote}` has no default branch"))
                .with_hint("name one, `#BRANCH`; if there is none, the repository is empty".to_owned());
        }
        let error = BuildError::user(format!("`{remote}` has no branch or tag `{name}`"));
        // Only for the hint: it costs a second question, and none is owed where that fails.
        let Ok(answer) = self.list(&["--heads", "--tags", "--", remote]) else { return error };
        let refs = Refs::parse(&answer).unwrap_or_default();
        error.with_hint(refs.hint(name))
    }
}

/// What the server listed.
#[derive(Debug, Default)]
struct Refs {
    /// Name and object, `^{}` behind the name of a tag with a message for what it leads to.
    list: Vec<(String, String)>,
    /// The branch that HEAD is.
    default: Option<String>,
}

impl Refs {
    /// Reads `ls-remote`'s lines: `ID<tab>NAME`, and `ref: NAME<tab>HEAD`.
    fn parse(answer: &str) -> Result<Self, BuildError> {
        let mut out = Self::default();
        for line in answer.lines() {
            let Some((id, name)) = line.split_once('\t') else { continue };
            match id.strip_prefix("ref: ") {
                Some(branch) if name == "HEAD" => out.default = Some(branch.to_owned()),
                Some(_) => {}
                None if is_commit(id) => out.list.push((name.to_owned(), id.to_ascii_lowercase())),
                None => {
                    return Err(BuildError::user("the repository's server sent something that is no commit")
                        .because(line.chars().take(100).collect::<String>().escape_debug().to_string()));
                }
            }
        }
        Ok(out)
    }

    fn object(&self, name: &str) -> Option<&String> {
        self.list.iter().find(|(other, _)| other == name).map(|(_, id)| id)
    }

    fn named(&self, name: &str) -> Option<Resolved> {
        let object = self.object(name)?.clone();
        let commit = self.object(&format!("{name}^{{}}")).cloned();
        Some(Resolved { object, commit, name: Some(name.to_owned()) })
    }

    fn head(&self) -> Option<Resolved> {
        let mut found = self.named("HEAD")?;
        found.name.clone_from(&self.default);
        Some(found)
    }

    /// A whole name before a branch before a tag, as `git checkout` prefers; of a branch, what it points to.
    fn find(&self, name: &str) -> Option<Resolved> {
        if name == "HEAD" {
            return self.head();
        }
        let below = name.strip_prefix("refs/").unwrap_or(name);
        [
            format!("refs/{below}"),
            format!("refs/heads/{}", name.strip_prefix("refs/heads/").unwrap_or(name)),
            format!("refs/tags/{}", name.strip_prefix("refs/tags/").unwrap_or(name)),
        ]
        .iter()
        .find_map(|whole| self.named(whole))
    }

    /// What the user may have meant by a name that is not there.
    fn hint(&self, name: &str) -> String {
        if is_hex(name) && name.len() >= 4 {
            let name = name.to_ascii_lowercase();
            if let Some((_, id)) = self.list.iter().find(|(_, id)| id.starts_with(&name)) {
                return format!("a commit is named by its whole id: `{id}`");
            }
            if name.len() >= 7 {
                return "if it is a commit, write its whole id, all 40 digits".to_owned();
            }
        }
        let short = |whole: &'_ str| -> Option<String> {
            let name = whole.strip_prefix("refs/heads/").or_else(|| whole.strip_prefix("refs/tags/"))?;
            (!name.ends_with("^{}")).then(|| name.to_owned())
        };
        let names: Vec<String> = self.list.iter().filter_map(|(whole, _)| short(whole)).collect();
        let typed = name.rsplit("refs/heads/").next().unwrap_or(name).trim_start_matches("refs/tags/");
        if let Some(near) = nearest(typed, names.iter().map(String::as_str)) {
            return format!("did you mean `{near}`?");
        }
        let holds: Vec<_> = names.iter().filter(|other| other.contains(typed)).collect();
        let chosen = if holds.is_empty() { names.iter().collect() } else { holds };
        let mut shown: Vec<_> = chosen.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        if chosen.len() > LISTED {
            shown.push(format!("and {} more", chosen.len() - LISTED));
        }
        match shown.is_empty() {
            true => "the repository has no branches and no tags".to_owned(),
            false => format!("it has {}", shown.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn refs(lines: &[(&str, &str)]) -> Refs {
        let text: String = lines.iter().map(|(id, name)| format!("{id}\t{name}\n")).collect();
        Refs::parse(&text).unwrap()
    }

    #[test]
    fn names_are_found_as_buildkit_finds_them() {
        let refs = refs(&[
            ("ref: refs/heads/main", "HEAD"),
            (A, "HEAD"),
            (A, "refs/heads/main"),
            (B, "refs/heads/both"),
            (C, "refs/tags/both"),
            (B, "refs/tags/v1"),
            (C, "refs/tags/v1^{}"),
            (C, "refs/pull/7/head"),
            (B, "refs/heads/tags/odd"),
            (C, "refs/tags/odd"),
            (A, "refs/remotes/x/HEAD"),
        ]);
        for (name, object, commit, whole) in [
            ("HEAD", A, A, "refs/heads/main"),
            ("main", A, A, "refs/heads/main"),
            ("heads/main", A, A, "refs/heads/main"),
            ("refs/heads/main", A, A, "refs/heads/main"),
            ("both", B, B, "refs/heads/both"),
            ("refs/tags/both", C, C, "refs/tags/both"),
            ("v1", B, C, "refs/tags/v1"),
            ("tags/v1", B, C, "refs/tags/v1"),
            ("pull/7/head", C, C, "refs/pull/7/head"),
            ("tags/odd", C, C, "refs/tags/odd"),
        ] {
            let found = refs.find(name).unwrap();
            assert_eq!(
                (found.object.as_str(), found.commit(), found.name()),
                (object, commit, Some(whole)),
                "{name}"
            );
        }
        assert_eq!(refs.find("ain"), None);
        assert_eq!(refs.head(), refs.find("main"));
    }

    #[test]
    fn lines_of_a_hostile_server_are_no_commits() {
        for line in
            ["--upload-pack=x\trefs/heads/main", "abc\trefs/heads/main", "ref: x\trefs/heads/main\nz\ty"]
        {
            let refs = Refs::parse(line);
            assert!(refs.is_err(), "{line}: {refs:?}");
        }
        assert!(Refs::parse("no tab\n\n").unwrap().list.is_empty());
    }

    #[test]
    fn what_is_missing_has_a_neighbour() {
        let refs = refs(&[
            (A, "refs/heads/main"),
            (B, "refs/heads/release-1"),
            (B, "refs/heads/release-2"),
            (C, "refs/tags/v1.0"),
            (C, "refs/tags/v1.0^{}"),
        ]);
        assert_eq!(refs.hint("mian"), "did you mean `main`?");
        assert_eq!(refs.hint("refs/tags/v1.9"), "did you mean `v1.0`?");
        assert_eq!(refs.hint("release"), "did you mean `release-1`?");
        assert_eq!(refs.hint("-2"), "it has `release-2`");
        assert_eq!(refs.hint("bbbbbbb"), format!("a commit is named by its whole id: `{B}`"));
        assert_eq!(refs.hint("ddddddd"), "if it is a commit, write its whole id, all 40 digits");
        assert_eq!(refs.hint("elsewhere"), "it has `main`, `release-1`, `release-2`, `v1.0`");
        assert!(Refs::default().hint("x").contains("no branches"));
    }
}
