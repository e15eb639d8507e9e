//! Backslashes that the escape directive makes something else of.

use crate::dockerfile::KEYWORDS;
use crate::source::{SourceFile, Span};

/// Lines that end in a path of Windows whose last backslash continues the line: `COPY x C:\dir\`. `spans` are the
/// instructions of `file`; a file whose escape character is not the backslash has no such trap.
pub fn continued_paths(file: &SourceFile, spans: &[Span]) -> Vec<(Span, String)> {
    let mut out = Vec::new();
    for span in spans {
        let (first, last) = file.lines_of(*span);
        let keyword = file.slice(*span).split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        for line in first..last {
            let Some(line_span) = file.line_span(line) else { continue };
            let text = file.slice(line_span);
            let body = text.trim_end();
            if body.trim_start().starts_with('#') || !body.ends_with('\\') || body.ends_with(r"\\") {
                continue;
            }
            let start =
                body.rfind(|ch: char| ch.is_whitespace() || matches!(ch, '=' | '"' | '\'' | ',' | '['));
            let word = &body[start.map_or(0, |at| at + 1)..];
            let next = file.line_text(line + 1).unwrap_or_default();
            if on_a_drive(word)
                || takes_paths(&keyword) && (in_a_directory(word) || is_instruction(next, word))
            {
                let end = line_span.start + body.len();
                out.push((Span::new(end - word.len(), end), word.to_owned()));
            }
        }
    }
    out
}

/// `C:\…`
fn on_a_drive(word: &str) -> bool {
    matches!(word.as_bytes(), [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic())
}

/// `bin\Release\`: more than the backslash at its end.
fn in_a_directory(word: &str) -> bool {
    word.strip_suffix('\\').is_some_and(single_backslash)
}

/// Whether what follows a word that ends in a backslash is an instruction of its own, which nobody continues with.
fn is_instruction(next: &str, word: &str) -> bool {
    let first = next.split_whitespace().next().unwrap_or_default();
    word.len() > 1 && KEYWORDS.contains(&first)
}

/// The instructions that are made of paths.
fn takes_paths(keyword: &str) -> bool {
    matches!(keyword, "COPY" | "ADD" | "WORKDIR" | "VOLUME")
}

/// Whether a text holds a single backslash between names: `sub\file`.
pub fn single_backslash(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(ch) = chars.next() {
        if ch == '\\' {
            match chars.next_if(|&next| next == '\\' || !next.is_alphanumeric() && next != '_') {
                None if before.is_some() && chars.peek().is_some() => return true,
                _ => {}
            }
        }
        before = Some(ch);
    }
    false
}

/// Whether a word of a Dockerfile with the escape character `\` was a path with single backslashes, of which its
/// value has none left: `C:\app` that became `C:app`.
pub fn lost_backslash(written: &str, value: &str) -> bool {
    let relative = |part: &str| {
        let part = part.trim_matches(['"', '\'']);
        matches!(part.as_bytes(), [drive, b':', third, ..]
            if drive.is_ascii_alphabetic() && !matches!(third, b'\\' | b'/'))
    };
    let lost = |text: &str| text.split(';').filter(|part| relative(part)).count();
    lost(value) > lost(written) && written.contains(r":\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_continues_its_line_is_found() {
        let text = "FROM x\nCOPY a C:\\dir\\\nRUN b\nRUN a \\\n  b C:\\x\\ \n  c\n# C:\\x\\\nENV P=C:\\y\\\nX=1\nRUN d c:\\\\\n";
        let file = SourceFile::new("Dockerfile", text);
        let span = Span::new(7, text.len());
        let found: Vec<_> = continued_paths(&file, &[span])
            .into_iter()
            .map(|(span, word)| (file.line(span.start), file.slice(span).to_owned(), word))
            .collect();
        let expect = |line: usize, word: &str| (line, word.to_owned(), word.to_owned());
        assert_eq!(found, [expect(2, r"C:\dir\"), expect(5, r"C:\x\"), expect(8, r"C:\y\")]);
    }

    #[test]
    fn a_relative_path_that_continues_its_line_is_found() {
        let text = "COPY a app\\\nRUN x\nCOPY a bin\\Release\\\n\nWORKDIR x\\\nCOPY b c\nCOPY a \\\n b\\\n c\nRUN sed a\\nb\\\n c\n";
        let file = SourceFile::new("Dockerfile", text);
        let lines = |first: &str, last: &str| {
            let start = text.find(first).unwrap();
            Span::new(start, start + text[start..].find(last).unwrap() + last.len())
        };
        let spans = [
            lines("COPY a app", "RUN x"),
            lines("COPY a bin", "WORKDIR x\\\nCOPY b c"),
            lines("COPY a \\", " c"),
            lines("RUN sed", " c"),
        ];
        let found: Vec<_> = continued_paths(&file, &spans).into_iter().map(|(_, word)| word).collect();
        assert_eq!(found, [r"app\", r"bin\Release\", r"x\"]);
    }

    #[test]
    fn single_backslashes_between_names_are_found() {
        for text in [r"a\b", r"C:\app", r"bin\*\x", r".\x"] {
            assert!(single_backslash(text), "{text}");
        }
        for text in [r"a\\b", "a/b", r"a\", r"\*", r"a\ b", r"a\$B", r"\", "", r"a\[b]"] {
            assert!(!single_backslash(text), "{text}");
        }
    }

    #[test]
    fn a_backslash_that_is_gone_is_missed() {
        assert!(lost_backslash(r"C:\app", "C:app"));
        assert!(lost_backslash(r"$PATH;C:\app", "D:/x;C:app"));
        assert!(!lost_backslash(r"C:\\app", r"C:\app"));
        assert!(!lost_backslash("C:app", "C:app"));
        assert!(!lost_backslash(r"a\b", "ab"));
        assert!(!lost_backslash("C:/app", "C:/app"));
    }
}
