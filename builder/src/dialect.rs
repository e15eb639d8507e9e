//! What the operating system of an image makes of the language: its shell, its paths, its names of
//! variables and users.
//!
//! It is the image's system that counts and not the machine's: a Windows image that is built on Linux has
//! `C:\app` in its config, and this is the same code on both.
//!
//! ```
//! use orlop_builder::dialect::Dialect;
//!
//! let path = Dialect::Windows.path(r"C:\src", "bin/../App")?;
//! assert_eq!(Dialect::Windows.show(&path), r"C:\src\App");
//! assert_eq!(path.below_root(), std::path::Path::new("src/App"));
//! # Ok::<(), orlop_builder::dialect::PathError>(())
//! ```

mod account;
mod path;
pub mod view;
pub mod windows;

use orlop_store::Platform;

pub use account::{AccountError, account};
pub use path::{ImagePath, PathError, PathFault};

/// The operating system of an image, as far as the language knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Linux, and every other system whose paths begin with `/`.
    #[default]
    Linux,
    /// Windows.
    Windows,
}

impl Dialect {
    /// The dialect of an image for `platform`.
    pub fn of(platform: &Platform) -> Self {
        if platform.os == "windows" { Self::Windows } else { Self::Linux }
    }

    /// That of the machine that orlop runs on.
    pub fn host() -> Self {
        if cfg!(windows) { Self::Windows } else { Self::Linux }
    }

    /// Whether it is Windows.
    pub fn is_windows(self) -> bool {
        self == Self::Windows
    }

    /// What stands before a shell form where no SHELL does.
    pub fn default_shell(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Linux => &["/bin/sh", "-c"],
            Self::Windows => &["cmd", "/S", "/C"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// `PATH` of a RUN in an image that sets none.
    pub fn default_path(self) -> &'static str {
        match self {
            Self::Linux => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            // PowerShell is in a directory of its own, and SHELL names it without one.
            Self::Windows => {
                r"C:\Windows\System32;C:\Windows;C:\Windows\System32\Wbem;C:\Windows\System32\WindowsPowerShell\v1.0"
            }
        }
    }

    /// What stands between the entries of a `PATH`.
    pub fn list_separator(self) -> char {
        match self {
            Self::Linux => ':',
            Self::Windows => ';',
        }
    }

    /// The root directory.
    pub fn root(self) -> &'static str {
        match self {
            Self::Linux => "/",
            Self::Windows => r"C:\",
        }
    }

    /// A path of an instruction: `text` from `workdir` (empty is the root), unless it is absolute. `.`, `..`
    /// and doubled separators are resolved as text, and no `..` leads above the root.
    ///
    /// # Errors
    /// On Windows, where a path is on another drive or the network, or holds a name that Windows cannot have.
    pub fn path(self, workdir: &str, text: &str) -> Result<ImagePath, PathError> {
        match self {
            Self::Linux => Ok(ImagePath::slashed(workdir, text)),
            Self::Windows => windows::path(workdir, text),
        }
    }

    /// A path as it is written in an image's config: `/a/b`, `C:\a\b`.
    pub fn show(self, path: &ImagePath) -> String {
        match self {
            Self::Linux => format!("/{}", path.parts().join("/")),
            Self::Windows => format!(r"C:\{}", path.parts().join(r"\")),
        }
    }

    /// A path below the root as messages show it.
    pub fn show_below_root(self, path: &std::path::Path) -> String {
        let parts: Vec<_> = path
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_string_lossy()),
                _ => None,
            })
            .collect();
        match self {
            Self::Linux => format!("/{}", parts.join("/")),
            Self::Windows => format!(r"C:\{}", parts.join(r"\")),
        }
    }

    /// A source of COPY or ADD, or a pattern, as a path with `/` from the root of what is copied from.
    ///
    /// # Errors
    /// On Windows, for a path of another drive or of the network.
    pub fn source(self, text: &str) -> Result<String, PathError> {
        match self {
            Self::Linux => Ok(text.to_owned()),
            Self::Windows => windows::source(text),
        }
    }

    /// Whether two names mean the same variable.
    pub fn same_variable(self, a: &str, b: &str) -> bool {
        match self {
            Self::Linux => a == b,
            Self::Windows => windows::same_name(a, b),
        }
    }

    /// A variable's name as a step's key holds it: the same for all that [`Self::same_variable`] takes for one.
    pub fn canonical_variable(self, name: &str) -> String {
        match self {
            Self::Linux => name.to_owned(),
            Self::Windows => windows::upper(name),
        }
    }

    /// Sets a variable in a list of them: in its old place where it is there already, else at the end. The
    /// new spelling of its name counts.
    pub fn set_variable(self, list: &mut Vec<(String, String)>, name: &str, value: &str) {
        let new = (name.to_owned(), value.to_owned());
        match list.iter_mut().find(|(old, _)| self.same_variable(old, name)) {
            Some(old) => *old = new,
            None => list.push(new),
        }
    }
}

#[cfg(test)]
mod tests;
