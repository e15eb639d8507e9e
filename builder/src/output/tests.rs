//! What a tree becomes as a directory and as a tar.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
