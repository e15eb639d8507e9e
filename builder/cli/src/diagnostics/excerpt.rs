//! The lines of a Dockerfile around a place, in the form that BuildKit's users know: a `>>>` before each line
//! that is meant. Where it is a word of the line, a line of `^` below says which.

use std::fmt::Write;

use orlop_builder::source::Span;
use orlop_builder::{Place, masked};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::progress::clean;

/// Lines that are shown before and after those that are meant.
const AROUND: usize = 2;
/// Lines of an instruction that are marked; the rest would push the message off the screen.
const MARKED: usize = 8;
/// Columns of a line that are shown; of longer ones those around the place.
const COLUMNS: usize = 200;
/// Columns before the place that are shown of a longer line.
const LEAD: usize = 40;
const RULE: &str = "--------------------";

/// The lines around `place`, each with a line break.
pub(crate) fn excerpt(place: &Place, colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour && !text.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let file = &place.file;
    // What follows the last line break is no line.
    let end = file.line_count();
    let end = if file.line_text(end) == Some("") { end.saturating_sub(1).max(1) } else { end };
    let (first, last) = file.lines_of(place.span);
    let (first, last) = (first.min(end), last.min(end));
    let marked = last.min(first + MARKED - 1);
    let shown = first.saturating_sub(AROUND).max(1)..=(marked + AROUND).min(end);
    let digits = shown.end().to_string().len().max(3);
    let mut out = format!("{}:{first}\n{RULE}\n", clean(file.name()));
    for line in shown {
        let meant = (first..=marked).contains(&line);
        // A password in a URL is not for logs.
        let text = masked(file.line_text(line).unwrap_or_default());
        let window = Window::of(&text, file.line_span(line).unwrap_or_default(), place.span);
        let bar = paint("2", &format!(" {line:>digits$} |"));
        let mark = if meant { paint("1;31", ">>>") } else { "   ".to_owned() };
        let _ = writeln!(out, "{}", format!("{bar} {mark} {}", window.text).trim_end());
        if meant && first == last && window.carets > 0 {
            let carets = paint("1;31", &"^".repeat(window.carets));
            let bar = paint("2", &format!(" {:>digits$} |", ""));
            let _ = writeln!(out, "{bar}     {}{carets}", " ".repeat(window.indent));
        }
    }
    if last > marked {
        let _ = writeln!(out, "{}", paint("2", &format!(" {:>digits$} |     (up to line {last})", "")));
    }
    out.push_str(RULE);
    out.push('\n');
    out
}

/// What is shown of a line.
struct Window {
    text: String,
    /// Columns before what is meant.
    indent: usize,
    /// Columns of what is meant; 0 where that is the whole line.
    carets: usize,
}

impl Window {
    /// Of a line `text` at `at` in its file, in which `span` is meant.
    fn of(text: &str, at: Span, span: Span) -> Self {
        let inside = |offset: usize| {
            let mut offset = offset.clamp(at.start, at.start + text.len()) - at.start;
            while !text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let (from, to) = (inside(span.start), inside(span.end));
        let (before, rest) = text.split_at(from);
        let (meant, after) = rest.split_at(to.max(from) - from);
        let whole = before.trim().is_empty() && after.trim().is_empty();
        let (before, meant, after) = (printable(before), printable(meant), printable(after));
        let carets = if whole { 0 } else { meant.width().clamp(1, COLUMNS) };
        if before.width() + meant.width() + after.width() <= COLUMNS {
            return Self { indent: before.width(), carets, text: before + &meant + &after };
        }
        let lead = last_columns(&before, if before.width() + carets <= COLUMNS { COLUMNS } else { LEAD });
        let indent = lead.width();
        let mut text = lead;
        text.push_str(&first_columns(&(meant + &after), COLUMNS.saturating_sub(indent)));
        Self { carets: carets.min(text.width() - indent), indent, text }
    }
}

/// A piece of a line without anything that moves the cursor; a tab is four columns.
fn printable(text: &str) -> String {
    text.split('\t').map(clean).collect::<Vec<_>>().join("    ")
}

/// The beginning of a text, with `…` where some of it is left out.
fn first_columns(text: &str, columns: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for char in text.chars() {
        used += char.width().unwrap_or_default();
        if used > columns {
            return out + "…";
        }
        out.push(char);
    }
    out
}

/// The end of a text, with `…` where some of it is left out.
fn last_columns(text: &str, columns: usize) -> String {
    let mut used = 0;
    for (at, char) in text.char_indices().rev() {
        used += char.width().unwrap_or_default();
        if used > columns {
            return format!("…{}", &text[at + char.len_utf8()..]);
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orlop_builder::source::SourceFile;

    use super::*;

    fn shown(text: &str, span: Span) -> String {
        excerpt(&Place { file: Arc::new(SourceFile::new("Dockerfile", text)), span }, false)
    }

    fn shown_at(text: &str, word: &str) -> String {
        let start = text.find(word).unwrap();
        shown(text, Span::new(start, start + word.len()))
    }

    #[test]
    fn a_word_is_underlined_and_a_whole_line_is_not() {
        let text = "FROM debian\nWORKDIR /src\n\tCOPY a.é 名前 /b\nCMD x\n";
        let expected = "\
Dockerfile:3
--------------------
   1 |     FROM debian
   2 |     WORKDIR /src
   3 | >>>     COPY a.é 名前 /b
     |                  ^^^^
   4 |     CMD x
--------------------
";
        assert_eq!(shown_at(text, "名前"), expected);
        let expected = "\
Dockerfile:4
--------------------
   2 |     WORKDIR /src
   3 |         COPY a.é 名前 /b
   4 | >>> CMD x
--------------------
";
        assert_eq!(shown_at(text, "CMD x"), expected);
    }

    #[test]
    fn all_lines_of_an_instruction_are_marked_up_to_a_limit() {
        let text = format!("FROM a\nRUN a{}\nCMD x\n", " \\\n  b".repeat(100));
        let out = shown(&text, Span::new(7, text.len() - 7));
        assert_eq!(out.matches(">>>").count(), MARKED, "{out}");
        assert!(out.contains("(up to line 102)") && out.lines().count() < 16, "{out}");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("FROM a\nRUN {}here{}\n", "é ".repeat(5000), " x".repeat(50_000));
        let out = shown_at(&text, "here");
        let lines: Vec<_> = out.lines().collect();
        assert!(lines.iter().all(|line| line.width() < COLUMNS + 20), "{out}");
        let at = |line: &str, what: &str| line[..line.find(what).unwrap()].width();
        assert_eq!(at(lines[3], "here"), at(lines[4], "^^^^"), "{out}");
        let all = format!("FROM a\n{}\n", "x".repeat(1 << 20));
        assert!(shown(&all, Span::new(7, all.len() - 1)).len() < 1000);
    }

    #[test]
    fn the_end_of_a_file_is_its_last_line() {
        let out = shown("# nothing\n", Span::new(10, 10));
        assert!(out.contains(":1\n") && out.contains("   1 | >>> # nothing\n"), "{out}");
        assert!(shown("", Span::new(0, 0)).contains("   1 | >>>\n"));
    }

    #[test]
    fn nothing_in_a_line_moves_the_cursor() {
        let out = shown_at("FROM a\nRUN \x1b[2Jx\r\x08\u{202e} y\r\n", "y");
        assert!(!out.contains(['\x1b', '\r', '\x08', '\u{202e}']), "{out:?}");
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[3].find('y'), lines[4].find('^'), "{out}");
    }
}
