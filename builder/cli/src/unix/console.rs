//! The terminal that we write to.

use std::fs::File;
use std::io::{self, Read};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Columns of the terminal behind standard error, where it is one.
pub(crate) fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col))
}

/// Whether escape sequences move the cursor and set colours: every terminal here takes them.
pub(crate) fn takes_escapes() -> bool {
    true
}

/// Standard output as a file of its own.
pub(crate) fn stdout_file() -> io::Result<File> {
    Ok(File::from(rustix::io::dup(io::stdout())?))
}

/// Reads a line from the terminal behind standard input without showing it; nothing where Ctrl-C ended it.
pub(crate) fn read_hidden() -> io::Result<Option<String>> {
    let before = tcgetattr(io::stdin())?;
    let mut hidden = before.clone();
    // Without signals too: one that ended us here would leave the terminal mute.
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
    hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
    let _restore = Restore(before);
    let mut line = Vec::new();
    let mut stdin = io::stdin().lock();
    loop {
        let mut byte = [0];
        match stdin.read(&mut byte)? {
            0 => break,
            _ => match byte[0] {
                b'\n' | b'\r' => break,
                0x03 => return Ok(None),
                0x04 => break,
                0x08 | 0x7f => {
                    // A character of UTF-8 may have several bytes.
                    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                }
                0x15 => line.clear(),
                byte => line.push(byte),
            },
        }
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8"))
}

/// Puts the terminal back into the state that it was in.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
