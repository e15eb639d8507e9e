//! On Windows git alone is ended: what it started sees its pipes close, and ends.

use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

/// What to type where there is no git.
pub(super) const INSTALL: &str = "install Git for Windows, and have `git.exe` in a directory of `PATH`";

/// `CREATE_NO_WINDOW`: ssh would open a console to ask something in.
const NO_WINDOW: u32 = 0x0800_0000;

/// Gives the program no console.
pub(super) fn lead(command: &mut Command) {
    command.creation_flags(NO_WINDOW);
}

/// Ends the program.
pub(super) fn end(child: &mut Child) {
    drop(child.kill());
}
