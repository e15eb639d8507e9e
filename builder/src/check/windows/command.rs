//! The single commands in a text for a shell, as far as rules need them.

use std::ops::Range;

use super::Shell;

/// The command around a place in a text, quotes heeded, and its first word in lower case.
pub(super) fn around(text: &str, at: usize, shell: Shell) -> (Range<usize>, String) {
    let (mut start, mut end) = (0, text.len());
    let mut quote = None;
    let mut escaped = false;
    for (i, ch) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match quote {
            Some(open) if ch == open => quote = None,
            Some(_) => {}
            None if ch == '"' || ch == '\'' && shell == Shell::PowerShell => quote = Some(ch),
            None if ch == '^' && shell == Shell::Cmd => escaped = true,
            None if separates(ch, shell) => {
                if i >= at {
                    end = i;
                    break;
                }
                start = i + ch.len_utf8();
            }
            None => {}
        }
    }
    let end = end.max(start);
    let command = text[start..end].trim_start_matches([' ', '\t', '@']);
    let verb = command.find([' ', '\t', '.', '=']).map_or(command, |stop| &command[..stop]);
    (start..end, verb.to_ascii_lowercase())
}

fn separates(ch: char, shell: Shell) -> bool {
    match shell {
        Shell::PowerShell => matches!(ch, ';' | '|' | '&' | '{' | '}' | '\r' | '\n'),
        Shell::Cmd | Shell::None => matches!(ch, '&' | '|' | '(' | ')' | '\r' | '\n'),
    }
}

/// Whether a place in a text is one in words that are only said: arguments of `echo`, remarks. What such a line
/// is redirected to is none.
pub(super) fn only_said(text: &str, at: usize, shell: Shell) -> bool {
    let (range, verb) = around(text, at, shell);
    let says = matches!(
        verb.as_str(),
        "echo" | "rem" | "::" | "title" | "write-host" | "write-output" | "write-verbose" | "write-warning"
    ) || verb.starts_with(['#', ':']);
    says && !redirects(&text[range.start..at])
}

/// Whether what follows a text is where output goes.
pub(super) fn redirects(before: &str) -> bool {
    before.trim_end_matches(['"', '\'', ' ', '\t']).ends_with('>')
}

/// Whether a place in a text is what its command writes to or takes away.
pub(super) fn written(text: &str, path: &Range<usize>, shell: Shell) -> bool {
    let (range, verb) = around(text, path.start, shell);
    if redirects(&text[range.start..path.start]) {
        return true;
    }
    let last = text[path.end..range.end].trim_matches(['"', '\'', ' ', '\t']).is_empty();
    match verb.as_str() {
        "del" | "erase" | "rd" | "rmdir" | "md" | "mkdir" | "ren" | "icacls" | "attrib" | "remove-item"
        | "new-item" | "rename-item" | "set-content" | "add-content" | "expand-archive" => true,
        "copy" | "xcopy" | "robocopy" | "move" | "mklink" | "copy-item" | "move-item" => last,
        _ => text[range.start..path.start]
            .trim_end_matches(['"', '\'', ' ', '\t'])
            .to_ascii_lowercase()
            .ends_with("-outfile"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(text: &str, what: &str, shell: Shell) -> String {
        around(text, text.find(what).unwrap(), shell).1
    }

    #[test]
    fn a_place_belongs_to_one_command() {
        assert_eq!(verb("dir a && Type X | find y", "X", Shell::Cmd), "type");
        assert_eq!(verb("echo \"a & b\" X", "X", Shell::Cmd), "echo");
        assert_eq!(verb("echo a ^& X", "X", Shell::Cmd), "echo");
        assert_eq!(verb("(@echo X)", "X", Shell::Cmd), "echo");
        assert_eq!(verb("echo.X", "X", Shell::Cmd), "echo");
        assert_eq!(verb("$a = 'x; y'; Copy-Item X", "X", Shell::PowerShell), "copy-item");
        assert_eq!(verb("if ($a) { Remove-Item X }", "X", Shell::PowerShell), "remove-item");
        assert_eq!(around("", 0, Shell::Cmd), (0..0, String::new()));
    }

    #[test]
    fn what_is_said_is_told_from_what_is_done() {
        let said = |text: &str| only_said(text, text.find("C:").unwrap(), Shell::Cmd);
        assert!(said(r"echo C:\x") && said(r"rem C:\x") && said(r"echo dir=C:\x> a.ini"));
        assert!(!said(r"echo a> C:\x") && !said(r#"echo a >> "C:\x""#) && !said(r"echo a & del C:\x"));
    }

    #[test]
    fn what_is_written_is_told_from_what_is_read() {
        let written = |text: &str| {
            let at = text.find("C:").unwrap();
            let end = text[at..].find(' ').map_or(text.len(), |n| at + n);
            written(text, &(at..end), Shell::Cmd)
        };
        for text in [r"copy a C:\w", r"del C:\w /q", r"dir > C:\w", r"md C:\w", r"iwr x -OutFile C:\w"] {
            assert!(written(text), "{text}");
        }
        for text in [r"copy C:\w a", r"type C:\w", r"C:\w a", r"dir C:\w > x"] {
            assert!(!written(text), "{text}");
        }
    }
}
