//! What a job can ask for on Windows, as plain data on every platform.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::SpecError;

/// How much less than the usual isolation the caller accepts.
///
/// By default nothing may be missing: a job whose confinement cannot be set, or does not read back, is refused with
/// [`RunError::Unconfined`](crate::RunError::Unconfined), which names what is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Names of confinements that may be missing, such as `memory-limit`: those that
    /// [`Confinement::what`](crate::Confinement::what) shows.
    pub allow: BTreeSet<String>,
}

impl Isolation {
    /// Whether the caller can do without `name`.
    pub fn allows(&self, name: &str) -> bool {
        self.allow.contains(name)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("job")?;
        self.allow.iter().try_for_each(|name| write!(f, ",allow={name}"))
    }
}

impl FromStr for Isolation {
    type Err = SpecError;

    /// Reads `job[,allow=NAME[,NAME…]…]`.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = || SpecError::Isolation(text.to_owned());
        let mut words = text.split(',');
        if words.next() != Some("job") {
            return Err(error());
        }
        let mut allow = BTreeSet::new();
        for word in words {
            let name = match word.strip_prefix("allow=") {
                Some(name) => name,
                // A further name after `allow=NAME`.
                None if !allow.is_empty() => word,
                None => return Err(error()),
            };
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(good) {
                return Err(error());
            }
            allow.insert(name.to_owned());
        }
        Ok(Self { allow })
    }
}

/// What only a runner on Windows looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowsOptions {
    /// Whom the command runs as.
    pub account: Account,
    /// Whether the root is to be shown on a drive letter of the step's own, where the session can have one that
    /// nobody else sees. A matter of the view and not of confinement: without one the job runs all the same, and
    /// [`RunReport::view`](crate::RunReport::view) says why.
    pub drive_letter: bool,
    /// Process mitigation policies to start with; one that the system does not have is missing confinement.
    pub mitigations: Vec<Mitigation>,
    /// Whether a root that has a `Windows\System32` of its own may be run with the host's.
    pub host_system_files: bool,
}

/// The two accounts of Windows images. Neither is an account of the host: both are the caller's own identity with
/// less in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Account {
    /// `ContainerAdministrator`, the default of Windows images: may write everywhere in its root.
    #[default]
    Administrator,
    /// `ContainerUser`.
    User,
}

/// A process mitigation policy, inherited by every process of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mitigation {
    /// No system calls of the window manager (win32k): for programs that use no user32 or gdi32 at all.
    Win32kOff,
    /// No extension points: input method editors, window hooks, AppInit DLLs.
    ExtensionPointsOff,
    /// No code that was not in a file: breaks every just-in-time compiler.
    DynamicCodeOff,
    /// Only fonts that the system has installed.
    FontsOff,
    /// No images from network shares.
    RemoteImagesOff,
    /// No images that a process of low integrity wrote.
    LowLabelImagesOff,
    /// An exception at each use of a handle that is not open.
    StrictHandles,
}

impl Mitigation {
    /// All of them with their names.
    pub const ALL: &[(Mitigation, &str)] = &[
        (Mitigation::Win32kOff, "win32k-off"),
        (Mitigation::ExtensionPointsOff, "extension-points-off"),
        (Mitigation::DynamicCodeOff, "dynamic-code-off"),
        (Mitigation::FontsOff, "fonts-off"),
        (Mitigation::RemoteImagesOff, "remote-images-off"),
        (Mitigation::LowLabelImagesOff, "low-label-images-off"),
        (Mitigation::StrictHandles, "strict-handles"),
    ];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mitigation, _)| *mitigation == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Mitigation {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(mitigation, _)| *mitigation).ok_or_else(|| SpecError::Mitigation(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolation_is_read_as_it_is_shown() {
        let parse = |text: &str| text.parse::<Isolation>().map(|isolation| isolation.to_string());
        assert_eq!(parse("job"), Ok("job".into()));
        let both = Ok("job,allow=low-integrity,allow=memory-limit".to_owned());
        assert_eq!(parse("job,allow=memory-limit,low-integrity"), both);
        assert_eq!(parse("job,allow=memory-limit,allow=low-integrity"), both);
        for bad in [
            "",
            "hyperv",
            "job,",
            "job,memory-limit",
            "job,allow=",
            "job,allow=A",
            "job,allow=a,",
            "job,allow=a b",
        ] {
            assert_eq!(parse(bad), Err(SpecError::Isolation(bad.into())), "{bad}");
        }
    }

    #[test]
    fn mitigations_have_names() {
        for (mitigation, name) in Mitigation::ALL {
            assert_eq!((name.parse(), mitigation.name()), (Ok(*mitigation), *name));
        }
        assert!("".parse::<Mitigation>().is_err());
    }
}
