//! Variables in the ways of Windows' shells, where the Dockerfile's own way is meant.

use std::sync::LazyLock;

use regex::Regex;

use crate::dialect::windows::same_name;

/// A variable as a shell writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As it is written: `%PATH%`, `$env:PATH`.
    pub written: String,
    /// Its name.
    pub name: String,
}

static SHELLS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)%([a-z_][a-z0-9_]+(?:\(x86\))?)%|\$env:([a-z_][a-z0-9_]*)|\$\{env:([a-z_][a-z0-9_()]*)\}",
    )
    .ok()
});
static OWN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})").ok());

/// The first variable in a value of ENV that is written as `cmd` or PowerShell has them.
pub fn shell_variable(text: &str) -> Option<Reference> {
    let found = SHELLS.as_ref()?.captures(text)?;
    let name = found.iter().skip(1).flatten().next()?;
    Some(Reference { written: found[0].to_owned(), name: name.as_str().to_owned() })
}

/// Whether a word expands a variable, by `$NAME` or `${NAME}` and without a default.
pub fn refers_to(text: &str, name: &str) -> bool {
    let Some(own) = OWN.as_ref() else { return false };
    own.captures_iter(text)
        .any(|found| found.iter().skip(1).flatten().any(|one| same_name(one.as_str(), name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_shells_are_found() {
        for (text, written, name) in [
            (r"%PATH%;C:\app", "%PATH%", "PATH"),
            (r"C:\x;%ProgramFiles(x86)%\y", "%ProgramFiles(x86)%", "ProgramFiles(x86)"),
            (r"$env:Path;C:\app", "$env:Path", "Path"),
            ("${env:A_b}", "${env:A_b}", "A_b"),
        ] {
            let expect = Reference { written: written.to_owned(), name: name.to_owned() };
            assert_eq!(shell_variable(text), Some(expect), "{text}");
        }
        for text in ["100%", "50% of 100%", "%20a%20", "${PATH}", "$PATH", "%%", "", "%Y-%m-%d", "%H%M%S"] {
            assert_eq!(shell_variable(text), None, "{text}");
        }
    }

    #[test]
    fn a_variables_own_name_is_found_whatever_its_case() {
        assert!(refers_to("${Path};x", "PATH") && refers_to("x;$PATH", "PATH"));
        assert!(!refers_to("$PATHEXT;${PATH:-x}", "PATH"));
    }
}
