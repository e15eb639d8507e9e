//! From the bytes that a step writes to lines that a terminal or a log can show.

use std::collections::HashMap;

use orlop_builder::event::TaskId;
use orlop_runner::Stream;

/// A line that grows beyond this is shown in pieces.
const MAX_LINE: usize = 16 << 10;

/// Collects each stream of each task into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: HashMap<(TaskId, Stream), Vec<u8>>,
}

impl Lines {
    /// Takes what a task wrote and returns the lines that are complete now.
    pub(super) fn push(&mut self, task: TaskId, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let buffer = self.open.entry((task, stream)).or_default();
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            buffer.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                out.push(shown(buffer));
                buffer.clear();
            } else if buffer.len() > MAX_LINE {
                // A progress bar of its own overwrites itself for minutes: only its last state counts.
                match buffer.iter().rposition(|&b| b == b'\r') {
                    Some(at) => drop(buffer.drain(..=at)),
                    None => {
                        out.push(shown(buffer));
                        buffer.clear();
                    }
                }
            }
        }
        out
    }

    /// What a task that ended has left without a line break.
    pub(super) fn close(&mut self, task: TaskId) -> Vec<String> {
        [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .filter_map(|stream| self.open.remove(&(task, stream)))
            .filter(|rest| !rest.is_empty())
            .map(|rest| shown(&rest))
            .collect()
    }

    /// The unfinished line of a task, for a live display.
    pub(super) fn pending(&self, task: TaskId) -> Option<String> {
        [Stream::Stdout, Stream::Stderr]
            .iter()
            .filter_map(|stream| self.open.get(&(task, *stream)))
            .filter(|rest| !rest.is_empty())
            .map(|rest| shown(rest))
            .find(|line| !line.is_empty())
    }
}

/// A line as a terminal would leave it: what was overwritten after a carriage return is gone.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let last = line.rsplit(|&b| b == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    clean(&String::from_utf8_lossy(last))
}

/// `text` without escape sequences and control characters, so that no step can move the cursor or
/// rename the window; tabs and line breaks become spaces.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\u{9b}' => skip_until(&mut chars, |c| ('@'..='~').contains(&c)),
            '\t' | '\n' | '\r' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() => {}
            // Characters that reorder the text around them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        // A control sequence ends with a letter or a sign.
        Some('[') => skip_until(chars, |c| ('@'..='~').contains(&c)),
        // A string for the terminal ends with BEL or ESC `\`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\x07' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        // Character sets: one more character.
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => drop(chars.next()),
        _ => {}
    }
}

fn skip_until(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, end: impl Fn(char) -> bool) {
    for c in chars.by_ref() {
        if end(c) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_tasks_are_kept_apart() {
        let mut lines = Lines::default();
        let (a, b) = (TaskId(1), TaskId(2));
        assert!(lines.push(a, Stream::Stdout, b"one").is_empty());
        assert_eq!(lines.push(a, Stream::Stderr, b"err\n"), ["err"]);
        assert_eq!(lines.push(b, Stream::Stdout, b"other\nrest"), ["other"]);
        assert_eq!(lines.push(a, Stream::Stdout, b" two\nthree"), ["one two"]);
        assert_eq!(lines.pending(a).as_deref(), Some("three"));
        assert_eq!(lines.close(a), ["three"]);
        assert_eq!(lines.close(b), ["rest"]);
        assert!(lines.close(b).is_empty());
    }

    #[test]
    fn an_overwritten_line_shows_its_last_state() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(TaskId(1), Stream::Stdout, b"10%\r50%\r100%\r\n"), ["100%"]);
        assert_eq!(lines.push(TaskId(1), Stream::Stdout, b"\n"), [""]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(TaskId(1), Stream::Stdout, &[b'x'; MAX_LINE + 1]).len(), 1);
        let bar = b"\r12%".repeat(MAX_LINE);
        assert!(lines.push(TaskId(1), Stream::Stdout, &bar).is_empty());
        assert_eq!(lines.pending(TaskId(1)).as_deref(), Some("12%"));
    }

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(clean("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\x1b(Bc\x08\x7f"), "aredbc");
        assert_eq!(clean("x\x1b]8;;http://e\x1b\\y"), "xy");
        assert_eq!(clean("a\tb\u{202e}c"), "a bc");
    }
}
