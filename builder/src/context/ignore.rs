//! `.dockerignore`: what of a directory is no part of the context.

use std::path::{Path, PathBuf};

use super::pattern::{Inherited, PatternError, PatternList, Verdict, slashed};
use crate::dialect::Dialect;

/// The rules of an ignore file.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: PatternList,
    /// The lines as written, to be quoted.
    lines: Vec<String>,
}

/// A line of an ignore file that is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the ignore file")]
pub struct IgnoreError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub source: PatternError,
}

impl IgnoreError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        Some("a `\\` before `[`, `*`, `?` or `!` makes them plain characters".to_owned())
    }
}

impl Ignore {
    /// Ignores nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Reads the text of an ignore file by moby's rules: a line that begins with `#` is a comment,
    /// blanks around a pattern do not count, nor do a `/` before or after it; `!` takes back in what an
    /// earlier line ignored; the last line that matches a path, or a directory above it, decides.
    ///
    /// # Errors
    /// Names the first line that is no pattern.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        Self::parse_on(text, Dialect::host())
    }

    /// As [`parse`](Self::parse) on a machine with that system: on Windows, as with moby, a `\\` is a `/` and escapes
    /// nothing. Case counts on both.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_on(text: &str, host: Dialect) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut patterns = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (mark, line) = match line.strip_prefix('!') {
                Some(rest) => ("!", rest.trim()),
                None => ("", line),
            };
            if mark.is_empty() && line.is_empty() {
                continue;
            }
            let line = match host {
                Dialect::Linux => line.to_owned(),
                Dialect::Windows => line.replace('\\', "/"),
            };
            let mut pattern = if line.is_empty() { String::new() } else { super::pattern::clean(&line) };
            if pattern.len() > 1 && pattern.starts_with('/') {
                pattern.remove(0);
            }
            patterns.push((i + 1, format!("{mark}{pattern}")));
        }
        // One by one first, so that the error knows its line.
        for (line, pattern) in &patterns {
            PatternList::new([(*line, pattern.as_str())])
                .map_err(|source| IgnoreError { line: *line, source })?;
        }
        let patterns = PatternList::new(patterns.iter().map(|(line, pattern)| (*line, pattern.as_str())))
            .map_err(|source| IgnoreError { line: 0, source })?;
        Ok(Self { patterns, lines })
    }

    /// The files that may hold the rules for a build, the first that exists counts: beside the
    /// Dockerfile one that is named after it, else the context's own.
    pub fn candidates(context: &Path, dockerfile: Option<&Path>) -> Vec<PathBuf> {
        let mut out = Vec::new();
        if let Some((dockerfile, name)) = dockerfile.and_then(|path| Some((path, path.file_name()?))) {
            for suffix in [".dockerignore", ".containerignore"] {
                let mut name = name.to_owned();
                name.push(suffix);
                out.push(dockerfile.with_file_name(name));
            }
        }
        out.extend([".containerignore", ".dockerignore"].map(|name| context.join(name)));
        out
    }

    /// Whether a path of the context is ignored. The context itself never is.
    pub fn matches(&self, path: &Path) -> bool {
        self.verdict(path).is_match()
    }

    /// Whether a path is ignored, and by which line.
    pub fn verdict(&self, path: &Path) -> Verdict {
        self.patterns.decide_path(path).0
    }

    /// The text of a line, counted from 1.
    pub fn line(&self, line: usize) -> &str {
        line.checked_sub(1).and_then(|i| self.lines.get(i)).map_or("", String::as_str)
    }

    /// Each pattern, cleaned and without its `!`, whether it had one, and its line.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, bool, usize)> {
        self.patterns.patterns()
    }

    /// Whether an ignored directory has to be looked into all the same, because a `!` pattern could
    /// match below it.
    pub fn may_hold_exceptions(&self, dir: &Path) -> bool {
        self.patterns.may_except_below(&slashed(dir))
    }

    /// Whether nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(crate) fn decide(&self, path: &str, parent: &Inherited) -> (Verdict, Inherited) {
        self.patterns.decide(path, parent)
    }

    pub(crate) fn inherited(&self, dir: &Path) -> Inherited {
        self.patterns.decide_path(dir).1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_are_read_as_moby_reads_them() {
        let ignore = Ignore::parse(
            "\u{feff}/abs\r\n#comment\r\n  # no comment\r\n\r\n  spaces  \ntrailing/\n./dot\n! kept\nup/../side\n/\n",
        )
        .unwrap();
        for (path, ignored) in [
            ("abs", true),
            ("abs/x", true),
            ("comment", false),
            ("#comment", false),
            ("# no comment", true),
            ("spaces", true),
            ("trailing", true),
            ("trailing/x", true),
            ("dot", true),
            ("up", false),
            ("side", true),
            ("", false),
            ("kept", false),
        ] {
            assert_eq!(ignore.matches(Path::new(path)), ignored, "{path}");
        }
    }

    #[test]
    fn on_windows_a_backslash_separates() {
        let windows = Ignore::parse_on("bin\\obj\n\\top\n!bin\\obj\\keep\n", Dialect::Windows).unwrap();
        assert!(windows.matches(Path::new("bin/obj/x")));
        assert!(windows.matches(Path::new("top")));
        assert!(!windows.matches(Path::new("bin/obj/keep")));
        assert!(!windows.matches(Path::new("BIN/obj")), "case counts, as with moby");
        let linux = Ignore::parse_on("a\\*b\n", Dialect::Linux).unwrap();
        assert!(linux.matches(Path::new("a*b")));
        assert!(!linux.matches(Path::new("a/xb")));
    }

    #[test]
    fn the_line_that_ignores_is_known() {
        let ignore = Ignore::parse("# all\n*\n!a\na/b\n").unwrap();
        assert_eq!(ignore.verdict(Path::new("x")), Verdict::Matched(2));
        assert_eq!(ignore.verdict(Path::new("a/b/c")), Verdict::Matched(4));
        assert_eq!(ignore.verdict(Path::new("a/c")), Verdict::Unmatched);
        assert_eq!(ignore.line(4), "a/b");
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Ignore::parse("ok\n\n[a\n").unwrap_err();
        assert_eq!(error.line, 3);
        assert_eq!(Ignore::parse("!\n").unwrap_err().line, 1);
    }

    #[test]
    fn the_file_beside_the_dockerfile_comes_first() {
        let found = Ignore::candidates(Path::new("/c"), Some(Path::new("/d/app.Dockerfile")));
        let found: Vec<_> = found.iter().map(|path| slashed(path)).collect();
        assert_eq!(
            found,
            [
                "/d/app.Dockerfile.dockerignore",
                "/d/app.Dockerfile.containerignore",
                "/c/.containerignore",
                "/c/.dockerignore"
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_rules_or_an_error(text in "[ -~\n\u{e9}*!/\\\\\\[\\]^#.]{0,80}", path in "[a-c*./\\[é]{0,20}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                let path = super::super::pattern::below_root(&path);
                // A directory that is left out whole must not hide what would not be ignored.
                for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
                    if ignore.matches(dir) && !ignore.may_hold_exceptions(dir) {
                        prop_assert!(ignore.matches(&path), "{dir:?} hides {path:?}");
                    }
                }
            }
        }
    }
}
