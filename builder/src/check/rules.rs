//! The rules, each in a file of its name.

mod consistent_instruction_casing;
mod copy_ignored_file;
mod duplicate_stage_name;
mod expose_format;
mod from_as_casing;
mod from_platform_flag_const_disallowed;
mod invalid_base_image_platform;
mod invalid_default_arg_in_from;
mod invalid_definition_description;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod multiple_instructions_disallowed;
mod no_empty_continuation;
mod redundant_target_platform;
mod reserved_stage_name;
mod secrets_used_in_arg_or_env;
mod stage_name_casing;
mod undefined_arg_in_from;
mod undefined_var;
mod workdir_relative_path;

pub(super) use consistent_instruction_casing::consistent_instruction_casing;
pub(super) use copy_ignored_file::copy_ignored_file;
pub(super) use duplicate_stage_name::duplicate_stage_name;
pub(super) use expose_format::expose;
pub(super) use from_as_casing::from_as_casing;
pub(super) use from_platform_flag_const_disallowed::from_platform_flag_const_disallowed;
pub(super) use invalid_base_image_platform::invalid_base_image_platform;
pub(super) use invalid_default_arg_in_from::invalid_default_arg_in_from;
pub(super) use invalid_definition_description::{invalid_definition_description, invalid_stage_description};
pub(super) use json_args_recommended::json_args_recommended;
pub(super) use legacy_key_value_format::legacy_key_value_format;
pub(super) use maintainer_deprecated::maintainer_deprecated;
pub(super) use multiple_instructions_disallowed::{Once, multiple_instructions_disallowed};
pub(super) use no_empty_continuation::no_empty_continuation;
pub(super) use redundant_target_platform::redundant_target_platform;
pub(super) use reserved_stage_name::reserved_stage_name;
pub(super) use secrets_used_in_arg_or_env::secrets_used_in_arg_or_env;
pub(super) use stage_name_casing::stage_name_casing;
pub(super) use undefined_arg_in_from::undefined_arg_in_from;
pub(super) use undefined_var::undefined_var;
pub(super) use workdir_relative_path::workdir_relative_path;

use crate::dockerfile::Dockerfile;
use crate::source::Span;

/// The name that BuildKit suggests for one that it does not know: the first of those that are fewest letters away,
/// one or two, and case counts.
fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long name is compared with names of its length alone.
    let mut best = None;
    let mut least = 3;
    for other in known {
        if other == name {
            return None;
        }
        if other.len().abs_diff(name.len()) >= least * 4 || name.len() > 256 || other.len() > 256 {
            continue;
        }
        let distance = distance(name, other);
        if distance < least {
            (best, least) = (Some(other), distance);
        }
    }
    best
}

/// Letters to put in, leave out or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Where in `span` the variable is used: `$NAME` or `${NAME…}`; all of it where it cannot be told.
fn variable_in(dockerfile: &Dockerfile, span: Span, name: &str) -> Span {
    // In a long heredoc the search for each name would take too long.
    const LONG: usize = 1 << 16;
    let text = dockerfile.source.slice(span);
    if text.len() > LONG {
        return span;
    }
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find('$')).map(|at| from + at) {
        from = at + 1;
        let rest = &text[at + 1..];
        let (open, rest) = match rest.strip_prefix('{') {
            Some(rest) => (1, rest),
            None => (0, rest),
        };
        let Some(after) = rest.strip_prefix(name) else { continue };
        if after.starts_with(|ch: char| ch.is_alphanumeric() || ch == '_') {
            continue;
        }
        let mut end = at + 1 + open + name.len();
        // The whole of `${NAME}`; of `${NAME:-…}` the name.
        if open == 1 && after.starts_with('}') {
            end += 1;
        }
        return Span::new(span.start + at, span.start + end);
    }
    span
}

/// A name as Go shows it in quotes.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_at_most_two_letters_away() {
        for (name, known, expect) in [
            ("PAHT", &["HOME", "PATH"][..], Some("PATH")),
            ("DIR_ASSET", &["DIR_BINARIES", "DIR_ASSETS"], Some("DIR_ASSETS")),
            ("foo", &["PATH"], None),
            ("path", &["PATH"], None),
            ("ab", &["ax", "ay"], Some("ax")),
            ("ab", &["xab", "ab"], None),
        ] {
            assert_eq!(suggestion(name, known.iter().copied()), expect, "{name}");
        }
    }
}
