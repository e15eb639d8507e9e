//! Backslashes that the escape directive makes something else of.

use crate::source::{SourceFile, Span};

/// Lines that end in a path of Windows whose last backslash continues the line: `COPY x C:\dir\`. `spans` are the
/// instructions of `file`; a file whose escape character is not the backslash has no such trap.
pub fn continued_paths(file: &SourceFile, spans: &[Span]) -> Vec<(Span, String)> {
    let mut out = Vec::new();
    for span in spans {
        let (first, last) = file.lines_of(*span);
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
            let bytes = word.as_bytes();
            if bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'\\' {
                let end = line_span.start + body.len();
                out.push((Span::new(end - word.len(), end), word.to_owned()));
            }
        }
    }
    out
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
    fn a_backslash_that_is_gone_is_missed() {
        assert!(lost_backslash(r"C:\app", "C:app"));
        assert!(lost_backslash(r"$PATH;C:\app", "D:/x;C:app"));
        assert!(!lost_backslash(r"C:\\app", r"C:\app"));
        assert!(!lost_backslash("C:app", "C:app"));
        assert!(!lost_backslash(r"a\b", "ab"));
        assert!(!lost_backslash("C:/app", "C:/app"));
    }
}
