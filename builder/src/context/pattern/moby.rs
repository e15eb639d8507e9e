//! How moby's `patternmatcher` understands a pattern: the plain forms by comparison, all others by an expression.
//!
//! It translates a pattern character by character into an expression of Go's `regexp`, and what it does not think of
//! keeps the meaning that it has there: `[*]` is not a star but `[[^/]*]`, `\d` is a digit, `[[:digit:]]` as well, a
//! `^` in the middle matches nothing. We follow it there, so that a `.dockerignore` leaves out the same files; what
//! is an error there, and is told in the middle of a build, is one at its line here.

use regex::Regex;

use super::{Glob, PatternError};

/// A pattern, ready to be compared with paths.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// The path is the text.
    Exact(String),
    /// It begins with the text before a trailing `**`.
    Prefix(String),
    /// It ends with the text after a leading `**`.
    Suffix(String),
    Regex(Regex),
}

impl Matcher {
    /// Reads a pattern that is cleaned and has no `!`.
    pub(super) fn of(pattern: &str) -> Result<Self, PatternError> {
        // Its syntax is that of the plainer language, `**` being two stars there.
        Glob::parse(pattern)?;
        match translate(pattern) {
            Form::Exact => Ok(Self::Exact(pattern.to_owned())),
            Form::Prefix => Ok(Self::Prefix(pattern.strip_suffix("**").unwrap_or(pattern).to_owned())),
            Form::Suffix => Ok(Self::Suffix(pattern.get(2..).unwrap_or_default().to_owned())),
            Form::Regex(go) => {
                let fail = |why| PatternError { pattern: pattern.to_owned(), why };
                let ours = Rewriter { rest: go.chars().collect(), at: 0, out: String::new() }.whole();
                let regex = Regex::new(&ours.map_err(fail)?);
                regex.map(Self::Regex).map_err(|_| fail("it is too long, or names a class that there is not"))
            }
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/').is_some_and(|rest| rest == path)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// What kind of pattern it is, with the expression in Go's language where it needs one.
enum Form {
    Exact,
    Prefix,
    Suffix,
    Regex(String),
}

/// moby's translation.
fn translate(pattern: &str) -> Form {
    let (mut form, mut regex) = (Form::Exact, String::from("^"));
    let needed = || Form::Regex(String::new());
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                form = match (chars.peek(), &form) {
                    (None, Form::Exact) => Form::Prefix,
                    (None, _) => {
                        regex.push_str(".*");
                        needed()
                    }
                    (Some(_), _) => {
                        regex.push_str("(.*/)?");
                        needed()
                    }
                };
                if first {
                    form = Form::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                form = needed();
            }
            '?' => {
                regex.push_str("[^/]");
                form = needed();
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => regex.extend(['\\', c]),
            '\\' => {
                regex.push(c);
                if let Some(next) = chars.next() {
                    regex.push(next);
                    form = needed();
                }
            }
            '[' | ']' => {
                regex.push(c);
                form = needed();
            }
            c => regex.push(c),
        }
        first = false;
    }
    match form {
        Form::Regex(_) => {
            regex.push('$');
            Form::Regex(regex)
        }
        other => other,
    }
}

type Fault = &'static str;

/// What an escape stands for.
enum Escape {
    Char(char),
    /// Ranges of a class, and whether the others are meant.
    Class(&'static [(char, char)], bool),
    /// What has no width, or a class of Unicode: in our language already.
    Other(String),
}

/// From an expression in Go's language, as far as patterns lead to it, to one in ours. Both know no looking back, so
/// that none takes longer than in proportion to its length and the path's.
struct Rewriter {
    rest: Vec<char>,
    at: usize,
    out: String,
}

impl Rewriter {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0);
        self.at += usize::from(c.is_some());
        c
    }

    fn whole(mut self) -> Result<String, Fault> {
        while let Some(c) = self.next() {
            match c {
                '\\' if self.peek(0) == Some('Q') => {
                    self.at += 1;
                    self.quoted();
                }
                '\\' => match self.escape(false)? {
                    Escape::Char(c) => self.literal(c),
                    Escape::Class(ranges, negated) => {
                        let class = class(ranges, negated);
                        self.out.push_str(&class);
                    }
                    Escape::Other(text) => self.out.push_str(&text),
                },
                '[' => self.class()?,
                // From the translation alone: the pattern's own are escaped.
                '(' | ')' | '.' | '*' | '?' | '^' | '$' => self.out.push(c),
                c => self.literal(c),
            }
        }
        Ok(self.out)
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// `\Q…\E`, or up to the end.
    fn quoted(&mut self) {
        while let Some(c) = self.next() {
            if c == '\\' && self.peek(0) == Some('E') {
                self.at += 1;
                return;
            }
            self.literal(c);
        }
    }

    /// What comes after a `\`.
    fn escape(&mut self, in_class: bool) -> Result<Escape, Fault> {
        const NONE: Fault = "a `\\` stands before a letter or a digit that it gives no meaning";
        const DIGIT: &[(char, char)] = &[('0', '9')];
        const SPACE: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
        const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        let c = self.next().ok_or("`\\` at the end escapes nothing")?;
        Ok(match c {
            'd' => Escape::Class(DIGIT, false),
            'D' => Escape::Class(DIGIT, true),
            's' => Escape::Class(SPACE, false),
            'S' => Escape::Class(SPACE, true),
            'w' => Escape::Class(WORD, false),
            'W' => Escape::Class(WORD, true),
            'a' => Escape::Char('\u{7}'),
            'f' => Escape::Char('\u{c}'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\u{b}'),
            'A' if !in_class => Escape::Other("\\A".to_owned()),
            'z' if !in_class => Escape::Other("\\z".to_owned()),
            'b' if !in_class => Escape::Other("(?-u:\\b)".to_owned()),
            'p' | 'P' => Escape::Other(self.unicode(c)?),
            'x' => Escape::Char(self.hexadecimal().ok_or(NONE)?),
            '0'..='7' => Escape::Char(self.octal(c).ok_or(NONE)?),
            c if c.is_ascii_alphanumeric() || !c.is_ascii() => return Err(NONE),
            c => Escape::Char(c),
        })
    }

    /// `\pL`; the translation leaves no brace behind `\p`, nor behind `\x`.
    fn unicode(&mut self, sign: char) -> Result<String, Fault> {
        let name = self.next().filter(char::is_ascii_alphabetic);
        name.map(|name| format!("\\{sign}{name}")).ok_or("`\\p` takes one letter, the name of a class")
    }

    /// `\x7F`.
    fn hexadecimal(&mut self) -> Option<char> {
        let (high, low) = (self.next()?.to_digit(16)?, self.next()?.to_digit(16)?);
        char::from_u32(high * 16 + low)
    }

    /// `\0` and up to two digits more, `\12`; a single other digit would look back.
    fn octal(&mut self, first: char) -> Option<char> {
        let is_octal = |c: Option<char>| c.filter(|c| matches!(c, '0'..='7'));
        if first != '0' && is_octal(self.peek(0)).is_none() {
            return None;
        }
        let mut value = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = is_octal(self.peek(0)).and_then(|c| c.to_digit(8)) else { break };
            value = value * 8 + digit;
            self.at += 1;
        }
        char::from_u32(value)
    }

    /// A class, after its `[`.
    fn class(&mut self) -> Result<(), Fault> {
        const OPEN: Fault = "`[` has no `]`";
        let negated = self.peek(0) == Some('^');
        self.at += usize::from(negated);
        let (mut ranges, mut more) = (Vec::new(), String::new());
        let mut first = true;
        loop {
            let c = self.peek(0).ok_or(OPEN)?;
            if c == ']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            if c == '['
                && self.peek(1) == Some(':')
                && let Some(name) = self.named()
            {
                let (named, others) = posix(&name).ok_or("a class such as `[:alpha:]` has another name")?;
                more.push_str(&class(named, others));
                continue;
            }
            let low = match self.member(&mut more)? {
                Some(low) => low,
                None => continue,
            };
            let mut high = low;
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                self.at += 1;
                high = match self.next().ok_or(OPEN)? {
                    '\\' => match self.escape(true)? {
                        Escape::Char(c) => c,
                        _ => return Err("a range in `[…]` ends with a class"),
                    },
                    c => c,
                };
                if high < low {
                    return Err("a range goes backwards");
                }
            }
            ranges.push((low, high));
        }
        let inside = class(&ranges, false);
        // A class in a class is their union in our language.
        let union = match (ranges.is_empty(), more.is_empty()) {
            (true, _) => more,
            (false, true) => inside,
            (false, false) => format!("{inside}{more}"),
        };
        self.out.push_str(&format!("[{}{union}]", if negated { "^" } else { "" }));
        Ok(())
    }

    /// One member of a class; a class among them goes to `more`.
    fn member(&mut self, more: &mut String) -> Result<Option<char>, Fault> {
        Ok(match self.next() {
            Some('\\') => match self.escape(true)? {
                Escape::Char(c) => Some(c),
                Escape::Class(ranges, negated) => {
                    more.push_str(&class(ranges, negated));
                    None
                }
                Escape::Other(text) => {
                    more.push_str(&text);
                    None
                }
            },
            c => c,
        })
    }

    /// The name in `[:name:]`, if it is one.
    fn named(&mut self) -> Option<String> {
        let end = (self.at + 2..self.rest.len().saturating_sub(1))
            .find(|&i| self.rest.get(i..i + 2) == Some(&[':', ']']))?;
        let name = self.rest.get(self.at + 2..end)?.iter().collect();
        self.at = end + 2;
        Some(name)
    }
}

/// A class in our language.
fn class(ranges: &[(char, char)], negated: bool) -> String {
    let mut out = String::from(if negated { "[^" } else { "[" });
    for (low, high) in ranges {
        out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(*low), u32::from(*high)));
    }
    out.push(']');
    out
}

/// The classes of POSIX, and whether the others are meant.
fn posix(name: &str) -> Option<(&'static [(char, char)], bool)> {
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\u{7f}')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some((ranges, negated))
}
