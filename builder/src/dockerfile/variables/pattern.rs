//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`.

use regex::Regex;

use super::super::error::clip;
use super::ExpandError;

/// The longest pattern that is compiled, in bytes.
const MAX_PATTERN: usize = 16 << 10;

/// `value` without the shortest or longest prefix that `pattern` matches.
pub(super) fn trim_prefix(pattern: &str, value: &str, longest: bool) -> Result<String, ExpandError> {
    let regex = compile(pattern, longest, true)?;
    let end = regex.find(value).map_or(0, |found| found.end());
    Ok(value.get(end..).unwrap_or_default().to_owned())
}

/// `value` without the shortest or longest suffix that `pattern` matches.
pub(super) fn trim_suffix(pattern: &str, value: &str, longest: bool) -> Result<String, ExpandError> {
    // A search goes from left to right: turn both around, and the suffix is a prefix.
    let value: String = value.chars().rev().collect();
    let trimmed = trim_prefix(&reverse(pattern), &value, longest).map_err(|error| match error {
        ExpandError::Pattern { reason, .. } => ExpandError::Pattern { pattern: clip(pattern), reason },
        other => other,
    })?;
    Ok(trimmed.chars().rev().collect())
}

/// `value` with the first or all longest matches of `pattern` replaced.
pub(super) fn replace(
    pattern: &str,
    value: &str,
    replacement: &str,
    all: bool,
    most: usize,
) -> Result<String, ExpandError> {
    let regex = compile(pattern, true, false)?;
    let mut out = String::with_capacity(value.len());
    let mut done = 0;
    for found in regex.find_iter(value).take(if all { usize::MAX } else { 1 }) {
        out.push_str(value.get(done..found.start()).unwrap_or_default());
        out.push_str(replacement);
        done = found.end();
        if out.len() > most {
            return Err(ExpandError::TooLong(most));
        }
    }
    out.push_str(value.get(done..).unwrap_or_default());
    Ok(out)
}

/// `pattern` with its characters in reverse, an escaped one still behind its backslash.
fn reverse(pattern: &str) -> String {
    let mut units = Vec::new();
    let mut chars = pattern.chars();
    while let Some(ch) = chars.next() {
        let escaped = if ch == '\\' { chars.next() } else { None };
        units.push((ch, escaped));
    }
    let mut out = String::with_capacity(pattern.len());
    for (ch, escaped) in units.into_iter().rev() {
        out.push(ch);
        out.extend(escaped);
    }
    out
}

fn compile(pattern: &str, longest: bool, anchored: bool) -> Result<Regex, ExpandError> {
    let fail = |reason: String| ExpandError::Pattern { pattern: clip(pattern), reason };
    if pattern.len() > MAX_PATTERN {
        return Err(fail(format!("it has more than {MAX_PATTERN} bytes")));
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    if anchored {
        out.push('^');
    }
    let literal = |out: &mut String, ch: char| {
        let mut buffer = [0; 4];
        out.push_str(&regex::escape(ch.encode_utf8(&mut buffer)));
    };
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '*' => out.push_str(if longest { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            '\\' => match chars.next() {
                Some(next @ ('*' | '?' | '\\' | '}' | '/')) => literal(&mut out, next),
                Some(next) => return Err(fail(format!("`\\{next}` is no escape"))),
                None => return Err(fail("it ends with a backslash".to_owned())),
            },
            other => literal(&mut out, other),
        }
    }
    // The one error left is a program too large.
    Regex::new(&out).map_err(|_| fail("it is too long".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_mean_something_to_a_regex_are_text() {
        let regex = compile(r"(()[]{\}^$.\*\?|\\", true, true).unwrap();
        assert!(regex.is_match(r"(()[]{}^$.*?|\"));
        for bad in ["\\", "\\x", "\\\\\\"] {
            assert!(compile(bad, true, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn reversing_keeps_escapes_together() {
        for (pattern, reversed) in
            [(r"a\*c", r"c\*a"), (r"\\\ab", r"b\a\\"), (r"ab\", r"\ba"), (r"\\b", r"b\\")]
        {
            assert_eq!(reverse(pattern), reversed);
        }
    }
}
