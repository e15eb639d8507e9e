//! Command lines: Windows hands a process one text, and the process takes it apart.
//!
//! The rules are those that `CommandLineToArgvW` and Microsoft's C library share for all arguments but the first,
//! and the simpler ones that both have for the first; for batch files those of `cmd.exe`, which are others.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const SPACE: u16 = b' ' as u16;
const TAB: u16 = b'\t' as u16;

/// The longest command line that the system takes, in UTF-16 units with the final zero.
pub(crate) const LONGEST: usize = 32_767;

/// Why there is no command line for some arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unquotable {
    /// The program's name holds a quote: no quoting of the first argument can express it.
    QuoteInProgram,
    /// An argument of a batch file holds a line break, which ends the command.
    LineBreakInBatch,
    /// Text that is not to be quoted follows the arguments of a batch file: it would be a command of its own.
    TailAfterBatch,
    /// It is longer than the system takes.
    TooLong,
}

impl Unquotable {
    /// In words.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::QuoteInProgram => "the command's name holds a quote",
            Self::LineBreakInBatch => {
                "an argument of a batch file holds a line break, and cmd.exe takes that for its end"
            }
            Self::TailAfterBatch => "a batch file cannot be a shell: what follows it is not quoted",
            Self::TooLong => "the command line is longer than 32766 characters",
        }
    }
}

/// The command line of a program that takes its arguments apart by the usual rules. `tail` follows as it is.
pub(crate) fn program(args: &[OsString], tail: Option<&OsStr>) -> Result<Vec<u16>, Unquotable> {
    let mut line = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        if at == 0 {
            first(arg, &mut line)?;
        } else {
            line.push(SPACE);
            quote(arg, &mut line);
        }
    }
    if let Some(tail) = tail {
        line.push(SPACE);
        line.extend(tail.encode_wide());
    }
    finish(line)
}

/// The command line for `cmd.exe` that runs the batch file at `script` with `args`, none of which can become a
/// command, a redirection or a variable of cmd's.
///
/// Extensions are on and delayed expansion is off whatever the registry says; `AutoRun` is not run. A percent sign
/// cannot be escaped on a command line: each is followed by a reference to no part of `%cd%`, which expands to
/// nothing and keeps it from pairing with the next.
pub(crate) fn batch(cmd: &OsStr, script: &OsStr, args: &[OsString]) -> Result<Vec<u16>, Unquotable> {
    let mut line = Vec::new();
    first(cmd, &mut line)?;
    line.extend(r#" /e:ON /v:OFF /d /c ""#.encode_utf16());
    batch_word(script, true, &mut line)?;
    for arg in args {
        line.push(SPACE);
        batch_word(arg, false, &mut line)?;
    }
    // The outermost pair is cmd's own: it takes the first and the last quote away.
    line.push(QUOTE);
    finish(line)
}

fn finish(mut line: Vec<u16>) -> Result<Vec<u16>, Unquotable> {
    line.push(0);
    if line.len() > LONGEST { Err(Unquotable::TooLong) } else { Ok(line) }
}

/// The first argument: a quote begins and ends it, and a backslash is nothing but a backslash.
fn first(arg: &OsStr, line: &mut Vec<u16>) -> Result<(), Unquotable> {
    let units: Vec<u16> = arg.encode_wide().collect();
    if units.contains(&QUOTE) {
        return Err(Unquotable::QuoteInProgram);
    }
    let plain = !units.is_empty() && !units.iter().any(|&unit| unit <= SPACE);
    if plain {
        line.extend(units);
    } else {
        line.push(QUOTE);
        line.extend(units);
        line.push(QUOTE);
    }
    Ok(())
}

/// Any other argument: backslashes count only in front of a quote, where two stand for one and one makes the quote
/// part of the argument.
fn quote(arg: &OsStr, line: &mut Vec<u16>) {
    let units: Vec<u16> = arg.encode_wide().collect();
    // Only a space and a tab part arguments; other blanks are quoted for those who read them otherwise.
    let quoted = units.is_empty() || units.iter().any(|&unit| unit <= SPACE || unit == TAB);
    if quoted {
        line.push(QUOTE);
    }
    let mut backslashes = 0;
    for unit in units {
        match unit {
            BACKSLASH => backslashes += 1,
            QUOTE => {
                line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        line.push(unit);
    }
    if quoted {
        line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
        line.push(QUOTE);
    }
}

/// A word that passes cmd first and whoever the batch file hands it to afterwards.
fn batch_word(word: &OsStr, script: bool, line: &mut Vec<u16>) -> Result<(), Unquotable> {
    let units: Vec<u16> = word.encode_wide().collect();
    if units.iter().any(|unit| [0, b'\r' as u16, b'\n' as u16, 0x1a].contains(unit)) {
        return Err(Unquotable::LineBreakInBatch);
    }
    let harmless = |unit: &u16| {
        u8::try_from(*unit).is_ok_and(|byte| byte.is_ascii_alphanumeric() || b"\\/:._-+#$@~".contains(&byte))
    };
    let quoted =
        script || units.is_empty() || !units.iter().all(harmless) || units.last() == Some(&BACKSLASH);
    if quoted {
        line.push(QUOTE);
    }
    let mut backslashes = 0;
    for unit in units {
        match unit {
            BACKSLASH => backslashes += 1,
            QUOTE => {
                line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
                // Two quotes are one for cmd and for the C library alike, and leave cmd inside the quotes.
                line.push(QUOTE);
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        if unit == b'%' as u16 {
            line.extend("%%cd:~,%".encode_utf16());
        } else {
            line.push(unit);
        }
    }
    if quoted {
        if !script {
            line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
        }
        line.push(QUOTE);
    }
    Ok(())
}

/// The line without its final zero.
#[cfg(test)]
pub(super) fn shown(line: &[u16]) -> String {
    String::from_utf16_lossy(line.strip_suffix(&[0]).unwrap_or(line))
}

#[cfg(test)]
mod tests;
