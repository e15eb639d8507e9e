//! A whole tree as text: everything that a snapshot must keep.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::collections::BTreeMap;
use std::fmt;

/// A tree, path by path.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Listing(BTreeMap<String, String>);

impl Listing {
    pub(super) fn assert_same(&self, other: &Self, what: &str) {
        assert!(self == other, "{what} differs:\n--- expected\n{self:?}\n--- found\n{other:?}");
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(path, line)| writeln!(f, "{}: {line}", path.escape_debug()))
    }
}
