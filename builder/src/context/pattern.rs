//! The two languages of patterns that a build knows: that of `.dockerignore`, `--exclude` and
//! `--parents` ([`PatternList`]), and the plainer one of COPY's wildcards ([`Glob`]).

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

mod moby;

use moby::Matcher;

/// A pattern that means nothing.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{pattern}` is not a pattern: {why}")]
pub struct PatternError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A pattern of one path component, with the rules of Go's `path/filepath.Match`: `*`, `?`,
/// `[a-z]`, `[^a-z]`, and `\` before any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any number of characters.
    Star,
    /// `?`: one character.
    One,
    Char(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    /// As [`takes`](Self::takes), whatever the case of the character.
    fn takes_folded(&self, c: char) -> bool {
        let forms = || c.to_lowercase().chain(c.to_uppercase()).chain([c]);
        match self {
            Self::Class { negated: true, .. } => forms().all(|c| self.takes(c)),
            _ => forms().any(|c| self.takes(c)),
        }
    }

    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => true,
            Self::Char(own) => *own == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// Whether a text holds an unescaped wildcard, so that it names files by pattern.
pub fn has_wildcard(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// For a `[` without its `]`, an empty class, a range without its ends, and a `\` at the end.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let fail = |why| PatternError { pattern: pattern.to_owned(), why };
        let mut chars = pattern.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().ok_or_else(|| fail("`\\` at the end escapes nothing"))?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                            break;
                        }
                        let mut end = || match chars.next() {
                            None => Err(fail("`[` has no `]`")),
                            Some('-' | ']') => Err(fail("a range in `[…]` lacks an end")),
                            Some('\\') => chars.next().ok_or_else(|| fail("`[` has no `]`")),
                            Some(c) => Ok(c),
                        };
                        let low = end()?;
                        let high = if chars.next_if_eq(&'-').is_some() {
                            match chars.next() {
                                None => return Err(fail("`[` has no `]`")),
                                Some('-' | ']') => return Err(fail("a range in `[…]` lacks an end")),
                                Some('\\') => chars.next().ok_or_else(|| fail("`[` has no `]`"))?,
                                Some(c) => c,
                            }
                        } else {
                            low
                        };
                        ranges.push((low, high));
                    }
                    Token::Class { negated, ranges }
                }
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether the whole of `name` matches. Takes time in proportion to the product of the lengths
    /// at worst, whatever the pattern.
    pub fn matches(&self, name: &str) -> bool {
        self.fits(name, Token::takes)
    }

    /// The same where case makes no difference, as on Windows.
    pub fn matches_folded(&self, name: &str) -> bool {
        self.fits(name, Token::takes_folded)
    }

    fn fits(&self, name: &str, takes: impl Fn(&Token, char) -> bool) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut t, mut n) = (0, 0);
        // Where to go on when a later part fails: after the last star, one character further.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(t), name.get(n)) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    retry = Some((t + 1, n));
                    t += 1;
                    continue;
                }
                (Some(token), Some(c)) if takes(token, *c) => {
                    t += 1;
                    n += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((token, at)) if at < name.len() => {
                    retry = Some((token, at + 1));
                    (t, n) = (token, at + 1);
                }
                _ => return false,
            }
        }
    }
}

/// A path without `.`, `..`, doubled and trailing slashes, as Go's `filepath.Clean` has it; below the
/// root where it started with a slash, so that `..` cannot leave it.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match out.last() {
                Some(last) if *last != ".." => drop(out.pop()),
                _ if rooted => {}
                _ => out.push(part),
            },
            part => out.push(part),
        }
    }
    let joined = out.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The text of a path with `/` between its names, as patterns have it.
pub(crate) fn slashed(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    // Elsewhere a backslash is a character of a name.
    if cfg!(windows) && text.contains('\\') { Cow::Owned(text.replace('\\', "/")) } else { text }
}

/// Turns the text of a path into a path below a root: cleaned, `..` stopped at the root, no leading slash.
pub fn below_root(path: &str) -> PathBuf {
    PathBuf::from(clean(&format!("/{path}")).trim_start_matches('/'))
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// Written with `!`: takes files back in.
    exception: bool,
    /// What the caller counts patterns by.
    line: usize,
    matcher: Matcher,
}

impl Pattern {
    /// The text without a trailing `*`, `**` or `/**`.
    fn without_trailing_glob(&self) -> &str {
        self.text.trim_end_matches('*').trim_end_matches('/')
    }
}

/// How the patterns fared with a directory: what its entries inherit.
#[derive(Clone, Debug, Default)]
pub struct Inherited(Vec<bool>);

