//! `?key=value&…` behind a repository's address.

use url::form_urlencoded;

use super::{COMMIT, Complaint, GitReference, Mtime, beginning, plain};
use crate::dockerfile::suggest::did_you_mean;

/// The keys of a query.
const KEYS: [&str; 10] = [
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
];

impl GitReference {
    pub(super) fn query(&mut self, query: &str) -> Result<(), Complaint> {
        let mut seen: Vec<String> = Vec::new();
        let (mut tag, mut branch) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let (key, value) = (key.into_owned(), value.into_owned());
            if seen.contains(&key) {
                return Err(plain(format!("has `{key}` twice in its query")));
            }
            if !KEYS.contains(&key.as_str()) {
                let near = did_you_mean(&key, KEYS);
                return Err(plain(format!("has `{}` in its query, which means nothing", key.escape_debug()))
                    .hint(near.unwrap_or_else(|| format!("the keys are {}", KEYS.join(", ")))));
            }
            let switch = matches!(key.as_str(), "keep-git-dir" | "submodules" | "fetch-by-commit");
            if value.is_empty() && !switch {
                return Err(plain(format!("has `{key}` without a value in its query")));
            }
            match key.as_str() {
                "ref" => agree(&mut self.name, "ref", value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => agree(&mut self.subdir, "subdir", value)?,
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&key, &value)?),
                "submodules" => self.submodules = boolean(&key, &value)?,
                "fetch-by-commit" => self.by_commit = boolean(&key, &value)?,
                "mtime" => {
                    self.mtime = match value.as_str() {
                        "commit" => Mtime::Commit,
                        "checkout" => Mtime::Checkout,
                        _ => {
                            return Err(plain(format!(
                                "has `mtime={}`, which is neither `commit` nor `checkout`",
                                value.escape_debug()
                            )));
                        }
                    }
                }
                // `checksum` and `commit` are two words for one thing.
                _ => {
                    let Some(id) = beginning(&value) else {
                        let value = value.escape_debug();
                        return Err(
                            plain(format!("has `{key}={value}`, which is no commit of git")).hint(COMMIT)
                        );
                    };
                    agree(&mut self.checksum, &key, id)?;
                }
            }
            seen.push(key);
        }
        if tag.is_some() && branch.is_some() {
            return Err(plain("asks for a tag and a branch at once"));
        }
        for (key, prefix, value) in [("tag", "refs/tags/", tag), ("branch", "refs/heads/", branch)] {
            if let Some(value) = value {
                let whole = if value.starts_with(prefix) { value } else { format!("{prefix}{value}") };
                agree(&mut self.name, key, whole)?;
            }
        }
        Ok(())
    }
}

fn agree(slot: &mut Option<String>, key: &str, value: String) -> Result<(), Complaint> {
    match slot {
        Some(old) if *old != value => Err(plain(format!(
            "asks for two things: `{}`, and `{}` by `{key}`",
            old.escape_debug(),
            value.escape_debug()
        ))),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// A switch: a key alone is yes.
fn boolean(key: &str, value: &str) -> Result<bool, Complaint> {
    let said = if value.is_empty() { Some(true) } else { crate::boolean(value) };
    said.ok_or_else(|| {
        plain(format!("has `{key}={}`, which is neither true nor false", value.escape_debug()))
    })
}
