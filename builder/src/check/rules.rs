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
use crate::dockerfile::suggest::distance;
use crate::source::Span;

/// Findings beyond which nobody reads on: each is told, but for what it means is not searched.
const MANY: usize = 200;

/// The name that BuildKit suggests for one that it does not know: the first of those that are fewest letters away,
/// one or two, and case counts. A long name gets none, and of very many names only the first are looked at: each is
/// compared with each.
fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 32;
    const NAMES: usize = 1000;
    let letters: Vec<char> = name.chars().take(LONGEST + 1).collect();
    if letters.len() > LONGEST {
        return None;
    }
    let (mut best, mut least) = (None, 3);
    for other in known.into_iter().take(NAMES) {
        if other == name {
            return None;
        }
        let others: Vec<char> = other.chars().take(LONGEST + 3).collect();
        if others.len().abs_diff(letters.len()) >= least {
            continue;
        }
        let distance = distance(&letters, &others, false);
        if distance < least {
            (best, least) = (Some(other), distance);
        }
    }
    best
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
            ("ab", &["ba"], Some("ba")),
            ("abc", &["bac", "abd"], Some("abd")),
            (
                "A23456789_123456789_123456789_12",
                &["A23456789_123456789_123456789_12x"],
                Some("A23456789_123456789_123456789_12x"),
            ),
            ("A23456789_123456789_123456789_123", &["A23456789_123456789_123456789_12x"], None),
        ] {
            assert_eq!(suggestion(name, known.iter().copied()), expect, "{name}");
        }
    }
}
