//! What a tree becomes as a directory and as a tar.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

/// The files of the only platform.
fn part(root: &std::path::Path) -> super::tree::Part<'_> {
    super::tree::Part::new(&orlop_store::Platform::host(), false, root)
}