/// What a list of patterns says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No pattern matches, or an exception had the last word.
    Unmatched,
    /// A pattern matches, given by the line that it was counted by.
    Matched(usize),
}

impl Verdict {
    /// Whether a pattern matches.
    pub fn is_match(self) -> bool {
        matches!(self, Self::Matched(_))
    }

    /// The line of the pattern that matches.
    pub fn line(self) -> Option<usize> {
        match self {
            Self::Matched(line) => Some(line),
            Self::Unmatched => None,
        }
    }
}

/// An ordered list of patterns with `**` and `!` as in moby's `patternmatcher`: the last one that
/// matches a path or a directory above it decides.
#[derive(Clone, Debug, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
    exceptions: bool,
}

impl PatternList {
    /// Reads patterns, each with the line it counts by.
    ///
    /// # Errors
    /// For a `!` alone, for what [`Glob::parse`] refuses, and for what moby's expressions cannot say.
    pub fn new<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>) -> Result<Self, PatternError> {
        let mut list = Self::default();
        for (line, text) in lines {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let mut text = clean(text);
            let exception = text.starts_with('!');
            if exception {
                text.remove(0);
                if text.is_empty() {
                    return Err(PatternError { pattern: "!".to_owned(), why: "`!` takes nothing back in" });
                }
            }
            let matcher = Matcher::of(&text)?;
            list.exceptions |= exception;
            list.patterns.push(Pattern { text, exception, line, matcher });
        }
        Ok(list)
    }

    /// Each pattern, cleaned and without its `!`, whether it had one, and the line that it counts by.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, bool, usize)> {
        self.patterns.iter().map(|pattern| (pattern.text.as_str(), pattern.exception, pattern.line))
    }

    /// Whether there are no patterns at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What the patterns say of an entry of a directory, and what its own entries inherit. `path` is
    /// relative, with `/`, without dots.
    pub fn decide(&self, path: &str, parent: &Inherited) -> (Verdict, Inherited) {
        let mut verdict = Verdict::Unmatched;
        let mut inherited = Vec::with_capacity(self.patterns.len());
        for (i, pattern) in self.patterns.iter().enumerate() {
            let mut matched = parent.0.get(i).copied().unwrap_or(false);
            // An exception has nothing to do before something matched, nor a pattern after.
            if !matched && pattern.exception == verdict.is_match() {
                matched = pattern.matcher.matches(path);
            }
            inherited.push(matched);
            if matched {
                verdict = if pattern.exception { Verdict::Unmatched } else { Verdict::Matched(pattern.line) };
            }
        }
        (verdict, Inherited(inherited))
    }

    /// What the patterns say of a path from the top, and what its entries inherit.
    pub fn decide_path(&self, path: &Path) -> (Verdict, Inherited) {
        let mut state = (Verdict::Unmatched, Inherited::default());
        let mut so_far = String::new();
        for component in path.components() {
            if let Component::Normal(name) = component {
                if !so_far.is_empty() {
                    so_far.push('/');
                }
                so_far.push_str(&name.to_string_lossy());
                state = self.decide(&so_far, &state.1);
            }
        }
        state
    }

    /// Whether something below a directory that matches may still be taken back in by a `!` pattern,
    /// so that the directory has to be looked into.
    pub fn may_except_below(&self, dir: &str) -> bool {
        if !self.exceptions {
            return false;
        }
        let exceptions = || self.patterns.iter().filter(|pattern| pattern.exception);
        if exceptions().any(|pattern| pattern.without_trailing_glob().contains(['*', '?', '[', '\\', ']'])) {
            return true;
        }
        exceptions().any(|pattern| {
            let text = pattern.without_trailing_glob();
            // `!d/sub` looks below `d`; `!d*` may name anything that starts so.
            text.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || (text.len() < pattern.text.len() && dir.starts_with(text))
        })
    }
}

impl PatternList {
    /// Whether something below a directory may match, so that it has to be looked into. Says yes in doubt.
    pub fn may_match_below(&self, dir: &str) -> bool {
        self.patterns.iter().filter(|pattern| !pattern.exception).any(|pattern| {
            let mut parts = pattern.text.split('/');
            for name in dir.split('/') {
                match parts.next() {
                    // What is below a match matches as well.
                    None => return true,
                    // What is more than wildcards means something else there than to COPY.
                    Some(part) if part.contains("**") || part.contains(['[', '\\']) => return true,
                    Some(part) => {
                        if !Glob::parse(part).is_ok_and(|glob| glob.matches(name)) {
                            return false;
                        }
                    }
                }
            }
            true
        })
    }
}

#[cfg(test)]
mod tests;
