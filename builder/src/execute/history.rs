//! What an image's history says of each instruction, in BuildKit's words: tools that read images take the build apart
//! by them.

use orlop_store::image::Healthcheck;

use super::files::Words;
use super::stage::StageRun;
use crate::dockerfile::Word;
use crate::error::BuildError;

/// What history entries of Dockerfiles have as their comment.
pub(crate) const COMMENT: &str = "buildkit.dockerfile.v0";

/// What stands at the end of a step that made files by itself.
pub(crate) const MARK: &str = " # buildkit";

/// `[a b c]`.
pub(crate) fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// `["a" "b" "c"]`.
pub(crate) fn quoted_list(words: &[String]) -> String {
    list(&words.iter().map(|word| quoted(word)).collect::<Vec<_>>())
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for ch in text.chars() {
        match ch {
            '"' | '\\' => out.extend(['\\', ch]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ch if ch.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(ch))),
            ch if ch.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(ch))),
            ch => out.push(ch),
        }
    }
    out.push('"');
    out
}

impl StageRun<'_, '_> {
    /// What history says of a COPY or an ADD: the words that say what the files are, expanded.
    pub(crate) fn copy_history(
        &self,
        keyword: &str,
        parents: bool,
        words: &Words<'_>,
        (dest, chmod): (&Word, Option<&Word>),
    ) -> Result<String, BuildError> {
        let mut out = vec![keyword.to_owned()];
        out.extend(parents.then(|| "--parents".to_owned()));
        for (flag, word) in [("chown", words.chown), ("chmod", chmod)] {
            let value = word.map(|word| self.expand(word)).transpose()?.filter(|value| !value.is_empty());
            out.extend(value.map(|value| format!("--{flag}={value}")));
        }
        for word in &words.sources {
            out.push(self.expand(word)?);
        }
        out.extend(words.heredocs.iter().map(|heredoc| format!("<<{}", heredoc.name)));
        out.push(self.expand(dest)?);
        Ok(out.join(" ") + MARK)
    }
}

/// All that a HEALTHCHECK says.
pub(crate) fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        list(&check.test),
        duration(check.interval),
        duration(check.timeout),
        duration(check.start_period),
        duration(check.start_interval),
        check.retries
    )
}

/// Nanoseconds as `1m30s`, `1.5s`, `250ms`.
fn duration(nanoseconds: u64) -> String {
    // A number without the zeros at the end of its fraction.
    let fraction = |unit: u64| {
        let digits = format!("{:0width$}", nanoseconds % unit, width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            "" => String::new(),
            digits => format!(".{digits}"),
        }
    };
    let (micro, milli, second) = (1_000, 1_000_000, 1_000_000_000);
    match nanoseconds {
        0 => "0s".to_owned(),
        n if n < micro => format!("{n}ns"),
        n if n < milli => format!("{}{}µs", n / micro, fraction(micro)),
        n if n < second => format!("{}{}ms", n / milli, fraction(milli)),
        n => {
            let seconds = n / second;
            let rest = format!("{}{}s", seconds % 60, fraction(second));
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (5, "5ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_000_000_001, "1h2m3.000000001s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn words_are_quoted_where_they_are_a_command() {
        let words = ["/bin/sh", "-c", "echo \"a\\b\"\n\u{1}é"].map(str::to_owned);
        assert_eq!(quoted_list(&words), r#"["/bin/sh" "-c" "echo \"a\\b\"\n\x01é"]"#);
        assert_eq!(list(&words[..2]), "[/bin/sh -c]");
        assert_eq!(list(&[]), "[]");
    }
}
