//! The terminal that we write to.

use std::fs::File;
use std::io;

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
