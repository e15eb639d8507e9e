//! `-o type=local`: the files of an image in a directory of this machine.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::write;
#[cfg(windows)]
pub(super) use windows::write;
